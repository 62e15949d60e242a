//! A backend without a host: environments that exist as records only, and operations a test moves on.
//!
//! It is shared by the tests of the routes and those of the client.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses its part of it")]

mod records;

use std::{
    collections::BTreeMap,
    num::NonZeroU16,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use async_trait::async_trait;
use axum::body::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::{net::UnixStream, sync::watch};
use wardian_api::{
    backend::{
        AliasConfig, Backend, Checked, CloneOrder, Denied, EventsFrom, ExecOrder, FileRead, HostStanding, ImportOrder,
        ImportState, Placement, Refusal, Traffic, UpOrder,
    },
    wire::{Check, DaemonInfo, ExecResult, HostReport, JoinReport, Verdict},
};
use wardian_model::{
    Timestamp,
    environment::{EnvironmentRecord, Exposure, Problem},
    event::EventRecord,
    id::{CutId, EnvironmentId, OperationId, SnapshotId},
    image::ImageRecord,
    machine::MachineRecord,
    name::{EnvironmentName, ImageName, MachineName, SnapshotName},
    operation::{OperationKind, OperationRecord, OperationState},
    snapshot::{SnapshotPhase, SnapshotRecord},
    spec::{AclRule, Expose, Fence, Gateway, Protocol},
};

pub use records::{CREATED, done, environment, failed, image, name};

type Pair = (EnvironmentRecord, Vec<MachineRecord>);

/// What a simulated host knows.
#[derive(Default)]
pub struct State {
    pub environments: BTreeMap<EnvironmentName, Pair>,
    pub operations: BTreeMap<OperationId, watch::Sender<OperationRecord>>,
    pub images: BTreeMap<ImageName, ImageRecord>,
    /// Oldest first.
    pub snapshots: Vec<SnapshotRecord>,
    /// The last clone asked for.
    pub cloned: Option<CloneOrder>,
    /// The last environment asked for.
    pub ordered: Option<UpOrder>,
    pub files: BTreeMap<String, (Option<u32>, Vec<u8>)>,
    /// When set, every call is refused with it.
    pub refusal: Option<Refusal>,
    /// How many imports were given up.
    pub given_up: usize,
}

/// A simulated host.
pub struct Simulated {
    state: Mutex<State>,
    events: watch::Sender<Vec<EventRecord>>,
}

impl Simulated {
    /// A host with the environment `store`, its clone `copy`, and the image `micro`.
    pub fn new() -> Arc<Self> {
        let this = Self { state: Mutex::default(), events: watch::Sender::new(Vec::new()) };
        let store = environment("store", None);
        this.insert(environment("copy", Some(&store.0)));
        this.insert(store);
        this.state().images.insert(name("micro"), image("micro"));
        Arc::new(this)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the state locked")
    }

    pub fn insert(&self, pair: Pair) {
        self.state().environments.insert(pair.0.name.clone(), pair);
    }

    /// From now on every call is refused.
    pub fn refuse(&self, refusal: Refusal) {
        self.state().refusal = Some(refusal);
    }

    /// Something happens.
    pub fn happen(&self, environment: &str, message: &str) {
        self.events.send_modify(|events| {
            events.push(EventRecord {
                sequence: events.len() as u64 + 1,
                at: CREATED.parse().expect("a time"),
                environment: name(environment),
                machine: None,
                message: message.to_owned(),
            });
        });
    }

    /// An operation goes on.
    pub fn step(&self, id: &str, state: OperationState) {
        let state_of = self.state();
        let operation = &state_of.operations[&id.parse().expect("an id")];
        operation.send_modify(|operation| {
            operation.steps.push(wardian_model::operation::Step {
                name: format!("step {}", operation.steps.len() + 1),
                state: wardian_model::operation::StepState::Done,
                note: None,
            });
            operation.state = state;
        });
    }

    fn ask(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let state = self.state();
        state.refusal.clone().map_or(Ok(state), Err)
    }

    fn operate(&self, kind: OperationKind, environment: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        let mut state = self.ask()?;
        let environment_id = match (kind, state.environments.get(environment)) {
            (OperationKind::Up | OperationKind::Clone, None) => EnvironmentId::random(),
            (OperationKind::Up | OperationKind::Clone, Some(_)) => {
                return Err(Refusal::conflict(format!("there is an environment {environment} already")));
            }
            (_, Some((record, _))) => record.id,
            (_, None) => return Err(Refusal::not_found(format!("there is no environment {environment}"))),
        };
        let operation = OperationRecord {
            id: OperationId::random(),
            kind,
            environment: environment.clone(),
            environment_id,
            created: CREATED.parse().expect("a time"),
            steps: Vec::new(),
            state: OperationState::Running,
        };
        if let Some((record, _)) = state.environments.get_mut(environment) {
            record.operation = Some(operation.id);
        }
        state.operations.insert(operation.id, watch::Sender::new(operation.clone()));
        Ok(operation)
    }

    fn snapshot(&self, environment: &EnvironmentName, name: &SnapshotName) -> Result<SnapshotRecord, Refusal> {
        let state = self.ask()?;
        let mut all = state.snapshots.iter();
        let found = all.find(|snapshot| snapshot.environment == *environment && snapshot.name == *name).cloned();
        found.ok_or_else(|| Refusal::not_found(format!("there is no snapshot {name} of {environment}")))
    }

    fn machine(&self, environment: &EnvironmentName, machine: &MachineName) -> Result<(), Refusal> {
        let state = self.ask()?;
        let there = state.environments.get(environment).is_some_and(|pair| pair.0.identities.contains_key(machine));
        there.then_some(()).ok_or_else(|| Refusal::not_found(format!("there is no machine {environment}/{machine}")))
    }
}

/// Counts imports that are dropped before their end.
struct GivenUp(Option<Arc<Simulated>>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(simulated) = self.0.take() {
            simulated.state().given_up += 1;
        }
    }
}

