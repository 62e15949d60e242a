//! A machine's device state, from one QEMU to another: everything but memory and disks, which both have as files.
//!
//! Saved with `xen-save-devices-state`, which despite its name is in every build and, unlike `migrate`, never puts
//! memory in its stream: 80 kB in 2 ms, whether the memory is a shared file or a copy-on-write child of one. What it
//! lacks for `migrate-incoming` is added here: the configuration section (QEMU's `docs/devel/migration/main.rst`: byte
//! 0x07, length, machine type) behind the header, and an empty description of the devices at the end.
//!
//! Saving leaves the disks flushed and given up ("inactive"), so that another QEMU may take them; [`Machine::resume`]
//! takes them back, which is the whole roll-back of a hand-over.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::exit::Exit;
use crate::machine::{Machine, RunState};
use crate::qmp::{MachineEvent, Qmp, QmpError};

/// How long saving or loading may take: disks are flushed in it.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a QEMU that failed to load may take to end, when it is one that ends then.
const END: Duration = Duration::from_secs(2);

/// "QEVM" and version 3, big-endian: what every stream begins with.
const HEADER: [u8; 8] = [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3];
/// The section that names the machine type.
const CONFIGURATION: u8 = 0x07;
/// The end of the sections.
const END_OF_SECTIONS: u8 = 0x00;
/// The description of the devices, as JSON, for people; QEMU misses it when it is not there.
const DESCRIPTION: [u8; 7] = [0x06, 0, 0, 0, 2, b'{', b'}'];

/// Why a state was not saved or not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The machine runs: what would be saved is no moment.
    #[error("the state of a running machine cannot be saved: pause it first")]
    NotPaused,
    /// The machine does not wait for a state.
    #[error("the machine is {state:?} and does not wait for a state: it must be started with `incoming`")]
    NotIncoming {
        /// What it does.
        state: RunState,
    },
    /// QEMU refused or did not answer.
    #[error("the device state {} was refused", .path.display())]
    Refused {
        /// The state's file.
        path: PathBuf,
        /// What QEMU said.
        source: QmpError,
    },
    /// The file cannot be made, read or completed.
    #[error("the device state {} cannot be written", .path.display())]
    File {
        /// The state's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What QEMU wrote is no stream we know.
    #[error("the device state {} is unusable: {what}", .path.display())]
    Stream {
        /// The state's file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// QEMU could not load it. The machine is of no use any more.
    #[error("QEMU cannot load the device state {}: {reason}", .path.display())]
    Failed {
        /// The state's file.
        path: PathBuf,
        /// QEMU's words.
        reason: String,
    },
    /// QEMU ended while it loaded.
    #[error("QEMU ended while it loaded the device state {}: {exit}", .path.display())]
    Ended {
        /// The state's file.
        path: PathBuf,
        /// How.
        exit: Exit,
    },
    /// Loading takes far too long.
    #[error("the device state {} was not loaded within {} s", .path.display(), LIMIT.as_secs())]
    TimedOut {
        /// The state's file.
        path: PathBuf,
    },
}

impl Machine {
    /// Saves the device state of this paused machine to `path`, replacing what was there: a file of root's with mode
    /// 0444, whole when it appears, that [`Machine::load_state`] of any machine with the same devices takes. Its
    /// directory lets QEMU's user pass.
    ///
    /// The disks are flushed and given up then; [`Machine::resume`] takes them back. Nothing is sent to the guest's
    /// agent from now until then, for it would end in memory that was saved.
    ///
    /// # Errors
    /// When the machine runs, QEMU refuses, or the file cannot be made; [`Machine::resume`] is right in every case.
    pub async fn save_state(&self, path: &Path) -> Result<(), StateError> {
        let failed = |source| StateError::File { path: path.to_owned(), source };
        let refused = |source| StateError::Refused { path: path.to_owned(), source };
        let written = Written::new(path, self.user().map_err(failed)?).map_err(failed)?;
        let (status, machine_type) = tokio::join!(self.status(), self.machine_type());
        if status.map_err(refused)?.running {
            return Err(StateError::NotPaused);
        }
        let machine_type = machine_type.map_err(refused)?;
        self.hold_agent();
        let arguments = json!({ "filename": written.0 });
        self.qmp().execute_within("xen-save-devices-state", Some(arguments), LIMIT).await.map_err(refused)?;
        let bytes = std::fs::read(&written.0).map_err(failed)?;
        let bytes =
            complete(bytes, &machine_type).map_err(|what| StateError::Stream { path: path.to_owned(), what })?;
        publish(path, &bytes).map_err(failed)
    }

    /// Loads the device state at `path` into this machine, started with [`crate::Launch::incoming`] on the memory that
    /// belongs to the state. Afterwards it is paused, and its disks are still untouched: [`Machine::resume`] lets it
    /// go.
    ///
    /// # Errors
    /// With QEMU's own words. A machine that failed is to be killed; the one the state is from is not harmed.
    pub async fn load_state(&self, path: &Path) -> Result<(), StateError> {
        let refused = |source| StateError::Refused { path: path.to_owned(), source };
        let mut events = self.events();
        self.begin(path).await?;
        let outcome = async {
            loop {
                let status = match events.recv().await {
                    Ok(event) => match event.what {
                        MachineEvent::Migration { status } => status,
                        // The event may be among those that are lost.
                        MachineEvent::Connected => self.incoming().await.map_err(refused)?.0,
                        _ => continue,
                    },
                    Err(RecvError::Lagged(_)) => self.incoming().await.map_err(refused)?.0,
                    Err(RecvError::Closed) => std::future::pending().await,
                };
                match status.as_str() {
                    "completed" => return Ok(()),
                    "failed" => {
                        let reason = self.incoming().await.ok().and_then(|(_, reason)| reason);
                        let reason = reason.unwrap_or_else(|| crate::exit::last_words(self.place()));
                        return Err(StateError::Failed { path: path.to_owned(), reason });
                    }
                    _ => {}
                }
            }
        };
        let ended = |exit| Err(StateError::Ended { path: path.to_owned(), exit });
        let late = tokio::time::sleep(LIMIT);
        let result = tokio::select! {
            biased;
            result = outcome => result,
            exit = self.wait_exit() => ended(exit),
            () = late => Err(StateError::TimedOut { path: path.to_owned() }),
        };
        match result {
            // The monitor goes first when QEMU ends; its exit says more.
            Err(StateError::Refused { .. }) => match tokio::time::timeout(END, self.wait_exit()).await {
                Ok(exit) => ended(exit),
                Err(_) => result,
            },
            other => other,
        }
    }

    async fn begin(&self, path: &Path) -> Result<(), StateError> {
        let uri = format!("file:{}", path.display());
        let refused = |source| StateError::Refused { path: path.to_owned(), source };
        let stay = json!({ "uri": uri, "exit-on-error": false });
        let answer = match self.qmp().execute_within("migrate-incoming", Some(stay), LIMIT).await {
            // QEMU before 9.1 has no such argument and ends when it fails.
            Err(QmpError::Refused { description, .. }) if description.contains("exit-on-error") => {
                self.qmp().execute_within("migrate-incoming", Some(json!({ "uri": uri })), LIMIT).await
            }
            answer => answer,
        };
        let Err(error) = answer else { return Ok(()) };
        match self.status().await {
            Ok(status) if status.state != RunState::Incoming => Err(StateError::NotIncoming { state: status.state }),
            _ => Err(refused(error)),
        }
    }

    /// How the incoming stream stands, and why it failed.
    async fn incoming(&self) -> Result<(String, Option<String>), QmpError> {
        let answer = self.qmp().execute("query-migrate", None).await?;
        let text = |member: &str| answer.get(member).and_then(|value| value.as_str()).map(str::to_owned);
        Ok((text("status").unwrap_or_default(), text("error-desc")))
    }

    /// QEMU's name of the machine type, as streams have it.
    async fn machine_type(&self) -> Result<String, QmpError> {
        let arguments = json!({ "path": "/machine", "property": "type" });
        let answer = self.qmp().execute("qom-get", Some(arguments)).await?;
        let name = answer.as_str().and_then(|name| name.strip_suffix("-machine"));
        name.map(str::to_owned).ok_or(QmpError::Answer { command: "qom-get".to_owned(), member: "type" })
    }

    /// User and group QEMU runs as.
    fn user(&self) -> io::Result<(u32, u32)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let id = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        id("Uid:")
            .zip(id("Gid:"))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable process status"))
    }
}

