//! Aliases: the DNS names by which the outside finds the machines of each instance.
//!
//! A machine has two. `MACHINE.ENVIRONMENT.ZONE` is for people and stays the same when an environment is removed and
//! made again. `m-….ZONE` is opaque and belongs to one life of one machine: who holds it never reaches another. Both
//! lead to the public address, and the public address leads back to the first.
//!
//! Nothing here knows how names are served; that is the room of the network crate. [`plan_updates`] tells what a name
//! server that remembers has to be told.

mod published;
mod reverse;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use wardian_model::{
    environment::{Desired, EnvironmentRecord, MachineIdentity},
    id::EnvironmentId,
    name::{Domain, MachineName},
};

pub use published::{Published, Updates, plan_updates};
pub use reverse::{reverse_name, reverse_zones};

/// In seconds. A clone's tester shall not be led to a machine that is gone.
const DEFAULT_TTL: u32 = 5;
/// In seconds: an hour.
const LONGEST_TTL: u32 = 3600;
/// Two labels and two dots may come before the zone, and 253 characters are all there are (RFC 1035, section 2.3.4).
const LONGEST_ZONE: usize = 253 - 2 * (63 + 1);
/// Names derived here and nowhere else (see `blake3::derive_key`).
const CONTEXT: &str = "Wardian 2026-01 opaque alias of a machine";

/// Which names machines get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasConfig {
    zone: Domain,
    ttl_seconds: u32,
}

/// Why aliases can't be configured so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasConfigError {
    /// A machine's name would not fit.
    #[error(
        "the alias zone {zone} has {length} characters; {LONGEST_ZONE} at most, so that the names of a machine and its \
         environment fit before it"
    )]
    ZoneTooLong {
        /// The zone.
        zone: Domain,
        /// Its length in characters.
        length: usize,
    },
    /// Clients would go on to use addresses that belong to others by now.
    #[error("aliases can't be remembered for {ttl_seconds} s; {LONGEST_TTL} s at most, and a few seconds are good")]
    Ttl {
        /// In seconds.
        ttl_seconds: u32,
    },
}

impl AliasConfig {
    /// Aliases in `zone` that clients remember for five seconds.
    ///
    /// # Errors
    /// When the zone has more than 125 characters.
    pub fn new(zone: Domain) -> Result<Self, AliasConfigError> {
        let length = zone.as_str().len();
        if length > LONGEST_ZONE {
            return Err(AliasConfigError::ZoneTooLong { zone, length });
        }
        Ok(Self { zone, ttl_seconds: DEFAULT_TTL })
    }

    /// The same, remembered for `ttl_seconds`: 0 (not at all) to 3600.
    ///
    /// # Errors
    /// When it is more.
    pub fn with_ttl(self, ttl_seconds: u32) -> Result<Self, AliasConfigError> {
        if ttl_seconds > LONGEST_TTL {
            return Err(AliasConfigError::Ttl { ttl_seconds });
        }
        Ok(Self { ttl_seconds, ..self })
    }

    /// The zone of all aliases.
    #[must_use]
    pub const fn zone(&self) -> &Domain {
        &self.zone
    }

    /// How long clients may remember an answer, in seconds.
    #[must_use]
    pub const fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds
    }
}

/// How the outside calls one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Aliases {
    /// The machine.
    pub machine: MachineName,
    /// Its public address.
    pub address: IpAddr,
    /// `MACHINE.ENVIRONMENT.ZONE`.
    pub stable: Domain,
    /// `m-` and 16 hexadecimal digits below the zone: this life of this machine and no other.
    pub opaque: Domain,
}

/// One DNS record. There is never more than one of a name and type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AliasRecord {
    /// Whose.
    pub name: Domain,
    /// What it says.
    pub data: AliasData,
    /// How long clients may remember it, in seconds.
    pub ttl_seconds: u32,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AliasData {
    /// A or AAAA: the address of a name.
    Address(IpAddr),
    /// PTR: the name of an address.
    Pointer(Domain),
}

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AliasKind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A name of an address.
    Ptr,
}

impl AliasData {
    /// The type of a record that says this.
    #[must_use]
    pub const fn kind(&self) -> AliasKind {
        match self {
            Self::Address(IpAddr::V4(_)) => AliasKind::A,
            Self::Address(IpAddr::V6(_)) => AliasKind::Aaaa,
            Self::Pointer(_) => AliasKind::Ptr,
        }
    }
}

impl AliasRecord {
    /// What there is only one record of.
    fn key(&self) -> (&Domain, AliasKind) {
        (&self.name, self.data.kind())
    }
}

/// All records of `environments`. Those that are being removed have none.
///
/// Of two environments that claim the same name or address, which the store prevents, the one with the lower id has it.
pub fn records<'a>(
    environments: impl IntoIterator<Item = &'a EnvironmentRecord>,
    config: &AliasConfig,
) -> BTreeSet<AliasRecord> {
    let mut environments: Vec<_> = environments.into_iter().collect();
    environments.sort_by_key(|e| e.id);
    let mut all = BTreeMap::new();
    for aliases in environments.into_iter().flat_map(|e| aliases_of(e, config)) {
        for record in aliases.records(config.ttl_seconds) {
            all.entry((record.name.clone(), record.data.kind())).or_insert(record);
        }
    }
    all.into_values().collect()
}

/// What the outside calls the machines of an environment, in file order. None when it is being removed.
#[must_use]
pub fn aliases_of(record: &EnvironmentRecord, config: &AliasConfig) -> Vec<Aliases> {
    if record.desired == Desired::Removed {
        return Vec::new();
    }
    let alias = |(machine, identity): (&MachineName, &MachineIdentity)| {
        Some(Aliases {
            machine: machine.clone(),
            address: outside_address(record, machine, identity)?,
            stable: below(&config.zone, &format!("{machine}.{}", record.name)),
            opaque: below(&config.zone, &opaque_label(record.id, machine)),
        })
    };
    record.identities.iter().filter_map(alias).collect()
}

impl Aliases {
    fn records(&self, ttl_seconds: u32) -> [AliasRecord; 3] {
        let record = |name: &Domain, data| AliasRecord { name: name.clone(), data, ttl_seconds };
        [
            record(&self.stable, AliasData::Address(self.address)),
            record(&self.opaque, AliasData::Address(self.address)),
            record(&reverse_name(self.address), AliasData::Pointer(self.stable.clone())),
        ]
    }
}

/// By which the outside reaches a machine, if it may.
fn outside_address(record: &EnvironmentRecord, machine: &MachineName, identity: &MachineIdentity) -> Option<IpAddr> {
    record.has_outside(machine).then(|| identity.outside.address.into())
}

/// 64 bits: among all machines a store ever has, no two get the same.
fn opaque_label(environment: EnvironmentId, machine: &MachineName) -> String {
    let mut hash = blake3::Hasher::new_derive_key(CONTEXT);
    hash.update(&environment.bits().to_be_bytes());
    hash.update(machine.as_str().as_bytes());
    let digits = hash.finalize().to_hex();
    format!("m-{}", &digits[..16])
}

fn below(zone: &Domain, labels: &str) -> Domain {
    // `AliasConfig::new` left room for two labels.
    Domain::new(format!("{labels}.{zone}")).expect("labels joined with a zone that leaves room for them")
}

#[cfg(test)]
mod tests;