/// What the routes get: the trait is on the pointer, because some streams outlive the call.
pub struct Host(pub Arc<Simulated>);

#[async_trait]
impl Backend for Host {
    async fn create(&self, order: UpOrder) -> Result<(OperationRecord, Vec<String>), Refusal> {
        self.0.ask()?.ordered = Some(order.clone());
        let checked = self.check(order).await?;
        Ok((self.0.operate(OperationKind::Up, &checked.name)?, checked.warnings))
    }

    async fn check(&self, order: UpOrder) -> Result<Checked, Refusal> {
        drop(self.0.ask()?);
        let found = order.text.lines().find_map(|line| EnvironmentName::new(line.strip_prefix("name: ")?).ok());
        let Some(found) = found else {
            let problem = Problem::new(format!("{}:1:1: no name", order.file_name)).details(["1 | x".to_owned()]);
            return Err(Refusal::new(wardian_api::backend::RefusalKind::Invalid, problem));
        };
        let warnings = vec!["the fence is open".to_owned()];
        Ok(Checked { name: order.name.unwrap_or(found), machines: vec![name("web"), name("db")], warnings })
    }

    async fn place(&self, order: UpOrder) -> Result<(EnvironmentName, Option<Placement>), Refusal> {
        let host = wardian_model::name::HostName::new("a").unwrap();
        Ok((
            self.check(order).await?.name,
            Some(Placement { home: host, machines: [].into(), why: vec!["web on a: 1 GiB of 2 GiB free".into()] }),
        ))
    }

    async fn hosts(&self) -> Result<Vec<HostStanding>, Refusal> {
        drop(self.0.ask()?);
        Ok(Vec::new())
    }

    async fn join(&self) -> Result<JoinReport, Refusal> {
        let state = self.0.ask()?;
        Ok(JoinReport {
            host: "b".to_owned(),
            hosts: vec!["a".to_owned()],
            lab_address: "10.86.255.253".to_owned(),
            environments: state.environments.len(),
            machines: state.environments.values().map(|(_, machines)| machines.len()).sum(),
            images: state.images.len(),
            snapshots: state.snapshots.len(),
        })
    }

    async fn traffic(&self) -> Result<Option<Traffic>, Refusal> {
        drop(self.0.ask()?);
        Ok(None)
    }

    async fn clone_environment(&self, order: &CloneOrder) -> Result<Vec<Result<OperationRecord, Refusal>>, Refusal> {
        self.environment(&order.source).await?;
        if let Some(snapshot) = &order.snapshot {
            self.0.snapshot(&order.source, snapshot)?;
        }
        self.0.state().cloned = Some(order.clone());
        Ok(order.names.iter().map(|name| self.0.operate(OperationKind::Clone, name)).collect())
    }

