//! A store in etcd, for several hosts.
//!
//! | file | idea |
//! |---|---|
//! | `config` | what it has to be told |
//! | `connect` | connections to one member, TLS, and why there is none |
//! | `wire` · `rpc` | etcd's messages · its calls, at one member |
//! | `fault` | what a failed call means |
//! | `members` | which member is asked, how long, and what people are told when none answers |
//! | `translate` | keys, entries, transactions and events, to etcd's words and back |
//! | `watch` | watches that outlive connections |
//!
//! The contract is etcd's own, so this keeps nothing but connections. What it does leave to etcd's administrator is the
//! length of the history: `--auto-compaction-mode=revision --auto-compaction-retention=10000` keeps what other engines
//! do. A compaction is one of the whole etcd, and of whatever else is in it.

mod config;
mod connect;
mod fault;
mod members;
mod rpc;
mod translate;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::config::{EtcdConfig, EtcdIdentity, EtcdTls};
use self::fault::{Fault, Kind};
use self::members::{Again, Failure, Members};
use self::rpc::Client;
use self::translate::{Folder, conflict_keys, happens_once, lease_number, leases, number, revision, seconds};
use self::wire::{
    CompactionRequest, Header, LeaseGrantRequest, LeaseRequest, RangeRequest, RangeResponse, TxnResponse,
};
use crate::error::{Error, Result};
use crate::key::{check_key, check_prefix};
use crate::lease::check_ttl;
use crate::record::{Entry, LeaseId, Listing, Revision};
use crate::store::Store;
use crate::transaction::{Outcome, Transaction};
use crate::watch::Watch;

/// Entries asked for at once. A listing is of one revision, however many times etcd is asked.
const PAGE: i64 = 1000;

/// Keeps everything in an etcd cluster, below a prefix of its own.
///
/// Every request takes at most the time of its [configuration](EtcdConfig), tries at all members included. Watches have
/// no such limit: they go on when etcd is back. Dropping the store ends them; their `next` answers
/// [`Closed`](Error::Closed).
pub struct EtcdStore {
    members: Arc<Members>,
    folder: Folder,
    /// Ends the watches when it is dropped.
    open: tokio::sync::watch::Sender<()>,
}

impl EtcdStore {
    /// Opens the store and asks etcd once, so that whatever is wrong shows.
    ///
    /// # Errors
    /// [`InvalidEndpoint`](Error::InvalidEndpoint) and [`InvalidKey`](Error::InvalidKey) for a configuration that can't
    /// be right, [`Certificate`](Error::Certificate) when one can't be read or is refused,
    /// [`Unreachable`](Error::Unreachable) when no member answers, [`NoQuorum`](Error::NoQuorum) when too few run.
    pub async fn open(config: EtcdConfig) -> Result<Self> {
        let folder = Folder::new(&config.prefix);
        let name = config.endpoints.join(", ");
        let members = tokio::task::spawn_blocking(move || Members::new(&config)).await;
        let members = Arc::new(members.map_err(|_| Error::Closed { name })??);
        let store = Self { members, folder, open: tokio::sync::watch::Sender::new(()) };
        store.revision().await?;
        Ok(store)
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        let call = |client: Client| client.range(request.clone());
        Ok(self.members.ask("read", Again::Always, call).await?.value)
    }

    /// One listing, unless its revision is compacted away before its end.
    async fn try_list(&self, prefix: &str) -> Result<Listing, Failure> {
        let (key, range_end) = self.folder.range(prefix);
        let mut request = RangeRequest { key, range_end, limit: PAGE, ..RangeRequest::default() };
        let mut entries = Vec::new();
        loop {
            let page = self.range(request.clone()).await?;
            if request.revision == 0 {
                request.revision = page.header.map_or(0, |header| header.revision);
            }
            let last = page.kvs.last().map(|kv| kv.key.clone());
            entries.extend(page.kvs.into_iter().map(|kv| self.folder.entry(kv)));
            match last {
                Some(mut behind) if page.more => {
                    behind.push(0);
                    request.key = behind;
                }
                _ => return Ok(Listing { entries, revision: revision(request.revision) }),
            }
        }
    }

    /// What etcd's answer says of the transaction.
    fn outcome(&self, transaction: &Transaction, answer: TxnResponse) -> Outcome {
        if answer.succeeded {
            return Outcome::Committed(at(answer.header));
        }
        let looked = answer.responses.into_iter().map(|response| {
            let found = response.range.and_then(|range| range.kvs.into_iter().next());
            found.map(|kv| self.folder.entry(kv))
        });
        let keys = conflict_keys(transaction).into_iter().map(str::to_owned);
        Outcome::Conflict { observed: keys.zip(looked).collect() }
    }

