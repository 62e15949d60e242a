//! What can go wrong with a store, one variant per thing a caller may want to tell apart.
//!
//! A transaction whose conditions do not hold is not an error but an [`Outcome`](crate::Outcome).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ffi;

use crate::{LeaseId, Revision};

/// The cause below an error. Shared, because one failed write may fail several waiting callers.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// What every operation of a store returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation of a store failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no key (or no prefix of keys).
    #[error("{key:?} is not a key: {reason}")]
    InvalidKey {
        /// The refused text, cut after 64 characters.
        key: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A value is longer than [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES).
    #[error("the value of {key} has {bytes} bytes; at most {limit} are allowed")]
    ValueTooLarge {
        /// The key the value is for.
        key: String,
        /// Length of the value.
        bytes: usize,
        /// The longest value allowed.
        limit: usize,
    },
    /// A transaction puts a key twice, or puts and deletes it.
    #[error("a transaction writes {key} more than once")]
    WrittenTwice {
        /// The key in question.
        key: String,
    },
    /// A transaction has more conditions or more writes than
    /// [`MAX_OPERATIONS`](crate::MAX_OPERATIONS).
    #[error("a transaction has {count} {what}; at most {limit} are allowed")]
    TooManyOperations {
        /// `"conditions"` or `"writes"`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Keys and values of a transaction together exceed
    /// [`MAX_TRANSACTION_BYTES`](crate::MAX_TRANSACTION_BYTES).
    #[error("a transaction carries {bytes} bytes of keys and values; at most {limit} are allowed")]
    TransactionTooLarge {
        /// Bytes of all keys and values.
        bytes: usize,
        /// The most a transaction may carry.
        limit: usize,
    },
    /// The lease was never granted, was revoked, or has expired.
    #[error("lease {lease} does not exist (any more)")]
    LeaseNotFound {
        /// The lease asked for.
        lease: LeaseId,
    },
    /// A lease cannot live for this long.
    #[error("{ttl:?} is no time to live for a lease: it must be above zero and at most {limit:?}")]
    InvalidTtl {
        /// The refused time to live.
        ttl: Duration,
        /// The longest allowed.
        limit: Duration,
    },
    /// The history a watch needs is gone. List again and watch from there.
    #[error("the history before revision {oldest} has been compacted away")]
    Compacted {
        /// The oldest revision a watch can still start from.
        oldest: Revision,
    },
    /// The revision lies in the future.
    #[error("revision {asked} does not exist yet; the store is at {current}")]
    FutureRevision {
        /// The revision asked for.
        asked: Revision,
        /// The store's revision.
        current: Revision,
    },
    /// The value found under a key is not what the caller's type expects.
    #[error("cannot decode the value of {key}")]
    Decode {
        /// The key whose value it is.
        key: String,
        /// What the decoder says.
        source: Cause,
    },
    /// The value for a key cannot be written as JSON.
    #[error("cannot encode the value for {key}")]
    Encode {
        /// The key the value was for.
        key: String,
        /// What the encoder says.
        source: Cause,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "{path} has schema {found}, written by a newer version; this version knows schemas up to {supported}",
        path = path.display()
    )]
    NewerSchema {
        /// The store's file.
        path: PathBuf,
        /// The schema of the file.
        found: u32,
        /// The newest schema this version knows.
        supported: u32,
    },
    /// The file is damaged, or is no store at all.
    #[error("{path} is damaged or is not a store", path = path.display())]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// What was found.
        source: Cause,
    },
    /// Another process (or another store in this one) has the file open.
    #[error("{path} is in use by another process", path = path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The engine could not do its work: disk full, I/O error, connection lost.
    ///
    /// From [`commit`](crate::Store::commit) this leaves open whether the transaction happened.
    #[error("cannot {action} the store {name}")]
    Engine {
        /// What was attempted: `"open"`, `"read"`, `"write"`.
        action: &'static str,
        /// The store's file or address.
        name: String,
        /// What the engine says.
        source: Cause,
    },
    /// The text is no address of an etcd.
    #[error("{endpoint:?} is no address of an etcd: {reason}")]
    InvalidEndpoint {
        /// The refused text.
        endpoint: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// No member of the etcd answers: none runs, the addresses are wrong, or the network is cut.
    ///
    /// From [`commit`](crate::Store::commit) this leaves open whether the transaction happened.
    #[error("no etcd answers at {endpoints}")]
    Unreachable {
        /// The addresses tried.
        endpoints: String,
        /// What was met at each.
        source: Cause,
    },
    /// A certificate can't be read, or is refused by one side. Waiting does not help.
    #[error("{fault} (etcd at {endpoints})")]
    Certificate {
        /// Which certificate, and by whom.
        fault: CertificateFault,
        /// The addresses it is for.
        endpoints: String,
        /// What was found.
        source: Cause,
    },
    /// The etcd has no leader: more than half of its members have to run and reach each other. Nothing can be read or
    /// written until they do, and nothing that was acknowledged is lost.
    ///
    /// From [`commit`](crate::Store::commit) this leaves open whether the transaction happened.
    #[error("the etcd at {endpoints} has no quorum: more than half of its members must run and reach each other")]
    NoQuorum {
        /// The addresses tried.
        endpoints: String,
        /// What its members say.
        source: Cause,
    },
    /// The store has been closed.
    #[error("the store {name} is closed")]
    Closed {
        /// The store's file or address.
        name: String,
    },
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// A file of ours, named by the cause, is missing or holds no certificate or key.
    #[error("the certificates of this host can't be used")]
    Unusable,
    /// This host does not accept etcd's.
    #[error("etcd's certificate is not accepted: it must be of the authority given, be valid now and name its address")]
    Theirs,
    /// Etcd does not accept this host's, or wants one and is shown none.
    #[error("etcd does not accept this host's certificate: it must be of the authority etcd trusts, and be valid now")]
    Ours,
}

impl Error {
    /// Whether the engine had no space to write to, or may have had none: an exceeded quota can't be told from other
    /// failures to write, for SQLite keeps its cause to itself. Nothing has happened then.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Engine { source, .. } = self else { return false };
        if let Some(error) = source.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        }
        // A full disk is FULL from the file and the log, and SHMSIZE from the index of the log.
        source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error).is_some_and(|error| {
            matches!(error.extended_code, ffi::SQLITE_FULL | ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)
        })
    }

    /// What to do about it, where it is not Wardian's own fault.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { .. } => {
                "machines and networks go on as they are; nothing can be changed until etcd answers: see to it that its \
                 members run and can be reached from this host"
            }
            Self::NoQuorum { .. } => {
                "machines and networks go on as they are; nothing can be changed until more than half of the members of \
                 etcd run and reach each other"
            }
            Self::Certificate { .. } => "correct the certificates in [cluster] of the configuration, or etcd's",
            Self::InvalidEndpoint { .. } => "correct `endpoints` in [cluster] of the configuration",
            _ => return None,
        })
    }

    /// Whether the engine failed, as opposed to having refused a request it understood.
    pub(crate) fn is_engine_failure(&self) -> bool {
        matches!(
            self,
            Self::Engine { .. }
                | Self::Corrupt { .. }
                | Self::Unreachable { .. }
                | Self::Certificate { .. }
                | Self::NoQuorum { .. }
        )
    }
}
