//! How a monitor command can fail.

use std::io;
use std::time::Duration;

/// A monitor command that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// QEMU refused the command.
    #[error("QEMU refused {command}: {description} ({class})")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's error class, `GenericError` in nearly every case.
        class: String,
        /// QEMU's own words.
        description: String,
    },
    /// No answer in time; the command may still be carried out.
    #[error("QEMU did not answer {command} within {limit:?}")]
    TimedOut {
        /// The command.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// The monitor cannot be reached: QEMU is gone, or another client holds it.
    #[error("the monitor cannot be reached for {command}")]
    Unreachable {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke before the answer; the command may have been carried out.
    #[error("the monitor's connection broke before {command} was answered")]
    Disconnected {
        /// The command.
        command: String,
    },
    /// The answer lacks what it must have.
    #[error("QEMU's answer to {command} has no usable {member}")]
    Answer {
        /// The command.
        command: String,
        /// What is missing.
        member: &'static str,
    },
    /// The client was closed, because the machine is gone.
    #[error("the monitor is closed, {command} was not sent")]
    Closed {
        /// The command.
        command: String,
    },
}
