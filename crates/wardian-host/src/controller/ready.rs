//! Awaiting that a machine is ready: its probe, again and again, until it succeeds once or time is up.
//!
//! A machine that shares ports with others is asked on afterwards (see `balance`).
//!
//! A guest that reboots during its set-up is simply probed on; only a process that ends, ends the wait.

use std::{net::SocketAddrV4, num::NonZeroU16, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, watch},
    time::Instant,
};
use wardian_machine::{Event, Machine, MachineEvent, RunState, agent::Exec};
use wardian_model::{
    Timestamp,
    environment::Problem,
    machine::MachinePhase,
    spec::{HttpProbe, Probe},
};

use super::{
    Task,
    balance::{FAILURES, INTERVAL},
};
use crate::fault;

/// Pause between two tries over the network. Short, for every wait of a user ends in one of these.
const PAUSE: Duration = Duration::from_millis(75);
/// Pause between two tries that need the agent: one that comes up is announced, and asking a guest that is busy booting
/// only keeps it from that.
const AGENT_PAUSE: Duration = Duration::from_millis(750);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(3);

impl Task {
    pub(super) async fn await_ready(self) -> Option<Machine> {
        let machine = self.handle.clone()?;
        let (process, since) = match &self.record.phase {
            MachinePhase::Booting { process, since } => (*process, *since),
            _ => return Some(machine),
        };
        let readiness = self.environment.spec.machines.get(&self.name).map(|s| s.ready.clone()).unwrap_or_default();
        let waited = Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default();
        let left = readiness.timeout.duration().saturating_sub(waited);
        let mut events = machine.events();
        let outcome = tokio::select! {
            exit = machine.wait_exit() => {
                tracing::debug!(machine = %self.name, %exit, "ended before it was ready");
                return Some(machine);
            }
            paused = paused(&machine, &mut events) => Err(paused),
            () = self.probe_until_ready(&machine, &readiness.probe) => Ok(()),
            () = tokio::time::sleep(left) => Err(Wait::TimeUp),
        };
        let phase = match outcome {
            Ok(()) => {
                let took = Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default();
                let after_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                self.say(format!("is ready after {}.{} s", after_ms / 1000, after_ms % 1000 / 100)).await;
                MachinePhase::Ready { process, since, after_ms }
            }
            Err(Wait::TimeUp) => {
                let problem = self.never_ready(&readiness.probe, &readiness.timeout.to_string());
                self.say(problem.message.clone()).await;
                MachinePhase::Unready { process, since, problem }
            }
            Err(Wait::Paused) => {
                let problem = self.no_space();
                self.say(problem.message.clone()).await;
                MachinePhase::Paused { process, since, problem }
            }
        };
        fault::point("ready: seen");
        self.update(|record| record.phase = phase.clone()).await;
        fault::point("ready: recorded");
        Some(machine)
    }

