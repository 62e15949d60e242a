//! The daemon is killed at every step of every operation, and started again: machines run on, operations end, nothing
//! is left. Each test keeps a second environment whose machine must not notice anything.
//!
//! The tables the tests print are the crash table of the documentation.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use wardian_store::{SqliteStore, Store as _};
use wardian_testkit::{Begun, Inventory, Run, TestHost, wait};

/// `#2`: the environment on the side has its network made anew when the daemon starts, which is the first time.
const UP: &[&str] = &[
    "create: recorded",
    "network: begun#2",
    "network: made#2",
    "disk: recorded",
    "disk: file made",
    "start: prepared",
    "start: process runs",
    "start: recorded",
    "ready: seen",
    "ready: recorded",
];

/// `#2`: unneeded layers are collected when the daemon starts, too.
const REMOVE: &[&str] = &[
    "intent: recorded",
    "stop: process ended",
    "stop: end recorded",
    "network: removed",
    "forget: a directory is next",
    "forget: files removed",
    "forget: records removed",
    "collect: cuts finished#2",
    "collect: layer deleted",
];

const DOWN: &[&str] =
    &["intent: recorded", "stop: recorded", "stop: process ended", "stop: end recorded", "network: removed"];

const START: &[&str] = &[
    "intent: recorded",
    "network: begun#2",
    "network: made#2",
    "disk: file made",
    "start: prepared",
    "start: process runs",
    "start: recorded",
    "ready: seen",
    "ready: recorded",
];

/// A clone has three files made, or seen to: the source's old top layer, its new one, and the clone's own.
const CLONE: &[&str] = &[
    "create: recorded",
    "network: begun#2",
    "network: made#2",
    "disk: file made",
    "cut: layer recorded",
    "disk: file made#2",
    "cut: layers made",
    "cut: frozen",
    "cut: paused",
    "cut: switched",
    "cut: running again",
    "cut: thawed",
    "cut: recorded",
    "disk: recorded",
    "disk: file made#3",
    "start: prepared",
    "start: process runs",
    "start: recorded",
    "ready: seen",
    "ready: recorded",
];

const DIES: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(300);

const STILL: &str = "name: still\nmachines: { m: { image: micro, memory: 96 MiB } }\n";
const ONE: &str = "name: one\nmachines: { m: { image: micro, memory: 96 MiB } }\n";
const PAIR: &str =
    "name: pair\nmachines:\n  a: { image: micro, memory: 96 MiB }\n  b: { image: micro, memory: 96 MiB }\n";

/// A host with an environment on the side, and what happened so far.
struct Scene {
    host: TestHost,
    /// The machines that must run on, each with its process.
    still: Vec<(String, u32)>,
    /// What was there before all environments.
    bare: Inventory,
    name: &'static str,
    rows: Vec<[String; 3]>,
}

impl Scene {
    fn new(name: &'static str) -> Self {
        let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
        let bare = host.inventory();
        host.up(STILL).ok();
        let pid = host.pid_of("still/m").unwrap();
        Self { host, still: vec![("still/m".to_owned(), pid)], bare, name, rows: Vec::new() }
    }

    /// Starts the daemon anew, to be killed at `point`, and asks for something that gets there.
    fn kill_at(&mut self, point: &str, words: &[&str]) -> Begun {
        self.host.kill_daemon();
        self.host.start_daemon(&[("WARDIAN_KILL_AT", point)]);
        self.ask_until_killed(point, words)
    }

    /// The same with a daemon that runs already.
    fn ask_until_killed(&mut self, point: &str, words: &[&str]) -> Begun {
        if point.starts_with("network:") && point.ends_with("#2") {
            self.network_is_served();
        }
        let asked = self.host.begin(words);
        assert!(self.host.daemon_dies_within(DIES), "{words:?} does not get to {point}:\n{}", self.host.log());
        self.nothing_noticed();
        asked
    }

