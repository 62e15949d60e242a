//! `qemu-img` as typed calls. The format of every file is always given, by the caller, never guessed by the program.

use crate::bounded::{Bounds, Ended, run};
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// How much one run of `qemu-img` may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Address space in bytes.
    pub memory: u64,
    /// For looking at headers.
    pub look: Duration,
    /// For reading or writing a whole disk.
    pub work: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 4 << 30, look: Duration::from_secs(60), work: Duration::from_secs(6 * 3600) }
    }
}

/// `qemu-img` could not be used, or refused.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The program is not there or cannot be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// What was to be started.
        program: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("qemu-img {verb} of {} failed: {words}", path.display())]
    Failed {
        /// `convert`, `check`, …
        verb: &'static str,
        /// The file it worked on.
        path: PathBuf,
        /// Its last line on standard error.
        words: String,
    },
    /// It was stopped because it took too long.
    #[error("qemu-img {verb} of {} was stopped after {} s", path.display(), limit.as_secs())]
    TooLong {
        /// `convert`, `check`, …
        verb: &'static str,
        /// The file it worked on.
        path: PathBuf,
        /// The time it had.
        limit: Duration,
    },
}

impl ToolError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Start { .. } => "install the package qemu-utils",
            Self::Failed { .. } => "look at the file with `qemu-img info` and `qemu-img check`",
            Self::TooLong { .. } => {
                "the file may be damaged, or the disk under it very slow: try again on an idle host"
            }
        }
    }

    /// Whether the disk was full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Failed { words, .. } if words.contains("No space left") || words.contains("Disk quota"))
    }
}

/// What `qemu-img info` says about one image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Info {
    pub(crate) virtual_size: u64,
    #[serde(default)]
    pub(crate) encrypted: bool,
    pub(crate) backing_filename: Option<String>,
}

/// What `qemu-img check` found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// All in order, or only space lost.
    Good,
    /// The format has no check.
    Unknown,
    /// Damaged, and how.
    Bad(String),
}

#[derive(Deserialize)]
struct Measure {
    required: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CheckReport {
    #[serde(default)]
    corruptions: u64,
    #[serde(default)]
    check_errors: u64,
}

/// The program and its limits.
#[derive(Debug, Clone)]
pub struct QemuImg {
    program: PathBuf,
    limits: Limits,
}

impl Default for QemuImg {
    fn default() -> Self {
        Self::new("qemu-img", Limits::default())
    }
}

impl QemuImg {
    /// `program` is a path, or a name to be found on the PATH.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, limits: Limits) -> Self {
        Self { program: program.into(), limits }
    }

    pub(crate) async fn info(&self, path: &Path, driver: &str) -> Result<Info, ToolError> {
        let mut command = self.command("info");
        command.args(["--output=json", "-f", driver, "--"]).arg(path);
        let ended = self.good("info", path, command, self.limits.look, |_| ()).await?;
        parse("info", path, &ended)
    }

    pub(crate) async fn check(&self, path: &Path, driver: &str) -> Result<Checked, ToolError> {
        let mut command = self.command("check");
        command.args(["--output=json", "-f", driver, "--"]).arg(path);
        let ended = self.run("check", path, command, self.limits.work, u64::MAX, |_| ()).await?;
        match ended.status.code() {
            // 3: clusters are lost but the content is whole.
            Some(0 | 3) => Ok(Checked::Good),
            Some(63) => Ok(Checked::Unknown),
            _ => Ok(Checked::Bad(match serde_json::from_slice::<CheckReport>(&ended.stdout) {
                Ok(report) if report.corruptions > 0 => format!("{} errors in its tables", report.corruptions),
                Ok(report) if report.check_errors > 0 => format!("{} parts cannot be read", report.check_errors),
                _ => ended.words(),
            })),
        }
    }

    /// How many bytes a qcow2 copy would take, at most.
    pub(crate) async fn measure(&self, path: &Path, driver: &str) -> Result<u64, ToolError> {
        let mut command = self.command("measure");
        command.args(["--output=json", "-O", "qcow2", "-f", driver, "--"]).arg(path);
        let ended = self.good("measure", path, command, self.limits.work, |_| ()).await?;
        parse::<Measure>("measure", path, &ended).map(|measure| measure.required)
    }

