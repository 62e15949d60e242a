//! Tells name servers where machines are: the lab network's own (`serve`), and one elsewhere that remembers
//! (`publish`).
//!
//! Which names there are is decided in [`wardian_plan::alias`]; a machine has them from the moment its environment is
//! written down until its removal is asked for.

pub(crate) mod publish;
mod record;
pub(crate) mod serve;

use futures::FutureExt;
use wardian_model::{
    environment::{EnvironmentRecord, Problem},
    name::Domain,
    record::Record,
};
use wardian_store::{Result, Revision, Watch};

use crate::records::Records;

/// How it stands with the name servers, for whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Why the lab network's own server doesn't run.
    pub(crate) own: Option<Problem>,
    /// Why the server elsewhere doesn't know everything yet.
    pub(crate) elsewhere: Option<Problem>,
}

/// Changes of environments from now on: list after this, and nothing is missed.
async fn changes(records: &Records) -> Result<Watch> {
    let revision = records.store().revision().await?;
    records.store().watch(EnvironmentRecord::PREFIX, Revision(revision.0 + 1)).await
}

/// Waits for a change, and takes those that came with it.
async fn next(changes: &mut Watch) -> Result<()> {
    changes.next().await?;
    while let Some(more) = changes.next().now_or_never() {
        more?;
    }
    Ok(())
}

/// What is to be said when one name can mean two machines, depending on who asks.
pub(crate) fn overlap(inside: &Domain, zone: &Domain) -> Option<String> {
    (is_below(inside, zone) || is_below(zone, inside)).then(|| {
        format!(
            "the domain inside, {inside}, and the zone of aliases, {zone}, overlap: one name can mean a machine's inside to \
             some and another's outside to others; choose another domain, or another zone in the daemon's configuration"
        )
    })
}

fn is_below(domain: &Domain, above: &Domain) -> bool {
    domain.as_str().strip_suffix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_overlap_when_one_is_the_other_or_below_it() {
        let overlaps =
            |inside: &str, zone: &str| overlap(&Domain::new(inside).unwrap(), &Domain::new(zone).unwrap()).is_some();
        assert!(overlaps("wardian.internal", "wardian.internal"));
        assert!(overlaps("lab.wardian.internal", "wardian.internal"));
        assert!(overlaps("internal", "wardian.internal"));
        assert!(!overlaps("lab.internal", "wardian.internal"));
        assert!(!overlaps("mywardian.internal", "wardian.internal"));
    }
}
