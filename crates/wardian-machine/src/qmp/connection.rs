//! The task that owns a monitor's connection: connects, matches answers to requests, passes events on.
//!
//! It never decides anything about the machine. A message it cannot read ends the connection, for nothing after it
//! could be trusted to be in step; the next one starts afresh.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Event, MAXIMUM_LINE, MachineEvent, QmpError, Request};
use crate::framing::Lines;

/// How long QEMU may take to greet. It does so once it is set up, which takes a while on a busy host.
const GREETING: Duration = Duration::from_secs(60);
/// How long a write may be stuck in a QEMU that does not read.
const WRITE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const CHUNK: usize = 16 << 10;

type Pending = HashMap<u64, (String, oneshot::Sender<Result<Value, QmpError>>)>;

pub(super) async fn run(
    path: PathBuf,
    mut queue: mpsc::Receiver<Request>,
    events: broadcast::Sender<Event>,
    closed: CancellationToken,
) {
    let work = async {
        let mut pause = FIRST_PAUSE;
        let mut first: Option<Request> = None;
        loop {
            match Connection::open(&path).await {
                Ok(connection) => {
                    pause = FIRST_PAUSE;
                    let _ = events.send(Event::now(MachineEvent::Connected));
                    match connection.serve(first.take(), &mut queue, &events).await {
                        Ended::NobodyAsks => return,
                        Ended::Broken(error) => {
                            tracing::debug!(socket = %path.display(), %error, "the monitor's connection broke");
                            let _ = events.send(Event::now(MachineEvent::Disconnected));
                        }
                    }
                }
                Err(source) => {
                    if let Some(request) = first.take() {
                        let command = request.command;
                        let _ = request.answer.send(Err(QmpError::Unreachable { command, source }));
                    }
                }
            }
            // Wait before the next attempt; a request makes it happen at once.
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                request = queue.recv() => match request {
                    None => return,
                    some => first = some,
                },
            }
        }
    };
    closed.run_until_cancelled(work).await;
}

enum Ended {
    /// The last client is gone.
    NobodyAsks,
    /// The connection broke.
    Broken(io::Error),
}

struct Connection {
    stream: UnixStream,
    lines: Lines,
    next: u64,
    pending: Pending,
}

impl Connection {
    async fn open(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        let mut connection = Connection { stream, lines: Lines::new(MAXIMUM_LINE), next: 1, pending: HashMap::new() };
        tokio::time::timeout(GREETING, connection.negotiate()).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "no greeting: another client is connected or QEMU hangs")
        })??;
        Ok(connection)
    }

    /// Reads the greeting and leaves the negotiation mode, in which QEMU takes no other command.
    async fn negotiate(&mut self) -> io::Result<()> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if self.message().await?.get("QMP").is_none() {
            return Err(bad("this is not a QEMU monitor: it does not greet"));
        }
        self.write(&json!({ "execute": "qmp_capabilities", "id": 0 })).await?;
        loop {
            let message = self.message().await?;
            if message.get("error").is_some() {
                return Err(bad("the monitor refused the negotiation"));
            }
            if message.get("return").is_some() {
                return Ok(());
            }
        }
    }

    async fn write(&mut self, message: &Value) -> io::Result<()> {
        let line = format!("{message}\n");
        tokio::time::timeout(WRITE, self.stream.write_all(line.as_bytes()))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU does not read")))
    }

    /// The next message. Safe to drop half-way: what was read stays in `lines`.
    async fn message(&mut self) -> io::Result<Value> {
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) if line.is_empty() => {}
                Ok(Some(line)) => return Ok(serde_json::from_slice(&line)?),
                Ok(None) => {
                    self.stream.readable().await?;
                    // On the stack and not across an await: an idle connection holds no buffer.
                    let mut chunk = [0; CHUNK];
                    match self.stream.try_read(&mut chunk) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(length) => self.lines.push(&chunk[..length]),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    async fn serve(
        mut self,
        first: Option<Request>,
        queue: &mut mpsc::Receiver<Request>,
        events: &broadcast::Sender<Event>,
    ) -> Ended {
        let mut next = first;
        let error = loop {
            if let Some(request) = next.take()
                && let Err(error) = self.send(request).await
            {
                break error;
            }
            tokio::select! {
                message = self.message() => match message {
                    Ok(message) => self.dispatch(message, events),
                    Err(error) => break error,
                },
                request = queue.recv() => match request {
                    None => return Ended::NobodyAsks,
                    some => next = some,
                },
            }
        };
        for (_, (command, answer)) in self.pending.drain() {
            let _ = answer.send(Err(QmpError::Disconnected { command }));
        }
        Ended::Broken(error)
    }

    async fn send(&mut self, request: Request) -> io::Result<()> {
        // Callers that gave up leave their entry behind when no answer ever comes.
        self.pending.retain(|_, (_, answer)| !answer.is_closed());
        let id = self.next;
        self.next += 1;
        let mut message = json!({ "execute": request.command, "id": id });
        if let Some(arguments) = request.arguments {
            message["arguments"] = arguments;
        }
        self.pending.insert(id, (request.command, request.answer));
        self.write(&message).await
    }

    fn dispatch(&mut self, message: Value, events: &broadcast::Sender<Event>) {
        if let Some(event) = Event::read(&message) {
            // No listener is no failure.
            let _ = events.send(event);
            return;
        }
        let Some((command, answer)) = message.get("id").and_then(Value::as_u64).and_then(|id| self.pending.remove(&id))
        else {
            tracing::debug!(%message, "message of the monitor that nobody asked for");
            return;
        };
        let _ = answer.send(result(command, message));
    }
}

fn result(command: String, mut message: Value) -> Result<Value, QmpError> {
    if let Some(value) = message.get_mut("return") {
        return Ok(value.take());
    }
    let Some(error) = message.get("error") else { return Err(QmpError::Answer { command, member: "return" }) };
    let text = |member: &str| error.get(member).and_then(Value::as_str).unwrap_or("(not said)").to_owned();
    Err(QmpError::Refused { command, class: text("class"), description: text("desc") })
}
