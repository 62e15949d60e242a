//! A store in one SQLite file, for one host.
//!
//! | file | idea |
//! |---|---|
//! | `file` | who may open, what is refused, how SQLite is set up and why |
//! | `schema` | the tables and their migrations |
//! | `rows` | all other SQL |
//! | `draft` | what requests do within one SQLite transaction |
//! | `writer` | the thread that writes, and how commits share an fsync |
//! | `reader` | the thread that reads |

mod draft;
mod file;
mod reader;
mod rows;
mod schema;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use self::draft::Draft;
use self::reader::{Query, SqliteHistory};
use self::rows::Rows;
use self::writer::{Message, Writer, closed};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::key::{check_key, check_prefix};
use crate::lease::{check_ttl, end_in_time};
use crate::record::{Entry, LeaseId, Listing, Revision};
use crate::store::{Options, Store};
use crate::transaction::{Outcome, Transaction};
use crate::watch::{HistoryWatch, Watch};

/// Keeps everything in one SQLite file (with SQLite's `-wal` and `-shm` and our `.lock` beside it).
///
/// Dropping it ends its threads, which waits for the commit under way, and lets go of the file. Watches do not keep
/// it open; their `next` answers [`Closed`](crate::Error::Closed).
pub struct SqliteStore {
    path: Arc<Path>,
    clock: Arc<dyn Clock>,
    writer: mpsc::Sender<Message>,
    reader: mpsc::Sender<Query>,
    tip: watch::Receiver<Revision>,
    deadline: watch::Receiver<Option<Duration>>,
    reader_thread: Option<JoinHandle<()>>,
    writer_thread: Option<JoinHandle<()>>,
    /// Ours as long as this is open. Dropped after the threads have ended.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store at `path` with the real clock and the default history. See [`open_with`](Self::open_with).
    ///
    /// # Errors
    /// As for [`open_with`](Self::open_with).
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Options::default()).await
    }

    /// Opens the store at `path`, creating it if there is none, in a folder that exists. Leases start anew with
    /// their full time to live. The runtime this is called on is the one that ends leases in time.
    ///
    /// # Errors
    /// [`InUse`](Error::InUse) when it is open elsewhere, [`NewerSchema`](Error::NewerSchema) when a newer version
    /// wrote it (it stays as it is), [`Corrupt`](Error::Corrupt) when it is damaged or something else, and
    /// [`Engine`](Error::Engine) for whatever the file system says.
    pub async fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path: PathBuf = path.as_ref().to_owned();
        let name = path.clone();
        let store =
            tokio::task::spawn_blocking(move || Self::start(&path, options)).await.map_err(|_| closed(&name))??;
        let sweep = {
            let (writer, path) = (store.writer.clone(), Arc::clone(&store.path));
            async move || writer::call(&writer, |_| Ok(())).await.unwrap_or_else(|| Err(closed(&path)))
        };
        tokio::spawn(end_in_time(store.deadline.clone(), Arc::clone(&store.clock), sweep));
        Ok(store)
    }

    /// Opens the file and starts the threads. Blocks.
    fn start(path: &Path, options: Options) -> Result<Self> {
        let opened = file::open(path)?;
        let path: Arc<Path> = opened.path.clone().into();
        let writer = Writer::new(opened.path, opened.writer, Arc::clone(&options.clock), options.history)?;
        let (tip, deadline) = (writer.tip(), writer.deadline());
        let (to_writer, requests) = mpsc::channel();
        let (to_reader, queries) = mpsc::channel();
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|source| Error::Engine {
                action: "start a thread for",
                name: path.display().to_string(),
                source: Arc::new(source),
            })
        };
        let reader = {
            let (connection, path) = (opened.reader, Arc::clone(&path));
            let serve = move || reader::serve(connection, &path, &queries);
            spawn("store-reader", Box::new(serve))?
        };
        let writer = spawn("store-writer", Box::new(move || writer.serve(&requests)))?;
        Ok(Self {
            path,
            clock: options.clock,
            writer: to_writer,
            reader: to_reader,
            tip,
            deadline,
            reader_thread: Some(reader),
            writer_thread: Some(writer),
            _lock: opened.lock,
        })
    }

    async fn write<T: Send + 'static>(&self, work: impl Fn(&mut Draft<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        writer::call(&self.writer, work).await.unwrap_or_else(|| Err(closed(&self.path)))
    }

    async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Rows<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.end_leases().await?;
        reader::ask(&self.reader, &self.path, work).await
    }

    fn join(&self, thread: Option<JoinHandle<()>>) {
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(path = %self.path.display(), "a thread of the store has panicked");
        }
    }

    /// Has the writer end the leases whose time has passed, if there are any.
    async fn end_leases(&self) -> Result<()> {
        let next = *self.deadline.borrow();
        match next {
            Some(deadline) if deadline <= self.clock.now() => self.write(|_| Ok(())).await,
            _ => Ok(()),
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // A thread that is gone already cannot be told, and need not be. The writer goes last: the last connection
        // to close moves the log into the file, and the reader's may not write.
        let _ = self.reader.send(Query::Stop);
        let reader = self.reader_thread.take();
        self.join(reader);
        let _ = self.writer.send(Message::Stop);
        let writer = self.writer_thread.take();
        self.join(writer);
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        check_key(key)?;
        let key = key.to_owned();
        self.read(move |rows| rows.get(&key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        check_prefix(prefix)?;
        let prefix = prefix.to_owned();
        self.read(move |rows| rows.list(&prefix)).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome> {
        transaction.check()?;
        self.write(move |draft| draft.commit(&transaction)).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        check_prefix(prefix)?;
        self.end_leases().await?;
        let history = SqliteHistory { reader: self.reader.clone(), path: Arc::clone(&self.path) };
        HistoryWatch::start(history, prefix, from, self.tip.clone()).await.map(Watch::new)
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        let ttl = check_ttl(ttl)?;
        self.write(move |draft| draft.grant(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.write(move |draft| draft.keep_alive(lease)).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.write(move |draft| draft.revoke(lease)).await
    }

    async fn revision(&self) -> Result<Revision> {
        self.end_leases().await?;
        Ok(*self.tip.borrow())
    }

    async fn compact(&self, oldest: Revision) -> Result<()> {
        self.write(move |draft| draft.compact(oldest)).await
    }
}
