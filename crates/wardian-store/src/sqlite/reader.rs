//! The thread that reads, on a connection of its own: readers do not wait for the writer's fsync.
//!
//! Each query runs in a transaction, so it sees one revision. What the writer has acknowledged, it sees.

use std::path::Path;
use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::file::sqlite_error;
use super::rows::Rows;
use super::writer::closed;
use crate::error::{Error, Result};
use crate::record::Revision;
use crate::watch::{History, Page};

/// A query, which is given the tables as of one revision, or why they cannot be read.
type Run = Box<dyn FnOnce(Result<&Rows<'_>>) + Send>;

/// What the thread is sent. Unbounded for the same reason as the writer's requests: each caller waits.
pub(super) enum Query {
    /// A query to run.
    Run(Run),
    /// No more queries.
    Stop,
}

/// Runs `work` on the reader and waits for its answer.
pub(super) async fn ask<T: Send + 'static>(
    reader: &mpsc::Sender<Query>,
    path: &Path,
    work: impl FnOnce(&Rows<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    let run = move |rows: Result<&Rows<'_>>| {
        // A caller that has gone away needs no answer.
        let _ = reply.send(rows.and_then(work));
    };
    let sent = reader.send(Query::Run(Box::new(run)));
    let answer = match sent {
        Ok(()) => answer.await.ok(),
        Err(_) => None,
    };
    answer.unwrap_or_else(|| Err(closed(path)))
}

/// Serves until told to stop or until nobody is left to ask.
pub(super) fn serve(mut connection: Connection, path: &Path, queries: &mpsc::Receiver<Query>) {
    while let Ok(Query::Run(run)) = queries.recv() {
        match connection.transaction() {
            Ok(transaction) => run(Ok(&Rows { connection: &transaction, path })),
            Err(source) => run(Err(sqlite_error(path, "read", source))),
        }
    }
}

/// The history in the file, for watches.
pub(super) struct SqliteHistory {
    pub(super) reader: mpsc::Sender<Query>,
    pub(super) path: Arc<Path>,
}

#[async_trait]
impl History for SqliteHistory {
    async fn read(&self, prefix: &str, from: Revision) -> Result<Page> {
        let prefix = prefix.to_owned();
        ask(&self.reader, &self.path, move |rows| rows.page(&prefix, from)).await
    }

    fn closed(&self) -> Error {
        closed(&self.path)
    }
}
