//! Random sequences of requests against a simple model: whatever is asked for in whatever order, outside identities are
//! never shared, insides are those of the lineage, and every machine has the words it should have, in memory and on
//! disk.
//!
//! One seed by default; `WARDIAN_RANDOM_SEEDS=1,2,3` runs those instead. A failure names the seed and the steps before
//! it.

#[path = "story_random/model.rs"]
mod model;

use std::{collections::BTreeSet, fs};

use model::{Environment, Model, Moment, Random};
use serde_json::Value;
use wardian_store::{SqliteStore, Store as _};
use wardian_testkit::{Inventory, TestHost, wait};

const SEED: u64 = 0x005e_a1ed;
const STEPS: usize = 28;
/// Environments at a time, and how many boot from an image: that takes longest.
const AT_MOST: usize = 6;
const FROM_FILES: usize = 2;

#[test]
fn story_random_requests_leave_every_machine_as_the_model_says() {
    let seeds = std::env::var("WARDIAN_RANDOM_SEEDS").unwrap_or_else(|_| SEED.to_string());
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    for seed in seeds.split(',').map(|seed| seed.trim().parse().expect("a number in WARDIAN_RANDOM_SEEDS")) {
        println!("seed {seed}");
        let mut run = Run { host: &host, random: Random::new(seed), model: Model::default() };
        for step in 0..STEPS {
            let what = run.step();
            println!("{step}: {what}");
            run.check();
        }
        run.end(&before);
    }
    drop(before);
    nothing_is_recorded(host);
}

/// One sequence.
struct Run<'a> {
    host: &'a TestHost,
    random: Random,
    model: Model,
}

