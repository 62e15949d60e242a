//! A small world that does what the plan says, with crashes, failures and requests at any moment: whatever happens,
//! nothing runs twice, nothing is left behind, and every wish comes true in the end.

use proptest::prelude::*;
use wardian_model::{
    Timestamp,
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Problem},
    id::LayerId,
    machine::{MachinePhase, MachineRecord, Process},
    operation::OperationKind,
};

use super::*;

/// Something that happens in the world.
#[derive(Debug, Clone)]
enum Happening {
    /// A user asks for something.
    Ask(Desired),
    /// The controller turns once, and what it begins succeeds up to this many actions; the rest is cut off by a crash.
    Turn { done: usize },
    /// What is under way with a machine comes to its end, well or badly.
    Finish { machine: usize, well: bool },
    /// A machine's process dies by itself.
    Die { machine: usize },
    /// The daemon is killed and started again.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        1 => prop_oneof![Just(Desired::Running), Just(Desired::Stopped)].prop_map(Happening::Ask),
        8 => (0usize..6).prop_map(|done| Happening::Turn { done }),
        6 => (0usize..3, prop::bool::weighted(0.9)).prop_map(|(machine, well)| Happening::Finish { machine, well }),
        1 => (0usize..3).prop_map(|machine| Happening::Die { machine }),
        1 => Just(Happening::Restart),
    ]
}

struct World {
    environment: EnvironmentRecord,
    machines: IndexMap<MachineName, MachineRecord>,
    alive: IndexMap<MachineName, u32>,
    busy: IndexMap<MachineName, Busy>,
    network: NetworkView,
    forgotten: bool,
    next_pid: u32,
}

impl World {
    fn new() -> Self {
        let environment: EnvironmentRecord = serde_json::from_value(serde_json::json!({
            "id": "0000000000000001", "name": "lab", "created": "2026-01-01T00:00:00Z",
            "spec": { "name": "lab", "machines": {
                "web": { "image": "micro", "start-after": ["db"] }, "db": { "image": "micro" }, "log": { "image": "micro" },
            } },
            "origin": { "from": "file" }, "edge": { "slot": 1, "mac": "02:57:80:00:00:01" }, "identities": {},
            "fence": "open", "desired": "running", "run": 1, "phase": { "is": "pending" },
        }))
        .unwrap();
        let machines = environment.spec.machines.keys().map(|name| {
            let record = serde_json::from_value(serde_json::json!({
                "environment": "lab", "environment-id": "0000000000000001", "name": name,
                "disk": { "image": "d", "layers": [] }, "generation": "g", "run": 0,
                "phase": { "is": "stopped" }, "agent": { "is": "unknown" },
            }))
            .unwrap();
            (name.clone(), record)
        });
        let machines = machines.collect();
        Self {
            environment,
            machines,
            alive: IndexMap::new(),
            busy: IndexMap::new(),
            network: NetworkView::Stale,
            forgotten: false,
            next_pid: 100,
        }
    }

