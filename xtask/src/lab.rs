//! A test host: a network namespace of its own with a daemon in it, whose state lies in a folder that goes away.
//! Used by the demo and the benches; nothing of this machine's own network or state is touched.
//!
//! Dropping the host cleans up whatever happened: environments are removed, the daemon is ended, then whatever still
//! names the folder on its command line, then the namespace and the folder.

use crate::{images, run};
use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupted(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// A host for one demo or bench.
pub(crate) struct Lab {
    name: String,
    binary: PathBuf,
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Lab {
    /// Makes the namespace and starts the daemon of this binary; returns when it answers.
    pub(crate) fn start(purpose: &str, binary: PathBuf) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("a test host needs root: it makes a network namespace and bridges");
        }
        catch_interrupts()?;
        let name = format!("wardian-{purpose}-{}", std::process::id());
        // Machines run as another user and must get to their files.
        let folder = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .context("cannot make a folder for the test host")?;
        // From here on dropping it cleans up.
        let mut lab = Self { name, binary, folder, daemon: None };
        run::read(Command::new("ip").args(["netns", "add", &lab.name]))?;
        run::read(Command::new("ip").args(["-n", &lab.name, "link", "set", "lo", "up"]))?;
        lab.start_daemon()?;
        Ok(lab)
    }

    fn start_daemon(&mut self) -> Result<()> {
        let log = File::create(self.log()).context("cannot create the daemon's log")?;
        let mut command = self.inside(&self.binary)?;
        command
            .arg("daemon")
            .arg("--state-directory")
            .arg(self.folder.path().join("state"))
            .arg("--run-directory")
            .arg(self.folder.path().join("run"))
            .arg("--socket")
            .arg(self.socket())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Its own group: ctrl-c is for this task, which then removes the environments through it.
            .process_group(0);
        self.daemon = Some(command.spawn().context("cannot start the daemon")?);
        let start = Instant::now();
        loop {
            if self.wardian(&["ls", "--json"])?.output().is_ok_and(|output| output.status.success()) {
                return Ok(());
            }
            let ended = self.daemon.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || start.elapsed() > Duration::from_secs(60) {
                bail!("the daemon does not answer; it said:\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process id of the daemon.
    pub(crate) fn daemon(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// The processes of all machines of this host.
    pub(crate) fn machine_processes(&self) -> Vec<u32> {
        let daemon = self.daemon();
        let all = self.leftovers().into_iter().filter_map(|pid| u32::try_from(pid.as_raw()).ok());
        all.filter(|pid| Some(*pid) != daemon).collect()
    }

    /// A `wardian` command that talks to this host's daemon.
    pub(crate) fn wardian(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.inside(&self.binary)?;
        command.args(words).env("WARDIAN_HOST", self.url());
        Ok(command)
    }

    /// How `wardian` is told of this host.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A command that runs in this host's network.
    pub(crate) fn inside(&self, program: &Path) -> Result<Command> {
        let path = Path::new("/run/netns").join(&self.name);
        let namespace = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only one system call is made, on a descriptor the closure owns.
        unsafe {
            command.pre_exec(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?));
        }
        Ok(command)
    }

    /// Imports an image that `cargo xtask images` has built.
    pub(crate) fn import(&self, name: &str) -> Result<()> {
        let folder = images::folder(name);
        let text = fs::read_to_string(folder.join("image.json")).context("cannot read the image's description")?;
        let description: serde_json::Value = serde_json::from_str(&text)?;
        let part = |key: &str| description[key].as_str().map(str::to_owned);
        let file = |key: &str| part(key).map(|name| folder.join(name).display().to_string());
        let mut words = vec!["image".to_owned(), "import".into(), name.into()];
        words.extend(file("disk"));
        for (flag, value) in
            [("--kernel", file("kernel")), ("--initrd", file("initrd")), ("--command-line", part("command-line"))]
        {
            words.extend(value.map(|value| format!("{flag}={value}")));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run::shown(&mut self.wardian(&words)?)
    }

    /// The file of the smallest environment: one machine, ready when its agent answers.
    pub(crate) fn one_machine(&self) -> Result<String> {
        let path = self.folder.path().join("one.yaml");
        fs::write(&path, "name: one\nmachines:\n  one:\n    image: micro\n    memory: 192 MiB\n")?;
        Ok(path.display().to_string())
    }

    /// Fails once ctrl-c was pressed.
    pub(crate) fn check_interrupt() -> Result<()> {
        if INTERRUPTED.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// The end of the daemon's log.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("wardian.sock")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("daemon.log")
    }

    fn remove_environments(&self) -> Result<()> {
        let text = run::read(&mut self.wardian(&["ls", "--json"])?)?;
        let list: serde_json::Value = serde_json::from_str(&text)?;
        let names: Vec<&str> =
            list["environments"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let words: Vec<&str> = ["rm"].into_iter().chain(names).collect();
        run::read(&mut self.wardian(&words)?).map(drop)
    }

    /// Processes whose command line names the host's folder, which no other process does.
    fn leftovers(&self) -> Vec<Pid> {
        let needle = self.folder.path().as_os_str().as_encoded_bytes();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter(|entry| {
                let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                words.windows(needle.len()).any(|part| part == needle)
            })
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
            .filter(|pid| *pid != Pid::this())
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            if let Err(error) = self.remove_environments() {
                eprintln!("warning: environments were not removed in order: {error:#}");
            }
            let pid = Pid::from_raw(daemon.id().cast_signed());
            // It may have ended by itself.
            let _ = kill(pid, Signal::SIGTERM);
            let start = Instant::now();
            while matches!(daemon.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for pid in self.leftovers() {
            eprintln!("warning: ending process {pid}, which was left over");
            let _ = kill(pid, Signal::SIGKILL);
        }
        // Namespaces of environments that were not removed in order.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mount).starts_with(self.folder.path()) {
                let _ = Command::new("umount").arg(mount).status();
            }
        }
        if let Err(error) = run::read(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Lets ctrl-c end what runs in the foreground, but not this task, which has to clean up.
fn catch_interrupts() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(interrupted), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler stores to an atomic, which is allowed in a signal handler.
        unsafe { sigaction(signal, &action) }.context("cannot handle ctrl-c")?;
    }
    Ok(())
}
