//! The tables of the file, and how older files become newer ones.
//!
//! A value is written once: `events` holds every change of the kept history, and `entries` points at the event that
//! last put each living key. Compaction deletes the events before the oldest kept revision that no entry points
//! at; an event that lies before it and loses its entry later is deleted right then.

use rusqlite::{Connection, TransactionBehavior};

/// "WARD", in the header of every file of ours, so that a file of another program is not taken for a store.
pub(super) const APPLICATION_ID: i32 = 0x5741_5244;

/// Each step takes a file from the version that is its index to the next one. Steps are never changed once
/// released; new ones go at the end.
const MIGRATIONS: &[&str] = &["
    PRAGMA application_id = 0x57415244;

    -- One row. `oldest` is the oldest revision a watch can start from.
    CREATE TABLE state (
        only INTEGER PRIMARY KEY CHECK (only = 0),
        revision INTEGER NOT NULL,
        oldest INTEGER NOT NULL,
        last_lease INTEGER NOT NULL
    ) STRICT;
    INSERT INTO state VALUES (0, 1, 1, 0);

    -- `id` is the revision and the position in its transaction (see `rows`), so that the history is one
    -- append-only tree, read in order without an index. A delete has no value.
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        value BLOB,
        create_revision INTEGER NOT NULL,
        version INTEGER NOT NULL,
        lease INTEGER
    ) STRICT;

    CREATE TABLE entries (
        key TEXT PRIMARY KEY,
        event INTEGER NOT NULL,
        lease INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entries_by_lease ON entries (lease, key) WHERE lease IS NOT NULL;

    CREATE TABLE leases (
        id INTEGER PRIMARY KEY,
        ttl_ms INTEGER NOT NULL
    ) STRICT;
"];

/// The newest schema this version knows.
pub(super) fn supported() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Brings a file from schema `found` to the newest, each step in a transaction of its own: a process killed in
/// between leaves a file at some version, and the next one goes on from there.
pub(super) fn migrate(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    for (version, step) in (0..supported()).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT;
             DELETE FROM schema_version;",
        )?;
        transaction.execute("INSERT INTO schema_version VALUES (?1)", [version + 1])?;
        transaction.commit()?;
    }
    Ok(())
}

/// What a file is.
pub(super) enum Found {
    /// Without tables: just created, or created by a process that was killed right then.
    Empty,
    /// A store with this schema.
    Store(u32),
    /// Something else's database.
    Foreign,
}

/// Looks what the file is, changing nothing.
pub(super) fn inspect(connection: &Connection) -> rusqlite::Result<Found> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Found::Empty);
    }
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Ok(Found::Foreign);
    }
    connection.query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0)).map(Found::Store)
}
