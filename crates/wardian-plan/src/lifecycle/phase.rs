//! What an environment is, from what was observed of its parts.

use wardian_model::{
    cut::CutPhase,
    environment::{Desired, EnvironmentPhase, Problem},
    machine::MachinePhase,
    name::MachineName,
};

use super::{Busy, MachineView, NetworkView, View};

/// The phase to record.
#[must_use]
pub fn phase(view: &View<'_>) -> EnvironmentPhase {
    match view.environment.desired {
        Desired::Removed => EnvironmentPhase::Removing,
        Desired::Stopped if view.machines.values().all(|m| m.is_down() && m.record.resume.is_none()) => {
            EnvironmentPhase::Stopped
        }
        Desired::Stopped => EnvironmentPhase::Stopping,
        Desired::Suspended if view.machines.values().all(|m| m.is_down() && m.busy.is_none() && !m.must_save()) => {
            EnvironmentPhase::Suspended
        }
        Desired::Suspended => EnvironmentPhase::Suspending,
        Desired::Running => running(view),
    }
}

fn running(view: &View<'_>) -> EnvironmentPhase {
    // What the end of a process means is known when it is written down; until then nothing is concluded from it.
    if view.machines.values().any(|machine| !machine.alive && machine.record.phase.process().is_some()) {
        return view.environment.phase.clone();
    }
    if let Some(waiting) = waiting_for_cut(view) {
        return waiting;
    }
    let run = view.environment.run;
    let of_network = match &view.network {
        NetworkView::Broken(problem) => Some(problem.clone()),
        _ => None,
    };
    let of_machines = || view.machines.iter().find_map(|(name, machine)| problem_of(name, machine, run));
    if let Some(problem) = of_network.or_else(of_machines) {
        return match view.environment.phase {
            EnvironmentPhase::Running | EnvironmentPhase::Degraded => EnvironmentPhase::Degraded,
            _ => EnvironmentPhase::Failed { problem },
        };
    }
    if view.machines.values().all(|m| m.is_ready(run)) {
        return EnvironmentPhase::Running;
    }
    EnvironmentPhase::Starting
}

fn waiting_for_cut(view: &View<'_>) -> Option<EnvironmentPhase> {
    let from = view.waits_for()?;
    match view.origin_cut {
        Some(CutPhase::Done { .. }) => None,
        Some(CutPhase::Wanted) => Some(EnvironmentPhase::Cloning),
        Some(CutPhase::Failed { problem }) => Some(EnvironmentPhase::Failed { problem: problem.clone() }),
        None => Some(EnvironmentPhase::Failed {
            problem: match from.restore().is_some() {
                true => Problem::new("the snapshot to go back to is gone").hint("`wardian start` goes on without it"),
                false => {
                    Problem::new("the cut this clone starts from is gone").hint("remove the clone and make it again")
                }
            },
        }),
    }
}

/// What is wrong with a machine that should run.
pub(super) fn problem_of(name: &MachineName, machine: &MachineView<'_>, run: u32) -> Option<Problem> {
    if machine.record.run < run {
        return None;
    }
    match &machine.record.phase {
        // Its end is written down before the rest of it is removed: that counts as ended, not as about to start.
        MachinePhase::Stopped { why } if matches!(machine.busy, None | Some(Busy::Settling)) && !machine.alive => {
            let why = why.as_deref().unwrap_or("it stopped");
            Some(
                Problem::new(format!("{name} does not run: {why}"))
                    .hint("start it again with `wardian start`; `wardian status` shows the end of its console"),
            )
        }
        phase => phase.problem().cloned(),
    }
}
