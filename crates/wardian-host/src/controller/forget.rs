//! The end of an environment: its files, then its records, in one transaction.

use std::{sync::Arc, time::Duration};

use wardian_machine::RuntimeDirectory;
use wardian_model::{
    Timestamp,
    cluster::PartRecord,
    door::Door,
    environment::EnvironmentRecord,
    machine::MachineRecord,
    name::HostName,
    operation::{OperationKind, OperationRecord, OperationState, Step, StepState},
    record::Record,
    snapshot::SnapshotRecord,
};
use wardian_store::{Outcome, Transaction};

use super::{Done, RETRY};
use crate::{disks, fault, records::REMEMBERED, refusal::problem, shared::Shared};

/// How long the host's own ports may take to lead here no more. Usually it is some 20 ms.
const CLOSING: Duration = Duration::from_secs(10);

/// Removes everything. Tried again until it succeeds; every part is fine when it is gone already.
pub(super) async fn forget(shared: Arc<Shared>, environment: EnvironmentRecord) -> Done {
    loop {
        match attempt(&shared, &environment).await {
            Ok(true) if !shared.is_home(&environment) => return Done::Forgotten(true),
            Ok(true) => {
                fault::point("forget: records removed");
                shared.records.say(&environment.name, None, "is removed").await;
                settle(&shared).await;
                return Done::Forgotten(true);
            }
            // The record changed in between: let the controller look again.
            Ok(false) => return Done::Forgotten(false),
            Err(reason) => {
                tracing::warn!(environment = %environment.name, %reason, "not removed yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// What is left when the records are gone: disks nobody needs, and saying that the removal is done. Also the first
/// thing a new daemon does, for the last one may have ended just here.
pub(crate) async fn settle(shared: &Shared) {
    // What is gone by now is what the collection covers: a removal that ends meanwhile has one of its own.
    let over = removals_that_are_over(shared).await;
    if let Err(error) = disks::collect(shared).await {
        tracing::warn!(error = %problem(&error), "unneeded disks are not removed yet");
    }
    let finished = match over {
        Ok(over) => finish(shared, over).await,
        Err(error) => Err(error),
    };
    if let Err(error) = finished {
        tracing::warn!(error = %problem(&error), "finished removals are not written down");
    }
}

/// The removals that go on, of environments that are gone.
async fn removals_that_are_over(shared: &Shared) -> wardian_store::Result<Vec<OperationRecord>> {
    let records = &shared.records;
    let mut over = Vec::new();
    for operation in records.list::<OperationRecord>(OperationRecord::PREFIX).await? {
        let removal = operation.kind == OperationKind::Remove && operation.state == OperationState::Running;
        let environment = records.environment(&operation.environment).await?;
        if removal && environment.is_none_or(|e| e.record.id != operation.environment_id) {
            over.push(operation);
        }
    }
    Ok(over)
}

/// Ends removals. Each is remembered for a while, by a lease; after that nothing of its environment is left.
async fn finish(shared: &Shared, over: Vec<OperationRecord>) -> wardian_store::Result<()> {
    let records = &shared.records;
    for operation in over {
        let lease = records.store().grant_lease(REMEMBERED).await?;
        let done = OperationRecord {
            state: OperationState::Done { at: Timestamp::now() },
            steps: operation
                .steps
                .into_iter()
                .map(|step| Step { state: StepState::Done, note: None, ..step })
                .collect(),
            ..operation
        };
        let transaction = Transaction::new().present(done.key()).put_json_with_lease(done.key(), &done, lease)?;
        let _ = records.store().commit(transaction).await?;
    }
    Ok(())
}

async fn attempt(shared: &Shared, environment: &EnvironmentRecord) -> Result<bool, String> {
    for (name, identity) in environment.identities.iter().filter(|(name, _)| shared.has(environment, name)) {
        let directory = shared.paths.machine(identity.slot);
        if wardian_machine::lock::is_held(&RuntimeDirectory::new(&directory).lock()).map_err(|e| e.to_string())? {
            return Err(format!("{name} still runs"));
        }
        wardian_machine::succession::end_other(&directory).await.map_err(|error| problem(&error).message)?;
        fault::point("forget: a directory is next");
        RuntimeDirectory::new(directory).remove().map_err(|e| e.to_string())?;
        disks::remove_group(environment, name).map_err(|e| e.to_string())?;
    }
    match tokio::fs::remove_dir_all(shared.paths.seeds(environment.id)).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.to_string()),
        _ => {}
    }
    fault::point("forget: files removed");
    if let Some(host) = shared.host().filter(|_| !shared.is_home(environment)) {
        return forget_part(shared, environment, host).await.map_err(|error| problem(&error).message);
    }
    others_are_gone(shared, environment).await?;
    // Its addresses and ports are free for others from then on.
    let leads_here = |door: &Door| environment.exposed.iter().any(|exposure| door.is_of(exposure));
    if !shared.applied.until(CLOSING, |now| !now.doors.iter().any(leads_here)).await {
        return Err("ports of the host still lead to it".into());
    }
    delete_records(shared, environment).await.map_err(|error| problem(&error).message)
}

/// Nothing of it is left here but the disks' layers, which are garbage as soon as the records are gone.
async fn forget_part(shared: &Shared, environment: &EnvironmentRecord, host: HostName) -> wardian_store::Result<bool> {
    let part = PartRecord { environment_id: environment.id, host };
    let _ = shared.records.store().commit(Transaction::new().delete(part.key())).await?;
    Ok(true)
}

/// Waits a little for the other hosts; whoever is not there now may still run machines.
async fn others_are_gone(shared: &Shared, environment: &EnvironmentRecord) -> Result<(), String> {
    let prefix = PartRecord::prefix_of(environment.id);
    let mut left = Vec::new();
    for _ in 0..20 {
        left = shared.records.list::<PartRecord>(&prefix).await.map_err(|error| problem(&error).message)?;
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let hosts: Vec<_> = left.iter().map(|part| part.host.as_str()).collect();
    Err(format!("waits for {} to remove what is there (`wardian host ls`)", hosts.join(", ")))
}

async fn delete_records(shared: &Shared, environment: &EnvironmentRecord) -> wardian_store::Result<bool> {
    let store = shared.records.store();
    let Some(current) = shared.records.environment(&environment.name).await? else { return Ok(true) };
    if current.record.id != environment.id {
        return Ok(true);
    }
    // Operations that were given up or replaced go first, each by itself: a transaction has room for 128 writes only.
    for operation in shared.records.list::<OperationRecord>(OperationRecord::PREFIX).await? {
        if operation.environment_id == environment.id && Some(operation.id) != current.record.operation {
            let _ = store.commit(Transaction::new().delete(operation.key())).await?;
        }
    }
    let mut transaction = Transaction::new()
        .unchanged(current.record.key(), current.revision)
        .delete(current.record.key())
        .delete_prefix(MachineRecord::prefix_of(&environment.name))
        .delete_prefix(SnapshotRecord::prefix_of(&environment.name));
    for claim in current.record.claims() {
        transaction = transaction.delete(claim.key());
    }
    Ok(matches!(store.commit(transaction).await?, Outcome::Committed(_)))
}
