//! Where leases take their time from: the machine's clock, or one that tests turn by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// A clock that never goes back. Its readings count from an arbitrary origin.
#[async_trait::async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time since this clock's origin.
    fn now(&self) -> Duration;

    /// Returns once [`now`](Self::now) has reached `deadline`.
    async fn sleep_until(&self, deadline: Duration);
}

/// The machine's monotonic clock. Its origin is its creation.
#[derive(Debug, Clone)]
pub struct RealClock {
    origin: Instant,
}

impl RealClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep_until(&self, deadline: Duration) {
        // A timer may fire a little early by this clock, which other threads read as well.
        while let Some(rest) = deadline.checked_sub(self.now()).filter(|rest| !rest.is_zero()) {
            tokio::time::sleep(rest).await;
        }
    }
}

/// A clock that stands still until it is told to [`advance`](Self::advance). Clones share one time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    time: Arc<watch::Sender<Duration>>,
}

impl ManualClock {
    /// A clock that stands at its origin.
    pub fn new() -> Self {
        Self { time: Arc::new(watch::Sender::new(Duration::ZERO)) }
    }

    /// Lets `time` pass at once.
    pub fn advance(&self, time: Duration) {
        self.time.send_modify(|now| *now += time);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.time.borrow()
    }

    async fn sleep_until(&self, deadline: Duration) {
        // The wait can only fail when the sender is gone, and `self` holds it.
        let _ = self.time.subscribe().wait_for(|now| *now >= deadline).await;
    }
}
