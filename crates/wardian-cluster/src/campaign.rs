//! Standing for leader: whoever finds that there is none becomes it, and stays it as long as its lease.

use std::sync::Arc;

use wardian_model::{
    Timestamp,
    cluster::{LeaderRecord, PresenceRecord},
    record::Record,
};
use wardian_store::{Error, Outcome, Result, Revision, Transaction};

use crate::{
    keep::End,
    member::Member,
    standing::{Lead, Saying},
    tenure::Tenure,
};

/// Leads whenever nobody else does. `presence` is the revision at which this daemon's was put: one that was replaced
/// since does not get the lead any more.
pub(crate) async fn campaign(member: &Member, saying: &Saying<'_>, tenure: &Arc<Tenure>, presence: Revision) -> End {
    loop {
        match stand(member, saying, tenure, presence).await {
            Ok(Turn::Again) => continue,
            Ok(Turn::Later) => {}
            Err(Error::LeaseNotFound { .. }) => return End::Lost,
            Err(error) => tracing::debug!(%error, "the cluster's leader can't be watched now"),
        }
        // What is not watched is not claimed.
        saying.follows();
        member.pause().await;
    }
}

enum Turn {
    Again,
    Later,
}

/// Leads if nobody does, and waits until that changes.
async fn stand(member: &Member, saying: &Saying<'_>, tenure: &Arc<Tenure>, presence: Revision) -> Result<Turn> {
    let listing = member.store.list(LeaderRecord::PREFIX).await?;
    let leader = listing.entries.iter().find(|entry| entry.key == LeaderRecord::KEY);
    let seen = match leader {
        None => match member.store.commit(candidacy(member, tenure, presence)?).await? {
            Outcome::Committed(term) => {
                saying.leads(Lead::new(term, Arc::clone(tenure)));
                term
            }
            Outcome::Conflict { observed } => {
                let faster = observed.iter().any(|(key, entry)| key == LeaderRecord::KEY && entry.is_some());
                return Ok(if faster { Turn::Again } else { Turn::Later });
            }
        },
        // A candidacy whose answer was lost.
        Some(entry) if entry.lease == Some(tenure.lease()) => {
            saying.leads(Lead::new(entry.mod_revision, Arc::clone(tenure)));
            listing.revision
        }
        Some(_) => listing.revision,
    };
    let mut watch = member.store.watch(LeaderRecord::PREFIX, seen.next()).await?;
    loop {
        if watch.next().await?.iter().any(|event| event.key() == LeaderRecord::KEY) {
            saying.follows();
            return Ok(Turn::Again);
        }
    }
}

fn candidacy(member: &Member, tenure: &Tenure, presence: Revision) -> Result<Transaction> {
    let host = member.host().name.clone();
    let candidacy = Transaction::new().absent(LeaderRecord::KEY).unchanged(PresenceRecord::key_of(&host), presence);
    let leader = LeaderRecord { host, daemon: member.daemon.clone(), since: Timestamp::now() };
    candidacy.put_json_with_lease(LeaderRecord::KEY, &leader, tenure.lease())
}
