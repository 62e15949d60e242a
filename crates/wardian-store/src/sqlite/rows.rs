//! All SQL of the engine: records to rows and back.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::file::sqlite_error;
use crate::error::{Error, Result};
use crate::key::end_of;
use crate::record::{Entry, Event, EventKind, LeaseId, Listing, Revision};
use crate::watch::{Page, PageBuilder};

/// Bits of an event's id that count within its revision. This leaves 41 bits for revisions: 70 years of a thousand
/// commits per second.
const POSITION_BITS: u32 = 22;

/// Most keys that can change at one revision.
pub(super) const MAX_CHANGES: usize = 1 << POSITION_BITS;

/// The id of the first event of a revision.
fn first_id(revision: Revision) -> i64 {
    signed(revision.0) << POSITION_BITS
}

fn revision_of(id: i64) -> Revision {
    Revision(unsigned(id >> POSITION_BITS))
}

// SQLite's integers are signed. Revisions, versions and lease ids count up from zero and never get near the sign.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// The row of `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) revision: Revision,
    pub(super) oldest: Revision,
    pub(super) last_lease: LeaseId,
}

/// The tables, seen through one connection.
pub(super) struct Rows<'a> {
    pub(super) connection: &'a Connection,
    pub(super) path: &'a Path,
}

