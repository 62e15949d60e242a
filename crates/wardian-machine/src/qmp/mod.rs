//! The monitor of one QEMU: commands with answers, and events.
//!
//! Our own client, tolerant by design: JSON values in and out, typed only where something is read, so that members and
//! events a newer QEMU adds disturb nobody. One connection, because QEMU serves one client at a time; it is made again
//! when it breaks. Formats: QEMU's `docs/interop/qmp-spec.rst` and its QAPI schema.

mod connection;
mod error;
mod event;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use error::QmpError;
pub use event::{Event, MachineEvent};

/// How long a command may take when nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer accepted, in bytes. Even the whole schema is under 1 MiB.
const MAXIMUM_LINE: usize = 16 << 20;
/// Events kept for a slow listener before it loses the oldest.
const EVENTS: usize = 256;
/// Requests waiting for the connection.
const QUEUE: usize = 64;

/// A client of one monitor socket. Cheap to clone; the connection ends with the last clone or with [`Qmp::close`].
#[derive(Debug, Clone)]
pub struct Qmp {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<Event>,
    closed: CancellationToken,
}

#[derive(Debug)]
struct Request {
    command: String,
    arguments: Option<Value>,
    answer: oneshot::Sender<Result<Value, QmpError>>,
}

impl Qmp {
    /// A client of the socket at `path`. Connecting happens in a task of its own, at once and again whenever needed;
    /// needs a tokio runtime.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Qmp::holding(path.into(), ())
    }

    /// The same, keeping `what` for as long as the path is used.
    pub(crate) fn holding(path: PathBuf, what: impl Send + 'static) -> Self {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (events, _) = broadcast::channel(EVENTS);
        let closed = CancellationToken::new();
        let work = connection::run(path, queue, events.clone(), closed.clone());
        tokio::spawn(async move {
            let _held = what;
            work.await;
        });
        Qmp { requests, events, closed }
    }

    /// Executes `command` within [`DEFAULT_TIMEOUT`] and gives its `return` member.
    pub async fn execute(&self, command: &str, arguments: Option<Value>) -> Result<Value, QmpError> {
        self.execute_within(command, arguments, DEFAULT_TIMEOUT).await
    }

    /// Executes `command` within `limit`. After a time-out the command may still be carried out; its answer is dropped.
    pub async fn execute_within(
        &self,
        command: &str,
        arguments: Option<Value>,
        limit: Duration,
    ) -> Result<Value, QmpError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { command: command.to_owned(), arguments, answer };
        let closed = || QmpError::Closed { command: command.to_owned() };
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        let work = async {
            self.requests.send(request).await.map_err(|_| closed())?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        };
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(QmpError::TimedOut { command: command.to_owned(), limit }))
    }

    /// What QEMU reports from now on. A listener that is slow loses the oldest events and is told so by the channel.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Ends the connection for good; every call fails from now on.
    pub fn close(&self) {
        self.closed.cancel();
    }
}
