//! A host with an environment on the side, the daemon's deaths on it, and what must hold after each.

use std::{fs, path::Path, time::Duration};

use wardian_store::{SqliteStore, Store as _};
use wardian_testkit::{Begun, Inventory, Run, TestHost, wait};

use crate::guests::{self, Standing};

const DIES: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(300);
const STILL: &str = "name: still\nmachines: { m: { image: micro, memory: 96 MiB } }\n";
pub(crate) const ONE: &str = "name: one\nmachines: { m: { image: micro, memory: 96 MiB } }\n";
pub(crate) const PAIR: &str =
    "name: pair\nmachines:\n  a: { image: micro, memory: 96 MiB }\n  b: { image: micro, memory: 96 MiB }\n";

/// A host with an environment on the side, and what happened so far.
pub(crate) struct Scene {
    pub(crate) host: TestHost,
    /// The machines that must run on, each with its process.
    pub(crate) still: Vec<(String, u32)>,
    /// What was there before all environments.
    bare: Inventory,
    name: &'static str,
    rows: Vec<[String; 3]>,
}

impl Scene {
    pub(crate) fn new(name: &'static str) -> Self {
        let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
        let bare = host.inventory();
        host.up(STILL).ok();
        let pid = host.pid_of("still/m").unwrap();
        Self { host, still: vec![("still/m".to_owned(), pid)], bare, name, rows: Vec::new() }
    }

    /// Starts the daemon anew, to be killed at `point`, and asks for something that gets there.
    #[track_caller]
    pub(crate) fn kill_at(&mut self, point: &str, words: &[&str]) -> Begun {
        self.host.kill_daemon();
        self.host.start_daemon(&[("WARDIAN_KILL_AT", point)]);
        self.ask_until_killed(point, words)
    }

    /// The same with a daemon that runs already.
    #[track_caller]
    pub(crate) fn ask_until_killed(&mut self, point: &str, words: &[&str]) -> Begun {
        if point.starts_with("network:") {
            self.networks_are_served();
        }
        let asked = self.host.begin(words);
        assert!(self.host.daemon_dies_within(DIES), "{words:?} does not get to {point}:\n{}", self.host.log());
        self.nothing_noticed();
        asked
    }

    /// The networks of all that run were made once then.
    fn networks_are_served(&self) {
        for environment in self.host.wardian(&["ls", "--json"]).json()["environments"].as_array().unwrap() {
            let (name, runs) = (environment["name"].as_str().unwrap(), environment["phase"] == "running");
            wait::until("the name server is back", wait::SOON, || {
                (!runs || self.host.command_in(name, "ss", &["-Huln"]).ok().contains(":53 ")).then_some(())
            });
        }
    }

    /// Starts the daemon, lets the command that was under way end, waits for `goal`, and writes that down.
    #[track_caller]
    pub(crate) fn recover(
        &mut self,
        row: [&str; 2],
        variables: &[(&str, &str)],
        asked: Begun,
        goal: impl Fn(&TestHost) -> bool,
    ) {
        self.host.start_daemon(variables);
        let run = asked.end(ENDS);
        let what = format!("{} killed at {} reaches its goal", row[0], row[1]);
        wait::until(&what, ENDS, || {
            self.nothing_noticed();
            goal(&self.host).then_some(())
        });
        let row = [row[0].to_owned(), row[1].to_owned(), verdict(&run)];
        println!("{}: {}: {}", row[0], row[1], row[2]);
        self.rows.push(row);
    }

    /// The machines on the side are the same processes; no machine has two but while a successor waits beside it.
    #[track_caller]
    pub(crate) fn nothing_noticed(&self) {
        let standing = guests::standing(&self.host);
        let mut places: Vec<_> = standing.iter().map(|one| (&one.machine, one.beside)).collect();
        places.dedup();
        assert_eq!(places.len(), standing.len(), "a machine has two processes: {standing:?}");
        for (machine, pid) in &self.still {
            let own: Vec<_> = standing.iter().filter(|one| one.machine == *machine).collect();
            let alone = Standing { machine: machine.clone(), beside: false, pid: *pid };
            assert_eq!(own, [&alone], "{machine} runs on");
        }
    }

