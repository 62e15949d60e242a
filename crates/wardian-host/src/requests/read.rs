//! Looking at environments, operations and events.

use wardian_model::{
    environment::EnvironmentRecord,
    event::EventRecord,
    id::OperationId,
    machine::MachineRecord,
    name::{EnvironmentName, MachineName},
    operation::OperationRecord,
    record::Record,
};

use super::intent::no_environment;
use crate::{Host, Refusal};

/// An environment and its machines in file order.
pub type EnvironmentWithMachines = (EnvironmentRecord, Vec<MachineRecord>);

impl Host {
    /// All environments, by name.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn environments(&self) -> Result<Vec<EnvironmentWithMachines>, Refusal> {
        let environments = self.shared.records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        let mut machines = self.shared.records.list::<MachineRecord>(MachineRecord::PREFIX).await?;
        Ok(environments
            .into_iter()
            .map(|environment| {
                let mut own: Vec<_> = machines.extract_if(.., |m| m.environment_id == environment.id).collect();
                sort(&environment, &mut own);
                (environment, own)
            })
            .collect())
    }

    /// One environment.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn environment(&self, name: &EnvironmentName) -> Result<EnvironmentWithMachines, Refusal> {
        let environment = self.environment_record(name).await?;
        let mut machines: Vec<_> = self.shared.records.machines(name).await?.into_values().collect();
        sort(&environment, &mut machines);
        Ok((environment, machines))
    }

    pub(crate) async fn environment_record(&self, name: &EnvironmentName) -> Result<EnvironmentRecord, Refusal> {
        let found = self.shared.records.environment(name).await?;
        Ok(found.ok_or_else(|| no_environment(name))?.record)
    }

    /// A machine, and the environment it belongs to.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) async fn machine_record(
        &self,
        environment: &EnvironmentName,
        machine: &MachineName,
    ) -> Result<(EnvironmentRecord, MachineRecord), Refusal> {
        let (record, machines) = self.environment(environment).await?;
        let names: Vec<_> = machines.iter().map(|m| m.name.to_string()).collect();
        let found = machines.into_iter().find(|m| m.name == *machine).ok_or_else(|| {
            Refusal::not_found(format!("the environment {environment} has no machine {machine}"))
                .hint(format!("its machines: {}", names.join(", ")))
        })?;
        Ok((record, found))
    }

    /// One operation.
    ///
    /// # Errors
    /// When there is none of that id; finished ones are forgotten after a while.
    pub async fn operation(&self, id: OperationId) -> Result<OperationRecord, Refusal> {
        let found = self.shared.records.operation(id).await?;
        Ok(found.ok_or_else(|| Refusal::not_found(format!("there is no operation {id}")))?.record)
    }

    /// All operations that are remembered, oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn operations(&self) -> Result<Vec<OperationRecord>, Refusal> {
        let mut operations = self.shared.records.list::<OperationRecord>(OperationRecord::PREFIX).await?;
        operations.sort_by_key(|o| o.created);
        Ok(operations)
    }

    /// What happened, oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn events(&self) -> Result<Vec<EventRecord>, Refusal> {
        Ok(self.shared.records.list::<EventRecord>(EventRecord::PREFIX).await?)
    }
}

fn sort(environment: &EnvironmentRecord, machines: &mut [MachineRecord]) {
    machines.sort_by_key(|m| environment.identities.get_index_of(&m.name));
}
