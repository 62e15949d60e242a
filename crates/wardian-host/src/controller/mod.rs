//! The controller of one environment on this host: observes, asks the plan what to do, does it, again and again.
//!
//! It holds handles and remembers what is under way, never a truth: killed at any instant, the next one reads the
//! records, adopts the machines that run, and goes on. Each thing under way is a task of its own; there is at most one
//! per machine, one for the network, one cut.

mod agent;
mod balance;
mod cut;
mod disk;
mod expire;
mod forget;
mod hygiene;
mod live;
mod network;
mod observe;
pub(crate) mod passage;
mod progress;
mod ready;
mod run;
mod save;
mod second;
mod stop;
mod suspend;
mod together;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
};
use wardian_machine::Machine;
use wardian_model::{
    environment::{Desired, EnvironmentRecord, Problem},
    id::EnvironmentId,
    machine::MachineRecord,
    name::{EnvironmentName, MachineName},
    record::Record,
};
use wardian_network::Services;
use wardian_plan::{
    lifecycle::{self, Action, Busy, NetworkView},
    network::NetworkPlan,
};

pub(crate) use forget::settle;
pub(crate) use ready::agent_comes;

use crate::{boots::Slot, refusal::problem, shared::Shared};

/// How long to wait before trying again what failed for reasons that may pass.
const RETRY: Duration = Duration::from_secs(2);

/// The controller of one environment.
pub(crate) struct Controller {
    shared: Arc<Shared>,
    id: EnvironmentId,
    name: EnvironmentName,
    wake: Arc<Notify>,
    network: Network,
    machines: HashMap<MachineName, Live>,
    /// Those that share ports, and are asked whether they serve.
    asked: balance::Asked,
    cutting: bool,
    saving: bool,
    /// How many machines may begin to boot on this host.
    boots: watch::Receiver<usize>,
    /// A machine here waits for its turn to boot.
    awaits_turn: bool,
    expiry: expire::Expiry,
    /// What those it is joined with were told last.
    told: Option<passage::Told>,
    tasks: JoinSet<Done>,
    /// Counts tasks, so that one which was replaced can't be taken for its successor.
    begun: u64,
}

/// The network, as this controller knows it.
struct Network {
    view: NetworkView,
    /// What was made last, and at which request to run.
    made: Option<Box<Made>>,
    run: u32,
}

/// A network that was made: its plan, and who serves it.
struct Made {
    plan: NetworkPlan,
    services: Services,
}

/// What this controller holds of a machine.
#[derive(Default)]
struct Live {
    handle: Option<Machine>,
    busy: Option<Under>,
}

/// What is under way with a machine.
struct Under {
    what: Busy,
    number: u64,
    abort: AbortHandle,
}

/// What a task reports when it ends.
enum Done {
    /// The network is as planned, or could not be made.
    Network(Result<Option<Box<Made>>, Problem>),
    /// Nothing more is being done with a machine; its process, if there is one.
    Machine { name: MachineName, number: u64, handle: Option<Machine> },
    /// A machine's process has ended, or its guest agent came or went: look again.
    Look,
    /// A cut was made or refused; the processes that machines are now, where they are others than before.
    Cut(Vec<(MachineName, Machine)>),
    /// A snapshot is on disk, or has failed.
    Saved,
    /// The environment is gone.
    Forgotten(bool),
}

impl Controller {
    pub(crate) fn new(shared: Arc<Shared>, environment: &EnvironmentRecord, wake: Arc<Notify>) -> Self {
        Self {
            id: environment.id,
            name: environment.name.clone(),
            wake,
            network: Network { view: NetworkView::Stale, made: None, run: 0 },
            machines: HashMap::new(),
            asked: balance::Asked::new(),
            cutting: false,
            saving: false,
            boots: shared.boots.free(),
            awaits_turn: false,
            expiry: expire::Expiry::default(),
            told: None,
            tasks: JoinSet::new(),
            begun: 0,
            shared,
        }
    }

    /// Runs until the environment is gone. Dropping the future leaves everything as it is; machines go on.
    pub(crate) async fn run(mut self) {
        if !self.shared.paths.namespace(self.id).exists() {
            self.network.view = NetworkView::Absent;
        }
        self.adopt().await;
        loop {
            match self.turn().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(environment = %self.name, error = %problem(&error), "records can't be read or written");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            let finished = tokio::select! {
                () = self.wake.notified() => None,
                Some(done) = self.tasks.join_next() => Some(done),
                _ = self.boots.changed(), if self.awaits_turn => None,
                () = self.expiry.is_over() => {
                    self.expire().await;
                    None
                }
            };
            match finished {
                Some(Ok(Done::Forgotten(true))) => return,
                Some(Ok(done)) => self.finish(done),
                // Aborted by ourselves; who aborts also says what is under way instead.
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => {}
            }
        }
    }

