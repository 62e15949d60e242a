//! The backend that does the work: a [`wardian_host::Host`].
//!
//! Conversions only. What is decided, is decided in the host; what is said, is said in [`crate::wire`].

mod follow;
mod guest;
mod joining;
mod whereabouts;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use wardian_host::{CheckedFile, Host, HostVerdict, ImportRequest};
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
use wardian_plan::alias::AliasConfig;

use crate::{
    backend::{
        Backend, Checked, CloneOrder, Denied, EventsFrom, ExecOrder, FileRead, HostStanding, ImportOrder, ImportState,
        Placement, Refusal, Traffic, UpOrder,
    },
    wire::{Check, DaemonInfo, ExecResult, HostReport, JoinReport, Verdict},
};

pub use joining::Joining;
pub use whereabouts::HostWhereabouts;

/// The version of the interface.
const API_VERSION: u32 = 1;

/// A host behind the API.
pub struct HostBackend {
    host: Host,
    joining: Option<Arc<dyn Joining>>,
}

impl HostBackend {
    /// Of this host.
    #[must_use]
    pub const fn new(host: Host) -> Self {
        Self { host, joining: None }
    }

    /// Of this host, which is alone and may come into a cluster.
    #[must_use]
    pub const fn alone(host: Host, joining: Arc<dyn Joining>) -> Self {
        Self { host, joining: Some(joining) }
    }

    async fn read(&self, order: &UpOrder) -> Result<CheckedFile, Refusal> {
        self.host.read_file_text(&order.text, &order.file_name, order.name.as_ref()).await
    }
}

#[async_trait]
impl Backend for HostBackend {
    async fn create(&self, order: UpOrder) -> Result<(OperationRecord, Vec<String>), Refusal> {
        let CheckedFile { spec, warnings } = self.read(&order).await?;
        Ok((self.host.create(spec, order.stopped, order.extras).await?, warnings))
    }

    async fn check(&self, order: UpOrder) -> Result<Checked, Refusal> {
        let CheckedFile { spec, warnings } = self.read(&order).await?;
        Ok(Checked { name: spec.name, machines: spec.machines.into_keys().collect(), warnings })
    }

    async fn place(&self, order: UpOrder) -> Result<(EnvironmentName, Option<Placement>), Refusal> {
        let CheckedFile { spec, .. } = self.read(&order).await?;
        Ok((spec.name.clone(), self.host.place(&spec).await?))
    }

    async fn hosts(&self) -> Result<Vec<HostStanding>, Refusal> {
        self.host.hosts().await
    }

    async fn join(&self) -> Result<JoinReport, Refusal> {
        let Some(joining) = &self.joining else {
            let there = self.host.config().member.as_ref();
            let name = there.map(|member| format!(", as {}", member.name)).unwrap_or_default();
            return Err(Refusal::conflict(format!("this host is in a cluster already{name}"))
                .hint("`wardian host ls` shows its hosts"));
        };
        let report = joining.check().await?;
        joining.restart();
        Ok(report)
    }

    async fn traffic(&self) -> Result<Option<Traffic>, Refusal> {
        self.host.traffic().await
    }

    async fn clone_environment(&self, order: &CloneOrder) -> Result<Vec<Result<OperationRecord, Refusal>>, Refusal> {
        self.host.clone_environment(order).await
    }

    async fn snapshot(
        &self,
        environment: &EnvironmentName,
        name: &SnapshotName,
        memory: bool,
    ) -> Result<OperationRecord, Refusal> {
        self.host.snapshot(environment, name, memory).await
    }

    async fn snapshots(&self, environment: &EnvironmentName) -> Result<Vec<SnapshotRecord>, Refusal> {
        self.host.snapshots(environment).await
    }

    async fn remove_snapshot(&self, environment: &EnvironmentName, name: &SnapshotName) -> Result<(), Refusal> {
        self.host.remove_snapshot(environment, name).await
    }

    async fn restore(
        &self,
        environment: &EnvironmentName,
        of: &EnvironmentName,
        name: &SnapshotName,
    ) -> Result<OperationRecord, Refusal> {
        self.host.restore(environment, of, name).await
    }

    async fn set_fence(&self, name: &EnvironmentName, fence: Fence) -> Result<(), Refusal> {
        self.host.set_fence(name, fence).await
    }

    async fn set_gateway(&self, name: &EnvironmentName, gateway: &Gateway) -> Result<EnvironmentRecord, Refusal> {
        self.host.set_gateway(name, gateway).await
    }

    async fn set_acl(
        &self,
        name: &EnvironmentName,
        machine: Option<&MachineName>,
        rules: &[AclRule],
    ) -> Result<(EnvironmentRecord, Vec<Problem>), Refusal> {
        self.host.set_acl(name, machine, rules).await
    }

    async fn acl_counters(&self, name: &EnvironmentName) -> Result<Vec<Denied>, Refusal> {
        self.host.acl_counters(name).await
    }

