//! The lab network of a host: one bridge, one prefix, and the ports of the host that lead inside.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use wardian_model::{door::Door, environment::EnvironmentRecord, mac::MacAddress};

use super::{LabPlan, entrance};

/// What a host's administrator may choose about the lab network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LabConfig {
    /// The bridge's name; `wardian0` by default. 15 bytes at most, as the kernel wants.
    pub bridge: String,
    /// The prefix public addresses come from; 10.86.0.0/16 by default.
    pub prefix: Ipv4Net,
    /// In bytes; 1500 by default, and less where frames travel between hosts in envelopes. Environments inside have the
    /// same.
    pub mtu: u16,
    /// The host's own address, where several hosts are on one lab network; the last one of the prefix elsewhere.
    pub host: Option<Ipv4Addr>,
    /// The largest IP packet that the physical network takes between any two hosts, in bytes, where several hosts are
    /// on one lab network.
    pub underlay: Option<u16>,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            bridge: "wardian0".into(),
            prefix: Ipv4Net::new_assert(Ipv4Addr::new(10, 86, 0, 0), 16),
            mtu: 1500,
            host: None,
            underlay: None,
        }
    }
}

impl LabConfig {
    /// The host's own address on the lab network: the last one before the broadcast address, unless said otherwise.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.host.unwrap_or_else(|| Ipv4Addr::from_bits(self.prefix.broadcast().to_bits().saturating_sub(1)))
    }

    /// The largest IP packet of machines of that environment, in bytes: what fits on the lab network, and into an
    /// envelope of their own.
    #[must_use]
    pub fn inside_mtu(&self, record: &EnvironmentRecord) -> u16 {
        let chosen = record.spec.network.encapsulation.filter(|_| record.stretch.is_some());
        let fits = chosen.zip(self.underlay).map(|(chosen, underlay)| chosen.guest_mtu(underlay));
        fits.map_or(self.mtu, |fits| fits.min(self.mtu))
    }

    /// The hardware address of the bridge, where other hosts have to know it.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddress> {
        self.host.map(|address| lab_mac(self.prefix, address))
    }
}

/// The hardware address of the lab bridge of the host that has `address` there. A lab prefix is a /16 at most.
#[must_use]
pub fn lab_mac(prefix: Ipv4Net, address: Ipv4Addr) -> MacAddress {
    let place = address.to_bits() & !prefix.netmask().to_bits();
    MacAddress::lab_host(u16::try_from(place & 0xffff).unwrap_or(u16::MAX))
}

/// What the daemon's network namespace shall look like, with the doors of all environments of this host.
///
/// When two doors want the same port of the host, the first one has it; the allocation lets that not happen.
#[must_use]
pub fn lab(config: &LabConfig, doors: &[Door]) -> LabPlan {
    LabPlan {
        bridge: config.bridge.clone(),
        prefix: config.prefix.trunc(),
        address: config.address(),
        mac: config.mac(),
        mtu: config.mtu,
        table: entrance::table_name(&config.bridge),
        nftables: entrance::table(config, doors),
    }
}
