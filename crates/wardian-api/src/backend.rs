//! What the routes need from whoever does the work: the host's controllers, or a simulated one in tests.
//!
//! Names are checked before they get here, so a backend never sees one that can't exist. Changing calls return at
//! once, with an operation that says how it goes on.

use std::collections::BTreeMap;

use async_trait::async_trait;
use axum::body::Bytes;
use futures::stream::BoxStream;
use tokio::net::UnixStream;
use wardian_model::{
    Timestamp,
    environment::{EnvironmentRecord, Exposure, Problem},
    event::EventRecord,
    id::OperationId,
    image::ImageRecord,
    machine::MachineRecord,
    name::{EnvironmentName, ImageName, MachineName, SnapshotName},
    operation::OperationRecord,
    snapshot::SnapshotRecord,
    spec::{AclRule, Expose, Fence, Gateway},
};

pub use wardian_host::{
    CloneRequest as CloneOrder, Denied, Extras, HostStanding, Placement, Refusal, RefusalKind, Traffic,
};
pub use wardian_plan::alias::AliasConfig;

use crate::wire::{ApiError, DaemonInfo, ErrorKind, ExecResult, HostReport, JoinReport};

impl From<RefusalKind> for ErrorKind {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::NotFound => Self::NotFound,
            RefusalKind::Conflict => Self::Conflict,
            RefusalKind::Invalid => Self::Invalid,
            RefusalKind::Unavailable => Self::Unavailable,
            RefusalKind::Internal => Self::Internal,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let Problem { message, hint, details } = refusal.problem;
        Self { kind: refusal.kind.into(), message, hint, details }
    }
}

/// An environment file, and what is to be made of it.
#[derive(Debug, Clone)]
pub struct UpOrder {
    /// The file: YAML.
    pub text: String,
    /// What messages call the file.
    pub file_name: String,
    /// A name instead of the one in the file.
    pub name: Option<EnvironmentName>,
    /// Only make it; start it later.
    pub stopped: bool,
    /// Whose it is, and until when.
    pub extras: Extras,
}

/// A file that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The name the environment would get.
    pub name: EnvironmentName,
    /// Its machines, in the order of the file.
    pub machines: Vec<MachineName>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// A disk to import; paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOrder {
    /// The name it gets.
    pub name: ImageName,
    /// The disk.
    pub path: String,
    /// A kernel that boots it.
    pub kernel: Option<String>,
    /// An initial RAM disk, beside a kernel.
    pub initrd: Option<String>,
    /// The kernel's command line.
    pub command_line: Option<String>,
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportState {
    /// Being done.
    Doing {
        /// What: `inspect`, `convert`, `digest`.
        step: String,
        /// How much of the step, 0 to 100, where that is known.
        percent: Option<u8>,
    },
    /// Imported; the last item of its stream.
    Done(ImageRecord),
}

/// A command to run in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOrder {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Variables added to the agent's environment.
    pub environment: BTreeMap<String, String>,
    /// What the command reads.
    pub stdin: Option<Vec<u8>>,
    /// How long it may take.
    pub timeout: std::time::Duration,
}

/// A file in a guest, being read.
pub struct FileRead {
    /// How long it is, in bytes, where that is known beforehand.
    pub size: Option<u64>,
    /// Its content.
    pub content: BoxStream<'static, Result<Bytes, Refusal>>,
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventsFrom {
    /// The first wanted sequence number; all that are kept when absent.
    pub from: Option<u64>,
    /// Go on with what happens from now on; otherwise the stream ends with the last event there is.
    pub follow: bool,
}

/// Whoever does the work.
///
/// Every method may refuse with [`RefusalKind::NotFound`] when what it is about isn't there, and with
/// [`RefusalKind::Internal`] when the store or the host fails; further refusals are named where they matter.
///
/// A call is dropped, at whatever it waits for, when its client goes away. What must not stop half-way belongs into
/// a task of the backend's own, or into the store.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Makes an environment and starts it; also gives what is allowed but probably not meant.
    ///
    /// Refuses `Invalid` for a file that isn't right, `Conflict` for a name that is taken.
    async fn create(&self, order: UpOrder) -> Result<(OperationRecord, Vec<String>), Refusal>;

