//! Coming in: one transaction that says who a host is, and gives it its address on the lab network.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;
use wardian_model::{
    Timestamp,
    claim::{ClaimRecord, Claimed, Owner},
    cluster::{ClusterRecord, HostRecord},
    record::Record,
};
use wardian_store::{Outcome, Revision, Store, Transaction, typed};

use crate::{error::JoinError, member::Member, newcomer::Newcomer};

/// Comes into the cluster of that store, or founds it; or comes back. May be called any number of times.
///
/// # Errors
/// When the host is not like the others, takes what another has, or the store fails. What the store leaves open after a
/// failure (see [`Store::commit`]) is found again by the next call.
pub async fn join(store: Arc<dyn Store>, me: &Newcomer) -> Result<Member, JoinError> {
    check_join(&*store, me).await?.join(store).await
}

/// What [`join`] would make of the host now: the cluster, and its record there. Writes nothing, and is no promise.
///
/// # Errors
/// As those of [`join`].
pub async fn check_join<'a>(store: &dyn Store, me: &'a Newcomer) -> Result<Foreseen<'a>, JoinError> {
    let seen = Seen::read(store, me).await?;
    let (cluster, host) = seen.judge(me)?;
    Ok(Foreseen { me, seen, cluster, host })
}

/// What would become of a newcomer, by what the store had when it was looked at.
pub struct Foreseen<'a> {
    me: &'a Newcomer,
    seen: Seen,
    /// The cluster; founded with it, when there is none yet.
    pub cluster: ClusterRecord,
    /// The host in it.
    pub host: HostRecord,
}

/// Without the cluster's secret.
impl fmt::Debug for Foreseen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreseen").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Foreseen<'_> {
    /// Comes in so; or as it is by then, when something is in the way that was not there.
    ///
    /// # Errors
    /// As those of [`join`].
    pub async fn join(self, store: Arc<dyn Store>) -> Result<Member, JoinError> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(JoinError::Boot)?;
        let mut now = self;
        loop {
            let transaction = now.seen.transaction(&now.cluster, &now.host)?;
            if let Outcome::Committed(_) = store.commit(transaction).await? {
                return Ok(Member::new(store, now.cluster, now.host, boot.trim().to_owned()));
            }
            // Another host came in meanwhile, or an environment took the address. Look again.
            now = check_join(&*store, now.me).await?;
        }
    }
}

/// What the store has that concerns a newcomer.
///
/// The cluster's record is read first and every join puts it again. So a join that meets it unchanged has met all hosts
/// as they were read: no other has come in between.
struct Seen {
    cluster: Option<(ClusterRecord, Revision)>,
    hosts: Vec<HostRecord>,
    /// When the record of the newcomer's name was last put; 0 when there is none.
    own_revision: Revision,
    addresses: Vec<ClaimRecord>,
}

impl Seen {
    async fn read(store: &dyn Store, me: &Newcomer) -> Result<Self, JoinError> {
        let cluster = typed::get_as::<ClusterRecord>(store, ClusterRecord::KEY).await?;
        let hosts = typed::list_as::<HostRecord>(store, HostRecord::PREFIX).await?.entries;
        let own = hosts.iter().find(|host| host.value.name == me.name);
        let own_revision = own.map_or(Revision(0), |host| host.mod_revision);
        let addresses = typed::list_as::<ClaimRecord>(store, &Claimed::addresses()).await?.entries;
        Ok(Self {
            cluster,
            hosts: hosts.into_iter().map(|host| host.value).collect(),
            own_revision,
            addresses: addresses.into_iter().map(|claim| claim.value).collect(),
        })
    }

    /// What the records will be, if the newcomer may come in.
    fn judge(&self, me: &Newcomer) -> Result<(ClusterRecord, HostRecord), JoinError> {
        let cluster = match &self.cluster {
            Some((cluster, _)) => cluster.clone(),
            None => me.settings.found(),
        };
        let differences = me.settings.differences(&cluster);
        if !differences.is_empty() {
            return Err(JoinError::Settings(differences));
        }
        if !me.encapsulations.contains(&cluster.encapsulation) {
            return Err(JoinError::Encapsulation { wanted: cluster.encapsulation, able: me.encapsulations.clone() });
        }
        let before = self.hosts.iter().find(|host| host.name == me.name);
        if let Some(other) = before.filter(|host| host.instance != me.instance) {
            return Err(JoinError::Name { name: me.name.clone(), provider: other.provider });
        }
        if let Some(other) = self.hosts.iter().find(|host| host.provider == me.provider && host.name != me.name) {
            return Err(JoinError::Provider { provider: me.provider, host: other.name.clone() });
        }
        self.judge_rewrite_addresses(me, cluster.lab)?;
        // Its claim says so too, unless somebody has changed the store by hand.
        let kept = before.map(|host| host.lab_address).filter(|address| self.may_have(me, *address));
        let lab_address = match kept {
            Some(address) => address,
            None => self.free_address(cluster.lab)?,
        };
        let host = HostRecord {
            name: me.name.clone(),
            instance: me.instance.clone(),
            provider: me.provider,
            peer: me.peer,
            lab_address,
            memory_mib: me.memory_mib,
            cores: me.cores,
            version: me.version.clone(),
            qemu: me.qemu.clone(),
            encapsulations: me.encapsulations.clone(),
            rewrite_addresses: me.rewrite_addresses.map(|prefix| prefix.trunc()),
            joined: before.map_or_else(Timestamp::now, |host| host.joined),
        };
        Ok((cluster, host))
    }

