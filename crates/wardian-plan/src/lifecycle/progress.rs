//! How far an operation is: its steps and its end, derived from what is observed.

use wardian_model::{
    cut::CutPhase,
    environment::{EnvironmentPhase, Problem},
    machine::MachinePhase,
    name::MachineName,
    operation::{OperationKind, Step, StepState},
};

use super::{Busy, MachineView, NetworkView, View, phase::problem_of};

/// The steps of an operation of that kind, as they stand.
#[must_use]
pub fn steps(kind: OperationKind, view: &View<'_>) -> Vec<Step> {
    match kind {
        OperationKind::Up if view.environment.run == 0 => Vec::new(),
        OperationKind::Up | OperationKind::Start => {
            std::iter::once(network_up(view)).chain(machines_up(view)).collect()
        }
        OperationKind::Clone | OperationKind::Restore => {
            [cut(kind, view), network_up(view)].into_iter().chain(machines_up(view)).collect()
        }
        // A snapshot is taken beside whatever else is under way; who takes it tells how far it is.
        OperationKind::Snapshot => Vec::new(),
        OperationKind::Down => machines_down(view).chain([network_down(view)]).collect(),
        OperationKind::Suspend => machines_suspended(view).chain([network_down(view)]).collect(),
        OperationKind::Remove => machines_down(view)
            .chain([network_down(view), step("disks and records", StepState::Waiting, None)])
            .collect(),
    }
}

/// How an operation of that kind ends, once it does. A removal ends with the records themselves.
#[must_use]
pub fn outcome(kind: OperationKind, view: &View<'_>, phase: &EnvironmentPhase) -> Option<Result<(), Problem>> {
    match kind {
        // Only made, to be started later.
        OperationKind::Up if view.environment.run == 0 && *phase == EnvironmentPhase::Stopped => Some(Ok(())),
        OperationKind::Up | OperationKind::Start | OperationKind::Clone | OperationKind::Restore => match phase {
            EnvironmentPhase::Running => Some(Ok(())),
            EnvironmentPhase::Failed { problem } => Some(Err(problem.clone())),
            EnvironmentPhase::Degraded => {
                let run = view.environment.run;
                view.machines.iter().find_map(|(name, m)| problem_of(name, m, run)).map(Err)
            }
            EnvironmentPhase::Stopping
            | EnvironmentPhase::Stopped
            | EnvironmentPhase::Suspending
            | EnvironmentPhase::Suspended
            | EnvironmentPhase::Removing => {
                Some(Err(Problem::new("another request came in between: the environment shall not run any more")))
            }
            EnvironmentPhase::Pending | EnvironmentPhase::Cloning | EnvironmentPhase::Starting => None,
        },
        OperationKind::Down => match phase {
            EnvironmentPhase::Stopped if view.network == NetworkView::Absent => Some(Ok(())),
            EnvironmentPhase::Stopped | EnvironmentPhase::Stopping => None,
            _ => Some(Err(Problem::new(
                "another request came in between: the environment shall not be stopped any more",
            ))),
        },
        OperationKind::Suspend => match phase {
            EnvironmentPhase::Suspended if view.network == NetworkView::Absent => Some(Ok(())),
            EnvironmentPhase::Suspended | EnvironmentPhase::Suspending => None,
            _ => Some(Err(Problem::new(
                "another request came in between: the environment shall not be suspended any more",
            ))),
        },
        OperationKind::Remove | OperationKind::Snapshot => None,
    }
}

fn step(name: impl Into<String>, state: StepState, note: Option<String>) -> Step {
    Step { name: name.into(), state, note }
}

fn cut(kind: OperationKind, view: &View<'_>) -> Step {
    let restore = kind == OperationKind::Restore;
    let (state, note) = match view.origin_cut {
        _ if view.machines.values().all(|machine| view.disk_is_right(machine)) => (StepState::Done, None),
        Some(CutPhase::Wanted) => (StepState::Doing, None),
        Some(CutPhase::Done { .. }) if restore => (StepState::Doing, None),
        Some(CutPhase::Done { quiesced, .. }) if quiesced.is_empty() => (StepState::Done, None),
        Some(CutPhase::Done { quiesced, .. }) => {
            let names: Vec<_> = quiesced.iter().map(MachineName::as_str).collect();
            (StepState::Done, Some(format!("file systems frozen in {}", names.join(", "))))
        }
        Some(CutPhase::Failed { problem }) => (StepState::Failed, Some(problem.message.clone())),
        None => (StepState::Failed, None),
    };
    step(if restore { "go back" } else { "cut" }, state, note)
}

