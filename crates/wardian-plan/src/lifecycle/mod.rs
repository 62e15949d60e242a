//! What the controller of an environment does next, and how far it is. Observe, plan (here), act.
//!
//! [`next`] is asked again after everything that changes; it remembers nothing. What must not be done twice at
//! the same time is told apart by [`MachineView::busy`].

mod next;
mod phase;
mod progress;
#[cfg(test)]
mod simulation;
mod start;

use indexmap::IndexMap;
use wardian_model::{
    cut::CutPhase,
    environment::{EnvironmentRecord, Problem},
    id::CutId,
    machine::{MachinePhase, MachineRecord},
    name::{MachineName, SnapshotName},
};

pub use next::next;
pub use phase::phase;
pub use progress::{outcome, steps};
pub use start::{Made, StartsFrom, disk_made, starts_from, waits_for};

/// What was observed of an environment.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// Its record.
    pub environment: &'a EnvironmentRecord,
    /// Whether its network is there and served.
    pub network: NetworkView,
    /// Its machines, in file order.
    pub machines: IndexMap<MachineName, MachineView<'a>>,
    /// For a clone or a restore: the cut its machines start from, while that is recorded.
    pub origin_cut: Option<&'a CutPhase>,
    /// A cut through this environment that somebody waits for.
    pub wanted_cut: Option<CutId>,
    /// A cut through this environment is being made.
    pub cutting: bool,
    /// A snapshot whose cut is made or refused, and that isn't on disk yet.
    pub unsaved: Option<SnapshotName>,
    /// A snapshot is being written to disk.
    pub saving: bool,
    /// How many machines of it may begin to boot now: a host has only so many cores to boot with.
    pub boots: usize,
}

/// What was observed of an environment's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkView {
    /// Nothing there.
    Absent,
    /// Something may be there, not as it should be: other rules are wanted, or the daemon is new.
    Stale,
    /// Being made or removed.
    Busy,
    /// There, as it should be, and served.
    Ready,
    /// Could not be made. Another request to run tries again.
    Broken(Problem),
}

/// What was observed of a machine.
#[derive(Debug, Clone)]
pub struct MachineView<'a> {
    /// Its record.
    pub record: &'a MachineRecord,
    /// Whether it is on this host. What is done with another is another host's business; it is looked at, for who
    /// starts after it, and for how far the whole is.
    pub here: bool,
    /// Whether its process runs: of one that is elsewhere, whether its record says so.
    pub alive: bool,
    /// What is being done with it, here.
    pub busy: Option<Busy>,
}

/// What is being done with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// Its disk is made.
    MakingDisk,
    /// Its process is started.
    Starting,
    /// Its readiness is awaited.
    Awaiting,
    /// It is being stopped.
    Stopping,
    /// It is being ended at once, to go back to a snapshot.
    Discarding,
    /// It is being stopped where it is.
    Suspending,
    /// The memory it was suspended with is being written to disk.
    Saving,
    /// The memory it was to go on from is given up.
    Forgetting,
    /// A finished process is recorded, or the rest of one removed.
    Settling,
}

/// Something the controller can do. Each is idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the network as planned, and serve it.
    EnsureNetwork,
    /// Remove the network.
    RemoveNetwork,
    /// Write down a machine's writable layer, and make it.
    MakeDisk(MachineName),
    /// Start a machine's process from its disk, in one of the turns there are.
    Boot(MachineName),
    /// Start a machine's process from its memory, or adopt the one that runs.
    Start(MachineName),
    /// Look again when fewer machines of the host boot: until then this one can't.
    AwaitTurn(MachineName),
    /// Await a machine's readiness.
    AwaitReady(MachineName),
    /// Let a paused machine go on, and await one that did not get ready once more, as part of a new request to run.
    Resume(MachineName),
    /// Count a running machine among those started for the present request.
    Count(MachineName),
    /// Shut a machine down in an orderly way; by force in the end.
    Stop(MachineName),
    /// End a machine at once: its environment is being removed.
    Kill(MachineName),
    /// Record that a machine's process has ended.
    RecordExit(MachineName),
    /// End a machine at once and forget why: it goes back to a snapshot.
    Discard(MachineName),
    /// Stop a machine where it is, so that its next start goes on from there.
    Suspend(MachineName),
    /// Write the memory a suspended machine goes on from to disk, and let go of it in memory.
    SaveMemory(MachineName),
    /// Give up the memory a machine was to go on from: its next start boots.
    ForgetMemory(MachineName),
    /// Cut through this environment.
    Cut(CutId),
    /// Say that there will be no such cut.
    RefuseCut(CutId),
    /// Write a snapshot's memory to disk, or say that it failed.
    Save(SnapshotName),
    /// Remove disks, files, claims and records: the environment is gone.
    Forget,
}

impl MachineView<'_> {
    /// Ready, for the present request to run.
    fn is_ready(&self, run: u32) -> bool {
        self.alive && self.record.run == run && matches!(self.record.phase, MachinePhase::Ready { .. })
    }

    /// Whether there is neither a process nor the record of one.
    fn is_down(&self) -> bool {
        !self.alive && self.record.phase.process().is_none()
    }

    /// Whether the memory it goes on from is still to be written to disk.
    fn must_save(&self) -> bool {
        self.record.resume.is_some() && !self.record.saved
    }
}

impl<'a> View<'a> {
    /// The machines that are on this host.
    fn here(&self) -> impl Iterator<Item = (&MachineName, &MachineView<'a>)> {
        self.machines.iter().filter(|(_, machine)| machine.here)
    }

    /// Whether a machine still has to go back to the cut that a restore asks for.
    fn must_go_back(&self, machine: &MachineView<'_>) -> bool {
        self.environment.restore_due(machine.record).is_some()
    }

    /// Whether a machine's disk is what it shall start from.
    fn disk_is_right(&self, machine: &MachineView<'_>) -> bool {
        starts_from(self.environment, machine.record).is_none()
    }

    /// The cut that machines are still to start from.
    fn waits_for(&self) -> Option<StartsFrom<'_>> {
        waits_for(self.environment, self.machines.values().map(|machine| machine.record))
    }
}
