//! Conflicts: what environments would collide in, if they were not isolated from one another.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_plan::conflicts as plan;

/// What would collide. Environments that are isolated run side by side all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Conflicts {
    /// What they have in common, each thing once.
    pub conflicts: Vec<Clash>,
    /// The environments that take part in any, by name.
    pub environments: Vec<Contender>,
    /// What isolation can't keep apart, a sentence each.
    pub warnings: Vec<String>,
}

/// One thing that several environments have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Clash {
    /// What it is.
    pub kind: ClashKind,
    /// The thing itself; of overlapping subnets, the widest.
    pub value: String,
    /// Who has it, by name; at least two environments.
    pub between: Vec<Party>,
}

/// What can collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClashKind {
    /// A computer name.
    ComputerName,
    /// An address inside.
    Address,
    /// A subnet inside.
    Subnet,
    /// A hardware address inside.
    Mac,
    /// An SMBIOS system UUID.
    Uuid,
}

impl ClashKind {
    /// As tables call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ComputerName => "computer name",
            Self::Address => "address",
            Self::Subnet => "subnet",
            Self::Mac => "MAC",
            Self::Uuid => "system UUID",
        }
    }
}

/// One that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Party {
    /// The environment.
    pub environment: String,
    /// The machine; absent for what the environment itself has: its subnet, or its gateway's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What it has there; of overlapping subnets, its own.
    pub value: String,
}

/// An environment that takes part, and where its inside comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// Since when it has its inside: when it was made.
    pub since: String,
    /// The environment it was cloned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_of: Option<String>,
    /// The snapshot of that environment it was cloned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_of_snapshot: Option<String>,
    /// The snapshot it was last taken back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_to: Option<String>,
    /// The environment that snapshot was taken of, where it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_of: Option<String>,
    /// When that snapshot was taken, where it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_taken: Option<String>,
}

impl From<plan::Report> for Conflicts {
    fn from(report: plan::Report) -> Self {
        let used = report.used_outside.iter().map(|dependency| {
            let user = |party: &plan::Party| match &party.machine {
                Some(machine) => format!("{}/{machine}", party.environment),
                None => party.environment.to_string(),
            };
            let users: Vec<_> = dependency.users.iter().map(user).collect();
            format!(
                "{} use {} outside: isolation can't keep them apart there; `wardian fence ENV sealed` keeps one away from \
                 it",
                users.join(", "),
                dependency.what
            )
        });
        let seen = report.seen_outside.iter().map(|environments| {
            let names: Vec<_> = environments.iter().map(ToString::to_string).collect();
            format!(
                "{} have machines of the same name and may reach the outside: a directory, database or licence server \
                 that they use there can't tell them apart; `wardian fence ENV sealed` keeps one away from it",
                names.join(", ")
            )
        });
        let names: Vec<_> = report.colliding.iter().map(ToString::to_string).collect();
        let colliding = (!names.is_empty()).then(|| {
            format!("{} are not isolated (mode none): they do collide, as long as they run at once", names.join(", "))
        });
        Self {
            warnings: colliding.into_iter().chain(used).chain(seen).collect(),
            conflicts: report.clashes.into_iter().map(Clash::from).collect(),
            environments: report.contenders.into_iter().map(Contender::from).collect(),
        }
    }
}

impl From<plan::Clash> for Clash {
    fn from(clash: plan::Clash) -> Self {
        let kind = match clash.kind {
            plan::Kind::Name => ClashKind::ComputerName,
            plan::Kind::Address => ClashKind::Address,
            plan::Kind::Subnet => ClashKind::Subnet,
            plan::Kind::Mac => ClashKind::Mac,
            plan::Kind::Uuid => ClashKind::Uuid,
        };
        let party = |party: plan::Party| Party {
            environment: party.environment.to_string(),
            machine: party.machine.map(|machine| machine.to_string()),
            value: party.value,
        };
        Self { kind, value: clash.value, between: clash.between.into_iter().map(party).collect() }
    }
}

impl From<plan::Contender> for Contender {
    fn from(contender: plan::Contender) -> Self {
        let (clone_of, clone_of_snapshot) = contender.clone_of.unzip();
        let (restored_to, taken) = contender.restored.map(|r| (r.snapshot.to_string(), r.taken)).unzip();
        let (restored_of, restored_taken) = taken.flatten().unzip();
        Self {
            name: contender.environment.to_string(),
            since: contender.since.to_string(),
            clone_of: clone_of.map(|name| name.to_string()),
            clone_of_snapshot: clone_of_snapshot.flatten().map(|name| name.to_string()),
            restored_to,
            restored_of: restored_of.map(|name| name.to_string()),
            restored_taken: restored_taken.map(|at| at.to_string()),
        }
    }
}
