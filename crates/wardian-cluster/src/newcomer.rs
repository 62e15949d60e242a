//! Who asks to come in, and how that host is configured.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use wardian_model::{cluster::ClusterRecord, encapsulation::Encapsulation, name::HostName};

use crate::error::Difference;

/// A host that comes in, for the first time or again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// Its name.
    pub name: HostName,
    /// The word of its state directory: the same name with the same word is the same host.
    pub instance: String,
    /// Its address on the physical network.
    pub provider: Ipv4Addr,
    /// Where other hosts reach its daemon.
    pub peer: SocketAddrV4,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// Its processors.
    pub cores: u32,
    /// The version of its daemon.
    pub version: String,
    /// The version of its QEMU.
    pub qemu: String,
    /// How it can send frames to others.
    pub encapsulations: Vec<Encapsulation>,
    /// Where machines on it get provider addresses of their own from.
    pub rewrite_addresses: Option<Ipv4Net>,
    /// What it was configured with, and all hosts must agree on.
    pub settings: Settings,
}

/// What all hosts of a cluster agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The lab network.
    pub lab: Ipv4Net,
    /// The zone of the aliases.
    pub zone: String,
    /// The first and the last of the hosts' ports for exposures that name none.
    pub ports: (u16, u16),
    /// How frames travel between hosts.
    pub encapsulation: Encapsulation,
    /// The largest IP packet that the physical network takes between any two hosts, in bytes.
    pub mtu: u16,
}

impl Settings {
    /// What a cluster whose first host has these settings agrees on, with a fresh secret.
    pub(crate) fn found(&self) -> ClusterRecord {
        let secret: [u8; 32] = rand::random();
        ClusterRecord {
            lab: self.lab,
            zone: self.zone.clone(),
            ports: self.ports,
            encapsulation: self.encapsulation,
            mtu: self.mtu,
            secret: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Where they differ from the cluster's.
    pub(crate) fn differences(&self, cluster: &ClusterRecord) -> Vec<Difference> {
        let ports = |(first, last): (u16, u16)| format!("{first}-{last}");
        [
            ("[lab] prefix", self.lab.to_string(), cluster.lab.to_string()),
            ("[lab] zone", self.zone.clone(), cluster.zone.clone()),
            ("ports", ports(self.ports), ports(cluster.ports)),
            ("[cluster] encapsulation", self.encapsulation.to_string(), cluster.encapsulation.to_string()),
            ("[cluster] mtu", self.mtu.to_string(), cluster.mtu.to_string()),
        ]
        .into_iter()
        .filter(|(_, here, there)| here != there)
        .map(|(setting, here, cluster)| Difference { setting, here, cluster })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cluster_has_a_secret_of_its_own_of_32_bytes() {
        let settings = Settings {
            lab: "10.86.0.0/16".parse().unwrap(),
            zone: "wardian.internal".to_owned(),
            ports: (30000, 32767),
            encapsulation: Encapsulation::Nvgre,
            mtu: 1500,
        };
        let (one, other) = (settings.found(), settings.found());
        assert_eq!(one.secret.len(), 64);
        assert!(one.secret.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(one.secret, other.secret);
        assert!(settings.differences(&one).is_empty());
    }
}
