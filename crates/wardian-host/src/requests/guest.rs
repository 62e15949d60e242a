//! What users do inside a guest: run commands, copy files, use the console.

mod console;
mod exec;
mod life;

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    time::Instant,
};
use wardian_machine::{
    AgentError, Machine,
    agent::{Exec, ExecOutput},
    console::{console as connect, console_tail},
};
use wardian_model::{
    machine::{AgentState, MachineRecord},
    name::{EnvironmentName, MachineName},
};

use self::life::Life;
use crate::{Host, Refusal, RefusalKind, refusal::problem};

/// How long a request waits for an agent that has not shown itself since the machine's start.
const AGENT: Duration = Duration::from_secs(10);

/// How long a daemon may take to adopt a machine.
const ADOPTION: Duration = Duration::from_secs(5);

impl Host {
    /// Runs a command through the guest agent. A snapshot or clone of the machine meanwhile changes nothing.
    ///
    /// # Errors
    /// When the machine does not run, or its agent does not answer or refuses.
    pub async fn exec(
        &self,
        environment: &EnvironmentName,
        machine: &MachineName,
        exec: &Exec,
    ) -> Result<ExecOutput, Refusal> {
        let running = self.with_agent(environment, machine).await?;
        exec::run(&mut Life::of(self, environment, machine, running).await?, exec).await
    }

    /// Copies a file out of the guest.
    ///
    /// # Errors
    /// As [`Host::exec`].
    pub async fn read_file<W: AsyncWrite + Unpin + ?Sized>(
        &self,
        environment: &EnvironmentName,
        machine: &MachineName,
        path: &str,
        to: &mut W,
    ) -> Result<u64, Refusal> {
        let running = self.with_agent(environment, machine).await?;
        running.agent().read_file(path, to).await.map_err(|error| agent(environment, machine, &error))
    }

    /// Copies a file into the guest, replacing one of that name. `mode` are permission bits.
    ///
    /// # Errors
    /// As [`Host::exec`].
    pub async fn write_file<R: AsyncRead + Unpin + ?Sized>(
        &self,
        environment: &EnvironmentName,
        machine: &MachineName,
        path: &str,
        from: &mut R,
        mode: Option<u32>,
    ) -> Result<u64, Refusal> {
        let running = self.with_agent(environment, machine).await?;
        running.agent().write_file(path, from, mode).await.map_err(|error| agent(environment, machine, &error))
    }

    /// The serial console, raw in both directions. It stays when the machine hands over to a successor.
    ///
    /// # Errors
    /// When the machine does not run.
    pub async fn console(&self, environment: &EnvironmentName, machine: &MachineName) -> Result<UnixStream, Refusal> {
        let running = self.running(environment, machine).await?;
        let failed = |error| Refusal::unavailable(format!("the console of {environment}/{machine}: {error}"));
        let guest = connect(running.directory()).await.map_err(failed)?;
        let life = Life::of(self, environment, machine, running).await?;
        let (user, theirs) = UnixStream::pair().map_err(failed)?;
        tokio::spawn(console::relay(user, guest, life));
        Ok(theirs)
    }

    /// The last `bytes` bytes at most of what the guest printed, also of its last run.
    ///
    /// # Errors
    /// When there is no such machine.
    pub async fn console_tail(
        &self,
        environment: &EnvironmentName,
        machine: &MachineName,
        bytes: u64,
    ) -> Result<Vec<u8>, Refusal> {
        let (environment, record) = self.machine_record(environment, machine).await?;
        let Some(identity) = environment.identities.get(&record.name) else { return Ok(Vec::new()) };
        let directory = self.shared.paths.machine(identity.slot);
        console_tail(&directory, bytes)
            .map_err(|error| Refusal::unavailable(format!("the console of {}/{machine}: {error}", environment.name)))
    }

    /// A running machine, when its agent has shown itself or had time to: one that counts as ready by its page may
    /// serve that before its agent runs.
    async fn with_agent(&self, environment: &EnvironmentName, machine: &MachineName) -> Result<Machine, Refusal> {
        let deadline = Instant::now() + AGENT;
        loop {
            let running = self.running(environment, machine).await?;
            let (_, record) = self.machine_record(environment, machine).await?;
            if record.agent != AgentState::Unknown || Instant::now() >= deadline {
                return Ok(running);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn running(&self, environment: &EnvironmentName, machine: &MachineName) -> Result<Machine, Refusal> {
        let deadline = Instant::now() + ADOPTION;
        loop {
            let (_, record) = self.machine_record(environment, machine).await?;
            if let Some(running) = self.shared.machine(record.environment_id, machine) {
                return Ok(running);
            }
            // A daemon that was started just now answers before it has taken over the machines that run.
            if record.phase.process().is_none() || Instant::now() >= deadline {
                return Err(not_running(&record));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn not_running(record: &MachineRecord) -> Refusal {
    let (environment, name) = (&record.environment, &record.name);
    Refusal::conflict(format!("{environment}/{name} does not run (it is {})", record.phase.word()))
        .hint(format!("start it with `wardian start {environment}`"))
}

fn agent(environment: &EnvironmentName, machine: &MachineName, error: &AgentError) -> Refusal {
    let mut problem = problem(error);
    problem.message = format!("{environment}/{machine}: {}", problem.message);
    let kind = match error {
        AgentError::Refused { .. } | AgentError::Program { .. } => RefusalKind::Invalid,
        _ => RefusalKind::Unavailable,
    };
    let refusal = Refusal::new(kind, problem);
    if error.is_absence() {
        return refusal.hint(format!(
            "install qemu-guest-agent in the guest, or use its console: wardian console {environment}/{machine}"
        ));
    }
    refusal
}
