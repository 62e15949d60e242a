//! Starts a machine: prepares its directory, hands QEMU its descriptors, and waits until the monitor answers.
//!
//! May be killed at any instruction. Before the fork nothing runs; after it the child holds the lock and finishes
//! alone. Starting again then finds the lock held ([`StartError::Running`]) and [`Machine::adopt`] takes the machine
//! over.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cgroup::{self, CgroupError};
use crate::command_line::{Descriptors, command_line};
use crate::directory::{DirectoryError, RuntimeDirectory};
use crate::exit::Exit;
use crate::launch::{BadLaunch, Launch, Memory, User};
use crate::lock;
use crate::machine::{AdoptError, Machine};
use crate::process::ProcessId;
use crate::qmp::QmpError;
use crate::spawn::{Child, groups_for, spawn};
use crate::state;

/// How long QEMU may take from exec to its first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// A machine that was started.
#[derive(Debug)]
pub struct Started {
    /// Its handle.
    pub machine: Machine,
    /// Limits that are not enforced and why, for people; empty when all are.
    pub unenforced: Vec<String>,
}

/// Why a machine was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The values make no machine.
    #[error("machine {name} cannot be started with these settings")]
    Launch {
        /// The machine.
        name: String,
        /// What is wrong.
        source: BadLaunch,
    },
    /// One runs in this directory already.
    #[error("machine {name} already runs in {}", .directory.display())]
    Running {
        /// The machine.
        name: String,
        /// Its runtime directory.
        directory: PathBuf,
    },
    /// The runtime directory cannot be prepared.
    #[error("machine {name} cannot be started")]
    Directory {
        /// The machine.
        name: String,
        /// Why.
        source: DirectoryError,
    },
    /// The file of its memory cannot be made.
    #[error("machine {name} cannot be started: its memory {} cannot be made", .path.display())]
    Memory {
        /// The machine.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cgroup has an impossible name.
    #[error("machine {name} cannot be started")]
    Cgroup {
        /// The machine.
        name: String,
        /// Why.
        source: CgroupError,
    },
    /// There is no QEMU.
    #[error("machine {name} needs {}, which is missing (Debian: apt install qemu-system-x86 qemu-utils)", .qemu.display())]
    Missing {
        /// The machine.
        name: String,
        /// The program.
        qemu: PathBuf,
    },
    /// The process cannot be made.
    #[error("machine {name}: {} cannot be started", .qemu.display())]
    Spawn {
        /// The machine.
        name: String,
        /// The program.
        qemu: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// QEMU ended before it was ready.
    #[error("machine {name} ended while starting: {exit}")]
    Ended {
        /// The machine.
        name: String,
        /// How, with QEMU's last words.
        exit: Exit,
    },
    /// QEMU runs but does not answer; it was killed.
    #[error("machine {name}: QEMU gave no answer within {} s of its start and was killed", FIRST_ANSWER.as_secs())]
    Silent {
        /// The machine.
        name: String,
    },
    /// The process was started but cannot be watched.
    #[error("machine {name} was started but cannot be taken over")]
    Adopt {
        /// The machine.
        name: String,
        /// Why.
        source: AdoptError,
    },
}

/// What is noted about the last start, as `process.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The process.
    #[serde(flatten)]
    pub(crate) process: ProcessId,
    /// The machine's name.
    pub(crate) name: String,
    /// Its cgroup.
    pub(crate) cgroup: Option<String>,
    /// Kills for want of memory the cgroup had counted before this start.
    #[serde(default)]
    pub(crate) out_of_memory_kills: u64,
}

impl Record {
    /// Reads the record of a directory; `None` when there is none that can be read.
    pub(crate) fn read(directory: &RuntimeDirectory) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(directory.process()).ok()?).ok()
    }

    fn write(&self, directory: &RuntimeDirectory) -> io::Result<()> {
        let path = directory.process();
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, serde_json::to_vec(self)?)?;
        std::fs::rename(temporary, path)
    }
}

/// Starts the machine and waits until QEMU's monitor answers. Needs root when [`Launch::user`] is given.
pub async fn start(launch: Launch) -> Result<Started, StartError> {
    let (name, incoming) = (launch.name.clone(), launch.incoming);
    launch.check().map_err(|source| StartError::Launch { name: name.clone(), source })?;
    let directory = RuntimeDirectory::new(&launch.directory);
    let spawned = tokio::task::spawn_blocking(move || launch_process(launch)).await;
    // A panic in there is a defect of ours; it shall not be taken for anything else.
    let unenforced = spawned.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let machine = Machine::adopt(directory.path()).await;
    let machine = machine.map_err(|source| StartError::Adopt { name: name.clone(), source })?;
    let Some(machine) = machine else {
        // It ended so fast that nobody could open its process.
        let last_words = crate::exit::last_words(directory.path());
        return Err(StartError::Ended { name, exit: Exit::Unknown { last_words } });
    };
    tokio::select! {
        biased;
        answered = first_answer(&machine, incoming) => match answered {
            Ok(_) => Ok(Started { machine, unenforced }),
            Err(_) => {
                // Either it ended, then its exit says why, or it is stuck, then it must not be left behind.
                let ended = tokio::time::timeout(Duration::from_secs(1), machine.wait_exit()).await;
                if let Ok(exit) = ended {
                    return Err(StartError::Ended { name, exit });
                }
                let _ = machine.kill();
                let _ = tokio::time::timeout(Duration::from_secs(10), machine.wait_exit()).await;
                Err(StartError::Silent { name })
            }
        },
        exit = machine.wait_exit() => Err(StartError::Ended { name, exit }),
    }
}

