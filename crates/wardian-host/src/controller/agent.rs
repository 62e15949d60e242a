//! Watching a running machine: whether its guest agent answers, and whether a disk's failure has paused it.

use std::time::Duration;

use tokio::{sync::broadcast::error::RecvError, time::Instant};
use wardian_machine::{Machine, MachineEvent};
use wardian_model::{
    id::EnvironmentId,
    machine::{AgentState, MachinePhase, MachineRecord},
    name::{EnvironmentName, MachineName},
};

use super::{
    RETRY,
    ready::{is_io_error, no_space, stands},
};
use crate::records::Records;

/// Pauses between tries for an agent that has not shown itself. After the last it counts as silent.
const TRIES: [u64; 5] = [2, 3, 5, 10, 10];

/// Writes down what a machine shows of itself while it runs.
pub(super) struct Watch {
    pub(super) records: Records,
    pub(super) environment: EnvironmentName,
    pub(super) id: EnvironmentId,
    pub(super) name: MachineName,
}

impl Watch {
    /// Until the machine's process ends.
    pub(super) async fn run(&self, machine: &Machine) {
        let mut events = machine.events();
        let mut tries = TRIES.iter().map(|seconds| Duration::from_secs(*seconds));
        let mut next = tries.next().map(|pause| Instant::now() + pause);
        let ended = machine.wait_exit();
        tokio::pin!(ended);
        loop {
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut ended => return,
                event = events.recv() => match event.map(|event| event.what) {
                    Ok(MachineEvent::AgentPort { open: true }) => {
                        if self.ask(machine).await {
                            next = None;
                        }
                    }
                    Ok(event) if is_io_error(&event) => {
                        if stands(machine).await {
                            self.paused().await;
                        }
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => {
                        ended.await;
                        return;
                    }
                },
                () = timer => {
                    next = match tries.next() {
                        _ if self.ask(machine).await => None,
                        Some(pause) => Some(Instant::now() + pause),
                        None => {
                            self.write(|record| record.agent = AgentState::Silent).await;
                            None
                        }
                    };
                }
            }
        }
    }

    /// Whether the agent answers; written down if it does.
    async fn ask(&self, machine: &Machine) -> bool {
        match machine.agent().info().await {
            Ok(info) => {
                self.write(|record| record.agent = AgentState::Answers { version: info.version.clone() }).await;
                true
            }
            Err(_) => false,
        }
    }

    async fn paused(&self) {
        let problem = no_space(&self.name, &self.environment);
        self.records.say(&self.environment, Some(&self.name), problem.message.clone()).await;
        self.write(|record| {
            if let (Some(process), MachinePhase::Ready { since, .. }) = (record.phase.process(), record.phase.clone()) {
                record.phase = MachinePhase::Paused { process, since, problem: problem.clone() };
            }
        })
        .await;
    }

    /// Tried until it succeeds: nobody else would write it down, and a full disk is also the records' own.
    async fn write(&self, mut change: impl FnMut(&mut MachineRecord)) {
        let key = MachineRecord::key_of(&self.environment, &self.name);
        loop {
            let written = self.records.update::<MachineRecord>(&key, |record| {
                let before = record.clone();
                if record.environment_id == self.id {
                    change(record);
                }
                *record != before
            });
            let Err(error) = written.await else { return };
            tracing::warn!(environment = %self.environment, machine = %self.name, %error, "record not written");
            tokio::time::sleep(RETRY).await;
        }
    }
}
