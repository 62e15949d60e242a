//! What can go wrong between a command and the daemon.

use std::{io, path::PathBuf};

use wardian_api::wire::{ApiError, ErrorKind};

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no daemon answers at {}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket is there, but not for this user.
    #[error("this user may not use the daemon's socket {}", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket can't be connected to for another reason.
    #[error("can't connect to the daemon's socket {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The daemon understood, and refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The connection ended before the answer did: the daemon stopped, or was killed.
    #[error("the daemon at {} ended the connection before its answer was complete", path.display())]
    Interrupted {
        /// The socket.
        path: PathBuf,
    },
    /// What answered doesn't speak this interface.
    #[error("what answers at {} doesn't speak this version of Wardian's interface: {what}", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What was not understood.
        what: String,
    },
    /// The content to be sent could not be read.
    #[error("what was to be sent can't be read")]
    Content(#[source] io::Error),
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NoDaemon { .. } => Some("start the daemon (`wardian daemon`), or name the socket it listens on"),
            Self::NotAllowed { .. } => {
                Some("run the command as root, or as a member of the group that owns the socket")
            }
            Self::Refused(error) => error.hint.as_deref(),
            Self::Interrupted { .. } => {
                Some("what was asked for goes on when the daemon is started again; `wardian status` tells")
            }
            Self::Protocol { .. } => Some("use a `wardian` command of the daemon's version"),
            Self::Connect { .. } | Self::Content(_) => None,
        }
    }

    /// Further lines, such as an excerpt of a file or the end of a console.
    #[must_use]
    pub fn details(&self) -> &[String] {
        match self {
            Self::Refused(error) => &error.details,
            _ => &[],
        }
    }

    /// The daemon's kind of refusal, where it is one.
    #[must_use]
    pub const fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Refused(error) => Some(error.kind),
            _ => None,
        }
    }

    /// Whether the daemon may just be restarting, so that asking again can help.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::NoDaemon { .. } | Self::Interrupted { .. })
    }
}
