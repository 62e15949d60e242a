//! Sees to it that every environment has a controller, and wakes it when something it looks at has changed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinSet};
use wardian_model::{
    cut::CutRecord,
    environment::{EnvironmentRecord, Origin},
    id::EnvironmentId,
    machine::MachineRecord,
    name::EnvironmentName,
    record::Record,
};
use wardian_store::{EventKind, Result};

use crate::{
    controller::{Controller, passage, settle},
    records::read_or_tell,
    refusal::problem,
    shared::Shared,
};

/// Runs until it is dropped; controllers end with it, machines don't.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut supervisor =
        Supervisor { shared, controllers: HashMap::new(), passages: HashMap::new(), tasks: JoinSet::new() };
    loop {
        if let Err(error) = supervisor.follow().await {
            tracing::warn!(error = %problem(&error), "the records can't be followed; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    controllers: HashMap<EnvironmentId, Watched>,
    /// Those that have a passage on this host, or had one until now.
    passages: HashMap<EnvironmentId, Passage>,
    tasks: JoinSet<Ended>,
}

/// Who has ended.
enum Ended {
    Controller(EnvironmentId),
    Passage(EnvironmentId),
}

/// Whose a passage is, and how its keeper is woken.
struct Passage {
    wake: Arc<Notify>,
    name: EnvironmentName,
}

/// What a controller looks at beside its own records.
struct Watched {
    wake: Arc<Notify>,
    origin: Origin,
    stretched: bool,
}

impl Supervisor {
    async fn follow(&mut self) -> Result<()> {
        let store = self.shared.records.store().clone();
        let all = self.shared.records.readable::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        // Before there is any controller: none may have begun with what a later record says.
        if all.is_whole && self.controllers.is_empty() && self.passages.is_empty() {
            passage::sweep(&self.shared, &all.records).await;
        }
        all.records.iter().for_each(|environment| self.see(environment));
        self.passages.values().for_each(|passage| passage.wake.notify_one());
        settle(&self.shared).await;
        let from = all.revision.next();
        let mut environments = store.watch(EnvironmentRecord::PREFIX, from).await?;
        let mut cuts = store.watch(CutRecord::PREFIX, from).await?;
        let mut machines = store.watch(MachineRecord::PREFIX, from).await?;
        loop {
            tokio::select! {
                events = environments.next() => for event in events? {
                    match &event.kind {
                        EventKind::Put(entry) => read_or_tell(entry).iter().for_each(|changed| self.see(changed)),
                        // Its own host has looked; on others may lie what was a part of it.
                        EventKind::Delete { key } if self.shared.config.member.is_some() => {
                            let _ = self.shared.collector.disks();
                            self.wake_passages(key);
                        }
                        EventKind::Delete { .. } => {}
                    }
                },
                events = cuts.next() => for event in events? {
                    if let EventKind::Put(entry) = &event.kind {
                        read_or_tell(entry).iter().for_each(|cut| self.see_cut(cut));
                    }
                },
                events = machines.next(), if self.shared.config.member.is_some() => for event in events? {
                    if let EventKind::Put(entry) = &event.kind {
                        read_or_tell(entry).iter().for_each(|machine| self.see_machine(machine));
                    }
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => match ended {
                    Ok(Ended::Controller(id)) => drop(self.controllers.remove(&id)),
                    Ok(Ended::Passage(id)) => self.see_again(id).await?,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
            }
        }
    }

    fn see(&mut self, environment: &EnvironmentRecord) {
        let passage = self.passages.get(&environment.id);
        passage.iter().for_each(|passage| passage.wake.notify_one());
        if !self.shared.has_part(environment) {
            if passage.is_none() && self.shared.has_passage(environment) {
                self.keep_passage(environment);
            }
            return;
        }
        // Its keeper leaves the network to the controller first.
        if passage.is_some() {
            return;
        }
        if let Some(watched) = self.controllers.get(&environment.id) {
            watched.wake.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        let watched = Watched {
            wake: wake.clone(),
            origin: environment.origin.clone(),
            stretched: environment.stretch.is_some(),
        };
        self.controllers.insert(environment.id, watched);
        let controller = Controller::new(self.shared.clone(), environment, wake);
        let id = environment.id;
        self.tasks.spawn(async move {
            controller.run().await;
            Ended::Controller(id)
        });
    }

    fn keep_passage(&mut self, environment: &EnvironmentRecord) {
        let (wake, id) = (Arc::new(Notify::new()), environment.id);
        self.passages.insert(id, Passage { wake: wake.clone(), name: environment.name.clone() });
        let keeper = passage::keep(self.shared.clone(), environment.clone(), wake);
        self.tasks.spawn(async move {
            keeper.await;
            Ended::Passage(id)
        });
    }

    /// Whoever had the record of that key may be gone.
    fn wake_passages(&self, key: &str) {
        let of_key = self.passages.values().filter(|passage| EnvironmentRecord::key_of(&passage.name) == key);
        of_key.for_each(|passage| passage.wake.notify_one());
    }

    /// It may have been asked for again meanwhile, or have a part here now.
    async fn see_again(&mut self, id: EnvironmentId) -> Result<()> {
        let Some(Passage { name, .. }) = self.passages.remove(&id) else { return Ok(()) };
        let found = self.shared.records.environment(&name).await?;
        found.iter().filter(|at| at.record.id == id).for_each(|at| self.see(&at.record));
        Ok(())
    }

    /// What another host does with a machine concerns all hosts that its environment lies on.
    fn see_machine(&self, machine: &MachineRecord) {
        if let Some(watched) = self.controllers.get(&machine.environment_id).filter(|watched| watched.stretched) {
            watched.wake.notify_one();
        }
    }

    /// A cut concerns its source, which makes it, and its clones, which wait for it.
    fn see_cut(&self, cut: &CutRecord) {
        for (id, watched) in &self.controllers {
            let waits = matches!(watched.origin, Origin::Clone { cut: origin, .. } if origin == cut.id);
            if waits || *id == cut.source_id {
                watched.wake.notify_one();
            }
        }
    }
}
