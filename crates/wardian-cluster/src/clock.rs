//! The clock a lease is measured by: one that goes on while the host sleeps.

use std::time::Duration;

use async_trait::async_trait;
use nix::time::{ClockId, clock_gettime};
use wardian_store::Clock;

/// The time since the host booted, suspension included (`CLOCK_BOOTTIME`, see clock_gettime(2)). The clock of
/// [`std::time::Instant`] leaves that out: a host that wakes up would take a lease for its own that ended long ago.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

#[async_trait]
impl Clock for BootClock {
    fn now(&self) -> Duration {
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux since 2.6.39 has this clock");
        Duration::from(time)
    }

    async fn sleep_until(&self, deadline: Duration) {
        // Timers stand still while the host is suspended, so this may be late; whether it leads does not wait for it.
        while let Some(rest) = deadline.checked_sub(self.now()).filter(|rest| !rest.is_zero()) {
            tokio::time::sleep(rest).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_up_when_their_time_has_come() {
        let deadline = BootClock.now() + Duration::from_millis(20);
        BootClock.sleep_until(deadline).await;
        assert!(BootClock.now() >= deadline);
    }
}
