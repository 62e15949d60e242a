//! How a call of the guest agent can fail.

use std::io;
use std::time::Duration;

/// A guest agent's call that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// No agent has opened its port in the guest: none is installed, or the guest is not that far.
    #[error("no guest agent runs in this machine")]
    NotThere,
    /// The port is open and nothing answers.
    #[error("the guest agent did not answer within {limit:?}")]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// The agent refused the command or it failed in the guest.
    #[error("the guest agent refused {command}: {description} ({class})")]
    Refused {
        /// The command.
        command: &'static str,
        /// The error class.
        class: String,
        /// The agent's words, at most 1,000 characters.
        description: String,
    },
    /// No answer in time; it may still be carried out.
    #[error("the guest agent did not answer {command} within {limit:?}")]
    TimedOut {
        /// The command.
        command: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The machine stood, or was about to; the command was never sent.
    #[error("the machine stood for {limit:?}, so {command} was never sent to its guest agent")]
    Held {
        /// The command.
        command: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The answer is not what the agent's protocol says.
    #[error("the guest agent's answer to {command} is unusable: {what}")]
    Answer {
        /// The command.
        command: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The machine is gone or the connection broke; the command may have been carried out.
    #[error("the connection to the guest agent broke during {command}")]
    Disconnected {
        /// The command.
        command: &'static str,
    },
    /// The program in the guest did not end in time; it runs on.
    #[error("{program} in the guest did not end within {limit:?}; it runs on as process {pid}")]
    ExecTimedOut {
        /// The program.
        program: String,
        /// Its process id in the guest.
        pid: i64,
        /// The limit.
        limit: Duration,
    },
    /// A program that had to do a part of the work in the guest failed.
    #[error("{program} failed in the guest: {message}")]
    Program {
        /// The program.
        program: String,
        /// What it wrote on its standard error.
        message: String,
    },
    /// The caller's own stream failed while copying.
    #[error("copying with the guest failed on this side")]
    Local {
        /// Why.
        source: io::Error,
    },
}

impl AgentError {
    /// Whether the agent may be there later: the guest may still be booting.
    pub fn is_absence(&self) -> bool {
        matches!(self, AgentError::NotThere | AgentError::Silent { .. } | AgentError::Disconnected { .. })
    }
}
