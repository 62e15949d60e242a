//! A cut through machines that run, with their memory: each hands its place over to a successor.
//!
//! Beforehand, while everybody runs: a new top layer for each disk, a frozen copy of memory where the machine is a
//! copy-on-write child already, and a successor that waits for its state beside the machine. Then the barrier: all
//! machines stop; their states are saved and loaded; the taps and, as the step that decides, the runtime directories
//! change hands; the successors go on. What the machines have written until then, to disk and memory, never changes
//! again.
//!
//! Killed at any point, each machine's directory holds who it is; whoever else is there is ended, and who stands goes
//! on. Source and successor are of the same moment, so it does not matter which of them it is, for each machine by
//! itself.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::future::{join_all, try_join_all};
use indexmap::IndexMap;
use wardian_machine::{Machine, Memory, start, succession};
use wardian_model::{
    environment::{EnvironmentRecord, Problem},
    id::LayerId,
    machine::{MachinePhase, MachineRecord},
    memory::FrozenMemory,
    name::MachineName,
};
use wardian_network::HandOver;
use wardian_plan::network::NetworkPlan;

use super::{
    cut::{Part, Taken},
    run::{Place, launch},
    stop::process_of,
    together::Together,
};
use crate::{
    fault,
    memories::{self, Freezing},
    refusal::problem,
    shared::Shared,
};

/// How long calls of the agents that are under way may keep the barrier waiting. What takes longer loses its answer.
const SETTLE: Duration = Duration::from_millis(200);

/// What a live cut needs beside its parts.
pub(super) struct Live<'a> {
    pub(super) shared: &'a Shared,
    pub(super) environment: &'a EnvironmentRecord,
    pub(super) network: &'a NetworkPlan,
    pub(super) together: &'a Together<'a>,
}

/// A machine that is about to hand over.
struct Succession<'a> {
    part: &'a Part,
    source: Machine,
    successor: Machine,
    /// The machine's runtime directory.
    directory: PathBuf,
    /// The successor's taps.
    taps: Vec<String>,
    memory: FrozenMemory,
    /// Which memory that is: one that is a copy lacks what the source has changed since it was made.
    freezing: Freezing,
    committed: bool,
}

