//! Typed access to the store: reading records, changing one by compare-and-swap, saying what happened.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indexmap::IndexMap;
use wardian_model::{
    Timestamp,
    cut::{CutPartRecord, CutRecord, CutStage},
    environment::EnvironmentRecord,
    event::EventRecord,
    id::{CutId, OperationId},
    image::ImageRecord,
    machine::MachineRecord,
    name::{EnvironmentName, ImageName, MachineName},
    operation::OperationRecord,
    record::Record,
};
use wardian_store::{Entry, Error, Outcome, Result, Revision, Store, Transaction, typed};

/// How long an operation that is over and done with can still be looked up by who followed it.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(60);

/// Events kept; older ones are forgotten.
const EVENTS_KEPT: u64 = 1000;

/// The records of this store.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    next_event: Arc<AtomicU64>,
}

/// A record and the revision it was read at.
#[derive(Debug, Clone)]
pub struct At<R> {
    /// The record.
    pub record: R,
    /// When it was last written.
    pub revision: Revision,
}

/// What could be read of a listing.
#[derive(Debug)]
pub(crate) struct Readable<R> {
    /// The records, in the order of their keys.
    pub(crate) records: Vec<R>,
    /// Whether these are all.
    pub(crate) is_whole: bool,
    /// The store's revision when they were read.
    pub(crate) revision: Revision,
}

/// A record, if it can be read; else that is told in the log.
pub(crate) fn read_or_tell<R: Record>(entry: &Entry) -> Option<R> {
    let told = |error: &Error| {
        tracing::error!(error = %crate::refusal::problem(error), "a record can't be read, and is left out");
    };
    entry.decode().inspect_err(told).ok()
}

impl Records {
    /// On top of `store`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self> {
        let records = Self { store, next_event: Arc::new(AtomicU64::new(1)) };
        records.count_events().await?;
        Ok(records)
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The record under `key`.
    ///
    /// # Errors
    /// When the store can't be read, or the value doesn't decode.
    pub async fn get<R: Record>(&self, key: &str) -> Result<Option<At<R>>> {
        let found = typed::get_as::<R>(&*self.store, key).await?;
        Ok(found.map(|(record, revision)| At { record, revision }))
    }

