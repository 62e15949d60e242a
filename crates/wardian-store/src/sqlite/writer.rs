//! The one thread that writes. It owns the writing connection, so nothing in the async world ever waits for a disk.
//!
//! Whatever waits when the thread becomes free is done within one SQLite transaction and shares its fsync: each request
//! still gets a revision of its own, in the order of arrival, and is answered after the fsync. Under load the number of
//! fsyncs falls to a fraction of the number of commits; a single caller waits for exactly one.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::draft::{Draft, State};
use super::file::sqlite_error;
use super::rows::Rows;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::lease::Leases;
use crate::record::Revision;

/// Most requests done in one SQLite transaction.
const MAX_GROUP: usize = 64;

/// Something to do in a draft. It may be done twice, the first draft having been thrown away.
pub(super) trait Job: Send {
    /// Does it and remembers the answer. Only failures of the engine are errors here.
    fn run(&mut self, draft: &mut Draft<'_>) -> Result<()>;
    /// Answers, now that the draft has been committed or has failed.
    fn answer(self: Box<Self>, committed: Result<()>);
}

/// A closure as a [`Job`].
struct Call<T, F> {
    work: F,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: Fn(&mut Draft<'_>) -> Result<T> + Send,
{
    fn run(&mut self, draft: &mut Draft<'_>) -> Result<()> {
        match (self.work)(draft) {
            Err(error) if error.is_engine_failure() => Err(error),
            result => {
                self.result = Some(result);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        // A caller that has gone away needs no answer. Without a result, dropping the sender says "closed".
        let result = match committed {
            Ok(()) => self.result,
            Err(error) => Some(Err(error)),
        };
        if let Some(result) = result {
            let _ = self.reply.send(result);
        }
    }
}

/// What the thread is sent.
pub(super) enum Message {
    /// A request. The channel has no bound because each caller waits for its answer: it holds no more requests
    /// than there are callers.
    Job(Box<dyn Job>),
    /// No more requests.
    Stop,
}

/// Has the writer do `work` and waits until that is durable. `None` when the store is closed.
pub(super) async fn call<T, F>(writer: &mpsc::Sender<Message>, work: F) -> Option<Result<T>>
where
    T: Send + 'static,
    F: Fn(&mut Draft<'_>) -> Result<T> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let job = Box::new(Call { work, result: None, reply });
    writer.send(Message::Job(job)).ok()?;
    answer.await.ok()
}

/// The writer, as the thread owns it.
pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    clock: Arc<dyn Clock>,
    history: u64,
    state: State,
    tip: watch::Sender<Revision>,
    deadline: watch::Sender<Option<Duration>>,
}

impl Writer {
    /// Reads the state from the file. All leases get their full time to live: nobody could keep them alive while
    /// the store was closed.
    pub(super) fn new(path: PathBuf, connection: Connection, clock: Arc<dyn Clock>, history: u64) -> Result<Self> {
        let rows = Rows { connection: &connection, path: &path };
        let counters = rows.counters()?;
        let mut leases = Leases::default();
        for (lease, ttl) in rows.leases()? {
            leases.grant(lease, ttl, clock.now());
        }
        Ok(Self {
            tip: watch::Sender::new(counters.revision),
            deadline: watch::Sender::new(leases.next_deadline()),
            state: State { counters, leases },
            path,
            connection,
            clock,
            history,
        })
    }

    /// The store's revision, as it grows.
    pub(super) fn tip(&self) -> watch::Receiver<Revision> {
        self.tip.subscribe()
    }

    /// When the next lease ends.
    pub(super) fn deadline(&self) -> watch::Receiver<Option<Duration>> {
        self.deadline.subscribe()
    }

    /// Serves until told to stop or until nobody is left to ask.
    pub(super) fn serve(mut self, requests: &mpsc::Receiver<Message>) {
        while let Ok(Message::Job(first)) = requests.recv() {
            let mut group = vec![first];
            let mut stop = false;
            while group.len() < MAX_GROUP && !stop {
                match requests.try_recv() {
                    Ok(Message::Job(job)) => group.push(job),
                    Ok(Message::Stop) => stop = true,
                    Err(_) => break,
                }
            }
            self.serve_group(group);
            if stop {
                return;
            }
        }
    }

    fn serve_group(&mut self, mut group: Vec<Box<dyn Job>>) {
        let together = self.commit(&mut group);
        if together.is_ok() || group.len() == 1 {
            for job in group {
                job.answer(together.clone());
            }
            return;
        }
        // One request that cannot be done (too big for the disk, say) must not fail its neighbours.
        for mut job in group {
            let alone = self.commit(std::slice::from_mut(&mut job));
            job.answer(alone);
        }
    }

    /// Does the jobs in one SQLite transaction.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<()> {
        let path = &self.path;
        let fail = |source| sqlite_error(path, "write", source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let mut draft =
            Draft { rows: Rows { connection: &transaction, path }, state: self.state.clone(), now: self.clock.now() };
        draft.end_leases()?;
        for job in jobs {
            job.run(&mut draft)?;
        }
        draft.bound_history(self.history)?;
        if draft.state.counters != self.state.counters {
            draft.rows.save_counters(draft.state.counters)?;
        }
        let state = draft.state;
        transaction.commit().map_err(fail)?;
        self.publish(state);
        Ok(())
    }

    /// Makes a committed state the one that the next requests, the watches and the timer see.
    fn publish(&mut self, state: State) {
        self.state = state;
        let revision = self.state.counters.revision;
        self.tip.send_if_modified(|tip| {
            let grown = *tip != revision;
            *tip = revision;
            grown
        });
        let next = self.state.leases.next_deadline();
        self.deadline.send_if_modified(|deadline| {
            let moved = *deadline != next;
            *deadline = next;
            moved
        });
    }
}

/// The error of a store that was closed.
pub(super) fn closed(path: &std::path::Path) -> Error {
    Error::Closed { name: path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::sqlite::file;
    use crate::transaction::Transaction;

    /// Sends a commit without waiting for it.
    fn send(writer: &mpsc::Sender<Message>, transaction: Transaction) -> oneshot::Receiver<Result<Option<Revision>>> {
        let (reply, answer) = oneshot::channel();
        let job = Call {
            work: move |draft: &mut Draft<'_>| Ok(draft.commit(&transaction)?.committed()),
            result: None,
            reply,
        };
        writer.send(Message::Job(Box::new(job))).unwrap();
        answer
    }

    #[test]
    fn requests_that_wait_together_share_a_transaction_but_not_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let opened = file::open(&folder.path().join("store.db")).unwrap();
        let pages: i64 = opened.writer.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        // A full disk, as far as SQLite is concerned: room for little records, none for a large one.
        let limit = format!("PRAGMA max_page_count = {}", pages + 20);
        opened.writer.query_row(&limit, [], |row| row.get::<_, i64>(0)).unwrap();
        let clock = Arc::new(ManualClock::new());
        let writer = Writer::new(opened.path, opened.writer, clock, 100).unwrap();
        let tip = writer.tip();
        let (sender, requests) = mpsc::channel();
        let small = |key: &str| Transaction::new().absent(key).put(key, "1");
        let answers = [
            send(&sender, small("a")),
            send(&sender, small("b")),
            send(&sender, Transaction::new().put("large", vec![0; 500_000])),
            send(&sender, small("a")),
            send(&sender, small("c")),
        ];
        sender.send(Message::Stop).unwrap();
        writer.serve(&requests);
        let [a, b, large, again, c] = answers.map(|answer| answer.blocking_recv().unwrap());
        assert_eq!(a.unwrap(), Some(Revision(2)));
        assert_eq!(b.unwrap(), Some(Revision(3)));
        assert_eq!(again.unwrap(), None);
        assert_eq!(c.unwrap(), Some(Revision(4)));
        match large {
            Err(Error::Engine { action: "write", name, source }) => {
                assert!(name.ends_with("store.db"));
                assert!(source.to_string().contains("full"), "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(*tip.borrow(), Revision(4));
    }

    #[test]
    fn requests_behind_the_stop_are_answered_as_closed() {
        let folder = tempfile::tempdir().unwrap();
        let opened = file::open(&folder.path().join("store.db")).unwrap();
        let clock = Arc::new(ManualClock::new());
        let writer = Writer::new(opened.path, opened.writer, clock, 100).unwrap();
        let (sender, requests) = mpsc::channel();
        sender.send(Message::Stop).unwrap();
        let answer = send(&sender, Transaction::new().put("a", "1"));
        writer.serve(&requests);
        drop(requests);
        assert!(answer.blocking_recv().is_err());
    }
}
