//! A small world that does what the plan says, with crashes, failures and requests at any moment: whatever happens,
//! nothing runs twice, nothing is left behind, and every wish comes true in the end.

use proptest::prelude::*;
use wardian_model::{
    Timestamp,
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Problem, Restore},
    host::Accelerator,
    id::{LayerId, MemoryId},
    machine::{Disk, MachinePhase, MachineRecord, Process},
    memory::FrozenMemory,
    operation::OperationKind,
};

use super::*;

/// Something that happens in the world.
#[derive(Debug, Clone)]
enum Happening {
    /// A user asks for something.
    Ask(Desired),
    /// A user asks to go back to a snapshot.
    Restore,
    /// The controller turns once, and what it begins succeeds up to this many actions; the rest is cut off by a crash.
    Turn { done: usize },
    /// What is under way with a machine comes to its end, well or badly.
    Finish { machine: usize, well: bool },
    /// A machine's process dies by itself.
    Die { machine: usize },
    /// The end of a process is written down; the rest of it is not removed yet.
    WriteDown { machine: usize },
    /// The daemon is killed and started again.
    Restart,
    /// This many machines of other environments boot from now on.
    Others { boot: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        1 => prop_oneof![Just(Desired::Running), Just(Desired::Stopped), Just(Desired::Suspended)].prop_map(Happening::Ask),
        1 => Just(Happening::Restore),
        8 => (0usize..6).prop_map(|done| Happening::Turn { done }),
        6 => (0usize..3, prop::bool::weighted(0.9)).prop_map(|(machine, well)| Happening::Finish { machine, well }),
        1 => (0usize..3).prop_map(|machine| Happening::Die { machine }),
        1 => (0usize..3).prop_map(|machine| Happening::WriteDown { machine }),
        1 => Just(Happening::Restart),
        1 => (0usize..=BOOTS).prop_map(|boot| Happening::Others { boot }),
    ]
}

/// Machines that the host lets boot at once.
const BOOTS: usize = 2;

