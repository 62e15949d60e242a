//! Makes the kernel match a network plan; DHCP and DNS live here.
//!
//! [`Network`] is the door. What shall be is decided by [`wardian_plan::network`]; this crate looks at what is, and
//! changes what differs. Nothing is kept in memory that the kernel doesn't know: any process may be killed at any
//! instruction, and the next `ensure` or `remove` goes on from there.
//!
//! * `kernel`: namespaces, netlink, nftables, sysctls, taps; blocking, on threads of their own;
//! * `lab`, `environment`: comparing and changing;
//! * `taps`: the machines' ports of the switch; `hand_over`: from one to its successor's; `counters`: what was dropped;
//! * `acl`: what machines may not say or hear any more, and how often they tried;
//! * `joins`: the links between environments that are joined;
//! * [`filter`]: the switches' way to other hosts, in eBPF;
//! * [`underlay`]: what a host of a cluster has towards the others, by that filter;
//! * [`services`]: the DHCP and DNS servers of an environment, and the DNS server of the lab network, in the daemon;
//! * [`update`]: telling a name server elsewhere.
//!
//! A daemon has one network namespace, the one it was started in, and the lab bridge is there. Each environment has its
//! own, held by a bind mount at `RUN/netns/<environment id>`. Threads enter them with `setns(CLONE_NEWNET)` alone and
//! end afterwards, so that no other code ever runs in a namespace it doesn't expect.

mod acl;
mod counters;
mod environment;
mod error;
pub mod filter;
mod hand_over;
mod joins;
mod kernel;
mod lab;
mod network;
mod pairs;
pub mod services;
mod taps;
pub mod underlay;
pub mod update;

pub use acl::AclCount;
pub use counters::{Count, FenceCounters};
pub use environment::{Changes, Observed};
pub use error::NetworkError;
pub use hand_over::HandOver;
pub use network::{Network, NetworkConfig};
pub use services::Services;
pub use underlay::{DecapsulationPlace, LabUplink, Underlay, UnderlayConfig, UnderlayError};
