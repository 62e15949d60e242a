//! What a user sees of an environment file that can't be used, or probably isn't meant: the place, the words, the hint.
//! One test per mistake; the expectations are the whole output.

mod acl;
mod edge;
mod keys_and_values;
mod machines;
mod network;
mod starts;
mod subnets;
mod yaml;

use wardian_model::file::{EnvironmentFile, FileError, MAX_MACHINES, Severity, read};

/// The problems of a file, as a user reads them.
#[track_caller]
fn problems(text: &str) -> String {
    match read(text, "env.yaml") {
        Ok(_) => panic!("this file was read without a problem:\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn file(text: &str) -> EnvironmentFile {
    read(text, "env.yaml").unwrap_or_else(|error| panic!("{error}"))
}

/// The warnings of a file that can be used.
#[track_caller]
fn warnings(text: &str) -> String {
    let warnings = file(text).warnings;
    assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
    warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

/// `line:column` of every problem.
fn places(error: &FileError) -> Vec<(usize, usize)> {
    error.problems.iter().map(|problem| (problem.line, problem.column)).collect()
}

/// A file with a machine `web` that has `lines`, each at column 5.
fn web(lines: &[&str]) -> String {
    format!(
        "name: store\nmachines:\n  web:\n    image: micro\n    {}\n  db: {{ image: micro }}\n",
        lines.join("\n    ")
    )
}

/// A file with machines `web` and `db`, followed by `lines`.
fn with(lines: &str) -> String {
    format!("name: store\nmachines:\n  web: {{ image: micro }}\n  db: {{ image: micro }}\n{lines}\n")
}