/// Makes a QEMU that was started with `-incoming defer` tell by an event how loading went, and leave its disks alone
/// until it is let go: the machine it follows may still take them back.
pub(crate) async fn await_incoming(qmp: &Qmp) -> Result<(), QmpError> {
    let on = |name: &str| json!({ "capability": name, "state": true });
    let capabilities = json!({ "capabilities": [on("events"), on("late-block-activate")] });
    qmp.execute("migrate-set-capabilities", Some(capabilities)).await.map(drop)
}

/// The file QEMU writes to; gone with this value.
struct Written(PathBuf);

impl Written {
    fn new(path: &Path, (uid, gid): (u32, u32)) -> io::Result<Self> {
        let written = Written(beside(path, ".raw"));
        remove(&written.0)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&written.0)?;
        fchown(&file, Some(uid), Some(gid))?;
        Ok(written)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts the whole file in its place in one step.
fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    remove(&new)?;
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o444))?;
    std::fs::rename(new, path)
}

/// Makes a stream of device state one that `migrate-incoming` takes. One that is complete already stays as it is.
fn complete(mut stream: Vec<u8>, machine_type: &str) -> Result<Vec<u8>, &'static str> {
    if stream.len() <= HEADER.len() || stream[..HEADER.len()] != HEADER {
        return Err("it does not begin as a QEMU stream of version 3 does");
    }
    if stream[HEADER.len()] == CONFIGURATION {
        return Ok(stream);
    }
    if stream.last() != Some(&END_OF_SECTIONS) {
        return Err("it does not end as a QEMU stream does");
    }
    let length = u32::try_from(machine_type.len()).map_err(|_| "its machine type has too long a name")?;
    let mut section = vec![CONFIGURATION];
    section.extend(length.to_be_bytes());
    section.extend(machine_type.as_bytes());
    stream.splice(HEADER.len()..HEADER.len(), section);
    stream.extend(DESCRIPTION);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_stands_between_header_and_sections() {
        let stream = [&HEADER[..], &[0x04, 9, 9, 0x00]].concat();
        let whole = complete(stream, "pc").unwrap();
        let expected = [&HEADER[..], &[7, 0, 0, 0, 2, b'p', b'c', 4, 9, 9, 0], &DESCRIPTION].concat();
        assert_eq!(whole, expected);
        assert_eq!(complete(whole.clone(), "pc").unwrap(), whole);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for bytes in [&b""[..], b"QEVM", b"QEVM\0\0\0\x02\x04\0", b"QEVM\0\0\0\x03", b"QEVM\0\0\0\x03\x04\x09"] {
            assert!(complete(bytes.to_vec(), "pc").is_err(), "{bytes:?}");
        }
    }
}
