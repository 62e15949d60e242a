//! Which QEMU this is, and whether it is new enough.

use std::io;
use std::path::{Path, PathBuf};

/// The oldest QEMU accepted: the first that takes a stream from a file (`migrate-incoming` with `file:`), as
/// [`crate::Machine::load_state`] does. The machine type we use is older.
pub const MINIMUM: Version = Version { major: 8, minor: 2, micro: 0 };

/// A QEMU version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Major number: one per year.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Stable update.
    pub micro: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Why a QEMU cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// There is no such program.
    #[error("there is no QEMU at {} (Debian: apt install qemu-system-x86 qemu-utils)", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be run.
    #[error("{} cannot be run", .path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not say a version.
    #[error("{} does not tell its version: {output:?}", .path.display())]
    Unreadable {
        /// The program.
        path: PathBuf,
        /// What it printed instead, at most 200 bytes.
        output: String,
    },
    /// It is older than what we need.
    #[error("QEMU {found} at {} is too old: {needed} or newer is needed", .path.display())]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: Version,
        /// The oldest accepted.
        needed: Version,
    },
}

/// Asks the program at `qemu` for its version and refuses one below [`MINIMUM`].
pub async fn version(qemu: &Path) -> Result<Version, VersionError> {
    let path = qemu.to_owned();
    let run = |source| VersionError::Run { path: path.clone(), source };
    let output = tokio::process::Command::new(qemu).arg("--version").kill_on_drop(true).output();
    let output = match tokio::time::timeout(std::time::Duration::from_secs(10), output).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(VersionError::Missing { path });
        }
        Ok(Err(error)) => return Err(run(error)),
        Err(_) => return Err(run(io::ErrorKind::TimedOut.into())),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(found) = read(&text) else {
        return Err(VersionError::Unreadable { path, output: text.chars().take(200).collect() });
    };
    if found < MINIMUM {
        return Err(VersionError::TooOld { path, found, needed: MINIMUM });
    }
    Ok(found)
}

/// Reads "QEMU emulator version 10.0.2 (…)"; distributions append to the number.
fn read(text: &str) -> Option<Version> {
    let rest = text.split_once("QEMU emulator version ")?.1;
    let number = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some(Version { major: parts.next()??, minor: parts.next()??, micro: parts.next().flatten().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_distributions_are_read() {
        let of = |text| read(text).map(|v| v.to_string());
        assert_eq!(of("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright").as_deref(), Some("10.0.2"));
        assert_eq!(of("QEMU emulator version 8.2-rc1").as_deref(), Some("8.2.0"));
        assert_eq!(of("QEMU emulator version "), None);
        assert_eq!(of("something else 9.1"), None);
    }

    #[tokio::test]
    async fn missing_binary_names_the_package() {
        let error = version(Path::new("/nowhere/qemu-system-x86_64")).await.unwrap_err();
        assert!(error.to_string().contains("apt install qemu-system-x86"), "{error}");
    }

    #[tokio::test]
    async fn old_binary_is_refused_with_both_versions() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qemu");
        for old in ["7.2.22", "8.1.5"] {
            std::fs::write(&path, format!("#!/bin/sh\necho QEMU emulator version {old}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            let error = version(&path).await.unwrap_err();
            assert!(error.to_string().contains(old) && error.to_string().contains("8.2.0"), "{error}");
        }
    }
}