fn network_up(view: &View<'_>) -> Step {
    let state = match &view.network {
        NetworkView::Absent => StepState::Waiting,
        NetworkView::Stale | NetworkView::Busy => StepState::Doing,
        NetworkView::Ready => StepState::Done,
        NetworkView::Broken(problem) => return step("network", StepState::Failed, Some(problem.message.clone())),
    };
    step("network", state, None)
}

fn network_down(view: &View<'_>) -> Step {
    let state = match &view.network {
        NetworkView::Absent => StepState::Done,
        NetworkView::Busy => StepState::Doing,
        NetworkView::Stale | NetworkView::Ready | NetworkView::Broken(_) => StepState::Waiting,
    };
    step("network", state, None)
}

fn machines_up<'a>(view: &'a View<'_>) -> impl Iterator<Item = Step> + 'a {
    view.machines.iter().flat_map(move |(name, machine)| {
        let (start, start_note) = starting(view, name, machine);
        let (ready, ready_note) = readiness(view, name, machine);
        [step(format!("{name}: start"), start, start_note), step(format!("{name}: ready"), ready, ready_note)]
    })
}

fn starting(view: &View<'_>, name: &MachineName, machine: &MachineView<'_>) -> (StepState, Option<String>) {
    let current = machine.record.run == view.environment.run;
    match &machine.record.phase {
        _ if matches!(machine.busy, Some(Busy::MakingDisk)) => (StepState::Doing, Some("disk".to_owned())),
        _ if matches!(machine.busy, Some(Busy::Starting)) => (StepState::Doing, None),
        phase if phase.process().is_some() => (StepState::Done, None),
        MachinePhase::Failed { problem } if current => (StepState::Failed, Some(problem.message.clone())),
        MachinePhase::Stopped { why: Some(why) } if current => (StepState::Failed, Some(why.clone())),
        _ => {
            let run = view.environment.run;
            let after = view.environment.spec.machines.get(name).map(|spec| &spec.start_after);
            let missing: Vec<_> = after
                .into_iter()
                .flatten()
                .filter(|after| view.machines.get(*after).is_some_and(|m| !m.is_ready(run)))
                .map(MachineName::as_str)
                .collect();
            let note = (!missing.is_empty()).then(|| format!("waits for {}", missing.join(", ")));
            (StepState::Waiting, note)
        }
    }
}

fn readiness(view: &View<'_>, name: &MachineName, machine: &MachineView<'_>) -> (StepState, Option<String>) {
    let probe = || view.environment.spec.machines.get(name).map(|spec| spec.ready.probe.to_string());
    match &machine.record.phase {
        MachinePhase::Ready { after_ms, .. } => (StepState::Done, Some(seconds(*after_ms))),
        MachinePhase::Booting { .. } => (StepState::Doing, probe()),
        MachinePhase::Unready { problem, .. } | MachinePhase::Paused { problem, .. } => {
            (StepState::Failed, Some(problem.message.clone()))
        }
        MachinePhase::Stopped { .. } | MachinePhase::Failed { .. } | MachinePhase::Stopping { .. } => {
            (StepState::Waiting, None)
        }
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn machines_down<'a>(view: &'a View<'_>) -> impl Iterator<Item = Step> + 'a {
    view.machines.iter().map(|(name, machine)| {
        let state = match (&machine.record.phase, machine.alive) {
            (phase, false) if phase.process().is_none() => StepState::Done,
            (MachinePhase::Stopping { .. }, _) => StepState::Doing,
            _ if matches!(machine.busy, Some(Busy::Stopping | Busy::Discarding | Busy::Settling)) => StepState::Doing,
            _ => StepState::Waiting,
        };
        step(format!("{name}: stop"), state, None)
    })
}

fn machines_suspended<'a>(view: &'a View<'_>) -> impl Iterator<Item = Step> + 'a {
    view.machines.iter().map(|(name, machine)| {
        let (state, note) = match machine.busy {
            Some(Busy::Saving) => (StepState::Doing, Some("memory to disk")),
            Some(Busy::Suspending) => (StepState::Doing, None),
            _ if !machine.is_down() || machine.must_save() => (StepState::Waiting, None),
            _ if machine.record.resume.is_none() => (StepState::Done, Some("did not run")),
            _ => (StepState::Done, None),
        };
        step(format!("{name}: suspend"), state, note.map(str::to_owned))
    })
}
