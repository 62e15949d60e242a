//! How a command ends when it doesn't end well, and how that is told.

use std::process::ExitCode;

use serde::Serialize;
use wardian_api::wire::{self, ErrorKind};
use wardian_client::ClientError;
use wardian_model::{
    environment,
    file::{Diagnostic, FileError},
};

use super::output::Style;

/// Why a command stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong; told on standard error, exit code 1.
    Problem(Box<Problem>),
    /// The command makes no sense; told on standard error, exit code 2.
    Usage(Box<Problem>),
    /// Who read standard output has read enough (`| head`). Not an error.
    OutputClosed,
    /// All has been said; end with this code.
    Exit(u8),
}

/// What went wrong, as it is printed, and with `--json` written as `{"error": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Problem {
    /// Which kind of refusal, when the daemon refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<ErrorKind>,
    /// What failed and why, in one sentence.
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Further lines.
    details: Vec<String>,
    /// What is wrong in a file, each with its place; they are shown instead of the message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Diagnostic>,
}

impl Problem {
    /// A problem of one sentence.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { kind: None, message: message.into(), hint: None, details: Vec::new(), problems: Vec::new() }
    }

    /// With what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With further lines.
    pub(crate) fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }

    /// As text: the sentence, its details indented, and what to do as the last line, where eyes end up.
    pub(crate) fn text(&self, style: Style) -> String {
        if !self.problems.is_empty() {
            return self
                .problems
                .iter()
                .map(|problem| diagnostic(problem, style) + "\n")
                .collect::<Vec<_>>()
                .join("\n");
        }
        let mut text = format!("{} {}\n", style.bad("error:"), self.message);
        text.extend(self.details.iter().map(|line| format!("  {line}\n")));
        if let Some(hint) = &self.hint {
            text += &format!("{} {hint}\n", style.mark("hint:"));
        }
        text
    }

    /// As one line of JSON.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            error: &'a Problem,
        }
        // A struct of strings and numbers always serializes.
        serde_json::to_string(&Line { error: self }).unwrap_or_default() + "\n"
    }
}

/// One thing wrong in a file, its first word painted.
pub(crate) fn diagnostic(diagnostic: &Diagnostic, style: Style) -> String {
    let text = diagnostic.to_string();
    match (text.strip_prefix("error:"), text.strip_prefix("warning:")) {
        (Some(rest), _) => style.bad("error:") + rest,
        (_, Some(rest)) => style.mark("warning:") + rest,
        _ => text,
    }
}

impl Failure {
    /// A problem of one sentence.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Problem::new(message).into()
    }

    /// Wrong usage, beyond what the parser can see.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(Box::new(Problem::new(message)))
    }

    /// What the process ends with.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Problem(_) => ExitCode::FAILURE,
            Self::Usage(_) => ExitCode::from(2),
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Exit(code) => ExitCode::from(*code),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<environment::Problem> for Problem {
    fn from(problem: environment::Problem) -> Self {
        Self { hint: problem.hint, details: problem.details, ..Self::new(problem.message) }
    }
}

impl From<wire::Problem> for Problem {
    fn from(problem: wire::Problem) -> Self {
        Self { hint: problem.hint, details: problem.details, ..Self::new(problem.message) }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let message = match std::error::Error::source(&error) {
            Some(source) if !matches!(error, ClientError::Refused(_)) => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        let hint = error.hint().map(str::to_owned);
        Self { kind: error.kind(), hint, details: error.details().to_vec(), ..Self::new(message) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Problem::from(error).into()
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        let message = match error.problems.as_slice() {
            [] => "the file can't be used".to_owned(),
            [only] => format!("{}:{}:{}: {}", only.file, only.line, only.column, only.message),
            [first, ..] => format!("{} has {} problems", first.file, error.problems.len()),
        };
        Self { problems: error.problems, ..Self::new(message) }
    }
}

#[cfg(test)]
mod tests {
    use wardian_api::wire::ApiError;

    use super::*;

    fn problem() -> Problem {
        Problem::new("machine web of store did not become ready within 5m: nothing listens on tcp 80")
            .hint("`wardian console store/web` shows what it prints")
            .details(["[    3.1] micro: init".to_owned(), "[    3.2] httpd: bind: Address in use".to_owned()])
    }

    #[test]
    fn a_problem_is_a_sentence_with_details_and_a_hint() {
        insta::assert_snapshot!(problem().text(Style::PLAIN), @r"
        error: machine web of store did not become ready within 5m: nothing listens on tcp 80
          [    3.1] micro: init
          [    3.2] httpd: bind: Address in use
        hint: `wardian console store/web` shows what it prints
        ");
    }

    #[test]
    fn a_problem_in_json_is_one_line_under_error() {
        insta::assert_snapshot!(problem().json(), @r#"{"error":{"message":"machine web of store did not become ready within 5m: nothing listens on tcp 80","hint":"`wardian console store/web` shows what it prints","details":["[    3.1] micro: init","[    3.2] httpd: bind: Address in use"]}}"#);
        let refusal =
            ApiError::new(ErrorKind::NotFound, "there is no environment shop").hint("`wardian ls` lists them");
        insta::assert_snapshot!(Problem::from(ClientError::Refused(refusal)).json(), @r#"{"error":{"kind":"not-found","message":"there is no environment shop","hint":"`wardian ls` lists them","details":[]}}"#);
    }

    #[test]
    fn problems_of_a_file_are_shown_with_their_lines() {
        let error = wardian_model::file::read("name: store\nmachnes: {}\n", "store.yaml").unwrap_err();
        let text = Problem::from(error).text(Style::PLAIN);
        assert!(text.starts_with("error: "), "{text}");
        assert!(text.contains("store.yaml:2:1"), "{text}");
    }
}
