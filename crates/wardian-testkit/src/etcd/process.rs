//! One etcd process and its log.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{host::inside, wait};

/// How long a member may take until it serves, the election included.
const START: Duration = wait::SOON;
/// How long one may take to end by itself.
const STOP: Duration = wait::SOON;

/// A member: how it is started, and its process while it runs. It ends with the handle, and with the thread that
/// started it.
pub(super) struct Process {
    arguments: Vec<OsString>,
    /// Its working directory, with its data and log.
    folder: PathBuf,
    namespace: Option<PathBuf>,
    child: Option<Child>,
    /// Where in the log its own lines begin, in bytes.
    log: usize,
}

impl Process {
    /// Sets it up; nothing runs yet.
    pub(super) fn new(folder: &Path, namespace: Option<&Path>, arguments: &[&str]) -> Self {
        let common = [
            "--data-dir=data",
            "--logger=zap",
            "--log-outputs=stderr",
            "--heartbeat-interval=50",
            "--election-timeout=500",
            "--enable-grpc-gateway=false",
        ];
        Self {
            arguments: common.iter().chain(arguments).map(OsString::from).collect(),
            folder: folder.to_owned(),
            namespace: namespace.map(Path::to_owned),
            child: None,
            log: 0,
        }
    }

    /// Starts it and doesn't wait.
    #[track_caller]
    pub(super) fn spawn(&mut self) {
        assert!(self.child.is_none(), "this etcd runs already");
        self.log = self.log().len();
        let log = File::options().create(true).append(true).open(self.folder.join("log")).expect("a log of our own");
        let mut command = match &self.namespace {
            Some(namespace) => inside(namespace, "setpriv"),
            None => Command::new("setpriv"),
        };
        command
            .args(["--pdeathsig", "KILL", "etcd"])
            .args(&self.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("setpriv: {error}")));
    }

    /// Waits until it serves.
    #[track_caller]
    pub(super) fn await_ready(&mut self) {
        wait::until("etcd serves (its package is etcd-server)", START, || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "etcd (is the package etcd-server installed?) ended: {}", self.log());
            self.log()[self.log..].contains("serving client traffic").then_some(())
        });
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Kills it, as a crash would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Tells it to stop, and waits.
    #[track_caller]
    pub(super) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        if let Some(mut child) = self.child.take() {
            wait::until("etcd stops", STOP, || child.try_wait().ok().flatten());
        }
    }

    /// Sends it a signal.
    #[track_caller]
    pub(super) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("an etcd that runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, signal).expect("a signal to a process of our own");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