async fn first_answer(machine: &Machine, incoming: bool) -> Result<(), QmpError> {
    machine.qmp().execute_within("query-status", None, FIRST_ANSWER).await?;
    if incoming { state::await_incoming(machine.qmp()).await } else { Ok(()) }
}

/// Everything up to exec; blocks. Gives what is not enforced.
fn launch_process(launch: Launch) -> Result<Vec<String>, StartError> {
    let name = launch.name.clone();
    let directory = RuntimeDirectory::new(&launch.directory);
    let place = |source| StartError::Directory { name: name.clone(), source };
    let io_at = |path: PathBuf| {
        let name = name.clone();
        move |source| StartError::Directory { name, source: DirectoryError::Prepare { path, source } }
    };
    directory.prepare(launch.user).map_err(place)?;
    let Some(lock) = lock::take(&directory.lock()).map_err(io_at(directory.lock()))? else {
        return Err(StartError::Running { name, directory: launch.directory });
    };
    if let Memory::Shared { path } = &launch.memory {
        // Only now: nobody else starts this machine.
        let made = new_memory(path, launch.memory_bytes, launch.user);
        made.map_err(|source| StartError::Memory { name: name.clone(), path: path.clone(), source })?;
    }
    let listen = |path: PathBuf| listen(&path).map_err(io_at(path));
    let (qmp, agent, console) = (listen(directory.qmp())?, listen(directory.agent())?, listen(directory.console())?);
    let console_log = fresh(&directory.console_log(), true).map_err(io_at(directory.console_log()))?;
    let output = fresh(&directory.qemu_log(), false).map_err(io_at(directory.qemu_log()))?;
    let (group, out_of_memory_kills) = match &launch.cgroup {
        Some(group) => {
            let hierarchy = cgroup::detect();
            let guest = match launch.memory {
                // What the group was charged for the file it was born from, and the same again if the guest writes it
                // all.
                Memory::Frozen { .. } => launch.memory_bytes.saturating_mul(2),
                Memory::Anonymous | Memory::Shared { .. } => launch.memory_bytes,
            };
            let made = hierarchy.create(group, &launch.limits, guest);
            let made = made.map_err(|source| StartError::Cgroup { name: name.clone(), source })?;
            (made, hierarchy.out_of_memory_kills(group))
        }
        None => (cgroup::Group { entrances: Vec::new(), unenforced: Vec::new() }, 0),
    };
    let descriptors = Descriptors {
        qmp: qmp.as_raw_fd(),
        agent: agent.as_raw_fd(),
        console: console.as_raw_fd(),
        console_log: console_log.as_raw_fd(),
        taps: launch.interfaces.iter().map(|interface| interface.tap.as_raw_fd()).collect(),
    };
    let arguments = command_line(&launch, &descriptors);
    let Descriptors { qmp: q, agent: a, console: c, console_log: l, taps } = descriptors;
    let keep: Vec<RawFd> = [q, a, c, l].into_iter().chain(taps).collect();
    let child = Child {
        lock: &lock,
        output: &output,
        keep,
        groups: &group.entrances,
        user: launch.user,
        supplementary: groups_for(launch.accelerator),
        oom_score_adjust: launch.limits.oom_score_adjust,
        small_pages: matches!(launch.memory, Memory::Frozen { .. }),
        isolate_network: nix::unistd::geteuid().is_root(),
    };
    let pid = match spawn(&launch.qemu, &arguments, child) {
        Ok(pid) => pid,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StartError::Missing { name, qemu: launch.qemu });
        }
        Err(source) => return Err(StartError::Spawn { name, qemu: launch.qemu, source }),
    };
    // The lock file tells the truth, the record only what is nice to know: failing to write it is no failure.
    if let Ok(Some(process)) = ProcessId::look_up(pid) {
        let record = Record { process, name: name.clone(), cgroup: launch.cgroup, out_of_memory_kills };
        if let Err(error) = record.write(&directory) {
            tracing::warn!(machine = name, %error, "process record not written");
        }
    }
    Ok(group.unenforced)
}

/// An empty memory file under this name. What was there stays what it is for those who map it.
fn new_memory(path: &Path, bytes: u64, user: Option<User>) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_len(bytes)?;
    match user {
        Some(user) => fchown(&file, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// A listening socket at `path` that only its maker can connect to.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener.into())
}

/// An empty log for QEMU to append to. A file kept open by a process of the last start is not this one any more.
fn fresh(path: &Path, keep_old: bool) -> io::Result<File> {
    let remove = || match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    if !keep_old {
        remove()?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}
