//! Why a host does not come in, as people read it.

use std::{fmt, io, net::Ipv4Addr};

use ipnet::Ipv4Net;
use wardian_model::{encapsulation::Encapsulation, name::HostName};
use wardian_plan::clocks::{self, Ahead};

/// A setting that a host has otherwise than its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is called in the configuration.
    pub setting: &'static str,
    /// Its value here.
    pub here: String,
    /// Its value in the cluster.
    pub cluster: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} here and {} in the cluster", self.setting, self.here, self.cluster)
    }
}

/// Why a host does not come in. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It is configured otherwise than the others.
    #[error("this host is not configured like the cluster: {}", list(.0))]
    Settings(Vec<Difference>),
    /// It does not know the cluster's way to send frames.
    #[error("this host can't send frames as the cluster does, by {wanted}; it can by {}", can(.able))]
    Encapsulation {
        /// The cluster's.
        wanted: Encapsulation,
        /// Its own.
        able: Vec<Encapsulation>,
    },
    /// Another host has its name.
    #[error("there is already a host {name} in this cluster, at {provider}")]
    Name {
        /// The name.
        name: HostName,
        /// The other host's address on the physical network.
        provider: Ipv4Addr,
    },
    /// Another host has its address.
    #[error("{provider} is already the provider address of the host {host} in this cluster")]
    Provider {
        /// The address.
        provider: Ipv4Addr,
        /// Whose it is.
        host: HostName,
    },
    /// It takes the time for another than most hosts do.
    #[error("the clock of this host is {}", clocks::list(.0))]
    Clock(Vec<Ahead>),
    /// What it would give its machines is something else already.
    #[error("the rewrite addresses {prefix} of this host can't be: they overlap {by}")]
    RewriteAddresses {
        /// As configured.
        prefix: Ipv4Net,
        /// What they overlap.
        by: String,
    },
    /// Another host gives its machines such addresses.
    #[error("the provider address {provider} of this host is one of the rewrite addresses {prefix} of the host {host}")]
    InRewriteAddresses {
        /// Its address.
        provider: Ipv4Addr,
        /// The other one's addresses for machines.
        prefix: Ipv4Net,
        /// The other one.
        host: HostName,
    },
    /// Machines have some that it does not have any more.
    #[error("this host's rewrite addresses were {before}, and a machine still has {address} of them")]
    RewriteAddressesInUse {
        /// As they were.
        before: Ipv4Net,
        /// One that is in use.
        address: Ipv4Addr,
    },
    /// No address is left for it.
    #[error("the lab network {lab} has no free address for this host")]
    Full {
        /// The lab network.
        lab: Ipv4Net,
    },
    /// The kernel does not say since when the host runs.
    #[error("the host's boot id can't be read")]
    Boot(#[source] io::Error),
    /// The store can't be used.
    #[error("the cluster's store can't be used")]
    Store(#[from] wardian_store::Error),
}

impl JoinError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Settings(differences) => {
                let settings: Vec<_> = differences.iter().map(|d| format!("`{}`", d.setting)).collect();
                format!(
                    "change {} in this host's configuration to what the cluster has; the cluster's own were set by its \
                     first host and hold for all of them",
                    settings.join(" and ")
                )
            }
            Self::Encapsulation { .. } => {
                "give this host a kernel and a version of Wardian that can, or found the cluster with another \
                 `[cluster] encapsulation`"
                    .to_owned()
            }
            Self::Name { .. } => "choose another name ([cluster] name)".to_owned(),
            Self::Provider { .. } => "give this host an address of its own ([cluster] provider-address)".to_owned(),
            Self::Clock(_) => {
                "set whichever clock is wrong, and have it kept right (by chrony, for instance); machines go on meanwhile"
                    .to_owned()
            }
            Self::RewriteAddresses { .. } => {
                "choose others ([cluster] rewrite-addresses): a prefix that the physical network brings to this host \
                 alone"
                    .to_owned()
            }
            Self::InRewriteAddresses { .. } => {
                "give this host another address ([cluster] provider-address), or that one others for its machines"
                    .to_owned()
            }
            Self::RewriteAddressesInUse { before, .. } => format!(
                "say `rewrite-addresses = \"{before}\"` in [cluster] until the environments with ip-rewrite on this \
                 host are removed"
            ),
            Self::Full { .. } => "remove environments that are no longer needed (`wardian ls`)".to_owned(),
            Self::Boot(_) => "see to it that /proc is mounted".to_owned(),
            Self::Store(_) => "see to it that etcd runs and can be reached from here ([cluster] endpoints)".to_owned(),
        }
    }
}

fn list(all: &[Difference]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn can(able: &[Encapsulation]) -> String {
    match able {
        [] => "none".to_owned(),
        able => able.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use wardian_model::SignedDuration;

    use super::*;

    #[test]
    fn a_wrong_clock_is_told_with_the_others() {
        let ahead =
            |host: &str, seconds| Ahead { host: HostName::new(host).unwrap(), by: SignedDuration::from_secs(seconds) };
        let said = JoinError::Clock(vec![ahead("a", 3600), ahead("b", -90_061)]).to_string();
        assert_eq!(said, "the clock of this host is 1h ahead of that of a; 25h 1m 1s behind that of b");
    }
}
