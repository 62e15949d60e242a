//! What a machine that went on from saved memory needs: the time, and chance of its own.
//!
//! A copy's generation id is new already (the process was started with it; one that was suspended is no copy), which
//! tells its kernel to renew its random numbers, and the edge resets the connections it had with the outside. The rest
//! is done through the guest agent, beside everything else: nobody waits for it, and a guest without an agent does
//! without.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};
use wardian_machine::{AgentError, Machine};
use wardian_model::{id::EnvironmentId, name::MachineName};

use super::{RETRY, Task};
use crate::shared::Shared;

/// How long one try of one part may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How long each part is tried: a guest that was cloned twenty times at once gets little of the processor.
const PATIENCE: Duration = Duration::from_secs(120);

/// A clock whose setting took longer than this is late by up to that, and is set once more.
const PROMPT: Duration = Duration::from_millis(500);

/// How often a clock is set at most.
const SETTINGS: u32 = 5;

/// Bytes of chance.
const SEED: usize = 64;

/// Begins it. What was done is said as an event.
pub(super) fn begin(task: &Task, machine: &Machine) {
    let (environment, name) = (task.environment.name.clone(), task.name.clone());
    let guest =
        Guest { shared: task.shared.clone(), id: task.environment.id, name: name.clone(), first: machine.clone() };
    let old = task.record.resume.as_ref().is_some_and(|memory| memory.generation == task.record.generation);
    let generation = if old { "" } else { "new generation id, " };
    tokio::spawn(async move {
        // The clock first: everybody sees it, and the kernel has renewed its random numbers by itself if it can.
        let set = guest.set_clock().await;
        let reseeded = guest.reseed().await;
        let of = |outcome: Result<(), AgentError>, done: &str, not: &str| match outcome {
            Ok(()) => done.to_owned(),
            Err(reason) => format!("{not} ({reason})"),
        };
        let message = format!(
            "went on from memory: {generation}{}, {}",
            of(reseeded, "entropy renewed", "entropy not renewed by its agent"),
            of(set, "clock set", "clock not set"),
        );
        guest.shared.records.say(&environment, Some(&name), message).await;
    });
}

/// A guest, whichever process its machine is meanwhile.
struct Guest {
    shared: Arc<Shared>,
    id: EnvironmentId,
    name: MachineName,
    /// Who it was at first, until its controller holds it.
    first: Machine,
}

/// What is done through its agent.
enum Part {
    Clock,
    Chance(Vec<u8>),
}

impl Part {
    async fn give(&self, machine: &Machine) -> Result<(), AgentError> {
        match self {
            Self::Clock => machine.agent().set_time(SystemTime::now(), LIMIT).await,
            Self::Chance(bytes) => machine.agent().reseed(bytes, LIMIT).await,
        }
    }
}

impl Guest {
    async fn set_clock(&self) -> Result<(), AgentError> {
        for _ in 0..SETTINGS {
            if self.persist(&Part::Clock).await? < PROMPT {
                break;
            }
        }
        Ok(())
    }

    async fn reseed(&self) -> Result<(), AgentError> {
        let mut chance = Vec::with_capacity(SEED);
        while chance.len() < SEED {
            chance.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        self.persist(&Part::Chance(chance)).await.map(drop)
    }

    /// Again and again, as long as there is hope: an agent that is late, or whose machine has handed over to a
    /// successor. Gives how long the try took that succeeded.
    async fn persist(&self, part: &Part) -> Result<Duration, AgentError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let held = self.shared.machine(self.id, &self.name);
            let machine = held.as_ref().unwrap_or(&self.first);
            let begun = Instant::now();
            let outcome = tokio::select! {
                outcome = part.give(machine) => outcome,
                _ = machine.wait_exit() => Err(AgentError::Disconnected { command: "what it needs after a clone" }),
            };
            let late = matches!(
                outcome,
                Err(AgentError::Silent { .. }
                    | AgentError::TimedOut { .. }
                    | AgentError::Held { .. }
                    | AgentError::Disconnected { .. })
            );
            let gone = held.is_none() && !self.first.lives();
            if !late || gone || Instant::now() >= deadline {
                return outcome.map(|()| begun.elapsed());
            }
            sleep(RETRY).await;
        }
    }
}
