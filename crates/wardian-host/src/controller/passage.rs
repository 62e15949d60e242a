//! The passage of an environment: what it has of a network on a host where only others are, whom it is joined with
//! ([`wardian_plan::passage`]). There are no machines, so nobody is served, and nothing is ever written down.

use std::sync::Arc;

use tokio::sync::Notify;
use wardian_model::{
    environment::EnvironmentRecord, id::EnvironmentId, join::Joined, name::EnvironmentName, vsid::Vsid,
};
use wardian_plan::{
    network::{self, NetworkPlan},
    passage,
};

use super::{
    RETRY,
    network::{make, unmake},
};
use crate::{refusal::problem, shared::Shared};

/// Makes it and keeps it as the record says, until it is wanted no more; then it is removed. Looks again when it is
/// woken.
pub(crate) async fn keep(shared: Arc<Shared>, environment: EnvironmentRecord, wake: Arc<Notify>) {
    let mut passage = Passage {
        name: environment.name.clone(),
        id: environment.id,
        vsids: environment.vsids().collect(),
        made: None,
        shared,
    };
    loop {
        match passage.look().await {
            Ok(true) => wake.notified().await,
            Ok(false) => return,
            Err(()) => tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(RETRY) => {}
            },
        }
    }
}

struct Passage {
    shared: Arc<Shared>,
    name: EnvironmentName,
    id: EnvironmentId,
    vsids: Vec<Vsid>,
    made: Option<NetworkPlan>,
}

impl Passage {
    /// Does what there is to do. False when it is over.
    async fn look(&mut self) -> Result<bool, ()> {
        let found = self.shared.records.environment(&self.name).await.map_err(|error| {
            tracing::warn!(environment = %self.name, error = %problem(&error), "records can't be read");
        })?;
        let record = found.map(|at| at.record).filter(|record| record.id == self.id);
        if record.as_ref().is_some_and(|record| self.shared.has_part(record)) {
            // The network is its controller's.
            return Ok(false);
        }
        match record.filter(|record| self.shared.has_passage(record)) {
            Some(record) => self.ensure(&record).await.map(|()| true),
            None => self.remove().await.map(|()| false),
        }
    }

    async fn ensure(&mut self, record: &EnvironmentRecord) -> Result<(), ()> {
        let plan = network::part(record, &self.shared.config.lab, self.shared.host().as_ref());
        if self.made.as_ref() == Some(&plan) {
            return Ok(());
        }
        make(&self.shared, record, &plan).await.map_err(|error| {
            tracing::warn!(environment = %self.name, error = %problem(&error), "the passage can't be made yet");
        })?;
        self.shared.applied.network(self.id, Some(plan.clone()));
        self.made = Some(plan);
        Ok(())
    }

    async fn remove(&mut self) -> Result<(), ()> {
        self.made = None;
        unmake(&self.shared, self.id, &self.vsids).await.map_err(|error| {
            tracing::warn!(environment = %self.name, error = %problem(&error), "the passage is not removed yet");
        })?;
        self.shared.applied.network(self.id, None);
        Ok(())
    }
}

/// What is said of an environment to those it is joined with, and to whom.
pub(super) type Told = (Joined, Vec<EnvironmentId>);

/// Sees to it that those it is joined with know where it is: it may have come into a cluster since, or gone to another
/// host.
pub(super) async fn tell(
    shared: &Shared,
    environment: &EnvironmentRecord,
    told: &mut Option<Told>,
) -> wardian_store::Result<()> {
    let own = environment.as_joined();
    let news = (own.clone(), environment.joined.iter().map(|joined| joined.id).collect());
    if told.as_ref() == Some(&news) {
        return Ok(());
    }
    for joined in &environment.joined {
        let corrected = |other: &mut EnvironmentRecord| {
            let of_it = other.joined.iter_mut().find(|known| known.id == own.id);
            match of_it.filter(|known| other.id == joined.id && **known != own) {
                Some(known) => {
                    known.clone_from(&own);
                    true
                }
                None => false,
            }
        };
        shared.records.update(&EnvironmentRecord::key_of(&joined.name), corrected).await?;
    }
    *told = Some(news);
    Ok(())
}

/// Removes what is left here of environments that have nothing on this host any more: they were parted from somebody
/// here, or removed, while no daemon was there to see it. Only where all records could be read.
pub(crate) async fn sweep(shared: &Shared, environments: &[EnvironmentRecord]) {
    if shared.config.member.is_none() {
        return;
    }
    let here = || environments.iter().filter(|record| shared.has_part(record) || shared.has_passage(record));
    let swept = async {
        if let Some(underlay) = shared.underlay.get() {
            let spanning = here().filter(|record| passage::spans_hosts(record));
            let wanted = spanning.flat_map(EnvironmentRecord::vsids).collect();
            underlay.disconnect_others(wanted).await.map_err(|error| problem(&error))?;
        }
        for id in shared.network.list().await.map_err(|error| problem(&error))? {
            if !here().any(|record| record.id == id) {
                shared.network.remove(id).await.map_err(|error| problem(&error))?;
                tracing::info!(environment = %id, "removed what was left of its network");
            }
        }
        Ok::<_, wardian_model::environment::Problem>(())
    };
    if let Err(error) = swept.await {
        tracing::warn!(%error, "networks that nobody needs are not removed yet");
    }
}