impl Run<'_> {
    /// Asks for something that is possible now; gives what, in words.
    fn step(&mut self) -> String {
        loop {
            let done = match self.random.below(24) {
                0..=2 => self.up(),
                3..=4 => self.write(),
                5..=7 => self.snapshot(),
                8..=10 => self.clone_present(),
                11..=13 => self.clone_snapshot(),
                14..=17 => self.restore(),
                18 => self.forget_snapshot(),
                19 => self.fence(),
                20 => self.down(),
                21..=22 => self.start(),
                _ => self.remove(),
            };
            if let Some(what) = done {
                return what;
            }
        }
    }

    fn up(&mut self) -> Option<String> {
        if self.model.environments.len() == AT_MOST || self.model.lineages == FROM_FILES {
            return None;
        }
        let name = self.model.new_name("e");
        let machines = "machines: { m: { image: micro, memory: 96 MiB } }";
        let isolation = "isolation: { fence: open, expose: [ \"m:80\" ] }";
        self.host.up(&format!("name: {name}\n{machines}\n{isolation}\n")).ok();
        let inside = self.addresses(&name)["inside"].clone();
        self.model.lineages += 1;
        self.model.environments.insert(name.clone(), Environment::new(inside));
        self.tell(&name);
        Some(format!("up {name}"))
    }

    fn write(&mut self) -> Option<String> {
        let name = self.one_that_runs()?;
        let word = self.tell(&name);
        Some(format!("{name} is told {word}"))
    }

    fn snapshot(&mut self) -> Option<String> {
        let name = self.random.one_of(&self.model.names())?;
        let snapshot = self.model.new_name("s");
        self.host.wardian(&["snapshot", "create", &name, &snapshot]).ok();
        let environment = self.model.of(&name);
        let moment = environment.now.clone();
        environment.snapshots.insert(snapshot.clone(), moment);
        Some(format!("snapshot {snapshot} of {name}"))
    }

    fn clone_present(&mut self) -> Option<String> {
        let source = self.random.one_of(&self.model.names())?;
        // Machines that don't run can't go on in a clone, and one may ask for the disks alone.
        let boot = self.random.below(4) == 0;
        let mut moment = self.model.of(&source).now.clone();
        if boot {
            moment.memory = None;
        }
        self.clone_of(&source.clone(), &source, moment, if boot { &["--boot"] } else { &[] })
    }

    fn clone_snapshot(&mut self) -> Option<String> {
        let (source, snapshot, moment) = self.random.one_of(&self.model.snapshots())?;
        self.clone_of(&format!("{source}@{snapshot}"), &source, moment, &[])
    }

    fn clone_of(&mut self, what: &str, source: &str, moment: Moment, flags: &[&str]) -> Option<String> {
        if self.model.environments.len() == AT_MOST {
            return None;
        }
        let name = self.model.new_name("c");
        self.host.wardian(&[&["clone"], flags, &[what, &name]].concat()).ok();
        let source = self.model.of(source);
        let clone = Environment { fence: source.fence, ..Environment::new(source.inside.clone()) };
        // Of a snapshot the fence is what it was then; it is asked for where that may be another.
        let fence = self.fence_of(&name);
        if !what.contains('@') {
            assert_eq!(fence, clone.fence, "{name} is fenced as its source");
        }
        let clone = Environment { fence: model::FENCES.into_iter().find(|one| *one == fence).unwrap(), ..clone };
        self.model.environments.insert(name.clone(), Environment { now: moment, runs: true, ..clone });
        Some(format!("clone {} of {what}", [flags.concat(), name].concat()))
    }

    /// To a snapshot of its own, or of another environment with the same inside.
    fn restore(&mut self) -> Option<String> {
        let name = self.random.one_of(&self.model.names())?;
        let inside = self.model.of(&name).inside.clone();
        let mut fitting = self.model.snapshots();
        fitting.retain(|(of, ..)| self.model.of(of).inside == inside);
        let (of, snapshot, moment) = self.random.one_of(&fitting)?;
        let what = if of == name { snapshot } else { format!("{of}@{snapshot}") };
        self.host.wardian(&["restore", &name, &what]).ok();
        let environment = self.model.of(&name);
        (environment.now, environment.runs) = (moment, true);
        Some(format!("restore {name} to {what}"))
    }

    fn forget_snapshot(&mut self) -> Option<String> {
        let (of, snapshot, _) = self.random.one_of(&self.model.snapshots())?;
        self.host.wardian(&["snapshot", "rm", &of, &snapshot]).ok();
        self.model.of(&of).snapshots.remove(&snapshot);
        Some(format!("snapshot rm {snapshot} of {of}"))
    }

    fn fence(&mut self) -> Option<String> {
        let name = self.random.one_of(&self.model.names())?;
        let fence = self.random.one_of(&model::FENCES)?;
        self.host.wardian(&["fence", &name, fence]).ok();
        self.model.of(&name).fence = fence;
        Some(format!("fence {name} {fence}"))
    }

    fn down(&mut self) -> Option<String> {
        let name = self.one_that_runs()?;
        self.host.wardian(&["down", &name]).ok();
        let environment = self.model.of(&name);
        environment.runs = false;
        environment.now.memory = None;
        Some(format!("down {name}"))
    }

    fn start(&mut self) -> Option<String> {
        let stopped = |name: &String| !self.model.environments[name].runs;
        let name = self.random.one_of(&self.model.names().into_iter().filter(stopped).collect::<Vec<_>>())?;
        self.host.wardian(&["start", &name]).ok();
        self.model.of(&name).runs = true;
        Some(format!("start {name}"))
    }

    /// Not the last: without any there is little to do.
    fn remove(&mut self) -> Option<String> {
        let names = self.model.names();
        let name = self.random.one_of(&names).filter(|_| names.len() > 2)?;
        self.host.wardian(&["rm", &name]).ok();
        self.model.environments.remove(&name);
        Some(format!("rm {name}"))
    }

    fn one_that_runs(&mut self) -> Option<String> {
        let runs = |name: &String| self.model.environments[name].runs;
        self.random.one_of(&self.model.names().into_iter().filter(runs).collect::<Vec<_>>())
    }

    /// A new word, in memory (`/tmp` is on the micro guest's disk) and on disk.
    fn tell(&mut self, name: &str) -> String {
        let word = self.model.new_name("w");
        let write = format!("echo {word} > /dev/shm/word; echo {word} > /root/word; sync");
        self.ask(name, &write);
        self.model.of(name).now = Moment { memory: Some(word.clone()), disk: Some(word.clone()) };
        word
    }

    #[track_caller]
    fn ask(&self, name: &str, script: &str) -> String {
        self.host.script(&format!("{name}/m"), script)
    }

    fn addresses(&self, name: &str) -> Value {
        self.host.wardian(&["addresses", name, "m", "--json"]).json()["addresses"][0].clone()
    }

    fn fence_of(&self, name: &str) -> String {
        self.host.status(name)["fence"].as_str().unwrap().to_owned()
    }

    /// Everything the model knows.
    fn check(&self) {
        let list = self.host.wardian(&["ls", "--json"]).json();
        let names = |list: &Value| -> BTreeSet<_> {
            list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&list["environments"]), self.model.environments.keys().cloned().collect());
        let (mut addresses, mut macs, mut ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let running: BTreeSet<_> = self.host.machine_processes().into_iter().map(|process| process.machine).collect();
        for (name, environment) in &self.model.environments {
            let known = self.addresses(name);
            let outside = &known["outside"];
            assert!(addresses.insert(outside["address"].to_string()), "{name} shares its address: {known}");
            assert!(macs.insert(outside["mac"].to_string()), "{name} shares its hardware address: {known}");
            for port in known["exposed"].as_array().unwrap() {
                assert!(ports.insert(port["at"].to_string()), "{name} shares a port of the host: {known}");
            }
            assert_eq!(known["inside"], environment.inside, "{name} has the inside of its lineage");
            let status = self.host.status(name);
            assert_eq!(status["phase"], if environment.runs { "running" } else { "stopped" }, "{name}");
            assert_eq!(status["fence"], environment.fence, "{name}");
            assert_eq!(running.contains(&format!("{name}/m")), environment.runs, "{name} in {running:?}");
            let snapshots = self.host.wardian(&["snapshot", "ls", name, "--json"]).json();
            assert_eq!(names(&snapshots["snapshots"]), environment.snapshots.keys().cloned().collect());
            if environment.runs {
                let read = "sync; echo 3 > /proc/sys/vm/drop_caches; for f in /dev/shm/word /root/word; do \
                            cat $f 2>/dev/null || echo -; done";
                let said = self.ask(name, read);
                let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
                let wanted = format!("{}\n{}", word(&environment.now.memory), word(&environment.now.disk));
                assert_eq!(said, wanted, "the words {name} has in memory and on disk");
            }
        }
    }

    fn end(self, before: &Inventory) {
        let names = self.model.names();
        let all: Vec<_> = ["rm"].into_iter().chain(names.iter().map(String::as_str)).collect();
        self.host.wardian(&all).ok();
        let left = |kind: &str| self.host.inventory().count(kind) > before.count(kind);
        wait::until("unneeded files are deleted", wait::SOON, || {
            (![".qcow2", ".ram", ".state"].into_iter().any(left)).then_some(())
        });
        self.host.inventory().adds_nothing_to(before);
        let saved: Vec<_> = fs::read_dir(self.host.state().join("memory")).unwrap().flatten().collect();
        assert!(saved.is_empty(), "{saved:?}");
    }
}

/// The store has nothing of environments any more.
fn nothing_is_recorded(mut host: TestHost) {
    host.stop_daemon();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(host.state().join("records.sqlite")).await.unwrap();
        for prefix in ["environments/", "machines/", "claims/", "cuts/", "snapshots/"] {
            let left: Vec<_> = store.list(prefix).await.unwrap().entries.into_iter().map(|entry| entry.key).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    });
}
