//! `gateway`: through whom the machines of an environment reach the outside from now on.

use wardian_model::{
    environment::EnvironmentRecord,
    name::EnvironmentName,
    spec::{Gateway, GatewayError},
};

use crate::{Host, Refusal};

impl Host {
    /// Changes it; in effect when this returns. Nothing changes inside: connections there stay, and every machine's
    /// router is the one it was. Connections with the outside end, for they were made from other addresses.
    ///
    /// # Errors
    /// When there is no such environment or machine, the machine can't be a gateway, or an exposed port would lead
    /// nowhere.
    pub async fn set_gateway(&self, name: &EnvironmentName, gateway: &Gateway) -> Result<EnvironmentRecord, Refusal> {
        let set = |record: &mut EnvironmentRecord| {
            allowed(record, gateway)?;
            Ok(std::mem::replace(&mut record.gateway, gateway.clone()) != *gateway)
        };
        let (record, changed) = self.change(name, set).await?;
        if changed {
            self.shared.records.say(name, None, format!("the way out is {gateway}")).await;
        }
        self.in_effect(&record, |record, doors| record.doors().iter().all(|door| doors.contains(door))).await?;
        Ok(record)
    }
}

fn allowed(record: &EnvironmentRecord, gateway: &Gateway) -> Result<(), Refusal> {
    record.spec.may_have_gateway(gateway).map_err(|reason| match reason {
        GatewayError::NoSuchMachine(_) => Refusal::not_found(format!("{}: {reason}", record.name))
            .hint("say per-machine, host, or the name of a machine of the environment"),
        GatewayError::SeveralSubnets => {
            Refusal::conflict(format!("{}: {reason}", record.name)).hint("say per-machine or host")
        }
        GatewayError::NoOutside(_) | GatewayError::SecondInterfaces | GatewayError::NoIsolation => {
            Refusal::conflict(format!("{}: {reason}", record.name))
        }
    })?;
    if let (Gateway::Machine(machine), Some(_)) = (gateway, &record.stretch) {
        return Err(Refusal::conflict(format!(
            "{} lies on several hosts, and {machine} can't be the gateway of the others yet",
            record.name
        ))
        .hint("say per-machine or host"));
    }
    for wanted in record.exposes() {
        let mut reasons = wanted.machines().map(|machine| record.spec.may_be_exposed(machine, gateway));
        if let Some(Err(reason)) = reasons.find(Result::is_err) {
            return Err(Refusal::conflict(format!("{}: {reason}, but port {} is exposed", record.name, wanted.port))
                .hint(format!("close it first: `wardian expose --remove {}/{wanted}`", record.name)));
        }
    }
    Ok(())
}
