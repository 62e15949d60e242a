//! The state directory: its version, and that one daemon has it.

use std::{
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
};

use wardian_model::id::EnvironmentId;

use crate::paths::Paths;

/// The layout this version writes ([`Paths`]).
pub const FORMAT: u32 = 1;

/// Why a state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A later version has written it.
    #[error("{path} has layout {found}, from a later version of Wardian; this version knows up to {FORMAT}")]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// The file that says the version says something else.
    #[error("{path} does not hold a version")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// Something can't be made, read or written.
    #[error("{path} can't be used")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StateError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "run the version that wrote it, or choose another state directory",
            Self::Format { .. } => "choose another state directory, or restore the file from a backup",
            Self::Io { .. } => "run the daemon as root, and see to it that the directory can be written",
        }
    }
}

/// Makes the directories that are missing and checks the version of what is there. Gives the word by which this
/// state's kernel objects are told from others'.
///
/// # Errors
/// When it is from a later version, or can't be used. Nothing is changed then.
pub fn prepare(paths: &Paths) -> Result<String, StateError> {
    check_format(paths)?;
    // Machines run as users of their own: those may pass through to their files, and list nothing.
    let shared = [paths.state().to_owned(), paths.run().to_owned(), paths.layers(), paths.machines(), paths.memory()];
    shared.into_iter().try_for_each(make)?;
    make(paths.saved_memories())?;
    make(paths.state().join("seeds"))?;
    once(paths.format(), || FORMAT.to_string())?;
    once(paths.instance(), || EnvironmentId::random().to_string())
}

/// The line in the file; written when there is none.
fn once(path: PathBuf, line: impl FnOnce() -> String) -> Result<String, StateError> {
    let failed = |source| StateError::Io { path: path.clone(), source };
    if !path.exists() {
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, line() + "\n").map_err(failed)?;
        std::fs::rename(&temporary, &path).map_err(failed)?;
    }
    Ok(std::fs::read_to_string(&path).map_err(failed)?.trim().to_owned())
}

fn make(path: PathBuf) -> Result<(), StateError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&path);
    let set = made.and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711)));
    set.map_err(|source| StateError::Io { path, source })
}

fn check_format(paths: &Paths) -> Result<(), StateError> {
    let path = paths.format();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StateError::Io { path, source }),
    };
    let found: u32 = text.trim().parse().map_err(|_| StateError::Format { path })?;
    if found > FORMAT {
        return Err(StateError::Newer { path: paths.state().to_owned(), found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_from_a_later_version_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&dir.path().join("state"), &dir.path().join("run"));
        prepare(&paths).unwrap();
        prepare(&paths).unwrap();
        std::fs::write(paths.format(), "999\n").unwrap();
        assert!(matches!(prepare(&paths), Err(StateError::Newer { found: 999, .. })));
        std::fs::write(paths.format(), "?").unwrap();
        assert!(matches!(prepare(&paths), Err(StateError::Format { .. })));
    }
}
