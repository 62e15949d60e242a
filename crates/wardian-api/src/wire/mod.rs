//! What requests and answers look like on the wire: JSON with kebab-case keys, plain values, documented, stable.
//!
//! The rules, the same everywhere:
//!
//! * a key is never renamed and never changes its meaning; new keys may appear, so readers ignore unknown ones;
//! * requests refuse unknown keys, so that a misspelt one is noticed;
//! * an absent value's key is absent, and a list is there even when it is empty;
//! * times are RFC 3339 in UTC, amounts of bytes are numbers under a key that ends in `-bytes`,
//!   lengths of time are numbers under a key that ends in `-ms`, or in `-us` where a millisecond is long;
//! * ids are 16 hexadecimal digits, as text.
//!
//! The records these are made from are the store's business; the conversions here are the only place where a
//! change of a record could be felt outside.

mod acl;
mod cluster;
mod conflict;
mod content;
mod environment;
mod error;
mod guest;
mod host;
mod image;
mod machine;
mod network;
mod operation;
pub mod percent;
mod request;
mod snapshot;

pub use acl::{AclDenied, AclRequest, AclState};
pub use cluster::{HostList, HostPhase, HostSummary, JoinReport, Placement};
pub use conflict::{Clash, ClashKind, Conflicts, Contender, Party};
pub use content::{Content, ContentError};
pub use environment::{
    AddressList, Addresses, Ancestor, EnvironmentDetail, EnvironmentList, EnvironmentPhase, EnvironmentSummary,
    Exposure, Fence, InsideSubnet, Origin, Protocol,
};
pub use error::{ApiError, ErrorBody, ErrorKind, Problem};
pub use guest::{ConsoleTail, ExecRequest, ExecResult, FileWritten};
pub use host::{Check, DaemonInfo, Event, HostReport, Verdict};
pub use image::{Image, ImageList, ImportProgress, ImportRequest};
pub use machine::{Agent, Inside, MachineDetail, MachinePhase, Outside, SecondInterface};
pub use network::{Dropped, NetworkState, SubnetKind, SubnetTraffic, Underlay};
pub use operation::{Operation, OperationKind, OperationList, OperationState, Step, StepState};
pub use request::{
    CheckResult, CloneRequest, CloneResult, Cloned, Expiry, ExpiryRequest, ExposeRequest, FenceRequest, FenceState,
    GatewayRequest, GatewayState, JoinState, RestoreRequest, UnexposeQuery, UpAccepted, UpRequest,
};
pub use snapshot::{Snapshot, SnapshotList, SnapshotPhase, SnapshotPlace, SnapshotRequest};
