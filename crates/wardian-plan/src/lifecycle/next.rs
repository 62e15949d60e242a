//! What to do next.

use wardian_model::{cut::CutPhase, environment::Desired, machine::MachinePhase, name::MachineName};

use super::{Action, Busy, MachineView, NetworkView, View};

/// Everything that can be done now, side by side. Nothing when there is nothing to do but wait.
#[must_use]
pub fn next(view: &View<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(cut) = view.wanted_cut {
        match view.environment.desired {
            Desired::Removed => actions.push(Action::RefuseCut(cut)),
            // It would lack the memory of those that are down already.
            Desired::Suspended if is_partly_suspended(view) => actions.push(Action::RefuseCut(cut)),
            _ if can_cut(view) => return vec![Action::Cut(cut)],
            // One that was only made has no disks yet; a running one gets its own on the way.
            Desired::Stopped => make_missing_disks(view, &mut actions),
            Desired::Running | Desired::Suspended => {}
        }
    }
    if view.cutting {
        return actions;
    }
    if let Some(snapshot) = view.unsaved.clone().filter(|_| !view.saving) {
        actions.push(Action::Save(snapshot));
    }
    match view.environment.desired {
        Desired::Running => run(view, &mut actions),
        Desired::Stopped => stop(view, &mut actions),
        Desired::Suspended => suspend(view, &mut actions),
        Desired::Removed => remove(view, &mut actions),
    }
    actions
}

/// A cut wants disks that nobody is making, machines that are neither coming nor going, and no network that is coming.
fn can_cut(view: &View<'_>) -> bool {
    let fits = |m: &MachineView<'_>| view.disk_is_right(m) && matches!(m.busy, None | Some(Busy::Awaiting));
    !view.cutting && !network_is_coming(view) && view.here().all(|(_, machine)| fits(machine))
}

/// A cut with memory hands taps over in the network, and a new daemon has to look at that first. One that is broken is
/// not waited for: it comes with another request to run only.
fn network_is_coming(view: &View<'_>) -> bool {
    view.environment.desired == Desired::Running
        && matches!(view.network, NetworkView::Absent | NetworkView::Stale | NetworkView::Busy)
}

fn is_partly_suspended(view: &View<'_>) -> bool {
    !view.cutting && view.machines.values().any(|machine| machine.record.resume.is_some())
}

fn make_missing_disks(view: &View<'_>, actions: &mut Vec<Action>) {
    let missing = view.here().filter(|(_, machine)| machine.busy.is_none() && !view.disk_is_right(machine));
    if origin_is_there(view) {
        actions.extend(missing.map(|(name, _)| Action::MakeDisk(name.clone())));
    }
}

