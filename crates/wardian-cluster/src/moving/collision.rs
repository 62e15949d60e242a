//! Why a host's records can't go along, as people read it.

use std::fmt;

use super::kind::Kind;

/// How many collisions are told one by one.
const TOLD: usize = 10;

/// Why records can't be moved. The host's own store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Others have what they would be.
    #[error("the cluster already has {0}")]
    Collisions(Collisions),
    /// The store is a cluster's already.
    #[error("this host's own store has the record {key}, so it is a cluster's already")]
    Clustered {
        /// One of its records.
        key: String,
    },
    /// A later version has written them.
    #[error("this host's own store has records that this version doesn't know: {}", told(.keys))]
    Unknown {
        /// Their keys.
        keys: Vec<String>,
    },
    /// The host's own store can't be read.
    #[error("this host's own store can't be read")]
    From(#[source] wardian_store::Error),
    /// The cluster's store can't be used.
    #[error("the cluster's store can't be used")]
    To(#[source] wardian_store::Error),
}

impl MoveError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Collisions(collisions) => collisions.hint(),
            Self::Clustered { .. } => "a host can be in one cluster only",
            Self::Unknown { .. } => "run the version that wrote them",
            Self::From(_) => "see whether the daemon still runs: end it first",
            Self::To(_) => "see to it that etcd runs and can be reached from here, and run this again",
        }
    }
}

/// What is in the cluster already, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collisions(pub(super) Vec<Collision>);

impl Collisions {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Collision] {
        &self.0
    }

    fn hint(&self) -> &'static str {
        match self.0.first().map(|first| first.kind) {
            Some(Kind::Environment) => {
                "clone what is to be kept under another name (`wardian clone`) and remove the old one (`wardian rm`), \
                 here or there"
            }
            Some(Kind::Image) => "remove the image on one side (`wardian image rm`), and import it under another name",
            Some(Kind::Claim) => {
                "edges, public addresses and ports are one environment's each in a cluster: remove the environments \
                 here that have them (`wardian rm`), and make them again once this host has come in"
            }
            _ => "remove them on one side, or run this again if it was interrupted",
        }
    }
}

impl fmt::Display for Collisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<_> = self.0.iter().take(TOLD).map(ToString::to_string).collect();
        f.write_str(&told.join(", "))?;
        match self.0.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Something that is in the cluster already, and is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// What it is.
    pub kind: Kind,
    /// Its name; of a claim what is claimed, and whose it is here.
    pub name: String,
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

fn told(keys: &[String]) -> String {
    keys.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ")
}
