//! Suspending: a machine stops where it is, its memory goes to disk, and its next start goes on from there.
//!
//! Two steps, so that what was interrupted goes on where it was. First the machine is paused, its memory frozen and
//! written down as what the next start goes on from; then its process ends. Second, that memory goes to disk, and is
//! let go of at hand. Killed in between, the daemon that comes next finds either a process, which lives and is
//! suspended anew, or memory that is not on disk yet.
//!
//! The machines of an environment are paused side by side, within milliseconds. What one sends in those to another that
//! stands already is lost, as a packet may be; none receives what another has not sent in the moment it goes on from.

use wardian_machine::Machine;
use wardian_model::{
    Timestamp,
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Problem},
    machine::{AgentState, MachinePhase, MachineRecord},
    memory::FrozenMemory,
    operation::{OperationKind, OperationRecord, OperationState},
    record::Record,
    size::ByteSize,
};
use wardian_store::{Outcome, Transaction};

use super::{RETRY, Task};
use crate::{disks, fault, memories, refusal::problem};

impl Task {
    /// Pauses the machine, writes down what it goes on from, and ends its process.
    pub(super) async fn suspend(self) -> Option<Machine> {
        let Some(machine) = self.handle.clone().filter(Machine::lives) else {
            return self.settle().await;
        };
        if let Err(reason) = self.freeze(&machine).await {
            if !machine.lives() {
                return self.settle().await;
            }
            if let Err(error) = machine.resume().await {
                tracing::error!(machine = %self.name, error = %problem(&error), "can't go on");
            }
            self.give_up(reason).await;
            return Some(machine);
        }
        fault::point("suspend: recorded");
        if let Err(error) = machine.kill() {
            tracing::error!(machine = %self.name, %error, "not ended; trying again");
            tokio::time::sleep(RETRY).await;
            return Some(machine);
        }
        machine.wait_exit().await;
        fault::point("suspend: process ended");
        self.update(|record| {
            record.memory = None;
            record.agent = AgentState::Unknown;
        })
        .await;
        if let Err(error) = disks::remove_group(&self.environment, &self.name) {
            tracing::debug!(machine = %self.name, %error, "cgroup not removed yet");
        }
        None
    }

    /// From the pause to the record. Without one, the machine is no other than before when it is resumed.
    async fn freeze(&self, machine: &Machine) -> Result<(), Problem> {
        let paths = &self.shared.paths;
        let freezing = memories::to_freeze(paths, &self.name, machine)
            .map_err(|problem| problem.hint("stop and start it once (`wardian down`, `wardian start`)"))?;
        // What is made here has no name in a record until the end.
        let _making = self.shared.making().await;
        machine.pause().await.map_err(|error| problem(&error))?;
        fault::point("suspend: paused");
        memories::copy(paths, machine, freezing).await?;
        let id = freezing.id;
        let memory = memories::of_machine(&self.shared, &self.environment, &self.record, machine, id).await?;
        let state = paths.device_state(id);
        machine.save_state(&state).await.map_err(|error| problem(&error))?;
        memories::freeze(&paths.ram(id))?;
        memories::freeze(&state)?;
        fault::point("suspend: saved");
        self.write_down(memory).await
    }

    async fn write_down(&self, memory: FrozenMemory) -> Result<(), Problem> {
        let id = self.record.environment_id;
        let written = self.shared.records.update::<MachineRecord>(&self.key, |record| {
            let ours = record.environment_id == id;
            if ours {
                record.resume = Some(memory.clone());
                record.saved = false;
                record.phase = MachinePhase::Stopped { why: Some("suspended".to_owned()) };
            }
            ours
        });
        match written.await.map_err(|error| problem(&error))? {
            Some(record) if record.resume.as_ref() == Some(&memory) => Ok(()),
            _ => Err(Problem::new(format!("the record of {} is gone", self.name))),
        }
    }

