//! The handle of a running machine: taking it over, watching it, and what can be asked of it.
//!
//! A handle does not own the machine: dropping it leaves QEMU running, and whoever adopts the directory next finds the
//! same machine. One handle at a time per machine, for QEMU's monitor serves one client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::{Agent, Gate, gate};
use crate::directory::HeldDirectory;
use crate::exit::{Exit, Seen, judge, last_words};
use crate::lock::{self, Holder};
use crate::process::{Ending, ProcessFd, ProcessId};
use crate::qmp::{Event, MachineEvent, Qmp, QmpError};
use crate::start::Record;
use crate::{cgroup, console};

/// How long a starter may take between taking the lock and forking.
const STARTER: Duration = Duration::from_secs(10);
/// How long the last events may take to arrive after the process is gone.
const LAST_EVENTS: Duration = Duration::from_millis(500);
/// How often the console's log is looked at.
const TRIM: Duration = Duration::from_secs(15);

/// Why a directory's machine cannot be taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The lock or the process cannot be looked at.
    #[error("the machine in {} cannot be looked at", .directory.display())]
    Look {
        /// The runtime directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody is starting it and does not finish.
    #[error("a starter holds {} and does not get on", .directory.display())]
    Starting {
        /// The runtime directory.
        directory: PathBuf,
    },
}

/// What QEMU says a machine does (`RunState`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunState {
    /// It runs.
    Running,
    /// It was paused, or never let go.
    Paused,
    /// The guest powered off; QEMU is about to be ended.
    Shutdown,
    /// It was paused because a disk failed, in practice because the host's disk is full.
    IoError,
    /// The guest's kernel panicked and QEMU stopped it.
    Panicked,
    /// It waits for an incoming stream.
    Incoming,
    /// Any other state, in QEMU's word.
    Other(String),
}

/// The state of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: RunState,
    /// Whether the processors run.
    pub running: bool,
}

/// A running machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    files: HeldDirectory,
    process: ProcessId,
    handle: Arc<ProcessFd>,
    qmp: Qmp,
    agent: Agent,
    /// What the agent's calls pass.
    gate: Gate,
    exit: watch::Receiver<Option<Exit>>,
    _watcher: DropGuard,
}

