//! The peer channel between two hosts in one process, on real sockets: requests are carried and answered where they
//! must be, only hosts of the cluster are let in, and images come over whole or not at all.

mod carry;
mod hosts;
mod images;
#[path = "../simulated/mod.rs"]
mod simulated;
mod streams;
mod trust;
