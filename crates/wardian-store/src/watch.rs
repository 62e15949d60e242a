//! Watches: a cursor into the store's history, woken when the history grows.
//!
//! A watch holds no queue that the store fills. It remembers how far it has read and fetches the next page from the
//! history when asked, so a slow reader costs a page of memory and nothing else, and what it has missed is still
//! there. Only compaction can overtake it, and then it says so.

use std::collections::VecDeque;
use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::Result;
use crate::record::{Event, Revision};

/// A stream of changes, without gaps and in the order of revisions.
pub struct Watch {
    source: Box<dyn WatchSource>,
}

impl Watch {
    /// A watch on whatever an engine reads its changes from.
    pub fn new(source: impl WatchSource + 'static) -> Self {
        Self { source: Box::new(source) }
    }

    /// Waits for the next transaction that changed watched keys and returns all these changes, in the order they
    /// were written. Never empty. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Compacted`](crate::Error::Compacted) when this watch was too slow, or started too early: list again.
    /// [`Closed`](crate::Error::Closed) when the store is gone.
    pub async fn next(&mut self) -> Result<Vec<Event>> {
        self.source.next().await
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// What an engine implements for [`Watch`].
#[async_trait]
pub trait WatchSource: Send {
    /// See [`Watch::next`], whose promises this has to keep.
    async fn next(&mut self) -> Result<Vec<Event>>;
}

/// A piece of history, small enough to hold in memory.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Events of the watched keys, one batch per revision.
    pub(crate) batches: VecDeque<Vec<Event>>,
    /// The first revision that was not looked at.
    pub(crate) next: Revision,
}

/// A page ends with the revision that brings it to this many events,
pub(crate) const PAGE_EVENTS: usize = 64;
/// or to this many bytes of values.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// Collects events in order and says when the page is full.
#[derive(Debug, Default)]
pub(crate) struct PageBuilder {
    batches: VecDeque<Vec<Event>>,
    events: usize,
    bytes: usize,
}

impl PageBuilder {
    /// Takes the event, unless it begins a revision that belongs on the next page.
    pub(crate) fn push(&mut self, event: Event) -> std::result::Result<(), Event> {
        let continues =
            self.batches.back().and_then(|batch| batch.last()).is_some_and(|last| last.revision == event.revision);
        if !continues && (self.events >= PAGE_EVENTS || self.bytes >= PAGE_BYTES) {
            return Err(event);
        }
        self.events += 1;
        if let crate::EventKind::Put(entry) = &event.kind {
            self.bytes += entry.value.len();
        }
        match self.batches.back_mut() {
            Some(batch) if continues => batch.push(event),
            _ => self.batches.push_back(vec![event]),
        }
        Ok(())
    }

    /// The page, when `next` is the first revision that was not looked at.
    pub(crate) fn finish(self, next: Revision) -> Page {
        Page { batches: self.batches, next }
    }
}

/// Where a [`HistoryWatch`] reads.
#[async_trait]
pub(crate) trait History: Send + Sync {
    /// The changes of keys that begin with `prefix`, from revision `from` on, as many as make a page.
    async fn read(&self, prefix: &str, from: Revision) -> Result<Page>;
    /// The error of a watch whose store is gone.
    fn closed(&self) -> crate::Error;
}

/// A watch that pages through a [`History`].
pub(crate) struct HistoryWatch<H> {
    history: H,
    prefix: String,
    /// The first revision not yet read.
    cursor: Revision,
    /// What was read and not yet returned; at most a page.
    ready: VecDeque<Vec<Event>>,
    /// The store's revision. Its sender goes away with the store.
    tip: watch::Receiver<Revision>,
}

impl<H: History> HistoryWatch<H> {
    /// Starts at `from`, which must not be compacted away.
    pub(crate) async fn start(
        history: H,
        prefix: &str,
        from: Revision,
        tip: watch::Receiver<Revision>,
    ) -> Result<Self> {
        let mut watch =
            Self { history, prefix: prefix.to_owned(), cursor: from.max(Revision(1)), ready: VecDeque::new(), tip };
        watch.advance().await?;
        Ok(watch)
    }

    /// Reads a page if there is anything to read.
    async fn advance(&mut self) -> Result<()> {
        if *self.tip.borrow_and_update() >= self.cursor {
            let page = self.history.read(&self.prefix, self.cursor).await?;
            self.cursor = page.next;
            self.ready = page.batches;
        }
        Ok(())
    }
}

#[async_trait]
impl<H: History> WatchSource for HistoryWatch<H> {
    async fn next(&mut self) -> Result<Vec<Event>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            if *self.tip.borrow() >= self.cursor {
                self.advance().await?;
            } else if self.tip.changed().await.is_err() {
                return Err(self.history.closed());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, EventKind};

    fn put(revision: u64, bytes: usize) -> Event {
        let revision = Revision(revision);
        Event {
            revision,
            kind: EventKind::Put(Entry {
                key: "a".to_owned(),
                value: vec![0; bytes],
                create_revision: revision,
                mod_revision: revision,
                version: 1,
                lease: None,
            }),
        }
    }

    #[test]
    fn a_page_is_full_after_so_many_events_or_bytes() {
        let mut page = PageBuilder::default();
        for revision in 0..PAGE_EVENTS as u64 {
            page.push(put(revision, 1)).unwrap();
        }
        page.push(put(PAGE_EVENTS as u64, 1)).unwrap_err();
        let mut page = PageBuilder::default();
        page.push(put(1, PAGE_BYTES)).unwrap();
        page.push(put(2, 1)).unwrap_err();
    }

    #[test]
    fn a_page_never_ends_within_a_revision() {
        let mut page = PageBuilder::default();
        for _ in 0..PAGE_EVENTS * 2 {
            page.push(put(1, PAGE_BYTES)).unwrap();
        }
        page.push(put(2, 1)).unwrap_err();
        let page = page.finish(Revision(2));
        assert_eq!(page.batches.len(), 1);
        assert_eq!(page.batches[0].len(), PAGE_EVENTS * 2);
    }
}
