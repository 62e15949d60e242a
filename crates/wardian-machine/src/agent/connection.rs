//! The task that owns the agent's connection: looks whether the port is open, synchronizes, asks, reads.
//!
//! The port is a plain byte stream that outlives agents, guests' reboots and clients, so anything may stand in it.
//! After connecting and after every failure both sides are brought in step with `guest-sync-delimited`: what comes
//! before the 0xFF byte and our number is stale and dropped. The number is random: the machine's process before this
//! one, or the daemon before this one, may have left the answer to its own question in the stream, and must not have
//! asked with the same.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::gate::{Entered, Entrance};
use super::{AgentError, MAXIMUM_LINE, Request, SYNC_TIMEOUT};
use crate::command_line::AGENT_ID;
use crate::framing::Lines;
use crate::qmp::Qmp;

/// How long the monitor may take to say whether the port is open.
const LOOK: Duration = Duration::from_secs(5);
/// How long a command without an answer is listened to for a refusal.
const REFUSAL: Duration = Duration::from_millis(300);
/// Marks the start of a synchronized answer; never part of valid UTF-8.
const DELIMITER: u8 = 0xff;
const CHUNK: usize = 16 << 10;
/// Longest description of a failure that is passed on, in characters: the guest chooses it.
const DESCRIPTION: usize = 1000;

pub(super) async fn run(
    path: PathBuf,
    monitor: Option<Qmp>,
    mut entrance: Entrance,
    mut queue: mpsc::Receiver<Request>,
) {
    let mut connection = None;
    while let Some(request) = queue.recv().await {
        if request.answer.is_closed() {
            continue;
        }
        let Request { command, limit, .. } = request;
        match entrance.enter(limit).await {
            Some(Entered::Here) => {}
            Some(Entered::There(agent)) => {
                if let Err(mpsc::error::SendError(request)) = agent.requests.send(request).await {
                    let _ = request.answer.send(Err(AgentError::Disconnected { command }));
                }
                continue;
            }
            None => {
                let _ = request.answer.send(Err(AgentError::Held { command, limit }));
                continue;
            }
        }
        let result = serve(&path, monitor.as_ref(), &mut connection, &request).await;
        entrance.leave();
        if !matches!(result, Ok(_) | Err(AgentError::Refused { .. })) {
            // Out of step: whatever comes later on this connection belongs to nobody.
            connection = None;
        }
        let _ = request.answer.send(result);
    }
}

async fn serve(
    path: &Path,
    monitor: Option<&Qmp>,
    slot: &mut Option<Connection>,
    request: &Request,
) -> Result<Value, AgentError> {
    let Request { command, limit, .. } = *request;
    // Before every call: bytes written to a closed port would be carried out by the next agent that opens it.
    if let Some(monitor) = monitor
        && !is_open(monitor).await.unwrap_or(true)
    {
        return Err(AgentError::NotThere);
    }
    let connection = match slot {
        Some(connection) => connection,
        None => {
            let stream = UnixStream::connect(path).await.map_err(|_| AgentError::Disconnected { command })?;
            slot.insert(Connection { stream, lines: Lines::new(MAXIMUM_LINE), in_step: false })
        }
    };
    if !connection.in_step {
        let patience = SYNC_TIMEOUT.min(limit);
        match timeout(patience, connection.synchronize()).await {
            Ok(Ok(())) => connection.in_step = true,
            Ok(Err(_)) => return Err(AgentError::Disconnected { command }),
            Err(_) => return Err(AgentError::Silent { limit: patience }),
        }
    }
    let asked = connection.ask(command, request.arguments.as_ref());
    let patience = if request.answers { limit } else { REFUSAL.min(limit) };
    match timeout(patience, asked).await {
        Ok(Ok(answer)) => result(command, answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Err(AgentError::Answer { command, what: error.to_string() })
        }
        Ok(Err(_)) if !request.answers => Ok(Value::Null),
        Ok(Err(_)) => Err(AgentError::Disconnected { command }),
        Err(_) if !request.answers => {
            connection.in_step = false;
            Ok(Value::Null)
        }
        Err(_) => Err(AgentError::TimedOut { command, limit }),
    }
}

/// Whether the guest has the agent's port open; `None` when QEMU does not say.
async fn is_open(monitor: &Qmp) -> Option<bool> {
    let devices = monitor.execute_within("query-chardev", None, LOOK).await.ok()?;
    let agent = devices.as_array()?.iter().find(|d| d.get("label").and_then(Value::as_str) == Some(AGENT_ID))?;
    agent.get("frontend-open")?.as_bool()
}

struct Connection {
    stream: UnixStream,
    lines: Lines,
    in_step: bool,
}

impl Connection {
    async fn synchronize(&mut self) -> io::Result<()> {
        // The agent's numbers are signed, of 64 bits.
        let number = uuid::Uuid::new_v4().as_u64_pair().1 >> 1;
        let message = json!({ "execute": "guest-sync-delimited", "arguments": { "id": number } });
        // The delimiter in front ends whatever half a message an earlier client left in the agent's parser.
        let mut bytes = vec![DELIMITER];
        bytes.extend_from_slice(format!("{message}\n").as_bytes());
        self.stream.write_all(&bytes).await?;
        loop {
            let line = self.line().await?;
            let Some(start) = line.iter().rposition(|byte| *byte == DELIMITER) else { continue };
            let answer: Option<Value> = serde_json::from_slice(&line[start + 1..]).ok();
            if answer.and_then(|a| a.get("return")?.as_u64()) == Some(number) {
                return Ok(());
            }
        }
    }

    async fn ask(&mut self, command: &str, arguments: Option<&Value>) -> io::Result<Value> {
        let mut message = json!({ "execute": command });
        if let Some(arguments) = arguments {
            message["arguments"] = arguments.clone();
        }
        self.stream.write_all(format!("{message}\n").as_bytes()).await?;
        Ok(serde_json::from_slice(&self.line().await?)?)
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let next = self.lines.next_line();
            match next.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                Some(line) if line.is_empty() => {}
                Some(line) => return Ok(line),
                None => {
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
            }
        }
    }
}

fn result(command: &'static str, mut answer: Value) -> Result<Value, AgentError> {
    if let Some(value) = answer.get_mut("return") {
        return Ok(value.take());
    }
    let Some(error) = answer.get("error") else {
        return Err(AgentError::Answer { command, what: "neither a return nor an error".to_owned() });
    };
    let text = |member: &str| {
        let text = error.get(member).and_then(Value::as_str).unwrap_or("(not said)");
        text.chars().filter(|c| !c.is_control()).take(DESCRIPTION).collect::<String>()
    };
    Err(AgentError::Refused { command, class: text("class"), description: text("desc") })
}
