//! `snapshot` and `restore`: one moment of an environment, kept under a name, and going back to it.

use indexmap::IndexMap;
use wardian_model::{
    Timestamp,
    cut::{CutPhase, CutRecord},
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Restore},
    id::{CutId, OperationId, SnapshotId},
    name::{EnvironmentName, HostName, SnapshotName},
    operation::{OperationKind, OperationRecord, OperationState},
    record::Record,
    snapshot::{SnapshotPhase, SnapshotRecord},
};
use wardian_store::{Outcome, Transaction};

use super::clone::can_be_cut;
use crate::{Host, Refusal, disks, fault, memories, records::At};

impl Host {
    /// Takes a snapshot: disks, and with `memory` also what runs. The machines go on as they were.
    ///
    /// # Errors
    /// When there is no such environment, it can't be cut now, or the name is taken.
    pub async fn snapshot(
        &self,
        environment: &EnvironmentName,
        name: &SnapshotName,
        memory: bool,
    ) -> Result<OperationRecord, Refusal> {
        loop {
            let record = self.environment_record(environment).await?;
            can_be_cut(&record)?;
            is_on_one_host(&record)?;
            let operation = OperationRecord {
                id: OperationId::random(),
                kind: OperationKind::Snapshot,
                environment: environment.clone(),
                environment_id: record.id,
                created: Timestamp::now(),
                steps: Vec::new(),
                state: OperationState::Running,
            };
            let cut = CutRecord {
                id: CutId::random(),
                source: environment.clone(),
                source_id: record.id,
                memory,
                phase: CutPhase::Wanted,
            };
            let snapshot = SnapshotRecord {
                id: SnapshotId::random(),
                name: name.clone(),
                environment: environment.clone(),
                environment_id: record.id,
                created: operation.created,
                parent: record.snapshot,
                cut: cut.id,
                spec: super::clone::spec_of_clone(&record, environment),
                inside: record.identities.iter().map(|(n, i)| (n.clone(), i.inside.clone())).collect(),
                operation: Some(operation.id),
                phase: SnapshotPhase::Taking,
            };
            let transaction = Transaction::new()
                .present(record.key())
                .absent(snapshot.key())
                .put_json(snapshot.key(), &snapshot)?
                .put_json(cut.key(), &cut)?
                .put_json(operation.key(), &operation)?;
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                fault::point("snapshot: recorded");
                return Ok(operation);
            }
            match self.shared.records.get::<SnapshotRecord>(&snapshot.key()).await? {
                // One that failed leaves its name to the next.
                Some(At { record: SnapshotRecord { phase: SnapshotPhase::Failed { .. }, .. }, revision }) => {
                    let forget = Transaction::new().unchanged(snapshot.key(), revision).delete(snapshot.key());
                    let _ = self.shared.records.store().commit(forget).await?;
                }
                Some(_) => {
                    return Err(Refusal::conflict(format!("there is already a snapshot {name} of {environment}"))
                        .hint(format!(
                            "choose another name, or remove it first: wardian snapshot rm {environment} {name}"
                        )));
                }
                None => {}
            }
        }
    }

    /// The snapshots of an environment, oldest first.
    ///
    /// # Errors
    /// When there is no such environment.
    pub async fn snapshots(&self, environment: &EnvironmentName) -> Result<Vec<SnapshotRecord>, Refusal> {
        self.environment_record(environment).await?;
        let prefix = SnapshotRecord::prefix_of(environment);
        let mut snapshots = self.shared.records.list::<SnapshotRecord>(&prefix).await?;
        snapshots.sort_by_key(|snapshot| snapshot.created);
        Ok(snapshots)
    }

    /// Removes a snapshot. Those taken after it stay whole: none needs another; in the tree they move up to its parent.
    ///
    /// # Errors
    /// When there is none of that name, or it is still being written.
    pub async fn remove_snapshot(&self, environment: &EnvironmentName, name: &SnapshotName) -> Result<(), Refusal> {
        loop {
            let At { record, revision } = self.found_snapshot(environment, name).await?;
            if matches!(record.phase, SnapshotPhase::Taking | SnapshotPhase::Saving) {
                return Err(Refusal::conflict(format!("the snapshot {name} of {environment} is still being written"))
                    .hint(format!("wait until `wardian snapshot ls {environment}` says ready")));
            }
            let mut transaction = Transaction::new().unchanged(record.key(), revision).delete(record.key());
            for other in self.shared.records.list::<SnapshotRecord>(SnapshotRecord::PREFIX).await? {
                if other.parent == Some(record.id) && other.key() != record.key() {
                    let found = self.shared.records.get::<SnapshotRecord>(&other.key()).await?;
                    let Some(At { record: child, revision }) = found else { continue };
                    let child = SnapshotRecord { parent: record.parent, ..child };
                    transaction = transaction.unchanged(child.key(), revision).put_json(child.key(), &child)?;
                }
            }
            for At { record: mut user, revision } in self.environments_at(record.id).await? {
                user.snapshot = record.parent;
                transaction = transaction.unchanged(user.key(), revision).put_json(user.key(), &user)?;
            }
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                fault::point("snapshot: forgotten");
                self.shared.records.say(environment, None, format!("snapshot {name} is removed")).await;
                if let Err(problem) = disks::collect(&self.shared).await {
                    tracing::warn!(%problem, "what only the snapshot needed is not removed yet");
                }
                return Ok(());
            }
        }
    }

    /// Takes an environment back to a snapshot of its own, or to one of an environment with the same inside.
    ///
    /// # Errors
    /// When there is no such environment or snapshot, when its inside is another, or its memory can't be used here.
    pub async fn restore(
        &self,
        environment: &EnvironmentName,
        of: &EnvironmentName,
        name: &SnapshotName,
    ) -> Result<OperationRecord, Refusal> {
        let snapshot = self.usable_snapshot(of, name).await?;
        let record = self.environment_record(environment).await?;
        same_inside(&record, &snapshot)?;
        is_on_one_host(&record)?;
        if record.name != *of {
            let source = self.environment_record(of).await?;
            if source.host != record.host {
                let host = source.host.map(|host| host.to_string()).unwrap_or_default();
                return Err(Refusal::conflict(format!(
                    "the snapshot {name} of {of} is on host {host}, {environment} is not"
                ))
                .hint(format!("clone it instead: `wardian clone {of}@{name} NEW`")));
            }
        }
        match record.phase {
            EnvironmentPhase::Pending | EnvironmentPhase::Cloning => {
                return Err(Refusal::conflict(format!("{environment} is still being made"))
                    .hint(format!("wait until `wardian status {environment}` says running")));
            }
            _ => {}
        }
        self.intend_with(environment, OperationKind::Restore, Some(snapshot.key()), |environment| {
            environment.desired = Desired::Running;
            environment.run += 1;
            environment.phase = EnvironmentPhase::Starting;
            environment.restore = Some(Restore {
                number: environment.run,
                cut: snapshot.cut,
                snapshot: name.clone(),
                at: Some(Timestamp::now()),
            });
            environment.snapshot = Some(snapshot.id);
        })
        .await
    }

    /// A snapshot that a clone or a restore can start from.
    pub(super) async fn usable_snapshot(
        &self,
        environment: &EnvironmentName,
        name: &SnapshotName,
    ) -> Result<SnapshotRecord, Refusal> {
        let snapshot = self.found_snapshot(environment, name).await?.record;
        match &snapshot.phase {
            SnapshotPhase::Taking => {
                return Err(Refusal::conflict(format!("the snapshot {name} of {environment} is still being taken"))
                    .hint(format!("wait until `wardian snapshot ls {environment}` shows it")));
            }
            SnapshotPhase::Failed { problem } => {
                return Err(Refusal::conflict(format!(
                    "the snapshot {name} of {environment} could not be taken: {}",
                    problem.message
                ))
                .hint(format!("remove it (`wardian snapshot rm {environment} {name}`) and take it again")));
            }
            SnapshotPhase::Saving | SnapshotPhase::Ready { .. } => {}
        }
        let cut = self.shared.records.cut(snapshot.cut).await?.map(|cut| cut.record.phase);
        let Some(CutPhase::Done { memories, .. }) = cut else {
            return Err(Refusal::internal(format!("the cut of the snapshot {name} of {environment} is gone")));
        };
        for (machine, memory) in &memories {
            memories::check(&self.shared, machine, memory).await.map_err(Refusal::from_problem)?;
        }
        Ok(snapshot)
    }

    async fn found_snapshot(
        &self,
        environment: &EnvironmentName,
        name: &SnapshotName,
    ) -> Result<At<SnapshotRecord>, Refusal> {
        let found = self.shared.records.get(&SnapshotRecord::key_of(environment, name)).await?;
        if let Some(found) = found {
            return Ok(found);
        }
        let names: Vec<_> = self.snapshots(environment).await?.into_iter().map(|s| s.name.to_string()).collect();
        let missing = Refusal::not_found(format!("there is no snapshot {name} of {environment}"));
        Err(match names.as_slice() {
            [] => missing.hint(format!("it has none; `wardian snapshot create {environment} NAME` takes one")),
            names => missing.hint(format!("its snapshots: {}", names.join(", "))),
        })
    }

    /// The environments whose state comes from that snapshot.
    async fn environments_at(&self, snapshot: SnapshotId) -> Result<Vec<At<EnvironmentRecord>>, Refusal> {
        let mut found = Vec::new();
        for environment in self.shared.records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await? {
            if environment.snapshot == Some(snapshot) {
                found.extend(self.shared.records.environment(&environment.name).await?);
            }
        }
        Ok(found)
    }
}