    /// Observes once and begins everything that can be done. False when the environment is gone.
    async fn turn(&mut self) -> wardian_store::Result<bool> {
        let Some(observed) = self.observe().await? else { return Ok(false) };
        self.awaits_turn = false;
        let boots = *self.boots.borrow_and_update();
        self.expiry.set(observed.environment.expires.filter(|_| observed.environment.desired != Desired::Removed));
        let view = self.view(&observed, boots);
        let phase = lifecycle::phase(&view);
        let actions = lifecycle::next(&view);
        self.see_to_shares(&observed).await?;
        // Of the whole, one host tells.
        if self.shared.is_home(&observed.environment) {
            self.record_progress(&observed, &view, phase).await?;
            passage::tell(&self.shared, &observed.environment, &mut self.told).await?;
        }
        for action in actions {
            self.begin(&observed.environment, &observed.machines, action);
        }
        Ok(true)
    }

    fn begin(
        &mut self,
        environment: &EnvironmentRecord,
        machines: &indexmap::IndexMap<MachineName, MachineRecord>,
        action: Action,
    ) {
        tracing::debug!(environment = %self.name, ?action, "begins");
        let mut begin = |name, busy| self.begin_machine(environment, machines, name, busy, None);
        match action {
            Action::EnsureNetwork => {
                self.network.view = NetworkView::Busy;
                self.network.run = environment.run;
                let services = self.network.made.take();
                self.tasks.spawn(network::ensure(self.shared.clone(), environment.clone(), services));
            }
            Action::RemoveNetwork => {
                self.network.view = NetworkView::Busy;
                let services = self.network.made.take();
                self.tasks.spawn(network::remove(
                    self.shared.clone(),
                    self.name.clone(),
                    self.id,
                    environment.vsids().collect(),
                    services,
                ));
            }
            Action::Cut(cut) => self.begin_cut(environment, machines, cut),
            Action::RefuseCut(cut) => self.refuse_cut(cut, environment.desired),
            Action::Save(snapshot) => {
                self.saving = true;
                self.tasks.spawn(save::save(self.shared.clone(), self.name.clone(), self.id, snapshot));
            }
            Action::Forget => {
                self.tasks.spawn(forget::forget(self.shared.clone(), environment.clone()));
                // Nothing else can be done with it; a second Forget would only lose time.
                self.network.view = NetworkView::Busy;
            }
            Action::AwaitTurn(_) => self.awaits_turn = true,
            Action::Boot(name) => match self.shared.boots.begin() {
                Some(slot) => self.begin_machine(environment, machines, name, Busy::Starting, Some(slot)),
                // Another environment was faster. When its slot is free again, this one looks again.
                None => self.awaits_turn = true,
            },
            Action::MakeDisk(name) => begin(name, Busy::MakingDisk),
            Action::Start(name) | Action::Resume(name) => begin(name, Busy::Starting),
            Action::AwaitReady(name) => begin(name, Busy::Awaiting),
            Action::Discard(name) => begin(name, Busy::Discarding),
            Action::Suspend(name) => begin(name, Busy::Suspending),
            Action::SaveMemory(name) => begin(name, Busy::Saving),
            Action::ForgetMemory(name) => begin(name, Busy::Forgetting),
            Action::Stop(name) => begin(name, Busy::Stopping),
            Action::Kill(name) => {
                if let Some(handle) = self.machines.get(&name).and_then(|live| live.handle.clone()) {
                    let _ = handle.kill();
                }
                self.begin_machine(environment, machines, name, Busy::Settling, None);
            }
            Action::RecordExit(name) | Action::Count(name) => begin(name, Busy::Settling),
        }
    }

    /// Begins a task for a machine, in the place of the one that may be waiting for something.
    fn begin_machine(
        &mut self,
        environment: &EnvironmentRecord,
        machines: &indexmap::IndexMap<MachineName, MachineRecord>,
        name: MachineName,
        busy: Busy,
        slot: Option<Slot>,
    ) {
        let Some(record) = machines.get(&name) else { return };
        if let Some(waiting) = self.machines.get_mut(&name).and_then(|live| live.busy.take()) {
            waiting.abort.abort();
        }
        self.begun += 1;
        let number = self.begun;
        let task = Task { slot, ..self.task(environment, record) };
        let abort = self.tasks.spawn(async move {
            let name = task.name.clone();
            let handle = match busy {
                Busy::MakingDisk => task.make_disk().await,
                Busy::Starting => task.start().await,
                Busy::Awaiting => task.await_ready().await,
                Busy::Stopping => task.stop().await,
                Busy::Discarding => task.discard().await,
                Busy::Suspending => task.suspend().await,
                Busy::Saving => task.save_memory().await,
                Busy::Forgetting => task.forget_memory().await,
                Busy::Settling => task.settle().await,
            };
            Done::Machine { name, number, handle }
        });
        self.machines.entry(name).or_default().busy = Some(Under { what: busy, number, abort });
    }

