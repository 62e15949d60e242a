//! Running a program in the guest and waiting for its output.
//!
//! The agent has no stream: it collects output and tells it all at the end, so the status is asked for again and again,
//! at first after 2 ms, then ever more rarely.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::commands::read;
use super::{Agent, AgentError, DEFAULT_TIMEOUT};

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A program to run in the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// The program and its arguments; the program is looked for in the guest's `PATH`. No shell is involved.
    pub argv: Vec<String>,
    /// Environment as `NAME=value`; empty leaves the agent's own.
    pub environment: Vec<String>,
    /// What it reads from its standard input.
    pub stdin: Vec<u8>,
    /// How long it may take. Zero looks once.
    pub timeout: Duration,
}

impl Exec {
    /// A program with its arguments that may take a minute; environment and input are left as they are.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Exec {
            argv: argv.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(60),
        }
    }
}

/// What a program in the guest left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code, when it exited.
    pub status: Option<i32>,
    /// The signal that killed it; on Windows the exception.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Whether the agent cut the output off (it keeps 16 MiB of each).
    pub truncated: bool,
}

impl ExecOutput {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }
}

/// A program that was begun in the guest. Its number lives there, so every agent of that guest knows it, also one that
/// a successor of the machine is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestProcess {
    /// Its process id in the guest.
    pub pid: i64,
}

/// The time between two looks at a program, and the end of all looking.
#[derive(Debug)]
pub struct ExecWait {
    program: String,
    limit: Duration,
    deadline: Instant,
    pause: Duration,
}

impl ExecWait {
    /// Counts [`Exec::timeout`] from now.
    pub fn new(exec: &Exec) -> Self {
        ExecWait {
            program: exec.argv.first().cloned().unwrap_or_default(),
            limit: exec.timeout,
            deadline: Instant::now() + exec.timeout,
            pause: FIRST_PAUSE,
        }
    }

    /// Sleeps until `process`, which has not ended, is to be looked at again.
    ///
    /// # Errors
    /// [`AgentError::ExecTimedOut`] when its time is over.
    pub async fn again(&mut self, process: GuestProcess) -> Result<(), AgentError> {
        let now = Instant::now();
        if now >= self.deadline {
            let (program, limit) = (self.program.clone(), self.limit);
            return Err(AgentError::ExecTimedOut { program, pid: process.pid, limit });
        }
        tokio::time::sleep(self.pause.min(self.deadline - now)).await;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

impl Agent {
    /// Runs a program in the guest and gives its output. After a time-out it runs on in the guest: the agent has no way
    /// to end it.
    pub async fn exec(&self, exec: &Exec) -> Result<ExecOutput, AgentError> {
        let mut wait = ExecWait::new(exec);
        let process = self.exec_begin(exec).await?;
        loop {
            if let Some(output) = self.exec_outcome(process).await? {
                return Ok(output);
            }
            wait.again(process).await?;
        }
    }

    /// Starts a program in the guest and waits for nothing; [`Agent::exec_outcome`] asks what has become of it,
    /// [`ExecWait`] how often.
    pub async fn exec_begin(&self, exec: &Exec) -> Result<GuestProcess, AgentError> {
        #[derive(Deserialize)]
        struct Started {
            pid: i64,
        }
        let command = "guest-exec";
        let (program, rest) = exec
            .argv
            .split_first()
            .ok_or_else(|| AgentError::Answer { command, what: "no program was named".to_owned() })?;
        let mut arguments = json!({ "path": program, "arg": rest, "capture-output": true });
        if !exec.environment.is_empty() {
            arguments["env"] = json!(exec.environment);
        }
        if !exec.stdin.is_empty() {
            arguments["input-data"] = json!(BASE64_STANDARD.encode(&exec.stdin));
        }
        let Started { pid } = read(command, self.execute(command, Some(arguments), DEFAULT_TIMEOUT).await?)?;
        Ok(GuestProcess { pid })
    }

    /// What a program left; `None` while it runs. The agent forgets what it has told: asked once more, it refuses.
    pub async fn exec_outcome(&self, process: GuestProcess) -> Result<Option<ExecOutput>, AgentError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Status {
            exited: bool,
            exitcode: Option<i64>,
            signal: Option<i64>,
            #[serde(default)]
            out_data: String,
            #[serde(default)]
            err_data: String,
            #[serde(default)]
            out_truncated: bool,
            #[serde(default)]
            err_truncated: bool,
        }
        let command = "guest-exec-status";
        let answer = self.execute(command, Some(json!({ "pid": process.pid })), DEFAULT_TIMEOUT).await?;
        let status: Status = read(command, answer)?;
        if !status.exited {
            return Ok(None);
        }
        let number = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok());
        Ok(Some(ExecOutput {
            status: number(status.exitcode),
            signal: number(status.signal),
            stdout: decode(command, &status.out_data)?,
            stderr: decode(command, &status.err_data)?,
            truncated: status.out_truncated || status.err_truncated,
        }))
    }

    /// Runs a program for what it does; its failure is an error.
    pub(super) async fn run(&self, argv: &[&str]) -> Result<(), AgentError> {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        let program = argv.join(" ");
        let output = self.exec(&Exec { argv, timeout: DEFAULT_TIMEOUT, ..Exec::default() }).await?;
        if output.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().chars().take(1000).collect();
        Err(AgentError::Program { program, message })
    }
}

/// Reads base64 of an answer.
pub(super) fn decode(command: &'static str, text: &str) -> Result<Vec<u8>, AgentError> {
    BASE64_STANDARD.decode(text).map_err(|error| AgentError::Answer { command, what: error.to_string() })
}
