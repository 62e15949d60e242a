//! One host: its controllers (observe, plan, act), and the requests users make of it.
//!
//! * [`Host`]: opening, running, and every request (`requests`);
//! * `supervisor`, `controller`: one controller per environment; `lab`: the network they meet on;
//! * `aliases`: what name servers are told of machines;
//! * `records`: typed access to the store; `accelerator`: how guests run;
//! * `disks`, `memories`, `seed`: files; `collector`: those nobody needs any more;
//! * [`paths`], [`state`]: the layout of the state and run directories.

mod accelerator;
mod aliases;
mod applied;
mod boots;
mod check;
mod collector;
mod config;
mod controller;
mod disks;
mod fabric;
mod fault;
mod host;
mod lab;
mod memories;
mod memory;
pub mod paths;
mod records;
mod refusal;
mod requests;
mod seed;
mod shared;
pub mod state;
mod supervisor;

pub use check::{HostCheck, HostVerdict};
pub use config::{Clocks, HostConfig, ImageSource, Membership};
pub use host::{Ground, Host, OpenError};
pub use memory::total as memory_total;
pub use records::Records;
pub use refusal::{Refusal, RefusalKind, problem};
pub use requests::{
    CheckedFile, CloneRequest, Denied, EnvironmentWithMachines, Extras, HostStanding, ImportRequest, OtherHost,
    Placement, SubnetOwner, SubnetTraffic, Traffic,
};
/// What is counted between hosts.
pub use wardian_network::filter::{Carried, Reason};
/// How a name server elsewhere is told of machines.
pub use wardian_network::update;