    async fn snapshot(
        &self,
        environment: &EnvironmentName,
        name: &SnapshotName,
        memory: bool,
    ) -> Result<OperationRecord, Refusal> {
        let (mut record, _) = self.environment(environment).await?;
        if self.0.snapshot(environment, name).is_ok() {
            return Err(Refusal::conflict(format!("there is already a snapshot {name} of {environment}")));
        }
        let operation = self.0.operate(OperationKind::Snapshot, environment)?;
        let snapshot = SnapshotRecord {
            id: SnapshotId::random(),
            name: name.clone(),
            environment: environment.clone(),
            environment_id: record.id,
            created: CREATED.parse().expect("a time"),
            parent: record.snapshot,
            cut: CutId::random(),
            spec: record.spec.clone(),
            inside: record.identities.iter().map(|(name, both)| (name.clone(), both.inside.clone())).collect(),
            operation: Some(operation.id),
            phase: SnapshotPhase::Ready { pause_us: 14_200, memory, saved_bytes: u64::from(memory) << 20 },
        };
        record.snapshot = Some(snapshot.id);
        let mut state = self.0.state();
        state.environments.entry(environment.clone()).and_modify(|pair| pair.0 = record);
        state.snapshots.push(snapshot);
        Ok(operation)
    }

    async fn snapshots(&self, environment: &EnvironmentName) -> Result<Vec<SnapshotRecord>, Refusal> {
        self.environment(environment).await?;
        Ok(self.0.state().snapshots.iter().filter(|snapshot| snapshot.environment == *environment).cloned().collect())
    }

    async fn remove_snapshot(&self, environment: &EnvironmentName, name: &SnapshotName) -> Result<(), Refusal> {
        let id = self.0.snapshot(environment, name)?.id;
        self.0.state().snapshots.retain(|snapshot| snapshot.id != id);
        Ok(())
    }

    async fn restore(
        &self,
        environment: &EnvironmentName,
        of: &EnvironmentName,
        name: &SnapshotName,
    ) -> Result<OperationRecord, Refusal> {
        let snapshot = self.0.snapshot(of, name)?;
        let operation = self.0.operate(OperationKind::Restore, environment)?;
        self.0.state().environments.entry(environment.clone()).and_modify(|(record, _)| {
            record.snapshot = Some(snapshot.id);
            let (number, cut, snapshot) = (2, snapshot.cut, name.clone());
            record.restore = Some(wardian_model::environment::Restore { number, cut, snapshot, at: None });
        });
        Ok(operation)
    }

    async fn set_fence(&self, name: &EnvironmentName, fence: Fence) -> Result<(), Refusal> {
        self.environment(name).await?;
        self.0.state().environments.entry(name.clone()).and_modify(|(record, _)| record.fence = fence);
        Ok(())
    }

    async fn set_gateway(&self, name: &EnvironmentName, gateway: &Gateway) -> Result<EnvironmentRecord, Refusal> {
        self.0.state().environments.entry(name.clone()).and_modify(|(record, _)| record.gateway = gateway.clone());
        Ok(self.environment(name).await?.0)
    }

    async fn set_acl(
        &self,
        name: &EnvironmentName,
        machine: Option<&MachineName>,
        rules: &[AclRule],
    ) -> Result<(EnvironmentRecord, Vec<Problem>), Refusal> {
        self.environment(name).await?;
        self.0
            .state()
            .environments
            .entry(name.clone())
            .and_modify(|(record, _)| record.acl.set(machine, rules.to_vec()));
        Ok((self.environment(name).await?.0, vec![Problem::new("a rule is never asked")]))
    }

    async fn acl_counters(&self, name: &EnvironmentName) -> Result<Vec<Denied>, Refusal> {
        self.environment(name).await?;
        Ok(vec![Denied { machine: "web".parse().unwrap(), inward: 3, outward: 0 }])
    }

    async fn join_environments(
        &self,
        name: &EnvironmentName,
        other: &EnvironmentName,
    ) -> Result<EnvironmentRecord, Refusal> {
        let joined = self.environment(other).await?.0.as_joined();
        self.0.state().environments.entry(name.clone()).and_modify(|(record, _)| record.joined.push(joined));
        Ok(self.environment(name).await?.0)
    }

    async fn part_environments(
        &self,
        name: &EnvironmentName,
        other: &EnvironmentName,
    ) -> Result<EnvironmentRecord, Refusal> {
        let parted = |record: &mut EnvironmentRecord| record.joined.retain(|joined| joined.name != *other);
        self.0.state().environments.entry(name.clone()).and_modify(|(record, _)| parted(record));
        Ok(self.environment(name).await?.0)
    }

    async fn fence_counters(&self, name: &EnvironmentName) -> Result<Vec<(&'static str, u64)>, Refusal> {
        self.environment(name).await?;
        Ok(vec![("fence_in", 12), ("forged_mac", 0)])
    }