impl Rows<'_> {
    fn reading<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|source| sqlite_error(self.path, "read", source))
    }

    fn writing<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|source| sqlite_error(self.path, "write", source))
    }

    /// Runs a statement that changes rows.
    fn change(&self, sql: &str, values: impl rusqlite::Params) -> Result<()> {
        let run = || self.connection.prepare_cached(sql)?.execute(values);
        self.writing(run()).map(drop)
    }

    /// Reads all rows of a query.
    fn collect<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let run = || self.connection.prepare_cached(sql)?.query_map(values, read)?.collect();
        self.reading(run())
    }

    pub(super) fn counters(&self) -> Result<Counters> {
        let read = |row: &Row<'_>| {
            Ok(Counters {
                revision: Revision(unsigned(row.get(0)?)),
                oldest: Revision(unsigned(row.get(1)?)),
                last_lease: LeaseId(unsigned(row.get(2)?)),
            })
        };
        let run =
            || self.connection.prepare_cached("SELECT revision, oldest, last_lease FROM state")?.query_row([], read);
        self.reading(run())
    }

    pub(super) fn save_counters(&self, counters: Counters) -> Result<()> {
        self.change(
            "UPDATE state SET revision = ?1, oldest = ?2, last_lease = ?3",
            params![signed(counters.revision.0), signed(counters.oldest.0), signed(counters.last_lease.0)],
        )
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>> {
        let run = || {
            self.connection
                .prepare_cached(
                    "SELECT id, events.key, value, create_revision, version, events.lease
                     FROM entries JOIN events ON id = event WHERE entries.key = ?1",
                )?
                .query_row([key], entry)
                .optional()
        };
        self.reading(run())
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Listing> {
        let entries = self.collect(
            "SELECT id, events.key, value, create_revision, version, events.lease
             FROM entries JOIN events ON id = event
             WHERE entries.key >= ?1 AND entries.key < ?2 ORDER BY entries.key",
            params![prefix, end_of(prefix)],
            entry,
        )?;
        let revision = self.counters()?.revision;
        Ok(Listing { entries, revision })
    }

    pub(super) fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        self.collect(
            "SELECT key FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key",
            params![prefix, end_of(prefix)],
            |row| row.get(0),
        )
    }

    pub(super) fn keys_of_lease(&self, lease: LeaseId) -> Result<Vec<String>> {
        self.collect("SELECT key FROM entries WHERE lease = ?1 ORDER BY key", [signed(lease.0)], |row| row.get(0))
    }

    /// Writes the events of one revision. `oldest` is the oldest kept revision: superseded events before it go.
    pub(super) fn apply(&self, events: &[Event], oldest: Revision) -> Result<()> {
        for (event, position) in events.iter().zip(0..) {
            let id = first_id(event.revision) + position;
            let key = event.key();
            self.change(
                "DELETE FROM events WHERE id < ?2
                 AND id = (SELECT event FROM entries WHERE entries.key = ?1)",
                params![key, first_id(oldest)],
            )?;
            let (value, created, version, lease) = match &event.kind {
                EventKind::Put(put) => {
                    (Some(&put.value), put.create_revision.0, put.version, put.lease.map(|lease| signed(lease.0)))
                }
                EventKind::Delete { .. } => (None, 0, 0, None),
            };
            self.change(
                "INSERT INTO events (id, key, value, create_revision, version, lease)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![id, key, value, signed(created), signed(version), lease],
            )?;
            match &event.kind {
                EventKind::Put(_) => self.change(
                    "INSERT INTO entries (key, event, lease) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET event = excluded.event, lease = excluded.lease",
                    params![key, id, lease],
                )?,
                EventKind::Delete { .. } => {
                    self.change("DELETE FROM entries WHERE key = ?1", [key])?;
                }
            }
        }
        Ok(())
    }

    /// Forgets the events of the revisions `from..to` that no entry points at.
    pub(super) fn compact(&self, from: Revision, to: Revision) -> Result<()> {
        self.change(
            "DELETE FROM events WHERE id >= ?1 AND id < ?2
             AND id IS NOT (SELECT event FROM entries WHERE entries.key = events.key)",
            params![first_id(from), first_id(to)],
        )
    }

    /// A page of history.
    pub(super) fn page(&self, prefix: &str, from: Revision) -> Result<Page> {
        let counters = self.counters()?;
        if from < counters.oldest {
            return Err(Error::Compacted { oldest: counters.oldest });
        }
        let mut page = PageBuilder::default();
        let run = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT id, key, value, create_revision, version, lease FROM events
                 WHERE id >= ?1 AND key >= ?2 AND key < ?3 ORDER BY id",
            )?;
            let mut rows = statement.query(params![first_id(from), prefix, end_of(prefix)])?;
            while let Some(row) = rows.next()? {
                if let Err(next) = page.push(event(row)?) {
                    return Ok(page.finish(next.revision));
                }
            }
            Ok(page.finish(counters.revision.next()))
        };
        self.reading(run())
    }

    /// All leases with their times to live.
    pub(super) fn leases(&self) -> Result<Vec<(LeaseId, Duration)>> {
        self.collect("SELECT id, ttl_ms FROM leases", [], |row| {
            Ok((LeaseId(unsigned(row.get(0)?)), Duration::from_millis(unsigned(row.get(1)?))))
        })
    }

    pub(super) fn add_lease(&self, lease: LeaseId, ttl: Duration) -> Result<()> {
        // `check_ttl` bounds the time to live far below what an i64 of milliseconds holds.
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        self.change("INSERT INTO leases (id, ttl_ms) VALUES (?1, ?2)", params![signed(lease.0), millis])
    }

    pub(super) fn remove_lease(&self, lease: LeaseId) -> Result<()> {
        self.change("DELETE FROM leases WHERE id = ?1", [signed(lease.0)])
    }
}

/// Reads the columns id, key, value, create_revision, version, lease as a living entry.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let lease: Option<i64> = row.get(5)?;
    Ok(Entry {
        key: row.get(1)?,
        value: row.get(2)?,
        create_revision: Revision(unsigned(row.get(3)?)),
        mod_revision: revision_of(row.get(0)?),
        version: unsigned(row.get(4)?),
        lease: lease.map(|lease| LeaseId(unsigned(lease))),
    })
}

/// Reads the same columns as an event.
fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let deleted = row.get_ref(2)? == rusqlite::types::ValueRef::Null;
    Ok(Event {
        revision: revision_of(row.get(0)?),
        kind: if deleted { EventKind::Delete { key: row.get(1)? } } else { EventKind::Put(entry(row)?) },
    })
}
