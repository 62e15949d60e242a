//! Sealed environments of virtual machines: command line and daemon.
fn main() {}
