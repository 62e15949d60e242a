//! The pairs of virtual interfaces by which an environment meets what is outside of its namespace: its edge, and its
//! uplink.

use wardian_model::{id::EnvironmentId, mac::MacAddress};
use wardian_plan::network::{NetworkPlan, is_way};

use crate::{
    environment::{Changes, gone},
    error::NetworkError,
    kernel::{
        message::{Link, LinkChange},
        namespace::Namespace,
        netlink::Netlink,
        sysctl,
    },
};

/// A pair of virtual interfaces as it shall be.
pub(crate) struct Pair<'a> {
    /// What messages call it.
    pub(crate) what: &'a str,
    pub(crate) outer: &'a str,
    pub(crate) inner: &'a str,
    /// The inner end's hardware address; any, where nobody sees it.
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: u16,
}

/// Makes the pairs of one environment.
pub(crate) struct Pairs<'a> {
    pub(crate) plan: &'a NetworkPlan,
    pub(crate) owner: &'a str,
    pub(crate) namespace: &'a Namespace,
}

impl Pairs<'_> {
    /// The outer end is up afterwards as a port of `master`. Without, it stays down if it was: up to where the packet
    /// filter is put there, this host itself would hear what machines say. Gives the inner end, which stays down if it
    /// was.
    pub(crate) fn ensure(
        &self,
        pair: &Pair<'_>,
        master: Option<u32>,
        daemon: &mut Netlink,
        inside: &mut Netlink,
        all: &[Link],
        changes: &mut Changes,
    ) -> Result<Link, NetworkError> {
        let (what, of) = (pair.what, self.plan.environment);
        let doing = || NetworkError::kernel(format!("make the {what} of environment {of}"));
        let alias = outer_alias(self.owner, of);
        let outer = daemon.link(pair.outer).map_err(doing())?;
        let inner = all.iter().find(|l| l.name == pair.inner).cloned();
        let (outer, inner) = match (outer, inner) {
            (Some(outer), Some(inner)) if are_pair(&outer, &inner) => (outer, inner),
            (outer, inner) => {
                if let Some(outer) = outer {
                    // An end without alias is one whose maker was killed before it could give one.
                    if outer.alias.as_ref().is_some_and(|a| *a != alias) || !outer.is_veth {
                        let owner = outer.alias.unwrap_or_else(|| "somebody else".into());
                        return Err(NetworkError::Foreign { name: outer.name, owner });
                    }
                    daemon.delete_link(outer.index).map_err(doing())?;
                }
                if let Some(inner) = inner {
                    inside.delete_link(inner.index).map_err(doing())?;
                }
                let inner = (pair.inner, pair.mac, self.namespace.file());
                daemon.add_pair(pair.outer, master, inner, pair.mtu).map_err(doing())?;
                changes.note(format!("made the {what}"));
                let outer = daemon.link(pair.outer).and_then(|l| l.ok_or_else(gone)).map_err(doing())?;
                let inner = inside.link(pair.inner).and_then(|l| l.ok_or_else(gone)).map_err(doing())?;
                (outer, inner)
            }
        };
        // Before it is up: it has nothing to say of its own.
        sysctl::set_if_there(&format!("ipv6/conf/{}/disable_ipv6", pair.outer), "1")?;
        let change = LinkChange {
            mac: None,
            mtu: Some(pair.mtu).filter(|m| outer.mtu != u32::from(*m)),
            master: master.filter(|_| outer.master != master),
            alias: Some(alias).filter(|a| outer.alias.as_ref() != Some(a)),
            up: master.is_some() && !outer.up,
        };
        if !change.is_empty() {
            daemon.change_link(outer.index, change).map_err(doing())?;
            changes.note(format!("set up the {what}'s outer end"));
        }
        Ok(inner)
    }
}

/// Removes the ways to other hosts that are wanted no more: it was joined with somebody there. What is at their outer
/// ends goes too.
pub(crate) fn remove_stale(
    plan: &NetworkPlan,
    inside: &mut Netlink,
    all: &[Link],
    changes: &mut Changes,
) -> Result<(), NetworkError> {
    let wanted = |name: &str| {
        let mut ways = plan.uplinks().map(|(_, uplink)| uplink);
        ways.any(|way| way.inner == name || way.transit.as_ref().is_some_and(|transit| transit.inner == name))
    };
    for link in all.iter().filter(|link| link.is_veth && is_way(&link.name) && !wanted(&link.name)) {
        let doing = format!("remove {} of environment {}", link.name, plan.environment);
        inside.delete_link(link.index).map_err(NetworkError::kernel(doing))?;
        changes.note(format!("removed {}", link.name));
    }
    Ok(())
}

pub(crate) fn are_pair(outer: &Link, inner: &Link) -> bool {
    outer.is_veth && inner.is_veth && outer.peer == Some(inner.index) && inner.peer == Some(outer.index)
}

/// What says whose an outer end is.
pub(crate) fn outer_alias(owner: &str, environment: EnvironmentId) -> String {
    format!("{owner}:{environment}")
}
