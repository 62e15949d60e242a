//! What a record of a host's own store is, by its key, and whether it goes along.

use std::fmt;

use wardian_model::{
    claim::ClaimRecord,
    cluster::{ClusterRecord, HostRecord, LeaderRecord, PresenceRecord},
    cut::CutRecord,
    environment::EnvironmentRecord,
    event::EventRecord,
    host::AcceleratorRecord,
    image::ImageRecord,
    machine::MachineRecord,
    operation::OperationRecord,
    record::Record,
    snapshot::SnapshotRecord,
};

/// A kind of record that goes along, in the order in which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something of which there is one.
    Claim,
    /// A name of a disk in the vault.
    Image,
    /// One moment of an environment.
    Cut,
    /// A cut with a name.
    Snapshot,
    /// A machine.
    Machine,
    /// A request.
    Operation,
    /// What was published of an environment.
    Alias,
    /// An environment.
    Environment,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Moves(Kind),
    Stays,
    /// It makes the store a cluster's.
    Clusters,
    Unknown,
}

impl Kind {
    pub(super) const MOVED: [Self; 8] = [
        Self::Claim,
        Self::Image,
        Self::Cut,
        Self::Snapshot,
        Self::Machine,
        Self::Operation,
        Self::Alias,
        Self::Environment,
    ];

    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Claim => ClaimRecord::PREFIX,
            Self::Image => ImageRecord::PREFIX,
            Self::Cut => CutRecord::PREFIX,
            Self::Snapshot => SnapshotRecord::PREFIX,
            Self::Machine => MachineRecord::PREFIX,
            Self::Operation => OperationRecord::PREFIX,
            // Its type is the publisher's own.
            Self::Alias => "aliases/",
            Self::Environment => EnvironmentRecord::PREFIX,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Claim => "claim",
            Self::Image => "image",
            Self::Cut => "cut",
            Self::Snapshot => "snapshot",
            Self::Machine => "machine",
            Self::Operation => "operation",
            Self::Alias => "alias",
            Self::Environment => "environment",
        })
    }
}

impl Fate {
    pub(super) fn of(key: &str) -> Self {
        let is = |prefix: &&str| key.starts_with(*prefix);
        if let Some(kind) = Kind::MOVED.into_iter().find(|kind| is(&kind.prefix())) {
            Self::Moves(kind)
        } else if [AcceleratorRecord::PREFIX, EventRecord::PREFIX].iter().any(is) {
            Self::Stays
        } else if [ClusterRecord::PREFIX, HostRecord::PREFIX, PresenceRecord::PREFIX, LeaderRecord::PREFIX]
            .iter()
            .any(is)
        {
            Self::Clusters
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_has_a_fate() {
        assert_eq!(Fate::of("environments/web"), Fate::Moves(Kind::Environment));
        assert_eq!(Fate::of("claims/edge/00001"), Fate::Moves(Kind::Claim));
        assert_eq!(Fate::of("host/accelerator"), Fate::Stays);
        assert_eq!(Fate::of("events/00000000000000000001"), Fate::Stays);
        assert_eq!(Fate::of("hosts/a"), Fate::Clusters);
        assert_eq!(Fate::of("racks/1"), Fate::Unknown);
    }

    #[test]
    fn they_go_in_an_order_in_which_nothing_is_there_before_its_parts() {
        assert!(Kind::MOVED.is_sorted());
        assert_eq!(Kind::MOVED.first(), Some(&Kind::Claim));
        assert_eq!(Kind::MOVED.last(), Some(&Kind::Environment));
    }
}
