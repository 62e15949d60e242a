//! The guest agent every distribution and virtio-win ships (`qemu-ga`), reached through a virtio port.
//!
//! The guest is not trusted: answers are bounded and only read for what is needed. A guest without an agent gives
//! [`AgentError::NotThere`] at once, for QEMU knows whether the port is open in the guest. Calls of one client are
//! carried out one after another. Format: QEMU's `docs/interop/qemu-ga.rst` and `qga/qapi-schema.json`.

mod commands;
mod connection;
mod error;
mod exec;
mod files;
mod gate;
mod hygiene;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

pub use commands::{AgentInfo, FsStatus, GuestInterface};
pub use error::AgentError;
pub use exec::{Exec, ExecOutput, ExecWait, GuestProcess};
pub(crate) use gate::{Entrance, Gate, gate};

use crate::qmp::Qmp;

/// How long a command may take when nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the agent may take to answer the first word on a connection.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer accepted, in bytes: the agent keeps up to 16 MiB of each output of a command, base64 makes it a third
/// more.
const MAXIMUM_LINE: usize = 48 << 20;
const QUEUE: usize = 64;

/// A client of one guest's agent. Cheap to clone; connects when first used.
#[derive(Debug, Clone)]
pub struct Agent {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    command: &'static str,
    arguments: Option<Value>,
    limit: Duration,
    /// False for commands the agent answers only when they fail.
    answers: bool,
    answer: oneshot::Sender<Result<Value, AgentError>>,
}

impl Agent {
    /// A client of the socket at `path`; needs a tokio runtime. With the machine's monitor it knows whether an agent is
    /// there without waiting for one.
    pub fn new(path: impl Into<PathBuf>, monitor: Option<Qmp>) -> Self {
        Agent::holding(path.into(), monitor, gate().1, ())
    }

    /// The same, keeping `what` for as long as the path is used. Calls wait at `entrance`.
    pub(crate) fn holding(path: PathBuf, monitor: Option<Qmp>, entrance: Entrance, what: impl Send + 'static) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let work = connection::run(path, monitor, entrance, queue);
        tokio::spawn(async move {
            let _held = what;
            work.await;
        });
        Agent { requests }
    }

    /// Executes an agent command within `limit` and gives its `return` member. The limit counts from when the calls
    /// before it are done; with none at all the command is not sent.
    pub async fn execute(
        &self,
        command: &'static str,
        arguments: Option<Value>,
        limit: Duration,
    ) -> Result<Value, AgentError> {
        self.request(command, arguments, limit, true).await
    }

    async fn request(
        &self,
        command: &'static str,
        arguments: Option<Value>,
        limit: Duration,
        answers: bool,
    ) -> Result<Value, AgentError> {
        if limit.is_zero() {
            return Err(AgentError::TimedOut { command, limit });
        }
        let (answer, answered) = oneshot::channel();
        let gone = |_| AgentError::Disconnected { command };
        let request = Request { command, arguments, limit, answers, answer };
        self.requests.send(request).await.map_err(|_| AgentError::Disconnected { command })?;
        answered.await.map_err(gone)?
    }
}