    /// Copies `from` to a new qcow2 file `to` of at most `limit` bytes; `percent` is told how far it is.
    pub(crate) async fn convert(
        &self,
        from: &Path,
        driver: &str,
        to: &Path,
        limit: u64,
        percent: impl Fn(f32),
    ) -> Result<(), ToolError> {
        let mut command = self.command("convert");
        // One coroutine: the same content then gives the same bytes, and so the same digest.
        command.args(["-p", "-m", "1", "-O", "qcow2", "-o", "compat=1.1,cluster_size=64k", "-f", driver, "--"]);
        command.arg(from).arg(to);
        let ended = self.run("convert", from, command, self.limits.work, limit, |bytes| {
            if let Some(done) = progress(bytes) {
                percent(done);
            }
        });
        let ended = ended.await?;
        if ended.status.success() { Ok(()) } else { Err(failed("convert", from, &ended)) }
    }

    /// Makes an empty overlay on `base`.
    pub(crate) async fn create_overlay(
        &self,
        path: &Path,
        base: &Path,
        base_driver: &str,
        size: Option<u64>,
    ) -> Result<(), ToolError> {
        let mut command = self.command("create");
        command.args(["-q", "-f", "qcow2", "-F", base_driver, "-b"]).arg(base).arg("--").arg(path);
        if let Some(size) = size {
            command.arg(size.to_string());
        }
        self.good("create", path, command, self.limits.look, |_| ()).await.map(drop)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        // Its messages are read here, in English.
        command.arg(verb).env("LC_ALL", "C");
        command
    }

    async fn good(
        &self,
        verb: &'static str,
        path: &Path,
        command: Command,
        time: Duration,
        seen: impl FnMut(&[u8]),
    ) -> Result<Ended, ToolError> {
        let ended = self.run(verb, path, command, time, u64::MAX, seen).await?;
        if ended.status.success() { Ok(ended) } else { Err(failed(verb, path, &ended)) }
    }

    async fn run(
        &self,
        verb: &'static str,
        path: &Path,
        command: Command,
        time: Duration,
        file: u64,
        seen: impl FnMut(&[u8]),
    ) -> Result<Ended, ToolError> {
        let bounds = Bounds { memory: self.limits.memory, time, file };
        match run(command, bounds, seen).await {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) => Err(ToolError::TooLong { verb, path: path.into(), limit: time }),
            Err(source) => Err(ToolError::Start { program: self.program.clone(), source }),
        }
    }
}

fn failed(verb: &'static str, path: &Path, ended: &Ended) -> ToolError {
    ToolError::Failed { verb, path: path.into(), words: ended.words() }
}

fn parse<T: serde::de::DeserializeOwned>(verb: &'static str, path: &Path, ended: &Ended) -> Result<T, ToolError> {
    serde_json::from_slice(&ended.stdout).map_err(|error| ToolError::Failed {
        verb,
        path: path.into(),
        words: format!("its answer is not understood: {error}"),
    })
}

/// The last percentage in a piece of `qemu-img -p` output, which looks like `    (25.00/100%)\r`.
fn progress(bytes: &[u8]) -> Option<f32> {
    let text = String::from_utf8_lossy(bytes);
    let end = text.rfind("/100%")?;
    let start = text[..end].rfind('(')?;
    text[start + 1..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_percentage_of_a_piece_counts() {
        assert_eq!(progress(b"    (0.00/100%)\r    (25.50/100%)\r"), Some(25.5));
        assert_eq!(progress(b"    (25.5"), None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_says_what_to_install() {
        let tool = QemuImg::new("/nonexistent/qemu-img", Limits::default());
        let error = tool.info(Path::new("/dev/null"), "raw").await.unwrap_err();
        assert!(matches!(error, ToolError::Start { .. }));
        assert!(error.hint().contains("qemu-utils"));
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_stopped() {
        let limits = Limits { look: Duration::from_millis(50), ..Limits::default() };
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("slow");
        std::fs::write(&script, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = QemuImg::new(script, limits).info(Path::new("/dev/null"), "raw").await.unwrap_err();
        assert!(matches!(error, ToolError::TooLong { .. }), "{error}");
    }
}
