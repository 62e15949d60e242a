//! Tells a name server elsewhere about aliases, so that in the end it knows what shall be, whoever is killed meanwhile.
//!
//! A turn writes down what is about to be told, tells it, and writes down that it was acknowledged
//! ([`wardian_plan::alias::Published`]). Nothing here waits for it but this task: a server that can't be reached keeps
//! nobody from working.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use wardian_model::{environment::EnvironmentRecord, id::EnvironmentId, name::EnvironmentName, record::Record};
use wardian_network::update::{UpdateError, Updater};
use wardian_plan::alias::{self, AliasConfig, AliasRecord, Published, plan_updates};
use wardian_store::{Result, Transaction};

use super::{Standing, changes, next, record::PublishedRecord};
use crate::{fault, records::Records, refusal::problem, shared::Shared};

/// Between two attempts: at first, and at most.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// What is written in one transaction at most: well below what a store takes.
const AT_ONCE: (usize, usize) = (64, 512 << 10);

/// Runs until it is dropped; ends at once when no server is configured. Of several hosts, the one that leads tells the
/// server.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let Some(member) = &shared.config.member else { return publish(&shared).await };
    let mut leads = member.leads.clone();
    while leads.wait_for(|leads| *leads).await.is_ok() {
        let mut ends = leads.clone();
        tokio::select! {
            () = publish(&shared) => return,
            _ = ends.wait_for(|leads| !leads) => {}
        }
    }
}

async fn publish(shared: &Shared) {
    let Some(updater) = shared.config.updater.clone() else { return forgotten(&shared.records).await };
    let standing = shared.names.clone();
    let mut publisher = Publisher::new(shared.records.clone(), shared.config.aliases.clone(), updater, standing);
    loop {
        if let Err(error) = publisher.follow().await {
            tracing::warn!(error = %problem(&error), "what a name server is told can't follow the records; trying again");
            tokio::time::sleep(PAUSE[0]).await;
        }
    }
}

/// A server was told of machines, and is not configured any more.
async fn forgotten(records: &Records) {
    match records.list::<PublishedRecord>(PublishedRecord::PREFIX).await {
        Ok(left) if left.is_empty() => {}
        Ok(left) => tracing::warn!(
            environments = left.len(),
            "a name server was told of machines and can't be told that they are gone: configure [dns-update] again"
        ),
        Err(error) => tracing::warn!(error = %problem(&error), "what name servers were told can't be read"),
    }
}

/// What is told, and to whom.
struct Publisher {
    records: Records,
    aliases: AliasConfig,
    updater: Updater,
    standing: watch::Sender<Standing>,
    /// Whether the server was told everything since this daemon started. Until then nothing is believed to be there: it
    /// may have been put back to an older state.
    verified: bool,
    /// Who was told that their names are not known yet.
    waiting: BTreeMap<EnvironmentId, EnvironmentName>,
}

/// One environment in a turn.
struct Change {
    id: EnvironmentId,
    /// Nothing for one that is gone.
    name: Option<EnvironmentName>,
    stored: Option<Published>,
    desired: BTreeSet<AliasRecord>,
}

impl Publisher {
    fn new(records: Records, aliases: AliasConfig, updater: Updater, standing: watch::Sender<Standing>) -> Self {
        Self { records, aliases, updater, standing, verified: false, waiting: BTreeMap::new() }
    }

