//! What the hosts of a cluster agree on, which of them are there, and who leads.
//!
//! A cluster is hosts that share one store. They meet nowhere else for this, and everything here is records in it:
//!
//! * [`join`]: a host comes in, if it is configured like the others, and gets its address on the lab network;
//! * [`Member`]: from then on it shows that it is there, and stands for leader ([`Standing`] says how it stands);
//! * [`hosts`]: who belongs to the cluster, who of them is there, who leads;
//! * [`move_records`]: what a host brings along that was alone until then;
//! * [`check_join`] and [`check_records`]: the same two without a trace, for who asks before; what was [`Foreseen`] can
//!   then be made so.
//!
//! # Who writes what
//!
//! | key | who | until |
//! |---|---|---|
//! | `cluster/settings` | the first host; every later join puts it again as it is, so joins queue up | for good |
//! | `hosts/NAME` | the join of that host | for good |
//! | `claims/address/ADDRESS` | the join, for the host's lab address | for good |
//! | `presence/NAME` | that host's daemon | its lease ends |
//! | `leader/cluster` | whoever finds it absent | the lease of that host's presence ends |
//!
//! # Never two leaders
//!
//! See [`tenure`]. Who leads and writes does so under the condition that it still leads ([`Lead::guard`]), so that a
//! write that was on its way when the lease ended does not happen.

#![forbid(unsafe_code)]

mod campaign;
mod clock;
mod error;
mod join;
mod keep;
mod member;
mod moving;
mod newcomer;
mod present;
mod standing;
pub mod tenure;

pub use clock::BootClock;
pub use error::{Difference, JoinError};
pub use join::{Foreseen, check_join, join};
pub use member::{Member, RETRY};
pub use moving::{Collision, Collisions, Kind, Load, MoveError, Moved, check_records, move_records};
pub use newcomer::{Newcomer, Settings};
pub use present::{HostStanding, hosts};
pub use standing::{Lead, Standing};