    async fn join_environments(
        &self,
        name: &EnvironmentName,
        other: &EnvironmentName,
    ) -> Result<EnvironmentRecord, Refusal> {
        self.host.join(name, other).await
    }

    async fn part_environments(
        &self,
        name: &EnvironmentName,
        other: &EnvironmentName,
    ) -> Result<EnvironmentRecord, Refusal> {
        self.host.part(name, other).await
    }

    async fn fence_counters(&self, name: &EnvironmentName) -> Result<Vec<(&'static str, u64)>, Refusal> {
        self.host.fence_counters(name).await
    }

    async fn set_expiry(&self, name: &EnvironmentName, expires: Option<Timestamp>) -> Result<(), Refusal> {
        self.host.set_expiry(name, expires).await
    }

    async fn start(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.host.start(name).await
    }

    async fn stop(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.host.stop(name).await
    }

    async fn suspend(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.host.suspend(name).await
    }

    async fn remove(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.host.remove(name).await
    }

    async fn expose(&self, name: &EnvironmentName, expose: Expose) -> Result<Exposure, Refusal> {
        self.host.expose(name, &expose).await
    }

    async fn unexpose(&self, name: &EnvironmentName, expose: Expose) -> Result<(), Refusal> {
        self.host.unexpose(name, &expose).await
    }

    async fn environments(&self) -> Result<Vec<(EnvironmentRecord, Vec<MachineRecord>)>, Refusal> {
        self.host.environments().await
    }

    async fn environment(&self, name: &EnvironmentName) -> Result<(EnvironmentRecord, Vec<MachineRecord>), Refusal> {
        self.host.environment(name).await
    }

    fn aliases(&self) -> &AliasConfig {
        &self.host.config().aliases
    }

    async fn operation(&self, id: OperationId) -> Result<OperationRecord, Refusal> {
        self.host.operation(id).await
    }

    async fn operations(&self) -> Result<Vec<OperationRecord>, Refusal> {
        let mut operations = self.host.operations().await?;
        operations.reverse();
        Ok(operations)
    }

    async fn operation_changes(
        &self,
        id: OperationId,
    ) -> Result<BoxStream<'static, Result<OperationRecord, Refusal>>, Refusal> {
        follow::operation(&self.host, id).await
    }

    async fn events(&self, from: EventsFrom) -> Result<BoxStream<'static, Result<EventRecord, Refusal>>, Refusal> {
        follow::events(&self.host, from).await
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, Refusal> {
        self.host.images().await
    }

    async fn import_image(
        &self,
        order: ImportOrder,
    ) -> Result<BoxStream<'static, Result<ImportState, Refusal>>, Refusal> {
        self.host.check_image_name(&order.name).await?;
        let request = ImportRequest {
            name: order.name,
            path: order.path.into(),
            kernel: order.kernel.map(Into::into),
            initrd: order.initrd.map(Into::into),
            command_line: order.command_line,
        };
        let host = self.host.clone();
        let (progress, steps) = mpsc::channel(16);
        let done = async move { host.import_image(request, progress).await };
        Ok(follow::import(done, steps))
    }

    async fn remove_image(&self, name: &ImageName) -> Result<(), Refusal> {
        self.host.remove_image(name).await
    }

    async fn exec(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        order: ExecOrder,
    ) -> Result<ExecResult, Refusal> {
        guest::exec(&self.host, name, machine, order).await
    }

    async fn read_file(&self, name: &EnvironmentName, machine: &MachineName, path: &str) -> Result<FileRead, Refusal> {
        guest::read_file(&self.host, name, machine, path).await
    }

    async fn write_file(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        path: &str,
        mode: Option<u32>,
        content: BoxStream<'static, Result<axum::body::Bytes, Refusal>>,
    ) -> Result<u64, Refusal> {
        guest::write_file(&self.host, name, machine, path, mode, content).await
    }

    async fn console(&self, name: &EnvironmentName, machine: &MachineName) -> Result<UnixStream, Refusal> {
        self.host.console(name, machine).await
    }

    async fn console_tail(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        most: usize,
    ) -> Result<Vec<u8>, Refusal> {
        Ok(self.host.console_tail(name, machine, u64::try_from(most).unwrap_or(u64::MAX)).await?)
    }

    async fn host_report(&self) -> Result<HostReport, Refusal> {
        let checks = self.host.check().await.into_iter().map(|check| Check {
            name: check.name.to_owned(),
            verdict: match check.verdict {
                HostVerdict::Ok => Verdict::Ok,
                HostVerdict::Warning => Verdict::Warning,
                HostVerdict::Failed => Verdict::Failed,
            },
            message: check.message,
            hint: check.hint,
        });
        Ok(HostReport { checks: checks.collect() })
    }

    async fn info(&self) -> Result<DaemonInfo, Refusal> {
        let config = self.host.config();
        Ok(DaemonInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_version: API_VERSION,
            state_directory: config.state_directory.display().to_string(),
            lab_prefix: config.lab.prefix.to_string(),
            host_id: self.host.instance().to_owned(),
        })
    }
}
