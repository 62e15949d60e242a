//! Completions, man pages and documents made from the definitions: `completions`, `man`, `schema`, `openapi`,
//! and the hidden `generate`, which keeps what is checked in under `packaging/` up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{
    args::{self, Arguments},
    failure::{Failure, Problem},
    output::{Output, file_failure},
};

/// Files by their name.
type Files = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) fn completions(output: Output, shell: Shell) -> Result<(), Failure> {
    output.data(completion(shell))
}

pub(crate) fn man(output: Output, directory: &Path) -> Result<(), Failure> {
    let pages = man_pages()?;
    write(directory, &pages)?;
    output.message(format_args!("{} man pages written to {}", pages.len(), directory.display()));
    Ok(())
}

pub(crate) fn schema(output: Output) -> Result<(), Failure> {
    pretty(output, &wardian_model::file::schema())
}

pub(crate) fn openapi(output: Output) -> Result<(), Failure> {
    pretty(output, &wardian_api::routes::openapi())
}

fn pretty(output: Output, document: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(document)
        .map_err(|error| Failure::new(format!("can't write the document as JSON: {error}")))?;
    text.push(b'\n');
    output.data(text)
}

pub(crate) fn packaging(output: Output, arguments: &args::Generate) -> Result<(), Failure> {
    let folders = [("completions", completion_files()), ("man", man_pages()?)];
    for (folder, files) in &folders {
        let directory = arguments.directory.join(folder);
        if arguments.check {
            up_to_date(&directory, files)?;
        } else {
            write(&directory, files)?;
            for stale in others(&directory, files)? {
                fs::remove_file(&stale).map_err(|error| file_failure("remove", &stale, &error))?;
            }
        }
    }
    let total: usize = folders.iter().map(|(_, files)| files.len()).sum();
    let state = if arguments.check { "up to date" } else { "written" };
    output.message(format_args!("{total} files under {} {state}", arguments.directory.display()));
    Ok(())
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "wardian", &mut text);
    text
}

/// By the names under which shells look for them.
fn completion_files() -> Files {
    [(Shell::Bash, "wardian.bash"), (Shell::Zsh, "_wardian"), (Shell::Fish, "wardian.fish")]
        .map(|(shell, name)| (PathBuf::from(name), completion(shell)))
        .into()
}

/// `wardian.1`, `wardian-up.1`, `wardian-image-import.1` and so on; none for hidden commands and for `help`.
fn man_pages() -> Result<Files, Failure> {
    let mut root = Arguments::command().disable_help_subcommand(true);
    // Fills in each command's full name and the options it inherits.
    root.build();
    let mut pages = Files::new();
    let mut left = vec![root];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| Failure::new(format!("can't make the man page of {name}: {error}")))?;
        pages.insert(PathBuf::from(name + ".1"), page);
    }
    Ok(pages)
}

fn write(directory: &Path, files: &Files) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| file_failure("make the folder", directory, &error))?;
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).map_err(|error| file_failure("write", &path, &error))?;
    }
    Ok(())
}

fn up_to_date(directory: &Path, files: &Files) -> Result<(), Failure> {
    let mut stale = others(directory, files)?;
    for (name, content) in files {
        let path = directory.join(name);
        match fs::read(&path) {
            Ok(found) if found == *content => {}
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(file_failure("read", &path, &error)),
            Ok(_) | Err(_) => {
                stale.insert(path);
            }
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(Problem::new(format!("{} is not what the command line's definitions make", directory.display()))
        .details(stale.iter().map(|path| path.display().to_string()))
        .hint("`wardian generate` makes it so")
        .into())
}

/// The files of a folder that nothing makes any more.
fn others(directory: &Path, files: &Files) -> Result<BTreeSet<PathBuf>, Failure> {
    let failure = |error: std::io::Error| file_failure("list", directory, &error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(failure(error)),
    };
    let mut others = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(failure)?;
        if !files.contains_key(Path::new(&entry.file_name())) {
            others.insert(entry.path());
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_checked_in_is_what_the_definitions_make() {
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
        for (folder, files) in [("completions", completion_files()), ("man", man_pages().unwrap())] {
            if let Err(Failure::Problem(problem)) = up_to_date(&packaging.join(folder), &files) {
                panic!("{}", problem.json());
            }
        }
    }

    #[test]
    fn every_visible_command_has_a_man_page() {
        let pages = man_pages().unwrap();
        for name in ["wardian.1", "wardian-up.1", "wardian-image-import.1", "wardian-host-check.1", "wardian-daemon.1"]
        {
            assert!(pages.contains_key(Path::new(name)), "{name} of {:?}", pages.keys());
        }
        assert!(!pages.keys().any(|name| name.to_str().unwrap().contains("generate")));
    }

    #[test]
    fn stale_and_left_over_files_are_found_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::from([("a".into(), b"new".to_vec())]);
        let stale = |folder: &Path| up_to_date(folder, &files).is_err();
        assert!(stale(folder.path()));
        fs::write(folder.path().join("a"), "old").unwrap();
        assert!(stale(folder.path()));
        write(folder.path(), &files).unwrap();
        assert!(!stale(folder.path()));
        fs::write(folder.path().join("b"), "").unwrap();
        assert!(stale(folder.path()));
    }
}
