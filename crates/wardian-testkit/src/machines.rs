//! Machines of a test host: their files, their processes, what their guests say.

use std::{collections::HashSet, fs, path::PathBuf};

use serde_json::Value;

use crate::{Run, TestHost, leaks, wait};

/// The QEMU of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineProcess {
    /// The machine, as `ENVIRONMENT/NAME`.
    pub machine: String,
    /// Its process id.
    pub pid: u32,
}

impl TestHost {
    /// Writes a file into the test's folder.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    #[track_caller]
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Brings up the environment that `file` describes, and waits until it is ready.
    #[must_use]
    #[track_caller]
    pub fn up(&self, file: &str) -> Run {
        let path = self.write("environment.yaml", file);
        self.wardian(&["up", &path.to_string_lossy()])
    }

    /// What `wardian status ENVIRONMENT --json` says.
    ///
    /// # Panics
    /// When there is no such environment.
    #[must_use]
    #[track_caller]
    pub fn status(&self, environment: &str) -> Value {
        self.wardian(&["status", environment, "--json"]).json()
    }

    /// One machine of that; `machine` is `ENVIRONMENT/NAME`.
    ///
    /// # Panics
    /// When there is no such machine.
    #[must_use]
    #[track_caller]
    pub fn machine(&self, machine: &str) -> Value {
        let (environment, name) = machine.split_once('/').expect("ENVIRONMENT/NAME");
        let status = self.status(environment);
        let machines = status["machines"].as_array().cloned().unwrap_or_default();
        let found = machines.into_iter().find(|machine| machine["name"] == name);
        found.unwrap_or_else(|| panic!("no {machine} in {status}"))
    }

    /// Runs a script in a guest that answers at once, once it has a processor. An agent that was silent was not asked
    /// yet, so it can be again.
    ///
    /// # Panics
    /// When it fails, or the guest does not answer.
    #[track_caller]
    pub fn script(&self, machine: &str, script: &str) -> String {
        wait::until(&format!("the guest agent of {machine} answers"), wait::SOON, || {
            let run = self.wardian(&["exec", machine, "--timeout", "90s", "--", "sh", "-c", script]);
            let silent = run.stderr.contains("the guest agent did not answer within");
            (!silent).then(|| run.ok().trim_end().to_owned())
        })
    }

    /// The QEMU processes of this host's machines, whatever a daemon knows of them.
    ///
    /// # Panics
    /// When a machine has two: they would write to one disk.
    #[must_use]
    #[track_caller]
    pub fn machine_processes(&self) -> Vec<MachineProcess> {
        let mut all: Vec<_> = leaks::processes(self.folder())
            .into_iter()
            .filter_map(|(pid, _)| Some(MachineProcess { machine: guest(pid)?, pid: u32::try_from(pid).ok()? }))
            .collect();
        all.sort();
        let names: HashSet<_> = all.iter().map(|process| &process.machine).collect();
        assert_eq!(names.len(), all.len(), "a machine has two processes: {all:?}");
        all
    }

    /// The process of one machine, if it has one.
    #[must_use]
    #[track_caller]
    pub fn pid_of(&self, machine: &str) -> Option<u32> {
        self.machine_processes().into_iter().find(|process| process.machine == machine).map(|process| process.pid)
    }
}

/// The name in QEMU's `-name guest=…`.
fn guest(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    words.filter_map(|word| Some(word.strip_prefix("guest=")?.split(',').next()?.to_owned())).next()
}