    /// The network on the side was made once then.
    fn network_is_served(&self) {
        wait::until("the name server is back", Duration::from_secs(10), || {
            self.host.command_in("still", "ss", &["-Huln"]).ok().contains(":53 ").then_some(())
        });
    }

    /// Starts the daemon, lets the command that was under way end, waits for `goal`, and writes that down.
    fn recover(&mut self, row: [&str; 2], variables: &[(&str, &str)], asked: Begun, goal: impl Fn(&TestHost) -> bool) {
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

    /// The machines on the side are the same processes; no machine has two.
    fn nothing_noticed(&self) {
        let processes = self.host.machine_processes();
        for (machine, pid) in &self.still {
            let found = processes.iter().find(|process| process.machine == *machine);
            assert_eq!(found.map(|process| process.pid), Some(*pid), "{machine} runs on");
        }
    }

    /// The machines on the side answer, and can write.
    fn still_answers(&self) {
        for (machine, pid) in &self.still {
            assert_eq!(self.host.script(machine, "echo line >> /root/log && sync && echo written"), "written");
            assert_eq!(self.host.machine(machine)["pid"], *pid);
            assert_eq!(self.host.machine(machine)["phase"], "ready");
        }
    }

    /// Everything is as it was `before`.
    fn nothing_is_left(&self, before: &Inventory) {
        // Layers that no record names any more are deleted in the background.
        wait::until("unneeded layers are deleted", Duration::from_secs(10), || {
            (self.host.inventory().count(".qcow2") == before.count(".qcow2")).then_some(())
        });
        self.host.inventory().adds_nothing_to(before);
    }

    /// Removes what is left, and looks whether anything is.
    fn end(mut self, environments: &[&str]) {
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
        for prefix in ["environments/", "machines/", "claims/", "cuts/"] {
            keys.extend(store.list(prefix).await.unwrap().entries.into_iter().map(|entry| entry.key));
        }
        keys
    })
}

fn phase(host: &TestHost, environment: &str) -> String {
    let run = host.wardian(&["status", environment, "--json"]);
    if !run.success() {
        assert!(run.stderr.contains("there is no environment"), "{run}");
        return "gone".to_owned();
    }
    run.json()["phase"].as_str().unwrap().to_owned()
}

fn is(environment: &str, wanted: &str) -> impl Fn(&TestHost) -> bool {
    move |host| phase(host, environment) == wanted
}

#[test]
fn story_every_point_where_the_daemon_can_be_killed_is_in_a_table() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wardian-host/src");
    let mut in_sources = BTreeSet::new();
    for file in rust_files(&sources) {
        let text = fs::read_to_string(&file).unwrap();
        let points = text.split("fault::point(\"").skip(1).filter_map(|rest| rest.split('"').next());
        in_sources.extend(points.map(str::to_owned));
    }
    let tables = [UP, REMOVE, DOWN, START, CLONE].concat();
    let in_tables: BTreeSet<_> = tables.iter().map(|point| point.split('#').next().unwrap().to_owned()).collect();
    assert_eq!(in_sources, in_tables);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn story_up_and_rm_survive_a_kill_at_every_step() {
    let mut scene = Scene::new("up-and-rm");
    let with_still = scene.host.inventory();
    let file = scene.host.write("one.yaml", ONE).to_string_lossy().into_owned();
    for (index, up) in UP.iter().enumerate() {
        let asked = scene.kill_at(up, &["up", &file]);
        // The daemon that ends this one is killed in the removal.
        let remove = REMOVE.get(index).copied();
        let variables: Vec<_> = remove.map(|point| ("WARDIAN_KILL_AT", point)).into_iter().collect();
        scene.recover(["up", up], &variables, asked, is("one", "running"));
        assert_eq!(scene.host.script("one/m", "hostname"), "m");
        scene.still_answers();
        if let Some(remove) = remove {
            let asked = scene.ask_until_killed(remove, &["rm", "one"]);
            scene.recover(["rm", remove], &[], asked, is("one", "gone"));
        } else {
            scene.host.wardian(&["rm", "one"]).ok();
        }
        scene.still_answers();
        scene.nothing_is_left(&with_still);
    }
    scene.end(&["still"]);
}