    /// The machine, if its process lives.
    fn living(&self, name: &MachineName) -> Option<&Machine> {
        self.machines.get(name)?.handle.as_ref().filter(|handle| handle.lives())
    }

    /// Something to do with a machine, as both are now.
    fn task(&self, environment: &EnvironmentRecord, record: &MachineRecord) -> Task {
        Task {
            shared: self.shared.clone(),
            environment: environment.clone(),
            name: record.name.clone(),
            key: record.key(),
            record: record.clone(),
            handle: self.machines.get(&record.name).and_then(|live| live.handle.clone()),
            network: self.network.made.as_ref().map(|made| made.plan.clone()),
            slot: None,
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Network(Ok(made)) => {
                self.network.view = if made.is_some() { NetworkView::Ready } else { NetworkView::Absent };
                self.shared.applied.network(self.id, made.as_ref().map(|made| made.plan.clone()));
                self.network.made = made;
            }
            Done::Network(Err(problem)) => self.network.view = NetworkView::Broken(problem),
            Done::Machine { name, number, handle } => {
                let live = self.machines.entry(name.clone()).or_default();
                if live.busy.as_ref().is_some_and(|under| under.number == number) {
                    live.busy = None;
                    self.hold(name, handle);
                }
            }
            Done::Look => {}
            Done::Cut(machines) => {
                self.cutting = false;
                for (name, machine) in machines {
                    // Who waits for something waits with the process that was; it begins anew.
                    if let Some(waiting) = self.machines.get_mut(&name).and_then(|live| live.busy.take()) {
                        waiting.abort.abort();
                    }
                    self.hold(name, Some(machine));
                }
            }
            Done::Saved => self.saving = false,
            Done::Forgotten(_) => self.network.view = NetworkView::Absent,
        }
    }

    /// Keeps a machine's handle, where guests' requests find it too, and looks again when its process ends.
    fn hold(&mut self, name: MachineName, handle: Option<Machine>) {
        let live = self.machines.entry(name.clone()).or_default();
        let new = match (&live.handle, &handle) {
            (Some(old), Some(new)) => old.process() != new.process(),
            (None, Some(_)) => true,
            _ => false,
        };
        live.handle = handle.clone();
        self.shared.hold(self.id, &name, handle.clone());
        if let Some(machine) = handle.filter(|_| new) {
            let watch = agent::Watch {
                records: self.shared.records.clone(),
                environment: self.name.clone(),
                id: self.id,
                name,
            };
            second::Keeper {
                shared: self.shared.clone(),
                environment: watch.environment.clone(),
                id: watch.id,
                name: watch.name.clone(),
            }
            .begin(&machine);
            self.tasks.spawn(async move {
                watch.run(&machine).await;
                Done::Look
            });
        }
    }
}

/// One thing done with one machine.
struct Task {
    shared: Arc<Shared>,
    environment: EnvironmentRecord,
    name: MachineName,
    /// Where the machine's record is.
    key: String,
    /// The record when the task began.
    record: MachineRecord,
    handle: Option<Machine>,
    network: Option<NetworkPlan>,
    /// The right to boot it, where it boots.
    slot: Option<Slot>,
}

impl Task {
    /// Changes the machine's record. A failure to write is logged: the next turn observes and tries again.
    async fn update(&self, mut change: impl FnMut(&mut MachineRecord)) {
        let id = self.record.environment_id;
        let written = self
            .shared
            .records
            .update::<MachineRecord>(&self.key, |record| {
                // A machine of an older life of that name is not ours to change.
                let ours = record.environment_id == id;
                if ours {
                    change(record);
                }
                ours
            })
            .await;
        if let Err(error) = written {
            tracing::warn!(environment = %self.environment.name, machine = %self.name, %error, "record not written");
            // The same would be tried again at once, as fast as the processor can.
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn say(&self, message: impl Into<String>) {
        self.shared.records.say(&self.environment.name, Some(&self.name), message).await;
    }
}
