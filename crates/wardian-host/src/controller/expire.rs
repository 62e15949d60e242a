//! An environment is removed by itself when its time is over: by this host's clock, unless those of the others say that
//! it is far ahead.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use wardian_model::{Timestamp, environment::Problem};
use wardian_plan::clocks::{Compared, may_expire};

use super::Controller;
use crate::{Host, shared::Shared};

/// How often a clock is looked at, which may have been set; and after which time is tried again what was in doubt.
const LOOK: Duration = Duration::from_secs(60);

/// When an environment shall be removed by itself, and what is in the way.
#[derive(Default)]
pub(super) struct Expiry {
    at: Option<Timestamp>,
    /// It was over already, and is not looked at before.
    again: Option<Instant>,
    /// That it was over, but in doubt, has been said.
    said: bool,
}

impl Expiry {
    /// As it is in the record.
    pub(super) fn set(&mut self, at: Option<Timestamp>) {
        if self.at != at {
            *self = Self { at, ..Self::default() };
        }
    }

    /// Until then; for ever when there is no such time.
    pub(super) async fn is_over(&self) {
        let Some(at) = self.at else { return std::future::pending().await };
        if let Some(again) = self.again {
            sleep_until(again).await;
        }
        loop {
            let left = left(at);
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK)).await;
        }
    }
}

fn left(until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()
}

impl Controller {
    /// Its time is over by this host's clock.
    pub(super) async fn expire(&mut self) {
        self.expiry.again = Some(Instant::now() + LOOK);
        match compare(&self.shared).await.map(|compared| may_expire(&compared)) {
            Ok(Ok(())) => {}
            Ok(Err(doubt)) => {
                if !std::mem::replace(&mut self.expiry.said, true) {
                    self.shared.records.say(&self.name, None, format!("would expire, but {doubt}")).await;
                }
                return;
            }
            // Without the others' records it couldn't be removed either.
            Err(problem) => {
                tracing::info!(environment = %self.name, %problem, "has expired, but clocks can't be compared");
                return;
            }
        }
        // The clock may have been set while it was compared.
        if self.expiry.at.is_none_or(|at| !left(at).is_zero()) {
            return;
        }
        self.shared.records.say(&self.name, None, "has expired and is removed").await;
        // Refused when it is being removed already, which is as well.
        if let Err(refusal) = (Host { shared: self.shared.clone() }).remove(&self.name).await {
            tracing::info!(environment = %self.name, %refusal, "not removed for its age");
        }
    }
}

/// A host that is alone has no clock but its own.
async fn compare(shared: &Shared) -> Result<Compared, Problem> {
    match &shared.config.member {
        Some(member) => member.clocks.compare().await,
        None => Ok(Compared::default()),
    }
}
