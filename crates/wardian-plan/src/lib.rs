//! Wardian's decisions, as pure functions from values to values. No I/O, no clock, no randomness of their own.
//!
//! * [`alias`]: the DNS names by which the outside finds machines;
//! * [`allocate`]: which identities a new environment gets;
//! * [`network`]: what the kernel shall look like for an environment, and the nftables text;
//! * [`fabric`]: what the filter of a host shall know of the virtual subnets that span hosts;
//! * [`join`]: whether two environments can be in one routing domain;
//! * [`passage`]: on which hosts an environment has what, where it is joined with others;
//! * [`lifecycle`]: what a controller does next, and how far an operation is;
//! * [`clocks`]: whether a host's clock agrees with the others';
//! * [`conflicts`]: what environments would collide in without their isolation;
//! * [`customize`]: the clone that is given another inside;
//! * [`disks`]: which layers nobody needs any more;
//! * [`encapsulation`]: whether hosts can send an environment's frames as it wants;
//! * [`placement`]: which host each machine goes to;
//! * [`rewrite`]: which provider addresses machines get of their own;
//! * [`service`]: which machines get connections at ports they share.

pub mod alias;
pub mod allocate;
pub mod clocks;
pub mod conflicts;
pub mod customize;
pub mod disks;
pub mod encapsulation;
pub mod fabric;
pub mod join;
pub mod lifecycle;
pub mod network;
pub mod passage;
pub mod placement;
pub mod rewrite;
pub mod service;