    /// Writes the memory to disk and lets go of it at hand.
    pub(super) async fn save_memory(self) -> Option<Machine> {
        let memory = self.record.resume.clone()?;
        let paths = &self.shared.paths;
        if !paths.ram(memory.id).exists() && !paths.saved_memory(memory.id).exists() {
            self.lost().await;
            return None;
        }
        let bytes = match memories::to_disk(&self.shared, &self.name, &memory).await {
            Ok(bytes) => bytes,
            Err(reason) => {
                self.give_up(reason).await;
                return None;
            }
        };
        self.update(|record| {
            if record.resume.as_ref() == Some(&memory) {
                record.saved = true;
                record.memory = None;
            }
        })
        .await;
        fault::point("suspend: memory let go");
        self.say(format!("suspended; {} of memory are on disk", ByteSize::mib(bytes.div_ceil(1 << 20)))).await;
        // Who has suspended it wants the memory of the host.
        if let Err(problem) = memories::collect_in_any_case(&self.shared).await {
            tracing::warn!(%problem, "unneeded memory is not removed yet");
        }
        None
    }

    /// The machine boots at its next start.
    pub(super) async fn forget_memory(self) -> Option<Machine> {
        self.update(|record| {
            record.resume = None;
            record.saved = false;
            if matches!(record.phase, MachinePhase::Stopped { .. }) {
                record.phase = MachinePhase::Stopped { why: None };
            }
        })
        .await;
        self.say("its memory is given up; the next start boots").await;
        self.shared.collector.memory();
        None
    }

    /// The host was restarted, or somebody has deleted the file, before it was on disk.
    async fn lost(&self) {
        let problem = Problem::new(format!("the memory of {} was lost before it was on disk", self.name))
            .hint(format!("boot it from its disk: wardian start {}", self.environment.name));
        self.say(format!("failed: {problem}")).await;
        self.update(|record| {
            record.resume = None;
            record.memory = None;
            record.phase = MachinePhase::Failed { problem: problem.clone() };
        })
        .await;
    }

    /// Who can't be suspended goes on, and with it the whole environment: half of one suspended helps nobody.
    async fn give_up(&self, reason: Problem) {
        self.say(format!("can't be suspended: {reason}")).await;
        let mut problem = reason;
        problem.message = format!("{} can't be suspended, so all go on: {}", self.name, problem.message);
        if let Err(error) = self.wish_to_run(&problem).await {
            tracing::warn!(environment = %self.environment.name, %error, "the end of a suspension not written down");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// As if somebody had asked for a start, with the operation's failure in the same transaction.
    async fn wish_to_run(&self, problem: &Problem) -> wardian_store::Result<()> {
        let records = &self.shared.records;
        loop {
            let Some(found) = records.environment(&self.environment.name).await? else { return Ok(()) };
            let environment = found.record;
            if environment.id != self.environment.id || environment.desired != Desired::Suspended {
                return Ok(());
            }
            let environment = EnvironmentRecord {
                desired: Desired::Running,
                run: environment.run + 1,
                phase: EnvironmentPhase::Starting,
                ..environment
            };
            let mut transaction = Transaction::new()
                .unchanged(environment.key(), found.revision)
                .put_json(environment.key(), &environment)?;
            let operation = match environment.operation {
                Some(id) => records.operation(id).await?,
                None => None,
            };
            let suspends = |o: &OperationRecord| o.kind == OperationKind::Suspend && o.state == OperationState::Running;
            if let Some(found) = operation.filter(|operation| suspends(&operation.record)) {
                let state = OperationState::Failed { at: Timestamp::now(), problem: problem.clone() };
                let operation = OperationRecord { state, ..found.record };
                transaction =
                    transaction.unchanged(operation.key(), found.revision).put_json(operation.key(), &operation)?;
            }
            if let Outcome::Committed(_) = records.store().commit(transaction).await? {
                return Ok(());
            }
        }
    }
}