    async fn probe_until_ready(&self, machine: &Machine, probe: &Probe) {
        let mut events = machine.events();
        let pause = match probe {
            Probe::Tcp(_) | Probe::Http(_) => PAUSE,
            Probe::Agent | Probe::Exec(_) => AGENT_PAUSE,
        };
        loop {
            let began = Instant::now();
            if tokio::time::timeout(TRY, self.probe(machine, probe)).await == Ok(true) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(began + pause) => {}
                // An agent that comes up is asked at once.
                () = agent_comes(&mut events) => {}
            }
        }
    }

    /// Goes on asking a machine that shares ports with others, and says when its answer has changed. Ends with its
    /// process.
    pub(super) async fn keep_asking(self, say: &watch::Sender<Option<bool>>, wake: &Notify) {
        let Some(machine) = self.handle.clone() else { return };
        let readiness = self.environment.spec.machines.get(&self.name).map(|s| s.ready.clone()).unwrap_or_default();
        let asking = async {
            let mut failures = 0;
            loop {
                let began = Instant::now();
                let answers = tokio::time::timeout(TRY, self.probe(&machine, &readiness.probe)).await == Ok(true);
                failures = if answers { 0 } else { failures + 1 };
                let known = answers || failures >= FAILURES;
                let news = |before: &mut Option<bool>| known && before.replace(answers) != Some(answers);
                if say.send_if_modified(news) {
                    wake.notify_one();
                }
                tokio::time::sleep_until(began + INTERVAL).await;
            }
        };
        tokio::select! {
            () = asking => {}
            _ = machine.wait_exit() => {}
        }
    }

    async fn probe(&self, machine: &Machine, probe: &Probe) -> bool {
        match probe {
            Probe::Agent => machine.agent().ping(TRY).await.is_ok(),
            Probe::Tcp(port) => self.connect(*port).await.is_some(),
            Probe::Http(http) => self.fetch(http).await.unwrap_or(false),
            Probe::Exec(command) => {
                if machine.agent().ping(TRY).await.is_err() {
                    return false;
                }
                machine.agent().exec(&exec_request(command)).await.is_ok_and(|output| output.status == Some(0))
            }
        }
    }

    async fn connect(&self, port: NonZeroU16) -> Option<tokio::net::TcpStream> {
        let identity = self.environment.identities.get(&self.name)?;
        let address = SocketAddrV4::new(identity.inside.address, port.get());
        self.shared.network.connect(self.environment.id, address, TRY).await.ok()
    }

    /// One GET, by hand: a client library would be told to do nothing of what it does.
    async fn fetch(&self, http: &HttpProbe) -> Option<bool> {
        let identity = self.environment.identities.get(&self.name)?;
        let mut stream = self.connect(http.port).await?;
        let (path, host) = (&http.path, identity.inside.address);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: wardian\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        Some(is_success(&head))
    }

    fn never_ready(&self, probe: &Probe, timeout: &str) -> Problem {
        let (environment, name) = (&self.environment.name, &self.name);
        Problem::new(format!("{name} did not get ready within {timeout} ({probe})"))
            .hint(format!(
                "it still runs: look with `wardian console {environment}/{name}`; wait once more with `wardian start {environment}`"
            ))
            .details(self.tail())
    }

    pub(super) fn no_space(&self) -> Problem {
        no_space(&self.name, &self.environment.name)
    }
}

/// Until a machine's guest agent comes up.
pub(crate) async fn agent_comes(events: &mut tokio::sync::broadcast::Receiver<Event>) {
    while let Ok(event) = events.recv().await {
        if event.what == (MachineEvent::AgentPort { open: true }) {
            return;
        }
    }
    std::future::pending().await
}

/// Why waiting ended without success.
enum Wait {
    TimeUp,
    Paused,
}

/// A disk that is full pauses a machine instead of losing its writes.
pub(crate) fn no_space(
    machine: &wardian_model::name::MachineName,
    environment: &wardian_model::name::EnvironmentName,
) -> Problem {
    Problem::new(format!("{machine} is paused: a write to its disk failed, most likely for want of space on the host"))
        .hint(format!("free space in the state directory, then `wardian start {environment}` lets it go on"))
}

async fn paused(machine: &Machine, events: &mut tokio::sync::broadcast::Receiver<Event>) -> Wait {
    if machine.status().await.is_ok_and(|status| status.state == RunState::IoError) {
        return Wait::Paused;
    }
    loop {
        match events.recv().await {
            Ok(event) if is_io_error(&event.what) && stands(machine).await => return Wait::Paused,
            Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Whether a machine stands for a disk's failure. The event comes a little before it stops, and, as QEMU tells of one
/// per second at most, may also come when it runs again long since.
pub(super) async fn stands(machine: &Machine) -> bool {
    for _ in 0..10 {
        if machine.status().await.is_ok_and(|status| status.state == RunState::IoError) {
            return true;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

/// Whether an event says that a disk's failure has stopped the machine.
pub(crate) fn is_io_error(event: &MachineEvent) -> bool {
    matches!(event, MachineEvent::BlockIoError { paused: true, .. })
}

/// The command of an `exec` probe.
fn exec_request(command: &[String]) -> Exec {
    Exec { argv: command.to_vec(), timeout: TRY, ..Exec::default() }
}

/// `HTTP/1.x 2xx` or `3xx` (RFC 9112, section 4).
fn is_success(head: &[u8; 12]) -> bool {
    head.starts_with(b"HTTP/1.") && head[8] == b' ' && matches!(head[9], b'2' | b'3')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_and_redirection_count_as_ready() {
        assert!(is_success(b"HTTP/1.1 200"));
        assert!(is_success(b"HTTP/1.0 302"));
        assert!(!is_success(b"HTTP/1.1 503"));
        assert!(!is_success(b"SSH-2.0-Open"));
    }
}