    /// The machines on the side answer, and can write.
    #[track_caller]
    pub(crate) fn still_answers(&self) {
        for (machine, pid) in &self.still {
            assert_eq!(self.host.script(machine, "echo line >> /root/log && sync && echo written"), "written");
            assert_eq!(self.host.machine(machine)["pid"], *pid);
            assert_eq!(self.host.machine(machine)["phase"], "ready");
        }
    }

    /// A machine that was cut through has one process, which stands in its place and is the one that is shown.
    #[track_caller]
    pub(crate) fn stands_alone(&self, machine: &str) {
        let own = wait::until(&format!("{machine} is one process"), wait::SOON, || {
            let own: Vec<_> = guests::standing(&self.host).into_iter().filter(|one| one.machine == machine).collect();
            (own.len() == 1).then_some(own)
        });
        assert!(!own[0].beside, "{machine} stands beside its place");
        assert_eq!(self.host.machine(machine)["pid"], own[0].pid, "{machine}");
    }

    /// A machine that was cut through counts on, from `before` at least. Gives how far it is.
    #[track_caller]
    pub(crate) fn counts_on(&self, machine: &str, before: u64) -> u64 {
        self.stands_alone(machine);
        let now = guests::number(&self.host, machine);
        assert!(now >= before, "{machine} went back from {before} to {now}");
        guests::counted(&self.host, machine, now + 1)
    }

    /// Everything is as it was `before`, and no snapshot is left.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self, before: &Inventory) {
        // What no record names any more is deleted in the background.
        let counts = |inventory: &Inventory| [".qcow2", ".ram", ".state"].map(|kind| inventory.count(kind));
        let limit = std::time::Instant::now() + wait::SOON;
        while counts(&self.host.inventory()) != counts(before) && std::time::Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.host.inventory().adds_nothing_to(before);
        assert_eq!(self.saved_memories(), Vec::<String>::new());
    }

    /// The memory of snapshots.
    pub(crate) fn saved_memories(&self) -> Vec<String> {
        let files = fs::read_dir(self.host.state().join("memory")).unwrap().flatten();
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Removes what is left, and looks whether anything is.
    #[track_caller]
    pub(crate) fn end(mut self, environments: &[&str]) {
        self.still_answers();
        self.host.wardian(&[&["rm"], environments].concat()).ok();
        self.nothing_is_left(&self.bare);
        self.host.stop_daemon();
        assert_eq!(records(&self.host), Vec::<String>::new());
        let mut table = String::from("| operation | killed | what came of it |\n|---|---|---|\n");
        for [operation, point, came] in &self.rows {
            table += &format!("| {operation} | {point} | {came} |\n");
        }
        println!("{table}");
        fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{}.md", self.name)), table).unwrap();
    }
}

/// What who asked was told.
fn verdict(run: &Run) -> String {
    if run.success() {
        return "goes on after the restart; who waited for it saw it end".to_owned();
    }
    let lost = run.stderr.contains("ended the connection before its answer was complete");
    assert!(lost && run.status == Some(1), "{run}");
    "goes on after the restart; who asked was told that the connection broke".to_owned()
}

/// What the store still has of environments.
fn records(host: &TestHost) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(host.state().join("records.sqlite")).await.unwrap();
        let mut keys = Vec::new();
        for prefix in ["environments/", "machines/", "claims/", "cuts/", "snapshots/"] {
            keys.extend(store.list(prefix).await.unwrap().entries.into_iter().map(|entry| entry.key));
        }
        keys
    })
}

pub(crate) fn phase(host: &TestHost, environment: &str) -> String {
    let run = host.wardian(&["status", environment, "--json"]);
    if !run.success() {
        assert!(run.stderr.contains("there is no environment"), "{run}");
        return "gone".to_owned();
    }
    run.json()["phase"].as_str().unwrap().to_owned()
}

pub(crate) fn is(environment: &str, wanted: &str) -> impl Fn(&TestHost) -> bool {
    move |host| phase(host, environment) == wanted
}

/// How far a snapshot is; `gone` when it is.
pub(crate) fn snapshot_is(environment: &str, name: &str, wanted: &str) -> impl Fn(&TestHost) -> bool {
    move |host| {
        let list = host.wardian(&["snapshot", "ls", environment, "--json"]).json();
        let found = list["snapshots"].as_array().unwrap().iter().find(|snapshot| snapshot["name"] == name);
        found.map_or("gone", |snapshot| snapshot["phase"].as_str().unwrap()) == wanted
    }
}