#[test]
fn story_down_and_start_survive_a_kill_at_every_step() {
    let mut scene = Scene::new("down-and-start");
    scene.host.up(ONE).ok();
    scene.host.script("one/m", "echo kept > /root/data && sync");
    for (index, start) in START.iter().enumerate() {
        if let Some(down) = DOWN.get(index) {
            let asked = scene.kill_at(down, &["down", "one"]);
            scene.recover(["down", down], &[], asked, is("one", "stopped"));
        } else {
            scene.host.wardian(&["down", "one"]).ok();
        }
        wait::until("the network of a stopped environment is removed", Duration::from_secs(10), || {
            scene.host.pid_of("one/m").is_none().then_some(())
        });
        let asked = scene.kill_at(start, &["start", "one"]);
        scene.recover(["start", start], &[], asked, is("one", "running"));
        assert_eq!(scene.host.script("one/m", "cat /root/data"), "kept");
        scene.still_answers();
    }
    scene.end(&["still", "one"]);
}

#[test]
fn story_clone_survives_a_kill_at_every_step() {
    let mut scene = Scene::new("clone");
    for (index, point) in CLONE.iter().enumerate() {
        scene.host.script("still/m", &format!("echo before {index} >> /root/log && sync"));
        let asked = scene.kill_at(point, &["clone", "still", "copy"]);
        scene.recover(["clone", point], &[], asked, is("copy", "running"));
        // The source goes on, and the clone has what was there before it was asked for.
        scene.still_answers();
        let log = scene.host.script("copy/m", "cat /root/log");
        assert!(log.contains(&format!("before {index}")) && !log.contains(&format!("before {}", index + 1)), "{log}");
        scene.host.wardian(&["rm", "copy"]).ok();
    }
    // Nothing that was written between all these cuts is lost.
    scene.host.wardian(&["down", "still"]).ok();
    scene.host.wardian(&["start", "still"]).ok();
    scene.still = vec![("still/m".to_owned(), scene.host.pid_of("still/m").unwrap())];
    let log = scene.host.script("still/m", "cat /root/log");
    for index in 0..CLONE.len() {
        assert!(log.contains(&format!("before {index}")), "{index} is missing:\n{log}");
    }
    assert_eq!(log.lines().filter(|line| *line == "line").count(), CLONE.len());
    scene.end(&["still"]);
}

/// Where a second machine makes a difference: one is through, the other is not.
#[test]
fn story_two_machines_survive_a_kill_between_them() {
    let mut scene = Scene::new("two-machines");
    let file = scene.host.write("pair.yaml", PAIR).to_string_lossy().into_owned();
    let asked = scene.kill_at("start: process runs#2", &["up", &file]);
    scene.recover(["up", "start: process runs#2"], &[], asked, is("pair", "running"));
    let pair = ["pair/a", "pair/b"].map(|machine| (machine.to_owned(), scene.host.pid_of(machine).unwrap()));
    scene.still.extend(pair);
    for point in ["cut: layer recorded#2", "cut: paused", "cut: switched", "cut: frozen"] {
        let asked = scene.kill_at(point, &["clone", "pair", "copy"]);
        scene.recover(["clone", point], &[], asked, is("copy", "running"));
        scene.still_answers();
        for machine in ["a", "b"] {
            assert_eq!(scene.host.script(&format!("copy/{machine}"), "hostname"), machine);
        }
        scene.host.wardian(&["rm", "copy"]).ok();
    }
    scene.still.truncate(1);
    let asked = scene.kill_at("stop: process ended#2", &["down", "pair"]);
    scene.recover(["down", "stop: process ended#2"], &[], asked, is("pair", "stopped"));
    let asked = scene.kill_at("forget: a directory is next#2", &["rm", "pair"]);
    scene.recover(["rm", "forget: a directory is next#2"], &[], asked, is("pair", "gone"));
    scene.end(&["still"]);
}
