//! Test hosts: a network namespace each, with its own daemon, state and addresses, and a check that nothing is left.
//!
//! For tests, demonstrations and benches only; no crate of the product depends on it.

pub mod bind;
mod client;
mod cluster;
pub mod etcd;
mod faults;
mod frames;
mod host;
pub mod image;
mod leaks;
mod machines;
mod run;
mod sight;
pub mod wait;

pub use bind::Bind;
pub use client::Client;
pub use cluster::TestCluster;
pub use faults::{Fault, Way};
pub use frames::{Frame, What};
pub use host::{Daemon, TestHost};
pub use image::micro;
pub use leaks::Inventory;
pub use machines::MachineProcess;
pub use run::{Begun, Run};
pub use sight::Capture;