    async fn set_expiry(&self, name: &EnvironmentName, expires: Option<Timestamp>) -> Result<(), Refusal> {
        self.environment(name).await?;
        self.0.state().environments.entry(name.clone()).and_modify(|(record, _)| record.expires = expires);
        Ok(())
    }

    async fn start(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.0.operate(OperationKind::Start, name)
    }

    async fn stop(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.0.operate(OperationKind::Down, name)
    }

    async fn suspend(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.0.operate(OperationKind::Suspend, name)
    }

    async fn remove(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.0.operate(OperationKind::Remove, name)
    }

    async fn expose(&self, name: &EnvironmentName, expose: Expose) -> Result<Exposure, Refusal> {
        for machine in expose.machines() {
            self.0.machine(name, machine)?;
        }
        let Expose { machine, port, protocol, at, .. } = expose;
        let at = at.unwrap_or(NonZeroU16::new(20_000).expect("not zero"));
        Ok(Exposure { machine, port, protocol, at, address: "10.86.0.1".parse().expect("an address") })
    }

    async fn unexpose(&self, name: &EnvironmentName, expose: Expose) -> Result<(), Refusal> {
        for machine in expose.machines() {
            self.0.machine(name, machine)?;
        }
        let (machine, port, protocol) = (expose.who(), expose.port, expose.protocol);
        if (port.get(), protocol) == (80, Protocol::Tcp) {
            return Ok(());
        }
        Err(Refusal::not_found(format!("{name}/{machine}:{port}/{protocol} is not exposed")))
    }

    async fn environments(&self) -> Result<Vec<Pair>, Refusal> {
        Ok(self.0.ask()?.environments.values().cloned().collect())
    }

    async fn environment(&self, name: &EnvironmentName) -> Result<Pair, Refusal> {
        let found = self.0.ask()?.environments.get(name).cloned();
        found.ok_or_else(|| Refusal::not_found(format!("there is no environment {name}")).hint("see `wardian ls`"))
    }

    fn aliases(&self) -> &AliasConfig {
        static ALIASES: LazyLock<AliasConfig> =
            LazyLock::new(|| AliasConfig::new(name("wardian.internal")).expect("a short zone"));
        &ALIASES
    }

    async fn operation(&self, id: OperationId) -> Result<OperationRecord, Refusal> {
        let found = self.0.ask()?.operations.get(&id).map(|operation| operation.borrow().clone());
        found.ok_or_else(|| Refusal::not_found(format!("there is no operation {id}")))
    }

    async fn operations(&self) -> Result<Vec<OperationRecord>, Refusal> {
        Ok(self.0.ask()?.operations.values().map(|operation| operation.borrow().clone()).collect())
    }