fn run(view: &View<'_>, actions: &mut Vec<Action>) {
    if matches!(view.network, NetworkView::Absent | NetworkView::Stale) {
        actions.push(Action::EnsureNetwork);
    }
    let run = view.environment.run;
    let going_back = view.machines.values().any(|machine| view.must_go_back(machine));
    if going_back {
        go_back(view, &mut *actions);
        return;
    }
    let mut boots = view.boots;
    for (name, machine) in view.here() {
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
                if !view.disk_is_right(machine) {
                    if origin_is_there(view) {
                        actions.push(Action::MakeDisk(name));
                    }
                } else if view.network == NetworkView::Ready && may_start(view, &name, machine) {
                    actions.push(start_in_turn(name, machine, &mut boots));
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

/// All machines end before any goes back, and all are back before any goes on: two that talk to each other would not be
/// of one moment otherwise.
fn go_back(view: &View<'_>, actions: &mut Vec<Action>) {
    let running = |m: &MachineView<'_>| m.alive || m.busy.is_some() || m.record.phase.process().is_some();
    let all_down = !view.machines.values().any(|m| view.must_go_back(m) && running(m));
    for (name, machine) in view.machines.iter().filter(|(_, machine)| view.must_go_back(machine)) {
        match machine.busy {
            None | Some(Busy::Awaiting) if running(machine) => actions.push(Action::Discard(name.clone())),
            None if all_down && origin_is_there(view) => actions.push(Action::MakeDisk(name.clone())),
            _ => {}
        }
    }
}

/// Disks that come from a cut wait for it; other disks wait for nothing.
fn origin_is_there(view: &View<'_>) -> bool {
    view.waits_for().is_none() || matches!(view.origin_cut, Some(CutPhase::Done { .. }))
}

/// One that boots keeps a core busy; one that goes on from memory does not, and waits for no turn.
fn start_in_turn(name: MachineName, machine: &MachineView<'_>, boots: &mut usize) -> Action {
    if machine.record.resume.is_some() {
        return Action::Start(name);
    }
    match boots.checked_sub(1) {
        Some(left) => {
            *boots = left;
            Action::Boot(name)
        }
        None => Action::AwaitTurn(name),
    }
}

/// A machine that goes on from its memory waits for nobody: it was already waited for when that was saved.
fn may_start(view: &View<'_>, name: &MachineName, machine: &MachineView<'_>) -> bool {
    machine.record.resume.is_some() || dependencies_are_ready(view, name)
}

fn dependencies_are_ready(view: &View<'_>, name: &MachineName) -> bool {
    let spec = view.environment.spec.machines.get(name);
    spec.is_none_or(|spec| {
        spec.start_after.iter().all(|after| view.machines.get(after).is_none_or(|m| m.is_ready(view.environment.run)))
    })
}

fn stop(view: &View<'_>, actions: &mut Vec<Action>) {
    let mut quiet = true;
    for (name, machine) in view.here() {
        quiet &= machine.busy.is_none() && machine.is_down();
        let name = name.clone();
        if is_occupied(machine) {
            continue;
        }
        if machine.alive {
            // Those that others need stop after the others, as they started before them.
            if dependents_are_down(view, &name) {
                actions.push(Action::Stop(name));
            }
        } else if !machine.is_down() {
            actions.push(Action::RecordExit(name));
        } else if machine.record.resume.is_some() {
            // Who stops an environment wants it to boot the next time, also one that was suspended.
            actions.push(Action::ForgetMemory(name));
        }
    }
    remove_network_if(quiet, view, actions);
}

/// All at once, without regard to who needs whom: nobody inside notices.
fn suspend(view: &View<'_>, actions: &mut Vec<Action>) {
    let mut quiet = true;
    for (name, machine) in view.here() {
        quiet &= machine.busy.is_none() && machine.is_down();
        let name = name.clone();
        let is_stopping = matches!(machine.record.phase, MachinePhase::Stopping { .. });
        if is_occupied(machine) {
            continue;
        }
        if machine.alive {
            // A guest that is shutting down has nothing to go on with.
            actions.push(if is_stopping { Action::Stop(name) } else { Action::Suspend(name) });
        } else if !machine.is_down() {
            actions.push(Action::RecordExit(name));
        } else if machine.must_save() {
            actions.push(Action::SaveMemory(name));
        }
    }
    remove_network_if(quiet, view, actions);
}

/// Who waits for readiness is interrupted; everything else finishes first.
fn is_occupied(machine: &MachineView<'_>) -> bool {
    !matches!(machine.busy, None | Some(Busy::Awaiting))
}

fn remove_network_if(quiet: bool, view: &View<'_>, actions: &mut Vec<Action>) {
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
    let mut quiet = view.wanted_cut.is_none() && !view.saving;
    for (name, machine) in view.here() {
        quiet &= !machine.alive && machine.busy.is_none();
        match machine.busy {
            // Killing is also right for one that is being asked politely at present.
            None | Some(Busy::Awaiting | Busy::Stopping) if machine.alive => actions.push(Action::Kill(name.clone())),
            _ => {}
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