/// What is kept of a snapshot is on one host so far.
fn is_on_one_host(record: &EnvironmentRecord) -> Result<(), Refusal> {
    if record.stretch.is_none() {
        return Ok(());
    }
    let hosts: Vec<_> = record.hosts().into_iter().map(HostName::as_str).collect();
    Err(Refusal::conflict(format!(
        "{} lies on the hosts {}, and snapshots of such an environment are not available yet",
        record.name,
        hosts.join(" and ")
    ))
    .hint("clone it as it is now, or make it with `placement: { policy: together }` to have snapshots of it"))
}

/// What a machine knows of itself must stay true, so both must agree on who everybody is.
fn same_inside(record: &EnvironmentRecord, snapshot: &SnapshotRecord) -> Result<(), Refusal> {
    let inside: IndexMap<_, _> = record.identities.iter().map(|(n, i)| (n.clone(), i.inside.clone())).collect();
    if inside == snapshot.inside && record.spec.network == snapshot.spec.network {
        return Ok(());
    }
    let (environment, name) = (&snapshot.environment, &snapshot.name);
    Err(Refusal::invalid(format!("{} has another inside than the snapshot {name} of {environment}", record.name))
        .hint(format!("make a clone of it instead: wardian clone {environment}@{name} NAME")))
}
