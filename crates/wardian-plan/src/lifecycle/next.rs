//! What to do next.

use wardian_model::{
    cut::CutPhase,
    environment::{Desired, Origin},
    machine::MachinePhase,
    name::MachineName,
};

use super::{Action, Busy, MachineView, NetworkView, View};

/// Everything that can be done now, side by side. Nothing when there is nothing to do but wait.
#[must_use]
pub fn next(view: &View<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(cut) = view.wanted_cut {
        match view.environment.desired {
            Desired::Removed => actions.push(Action::RefuseCut(cut)),
            Desired::Running | Desired::Stopped if can_cut(view) => return vec![Action::Cut(cut)],
            // One that was only made has no disks yet; a running one gets its own on the way.
            Desired::Stopped => make_missing_disks(view, &mut actions),
            Desired::Running => {}
        }
    }
    if view.cutting {
        return actions;
    }
    match view.environment.desired {
        Desired::Running => run(view, &mut actions),
        Desired::Stopped => stop(view, &mut actions),
        Desired::Removed => remove(view, &mut actions),
    }
    actions
}

/// A cut wants disks that nobody is making, and machines that are neither coming nor going.
fn can_cut(view: &View<'_>) -> bool {
    !view.cutting && view.machines.values().all(|m| m.has_disk() && matches!(m.busy, None | Some(Busy::Awaiting)))
}

fn make_missing_disks(view: &View<'_>, actions: &mut Vec<Action>) {
    let missing = view.machines.iter().filter(|(_, machine)| machine.busy.is_none() && !machine.has_disk());
    if origin_is_there(view) {
        actions.extend(missing.map(|(name, _)| Action::MakeDisk(name.clone())));
    }
}

fn run(view: &View<'_>, actions: &mut Vec<Action>) {
    if matches!(view.network, NetworkView::Absent | NetworkView::Stale) {
        actions.push(Action::EnsureNetwork);
    }
    let run = view.environment.run;
    for (name, machine) in &view.machines {
        if machine.busy.is_some() {
            continue;
        }
        let name = name.clone();
        let due = machine.record.run < run;
        match (&machine.record.phase, machine.alive) {
            // A process nobody wrote down (the daemon ended in between) is adopted by the same step that starts one.
            (MachinePhase::Stopped { .. } | MachinePhase::Failed { .. }, true) => actions.push(Action::Start(name)),
            (MachinePhase::Stopped { .. } | MachinePhase::Failed { .. }, false) if !due => {}
            (MachinePhase::Stopped { .. } | MachinePhase::Failed { .. }, false) => {
                if !machine.has_disk() {
                    if origin_is_there(view) {
                        actions.push(Action::MakeDisk(name));
                    }
                } else if view.network == NetworkView::Ready && dependencies_are_ready(view, &name) {
                    actions.push(Action::Start(name));
                }
            }
            (_, false) => actions.push(Action::RecordExit(name)),
            // Resumed, it is awaited once more, with a new time-out.
            (MachinePhase::Paused { .. } | MachinePhase::Unready { .. }, true) if due => {
                actions.push(Action::Resume(name));
            }
            (MachinePhase::Ready { .. } | MachinePhase::Booting { .. }, true) if due => {
                actions.push(Action::Count(name));
            }
            (MachinePhase::Booting { .. }, true) => {
                // Readiness is asked for through the network, so that must be served.
                if view.network == NetworkView::Ready {
                    actions.push(Action::AwaitReady(name));
                }
            }
            // Was being stopped when somebody asked for it to run again: it finishes stopping first.
            (MachinePhase::Stopping { .. }, true) => actions.push(Action::Stop(name)),
            (MachinePhase::Ready { .. } | MachinePhase::Unready { .. } | MachinePhase::Paused { .. }, true) => {}
        }
    }
}

/// A clone's disks wait for the cut; other disks wait for nothing.
fn origin_is_there(view: &View<'_>) -> bool {
    match view.environment.origin {
        Origin::File => true,
        Origin::Clone { .. } => matches!(view.origin_cut, Some(CutPhase::Done { .. })),
    }
}

fn dependencies_are_ready(view: &View<'_>, name: &MachineName) -> bool {
    let spec = view.environment.spec.machines.get(name);
    spec.is_none_or(|spec| {
        spec.start_after.iter().all(|after| view.machines.get(after).is_none_or(|m| m.is_ready(view.environment.run)))
    })
}

fn stop(view: &View<'_>, actions: &mut Vec<Action>) {
    let mut quiet = true;
    for (name, machine) in &view.machines {
        quiet &= machine.busy.is_none() && !machine.alive && machine.record.phase.process().is_none();
        match machine.busy {
            // Who waits for readiness is interrupted; everything else is short and finishes first.
            Some(Busy::MakingDisk | Busy::Starting | Busy::Stopping | Busy::Settling) => {}
            None | Some(Busy::Awaiting) if machine.alive => {
                // Those that others need stop after the others, as they started before them.
                if dependents_are_down(view, name) {
                    actions.push(Action::Stop(name.clone()));
                }
            }
            None | Some(Busy::Awaiting) if machine.record.phase.process().is_some() => {
                actions.push(Action::RecordExit(name.clone()));
            }
            None | Some(Busy::Awaiting) => {}
        }
    }
    if quiet && matches!(view.network, NetworkView::Ready | NetworkView::Stale | NetworkView::Broken(_)) {
        actions.push(Action::RemoveNetwork);
    }
}

fn dependents_are_down(view: &View<'_>, name: &MachineName) -> bool {
    view.environment
        .spec
        .machines
        .iter()
        .filter(|(_, spec)| spec.start_after.contains(name))
        .all(|(dependent, _)| view.machines.get(dependent).is_none_or(|m: &MachineView<'_>| !m.alive))
}

fn remove(view: &View<'_>, actions: &mut Vec<Action>) {
    let mut quiet = view.wanted_cut.is_none();
    for (name, machine) in &view.machines {
        quiet &= !machine.alive && machine.busy.is_none();
        match machine.busy {
            Some(Busy::MakingDisk | Busy::Starting | Busy::Settling) => {}
            // Killing is also right for one that is being asked politely at present.
            None | Some(Busy::Awaiting | Busy::Stopping) if machine.alive => actions.push(Action::Kill(name.clone())),
            None | Some(Busy::Awaiting | Busy::Stopping) => {}
        }
    }
    if !quiet {
        return;
    }
    match view.network {
        NetworkView::Ready | NetworkView::Stale | NetworkView::Broken(_) => actions.push(Action::RemoveNetwork),
        NetworkView::Busy => {}
        NetworkView::Absent => actions.push(Action::Forget),
    }
}
