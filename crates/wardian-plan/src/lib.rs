//! Wardian's decisions, as pure functions from values to values. No I/O, no clock, no randomness of their own.
//!
//! * [`allocate`]: which identities a new environment gets;
//! * [`network`]: what the kernel shall look like for an environment, and the nftables text;
//! * [`lifecycle`]: what a controller does next, and how far an operation is;
//! * [`disks`]: which layers nobody needs any more.

pub mod allocate;
pub mod disks;
pub mod lifecycle;
pub mod network;
