//! One host of a test: a network namespace of its own, with nothing but a loopback, and a daemon in it.
//!
//! Its namespace has no way out, so no packet for any lab address can leave the machine, whatever a test does.

use std::{
    fs::File,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Begun, Inventory, Run, image::micro, wait};

/// How long a daemon may take to answer after its start.
const START: Duration = wait::SOON;

/// A host with its namespace and folders. Dropped, it removes all it made, also after a failed test.
pub struct TestHost {
    binary: PathBuf,
    namespace: String,
    folder: tempfile::TempDir,
    daemon: Option<Daemon>,
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    /// Where in the log its own lines begin, in bytes.
    log: usize,
}

impl TestHost {
    /// Makes the namespace and folders; `binary` is the `wardian` to run. No daemon runs yet.
    ///
    /// # Panics
    /// When the test does not run as root, or the namespace can't be made.
    #[must_use]
    #[track_caller]
    pub fn without_daemon(binary: impl Into<PathBuf>) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "tests with real machines and networks need root");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("wardian-test-{}-{number}", std::process::id());
        // A short path: sockets live below it.
        let folder = tempfile::Builder::new().prefix("wt").tempdir_in("/tmp").expect("a folder in /tmp");
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))
            .expect("permissions of a folder of our own");
        let host = Self { binary: binary.into(), namespace, folder, daemon: None };
        let made = Command::new("ip").args(["netns", "add", &host.namespace]).status();
        assert!(made.is_ok_and(|status| status.success()), "the namespace {} can't be made", host.namespace);
        host.command("ip", &["link", "set", "lo", "up"]).ok();
        host
    }

    /// With a running daemon.
    ///
    /// # Panics
    /// When it doesn't come up.
    #[must_use]
    #[track_caller]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let mut host = Self::without_daemon(binary);
        host.start_daemon(&[]);
        host
    }

    /// With a running daemon that has the image `micro`.
    ///
    /// # Panics
    /// When either doesn't come.
    #[must_use]
    #[track_caller]
    pub fn with_micro(binary: impl Into<PathBuf>) -> Self {
        let host = Self::new(binary);
        host.import_micro();
        host
    }

    /// Imports the image `micro`.
    ///
    /// # Panics
    /// When it can't be.
    #[track_caller]
    pub fn import_micro(&self) {
        let description = micro().join("image.json");
        self.wardian(&["image", "import", "micro", &description.to_string_lossy()]).ok();
    }

    /// The durable folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// The transient folder.
    #[must_use]
    pub fn run_directory(&self) -> PathBuf {
        self.folder.path().join("r")
    }

    /// A folder for the test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The network namespace's path, for `nsenter --net=`.
    #[must_use]
    pub fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    /// The network namespace of an environment, found by its name.
    ///
    /// # Panics
    /// When there is no such environment.
    #[must_use]
    #[track_caller]
    pub fn environment_namespace(&self, environment: &str) -> PathBuf {
        let detail = self.wardian(&["status", environment, "--json"]).json();
        let id = detail["id"].as_str().unwrap_or_else(|| panic!("no id in {detail}"));
        self.run_directory().join("netns").join(id)
    }

    /// What the daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// Gives the daemon a configuration file, from its next start on.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.configuration(), text).expect("a file in a folder of our own");
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("configured.toml")
    }

    /// Starts the daemon with further environment variables and waits until it answers.
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn start_daemon(&mut self, variables: &[(&str, &str)]) {
        self.spawn_daemon(&[], variables);
        self.await_daemon();
    }

    /// Starts the daemon with further flags and waits until it answers.
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn start_daemon_with(&mut self, flags: &[&str]) {
        self.spawn_daemon(flags, &[]);
        self.await_daemon();
    }

    /// Starts the daemon and doesn't wait.
    ///
    /// # Panics
    /// When there is one already, or it can't be started.
    #[track_caller]
    pub fn spawn_daemon(&mut self, flags: &[&str], variables: &[(&str, &str)]) {
        assert!(self.daemon.is_none(), "there is a daemon already");
        let log_before = self.log().len();
        let log = File::options().create(true).append(true).open(self.folder.path().join("daemon.log"));
        let log = log.expect("a log in a folder of our own");
        let mut command = self.inside(&self.binary.to_string_lossy());
        command
            .args(["daemon", "--state-directory"])
            .arg(self.state())
            .arg("--run-directory")
            .arg(self.run_directory())
            .args(self.configuration().exists().then_some("--config"))
            .args(self.configuration().exists().then(|| self.configuration()))
            .args(flags)
            .args(proven_accelerator(flags))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        self.daemon = Some(Daemon { child, log: log_before });
    }

    /// Waits until the daemon answers.
    ///
    /// # Panics
    /// When it doesn't, with its log.
    #[track_caller]
    pub fn await_daemon(&mut self) {
        let deadline = std::time::Instant::now() + START;
        loop {
            // It answers before its lab network is there.
            let ready = self.daemon.as_ref().is_some_and(|d| self.log()[d.log..].contains("wardian::daemon: ready"));
            if ready && self.wardian(&["ls", "--json"]).success() {
                return;
            }
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.child.try_wait().ok().flatten());
            assert!(
                ended.is_none() && std::time::Instant::now() < deadline,
                "the daemon does not answer ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When none runs.
    #[must_use]
    #[track_caller]
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("a running daemon").child.id()
    }

    /// Kills the daemon, as a crash would. Machines go on.
    #[track_caller]
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
        }
    }

    /// Waits until the daemon has died by itself; gives whether it has within `limit`.
    pub fn daemon_dies_within(&mut self, limit: Duration) -> bool {
        let deadline = std::time::Instant::now() + limit;
        while std::time::Instant::now() < deadline {
            match self.daemon.as_mut().map(|daemon| daemon.child.try_wait()) {
                Some(Ok(None)) => std::thread::sleep(Duration::from_millis(10)),
                _ => {
                    self.daemon = None;
                    return true;
                }
            }
        }
        false
    }

    /// Tells the daemon to stop, and waits.
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn stop_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = Pid::from_raw(i32::try_from(daemon.child.id()).expect("a process id"));
            let _ = kill(pid, Signal::SIGTERM);
            wait::until("the daemon stops", wait::SOON, || daemon.child.try_wait().ok().flatten());
        }
    }

    /// Runs `wardian` with these arguments against this host's daemon.
    #[must_use]
    #[track_caller]
    pub fn wardian(&self, arguments: &[&str]) -> Run {
        let mut command = self.wardian_command(arguments);
        let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        Run::new(format!("wardian {}", arguments.join(" ")), &output)
    }

    /// Begins `wardian` with these arguments, for a test that does something meanwhile.
    #[must_use]
    #[track_caller]
    pub fn begin(&self, arguments: &[&str]) -> Begun {
        let mut command = self.wardian_command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        Begun::new(format!("wardian {}", arguments.join(" ")), child)
    }

    /// The same, not started yet: for tests that talk to it or time it.
    #[must_use]
    pub fn wardian_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.inside(&self.binary.to_string_lossy());
        let socket = self.run_directory().join("wardian.sock");
        command
            .args(arguments)
            .env("WARDIAN_HOST", format!("unix://{}", socket.display()))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program in the host's network namespace.
    #[must_use]
    #[track_caller]
    pub fn command(&self, program: &str, arguments: &[&str]) -> Run {
        run_in(&self.namespace(), program, arguments)
    }

    /// The hardware address of a link in the host's network namespace.
    ///
    /// # Panics
    /// When it isn't there, or has none.
    #[must_use]
    #[track_caller]
    pub fn mac_of(&self, link: &str) -> String {
        mac_in(&self.namespace(), link)
    }

    /// Runs a program in an environment's network namespace.
    #[must_use]
    #[track_caller]
    pub fn command_in(&self, environment: &str, program: &str, arguments: &[&str]) -> Run {
        run_in(&self.environment_namespace(environment), program, arguments)
    }

    /// A program in the host's network namespace, not started yet.
    #[must_use]
    pub fn inside(&self, program: &str) -> Command {
        inside(&self.namespace(), program)
    }

    /// Everything of Wardian that is there now: processes, links, namespaces, rules, cgroups, files, records.
    #[must_use]
    #[track_caller]
    pub fn inventory(&self) -> Inventory {
        Inventory::take(self)
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log ends with:\n{}", tail(&self.log(), 60));
        }
        self.kill_daemon();
        crate::leaks::clean(&self.run_directory(), self.folder.path());
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