    /// Which of the leases is gone. etcd says that one is, and not which.
    async fn gone(&self, leases: Vec<LeaseId>) -> Result<Error> {
        let last = leases.last().copied();
        for lease in leases {
            if Some(lease) == last || !self.lives(lease).await? {
                return Ok(Error::LeaseNotFound { lease });
            }
        }
        // Without a lease etcd has nothing to miss.
        let fault = Fault::refused("etcd misses a lease that was not named".to_owned());
        Ok(self.members.refused("write", Failure::Said(fault)))
    }

    async fn lives(&self, lease: LeaseId) -> Result<bool> {
        let request = LeaseRequest { id: lease_number(lease) };
        let call = |client: Client| client.time_to_live(request);
        match self.members.ask("read", Again::Always, call).await {
            Ok(answer) => Ok(answer.value.ttl > 0),
            Err(Failure::Said(Fault { kind: Kind::NoLease, .. })) => Ok(false),
            Err(failure) => Err(self.members.refused("read", failure)),
        }
    }
}

fn at(header: Option<Header>) -> Revision {
    revision(header.map_or(0, |header| header.revision))
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        check_key(key)?;
        let answer = self.range(self.folder.get(key)).await;
        let answer = answer.map_err(|failure| self.members.refused("read", failure))?;
        Ok(answer.kvs.into_iter().next().map(|kv| self.folder.entry(kv)))
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        check_prefix(prefix)?;
        loop {
            match self.try_list(prefix).await {
                Ok(listing) => return Ok(listing),
                Err(Failure::Said(Fault { kind: Kind::Compacted, .. })) => {}
                Err(failure) => return Err(self.members.refused("read", failure)),
            }
        }
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome> {
        transaction.check()?;
        let again = if happens_once(&transaction) { Again::Always } else { Again::Never };
        let request = self.folder.transaction(&transaction);
        let call = |client: Client| client.txn(request.clone());
        match self.members.ask("write", again, call).await {
            Ok(answer) => match (self.outcome(&transaction, answer.value), answer.doubt) {
                // Perhaps with itself: an earlier try may have happened.
                (Outcome::Conflict { .. }, Some(doubt)) => Err(doubt),
                (outcome, _) => Ok(outcome),
            },
            Err(Failure::Said(Fault { kind: Kind::NoLease, .. })) => Err(self.gone(leases(&transaction)).await?),
            Err(failure) => Err(self.members.refused("write", failure)),
        }
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        check_prefix(prefix)?;
        watch::start(Arc::clone(&self.members), self.folder.clone(), prefix, from, self.open.subscribe()).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        let request = LeaseGrantRequest { ttl: seconds(check_ttl(ttl)?) };
        // One that was granted unheard ends by itself.
        let call = |client: Client| client.grant(request);
        match self.members.ask("write", Again::Always, call).await {
            Ok(answer) => Ok(LeaseId(answer.value.id.unsigned_abs())),
            Err(failure) => Err(self.members.refused("write", failure)),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        let request = LeaseRequest { id: lease_number(lease) };
        let call = |client: Client| client.keep_alive(request);
        match self.members.ask("write", Again::Always, call).await {
            Ok(answer) if answer.value.ttl > 0 => Ok(()),
            Ok(_) | Err(Failure::Said(Fault { kind: Kind::NoLease, .. })) => Err(Error::LeaseNotFound { lease }),
            Err(failure) => Err(self.members.refused("write", failure)),
        }
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        let request = LeaseRequest { id: lease_number(lease) };
        let call = |client: Client| client.revoke(request);
        match self.members.ask("write", Again::Always, call).await {
            Ok(_) | Err(Failure::Said(Fault { kind: Kind::NoLease, .. })) => Ok(()),
            Err(failure) => Err(self.members.refused("write", failure)),
        }
    }

    async fn revision(&self) -> Result<Revision> {
        // No key is called like the folder itself.
        let answer = self.range(self.folder.get("")).await;
        let answer = answer.map_err(|failure| self.members.refused("read", failure))?;
        Ok(at(answer.header))
    }

    async fn compact(&self, oldest: Revision) -> Result<()> {
        let current = self.revision().await?;
        if oldest > current {
            return Err(Error::FutureRevision { asked: oldest, current });
        }
        if oldest <= Revision(1) {
            return Ok(());
        }
        // Why one less: see `watch`.
        let request = CompactionRequest { revision: number(oldest.0 - 1) };
        let call = |client: Client| client.compact(request);
        match self.members.ask("write", Again::Always, call).await {
            Ok(_) | Err(Failure::Said(Fault { kind: Kind::Compacted, .. })) => Ok(()),
            Err(failure) => Err(self.members.refused("write", failure)),
        }
    }
}
