//! How frames of a virtual subnet travel between hosts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How frames travel between hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// RFC 7637.
    Nvgre,
    /// RFC 7348.
    Vxlan,
    /// No envelope: each machine has a provider address of its own, which stands in the place of its customer address
    /// between hosts. Only IPv4 between two machines travels so; what else there is, as with [`Self::Nvgre`].
    IpRewrite,
}

impl Encapsulation {
    /// What it adds to a frame's payload at most, in bytes: the outer IPv4 header, its own, and the inner Ethernet
    /// header. Where addresses are rewritten some frames need an envelope all the same.
    #[must_use]
    pub const fn overhead(self) -> u16 {
        match self {
            Self::Nvgre | Self::IpRewrite => 20 + 8 + 14,
            Self::Vxlan => 20 + 8 + 8 + 14,
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nvgre, Self::Vxlan, Self::IpRewrite];

    /// The smallest and the largest IP packets, in bytes, that a physical network may be said to take. Below, a guest
    /// would have less than the 1280 bytes that IPv6 promises; above, no Ethernet goes.
    pub const UNDERLAY: std::ops::RangeInclusive<u16> = 1280 + 50..=9216;

    /// What every Ethernet takes, in bytes.
    pub const COMMON_UNDERLAY: u16 = 1500;

    /// The largest IP packet of a guest that fits, where the physical network takes `underlay` bytes.
    #[must_use]
    pub const fn guest_mtu(self, underlay: u16) -> u16 {
        underlay.saturating_sub(self.overhead())
    }
}

impl std::fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Nvgre => "nvgre",
            Self::Vxlan => "vxlan",
            Self::IpRewrite => "ip-rewrite",
        })
    }
}

/// Where a host takes frames out of their envelopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decapsulation {
    /// In the driver of a physical device, if it can; after it where it can't, and of devices that are in memory only:
    /// these carry streams in large segments, which they would cut first for the driver's sake.
    #[default]
    Auto,
    /// In the driver.
    Xdp,
    /// After it.
    Tc,
}

impl Decapsulation {
    /// Whether the driver is asked, for a device that is in memory only or isn't.
    #[must_use]
    pub const fn asks_driver(self, in_memory: bool) -> bool {
        match self {
            Self::Auto => !in_memory,
            Self::Xdp => true,
            Self::Tc => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_into_a_physical_frame_is_told() {
        assert_eq!((Encapsulation::Nvgre.guest_mtu(1500), Encapsulation::Vxlan.guest_mtu(1500)), (1458, 1450));
        assert_eq!(Encapsulation::Vxlan.guest_mtu(*Encapsulation::UNDERLAY.start()), 1280);
    }

    #[test]
    fn only_a_physical_device_s_driver_is_asked_unless_it_is_wanted() {
        assert!(Decapsulation::default().asks_driver(false) && !Decapsulation::default().asks_driver(true));
        assert!(Decapsulation::Xdp.asks_driver(true) && !Decapsulation::Tc.asks_driver(false));
    }
}
