//! The moments at which the hosts of an environment wait for one another, so that a cut is one moment on all of them.
//!
//! Each host cuts its own machines and writes down how far it is. No machine goes on before all stand: what one has
//! sent after the cut none has received before it. Nothing else has to be decided together; source and successor are of
//! the same moment, so a host that fails lets its sources go on, and the cut as a whole fails. The host of the edge
//! concludes it.
//!
//! A part is begun once. A daemon that finds that it has begun one before it was killed can't make it again, for the
//! others may have had their moment: it says that there will be none.

use std::{collections::BTreeSet, sync::OnceLock, time::Duration};

use indexmap::IndexMap;
use tokio::time::{Instant, timeout_at};
use wardian_model::{
    cut::{CutPartRecord, CutPhase, CutRecord, CutStage},
    environment::{EnvironmentRecord, Problem},
    id::CutId,
    name::HostName,
    record::Record,
};
use wardian_store::{Outcome, Revision, Transaction, typed};

use crate::{records::At, refusal::problem, shared::Shared};

/// How long a host waits until all are prepared; machines run meanwhile.
const PREPARED: Duration = Duration::from_secs(60);
/// How long machines may stand until those of all hosts do. Usually it is a few milliseconds.
const STOPPED: Duration = Duration::from_secs(1);
/// How long a host waits until all are done; machines run again.
const OVER: Duration = Duration::from_secs(60);

/// The hosts that make a cut together.
pub(super) struct Together<'a> {
    shared: &'a Shared,
    cut: CutId,
    /// This host and the others; nothing where the environment is on one host.
    hosts: Option<(HostName, BTreeSet<HostName>)>,
    /// The cut's record as it was when this host began: whoever concludes the cut changes it.
    begun: OnceLock<Revision>,
}

impl<'a> Together<'a> {
    pub(super) fn new(shared: &'a Shared, environment: &EnvironmentRecord, cut: CutId) -> Self {
        let own = shared.host().filter(|_| environment.stretch.is_some());
        let hosts = own.map(|own| {
            let others = environment.hosts().into_iter().filter(|host| **host != own).cloned().collect();
            (own, others)
        });
        Self { shared, cut, hosts, begun: OnceLock::new() }
    }

    /// All that can be done while machines run is done, on all hosts.
    pub(super) async fn prepared(&self) -> Result<(), Problem> {
        self.reach(CutStage::Prepared, PREPARED).await
    }

    /// The machines stand, on all hosts.
    pub(super) async fn stopped(&self) -> Result<(), Problem> {
        self.reach(CutStage::Stopped, STOPPED).await
    }

    async fn reach(&self, stage: CutStage, limit: Duration) -> Result<(), Problem> {
        let Some((own, others)) = &self.hosts else { return Ok(()) };
        let deadline = Instant::now() + limit;
        let reached = async {
            self.write(own, stage.clone()).await?;
            self.wait(others, |part| part.has_reached(&stage)).await
        };
        let parts = timeout_at(deadline, reached).await.map_err(|_| late(limit))??;
        for (host, part) in parts {
            if let CutStage::Over { phase: CutPhase::Failed { problem } } = part {
                return Err(Problem::new(format!("on host {host}: {}", problem.message)));
            }
        }
        Ok(())
    }

    /// Adds the parts of the other hosts to this one's, where this host concludes the cut; where another does, tells it
    /// this host's part, and waits until it has concluded. Gives what is to be written as the whole, if anything is.
    pub(super) async fn conclude(&self, home: bool, phase: CutPhase) -> Option<CutPhase> {
        let Some((own, others)) = &self.hosts else { return Some(phase) };
        let deadline = Instant::now() + OVER;
        if !home {
            let told = async {
                self.write(own, CutStage::Over { phase }).await?;
                self.concluded().await
            };
            if let Err(problem) = timeout_at(deadline, told).await.unwrap_or_else(|_| Err(late(OVER))) {
                tracing::warn!(cut = %self.cut, %problem, "it is not known what becomes of a cut");
            }
            return None;
        }
        let whole = async {
            if matches!(phase, CutPhase::Failed { .. }) {
                // The others need not wait for one who is not coming.
                self.write(own, CutStage::Over { phase: phase.clone() }).await?;
                return Ok(phase);
            }
            let parts = self.wait(others, |part| matches!(part, CutStage::Over { .. })).await?;
            Ok(parts.into_iter().fold(phase, |whole, (host, part)| joined(whole, &host, part)))
        };
        let whole = timeout_at(deadline, whole).await.unwrap_or_else(|_| Err(late(OVER)));
        Some(whole.unwrap_or_else(|problem| CutPhase::Failed { problem }))
    }

