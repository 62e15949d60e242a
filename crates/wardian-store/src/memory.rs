//! A store in memory: for tests, and for whatever need not outlive its process.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::key::{check_key, check_prefix};
use crate::lease::{Leases, check_ttl, end_in_time};
use crate::plan::{Plan, Records, compaction_due, deleted, plan};
use crate::record::{Entry, Event, EventKind, LeaseId, Listing, Revision};
use crate::store::{Options, Store};
use crate::transaction::{Outcome, Transaction};
use crate::watch::{History, HistoryWatch, Page, PageBuilder, Watch};

/// Keeps everything in memory and forgets it when dropped.
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    history: u64,
    /// The store's revision, for watches to wait on.
    tip: watch::Sender<Revision>,
    /// When the next lease ends.
    deadline: watch::Sender<Option<Duration>>,
}

struct State {
    revision: Revision,
    /// The oldest revision whose events are still here.
    oldest: Revision,
    entries: BTreeMap<String, Entry>,
    /// The events of each revision from `oldest` on that had any.
    events: VecDeque<Vec<Event>>,
    leases: Leases,
    last_lease: u64,
    /// Whether the task that ends leases has been started.
    timed: bool,
}

impl MemoryStore {
    /// An empty store on the real clock.
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    /// An empty store.
    pub fn with(options: Options) -> Self {
        let revision = Revision(1);
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    revision,
                    oldest: revision,
                    entries: BTreeMap::new(),
                    events: VecDeque::new(),
                    leases: Leases::default(),
                    last_lease: 0,
                    timed: false,
                }),
                clock: options.clock,
                history: options.history,
                tip: watch::Sender::new(revision),
                deadline: watch::Sender::new(None),
            }),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// The state, rid of everything whose lease has ended.
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change, so a poisoned state is a whole one.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for lease in state.leases.take_ended(self.clock.now()) {
            state.delete_keys_of(lease);
        }
        self.publish(&mut state);
        state
    }

    /// Makes the state what the watches and the timer see.
    fn publish(&self, state: &mut State) {
        if let Some(oldest) = compaction_due(state.revision, state.oldest, self.history) {
            state.compact(oldest);
        }
        self.tip.send_if_modified(|tip| {
            let grown = *tip != state.revision;
            *tip = state.revision;
            grown
        });
        let next = state.leases.next_deadline();
        self.deadline.send_if_modified(|deadline| {
            let moved = *deadline != next;
            *deadline = next;
            moved
        });
    }

    /// Starts the task that ends leases, once there is a lease. Not earlier, because a store may be made outside
    /// of any runtime.
    fn start_timer(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.timed, true) {
            return;
        }
        let shared = Arc::downgrade(self);
        let sweep = async move || match shared.upgrade() {
            Some(shared) => {
                drop(shared.state());
                Ok(())
            }
            None => Err(closed()),
        };
        tokio::spawn(end_in_time(self.deadline.subscribe(), Arc::clone(&self.clock), sweep));
    }
}

impl State {
    fn apply(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        for event in &events {
            match &event.kind {
                EventKind::Put(entry) => {
                    self.entries.insert(entry.key.clone(), entry.clone());
                }
                EventKind::Delete { key } => {
                    self.entries.remove(key);
                }
            }
        }
        self.revision = self.revision.next();
        self.events.push_back(events);
    }

    fn delete_keys_of(&mut self, lease: LeaseId) {
        let revision = self.revision.next();
        let events = self
            .entries
            .values()
            .filter(|entry| entry.lease == Some(lease))
            .map(|entry| deleted(entry.key.clone(), revision))
            .collect();
        self.apply(events);
    }

    fn compact(&mut self, oldest: Revision) {
        self.oldest = self.oldest.max(oldest);
        while self.events.front().is_some_and(|batch| batch[0].revision < self.oldest) {
            self.events.pop_front();
        }
    }

    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }
}

impl Records for State {
    fn get(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.entries.get(key).cloned())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.below(prefix).map(|entry| entry.key.clone()).collect())
    }

    fn has_lease(&self, lease: LeaseId) -> bool {
        self.leases.contains(lease)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        check_key(key)?;
        self.shared.state().get(key)
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        check_prefix(prefix)?;
        let state = self.shared.state();
        Ok(Listing { entries: state.below(prefix).cloned().collect(), revision: state.revision })
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome> {
        transaction.check()?;
        let mut state = self.shared.state();
        let events = match plan(&transaction, &*state, state.revision.next())? {
            Plan::Change(events) => events,
            Plan::Conflict(observed) => return Ok(Outcome::Conflict { observed }),
        };
        state.apply(events);
        self.shared.publish(&mut state);
        Ok(Outcome::Committed(state.revision))
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        check_prefix(prefix)?;
        let history = MemoryHistory(Arc::downgrade(&self.shared));
        let tip = self.shared.tip.subscribe();
        HistoryWatch::start(history, prefix, from, tip).await.map(Watch::new)
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        let ttl = check_ttl(ttl)?;
        let mut state = self.shared.state();
        state.last_lease += 1;
        let lease = LeaseId(state.last_lease);
        state.leases.grant(lease, ttl, self.shared.clock.now());
        self.shared.start_timer(&mut state);
        self.shared.publish(&mut state);
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        let mut state = self.shared.state();
        state.leases.keep_alive(lease, self.shared.clock.now())?;
        self.shared.publish(&mut state);
        Ok(())
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        let mut state = self.shared.state();
        if state.leases.remove(lease) {
            state.delete_keys_of(lease);
        }
        self.shared.publish(&mut state);
        Ok(())
    }

    async fn revision(&self) -> Result<Revision> {
        Ok(self.shared.state().revision)
    }

    async fn compact(&self, oldest: Revision) -> Result<()> {
        let mut state = self.shared.state();
        if oldest > state.revision {
            return Err(Error::FutureRevision { asked: oldest, current: state.revision });
        }
        state.compact(oldest);
        Ok(())
    }
}

/// Weak, so that a watch neither keeps a store alive nor waits for ever for one that is gone.
struct MemoryHistory(Weak<Shared>);

#[async_trait]
impl History for MemoryHistory {
    async fn read(&self, prefix: &str, from: Revision) -> Result<Page> {
        let shared = self.0.upgrade().ok_or_else(closed)?;
        let state = shared.state();
        if from < state.oldest {
            return Err(Error::Compacted { oldest: state.oldest });
        }
        let start = state.events.partition_point(|batch| batch[0].revision < from);
        let mut page = PageBuilder::default();
        for event in state.events.range(start..).flatten() {
            if event.key().starts_with(prefix)
                && let Err(event) = page.push(event.clone())
            {
                return Ok(page.finish(event.revision));
            }
        }
        Ok(page.finish(state.revision.next()))
    }

    fn closed(&self) -> Error {
        closed()
    }
}

fn closed() -> Error {
    Error::Closed { name: "in memory".to_owned() }
}
