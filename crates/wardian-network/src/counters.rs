//! What the rules of an environment dropped or answered, and why. The reasons are decided in `wardian_plan::network`.

use std::io;

use crate::kernel::netfilter::{Family, Netfilter};

/// Packets and their bytes (from the network header on; whole frames for what the switch drops).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets. A segment that crosses whole, for the network card to cut, is one.
    pub packets: u64,
    /// In bytes.
    pub bytes: u64,
}

macro_rules! fence_counters {
    ($($(#[doc = $doc:literal])+ $family:ident $name:ident),* $(,)?) => {
        /// What an environment's rules dropped or answered since its network was made. A change of the fence doesn't
        /// set them back.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct FenceCounters {
            $($(#[doc = $doc])+ pub $name: Count,)*
        }

        impl FenceCounters {
            /// All of them with their names, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, Count)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            fn add(&mut self, family: Family, name: &str, count: Count) {
                match (family, name) {
                    $((Family::$family, stringify!($name)) => self.$name = count,)*
                    // Of a version that knew other reasons.
                    _ => {}
                }
            }
        }
    };
}

fence_counters! {
    /// Dropped at the edge: the fence doesn't let it in.
    Inet fence_in,
    /// Dropped at the edge: the fence doesn't let it out.
    Inet fence_out,
    /// Dropped between machines that spoke by way of the gateway.
    Inet fence_inside,
    /// Dropped: belongs to no connection, and isn't the beginning of one.
    Inet invalid,
    /// Answered by a reset: a machine's TCP segment of a connection nobody knows (any more).
    Inet reset_inside,
    /// Answered by a reset: the same from outside.
    Inet reset_outside,
    /// Dropped: the gateway has no such service.
    Inet to_gateway,
    /// Dropped at the edge: would have left with an address that isn't public.
    Inet not_public,
    /// Dropped at a machine's tap: another hardware address than its own.
    Bridge forged_mac,
    /// Dropped at a machine's tap: speaks ARP for an address that isn't its own.
    Bridge forged_arp,
    /// Dropped at a machine's tap: another source address than its own.
    Bridge forged_address,
    /// Dropped at a machine's tap: answers of a DHCP server.
    Bridge rogue_dhcp,
    /// Dropped at a machine's tap: IPv6.
    Bridge ipv6,
    /// Dropped at a machine's tap: neither IPv4 nor ARP.
    Bridge other,
    /// What the gateway says to everybody, kept from taps that wait for their machine's hand-over. Nobody misses it.
    Bridge parked,
}

impl FenceCounters {
    /// Of the calling thread's namespace.
    pub(crate) fn read() -> io::Result<Self> {
        let netfilter = Netfilter::open()?;
        let mut all = Self::default();
        for family in [Family::Inet, Family::Bridge] {
            for counter in netfilter.counters(family, "wardian")? {
                all.add(family, &counter.name, Count { packets: counter.packets, bytes: counter.bytes });
            }
        }
        Ok(all)
    }
}
