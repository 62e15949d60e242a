//! Being there: one lease after the other, each with the host's presence on it, and with the lead where that is free.

use std::{future::pending, sync::Arc};

use tokio::sync::{Notify, watch};
use wardian_model::{
    Timestamp,
    cluster::{HostRecord, PresenceRecord},
    environment::Problem,
};
use wardian_store::{Error, Event, EventKind, Outcome, Result, Revision, Transaction, typed};

use crate::{
    campaign,
    member::Member,
    standing::{Saying, Standing},
    tenure::{EVERY, Tenure},
};

/// Why a lease is not kept any longer.
pub(crate) enum End {
    /// It has ended, or its presence is gone. The next one may do better.
    Lost,
    /// A later daemon of the host is there.
    Replaced,
    /// The host does not belong to the cluster any more.
    Removed,
}

pub(crate) async fn keep(member: &Member, standing: &watch::Sender<Standing>) {
    let saying = Saying(standing);
    loop {
        let tenure = grant(member, &saying).await;
        let end = on_lease(member, &saying, &tenure).await;
        // In this order: nobody else leads while this host says that it does.
        tenure.end();
        saying.follows();
        match end {
            End::Lost => saying.out_of_touch(
                Problem::new("the cluster has taken this host for gone, for it has not been heard of for a while")
                    .hint("it comes back by itself as soon as the cluster's store can be reached"),
            ),
            End::Replaced => return retire(member, &saying, replaced()).await,
            End::Removed => return retire(member, &saying, removed(member)).await,
        }
    }
}

/// Says what the matter is and does nothing any more: what was this host's is somebody else's now.
async fn retire(member: &Member, saying: &Saying<'_>, problem: Problem) {
    tracing::warn!(%problem, "this daemon does not take part in the cluster any more");
    saying.out_of_touch(problem);
    if let Err(error) = member.leave().await {
        tracing::debug!(%error, "a lease is left to end by itself");
    }
    pending().await
}

/// A new lease, as soon as the store gives one. The one before, if it still lives, is ended first: the leader's record
/// may hang on it.
async fn grant(member: &Member, saying: &Saying<'_>) -> Arc<Tenure> {
    loop {
        match try_grant(member).await {
            Ok(tenure) => return tenure,
            Err(error) => saying.out_of_touch(unreachable(&error)),
        }
        member.pause().await;
    }
}

async fn try_grant(member: &Member) -> Result<Arc<Tenure>> {
    member.leave().await?;
    let asked = member.clock.now();
    let lease = member.store.grant_lease(crate::tenure::TTL).await?;
    let tenure = Arc::new(Tenure::new(lease, Arc::clone(&member.clock), asked));
    member.has(&tenure);
    Ok(tenure)
}

/// All that is done on one lease, until it ends.
async fn on_lease(member: &Member, saying: &Saying<'_>, tenure: &Arc<Tenure>) -> End {
    let presence = loop {
        match appear(member, tenure).await {
            Ok(Appearance::There(revision)) => break revision,
            Ok(Appearance::LookAgain) => {}
            Ok(Appearance::Not(end)) => return end,
            Err(Error::LeaseNotFound { .. }) => return End::Lost,
            Err(error) => {
                saying.out_of_touch(unreachable(&error));
                member.pause().await;
            }
        }
    };
    saying.in_touch();
    let extended = Notify::new();
    tokio::select! {
        end = beat(member, saying, tenure, &extended) => end,
        end = stay(member, tenure) => end,
        end = campaign::campaign(member, saying, tenure, presence) => end,
        () = lapse(member, saying, tenure, &extended) => End::Lost,
    }
}

enum Appearance {
    There(Revision),
    LookAgain,
    Not(End),
}