    /// All records below `prefix`.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn list<R: Record>(&self, prefix: &str) -> Result<Vec<R>> {
        Ok(typed::list_as::<R>(&*self.store, prefix).await?.entries.into_iter().map(|e| e.value).collect())
    }

    /// Those of the records below `prefix` that can be read: for whoever can do what the others want without them. The
    /// others are told of in the log. Never for looking what nobody needs any more.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(crate) async fn readable<R: Record>(&self, prefix: &str) -> Result<Readable<R>> {
        let listing = self.store.list(prefix).await?;
        let records: Vec<R> = listing.entries.iter().filter_map(read_or_tell).collect();
        Ok(Readable { is_whole: records.len() == listing.entries.len(), records, revision: listing.revision })
    }

    /// An environment.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn environment(&self, name: &EnvironmentName) -> Result<Option<At<EnvironmentRecord>>> {
        self.get(&EnvironmentRecord::key_of(name)).await
    }

    /// The machines of an environment, in the order of their names.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn machines(&self, environment: &EnvironmentName) -> Result<IndexMap<MachineName, MachineRecord>> {
        let machines = self.list::<MachineRecord>(&MachineRecord::prefix_of(environment)).await?;
        Ok(machines.into_iter().map(|m| (m.name.clone(), m)).collect())
    }

    /// An operation.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn operation(&self, id: OperationId) -> Result<Option<At<OperationRecord>>> {
        self.get(&OperationRecord::key_of(id)).await
    }

    /// A cut.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn cut(&self, id: CutId) -> Result<Option<At<CutRecord>>> {
        self.get(&CutRecord::key_of(id)).await
    }

    /// All cuts, and what hosts have done of cuts that are still made, each as one: what is in them is needed.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub(crate) async fn cuts_and_parts(&self) -> Result<Vec<CutRecord>> {
        let parts = self.list::<CutPartRecord>(CutPartRecord::PREFIX).await?;
        let mut cuts = self.list::<CutRecord>(CutRecord::PREFIX).await?;
        let done = parts.into_iter().filter_map(|part| match part.stage {
            CutStage::Over { phase } => {
                let whole = cuts.iter().find(|cut| cut.id == part.cut)?;
                Some(CutRecord { phase, ..whole.clone() })
            }
            CutStage::Prepared | CutStage::Stopped => None,
        });
        let done: Vec<_> = done.collect();
        cuts.extend(done);
        Ok(cuts)
    }

    /// An image.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn image(&self, name: &ImageName) -> Result<Option<At<ImageRecord>>> {
        self.get(&ImageRecord::key_of(name)).await
    }

    /// Changes the record under `key`, however often others change it in between. `change` says whether there is
    /// something to write. Gives the record as it then is; nothing when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn update<R: Record>(&self, key: &str, mut change: impl FnMut(&mut R) -> bool) -> Result<Option<R>> {
        loop {
            let Some(At { mut record, revision }) = self.get::<R>(key).await? else { return Ok(None) };
            if !change(&mut record) {
                return Ok(Some(record));
            }
            let transaction = Transaction::new().unchanged(key, revision).put_json(key, &record)?;
            if let Outcome::Committed(_) = self.store.commit(transaction).await? {
                return Ok(Some(record));
            }
        }
    }

    /// Says what happened. A failure to write it down is logged, for what happened has happened.
    pub async fn say(&self, environment: &EnvironmentName, machine: Option<&MachineName>, message: impl Into<String>) {
        let message = message.into();
        tracing::info!(%environment, machine = machine.map(MachineName::as_str), "{message}");
        if let Err(error) = self.write_event(environment, machine, message).await {
            tracing::warn!(%error, "an event could not be written down");
        }
    }

    /// Other hosts write events too. Keys tell, also of one that can't be read.
    async fn count_events(&self) -> Result<()> {
        let events = self.store.list(EventRecord::PREFIX).await?;
        let number = |key: &str| key.strip_prefix(EventRecord::PREFIX)?.parse::<u64>().ok();
        let next = events.entries.last().and_then(|last| number(&last.key)).map_or(1, |last| last.saturating_add(1));
        self.next_event.fetch_max(next, Ordering::Relaxed);
        Ok(())
    }

    async fn write_event(
        &self,
        environment: &EnvironmentName,
        machine: Option<&MachineName>,
        message: String,
    ) -> Result<(), Error> {
        let mut event = EventRecord {
            sequence: 0,
            at: Timestamp::now(),
            environment: environment.clone(),
            machine: machine.cloned(),
            message,
        };
        loop {
            event.sequence = self.next_event.fetch_add(1, Ordering::Relaxed);
            let mut transaction = Transaction::new().absent(event.key()).put_json(event.key(), &event)?;
            if let Some(old) = event.sequence.checked_sub(EVENTS_KEPT) {
                transaction = transaction.delete(EventRecord { sequence: old, ..event.clone() }.key());
            }
            if let Outcome::Committed(_) = self.store.commit(transaction).await? {
                return Ok(());
            }
            self.count_events().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use wardian_model::cluster::PartRecord;
    use wardian_store::MemoryStore;

    use super::*;

    fn part(host: &str) -> PartRecord {
        serde_json::from_value(serde_json::json!({ "environment-id": "00000000000000aa", "host": host })).unwrap()
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_hides_no_other_from_who_can_do_without_it() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let [one, two, three] = ["a", "b", "c"].map(part);
        let put =
            Transaction::new().put_json(one.key(), &one).and_then(|put| put.put_json(three.key(), &three)).unwrap();
        let revision = store.commit(put.put(two.key(), "{\"host\":")).await.unwrap().committed().unwrap();
        let records = Records::open(store).await.unwrap();
        let readable = records.readable::<PartRecord>(PartRecord::PREFIX).await.unwrap();
        assert_eq!((readable.records, readable.revision), (vec![one, three], revision));
        // Who must know all is told which one it is.
        let error = records.list::<PartRecord>(PartRecord::PREFIX).await.unwrap_err();
        assert!(error.to_string().ends_with(&two.key()), "{error}");
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_read_is_followed_by_others() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let key = format!("{}{:020}", EventRecord::PREFIX, 7);
        store.commit(Transaction::new().put(key, "[]")).await.unwrap().committed().unwrap();
        let records = Records::open(store).await.unwrap();
        records.say(&"store".parse().unwrap(), None, "something").await;
        let events = records.readable::<EventRecord>(EventRecord::PREFIX).await.unwrap().records;
        assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [8]);
    }
}
