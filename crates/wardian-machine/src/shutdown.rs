//! Ending a machine in good order: ask the guest, then press the button, then quit, then kill.
//!
//! Every step has a deadline, and the report says which one worked: a guest that never reacts to its agent is worth
//! knowing.

use std::time::Duration;

use tokio::time::timeout;

use crate::exit::Exit;
use crate::machine::Machine;

/// How long after SIGKILL a process may take to be gone: it may sit in an uninterruptible write.
const KILL: Duration = Duration::from_secs(30);

/// How long QEMU may take to say whether the guest runs; one that does not say will not pass a button on either.
const LOOK: Duration = Duration::from_secs(3);

/// How long each step may take. Zero leaves the step out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From asking the agent until the machine is off.
    pub agent: Duration,
    /// From pressing the ACPI power button until the machine is off.
    pub acpi: Duration,
    /// From telling QEMU to quit until it is gone; its disks are flushed then.
    pub quit: Duration,
}

impl Default for Deadlines {
    /// Half a minute for the guest by each way, ten seconds for QEMU.
    fn default() -> Self {
        Deadlines { agent: Duration::from_secs(30), acpi: Duration::from_secs(30), quit: Duration::from_secs(10) }
    }
}

/// The step that ended a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownStep {
    /// It had ended before.
    AlreadyOff,
    /// The guest agent shut the guest down.
    Agent,
    /// The guest heard the ACPI power button.
    Acpi,
    /// QEMU quit; the guest was cut off.
    Quit,
    /// QEMU was killed.
    Kill,
}

/// Why a machine could not be ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The process cannot be killed.
    #[error("process {pid} cannot be killed")]
    Kill {
        /// The process.
        pid: i32,
        /// Why.
        source: std::io::Error,
    },
    /// The process is still there long after SIGKILL.
    #[error("process {pid} is still there {} s after it was killed", KILL.as_secs())]
    Unkillable {
        /// The process.
        pid: i32,
    },
}

impl Machine {
    /// Ends the machine, by the gentlest way that works within the deadlines. A paused guest cannot hear, so it is cut
    /// off.
    pub async fn shutdown(&self, deadlines: Deadlines) -> Result<(ShutdownStep, Exit), ShutdownError> {
        if let Some(exit) = self.exit() {
            return Ok((ShutdownStep::AlreadyOff, exit));
        }
        let status = timeout(LOOK, self.status()).await;
        let hears = matches!(status, Ok(Ok(status)) if status.running);
        if hears
            && !deadlines.agent.is_zero()
            && self.agent().shutdown().await.is_ok()
            && let Ok(exit) = timeout(deadlines.agent, self.wait_exit()).await
        {
            return Ok((ShutdownStep::Agent, exit));
        }
        if hears
            && !deadlines.acpi.is_zero()
            && self.press_power().await.is_ok()
            && let Ok(exit) = timeout(deadlines.acpi, self.wait_exit()).await
        {
            return Ok((ShutdownStep::Acpi, exit));
        }
        let quit = async {
            // QEMU may be gone before its answer is read; whether it is counts, not the answer.
            let _ = self.quit().await;
            self.wait_exit().await
        };
        if !deadlines.quit.is_zero()
            && let Ok(exit) = timeout(deadlines.quit, quit).await
        {
            return Ok((ShutdownStep::Quit, exit));
        }
        self.kill().map_err(|source| ShutdownError::Kill { pid: self.pid(), source })?;
        match timeout(KILL, self.wait_exit()).await {
            Ok(exit) => Ok((ShutdownStep::Kill, exit)),
            Err(_) => Err(ShutdownError::Unkillable { pid: self.pid() }),
        }
    }
}