struct World {
    environment: EnvironmentRecord,
    machines: IndexMap<MachineName, MachineRecord>,
    alive: IndexMap<MachineName, u32>,
    busy: IndexMap<MachineName, Busy>,
    network: NetworkView,
    forgotten: bool,
    next_pid: u32,
    cut: CutPhase,
    /// Machines of other environments that boot.
    others: usize,
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
            cut: CutPhase::Done {
                disks: IndexMap::new(),
                quiesced: Vec::new(),
                memories: IndexMap::new(),
                pause_us: 0,
            },
            others: 0,
        }
    }

    /// Machines that boot; here until their process runs.
    fn booting(&self) -> usize {
        let boots = |name: &MachineName| !self.alive.contains_key(name) && self.machines[name].resume.is_none();
        self.busy.iter().filter(|(name, busy)| **busy == Busy::Starting && boots(name)).count()
    }

    fn view(&self) -> View<'_> {
        let machines = self.machines.iter().map(|(name, record)| {
            let (alive, busy) = (self.alive.contains_key(name), self.busy.get(name).copied());
            (name.clone(), MachineView { record, here: true, alive, busy })
        });
        View {
            environment: &self.environment,
            network: self.network.clone(),
            machines: machines.collect(),
            origin_cut: Some(&self.cut),
            wanted_cut: None,
            cutting: false,
            unsaved: None,
            saving: false,
            boots: BOOTS.saturating_sub(self.booting() + self.others),
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

    fn restore(&mut self) {
        if self.environment.desired == Desired::Removed {
            return;
        }
        let number = self.environment.restore.as_ref().map_or(1, |restore| restore.number + 1);
        let snapshot = "good".parse().unwrap();
        self.environment.restore = Some(Restore { number, cut: CutId::from_bits(1), snapshot, at: None });
        self.ask(Desired::Running);
    }

    fn must_go_back(&self) -> bool {
        let view = self.view();
        view.machines.values().any(|machine| view.must_go_back(machine))
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
            Action::Boot(name) | Action::Start(name) | Action::Resume(name) => {
                assert_eq!(self.network, NetworkView::Ready, "{name} starts without a network");
                assert!(!self.must_go_back(), "{name} starts while another must go back");
                self.occupy(name, Busy::Starting);
                assert!(self.booting() <= BOOTS, "too many boot at once");
            }
            Action::AwaitTurn(name) => assert!(!self.busy.contains_key(&name), "{name} waits for a turn it has"),
            Action::AwaitReady(name) => self.occupy(name, Busy::Awaiting),
            Action::Discard(name) => {
                assert!(self.must_go_back(), "{name} is ended for nothing");
                self.occupy(name, Busy::Discarding);
            }
            Action::Stop(name) => self.occupy(name, Busy::Stopping),
            Action::Suspend(name) => {
                assert_eq!(self.environment.desired, Desired::Suspended, "{name} is suspended for nothing");
                assert!(self.alive.contains_key(&name), "{name} is suspended and does not run");
                self.occupy(name, Busy::Suspending);
            }
            Action::SaveMemory(name) => {
                assert!(!self.alive.contains_key(&name), "the memory of {name} is let go of while it runs");
                self.occupy(name, Busy::Saving);
            }
            Action::ForgetMemory(name) => {
                assert_eq!(self.environment.desired, Desired::Stopped, "the memory of {name} is given up for nothing");
                self.occupy(name, Busy::Forgetting);
            }
            Action::Save(_) => unreachable!("nobody asks for a snapshot here"),
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
            Busy::MakingDisk => {
                assert!(alive.is_none(), "a disk is replaced under a machine");
                let from = starts_from(&self.environment, record).expect("a disk is replaced for nothing");
                let disk = Disk { image: "d".to_owned(), layers: vec![LayerId::from_bits(7)] };
                let memory = from.restore().map(|_| memory());
                let made = Made { disk, memory, generation: "n".to_owned() };
                disk_made(record, &self.environment, from, &made);
            }
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
                (record.resume, record.saved) = (None, false);
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
            Busy::Stopping | Busy::Discarding => {
                self.alive.shift_remove(&name);
                record.phase = MachinePhase::Stopped { why: None };
            }
            // It died meanwhile: there is nothing to go on with.
            Busy::Suspending if alive.is_none() => record.phase = MachinePhase::Failed { problem },
            Busy::Suspending | Busy::Saving if !well => self.give_up(),
            Busy::Suspending => {
                self.alive.shift_remove(&name);
                suspended(record);
            }
            Busy::Saving => {
                assert!(record.resume.is_some(), "{name} has no memory to save");
                record.saved = true;
            }
            Busy::Forgetting => (record.resume, record.saved) = (None, false),
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
            Happening::Restore => self.restore(),
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
            Happening::WriteDown { machine } => self.write_down(machine),
            Happening::Restart => self.restart(),
            Happening::Others { boot } => self.others = boot,
        }
    }

    fn write_down(&mut self, index: usize) {
        let Some((name, record)) = self.machines.get_index_mut(index) else { return };
        if self.busy.get(name) == Some(&Busy::Settling) && !self.alive.contains_key(name) {
            record.phase = MachinePhase::Stopped { why: Some("it ended".to_owned()) };
        }
    }

    /// A suspension that can't be is given up, and everything goes on.
    fn give_up(&mut self) {
        if self.environment.desired == Desired::Suspended {
            self.ask(Desired::Running);
        }
    }

    fn restart(&mut self) {
        for (name, busy) in std::mem::take(&mut self.busy) {
            // Written down, and not ended yet.
            if busy == Busy::Suspending && self.alive.contains_key(&name) {
                suspended(&mut self.machines[&name]);
            }
        }
        // As adopting does: who lives never goes on from older memory.
        for name in self.alive.keys() {
            let record = &mut self.machines[name];
            (record.resume, record.saved) = (None, false);
        }
        if self.network == NetworkView::Ready {
            self.network = NetworkView::Stale;
        }
    }

    /// Lets everything come to its end, well.
    fn settle(&mut self) {
        self.others = 0;
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

fn memory() -> FrozenMemory {
    FrozenMemory {
        id: MemoryId::from_bits(1),
        qemu: "10.0.2".to_owned(),
        machine_type: "q35".to_owned(),
        accelerator: Accelerator::Tcg,
        cpus: 1,
        size: 1 << 27,
        generation: "g".to_owned(),
    }
}

fn suspended(record: &mut MachineRecord) {
    record.phase = MachinePhase::Stopped { why: Some("suspended".to_owned()) };
    (record.resume, record.saved) = (Some(memory()), false);
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
    fn whatever_happened_a_restore_brings_every_machine_back_and_runs_it(
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new();
        happenings.into_iter().for_each(|h| world.happen(h));
        world.restore();
        world.settle();
        prop_assert_eq!(&world.environment.phase, &EnvironmentPhase::Running, "{:#?}", world.machines);
        prop_assert!(!world.must_go_back());
        let view = world.view();
        prop_assert_eq!(outcome(OperationKind::Restore, &view, &world.environment.phase), Some(Ok(())));
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
        prop_assert!(world.machines.values().all(|machine| machine.resume.is_none()), "the next start boots");
    }

    #[test]
    fn whatever_happened_a_suspended_environment_has_no_process_and_its_memory_on_disk(
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new();
        happenings.into_iter().for_each(|h| world.happen(h));
        world.ask(Desired::Suspended);
        world.settle();
        prop_assert_eq!(&world.environment.phase, &EnvironmentPhase::Suspended);
        prop_assert!(world.alive.is_empty());
        prop_assert_eq!(&world.network, &NetworkView::Absent);
        prop_assert!(world.machines.values().all(|machine| machine.resume.is_none() || machine.saved));
        let view = world.view();
        prop_assert_eq!(outcome(OperationKind::Suspend, &view, &world.environment.phase), Some(Ok(())));
        prop_assert!(steps(OperationKind::Suspend, &view).iter().all(|s| s.state == wardian_model::operation::StepState::Done));
    }

    #[test]
    fn what_ran_is_degraded_by_machines_that_end_and_is_neither_starting_nor_failed(
        happenings in prop::collection::vec(prop_oneof![
            4 => (0usize..6).prop_map(|done| Happening::Turn { done }),
            3 => (0usize..3).prop_map(|machine| Happening::Finish { machine, well: true }),
            2 => (0usize..3).prop_map(|machine| Happening::Die { machine }),
            2 => (0usize..3).prop_map(|machine| Happening::WriteDown { machine }),
            1 => Just(Happening::Restart),
        ], 0..40),
    ) {
        let mut world = World::new();
        world.settle();
        for happening in happenings {
            world.happen(happening);
            let phase = phase(&world.view());
            prop_assert!(matches!(phase, EnvironmentPhase::Running | EnvironmentPhase::Degraded), "{phase:?}");
        }
    }

    #[test]
    fn what_ran_goes_on_from_its_memory_however_often_the_daemon_is_killed_meanwhile(
        happenings in prop::collection::vec(prop_oneof![
            4 => (0usize..6).prop_map(|done| Happening::Turn { done }),
            3 => (0usize..3).prop_map(|machine| Happening::Finish { machine, well: true }),
            1 => Just(Happening::Restart),
        ], 0..40),
    ) {
        let mut world = World::new();
        world.settle();
        world.ask(Desired::Suspended);
        happenings.into_iter().for_each(|h| world.happen(h));
        world.settle();
        prop_assert!(world.machines.values().all(|machine| machine.resume.is_some() && machine.saved));
        world.ask(Desired::Running);
        // Nobody waits for anybody: each was waited for when it was started.
        world.turn(usize::MAX);
        world.turn(usize::MAX);
        prop_assert_eq!(world.busy.values().filter(|busy| **busy == Busy::Starting).count(), 3);
        world.settle();
        prop_assert_eq!(&world.environment.phase, &EnvironmentPhase::Running);
        prop_assert!(world.machines.values().all(|machine| machine.resume.is_none() && !machine.saved));
    }

    #[test]
    fn a_cut_through_what_shall_run_waits_for_the_network_that_is_coming_and_is_made_in_the_end(
        happenings in prop::collection::vec(happening(), 0..60),
    ) {
        let wanted = CutId::from_bits(2);
        let cut_with = |world: &World, network| {
            next(&View { network, wanted_cut: Some(wanted), ..world.view() }).contains(&Action::Cut(wanted))
        };
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
            let runs = world.environment.desired == Desired::Running;
            for network in [NetworkView::Absent, NetworkView::Stale, NetworkView::Busy] {
                prop_assert!(!(runs && cut_with(&world, network.clone())), "cut while the network is {network:?}");
            }
        }
        world.ask(Desired::Running);
        world.settle();
        prop_assert!(cut_with(&world, NetworkView::Ready));
        let broken = NetworkView::Broken(Problem::new("it went wrong"));
        prop_assert!(cut_with(&world, broken), "it comes no more by itself");
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
            let boots = actions.contains(&Action::Boot(web.clone()));
            if boots && world.environment.desired == Desired::Running {
                prop_assert!(world.view().machines[&db].is_ready(world.environment.run));
            }
        }
    }
}
