//! The second interface of a machine, where it has one: given to the guest through its agent.
//!
//! A machine that went on from memory still has the hardware address and the public address of the instance that memory
//! is of. Its link is down then, from before it runs; the guest is given its own addresses; and only then the link
//! comes up. (Whatever a guest does, the pins of its tap let nothing pass but its own.) Every guest is told where the
//! other machines are, inside, and not to say or ask names on the lab network. All of this is `second.sh`, run again
//! whenever an agent comes up: a guest may have rebooted.
//!
//! How far it has come is in the machine's record, written before the process starts; so a daemon that was killed goes
//! on from there.

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::Instant};
use wardian_machine::{Machine, MachineEvent, agent::Exec, interface_slot};
use wardian_model::{
    environment::EnvironmentRecord,
    id::EnvironmentId,
    machine::{MachineRecord, SecondInterface},
    name::{EnvironmentName, MachineName},
};

use super::{RETRY, Task};
use crate::{fault, refusal::problem, shared::Shared};

/// Its index among a machine's interfaces.
pub(super) const INTERFACE: usize = 1;

/// Run in the guest.
const SCRIPT: &str = include_str!("second.sh");

/// How long each part of it may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How long an agent may take to show that it is there.
const PING: Duration = Duration::from_secs(2);

/// Why nothing was tried.
const NO_AGENT: &str = "its guest agent does not answer";

/// Pauses in milliseconds between tries, for an agent that has not shown itself or a guest that could not. After the
/// last, only an agent that comes up is a reason to try again.
const TRIES: [u64; 7] = [200, 500, 1000, 2000, 5000, 10_000, 10_000];

impl Task {
    /// Before its process is there, so that a link which is to be down is not forgotten.
    pub(super) async fn second_begins(&self) {
        let state = self.environment.has_second_interface(&self.name).then_some(match self.record.resume {
            Some(_) => SecondInterface::Held { why: None },
            None => SecondInterface::New { why: None },
        });
        if state != self.record.second {
            self.update(|record| record.second = state.clone()).await;
        }
    }
}

/// Sees to one machine's second interface for as long as its process lives.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) environment: EnvironmentName,
    pub(super) id: EnvironmentId,
    pub(super) name: MachineName,
}

