//! A snapshot whose cut is made: its memory goes to disk, and whoever asked for it is told.

use std::sync::Arc;

use futures::future::try_join_all;
use wardian_model::{
    Timestamp,
    cut::CutPhase,
    environment::{EnvironmentRecord, Problem},
    id::EnvironmentId,
    name::{EnvironmentName, SnapshotName},
    operation::{OperationRecord, OperationState, Step, StepState},
    record::Record,
    snapshot::{SnapshotPhase, SnapshotRecord},
};
use wardian_store::{Outcome, Transaction};

use super::{Done, RETRY, cut::stood_for};
use crate::{fault, memories, records::REMEMBERED, refusal::problem, shared::Shared};

/// Until it is on disk, or has failed. A failure to read or write records is tried again by the next turn.
pub(super) async fn save(
    shared: Arc<Shared>,
    environment: EnvironmentName,
    id: EnvironmentId,
    name: SnapshotName,
) -> Done {
    let saving = Saving { shared: &shared, environment, id, name };
    if let Err(error) = saving.run().await {
        tracing::warn!(snapshot = %saving.name, error = %problem(&error), "snapshot not written down; trying again");
        tokio::time::sleep(RETRY).await;
    }
    Done::Saved
}

struct Saving<'a> {
    shared: &'a Shared,
    environment: EnvironmentName,
    id: EnvironmentId,
    name: SnapshotName,
}

impl Saving<'_> {
    async fn run(&self) -> wardian_store::Result<()> {
        let records = &self.shared.records;
        let key = SnapshotRecord::key_of(&self.environment, &self.name);
        let Some(found) = records.get::<SnapshotRecord>(&key).await? else { return Ok(()) };
        let snapshot = found.record;
        let cut = records.cut(snapshot.cut).await?.map(|cut| cut.record.phase);
        let (memories, pause_us) = match cut {
            Some(CutPhase::Done { memories, pause_us, .. }) => (memories, pause_us),
            Some(CutPhase::Failed { problem }) => return self.end(&snapshot, Err(problem)).await,
            Some(CutPhase::Wanted) => return Ok(()),
            None => return self.end(&snapshot, Err(Problem::new("its cut is gone"))).await,
        };
        let paused = format!("the machines {}", stood_for(pause_us));
        let steps = |save| vec![step("cut", StepState::Done, Some(paused.clone())), step("save", save, None)];
        self.progress(&snapshot, steps(StepState::Doing)).await?;
        self.phase(&snapshot, SnapshotPhase::Saving).await?;
        // What runs now comes from this snapshot: it is the parent of the next.
        records
            .update::<EnvironmentRecord>(&EnvironmentRecord::key_of(&self.environment), |environment| {
                let changes = environment.id == self.id
                    && snapshot.phase == SnapshotPhase::Taking
                    && environment.snapshot != Some(snapshot.id);
                if changes {
                    environment.snapshot = Some(snapshot.id);
                }
                changes
            })
            .await?;
        fault::point("snapshot: saving");
        let saved = try_join_all(memories.iter().map(|(name, memory)| memories::to_disk(self.shared, name, memory)));
        match saved.await {
            Ok(sizes) => {
                let memory = !memories.is_empty();
                let phase = SnapshotPhase::Ready { pause_us, memory, saved_bytes: sizes.into_iter().sum() };
                self.end(&snapshot, Ok((phase, steps(StepState::Done)))).await
            }
            Err(problem) => self.end(&snapshot, Err(problem)).await,
        }
    }

    async fn end(
        &self,
        snapshot: &SnapshotRecord,
        outcome: Result<(SnapshotPhase, Vec<Step>), Problem>,
    ) -> wardian_store::Result<()> {
        let at = Timestamp::now();
        let (phase, steps, state) = match outcome {
            Ok((phase, steps)) => (phase, steps, OperationState::Done { at }),
            Err(problem) => {
                let steps = vec![step("cut", StepState::Failed, Some(problem.message.clone()))];
                let state = OperationState::Failed { at, problem: problem.clone() };
                (SnapshotPhase::Failed { problem }, steps, state)
            }
        };
        let word = phase.word();
        // Both at once: what is over is not looked at again, so nobody would end the operation later.
        let records = &self.shared.records;
        let Some(found) = records.get::<SnapshotRecord>(&snapshot.key()).await?.filter(|s| s.record.id == snapshot.id)
        else {
            return Ok(());
        };
        let transaction = Transaction::new()
            .unchanged(snapshot.key(), found.revision)
            .put_json(snapshot.key(), &SnapshotRecord { phase, ..found.record })?;
        let transaction = self.with_operation(transaction, snapshot, steps, Some(state)).await?;
        if let Outcome::Conflict { .. } = records.store().commit(transaction).await? {
            // Somebody else has written one of them; the next turn begins anew.
            return Ok(());
        }
        fault::point("snapshot: done");
        self.shared.records.say(&self.environment, None, format!("snapshot {} is {word}", self.name)).await;
        self.shared.collector.disks();
        Ok(())
    }

    async fn phase(&self, snapshot: &SnapshotRecord, phase: SnapshotPhase) -> wardian_store::Result<()> {
        let key = snapshot.key();
        let update = self.shared.records.update::<SnapshotRecord>(&key, |record| {
            let changes = record.id == snapshot.id && record.phase != phase;
            if changes {
                record.phase = phase.clone();
            }
            changes
        });
        update.await?;
        Ok(())
    }

    /// Whoever follows the operation reads on.
    async fn progress(&self, snapshot: &SnapshotRecord, steps: Vec<Step>) -> wardian_store::Result<()> {
        let transaction = self.with_operation(Transaction::new(), snapshot, steps, None).await?;
        self.shared.records.store().commit(transaction).await.map(drop)
    }

    /// Adds how far the operation is; one that is over is remembered for a while.
    async fn with_operation(
        &self,
        transaction: Transaction,
        snapshot: &SnapshotRecord,
        steps: Vec<Step>,
        end: Option<OperationState>,
    ) -> wardian_store::Result<Transaction> {
        let Some(id) = snapshot.operation else { return Ok(transaction) };
        let records = &self.shared.records;
        let Some(found) = records.operation(id).await? else { return Ok(transaction) };
        let over = end.is_some();
        let state = end.unwrap_or(OperationState::Running);
        let operation = OperationRecord { steps, state, ..found.record };
        let transaction = transaction.unchanged(operation.key(), found.revision);
        match over {
            true => {
                let lease = records.store().grant_lease(REMEMBERED).await?;
                transaction.put_json_with_lease(operation.key(), &operation, lease)
            }
            false => transaction.put_json(operation.key(), &operation),
        }
    }
}

fn step(name: &str, state: StepState, note: Option<String>) -> Step {
    Step { name: name.to_owned(), state, note }
}