    async fn follow(&mut self) -> Result<()> {
        let mut changes = changes(&self.records).await?;
        let [mut pause, longest] = PAUSE;
        loop {
            match self.turn().await? {
                Ok(()) => {
                    pause = PAUSE[0];
                    next(&mut changes).await?;
                }
                Err(error) => {
                    tracing::debug!(error = %problem(&error), ?pause, "trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// Brings the server to what shall be. The inner error is the server's, the outer one the store's.
    async fn turn(&mut self) -> Result<std::result::Result<(), UpdateError>> {
        let environments = self.records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        let stored = self.records.list::<PublishedRecord>(PublishedRecord::PREFIX).await?;
        let believed: Vec<_> = stored
            .iter()
            .map(|r| Published { settled: r.published.settled && self.verified, records: r.published.records.clone() })
            .collect();
        let updates = plan_updates(&alias::records(&environments, &self.aliases), &believed);
        let changes = self.changed(&environments, stored);

        // Everybody's first: a name may pass from one environment to another in the same turn.
        let begun = changes.iter().filter_map(|change| {
            let begun = change.stored.clone().unwrap_or_default().begin(&change.desired);
            (change.stored.as_ref() != Some(&begun)).then_some((change.id, Some(begun)))
        });
        if self.write(begun).await? {
            fault::point("aliases: begun");
        }
        if !updates.is_empty() {
            if let Err(error) = self.updater.apply(&updates).await {
                self.complain(&error, &changes).await;
                return Ok(Err(error));
            }
            fault::point("aliases: told");
        }
        let settled = changes.iter().map(|change| {
            let settled = Published::settled(change.desired.clone());
            (change.id, (!settled.is_empty()).then_some(settled))
        });
        if self.write(settled).await? {
            fault::point("aliases: settled");
        }
        self.verified = true;
        self.rejoice(&environments).await;
        Ok(Ok(()))
    }

    /// Those of which the server does not certainly know what it shall.
    fn changed(&self, environments: &[EnvironmentRecord], stored: Vec<PublishedRecord>) -> Vec<Change> {
        let mut stored: BTreeMap<_, _> = stored.into_iter().map(|r| (r.environment_id, r.published)).collect();
        let living = environments.iter().map(|environment| {
            let desired = alias::records([environment], &self.aliases);
            (environment.id, Some(environment.name.clone()), desired)
        });
        let mut all: Vec<_> =
            living.map(|(id, name, desired)| Change { id, name, stored: stored.remove(&id), desired }).collect();
        all.extend(stored.into_iter().map(|(id, published)| Change {
            id,
            name: None,
            stored: Some(published),
            desired: BTreeSet::new(),
        }));
        all.retain(|change| match &change.stored {
            Some(stored) => stored.is_empty() || *stored != Published::settled(change.desired.clone()),
            None => !change.desired.is_empty(),
        });
        all
    }

    /// Writes down, or forgets, what the server may know; says whether there was anything to write. This task alone
    /// writes these records, so nothing is compared.
    async fn write(&self, all: impl Iterator<Item = (EnvironmentId, Option<Published>)>) -> Result<bool> {
        let store = self.records.store();
        let (mut transaction, mut writes, mut bytes, mut written) = (Transaction::new(), 0, 0, false);
        for (environment_id, published) in all {
            let key = PublishedRecord::key_of(environment_id);
            transaction = match published {
                Some(published) => {
                    // A record is some 120 bytes of JSON; twice that leaves room for the longest names.
                    bytes += 240 * published.records.len();
                    transaction.put_json(key, &PublishedRecord { environment_id, published })?
                }
                None => transaction.delete(key),
            };
            (writes, written) = (writes + 1, true);
            if writes >= AT_ONCE.0 || bytes >= AT_ONCE.1 {
                let _ = store.commit(std::mem::take(&mut transaction)).await?;
                (writes, bytes) = (0, 0);
            }
        }
        if writes > 0 {
            let _ = store.commit(transaction).await?;
        }
        Ok(written)
    }

    /// Says what is in the way: in the log when that is something new, and once to each environment that waits.
    async fn complain(&mut self, error: &UpdateError, changes: &[Change]) {
        let problem = problem(error);
        if self.standing.borrow().elsewhere.as_ref() != Some(&problem) {
            tracing::warn!("the names of machines are not published: {}", problem.message);
        }
        for (id, name) in changes.iter().filter_map(|c| Some((c.id, c.name.as_ref()?))) {
            if self.waiting.insert(id, name.clone()).is_none() {
                let message = format!("the names of its machines are not published yet: {}", problem.message);
                self.records.say(name, None, message).await;
            }
        }
        self.standing.send_modify(|standing| standing.elsewhere = Some(problem));
    }

    async fn rejoice(&mut self, environments: &[EnvironmentRecord]) {
        if self.standing.borrow().elsewhere.is_some() {
            tracing::info!(server = %self.updater.config().server, "the names of machines are published again");
            self.standing.send_modify(|standing| standing.elsewhere = None);
        }
        for (id, name) in std::mem::take(&mut self.waiting) {
            if environments.iter().any(|environment| environment.id == id) {
                self.records.say(&name, None, "the names of its machines are published").await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
