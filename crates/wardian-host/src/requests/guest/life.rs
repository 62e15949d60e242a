//! A machine through its successors: a live cut replaces its process, and the guest doesn't notice.
//!
//! After a restore or another start the guest is another one, and what was asked of it before is nobody's any more.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wardian_machine::Machine;
use wardian_model::{
    Timestamp,
    id::EnvironmentId,
    machine::MachinePhase,
    name::{EnvironmentName, MachineName},
};

use crate::{Host, Refusal};

/// How long a hand-over may take until its successor is known here.
const HAND_OVER: Duration = Duration::from_secs(10);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(10);

/// One life of a machine, and the process it is now.
pub(super) struct Life {
    host: Host,
    pub(super) environment: EnvironmentName,
    pub(super) name: MachineName,
    id: EnvironmentId,
    /// When it was started: kept by successors, and by nobody else.
    since: Option<Timestamp>,
    now: Machine,
}

impl Life {
    /// The life of which `now` is the process.
    pub(super) async fn of(
        host: &Host,
        environment: &EnvironmentName,
        name: &MachineName,
        now: Machine,
    ) -> Result<Self, Refusal> {
        let (_, record) = host.machine_record(environment, name).await?;
        Ok(Self {
            host: host.clone(),
            environment: environment.clone(),
            name: name.clone(),
            id: record.environment_id,
            since: since(&record.phase),
            now,
        })
    }

    /// The process it was when last looked for.
    pub(super) const fn now(&self) -> &Machine {
        &self.now
    }

    /// Waits until its process has ended, and finds its successor.
    ///
    /// # Errors
    /// When there is none: it has stopped, crashed, or been taken back to a snapshot.
    pub(super) async fn next(&mut self) -> Result<(), Refusal> {
        let deadline = Instant::now() + HAND_OVER;
        let ended = timeout_at(deadline, self.now.wait_exit()).await.is_ok();
        loop {
            let (_, record) = self.host.machine_record(&self.environment, &self.name).await?;
            let same = record.environment_id == self.id && since(&record.phase) == self.since;
            if ended
                && same
                && let Some(machine) = self.host.shared.machine(self.id, &self.name)
            {
                self.now = machine;
                return Ok(());
            }
            if !same || Instant::now() >= deadline {
                return Err(Refusal::unavailable(format!("{}/{} ended meanwhile", self.environment, self.name))
                    .hint(format!("`wardian events {}` says how", self.environment)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

const fn since(phase: &MachinePhase) -> Option<Timestamp> {
    match phase {
        MachinePhase::Booting { since, .. }
        | MachinePhase::Ready { since, .. }
        | MachinePhase::Paused { since, .. }
        | MachinePhase::Unready { since, .. } => Some(*since),
        // One that stops goes on to no successor.
        MachinePhase::Stopping { .. } | MachinePhase::Stopped { .. } | MachinePhase::Failed { .. } => None,
    }
}