    /// Checks a file as [`Self::create`] would, and changes nothing. The name may be taken.
    async fn check(&self, order: UpOrder) -> Result<Checked, Refusal>;

    /// Which host a file's environment would go to, and why; nothing where this host is alone. Changes nothing.
    ///
    /// Refuses `Unavailable` when no host takes it.
    async fn place(&self, order: UpOrder) -> Result<(EnvironmentName, Option<Placement>), Refusal>;

    /// The hosts of the cluster, by name; none where this host is alone.
    async fn hosts(&self) -> Result<Vec<HostStanding>, Refusal>;

    /// Brings this host into the cluster that its configuration names by now. Once this has returned, the daemon starts
    /// again; machines run on.
    ///
    /// Refuses `Conflict` when it is in one already or something is in the way, `Invalid` for a configuration that
    /// isn't right, `Unavailable` when the cluster's store does not answer. Nothing has changed then.
    async fn join(&self) -> Result<JoinReport, Refusal>;

    /// What this host's packet filter has carried to and from the others, and dropped; nothing where it is alone.
    async fn traffic(&self) -> Result<Option<Traffic>, Refusal>;

    /// Makes environments from one and the same cut through their source; one result for each name, in order.
    async fn clone_environment(&self, order: &CloneOrder) -> Result<Vec<Result<OperationRecord, Refusal>>, Refusal>;

    /// Takes a snapshot, with the memory of the machines that run or without; `Conflict` for a name that is taken.
    async fn snapshot(
        &self,
        environment: &EnvironmentName,
        name: &SnapshotName,
        memory: bool,
    ) -> Result<OperationRecord, Refusal>;

    /// The snapshots of an environment, oldest first.
    async fn snapshots(&self, environment: &EnvironmentName) -> Result<Vec<SnapshotRecord>, Refusal>;

    /// Removes a snapshot; those taken after it stay whole. `Conflict` while it is still being written.
    async fn remove_snapshot(&self, environment: &EnvironmentName, name: &SnapshotName) -> Result<(), Refusal>;

    /// Takes `environment` back to the snapshot `name` of `of`, which may be another one with the same inside.
    async fn restore(
        &self,
        environment: &EnvironmentName,
        of: &EnvironmentName,
        name: &SnapshotName,
    ) -> Result<OperationRecord, Refusal>;

    /// Changes what may cross an environment's edge; in effect when this returns.
    async fn set_fence(&self, name: &EnvironmentName, fence: Fence) -> Result<(), Refusal>;

    /// Changes through whom an environment's machines reach the outside; in effect when this returns.
    async fn set_gateway(&self, name: &EnvironmentName, gateway: &Gateway) -> Result<EnvironmentRecord, Refusal>;

    /// Replaces a machine's rules of what it may say and hear, or those for all machines; in effect when this returns.
    /// With what probably isn't meant.
    async fn set_acl(
        &self,
        name: &EnvironmentName,
        machine: Option<&MachineName>,
        rules: &[AclRule],
    ) -> Result<(EnvironmentRecord, Vec<Problem>), Refusal>;

    /// How many packets machines were not allowed to hear and to say.
    async fn acl_counters(&self, name: &EnvironmentName) -> Result<Vec<Denied>, Refusal>;

    /// Joins the routing domains of two environments; in effect when this returns.
    async fn join_environments(
        &self,
        name: &EnvironmentName,
        other: &EnvironmentName,
    ) -> Result<EnvironmentRecord, Refusal>;

    /// Takes that back.
    async fn part_environments(
        &self,
        name: &EnvironmentName,
        other: &EnvironmentName,
    ) -> Result<EnvironmentRecord, Refusal>;