impl Live<'_> {
    /// Cuts, with `tops` as the machines' new layers. Whatever happens, every machine that ran runs afterwards.
    pub(super) async fn cut(&self, parts: &[Part], tops: &[LayerId]) -> Result<Taken, Problem> {
        let running: Vec<_> =
            parts.iter().zip(tops).filter_map(|(part, top)| Some((part, part.handle.clone()?, *top))).collect();
        let waiting = join_all(running.iter().map(|(part, source, top)| self.prepare(part, source, *top))).await;
        let mut problem = None;
        let mut successions = Vec::new();
        for prepared in waiting {
            match prepared {
                Ok(succession) => successions.push(succession),
                Err(reason) => problem = problem.or(Some(reason)),
            }
        }
        fault::point("live: successors wait");
        let outcome = match problem {
            Some(problem) => Err(problem),
            None => match self.together.prepared().await {
                Ok(()) => self.barrier(&mut successions).await,
                Err(problem) => Err(problem),
            },
        };
        // Those whose successor was never let in go on as they were, and their successors end; the others the other
        // way.
        self.clear(running.iter().map(|(part, ..)| *part)).await;
        let mut machines = Vec::new();
        for succession in successions.iter().filter(|succession| succession.committed) {
            machines.extend(self.take_over(succession).await);
        }
        fault::point("live: taken over");
        let pause = outcome.map_err(|problem| (problem, machines.clone()));
        let pause = match pause {
            Ok(pause) => pause,
            Err((problem, machines)) => return Ok(Taken { machines, result: Err(problem) }),
        };
        let mut memories = IndexMap::new();
        for succession in &successions {
            memories::freeze(&self.shared.paths.ram(succession.memory.id))?;
            memories.insert(succession.part.name.clone(), succession.memory.clone());
        }
        let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        Ok(Taken { machines, result: Ok((memories, pause_us)) })
    }

    /// Everything that can be done while the machine runs.
    async fn prepare<'p>(&self, part: &'p Part, source: &Machine, top: LayerId) -> Result<Succession<'p>, Problem> {
        let name = &part.name;
        let failed = |what: &str, reason: Problem| {
            let mut problem = reason;
            problem.message = format!("{what} of {name} failed: {}", problem.message);
            problem
        };
        let freezing = memories::to_freeze(&self.shared.paths, name, source).map_err(|problem| {
            problem.hint(
                "stop and start it once (`wardian down`, `wardian start`), or cut its disk only (`--disk-only`, `--boot`)",
            )
        })?;
        let directory = self.shared.paths.machine(part.slot);
        succession::end_other(&directory).await.map_err(|error| failed("the hand-over", problem(&error)))?;
        let next = succession::prepare(&directory).map_err(|error| failed("the hand-over", problem(&error)))?;
        // With what has changed until now; at the barrier the same pages are there already, and only written once more.
        let copied = memories::copy(&self.shared.paths, source, freezing).await;
        copied.map_err(|reason| failed("copying the memory", reason))?;
        let opened = self
            .shared
            .network
            .open_successor_taps(self.network, name)
            .await
            .map_err(|error| failed("the hand-over", problem(&error)))?;
        let (taps, names) = opened.into_iter().unzip();
        let place = Place {
            directory: next,
            taps,
            disk: self.shared.paths.layer(top),
            memory: Memory::Frozen { path: self.shared.paths.ram(freezing.id) },
            incoming: true,
        };
        let launch = launch(self.shared, self.environment, name, &part.record, self.network, place).await?;
        let successor = start(launch).await.map_err(|error| failed("the successor", problem(&error)))?.machine;
        let memory = memories::of_machine(self.shared, self.environment, &part.record, source, freezing.id)
            .await
            .map_err(|reason| failed("the hand-over", reason))?;
        let source = source.clone();
        Ok(Succession { part, source, successor, directory, taps: names, memory, freezing, committed: false })
    }

    /// From the first machine that stands to the last that runs again.
    async fn barrier(&self, successions: &mut [Succession<'_>]) -> Result<Duration, Problem> {
        let moves: Vec<_> =
            successions.iter().flat_map(|s| s.taps.iter().map(|tap| (s.part.name.clone(), tap.clone()))).collect();
        let prepared = self.shared.network.prepare_hand_over(self.network, &moves).await;
        let mut taps = prepared.map_err(|error| problem(&error))?;
        join_all(successions.iter().map(|succession| succession.source.settle_agent(SETTLE))).await;
        let begun = Instant::now();
        let mut outcome = self.move_state(successions).await;
        if outcome.is_ok() {
            outcome = self.commit(successions, &mut taps);
        }
        let resumed = join_all(successions.iter().map(|succession| async move {
            let who = if succession.committed { &succession.successor } else { &succession.source };
            who.resume().await.map_err(|error| problem(&error))
        }))
        .await;
        let pause = begun.elapsed();
        fault::point("live: running again");
        outcome.and(resumed.into_iter().collect::<Result<Vec<()>, _>>().map(|_| pause))
    }

    /// All stop, all save, all load. Nobody is anybody else yet.
    async fn move_state(&self, successions: &[Succession<'_>]) -> Result<(), Problem> {
        let named = |succession: &Succession<'_>, mut problem: Problem| {
            problem.message = format!("the cut through {} failed: {}", succession.part.name, problem.message);
            problem
        };
        try_join_all(successions.iter().map(|succession| async move {
            succession.source.pause().await.map_err(|error| named(succession, problem(&error)))
        }))
        .await?;
        fault::point("live: paused");
        self.together.stopped().await?;
        try_join_all(successions.iter().map(|succession| async move {
            let state = self.shared.paths.device_state(succession.memory.id);
            let saved = async {
                succession.source.save_state(&state).await.map_err(|error| named(succession, problem(&error)))
            };
            let Succession { part, source, freezing, .. } = succession;
            let completed = memories::complete(&self.shared.paths, &part.name, source, *freezing);
            tokio::try_join!(saved, completed).map(drop)
        }))
        .await?;
        fault::point("live: saved");
        try_join_all(successions.iter().map(|succession| async move {
            let state = self.shared.paths.device_state(succession.memory.id);
            succession.successor.load_state(&state).await.map_err(|error| named(succession, problem(&error)))
        }))
        .await?;
        fault::point("live: loaded");
        Ok(())
    }

    /// The taps, then the step that decides for each machine.
    fn commit(&self, successions: &mut [Succession<'_>], taps: &mut HandOver) -> Result<(), Problem> {
        if let Err(error) = taps.go() {
            let _ = taps.back();
            return Err(problem(&error));
        }
        fault::point("live: taps handed over");
        for (index, succession) in successions.iter_mut().enumerate() {
            if let Err(error) = succession::exchange(&succession.directory) {
                let problem = Problem::new(format!("{} can't hand over: {error}", succession.part.name));
                if index == 0 {
                    let _ = taps.back();
                }
                return Err(problem);
            }
            succession.committed = true;
            fault::point("live: a machine has handed over");
        }
        Ok(())
    }

    /// Ends whoever stands beside a machine.
    async fn clear<'p>(&self, parts: impl Iterator<Item = &'p Part>) {
        let ended = join_all(
            parts.map(|part| async move { (part, succession::end_other(&self.shared.paths.machine(part.slot)).await) }),
        );
        for (part, ended) in ended.await {
            if let Err(error) = ended {
                tracing::error!(machine = %part.name, error = %problem(&error), "not ended; the next start tries again");
            }
        }
    }

    /// The successor is the machine from now on, for the records too.
    async fn take_over(&self, succession: &Succession<'_>) -> Option<(MachineName, Machine)> {
        let name = &succession.part.name;
        let machine = match Machine::adopt(&succession.directory).await {
            Ok(machine) => machine?,
            Err(error) => {
                tracing::error!(machine = %name, error = %problem(&error), "a successor can't be taken over");
                return None;
            }
        };
        succession.source.hand_over_agent(&machine);
        adopted(self.shared, self.environment, name, &machine).await;
        Some((name.clone(), machine))
    }
}

/// Writes down which process a machine is, and which memory it has.
pub(super) async fn adopted(shared: &Shared, environment: &EnvironmentRecord, name: &MachineName, machine: &Machine) {
    let process = process_of(machine);
    let memory = memories::of_process(&shared.paths, machine.pid()).map(|(id, _)| id);
    let key = MachineRecord::key_of(&environment.name, name);
    let id = environment.id;
    let written = shared.records.update::<MachineRecord>(&key, |record| {
        let before = record.clone();
        if record.environment_id == id {
            record.memory = memory;
            // Who lives never goes on from older memory: a suspension that was interrupted begins anew.
            record.resume = None;
            record.saved = false;
            match &mut record.phase {
                MachinePhase::Booting { process: known, .. }
                | MachinePhase::Ready { process: known, .. }
                | MachinePhase::Paused { process: known, .. }
                | MachinePhase::Unready { process: known, .. }
                | MachinePhase::Stopping { process: known, .. } => *known = process,
                MachinePhase::Stopped { .. } | MachinePhase::Failed { .. } => {}
            }
        }
        *record != before
    });
    if let Err(error) = written.await {
        tracing::warn!(machine = %name, %error, "record not written");
    }
}
