//! Events of the monitor: the ones we act on as types, every other one as it came.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::command_line::AGENT_ID;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it happened, by the host's clock.
    pub at: SystemTime,
    /// What happened.
    pub what: MachineEvent,
}

/// What a machine reports.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MachineEvent {
    /// The machine was reset; it goes on running.
    Reset {
        /// Whether the guest asked for it.
        guest: bool,
    },
    /// The machine was shut down. With our command line QEMU then waits in the state `shutdown`.
    Shutdown {
        /// Whether the guest asked for it.
        guest: bool,
        /// QEMU's reason, as in `guest-shutdown` or `host-qmp-quit`.
        reason: String,
    },
    /// The guest's kernel panicked.
    Panicked {
        /// What QEMU does about it.
        action: String,
    },
    /// A disk failed to read or write.
    BlockIoError {
        /// The disk's node, as in `disk0`.
        node: String,
        /// `read` or `write`.
        operation: String,
        /// Whether the machine was paused for it, as it is when the host's disk is full.
        paused: bool,
        /// Whether there was no space left.
        no_space: bool,
        /// The error in words.
        reason: String,
    },
    /// The guest agent opened or closed its port.
    AgentPort {
        /// Whether it is open now.
        open: bool,
    },
    /// The processors were stopped.
    Stopped,
    /// The processors run again.
    Resumed,
    /// A stream that comes in or goes out changed its state.
    Migration {
        /// QEMU's word (`MigrationStatus`), as in `completed` or `failed`.
        status: String,
    },
    /// The ACPI power button was pressed.
    PowerButton,
    /// The connection to the monitor was made, at first or again. Events in between are lost: ask for the state.
    Connected,
    /// The connection broke; it is made again while QEMU lives.
    Disconnected,
    /// Any other event.
    Other {
        /// Its name.
        name: String,
        /// Its data.
        data: Value,
    },
}

impl Event {
    /// An event of our own, now.
    pub(super) fn now(what: MachineEvent) -> Self {
        Event { at: SystemTime::now(), what }
    }

    /// Reads a message of the monitor; `None` when it is no event.
    pub(super) fn read(message: &Value) -> Option<Self> {
        let name = message.get("event")?.as_str()?;
        let data = message.get("data").cloned().unwrap_or(Value::Null);
        Some(Event { at: moment(message), what: typed(name, data) })
    }
}

fn moment(message: &Value) -> SystemTime {
    let part = |member: &str| message.get("timestamp")?.get(member)?.as_u64();
    // QEMU says -1 when it has no clock; u64 fails then, as it does for nonsense.
    match (part("seconds"), part("microseconds")) {
        (Some(seconds), Some(micros)) => SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .and_then(|at| at.checked_add(Duration::from_micros(micros)))
            .unwrap_or_else(SystemTime::now),
        _ => SystemTime::now(),
    }
}

fn typed(name: &str, data: Value) -> MachineEvent {
    let text = |member: &str| data.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let truth = |member: &str| data.get(member).and_then(Value::as_bool).unwrap_or(false);
    match name {
        "RESET" => MachineEvent::Reset { guest: truth("guest") },
        "SHUTDOWN" => MachineEvent::Shutdown { guest: truth("guest"), reason: text("reason") },
        "GUEST_PANICKED" => MachineEvent::Panicked { action: text("action") },
        "BLOCK_IO_ERROR" => MachineEvent::BlockIoError {
            node: text("node-name"),
            operation: text("operation"),
            paused: text("action") == "stop",
            no_space: truth("nospace"),
            reason: text("reason"),
        },
        // The event names the port's device, `query-chardev` the character device.
        "VSERPORT_CHANGE" if text("id").starts_with(AGENT_ID) => MachineEvent::AgentPort { open: truth("open") },
        "STOP" => MachineEvent::Stopped,
        "RESUME" => MachineEvent::Resumed,
        "MIGRATION" => MachineEvent::Migration { status: text("status") },
        "POWERDOWN" => MachineEvent::PowerButton,
        _ => MachineEvent::Other { name: name.to_owned(), data },
    }
}
