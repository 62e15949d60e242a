//! Stopping a machine, and writing down that and why one has stopped.

use wardian_machine::{Deadlines, Exit, Machine, ShutdownStep, console};
use wardian_model::{
    Timestamp,
    environment::{Desired, Problem},
    machine::{AgentState, MachinePhase, Process},
};

use super::Task;
use crate::{collector::Asked, disks, fault};

/// How much of a console's end goes into a problem, in bytes and lines.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

impl Task {
    /// Agent, then power button, then force; returns when the process is gone.
    pub(super) async fn stop(self) -> Option<Machine> {
        let Some(machine) = self.handle.clone() else { return self.settle().await };
        let since = Timestamp::now();
        let process = process_of(&machine);
        self.update(|record| {
            if !matches!(record.phase, MachinePhase::Stopping { .. }) {
                record.phase = MachinePhase::Stopping { process, since };
            }
        })
        .await;
        fault::point("stop: recorded");
        match machine.shutdown(Deadlines::default()).await {
            Ok((step, _)) => self.say(format!("stopped ({})", how(step))).await,
            Err(error) => {
                tracing::warn!(machine = %self.name, %error, "did not stop; killing it");
                let _ = machine.kill();
                machine.wait_exit().await;
                self.say("stopped (killed)").await;
            }
        }
        self.settle().await
    }

    /// Ends the machine at once: it goes back to a snapshot, and what it has become since is given up.
    pub(super) async fn discard(self) -> Option<Machine> {
        if let Some(machine) = &self.handle {
            let _ = machine.kill();
            machine.wait_exit().await;
            fault::point("restore: process ended");
        }
        let asked = self.ended(MachinePhase::Stopped { why: None }).await;
        // Before what it goes on from is brought to hand: both may be too much.
        self.shared.collector.done(asked).await;
        None
    }

    /// Writes down what is: a process that ended and why, or one that counts for a new request to run.
    pub(super) async fn settle(self) -> Option<Machine> {
        let removed = self.environment.desired == Desired::Removed;
        let Some(machine) = self.handle.clone() else {
            // A record of a process that nobody has: the daemon was away when it ended, or the host was restarted.
            let wanted = matches!(self.environment.desired, Desired::Running | Desired::Suspended);
            let stopping = matches!(self.record.phase, MachinePhase::Stopping { .. });
            let phase = if wanted && !stopping {
                MachinePhase::Failed {
                    problem: Problem::new(format!("{} ended while the daemon was away", self.name))
                        .hint(format!("start it again: wardian start {}", self.environment.name))
                        .details(self.tail()),
                }
            } else {
                MachinePhase::Stopped { why: None }
            };
            self.ended(phase).await;
            return None;
        };
        if machine.lives() && !removed {
            let run = self.environment.run;
            self.update(|record| record.run = run).await;
            return Some(machine);
        }
        let exit = machine.wait_exit().await;
        fault::point("stop: process ended");
        let asked = removed
            || self.environment.desired == Desired::Stopped
            || matches!(self.record.phase, MachinePhase::Stopping { .. });
        let phase = match &exit {
            _ if asked => MachinePhase::Stopped { why: None },
            exit if exit.is_orderly() => MachinePhase::Stopped { why: Some(exit.to_string()) },
            exit => MachinePhase::Failed { problem: self.crash(exit) },
        };
        if !asked {
            self.say(format!("ended: {exit}")).await;
        }
        self.ended(phase).await;
        None
    }

    async fn ended(&self, phase: MachinePhase) -> Asked {
        self.update(|record| {
            record.phase = phase.clone();
            record.agent = AgentState::Unknown;
            record.memory = None;
        })
        .await;
        fault::point("stop: end recorded");
        let asked = self.shared.collector.memory();
        if let Err(error) = disks::remove_group(&self.environment, &self.name) {
            tracing::debug!(machine = %self.name, %error, "cgroup not removed yet");
        }
        asked
    }

    fn crash(&self, exit: &Exit) -> Problem {
        Problem::new(format!("{}: {exit}", self.name))
            .hint(format!("start it again: wardian start {}", self.environment.name))
            .details(self.tail())
    }

    /// The end of the machine's console, in lines.
    pub(super) fn tail(&self) -> Vec<String> {
        let Some(identity) = self.environment.identities.get(&self.name) else { return Vec::new() };
        let directory = self.shared.paths.machine(identity.slot);
        let bytes = console::console_tail(&directory, TAIL_BYTES).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().map(printable).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
    }
}

/// A guest may print anything; a user's terminal shall not obey it. Control sequences (ECMA-48) are left out whole.
fn printable(line: &str) -> String {
    let mut shown = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.find(|c| ('@'..='~').contains(c));
                }
            }
            other if other.is_control() => {}
            other => shown.push(other),
        }
    }
    shown.trim_end().chars().take(200).collect()
}

pub(super) fn process_of(machine: &Machine) -> Process {
    let process = machine.process();
    Process { pid: u32::try_from(process.pid).unwrap_or_default(), start_time: process.start_time }
}

const fn how(step: ShutdownStep) -> &'static str {
    match step {
        ShutdownStep::AlreadyOff => "it was off",
        ShutdownStep::Agent => "asked through its agent",
        ShutdownStep::Acpi => "by its power button",
        ShutdownStep::Quit => "cut off: it did not react",
        ShutdownStep::Kill => "killed: it did not react",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_sequences_of_a_console_are_left_out() {
        assert_eq!(super::printable("\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0mSeaBIOS\r"), "SeaBIOS");
        assert_eq!(super::printable("m:/# \u{1b}[6nlast\u{7} words  "), "m:/# last words");
        assert_eq!(super::printable("cut \u{1b}[3"), "cut");
    }
}
