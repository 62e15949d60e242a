//! Who belongs to the cluster, who of them is there, and who leads.

use wardian_model::{
    cluster::{HostRecord, LeaderRecord, PresenceRecord},
    record::Record,
};
use wardian_store::{Result, Store, typed};

/// A host and how it stands, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStanding {
    /// It.
    pub host: HostRecord,
    /// Its presence, with since when; none while it is away.
    pub presence: Option<PresenceRecord>,
    /// Whether it leads.
    pub leads: bool,
}

/// All hosts of the cluster, by name.
///
/// # Errors
/// When the store can't be read.
pub async fn hosts(store: &dyn Store) -> Result<Vec<HostStanding>> {
    // The leader first: one that has left since is shown as away, not as there without leading.
    let leader = typed::get_as::<LeaderRecord>(store, LeaderRecord::KEY).await?;
    let mut presences = typed::list_as::<PresenceRecord>(store, PresenceRecord::PREFIX).await?.entries;
    let hosts = typed::list_as::<HostRecord>(store, HostRecord::PREFIX).await?.entries;
    let standing = hosts.into_iter().map(|host| {
        let host = host.value;
        let place = presences.iter().position(|presence| presence.value.host == host.name);
        let presence = place.map(|place| presences.swap_remove(place).value);
        let leads = leader.as_ref().is_some_and(|(leader, _)| leader.host == host.name) && presence.is_some();
        HostStanding { host, presence, leads }
    });
    Ok(standing.collect())
}
