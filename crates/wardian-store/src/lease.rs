//! Leases as the engines of this crate keep them: who lives until when, and the task that ends them in time.
//!
//! Engines look for ended leases before every operation, so an operation never sees a key whose lease has ended. The
//! task here is for when nothing is asked: watches must hear of the end too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::key::MAX_TTL;
use crate::record::LeaseId;

/// Checks a time to live and rounds it up to whole milliseconds.
pub(crate) fn check_ttl(ttl: Duration) -> Result<Duration> {
    if ttl.is_zero() || ttl > MAX_TTL {
        return Err(Error::InvalidTtl { ttl, limit: MAX_TTL });
    }
    let whole = Duration::from_secs(ttl.as_secs());
    let millis = ttl.subsec_nanos().div_ceil(1_000_000);
    Ok(whole + Duration::from_millis(u64::from(millis)))
}

/// The leases that live.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases {
    by_id: BTreeMap<LeaseId, Lease>,
}

#[derive(Debug, Clone)]
struct Lease {
    ttl: Duration,
    /// On the store's clock.
    deadline: Duration,
}

impl Leases {
    /// Lets a lease live for `ttl` from `now` on.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl: Duration, now: Duration) {
        let deadline = now.saturating_add(ttl);
        self.by_id.insert(id, Lease { ttl, deadline });
    }

    /// Gives a lease its full time again.
    pub(crate) fn keep_alive(&mut self, id: LeaseId, now: Duration) -> Result<()> {
        let lease = self.by_id.get_mut(&id).ok_or(Error::LeaseNotFound { lease: id })?;
        lease.deadline = now.saturating_add(lease.ttl);
        Ok(())
    }

    /// Forgets a lease; whether there was one.
    pub(crate) fn remove(&mut self, id: LeaseId) -> bool {
        self.by_id.remove(&id).is_some()
    }

    /// Whether the lease lives.
    pub(crate) fn contains(&self, id: LeaseId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// When the next lease ends.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.by_id.values().map(|lease| lease.deadline).min()
    }

    /// Takes out the leases that have ended by `now`, the one that ended first in front.
    pub(crate) fn take_ended(&mut self, now: Duration) -> Vec<LeaseId> {
        let mut ended: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, lease)| lease.deadline <= now)
            .map(|(id, lease)| (lease.deadline, *id))
            .collect();
        ended.sort_unstable();
        ended
            .into_iter()
            .map(|(_, id)| {
                self.by_id.remove(&id);
                id
            })
            .collect()
    }
}

/// How long the task waits after an engine failed to end leases (disk full, say) before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls `sweep` whenever the published deadline has come, until the publisher is gone.
pub(crate) async fn end_in_time(
    mut deadline: watch::Receiver<Option<Duration>>,
    clock: Arc<dyn Clock>,
    sweep: impl AsyncFn() -> Result<()>,
) {
    loop {
        let next = *deadline.borrow_and_update();
        let publisher_gone = match next {
            None => deadline.changed().await.is_err(),
            Some(time) => tokio::select! {
                changed = deadline.changed() => changed.is_err(),
                () = clock.sleep_until(time) => {
                    match sweep().await {
                        Ok(()) => {}
                        Err(Error::Closed { .. }) => return,
                        Err(error) => {
                            tracing::warn!(%error, "cannot end leases whose time has passed; trying again");
                            tokio::time::sleep(RETRY_AFTER).await;
                        }
                    }
                    false
                }
            },
        };
        if publisher_gone {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn times_to_live_are_rounded_up_to_milliseconds() {
        assert_eq!(check_ttl(Duration::from_nanos(1)).unwrap(), Duration::from_millis(1));
        assert_eq!(check_ttl(Duration::new(1, 999_000_001)).unwrap(), 2 * SECOND);
        assert_eq!(check_ttl(MAX_TTL).unwrap(), MAX_TTL);
        assert!(check_ttl(Duration::ZERO).is_err());
        assert!(check_ttl(MAX_TTL + SECOND).is_err());
    }

    #[test]
    fn leases_end_in_the_order_of_their_deadlines() {
        let mut leases = Leases::default();
        leases.grant(LeaseId(1), 3 * SECOND, Duration::ZERO);
        leases.grant(LeaseId(2), 2 * SECOND, Duration::ZERO);
        leases.grant(LeaseId(3), 9 * SECOND, Duration::ZERO);
        assert_eq!(leases.next_deadline(), Some(2 * SECOND));
        assert_eq!(leases.take_ended(3 * SECOND), [LeaseId(2), LeaseId(1)]);
        assert_eq!(leases.next_deadline(), Some(9 * SECOND));
        assert!(leases.keep_alive(LeaseId(1), SECOND).is_err());
    }
}
