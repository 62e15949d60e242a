//! Sees to it that every environment has a controller, and wakes it when something it looks at has changed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinSet};
use wardian_model::{
    cut::CutRecord,
    environment::{EnvironmentRecord, Origin},
    id::EnvironmentId,
    machine::MachineRecord,
    record::Record,
};
use wardian_store::{EventKind, Result};

use crate::{
    controller::{Controller, settle},
    records::read_or_tell,
    refusal::problem,
    shared::Shared,
};

/// Runs until it is dropped; controllers end with it, machines don't.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut supervisor = Supervisor { shared, controllers: HashMap::new(), tasks: JoinSet::new() };
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
    tasks: JoinSet<EnvironmentId>,
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
        all.records.iter().for_each(|environment| self.see(environment));
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
                        EventKind::Delete { .. } if self.shared.config.member.is_some() => {
                            let _ = self.shared.collector.disks();
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
                    Ok(id) => drop(self.controllers.remove(&id)),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
            }
        }
    }

    fn see(&mut self, environment: &EnvironmentRecord) {
        if !self.shared.has_part(environment) {
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
            id
        });
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