/// What `cargo xtask test` has proven on this machine, unless the test chooses itself: else each host proves it anew.
fn proven_accelerator(flags: &[&str]) -> Vec<String> {
    match std::env::var("WARDIAN_TEST_ACCELERATOR") {
        Ok(proven) if !flags.contains(&"--accelerator") => vec!["--accelerator".to_owned(), proven],
        _ => Vec::new(),
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[track_caller]
pub(crate) fn run_in(namespace: &Path, program: &str, arguments: &[&str]) -> Run {
    let output = inside(namespace, program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (is its package installed?): {error}"));
    Run::new(format!("{program} {}", arguments.join(" ")), &output)
}

/// The hardware address of a link. (/sys shows those of the namespace it was mounted in.)
#[track_caller]
pub(crate) fn mac_in(namespace: &Path, link: &str) -> String {
    let said = run_in(namespace, "ip", &["-o", "link", "show", link]).ok();
    let mac = said.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next());
    mac.unwrap_or_else(|| panic!("no hardware address in {said}")).to_owned()
}

/// `setns` alone, and not `ip netns exec`, which hides cgroups by mounting another /sys.
pub(crate) fn inside(namespace: &Path, program: &str) -> Command {
    let file = File::open(namespace).unwrap_or_else(|error| panic!("{}: {error}", namespace.display()));
    let mut command = Command::new(program);
    // SAFETY: setns(2) is one system call on a descriptor that this closure owns; nothing is allocated in the child.
    unsafe { command.pre_exec(move || Ok(setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?)) };
    command
}
