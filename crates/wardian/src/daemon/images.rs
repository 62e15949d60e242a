//! The other hosts of a cluster, as where images come from.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;
use wardian_api::peer::{Trust, fetch_image};
use wardian_host::ImageSource;
use wardian_model::{
    cluster::{HostRecord, PresenceRecord},
    environment::Problem,
    name::HostName,
    record::Record,
};
use wardian_store::{Store, typed};
use wardian_vault::{Digest, Vault};

/// How long a host is waited for that was there and broke off: longer than a daemon takes to start again, shorter than
/// a user's patience.
const PATIENCE: Duration = Duration::from_secs(30);

const RETRY: Duration = Duration::from_millis(500);

/// The other hosts.
pub(super) struct Peers {
    pub(super) own: HostName,
    pub(super) store: Arc<dyn Store>,
    pub(super) trust: Trust,
}

/// Why no host gave it.
#[derive(Default)]
struct Tried {
    why: Vec<String>,
    /// One of them may, in a moment.
    may_pass: bool,
}

impl Peers {
    /// Asks each host that is there.
    async fn try_all(&self, digest: &Digest, vault: &Vault) -> Result<Result<(), Tried>, Problem> {
        let read = |error: wardian_store::Error| Problem::new(format!("the hosts can't be looked up: {error}"));
        let hosts = typed::list_as::<HostRecord>(&*self.store, HostRecord::PREFIX).await.map_err(read)?;
        let mut tried = Tried::default();
        for host in hosts.entries.into_iter().map(|entry| entry.value).filter(|host| host.name != self.own) {
            let presence = typed::get_as::<PresenceRecord>(&*self.store, &PresenceRecord::key_of(&host.name)).await;
            if presence.map_err(read)?.is_none() {
                tried.why.push(format!("{} is down", host.name));
                continue;
            }
            match fetch_image(&self.trust, &host.name, host.peer, *digest, vault).await {
                Ok(image) => {
                    tracing::info!(%digest, host = %host.name, bytes = image.disk_size, "brought an image");
                    return Ok(Ok(()));
                }
                Err(error) => {
                    tried.may_pass |= error.may_pass();
                    tried.why.push(wardian_host::problem(&error).message);
                }
            }
        }
        Ok(Err(tried))
    }
}

#[async_trait]
impl ImageSource for Peers {
    async fn bring(&self, digest: &Digest, vault: &Vault) -> Result<(), Problem> {
        // Since a host broke off that could have given it.
        let mut since: Option<Instant> = None;
        loop {
            let Err(tried) = self.try_all(digest, vault).await? else { return Ok(()) };
            if tried.may_pass {
                since.get_or_insert_with(Instant::now);
            }
            // One that broke off may be down for a moment before it is there again.
            if since.is_none_or(|since| since.elapsed() > PATIENCE) {
                let why = tried.why.join("; ");
                return Err(Problem::new(format!("no host has the image {digest}: {why}"))
                    .hint("import it here under the same name, or start the host that has it (`wardian host ls`)"));
            }
            tracing::warn!(%digest, why = tried.why.join("; "), "an image does not come; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}