    /// Writes down how far this host is, unless the cut was concluded meanwhile.
    async fn write(&self, own: &HostName, stage: CutStage) -> Result<(), Problem> {
        let failed = |error: wardian_store::Error| problem(&error);
        let part = CutPartRecord { cut: self.cut, host: own.clone(), stage };
        let key = part.key();
        let revision = match self.begun.get() {
            // Machines may stand: nothing is read that is known.
            Some(revision) => *revision,
            None => self.begin(own, &part).await?,
        };
        let transaction =
            Transaction::new().unchanged(CutRecord::key_of(self.cut), revision).put_json(key, &part).map_err(failed)?;
        match self.shared.records.store().commit(transaction).await.map_err(failed)? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict { .. } => Err(Problem::new("the cut was given up by another host")),
        }
    }

    /// The first that is written of a part: nobody has concluded the cut, and no daemon before this one has begun the
    /// part.
    async fn begin(&self, own: &HostName, part: &CutPartRecord) -> Result<Revision, Problem> {
        let records = &self.shared.records;
        let failed = |error: wardian_store::Error| problem(&error);
        let cut = records.cut(self.cut).await.map_err(failed)?;
        let Some(At { revision, .. }) = cut.filter(|cut| cut.record.phase == CutPhase::Wanted) else {
            return Err(Problem::new("the cut was given up by another host"));
        };
        let before = records.get::<CutPartRecord>(&part.key()).await.map_err(failed)?;
        if part.stage == CutStage::Prepared && before.is_some() {
            return Err(
                Problem::new(format!("the daemon of host {own} ended while the cut was made")).hint("ask for it again")
            );
        }
        Ok(*self.begun.get_or_init(|| revision))
    }

    /// Waits until all of `hosts` are as far as `enough` says.
    async fn wait(
        &self,
        hosts: &BTreeSet<HostName>,
        enough: impl Fn(&CutStage) -> bool,
    ) -> Result<IndexMap<HostName, CutStage>, Problem> {
        let failed = |error: wardian_store::Error| problem(&error);
        let prefix = CutPartRecord::prefix_of(self.cut);
        let store = self.shared.records.store();
        let mut changes = None;
        loop {
            let parts = typed::list_as::<CutPartRecord>(&**store, &prefix).await.map_err(failed)?;
            let seen = parts.revision;
            let parts: IndexMap<_, _> =
                parts.entries.into_iter().map(|part| (part.value.host, part.value.stage)).collect();
            if hosts.iter().all(|host| parts.get(host).is_some_and(&enough)) {
                return Ok(parts);
            }
            // Often the others were faster; only who waits watches.
            let changes = match &mut changes {
                Some(changes) => changes,
                none => none.insert(store.watch(&prefix, seen.next()).await.map_err(failed)?),
            };
            changes.next().await.map_err(failed)?;
        }
    }

    /// Waits until the cut is no longer wanted.
    async fn concluded(&self) -> Result<(), Problem> {
        let failed = |error: wardian_store::Error| problem(&error);
        let store = self.shared.records.store();
        let from = store.revision().await.map_err(failed)?.next();
        let mut changes = store.watch(&CutRecord::key_of(self.cut), from).await.map_err(failed)?;
        loop {
            let cut = self.shared.records.cut(self.cut).await.map_err(failed)?;
            if cut.is_none_or(|cut| cut.record.phase != CutPhase::Wanted) {
                return Ok(());
            }
            changes.next().await.map_err(failed)?;
        }
    }
}

fn late(limit: Duration) -> Problem {
    Problem::new(format!("not all hosts of the environment came so far within {} s", limit.as_secs()))
        .hint("`wardian host ls` shows which hosts are there")
}

/// The whole with one more part.
fn joined(whole: CutPhase, host: &HostName, part: CutStage) -> CutPhase {
    let CutStage::Over { phase: part } = part else { return whole };
    match (whole, part) {
        (failed @ CutPhase::Failed { .. }, _) => failed,
        (_, CutPhase::Failed { problem }) => {
            CutPhase::Failed { problem: Problem { message: format!("on host {host}: {}", problem.message), ..problem } }
        }
        (
            CutPhase::Done { mut disks, mut quiesced, mut memories, pause_us },
            CutPhase::Done { disks: more, quiesced: also, memories: further, pause_us: other },
        ) => {
            disks.extend(more);
            quiesced.extend(also);
            memories.extend(further);
            CutPhase::Done { disks, quiesced, memories, pause_us: pause_us.max(other) }
        }
        (whole, _) => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(pause_us: u64) -> CutPhase {
        CutPhase::Done { disks: IndexMap::new(), quiesced: Vec::new(), memories: IndexMap::new(), pause_us }
    }

    #[test]
    fn one_part_that_failed_fails_the_whole_and_the_longest_pause_counts() {
        let host = HostName::new("b").unwrap();
        let over = |phase| CutStage::Over { phase };
        assert_eq!(joined(done(20), &host, over(done(30))), done(30));
        let failed = CutPhase::Failed { problem: Problem::new("no room") };
        let CutPhase::Failed { problem } = joined(done(20), &host, over(failed.clone())) else { panic!("not failed") };
        assert_eq!(problem.message, "on host b: no room");
        assert_eq!(joined(failed.clone(), &host, over(done(1))), failed);
    }
}
