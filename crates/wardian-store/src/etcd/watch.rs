//! Watches that outlive connections.
//!
//! A task reads what etcd sends and hands it on, batch by batch. When the connection is lost, or the member is cut off
//! from the others, it begins again at a member that answers, behind the last revision handed on.
//!
//! * **Always from one revision earlier** than wanted, whose events are thrown away. etcd can be watched from the
//!   revision it was compacted to, but older ones have forgotten that revision's deletions by then (etcd's issue 18089;
//!   the version of Debian 12 is one). So [`compact(r)`](crate::Store::compact) compacts to `r - 1`, and whoever asks
//!   for less than `r` is told so by etcd.
//! * **Who reads slowly keeps nothing waiting in etcd**: when the buffer is full the call is given up, and made again
//!   once there is room. What was missed meanwhile is in etcd's history, or is known to have been compacted away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tonic::Streaming;

use super::fault::Fault;
use super::members::{Again, Failure, Members};
use super::translate::{Folder, number, revision};
use super::wire::{WatchCreateRequest, WatchResponse};
use crate::error::{Error, Result};
use crate::record::{Event, Revision};
use crate::watch::{Watch, WatchSource};

/// How many batches may wait for a reader.
const BUFFER: usize = 64;
/// How long to wait before trying again when nobody could be reached for a whole request's time.
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait before looking for another member when a connection is lost.
const MOMENT: Duration = Duration::from_millis(20);

/// Begins a watch of `prefix` from `from` on, which ends when `store` is dropped.
pub(super) async fn start(
    members: Arc<Members>,
    folder: Folder,
    prefix: &str,
    from: Revision,
    mut store: watch::Receiver<()>,
) -> Result<Watch> {
    let (out, batches) = mpsc::channel(BUFFER);
    let name = members.names().to_owned();
    let follower = Follower { members, folder, prefix: prefix.to_owned(), cursor: from.max(Revision(1)), out };
    let answers = follower.call().await.map_err(|failure| follower.members.refused("watch", failure))?;
    tokio::spawn(async move {
        let reader = follower.out.clone();
        tokio::select! {
            () = follower.run(answers) => {}
            _ = store.changed() => {}
            () = reader.closed() => {}
        }
    });
    Ok(Watch::new(Followed { batches, end: None, name }))
}

/// The reader's end.
struct Followed {
    batches: mpsc::Receiver<Result<Vec<Event>>>,
    /// The error that it ended with.
    end: Option<Error>,
    name: String,
}

#[async_trait]
impl WatchSource for Followed {
    async fn next(&mut self) -> Result<Vec<Event>> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        match self.batches.recv().await {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(error)) => {
                self.end = Some(error.clone());
                Err(error)
            }
            None => Err(Error::Closed { name: self.name.clone() }),
        }
    }
}

/// The task's end.
struct Follower {
    members: Arc<Members>,
    folder: Folder,
    prefix: String,
    /// The first revision not yet handed on.
    cursor: Revision,
    out: mpsc::Sender<Result<Vec<Event>>>,
}

/// Why a call is over.
enum Over {
    /// It has to be made again.
    Again,
    /// There is nothing more to tell.
    End,
}

impl Follower {
    async fn run(mut self, answers: Streaming<WatchResponse>) {
        let mut answers = Some(answers);
        loop {
            let now = match answers.take() {
                Some(answers) => answers,
                None => self.call_until_answered().await,
            };
            if let Over::End = self.follow(now).await {
                return;
            }
        }
    }

    async fn call(&self) -> Result<Streaming<WatchResponse>, Failure> {
        let (key, range_end) = self.folder.range(&self.prefix);
        // Progress is told every ten minutes when nothing happens, so that a quiet prefix isn't overtaken by
        // compaction.
        let start_revision = number(self.cursor.0.saturating_sub(1)).max(1);
        let request = WatchCreateRequest { key, range_end, start_revision, progress_notify: true };
        let call = |client: super::rpc::Client| client.watch(request.clone());
        let (first, answers) = self.members.ask("watch", Again::Always, call).await?.value;
        if first.canceled && first.compact_revision == 0 {
            return Err(Failure::Said(Fault::refused(first.cancel_reason)));
        }
        Ok(answers)
    }

    async fn call_until_answered(&self) -> Streaming<WatchResponse> {
        loop {
            match self.call().await {
                Ok(answers) => return answers,
                Err(failure) => {
                    let error = self.members.refused("watch", failure);
                    tracing::warn!(prefix = self.prefix, %error, "a watch is interrupted; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Hands on what is answered.
    async fn follow(&mut self, mut answers: Streaming<WatchResponse>) -> Over {
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                lost => {
                    tracing::debug!(prefix = self.prefix, ?lost, "a watch is interrupted");
                    tokio::time::sleep(MOMENT).await;
                    return Over::Again;
                }
            };
            if answer.compact_revision > 0 {
                let oldest = revision(answer.compact_revision).next();
                // A reader that is gone need not be told.
                let _ = self.out.send(Err(Error::Compacted { oldest })).await;
                return Over::End;
            }
            if answer.canceled {
                tracing::debug!(prefix = self.prefix, reason = answer.cancel_reason, "a watch is cancelled");
                tokio::time::sleep(PAUSE).await;
                return Over::Again;
            }
            if answer.events.is_empty() {
                if let (false, Some(header)) = (answer.created, answer.header) {
                    self.cursor = self.cursor.max(revision(header.revision).next());
                }
                continue;
            }
            let mut batches = self.batches(answer).into_iter();
            while let Some(batch) = batches.next() {
                let next = batch[0].revision.next();
                match self.out.try_send(Ok(batch)) {
                    Ok(()) => self.cursor = next,
                    Err(mpsc::error::TrySendError::Closed(_)) => return Over::End,
                    Err(mpsc::error::TrySendError::Full(batch)) => {
                        drop(answers);
                        return self.hand_on_slowly(batch.into_iter().chain(batches)).await;
                    }
                }
            }
        }
    }

    /// Hands on what is left as the reader takes it.
    async fn hand_on_slowly(&mut self, batches: impl Iterator<Item = Vec<Event>>) -> Over {
        for batch in batches {
            let next = batch[0].revision.next();
            if self.out.send(Ok(batch)).await.is_err() {
                return Over::End;
            }
            self.cursor = next;
        }
        Over::Again
    }

    /// The events that were not handed on yet, by revision. Without `fragment` etcd never splits one.
    fn batches(&self, answer: WatchResponse) -> Vec<Vec<Event>> {
        let mut batches: Vec<Vec<Event>> = Vec::new();
        let events = answer.events.into_iter().filter_map(|event| self.folder.event(event));
        for event in events.filter(|event| event.revision >= self.cursor) {
            match batches.last_mut() {
                Some(batch) if batch[0].revision == event.revision => batch.push(event),
                _ => batches.push(vec![event]),
            }
        }
        batches
    }
}