    fn view(&self) -> View<'_> {
        let machines = self.machines.iter().map(|(name, record)| {
            let (alive, busy) = (self.alive.contains_key(name), self.busy.get(name).copied());
            (name.clone(), MachineView { record, alive, busy })
        });
        View {
            environment: &self.environment,
            network: self.network.clone(),
            machines: machines.collect(),
            origin_cut: None,
            wanted_cut: None,
            cutting: false,
        }
    }

    fn ask(&mut self, desired: Desired) {
        if self.environment.desired == Desired::Removed {
            return;
        }
        self.environment.desired = desired;
        if desired == Desired::Running {
            self.environment.run += 1;
            self.environment.phase = EnvironmentPhase::Starting;
        }
    }

    /// Returns how many actions there were.
    fn turn(&mut self, done: usize) -> usize {
        if self.forgotten {
            return 0;
        }
        self.environment.phase = phase(&self.view());
        let actions = next(&self.view());
        let count = actions.len();
        for action in actions.into_iter().take(done) {
            self.begin(action);
        }
        count
    }

    fn begin(&mut self, action: Action) {
        match action {
            Action::EnsureNetwork => self.network = NetworkView::Ready,
            Action::RemoveNetwork => {
                assert!(self.alive.is_empty(), "the network is taken from under a machine");
                self.network = NetworkView::Absent;
            }
            Action::MakeDisk(name) => self.occupy(name, Busy::MakingDisk),
            Action::Start(name) | Action::Resume(name) => {
                assert_eq!(self.network, NetworkView::Ready, "{name} starts without a network");
                self.occupy(name, Busy::Starting);
            }
            Action::AwaitReady(name) => self.occupy(name, Busy::Awaiting),
            Action::Stop(name) => self.occupy(name, Busy::Stopping),
            Action::Kill(name) | Action::RecordExit(name) | Action::Count(name) => self.occupy(name, Busy::Settling),
            Action::Cut(_) | Action::RefuseCut(_) => unreachable!("nobody asks for a cut here"),
            Action::Forget => {
                assert!(self.alive.is_empty() && self.busy.is_empty(), "forgotten while something is there");
                assert_eq!(self.network, NetworkView::Absent, "forgotten with its network");
                self.forgotten = true;
            }
        }
    }

    fn occupy(&mut self, name: MachineName, busy: Busy) {
        let before = self.busy.insert(name.clone(), busy);
        let interrupts =
            matches!(before, None | Some(Busy::Awaiting)) || (before == Some(Busy::Stopping) && busy == Busy::Settling);
        assert!(interrupts, "{name}: {before:?} is replaced by {busy:?}");
    }

    fn finish(&mut self, index: usize, well: bool) {
        let Some((name, _)) = self.machines.get_index(index) else { return };
        let name = name.clone();
        let Some(busy) = self.busy.shift_remove(&name) else { return };
        let run = self.environment.run;
        let problem = Problem::new("it went wrong");
        let alive = self.alive.get(&name).copied();
        let process = |pid| Process { pid, start_time: 1 };
        let since = Timestamp::UNIX_EPOCH;
        let record = self.machines.get_mut(&name).expect("it was just there");
        match busy {
            Busy::MakingDisk => record.disk.layers.push(LayerId::from_bits(7)),
            Busy::Starting if !well => {
                record.run = run;
                if alive.is_none() {
                    record.phase = MachinePhase::Failed { problem };
                }
            }
            Busy::Starting => {
                let pid = alive.unwrap_or_else(|| {
                    self.next_pid += 1;
                    self.alive.insert(name.clone(), self.next_pid);
                    self.next_pid
                });
                record.run = run;
                record.phase = MachinePhase::Booting { process: process(pid), since };
            }
            Busy::Awaiting => {
                if let Some(pid) = alive {
                    record.phase = match well {
                        true => MachinePhase::Ready { process: process(pid), since, after_ms: 1 },
                        false => MachinePhase::Unready { process: process(pid), since, problem },
                    };
                }
            }
            Busy::Stopping => {
                self.alive.shift_remove(&name);
                record.phase = MachinePhase::Stopped { why: None };
            }
            Busy::Settling => {
                if self.environment.desired == Desired::Removed {
                    self.alive.shift_remove(&name);
                }
                match self.alive.contains_key(&name) {
                    true => record.run = run,
                    false => record.phase = MachinePhase::Stopped { why: Some("it ended".to_owned()) },
                }
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Ask(desired) => self.ask(desired),
            Happening::Turn { done } => {
                self.turn(done);
            }
            Happening::Finish { machine, well } => self.finish(machine, well),
            Happening::Die { machine } => {
                if let Some((name, _)) = self.machines.get_index(machine) {
                    let name = name.clone();
                    self.alive.shift_remove(&name);
                }
            }
            Happening::Restart => {
                self.busy.clear();
                if self.network == NetworkView::Ready {
                    self.network = NetworkView::Stale;
                }
            }
        }
    }

    /// Lets everything come to its end, well.
    fn settle(&mut self) {
        for _ in 0..100 {
            let actions = self.turn(usize::MAX);
            if actions == 0 && self.busy.is_empty() {
                return;
            }
            for machine in 0..self.machines.len() {
                self.finish(machine, true);
            }
        }
        panic!("it never comes to rest: {:?} {:?}", self.machines, self.busy);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happened_a_start_makes_everything_run(happenings in prop::collection::vec(happening(), 0..60)) {
        let mut world = World::new();
        happenings.into_iter().for_each(|h| world.happen(h));
        world.settle();
        world.ask(Desired::Running);
        world.settle();
        prop_assert_eq!(&world.environment.phase, &EnvironmentPhase::Running, "{:#?}", world.machines);
        prop_assert_eq!(world.alive.len(), 3);
        let view = world.view();
        prop_assert_eq!(outcome(OperationKind::Start, &view, &world.environment.phase), Some(Ok(())));
        prop_assert!(steps(OperationKind::Start, &view).iter().all(|s| s.state == wardian_model::operation::StepState::Done));
    }

    #[test]
    fn whatever_happened_a_stop_leaves_no_process_and_no_network(happenings in prop::collection::vec(happening(), 0..60)) {
        let mut world = World::new();
        happenings.into_iter().for_each(|h| world.happen(h));
        world.ask(Desired::Stopped);
        world.settle();
        prop_assert_eq!(&world.environment.phase, &EnvironmentPhase::Stopped);
        prop_assert!(world.alive.is_empty());
        prop_assert_eq!(&world.network, &NetworkView::Absent);
    }

    #[test]
    fn whatever_happened_a_removal_forgets_everything(happenings in prop::collection::vec(happening(), 0..60)) {
        let mut world = World::new();
        happenings.into_iter().for_each(|h| world.happen(h));
        world.ask(Desired::Removed);
        world.settle();
        prop_assert!(world.forgotten && world.alive.is_empty());
    }

    #[test]
    fn a_machine_starts_only_after_those_it_waits_for_are_ready(happenings in prop::collection::vec(happening(), 0..60)) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
            let actions = next(&world.view());
            let web: MachineName = "web".parse().unwrap();
            let db: MachineName = "db".parse().unwrap();
            let starts = actions.contains(&Action::Start(web.clone())) && !world.alive.contains_key(&web);
            if starts && world.environment.desired == Desired::Running {
                prop_assert!(world.view().machines[&db].is_ready(world.environment.run));
            }
        }
    }
}