/// Puts the presence on the lease. The presence of another daemon is replaced once, when this one starts: that is what
/// is left of one that has crashed. Later it is one that has replaced this one.
async fn appear(member: &Member, tenure: &Tenure) -> Result<Appearance> {
    let name = &member.host().name;
    let key = PresenceRecord::key_of(name);
    let host = typed::get_as::<HostRecord>(&*member.store, &HostRecord::key_of(name)).await?;
    let Some((_, host_revision)) = host.filter(|(host, _)| host.instance == member.host().instance) else {
        return Ok(Appearance::Not(End::Removed));
    };
    let before = typed::get_as::<PresenceRecord>(&*member.store, &key).await?;
    if member.has_appeared() && before.as_ref().is_some_and(|(other, _)| other.daemon != member.daemon) {
        return Ok(Appearance::Not(End::Replaced));
    }
    let presence = PresenceRecord {
        host: name.clone(),
        boot: member.boot.clone(),
        daemon: member.daemon.clone(),
        since: Timestamp::now(),
    };
    let transaction = Transaction::new()
        .unchanged(HostRecord::key_of(name), host_revision)
        .unchanged(&key, before.map_or(Revision(0), |(_, revision)| revision))
        .put_json_with_lease(&key, &presence, tenure.lease())?;
    match member.store.commit(transaction).await? {
        Outcome::Committed(revision) => {
            member.appears();
            Ok(Appearance::There(revision))
        }
        Outcome::Conflict { .. } => Ok(Appearance::LookAgain),
    }
}

/// Keeps the lease alive.
async fn beat(member: &Member, saying: &Saying<'_>, tenure: &Tenure, extended: &Notify) -> End {
    loop {
        member.clock.sleep_until(member.clock.now() + EVERY).await;
        loop {
            // Before the request is sent: see `tenure`.
            let asked = member.clock.now();
            match member.store.keep_alive(tenure.lease()).await {
                Ok(()) => {
                    tenure.extend(asked);
                    extended.notify_one();
                    saying.in_touch();
                    break;
                }
                Err(Error::LeaseNotFound { .. }) => return End::Lost,
                Err(error) => saying.out_of_touch(unreachable(&error)),
            }
            member.pause().await;
        }
    }
}

/// Says so when the lease may have ended, also while the store keeps everybody waiting.
async fn lapse(member: &Member, saying: &Saying<'_>, tenure: &Tenure, extended: &Notify) {
    loop {
        member.clock.sleep_until(tenure.until()).await;
        if tenure.holds() {
            continue;
        }
        saying.silence();
        while !tenure.holds() {
            extended.notified().await;
        }
        saying.look_again();
    }
}

/// Goes on while the presence is this daemon's.
async fn stay(member: &Member, tenure: &Tenure) -> End {
    loop {
        match watch_presence(member, tenure).await {
            Ok(end) => return end,
            Err(error) => tracing::debug!(%error, "this host's presence can't be watched now"),
        }
        member.pause().await;
    }
}

async fn watch_presence(member: &Member, tenure: &Tenure) -> Result<End> {
    let key = PresenceRecord::key_of(&member.host().name);
    let listing = member.store.list(&key).await?;
    // A listing is of a prefix: there may be hosts whose names begin alike.
    match listing.entries.iter().find(|entry| entry.key == key) {
        None => return Ok(End::Lost),
        Some(entry) if entry.lease != Some(tenure.lease()) => return Ok(End::Replaced),
        Some(_) => {}
    }
    let mut watch = member.store.watch(&key, listing.revision.next()).await?;
    loop {
        let events = watch.next().await?;
        match events.into_iter().rfind(|event| event.key() == key) {
            None => {}
            Some(Event { kind: EventKind::Delete { .. }, .. }) => return Ok(End::Lost),
            Some(Event { kind: EventKind::Put(entry), .. }) if entry.lease == Some(tenure.lease()) => {}
            Some(_) => return Ok(End::Replaced),
        }
    }
}

pub(crate) fn unreachable(error: &Error) -> Problem {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.contains(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    Problem::new(message).hint("this host goes on by itself; it comes back as soon as the cluster's store answers")
}

fn replaced() -> Problem {
    Problem::new("another daemon of this host has taken its place in the cluster")
        .hint("end one of them: a state directory is one daemon's")
}

fn removed(member: &Member) -> Problem {
    Problem::new(format!("the host {} does not belong to the cluster any more", member.host().name))
        .hint("start the daemon again, and it comes in anew")
}