impl Machine {
    /// Takes over the machine that runs in `directory`; `None` when none does.
    pub async fn adopt(directory: &Path) -> Result<Option<Machine>, AdoptError> {
        let look = |source| AdoptError::Look { directory: directory.to_owned(), source };
        let files = match HeldDirectory::open(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            files => files.map_err(look)?,
        };
        let deadline = tokio::time::Instant::now() + STARTER;
        loop {
            match lock::holder(&files.lock()).map_err(look)? {
                Holder::Nobody => return Ok(None),
                Holder::Process(pid) => {
                    let opened = (|| Ok(ProcessFd::open(pid)?.zip(ProcessId::look_up(pid)?)))();
                    // Looked at after it was opened: it is that process, and no later one of its number.
                    let same = lock::is_open_in(&files.lock(), pid).map_err(look)?;
                    if let Some((handle, process)) = opened.map_err(look)?
                        && same
                    {
                        return Ok(Some(Machine::watch(directory.to_owned(), files, process, handle)));
                    }
                }
                Holder::Starting => {}
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(AdoptError::Starting { directory: directory.to_owned() });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn watch(directory: PathBuf, files: HeldDirectory, process: ProcessId, handle: ProcessFd) -> Machine {
        let handle = Arc::new(handle);
        let qmp = Qmp::holding(files.qmp(), files.clone());
        let (gate, entrance) = gate();
        let agent = Agent::holding(files.agent(), Some(qmp.clone()), entrance, files.clone());
        let (ended, exit) = watch::channel(None);
        let stop = CancellationToken::new();
        let watcher = Watcher {
            events: qmp.events(),
            files: files.clone(),
            process,
            handle: handle.clone(),
            qmp: qmp.clone(),
            seen: Seen::default(),
            connected: false,
            looks: JoinSet::new(),
        };
        tokio::spawn(watcher.run(stop.clone(), ended));
        let _watcher = stop.drop_guard();
        Machine(Arc::new(Inner { directory, files, process, handle, qmp, agent, gate, exit, _watcher }))
    }

    /// Its runtime directory, as it was called when the machine was taken over. After an
    /// [exchange](crate::succession::exchange) everything else of this handle still means the same machine; this name
    /// is the other one's.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Where its files are, whatever the directory is called by now.
    pub(crate) fn place(&self) -> &Path {
        self.0.files.path()
    }

    /// Its process.
    pub fn process(&self) -> ProcessId {
        self.0.process
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.0.process.pid
    }

    /// The monitor, for commands this handle has no word for.
    pub fn qmp(&self) -> &Qmp {
        &self.0.qmp
    }

    /// The guest agent, which may not be there.
    pub fn agent(&self) -> &Agent {
        &self.0.agent
    }

    /// What the machine reports from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.qmp.events()
    }

    /// Waits until the process has ended, and tells how. Can be called any number of times, also afterwards.
    pub async fn wait_exit(&self) -> Exit {
        let mut exit = self.0.exit.clone();
        let told = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        // The watcher ends only after it has told; when its runtime is gone, nobody is left who could.
        told.unwrap_or_else(|| Exit::Unknown { last_words: last_words(self.place()) })
    }

    /// How it ended; `None` while it runs.
    pub fn exit(&self) -> Option<Exit> {
        self.0.exit.borrow().clone()
    }

    /// Whether its process has not ended.
    pub fn lives(&self) -> bool {
        self.0.exit.borrow().is_none()
    }

    /// What QEMU says the machine does.
    pub async fn status(&self) -> Result<Status, QmpError> {
        status(&self.0.qmp).await
    }

    /// Stops the processors. Fine when they are stopped. Calls of the agent wait until [`Machine::resume`].
    pub async fn pause(&self) -> Result<(), QmpError> {
        self.0.gate.hold();
        let stopped = self.0.qmp.execute("stop", None).await.map(drop);
        if stopped.is_err() {
            self.0.gate.open();
        }
        stopped
    }

    /// Leaves the agent alone until [`Machine::resume`], also when the machine was paused by another handle.
    pub(crate) fn hold_agent(&self) {
        self.0.gate.hold();
    }

    /// Holds back calls of the agent until [`Machine::resume`] or [`Machine::hand_over_agent`], and waits within
    /// `limit` until none is under way: its answer would be the successor's, and nobody's. Gives whether none is. For
    /// just before [`Machine::pause`].
    pub async fn settle_agent(&self, limit: Duration) -> bool {
        self.0.gate.hold();
        self.0.gate.empty(limit).await
    }

    /// From now on all calls of the agent are carried out by the one of `successor`, which is this machine now; those
    /// that were held back first. What the agent has given out, as numbers of processes and open files, stays good: it
    /// lives in the guest.
    pub fn hand_over_agent(&self, successor: &Machine) {
        self.0.gate.lead_to(successor.0.agent.clone());
    }

    /// Lets the processors go on, also with disks that [`Machine::save_state`] gave up, and after a full disk has been
    /// relieved. Fine when they run.
    pub async fn resume(&self) -> Result<(), QmpError> {
        let goes_on = self.0.qmp.execute("cont", None).await.map(drop);
        if goes_on.is_ok() {
            self.0.gate.open();
        }
        goes_on
    }

    /// Plugs the cable of the network interface of that index in, or out: out, no frame comes or goes, and the guest
    /// sees it. A state that is loaded ([`Machine::load_state`]) brings its own; a new process has all of them plugged
    /// in.
    pub async fn set_link(&self, interface: usize, up: bool) -> Result<(), QmpError> {
        let arguments = serde_json::json!({ "name": format!("net{interface}"), "up": up });
        self.0.qmp.execute("set_link", Some(arguments)).await.map(drop)
    }

    /// Resets the machine, as its reset button would.
    pub async fn reset(&self) -> Result<(), QmpError> {
        self.0.qmp.execute("system_reset", None).await.map(drop)
    }

    /// Presses the ACPI power button; what happens is the guest's decision.
    pub async fn press_power(&self) -> Result<(), QmpError> {
        self.0.qmp.execute("system_powerdown", None).await.map(drop)
    }

    /// Tells QEMU to end, with its disks flushed; the guest is not asked. [`Machine::shutdown`] asks.
    pub async fn quit(&self) -> Result<(), QmpError> {
        self.0.qmp.execute("quit", None).await.map(drop)
    }

    /// Kills the process at once. Fine when it is gone; [`Machine::wait_exit`] tells when it is.
    pub fn kill(&self) -> io::Result<()> {
        self.0.handle.signal(libc::SIGKILL)
    }
}

async fn status(qmp: &Qmp) -> Result<Status, QmpError> {
    let answer = qmp.execute("query-status", None).await?;
    let word = answer.get("status").and_then(|s| s.as_str());
    let state = match word.ok_or(QmpError::Answer { command: "query-status".to_owned(), member: "status" })? {
        "running" => RunState::Running,
        "paused" | "prelaunch" => RunState::Paused,
        "shutdown" => RunState::Shutdown,
        "io-error" => RunState::IoError,
        "guest-panicked" => RunState::Panicked,
        "inmigrate" => RunState::Incoming,
        other => RunState::Other(other.to_owned()),
    };
    Ok(Status { running: state == RunState::Running, state })
}

/// The task beside each handle: notes what matters for the exit, ends a machine whose guest powered off, trims the log.
struct Watcher {
    events: broadcast::Receiver<Event>,
    files: HeldDirectory,
    process: ProcessId,
    handle: Arc<ProcessFd>,
    qmp: Qmp,
    seen: Seen,
    connected: bool,
    /// Questions after the state; true is "the guest has powered off".
    looks: JoinSet<bool>,
}

impl Watcher {
    async fn run(mut self, stop: CancellationToken, ended: watch::Sender<Option<Exit>>) {
        let qmp = self.qmp.clone();
        if let Some(exit) = stop.run_until_cancelled(self.watch()).await {
            let _ = ended.send(Some(exit));
        }
        qmp.close();
    }

    async fn watch(&mut self) -> Exit {
        let handle = self.handle.clone();
        let mut process = std::pin::pin!(handle.ended());
        let mut trim = tokio::time::interval(TRIM);
        trim.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ending = loop {
            tokio::select! {
                ended = &mut process => break ended.unwrap_or(Ending::Unknown),
                event = self.events.recv() => match event {
                    Ok(event) => self.note(&event.what),
                    // Whatever was lost: the state tells what counts.
                    Err(RecvError::Lagged(_)) => self.look(),
                    // Cannot happen while this task holds a client; the process will tell.
                    Err(RecvError::Closed) => break process.await.unwrap_or(Ending::Unknown),
                },
                Some(powered_off) = self.looks.join_next() => if powered_off.unwrap_or(false) {
                    self.seen.guest_shutdown = true;
                    self.end();
                },
                _ = trim.tick() => self.trim(),
            }
        };
        let _ = tokio::time::timeout(LAST_EVENTS, self.drain()).await;
        let group = Record::read(&self.files).filter(|record| record.process == self.process);
        if let Some(group) = group.and_then(|record| Some((record.cgroup?, record.out_of_memory_kills))) {
            self.seen.out_of_memory = cgroup::detect().out_of_memory_kills(&group.0) > group.1;
        }
        judge(ending, self.seen, last_words(self.files.path()))
    }

    /// Keeps both logs small: a guest can make QEMU complain without end just as it can print without end.
    fn trim(&self) {
        for log in [self.files.console_log(), self.files.qemu_log()] {
            if let Err(error) = console::trim_file(&log, console::KEPT) {
                tracing::warn!(log = %log.display(), %error, "log not trimmed");
            }
        }
    }

    /// Reads what QEMU announced last, which may still be on its way when the process is gone already.
    async fn drain(&mut self) {
        while self.connected {
            match self.events.recv().await {
                Ok(event) => self.note(&event.what),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn note(&mut self, event: &MachineEvent) {
        match event {
            MachineEvent::Shutdown { guest: true, .. } => {
                self.seen.guest_shutdown = true;
                self.end();
            }
            MachineEvent::Shutdown { guest: false, .. } => self.seen.quit = true,
            MachineEvent::Connected => {
                self.connected = true;
                self.look();
            }
            MachineEvent::Disconnected => self.connected = false,
            _ => {}
        }
    }

    /// Asks for the state: the guest may have powered off while nobody listened.
    fn look(&mut self) {
        let qmp = self.qmp.clone();
        self.looks.spawn(async move { status(&qmp).await.is_ok_and(|status| status.state == RunState::Shutdown) });
    }

    /// Ends a QEMU whose guest has powered off.
    fn end(&mut self) {
        let qmp = self.qmp.clone();
        self.looks.spawn(async move {
            let _ = qmp.execute("quit", None).await;
            false
        });
    }
}