impl Keeper {
    pub(super) fn begin(self, machine: &Machine) {
        let machine = machine.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = self.run(&machine) => {}
                _ = machine.wait_exit() => {}
            }
        });
    }

    async fn run(&self, machine: &Machine) {
        let Some(environment) = self.of().await else { return };
        let mut events = machine.events();
        let mut tries = TRIES.iter();
        // One that was set already is left alone until its agent comes up anew.
        let mut pending = self.state().await.is_some_and(|state| state != SecondInterface::Set);
        let mut said = None;
        loop {
            let began = Instant::now();
            let mut wait = None;
            if pending {
                match self.settle(&environment, machine).await {
                    Ok(()) => {
                        pending = false;
                        said = None;
                    }
                    Err(reason) => {
                        wait = tries.next().map(|pause| began + Duration::from_millis(*pause));
                        // While a guest boots, an agent that doesn't answer is nothing to speak of.
                        let booting = reason == NO_AGENT && !self.is_held().await;
                        if wait.is_none() && !booting && said.as_ref() != Some(&reason) {
                            self.stays(&reason).await;
                            said = Some(reason);
                        }
                    }
                }
            }
            let again = async {
                match wait {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = again => {}
                () = agent_comes(&mut events) => {
                    pending = true;
                    tries = TRIES.iter();
                }
            }
        }
    }

    /// Its environment, if the machine has a second interface. Asked until the records answer.
    async fn of(&self) -> Option<EnvironmentRecord> {
        loop {
            match self.shared.records.environment(&self.environment).await {
                Ok(found) => {
                    let ours = |environment: &EnvironmentRecord| {
                        environment.id == self.id && environment.has_second_interface(&self.name)
                    };
                    return found.map(|found| found.record).filter(ours);
                }
                Err(error) => {
                    tracing::warn!(environment = %self.environment, error = %problem(&error), "records can't be read");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn state(&self) -> Option<SecondInterface> {
        let key = MachineRecord::key_of(&self.environment, &self.name);
        let found = self.shared.records.get::<MachineRecord>(&key).await.ok()??;
        found.record.second.filter(|_| found.record.environment_id == self.id)
    }

    async fn is_held(&self) -> bool {
        matches!(self.state().await, Some(SecondInterface::Held { .. }))
    }

    async fn settle(&self, environment: &EnvironmentRecord, machine: &Machine) -> Result<(), String> {
        let state = self.state().await.ok_or("its record can't be read")?;
        let held = matches!(state, SecondInterface::Held { .. });
        let link = async |up: bool| machine.set_link(INTERFACE, up).await.map_err(|e| problem(&e).message);
        if held {
            link(false).await?;
        }
        if machine.agent().ping(PING).await.is_err() {
            return Err(NO_AGENT.to_owned());
        }
        self.guest(environment, machine, "prepare").await?;
        fault::point("second: prepared");
        if held {
            link(true).await?;
            self.write(SecondInterface::New { why: None }).await;
            fault::point("second: link up");
        }
        self.guest(environment, machine, "lease").await?;
        self.write(SecondInterface::Set).await;
        if held {
            let address = environment.identities.get(&self.name).map(|i| i.outside.address.to_string());
            let address = address.unwrap_or_default();
            self.say(format!(
                "its interface on the lab network was given its own addresses ({address}); its link is up"
            ))
            .await;
        }
        Ok(())
    }

    /// Runs a part of the script in the guest.
    async fn guest(&self, environment: &EnvironmentRecord, machine: &Machine, part: &str) -> Result<(), String> {
        let lab = &self.shared.config.lab;
        let identity = environment.identities.get(&self.name).ok_or("its record is incomplete")?;
        let exec = Exec {
            argv: ["sh", "-s", part].map(str::to_owned).to_vec(),
            environment: vec![
                format!("SLOT={:02x}.0", interface_slot(INTERFACE)),
                format!("MAC={}", identity.outside.mac),
                format!("ADDRESS={}", identity.outside.address),
                format!("LENGTH={}", lab.prefix.prefix_len()),
                format!("ROUTER={}", lab.address()),
                format!("HOSTS={}", hosts(environment, &self.name)),
            ],
            stdin: SCRIPT.as_bytes().to_vec(),
            timeout: LIMIT,
        };
        let output = machine.agent().exec(&exec).await.map_err(|error| problem(&error).message)?;
        if output.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("its script failed");
        // A guest may write anything.
        Err(last.chars().filter(|c| !c.is_control()).take(200).collect())
    }

    /// Writes down why it has come no further, and says so.
    async fn stays(&self, reason: &str) {
        let Some(state) = self.state().await else { return };
        let what = match state {
            SecondInterface::Held { .. } => "its interface on the lab network is held down",
            _ => "its interface on the lab network is not set up in the guest",
        };
        self.say(format!("{what}: {reason}")).await;
        self.write(state.because(reason)).await;
    }

    async fn say(&self, message: String) {
        self.shared.records.say(&self.environment, Some(&self.name), message).await;
    }

    async fn write(&self, state: SecondInterface) {
        let key = MachineRecord::key_of(&self.environment, &self.name);
        loop {
            let written = self.shared.records.update::<MachineRecord>(&key, |record| {
                let changes = record.environment_id == self.id && record.second.as_ref() != Some(&state);
                if changes {
                    record.second = Some(state.clone());
                }
                changes
            });
            let Err(error) = written.await else { return };
            tracing::warn!(environment = %self.environment, machine = %self.name, %error, "record not written");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Lines for /etc/hosts: every other machine, by its full name, its hostname and its name in the file, with its inside
/// address.
fn hosts(environment: &EnvironmentRecord, but: &MachineName) -> String {
    let domain = &environment.spec.network.domain;
    let line = |(name, identity): (&MachineName, &wardian_model::environment::MachineIdentity)| {
        let inside = &identity.inside;
        let mut line = format!("{} {1}.{domain} {1}", inside.address, inside.hostname);
        if inside.hostname.as_str() != name.as_str() {
            line.push_str(&format!(" {name}"));
        }
        line
    };
    let others = environment.identities.iter().filter(|(name, _)| *name != but);
    others.map(line).collect::<Vec<_>>().join("\n")
}

async fn agent_comes(events: &mut tokio::sync::broadcast::Receiver<wardian_machine::Event>) {
    loop {
        match events.recv().await {
            Ok(event) if event.what == (MachineEvent::AgentPort { open: true }) => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
