//! A host that has come in: who it is, and how it goes.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use wardian_model::cluster::{ClusterRecord, HostRecord};
use wardian_store::{Clock, Store};

use crate::{clock::BootClock, keep, standing::Standing, tenure::Tenure};

/// How long is waited before the store is asked again that has just failed.
pub const RETRY: Duration = Duration::from_secs(1);

/// A host that has come in, and this run of its daemon.
pub struct Member {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    cluster: ClusterRecord,
    host: HostRecord,
    /// Since when the host runs.
    pub(crate) boot: String,
    /// This run of its daemon.
    pub(crate) daemon: String,
    /// Whether this run has shown that it is there; from then on whoever does so in its place is a later one.
    appeared: AtomicBool,
    /// The last lease it had.
    tenure: Mutex<Option<Arc<Tenure>>>,
}

impl Member {
    pub(crate) fn new(store: Arc<dyn Store>, cluster: ClusterRecord, host: HostRecord, boot: String) -> Self {
        Self {
            store,
            clock: Arc::new(BootClock),
            cluster,
            host,
            boot,
            daemon: format!("{:032x}", rand::random::<u128>()),
            appeared: AtomicBool::new(false),
            tenure: Mutex::new(None),
        }
    }

    /// With another clock than [`BootClock`], for tests.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// What the hosts agree on.
    #[must_use]
    pub fn cluster(&self) -> &ClusterRecord {
        &self.cluster
    }

    /// This host.
    #[must_use]
    pub fn host(&self) -> &HostRecord {
        &self.host
    }

    /// The word of this run of its daemon, as in its presence.
    #[must_use]
    pub fn daemon(&self) -> &str {
        &self.daemon
    }

    /// Shows that the host is there, stands for leader, and says how it stands. Goes on until it is dropped; call
    /// [`leave`](Self::leave) then, so that others need not wait for the lease to end.
    ///
    /// A later daemon of this host takes its place; then it has nothing left to do but to say so.
    pub async fn keep(&self, standing: &watch::Sender<Standing>) {
        keep::keep(self, standing).await;
    }

    /// Ends the presence, and the lead with it, at once. For after [`keep`](Self::keep) has been dropped; it may be
    /// kept again later.
    ///
    /// # Errors
    /// When the store fails. Others see the presence end a little later then, with its lease. This host does not lead
    /// any more in either case.
    pub async fn leave(&self) -> wardian_store::Result<()> {
        let last = self.last_tenure().take();
        let Some(tenure) = last else { return Ok(()) };
        // Before anybody else can lead.
        tenure.end();
        let left = self.store.revoke_lease(tenure.lease()).await;
        if left.is_err() {
            self.last_tenure().get_or_insert(tenure);
        }
        left
    }

    pub(crate) fn has(&self, tenure: &Arc<Tenure>) {
        *self.last_tenure() = Some(Arc::clone(tenure));
    }

    fn last_tenure(&self) -> std::sync::MutexGuard<'_, Option<Arc<Tenure>>> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_appeared(&self) -> bool {
        self.appeared.load(Ordering::Acquire)
    }

    pub(crate) fn appears(&self) {
        self.appeared.store(true, Ordering::Release);
    }

    pub(crate) async fn pause(&self) {
        self.clock.sleep_until(self.clock.now() + RETRY).await;
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("Member").field("host", &self.host.name).field("daemon", &self.daemon).finish_non_exhaustive()
    }
}
