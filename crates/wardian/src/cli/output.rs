//! Where text goes: data to standard output, messages to standard error, colours only where someone looks.

use std::{
    io::{ErrorKind, IsTerminal, Write, stderr, stdout},
    path::Path,
};

use comfy_table::{Cell, Color};
use serde::Serialize;

use super::{
    args::Global,
    failure::{Failure, Problem},
};

/// How the user wants to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// No messages and no progress.
    pub(crate) quiet: bool,
    /// Colours of standard output.
    pub(crate) data_style: Style,
    /// Colours of standard error.
    pub(crate) message_style: Style,
    /// Someone looks at standard error, so lines may be redrawn.
    pub(crate) live: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        // https://no-color.org: any value but the empty one.
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| Style { colour: terminal && wanted && !dumb };
        Self {
            json: global.json,
            quiet: global.quiet,
            data_style: colour(stdout().is_terminal() && !global.json),
            message_style: colour(stderr().is_terminal()),
            live: stderr().is_terminal() && !dumb,
        }
    }

    /// Prints data as it is.
    pub(crate) fn data(self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut stdout = stdout().lock();
        stdout.write_all(bytes.as_ref()).and_then(|()| stdout.flush()).map_err(closed)
    }

    /// Prints data as one line of JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| Failure::new(format!("can't write the answer as JSON: {error}")))?;
        line.push(b'\n');
        self.data(line)
    }

    /// Prints a message, unless they aren't wanted.
    pub(crate) fn message(self, text: impl std::fmt::Display) {
        if !self.quiet {
            // Nobody is left to be told when standard error is gone.
            let _ = writeln!(stderr(), "{text}");
        }
    }

    /// Prints a warning, even when messages aren't wanted.
    pub(crate) fn warning(self, text: impl std::fmt::Display) {
        let _ = writeln!(stderr(), "{} {text}", self.message_style.mark("warning:"));
    }

    /// Prints a text of several lines that is a warning by itself.
    pub(crate) fn say(self, text: impl std::fmt::Display) {
        let _ = writeln!(stderr(), "{text}");
    }

    /// Prints a problem.
    pub(crate) fn problem(self, problem: &Problem) {
        let text = if self.json { problem.json() } else { problem.text(self.message_style) };
        let _ = stderr().write_all(text.as_bytes());
    }
}

/// A failure to write data.
fn closed(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::new(format!("can't write to standard output: {error}")),
    }
}

/// A failure to do something with a file.
pub(crate) fn file_failure(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("can't {what} {}: {error}", path.display()))
}

/// Whether words carry colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) colour: bool,
}

impl Style {
    /// No colours.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colour: false };

    fn paint(self, sgr: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Something to look at.
    pub(crate) fn mark(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// All is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// A phase or a verdict as the cell of a table, coloured by what it means.
    pub(crate) fn phase(self, word: &str) -> Cell {
        let colour = match word {
            "running" | "ready" | "ok" | "up" => Color::DarkGreen,
            "failed" | "down" => Color::Red,
            "degraded" | "paused" | "warning" => Color::Yellow,
            _ => return Cell::new(word),
        };
        if self.colour { Cell::new(word).fg(colour) } else { Cell::new(word) }
    }

    /// A phase in a sentence.
    pub(crate) fn word(self, word: &str) -> String {
        match word {
            "running" | "ready" => self.good(word),
            "failed" => self.bad(word),
            "degraded" | "paused" => self.mark(word),
            _ => word.to_owned(),
        }
    }
}
