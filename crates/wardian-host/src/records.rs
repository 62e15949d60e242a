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
use wardian_store::{Error, Outcome, Result, Revision, Store, Transaction, typed};

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

    /// Other hosts write events too.
    async fn count_events(&self) -> Result<()> {
        let events = typed::list_as::<EventRecord>(&*self.store, EventRecord::PREFIX).await?;
        let next = events.entries.last().map_or(1, |last| last.value.sequence + 1);
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
