//! Deletes in the background what no record names any more. Whoever has given something up says so here and goes on.
//!
//! However many say so meanwhile, one run is for all of them: each looks at all records, so that one for every machine
//! would take quadratic time. Nothing is remembered: what a daemon that was killed has not got to is found by the run
//! that every daemon begins with ([`crate::controller::settle`]). Who must see it done before anything else happens
//! collects by itself ([`disks::collect`], [`memories::collect_in_any_case`]).

use std::sync::Arc;

use tokio::sync::watch;

use crate::{disks, memories, shared::Shared};

/// Takes what is to be looked for.
#[derive(Debug, Default)]
pub(crate) struct Collector(watch::Sender<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// How often somebody has said so.
    asked: u64,
    /// How many of them a run was for that has ended.
    done: u64,
    /// Whether layers and cuts are to be looked for as well, which takes longer.
    disks: bool,
}

/// Something that was given up.
#[derive(Debug)]
pub(crate) struct Asked(u64);

impl Collector {
    /// Memory was given up.
    pub(crate) fn memory(&self) -> Asked {
        self.ask(false)
    }

    /// Layers were given up, or whatever else needed a cut; memory perhaps, too.
    pub(crate) fn disks(&self) -> Asked {
        self.ask(true)
    }

    fn ask(&self, disks: bool) -> Asked {
        let mut number = 0;
        self.0.send_modify(|state| {
            state.asked += 1;
            state.disks |= disks;
            number = state.asked;
        });
        Asked(number)
    }

    /// Until it was looked for.
    pub(crate) async fn done(&self, asked: Asked) {
        // Fails when the sender is gone, which is here.
        let _ = self.0.subscribe().wait_for(|state| state.done >= asked.0).await;
    }
}

/// Runs until it is dropped.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let collector = &shared.collector.0;
    let mut states = collector.subscribe();
    while states.wait_for(|state| state.asked > state.done).await.is_ok() {
        let mut state = State::default();
        collector.send_modify(|now| {
            state = *now;
            now.disks = false;
        });
        let collected = match state.disks {
            true => disks::collect(&shared).await,
            false => memories::collect(&shared).await,
        };
        if let Err(problem) = collected {
            tracing::warn!(%problem, "what is not needed any more is not removed yet");
        }
        collector.send_modify(|now| now.done = state.asked);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_run_is_for_all_that_was_given_up_before_it() {
        let collector = Collector::default();
        let (first, second) = (collector.memory(), collector.disks());
        let state = *collector.0.borrow();
        assert_eq!((state.asked, state.done, state.disks), (2, 0, true));
        // As a run does. What is given up while it lasts waits for the next.
        let later = collector.memory();
        collector.0.send_modify(|now| now.done = state.asked);
        collector.done(second).await;
        collector.done(first).await;
        assert_eq!(collector.done(later).now_or_never(), None);
    }
}
