//! What the outside sees of a test host's machines: their addresses, their pages, and frames on a link.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Frame, Run, TestHost, frames, host, wait};

impl TestHost {
    /// The address of a machine on the lab network; `machine` is `ENVIRONMENT/NAME`.
    ///
    /// # Panics
    /// When there is no such machine.
    #[must_use]
    #[track_caller]
    pub fn outside_address(&self, machine: &str) -> String {
        self.machine(machine)["outside"]["address"].as_str().expect("an address").to_owned()
    }

    /// Asks for a page from the host's namespace.
    #[must_use]
    #[track_caller]
    pub fn curl(&self, url: &str) -> Run {
        self.command("curl", &["-sS", "--fail", "--max-time", "60", url])
    }
}

/// A running `tcpdump`, which keeps what it sees.
pub struct Capture {
    process: Child,
    file: PathBuf,
}

impl Capture {
    /// Begins to listen on a link of the namespace at `namespace`.
    ///
    /// # Panics
    /// When it can't.
    #[must_use]
    #[track_caller]
    pub fn on(namespace: &Path, link: &str, file: PathBuf) -> Self {
        let errors = file.with_extension("log");
        let log = File::create(&errors).unwrap_or_else(|error| panic!("{}: {error}", errors.display()));
        // Headers are enough. Frames wait in slots of the size asked for here: of whole frames only some dozens could.
        let process = host::inside(namespace, "tcpdump")
            .args(["-i", link, "-n", "-U", "-Z", "root", "-s", "512", "-B", "32768", "--immediate-mode", "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("tcpdump (is its package installed?): {error}"));
        let capture = Self { process, file };
        wait::until("tcpdump listens", wait::SOON, || {
            std::fs::read_to_string(&errors).ok().filter(|text| text.contains("listening on"))
        });
        capture
    }

    /// What it has seen so far of what `filter` (of pcap) describes, a line per frame.
    ///
    /// # Panics
    /// When the filter is wrong.
    #[must_use]
    #[track_caller]
    pub fn seen(&self, filter: &str) -> Vec<String> {
        let output = Command::new("tcpdump").args(["-n", "-e", "-r"]).arg(&self.file).arg(filter).output();
        let run = Run::new(format!("tcpdump {filter}"), &output.expect("tcpdump"));
        run.ok().lines().map(str::to_owned).collect()
    }

    /// Ends it and gives every frame it has seen.
    ///
    /// # Panics
    /// When it has missed one.
    #[must_use]
    #[track_caller]
    pub fn end(mut self) -> Vec<Frame> {
        let _ = i32::try_from(self.process.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
        self.process.wait().expect("the end of tcpdump");
        let errors = std::fs::read_to_string(self.file.with_extension("log")).unwrap_or_default();
        assert!(errors.contains("\n0 packets dropped by kernel"), "frames were missed: {errors}");
        let bytes = std::fs::read(&self.file).unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
        frames::read(&bytes)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = i32::try_from(self.process.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
        let _ = self.process.wait();
    }
}
