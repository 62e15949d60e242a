//! What users ask for. Each request checks, then writes records in one transaction; controllers do the rest.

mod acl;
mod clone;
mod create;
mod encapsulation;
mod expiry;
mod expose;
mod fence;
mod file;
mod gateway;
mod guest;
pub(crate) mod images;
mod intent;
mod join;
mod place;
mod read;
mod snapshot;
mod traffic;

pub use acl::Denied;
pub use clone::CloneRequest;
pub use create::Extras;
pub use file::CheckedFile;
pub use images::ImportRequest;
pub use place::{HostStanding, OtherHost, Placement};
pub use read::EnvironmentWithMachines;
pub use traffic::{SubnetOwner, SubnetTraffic, Traffic};