    /// Its machines' provider addresses are nobody else's, and those that were given out stay.
    fn judge_rewrite_addresses(&self, me: &Newcomer, lab: Ipv4Net) -> Result<(), JoinError> {
        let others = || self.hosts.iter().filter(|host| host.name != me.name);
        let taken = |prefix: Ipv4Net, by: String| Err(JoinError::RewriteAddresses { prefix, by });
        if let Some(prefix) = me.rewrite_addresses {
            let overlaps = |other: &Ipv4Net| prefix.contains(&other.trunc()) || other.contains(&prefix.trunc());
            if overlaps(&lab) {
                return taken(prefix, format!("the lab network {lab}"));
            }
            if prefix.contains(&me.provider) {
                return taken(prefix, format!("this host's own provider address {}", me.provider));
            }
            if let Some(other) = others().find(|host| prefix.contains(&host.provider)) {
                return taken(prefix, format!("{}, the provider address of the host {}", other.provider, other.name));
            }
            let theirs = |host: &HostRecord| host.rewrite_addresses.filter(overlaps);
            if let Some((other, theirs)) = others().find_map(|host| Some((host, theirs(host)?))) {
                return taken(prefix, format!("{theirs} of the host {}", other.name));
            }
        }
        let holds = |prefix: &Ipv4Net| prefix.contains(&me.provider);
        if let Some((other, prefix)) = others().find_map(|host| Some((host, host.rewrite_addresses.filter(holds)?))) {
            return Err(JoinError::InRewriteAddresses { provider: me.provider, prefix, host: other.name.clone() });
        }
        let before = self.hosts.iter().find(|host| host.name == me.name).and_then(|host| host.rewrite_addresses);
        let Some(before) = before else { return Ok(()) };
        let stays = |address: &Ipv4Addr| me.rewrite_addresses.is_some_and(|prefix| prefix.contains(address));
        let left = self.addresses.iter().find_map(|claim| match claim.of {
            Claimed::Address(address) if before.contains(&address) && !stays(&address) => Some(address),
            _ => None,
        });
        match left {
            Some(address) => Err(JoinError::RewriteAddressesInUse { before, address }),
            None => Ok(()),
        }
    }

    fn may_have(&self, me: &Newcomer, address: Ipv4Addr) -> bool {
        let claim = self.addresses.iter().find(|claim| claim.of == Claimed::Address(address));
        claim.is_none_or(|claim| claim.owner == Owner::Host(me.name.clone()))
    }

    /// The highest address of the lab network that nobody has. Machines get theirs from the other end.
    fn free_address(&self, lab: Ipv4Net) -> Result<Ipv4Addr, JoinError> {
        let hosts = self.hosts.iter().map(|host| host.lab_address);
        let claims = self.addresses.iter().filter_map(|claim| match claim.of {
            Claimed::Address(address) => Some(address),
            Claimed::Edge(_) | Claimed::Port(..) => None,
        });
        let taken: BTreeSet<_> = hosts.chain(claims).collect();
        lab.hosts().rev().find(|address| !taken.contains(address)).ok_or(JoinError::Full { lab })
    }

    fn transaction(&self, cluster: &ClusterRecord, host: &HostRecord) -> Result<Transaction, JoinError> {
        let cluster_revision = self.cluster.as_ref().map_or(Revision(0), |(_, revision)| *revision);
        let claim = ClaimRecord { of: Claimed::Address(host.lab_address), owner: Owner::Host(host.name.clone()) };
        let transaction = Transaction::new()
            .unchanged(ClusterRecord::KEY, cluster_revision)
            .unchanged(host.key(), self.own_revision)
            .put_json(ClusterRecord::KEY, cluster)?
            .put_json(host.key(), host)?;
        // A host that comes back has it already.
        if self.addresses.contains(&claim) {
            return Ok(transaction.present(claim.key()));
        }
        Ok(transaction.absent(claim.key()).put_json(claim.key(), &claim)?)
    }
}
