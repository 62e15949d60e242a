//! `start`, `down`, `suspend`, `rm`: what an environment shall be from now on.

use wardian_model::{
    Timestamp,
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Problem},
    id::OperationId,
    name::EnvironmentName,
    operation::{OperationKind, OperationRecord, OperationState},
    record::Record,
};
use wardian_store::{Outcome, Transaction};

use super::join;
use crate::{
    Host, Refusal, fault,
    records::{At, REMEMBERED},
};

impl Host {
    /// Starts the machines of an environment that do not run; those that were suspended go on where they were.
    ///
    /// # Errors
    /// When there is no such environment, or it is being removed.
    pub async fn start(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.intend(name, OperationKind::Start, |environment| {
            // One that failed to go back goes on from where it is.
            if matches!(environment.phase, EnvironmentPhase::Failed { .. }) {
                environment.restore = None;
            }
            environment.desired = Desired::Running;
            environment.run += 1;
            environment.phase = EnvironmentPhase::Starting;
        })
        .await
    }

    /// Stops the machines of an environment; disks and identities are kept, the memory of a suspended one is not.
    ///
    /// # Errors
    /// When there is no such environment, or it is being removed.
    pub async fn stop(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.intend(name, OperationKind::Down, |environment| environment.desired = Desired::Stopped).await
    }

    /// Stops the machines of an environment where they are; the next start goes on from there.
    ///
    /// # Errors
    /// When there is no such environment, none of its machines runs, or it is being removed.
    pub async fn suspend(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        let (record, machines) = self.environment(name).await?;
        let runs = machines.iter().any(|machine| machine.phase.process().is_some());
        match record.phase {
            EnvironmentPhase::Suspending | EnvironmentPhase::Suspended | EnvironmentPhase::Removing => {}
            EnvironmentPhase::Pending | EnvironmentPhase::Cloning => {
                return Err(Refusal::conflict(format!("{name} is still being made"))
                    .hint(format!("wait until `wardian status {name}` says running")));
            }
            _ if record.desired == Desired::Stopped || !runs => {
                return Err(Refusal::conflict(format!("no machine of {name} runs, so there is nothing to suspend"))
                    .hint(format!("`wardian status {name}` shows its machines")));
            }
            _ => {}
        }
        self.intend(name, OperationKind::Suspend, |environment| {
            if environment.desired != Desired::Suspended {
                environment.phase = EnvironmentPhase::Suspending;
            }
            environment.desired = Desired::Suspended;
        })
        .await
    }

    /// Removes an environment with everything that belongs to it.
    ///
    /// # Errors
    /// When there is no such environment.
    pub async fn remove(&self, name: &EnvironmentName) -> Result<OperationRecord, Refusal> {
        self.intend(name, OperationKind::Remove, |environment| environment.desired = Desired::Removed).await
    }

    /// Writes an intent and its operation in one transaction. The operation that was running before ends by itself:
    /// its controller sees that its goal is given up.
    async fn intend(
        &self,
        name: &EnvironmentName,
        kind: OperationKind,
        change: impl Fn(&mut EnvironmentRecord),
    ) -> Result<OperationRecord, Refusal> {
        self.intend_with(name, kind, None, change).await
    }

    /// The same, if the record under the key `needs` is there.
    pub(super) async fn intend_with(
        &self,
        name: &EnvironmentName,
        kind: OperationKind,
        needs: Option<String>,
        change: impl Fn(&mut EnvironmentRecord),
    ) -> Result<OperationRecord, Refusal> {
        loop {
            let found = self.shared.records.environment(name).await?;
            let At { mut record, revision } = found.ok_or_else(|| no_environment(name))?;
            let before = self.last_operation(&record).await?;
            if record.desired == Desired::Removed {
                // Asking twice is asking once; anything else comes too late.
                return match before {
                    Some(operation) if kind == OperationKind::Remove => Ok(operation.record),
                    _ => Err(Refusal::conflict(format!("{name} is being removed"))
                        .hint(format!("follow it with `wardian status {name}`"))),
                };
            }
            let operation = OperationRecord {
                id: OperationId::random(),
                kind,
                environment: name.clone(),
                environment_id: record.id,
                created: Timestamp::now(),
                steps: Vec::new(),
                state: OperationState::Running,
            };
            change(&mut record);
            record.operation = Some(operation.id);
            let mut transaction = Transaction::new();
            if record.desired == Desired::Removed {
                transaction = join::parted_from(transaction, &self.shared.records, &record).await?;
                record.joined.clear();
            }
            let mut transaction = transaction
                .unchanged(record.key(), revision)
                .put_json(record.key(), &record)?
                .put_json(operation.key(), &operation)?;
            if let Some(key) = &needs {
                if self.shared.records.store().get(key).await?.is_none() {
                    return Err(Refusal::conflict(format!("what {name} was to go back to was removed just now")));
                }
                transaction = transaction.present(key);
            }
            if let Some(At { record: mut before, revision }) = before {
                if before.state == OperationState::Running {
                    let problem = Problem::new(format!("given up: `wardian {}` was asked for meanwhile", kind.word()));
                    before.state = OperationState::Failed { at: Timestamp::now(), problem };
                }
                // An environment keeps its last operation; who follows the one before may still read how it ended.
                let lease = self.shared.records.store().grant_lease(REMEMBERED).await?;
                transaction =
                    transaction.unchanged(before.key(), revision).put_json_with_lease(before.key(), &before, lease)?;
            }
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                fault::point("intent: recorded");
                return Ok(operation);
            }
        }
    }

    async fn last_operation(&self, environment: &EnvironmentRecord) -> Result<Option<At<OperationRecord>>, Refusal> {
        match environment.operation {
            Some(id) => Ok(self.shared.records.operation(id).await?),
            None => Ok(None),
        }
    }
}

pub(crate) fn no_environment(name: &EnvironmentName) -> Refusal {
    Refusal::not_found(format!("there is no environment {name}")).hint("`wardian ls` lists the environments")
}
