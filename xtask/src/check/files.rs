//! Source files: none too long, each opening with what it is for, and no test that is left out or code left undone.

use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A file above this wants to be two.
const LIMIT: usize = 600;

/// How long a line of a comment may be, as those of code (`rustfmt.toml`), which are wrapped without asking. Rows of
/// tables can't be.
const WIDTH: usize = 120;

pub(super) fn check() -> Result<()> {
    let top = run::repository();
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        sources(&top.join(folder), &mut files)?;
    }
    let mut wrong = Vec::new();
    let mut sizes = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        sizes.push(text.lines().count());
        let name = path.strip_prefix(&top).unwrap_or(path).display().to_string();
        wrong.extend(judge(&text).into_iter().map(|reason| format!("{name}: {reason}")));
    }
    sizes.sort_unstable();
    if let (Some(median), Some(longest)) = (sizes.get(sizes.len() / 2), sizes.last()) {
        eprintln!(
            "   {} files, {} lines; median {median}, longest {longest}",
            files.len(),
            sizes.iter().sum::<usize>()
        );
    }
    if !wrong.is_empty() {
        wrong.sort();
        bail!("\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn judge(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let count = text.lines().count();
    if count > LIMIT {
        wrong.push(format!("{count} lines, {LIMIT} at most"));
    }
    if !text.starts_with("//!") {
        wrong.push("does not open with a //! paragraph".to_owned());
    }
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.chars().count() > WIDTH) {
        let text = line.trim_start().strip_prefix("//").map(|text| text.trim_start_matches(['/', '!', ' ']));
        if text.is_some_and(|text| !text.starts_with('|')) {
            wrong.push(format!("line {}: a comment longer than {WIDTH}", index + 1));
        }
    }
    // Written apart, so that this file does not find itself.
    for (before, after) in [("todo", "!("), ("unimplemented", "!("), ("#[ig", "nore")] {
        let forbidden = format!("{before}{after}");
        for (index, line) in text.lines().enumerate() {
            if line.contains(&forbidden) && !line.trim_start().starts_with("//") {
                wrong.push(format!("line {}: {forbidden}", index + 1));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_unopened_and_unfinished_files_are_named() {
        assert!(judge("//! What it is for.\n").is_empty());
        assert_eq!(judge("fn main() {}\n").len(), 1);
        assert_eq!(judge(&("//! x\n".to_owned() + &"\n".repeat(600))).len(), 1);
        assert_eq!(judge(&format!("//! {}\n", "x".repeat(120))).len(), 1);
        assert_eq!(judge(&format!("//! x\n{}\n#[ig{}]\n", "todo!".to_owned() + "()", "nore")).len(), 2);
    }
}
