//! How long a lease certainly lives, by this host's own clock.
//!
//! # Why there are never two leaders
//!
//! The record of the leader hangs on the lease of its host's presence and is only ever put where it is absent. So
//! others can lead only after that lease has ended. It lives for [`TTL`] from the moment the store has handled a
//! request to keep it alive, and that moment is not before the request was sent. Time is therefore counted from
//! *before* the request is sent, however late its answer comes, and ends [`MARGIN`] early, for clocks that don't run
//! alike: within a lease they would have to be apart by a tenth. The clock goes on while the host is suspended
//! ([`BootClock`](crate::BootClock)).
//!
//! That the time is over is not news that somebody has to bring: [`Tenure::holds`] reads the clock, so whoever asks is
//! told the truth, also when the task that keeps the lease alive has not run for a minute.
//!
//! A lease that was kept alive after all, later than that, has not ended in between: nobody else has led, and its host
//! goes on leading. One that has ended never holds again; the next has a tenure of its own.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use wardian_store::{Clock, LeaseId};

/// How long a presence lives without being kept alive.
pub const TTL: Duration = Duration::from_secs(10);
/// How often it is kept alive.
pub const EVERY: Duration = Duration::from_secs(3);
/// How much earlier its host takes it for ended.
pub const MARGIN: Duration = Duration::from_secs(1);

/// Set as the end of a tenure that never holds again.
const ENDED: u64 = u64::MAX;

/// The life of one lease, as its host knows it.
pub struct Tenure {
    lease: LeaseId,
    clock: Arc<dyn Clock>,
    /// In nanoseconds of the clock: it holds before that.
    until: AtomicU64,
}

impl Tenure {
    /// Of a lease that was asked for at `asked`.
    #[must_use]
    pub fn new(lease: LeaseId, clock: Arc<dyn Clock>, asked: Duration) -> Self {
        Self { lease, clock, until: AtomicU64::new(end(asked)) }
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Whether the lease certainly lives.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.until.load(Ordering::Acquire) {
            ENDED => false,
            until => nanoseconds(self.clock.now()) < until,
        }
    }

    /// When it stops to hold, unless it is extended; zero once it has ended.
    #[must_use]
    pub fn until(&self) -> Duration {
        match self.until.load(Ordering::Acquire) {
            ENDED => Duration::ZERO,
            until => Duration::from_nanos(until),
        }
    }

    /// The store has kept the lease alive on a request that was sent at `asked`. One that has ended stays so.
    pub(crate) fn extend(&self, asked: Duration) {
        self.until.fetch_max(end(asked), Ordering::AcqRel);
    }

    /// From now on it does not hold, whatever the clock says.
    pub(crate) fn end(&self) {
        self.until.store(ENDED, Ordering::Release);
    }
}

fn end(asked: Duration) -> u64 {
    nanoseconds(asked + (TTL - MARGIN)).min(ENDED - 1)
}

/// There is room for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(ENDED - 1)
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure").field("lease", &self.lease).field("until", &self.until()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use wardian_store::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tenure(clock: &ManualClock) -> Tenure {
        Tenure::new(LeaseId(1), Arc::new(clock.clone()), clock.now())
    }

    #[test]
    fn it_ends_before_the_lease_does() {
        let clock = ManualClock::new();
        let tenure = tenure(&clock);
        clock.advance(TTL - MARGIN - SECOND);
        assert!(tenure.holds());
        clock.advance(SECOND);
        assert!(!tenure.holds());
    }

    #[test]
    fn a_late_answer_counts_from_when_it_was_asked_for() {
        let clock = ManualClock::new();
        let tenure = tenure(&clock);
        let asked = clock.now() + 3 * SECOND;
        clock.advance(11 * SECOND);
        tenure.extend(asked);
        assert!(tenure.holds());
        clock.advance(SECOND);
        assert!(!tenure.holds());
        tenure.extend(Duration::ZERO);
        assert!(!tenure.holds());
    }

    #[test]
    fn what_has_ended_never_holds_again() {
        let clock = ManualClock::new();
        let tenure = tenure(&clock);
        tenure.end();
        tenure.extend(clock.now());
        assert!(!tenure.holds());
        assert_eq!(tenure.until(), Duration::ZERO);
    }
}
