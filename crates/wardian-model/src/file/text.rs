//! The text of a file, asked for single lines and pieces when a problem is shown.

use super::{
    diagnostic::{Diagnostic, Severity},
    tree::Mark,
};

/// Lines are shown up to this many characters.
const WIDTH: usize = 160;

/// A file's name and content.
#[derive(Debug, Clone)]
pub(super) struct Text {
    name: String,
    content: String,
}

impl Text {
    /// `content` of the file that messages call `name`.
    pub(super) fn new(name: &str, content: &str) -> Self {
        // A byte order mark is no character of the first line.
        let content = content.strip_prefix('\u{feff}').unwrap_or(content);
        Self { name: name.to_owned(), content: content.to_owned() }
    }

    /// All of it.
    pub(super) fn content(&self) -> &str {
        &self.content
    }

    /// Shows `message` at `mark`.
    pub(super) fn diagnostic(
        &self,
        severity: Severity,
        mark: Mark,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Diagnostic {
        let line = mark.line.max(1);
        let column = mark.column.max(1);
        let source = self.content.lines().nth(line - 1).unwrap_or_default();
        let characters = source.chars().count();
        // A mark may span several lines (a block of text), or none (the end of a table): what is shown is one line.
        let rest = source.trim_end().chars().count().saturating_sub(column - 1);
        let source = source.chars().take(WIDTH).map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
        let source: String = source.chain((characters > WIDTH).then_some('…')).collect();
        let length = mark.length.min(rest).min(WIDTH.saturating_sub(column)).max(1);
        Diagnostic { severity, message: message.into(), hint, file: self.name.clone(), line, column, length, source }
    }
}