    async fn operation_changes(
        &self,
        id: OperationId,
    ) -> Result<BoxStream<'static, Result<OperationRecord, Refusal>>, Refusal> {
        let receiver = self.0.ask()?.operations.get(&id).map(watch::Sender::subscribe);
        let mut receiver = receiver.ok_or_else(|| Refusal::not_found(format!("there is no operation {id}")))?;
        receiver.mark_changed();
        Ok(stream::unfold(Some(receiver), |receiver| async move {
            let mut receiver = receiver?;
            receiver.changed().await.ok()?;
            let operation = receiver.borrow_and_update().clone();
            let more = operation.state == OperationState::Running;
            Some((Ok(operation), more.then_some(receiver)))
        })
        .boxed())
    }

    async fn events(&self, from: EventsFrom) -> Result<BoxStream<'static, Result<EventRecord, Refusal>>, Refusal> {
        drop(self.0.ask()?);
        let receiver = self.0.events.subscribe();
        let next = from.from.unwrap_or(0);
        Ok(stream::unfold((receiver, next), move |(mut receiver, next)| async move {
            loop {
                let event = receiver.borrow_and_update().iter().find(|event| event.sequence >= next).cloned();
                match event {
                    Some(event) => {
                        let next = event.sequence + 1;
                        return Some((Ok(event), (receiver, next)));
                    }
                    None if from.follow => receiver.changed().await.ok()?,
                    None => return None,
                }
            }
        })
        .boxed())
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, Refusal> {
        Ok(self.0.ask()?.images.values().cloned().collect())
    }

    async fn import_image(
        &self,
        order: ImportOrder,
    ) -> Result<BoxStream<'static, Result<ImportState, Refusal>>, Refusal> {
        let mut state = self.0.ask()?;
        if state.images.contains_key(&order.name) {
            return Err(Refusal::conflict(format!("there is an image {} already", order.name)));
        }
        let doing = |percent| Ok(ImportState::Doing { step: "convert".to_owned(), percent });
        match order.path.as_str() {
            "/corrupt" => Ok(stream::iter([doing(None), Err(Refusal::invalid("the disk is corrupt"))]).boxed()),
            "/endless" => {
                let guard = GivenUp(Some(self.0.clone()));
                let rest = stream::unfold(guard, |guard| async move {
                    std::future::pending::<()>().await;
                    Some((Err(Refusal::internal("never")), guard))
                });
                Ok(stream::iter([doing(Some(1))]).chain(rest).boxed())
            }
            _ => {
                let image = image(order.name.as_str());
                state.images.insert(order.name, image.clone());
                Ok(stream::iter([doing(None), doing(Some(50)), Ok(ImportState::Done(image))]).boxed())
            }
        }
    }

    async fn remove_image(&self, name: &ImageName) -> Result<(), Refusal> {
        let removed = self.0.ask()?.images.remove(name);
        removed.map(drop).ok_or_else(|| Refusal::not_found(format!("there is no image {name}")))
    }

    async fn exec(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        order: ExecOrder,
    ) -> Result<ExecResult, Refusal> {
        self.0.machine(name, machine)?;
        Ok(ExecResult {
            status: Some(3),
            signal: None,
            stdout: order.stdin.unwrap_or_default().into(),
            stderr: order.command.join(" ").into_bytes().into(),
            truncated: false,
        })
    }

    async fn read_file(&self, name: &EnvironmentName, machine: &MachineName, path: &str) -> Result<FileRead, Refusal> {
        self.0.machine(name, machine)?;
        if path == "/breaks-off" {
            let pieces = [Ok(Bytes::from_static(b"begin")), Err(Refusal::unavailable("the agent went away"))];
            return Ok(FileRead { size: None, content: stream::iter(pieces).boxed() });
        }
        let found = self.0.state().files.get(path).cloned();
        let (_, content) = found.ok_or_else(|| Refusal::not_found(format!("there is no file {path} in {machine}")))?;
        let size = Some(content.len() as u64);
        let pieces: Vec<_> = content.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(FileRead { size, content: stream::iter(pieces).boxed() })
    }

    async fn write_file(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        path: &str,
        mode: Option<u32>,
        mut content: BoxStream<'static, Result<Bytes, Refusal>>,
    ) -> Result<u64, Refusal> {
        self.0.machine(name, machine)?;
        let mut bytes = Vec::new();
        let mut total = 0;
        while let Some(piece) = content.next().await {
            let piece = piece?;
            total += piece.len() as u64;
            if path == "/full" {
                return Err(Refusal::unavailable("the guest's disk is full"));
            }
            if path != "/dev/null" {
                bytes.extend_from_slice(&piece);
            }
        }
        self.0.state().files.insert(path.to_owned(), (mode, bytes));
        Ok(total)
    }

    async fn console(&self, name: &EnvironmentName, machine: &MachineName) -> Result<UnixStream, Refusal> {
        self.0.machine(name, machine)?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| Refusal::internal(error.to_string()))?;
        tokio::spawn(async move {
            let (mut read, mut write) = ours.into_split();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut write, b"login: ").await;
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Ok(theirs)
    }

    async fn console_tail(
        &self,
        name: &EnvironmentName,
        machine: &MachineName,
        most: usize,
    ) -> Result<Vec<u8>, Refusal> {
        self.0.machine(name, machine)?;
        let console = b"[    0.000000] Linux\nlogin: ";
        Ok(console[console.len().saturating_sub(most)..].to_vec())
    }

    async fn host_report(&self) -> Result<HostReport, Refusal> {
        drop(self.0.ask()?);
        let check = Check { name: "qemu".to_owned(), verdict: Verdict::Ok, message: "10.0.2".to_owned(), hint: None };
        Ok(HostReport { checks: vec![check] })
    }

    async fn info(&self) -> Result<DaemonInfo, Refusal> {
        drop(self.0.ask()?);
        Ok(DaemonInfo {
            version: "0.1.0".to_owned(),
            api_version: 1,
            state_directory: "/var/lib/wardian".to_owned(),
            lab_prefix: "10.86.0.0/16".to_owned(),
            host_id: "00000000000000ff".to_owned(),
        })
    }
}
