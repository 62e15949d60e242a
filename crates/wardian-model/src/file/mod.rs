//! Reading an environment file: from YAML to an [`EnvironmentSpec`], with the line and column of everything wrong.
//!
//! * [`read`] does it all: the text becomes a tree with positions (`tree`), the tree is compared with the
//!   `shape` of a file (`walk`), the result becomes a specification, and its parts are checked against each
//!   other ([`check`]);
//! * [`check`] alone serves specifications that came another way; [`check_on`] asks what depends on the host;
//! * [`schema`] describes the file for editors.
//!
//! Where the file lies and how a problem is shown in colour is left to the command line.

mod check;
mod diagnostic;
mod graph;
mod schema;
mod shape;
mod surroundings;
mod text;
mod tree;
mod value;
mod walk;

use serde::Deserialize as _;

pub use check::{Finding, MAX_MACHINES, MIN_MEMORY, Part, check, check_acl};
pub use diagnostic::{Diagnostic, FileError, Severity};
pub use schema::schema;
pub use surroundings::{Surroundings, check_on};

use crate::spec::EnvironmentSpec;
use text::Text;
use walk::{Places, Walk};

/// The longest file that is read, in bytes: 4 MiB.
pub const MAX_LENGTH: usize = 4 << 20;

/// An environment file without errors.
#[derive(Debug, Clone)]
pub struct EnvironmentFile {
    /// What it asks for.
    pub spec: EnvironmentSpec,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Diagnostic>,
    text: Text,
    places: Places,
}

impl EnvironmentFile {
    /// Gives findings about [`Self::spec`], such as those of [`check_on`], their place in the file.
    #[must_use]
    pub fn locate(&self, findings: Vec<Finding>) -> Vec<Diagnostic> {
        findings.into_iter().map(|finding| self.places.locate(&self.text, finding)).collect()
    }
}

/// Reads `text`, the content of the file that messages call `name`.
///
/// # Errors
/// With everything that is wrong: as many problems as can be told apart in one pass. Problems of YAML itself hide
/// all others; wrong values hide how the parts fit together.
pub fn read(text: &str, name: &str) -> Result<EnvironmentFile, FileError> {
    let text = Text::new(name, text);
    if text.content().len() > MAX_LENGTH {
        let message = format!("the file has {} bytes; {MAX_LENGTH} at most", text.content().len());
        return Err(FileError { problems: vec![text.diagnostic(Severity::Error, tree::Mark::START, message, None)] });
    }
    let tree = tree::parse(&text)?;
    let (value, mut problems, places) = Walk::over(&text, &tree.root);
    problems.extend(tree.duplicates);
    let mut warnings = Vec::new();
    let mut read = None;
    if let Some(value) = value {
        match EnvironmentSpec::deserialize(&value) {
            Ok(spec) => {
                for finding in check(&spec) {
                    let diagnostic = places.locate(&text, finding);
                    match diagnostic.severity {
                        Severity::Error => problems.push(diagnostic),
                        Severity::Warning => warnings.push(diagnostic),
                    }
                }
                read = Some(spec);
            }
            Err(error) => {
                problems.push(text.diagnostic(Severity::Error, tree::Mark::START, error.to_string(), None));
            }
        }
    }
    match read {
        Some(spec) if problems.is_empty() => Ok(EnvironmentFile { spec, warnings, text, places }),
        _ => {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(FileError { problems })
        }
    }
}
