//! Real etcd servers for tests: one on a socket of its own, and clusters in network namespaces of their own.
//!
//! None of them listens where two tests could meet. Elections are quick, so that leases may be as short as a second.

mod certificates;
mod cluster;
mod process;
mod single;

pub use certificates::{Certificates, Identity};
pub use cluster::EtcdCluster;
pub use single::Etcd;
