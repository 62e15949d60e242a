//! What the packet filter of this host carries to and from other hosts, and what it drops.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use wardian_model::{
    encapsulation::Encapsulation, environment::EnvironmentRecord, name::EnvironmentName, record::Record, vsid::Vsid,
};
use wardian_network::filter::{Carried, Reason};
use wardian_plan::{fabric::LAB_VSID, passage};

use crate::{Host, Refusal, RefusalKind, refusal::problem};

/// What crosses between this host and the others.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// The device by which it crosses.
    pub device: String,
    /// This host's address there.
    pub provider: Ipv4Addr,
    /// How frames travel, where an environment says nothing else.
    pub encapsulation: Encapsulation,
    /// The largest IP packet that fits, in bytes.
    pub mtu: u16,
    /// The lab network, every environment that lies on this host and others, and what else was carried.
    pub subnets: BTreeMap<Vsid, SubnetTraffic>,
    /// How many frames were dropped; every reason is there.
    pub dropped: BTreeMap<Reason, u64>,
}

/// What was carried for one subnet.
#[derive(Debug, Clone)]
pub struct SubnetTraffic {
    /// Whose it is.
    pub of: SubnetOwner,
    /// How much.
    pub carried: Carried,
}

/// Whose a subnet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubnetOwner {
    /// The lab network.
    Lab,
    /// An environment's.
    Environment(EnvironmentName),
    /// An environment's that is gone.
    Gone,
}

impl Host {
    /// What the packet filter has carried and dropped since its tables were made; nothing where this host is alone.
    ///
    /// # Errors
    /// When the way to the other hosts is not open yet, or the filter or the store can't be read.
    pub async fn traffic(&self) -> Result<Option<Traffic>, Refusal> {
        let shared = &self.shared;
        let Some(member) = &shared.config.member else { return Ok(None) };
        let Some(underlay) = shared.underlay.get() else {
            return Err(
                Refusal::unavailable("the way to the other hosts is not open yet").hint("ask again in a moment")
            );
        };
        let counters =
            underlay.counters().await.map_err(|error| Refusal::new(RefusalKind::Internal, problem(&error)))?;
        let environments = shared.records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        let across = environments.iter().filter(|environment| {
            passage::spans_hosts(environment) && (shared.has_part(environment) || shared.has_passage(environment))
        });
        let there: BTreeSet<Vsid> = across
            .flat_map(EnvironmentRecord::vsids)
            .chain([LAB_VSID])
            .chain(counters.carried.keys().copied())
            .collect();
        let subnet = |vsid: Vsid| {
            let carried = counters.carried.get(&vsid).copied().unwrap_or_default();
            (vsid, SubnetTraffic { of: owner(vsid, &environments), carried })
        };
        Ok(Some(Traffic {
            device: underlay.device().to_owned(),
            provider: member.provider,
            encapsulation: member.encapsulation,
            mtu: underlay.mtu(),
            subnets: there.into_iter().map(subnet).collect(),
            dropped: counters.dropped,
        }))
    }
}

fn owner(vsid: Vsid, environments: &[EnvironmentRecord]) -> SubnetOwner {
    let mut environments = environments.iter();
    match environments.find(|environment| environment.vsids().any(|own| own == vsid)) {
        _ if vsid == LAB_VSID => SubnetOwner::Lab,
        Some(environment) => SubnetOwner::Environment(environment.name.clone()),
        None => SubnetOwner::Gone,
    }
}