    /// How many packets an environment's network has dropped or answered by a reset, by reason.
    async fn fence_counters(&self, name: &EnvironmentName) -> Result<Vec<(&'static str, u64)>, Refusal>;

    /// Changes when an environment is removed by itself; never, with nothing.
    async fn set_expiry(&self, name: &EnvironmentName, expires: Option<Timestamp>) -> Result<(), Refusal>;

    /// Starts the machines of an environment; those that were suspended go on where they were.
    async fn start(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal>;

    /// Stops them.
    async fn stop(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal>;

    /// Stops them where they are, with their memory on disk; `Conflict` when none runs.
    async fn suspend(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal>;

    /// Removes an environment with all that belongs to it.
    async fn remove(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal>;

    /// Lets the outside reach a port; `Conflict` when it is exposed already or the host's port is taken.
    async fn expose(&self, name: &EnvironmentName, expose: Expose) -> Result<Exposure, Refusal>;

    /// Closes an exposed port again; `NotFound` when it isn't exposed.
    async fn unexpose(&self, name: &EnvironmentName, expose: Expose) -> Result<(), Refusal>;

    /// All environments with their machines, in the order of their names.
    async fn environments(&self) -> Result<Vec<(EnvironmentRecord, Vec<MachineRecord>)>, Refusal>;

    /// One environment with its machines.
    async fn environment(&self, name: &EnvironmentName) -> Result<(EnvironmentRecord, Vec<MachineRecord>), Refusal>;

    /// Which names machines get on the lab network.
    fn aliases(&self) -> &AliasConfig;

    /// One operation.
    async fn operation(&self, id: OperationId) -> Result<OperationRecord, Refusal>;

    /// All operations that are remembered, newest first.
    async fn operations(&self) -> Result<Vec<OperationRecord>, Refusal>;

    /// An operation as it stands, then again after every change; ends once it is done or has failed.
    async fn operation_changes(
        &self,
        id: OperationId,
    ) -> Result<BoxStream<'static, Result<OperationRecord, Refusal>>, Refusal>;

    /// Events, in order.
    async fn events(&self, from: EventsFrom) -> Result<BoxStream<'static, Result<EventRecord, Refusal>>, Refusal>;

    /// All images, in the order of their names.
    async fn images(&self) -> Result<Vec<ImageRecord>, Refusal>;

    /// Imports an image. Dropping the stream gives the import up and leaves nothing behind.
    ///
    /// Refuses `Conflict` for a name that is taken; what is wrong with the disk is an item of the stream.
    async fn import_image(
        &self,
        order: ImportOrder,
    ) -> Result<BoxStream<'static, Result<ImportState, Refusal>>, Refusal>;

    /// Removes an image; `Conflict` while a machine needs it.
    async fn remove_image(&self, name: &ImageName) -> Result<(), Refusal>;

    /// Runs a command in a guest; `Unavailable` when its agent doesn't answer.
    async fn exec(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        order: ExecOrder,
    ) -> Result<ExecResult, Refusal>;

    /// Reads a file in a guest.
    async fn read_file(&self, name: &EnvironmentName, machine: &MachineName, path: &str) -> Result<FileRead, Refusal>;

    /// Writes a file in a guest, replacing one that is there; gives the number of bytes. An `Err` in `content`
    /// means that the sender gave up.
    async fn write_file(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        path: &str,
        mode: Option<u32>,
        content: BoxStream<'static, Result<Bytes, Refusal>>,
    ) -> Result<u64, Refusal>;

    /// A machine's console; `Conflict` when it doesn't run.
    async fn console(&self, name: &EnvironmentName, machine: &MachineName) -> Result<UnixStream, Refusal>;

    /// The last bytes a machine has written to its console, `most` at most; of its last run when it has stopped.
    async fn console_tail(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        most: usize,
    ) -> Result<Vec<u8>, Refusal>;

    /// Looks at what environments need of the host.
    async fn host_report(&self) -> Result<HostReport, Refusal>;

    /// Who answers.
    async fn info(&self) -> Result<DaemonInfo, Refusal>;
}
