//! Writing down how far an environment and its operation are.

use wardian_model::{
    Timestamp,
    environment::{EnvironmentPhase, EnvironmentRecord},
    operation::{OperationRecord, OperationState},
    record::Record,
};
use wardian_plan::lifecycle::{self, View};

use super::{Controller, observe::Observed};

impl Controller {
    pub(super) async fn record_progress(
        &self,
        observed: &Observed,
        view: &View<'_>,
        phase: EnvironmentPhase,
    ) -> wardian_store::Result<()> {
        let records = &self.shared.records;
        if phase != observed.environment.phase {
            let (id, desired, run) = (self.id, observed.environment.desired, observed.environment.run);
            let key = observed.environment.key();
            let written = records
                .update::<EnvironmentRecord>(&key, |environment| {
                    // What was concluded from other wishes must not overwrite what came with newer ones.
                    let holds = environment.id == id && environment.desired == desired && environment.run == run;
                    if holds {
                        environment.phase = phase.clone();
                    }
                    holds
                })
                .await?;
            if written.is_some_and(|e| e.phase == phase) {
                records.say(&self.name, None, format!("is {}", phase.word())).await;
            }
        }
        let Some(id) = observed.environment.operation else { return Ok(()) };
        records
            .update::<OperationRecord>(&OperationRecord::key_of(id), |operation| {
                if operation.state != OperationState::Running {
                    return false;
                }
                let steps = lifecycle::steps(operation.kind, view);
                let state = match lifecycle::outcome(operation.kind, view, &phase) {
                    None => OperationState::Running,
                    Some(Ok(())) => OperationState::Done { at: Timestamp::now() },
                    Some(Err(problem)) => OperationState::Failed { at: Timestamp::now(), problem },
                };
                let changed = steps != operation.steps || state != operation.state;
                operation.steps = steps;
                operation.state = state;
                changed
            })
            .await?;
        Ok(())
    }
}
