//! `expose`: a port of a machine that the outside may reach.

use std::collections::HashMap;

use wardian_model::{
    claim::ClaimRecord,
    environment::{Desired, EnvironmentRecord, Exposure},
    name::EnvironmentName,
    record::Record,
    spec::Expose,
};
use wardian_plan::{
    allocate::{self, Taken},
    network, passage,
};
use wardian_store::{Outcome, Transaction};

use super::{
    create::{claim_of, exhausted},
    intent::no_environment,
};
use crate::{Host, Refusal, records::At};

impl Host {
    /// Lets the outside reach a port. Asking twice without choosing a port gives the same answer.
    ///
    /// # Errors
    /// When there is no such environment or machine, or the chosen port leads elsewhere.
    pub async fn expose(&self, environment: &EnvironmentName, wanted: &Expose) -> Result<Exposure, Refusal> {
        loop {
            let At { mut record, revision } = self.changeable(environment).await?;
            if let Err(reason) = record.spec.may_be_exposed(&wanted.machine, &record.gateway) {
                return Err(Refusal::conflict(format!("{environment}: {reason}"))
                    .hint("machines of its environment reach it; expose one of them"));
            }
            let present = record.exposed.iter().find(|e| is(e, wanted));
            match (present, wanted.at) {
                (Some(present), None) => return Ok(present.clone()),
                (Some(present), Some(at)) if present.at == at => return Ok(present.clone()),
                (Some(present), Some(_)) => {
                    return Err(Refusal::conflict(format!(
                        "{environment}/{}:{} is already exposed at port {}",
                        present.machine, present.port, present.at
                    ))
                    .hint("remove that first: `wardian expose --remove …`"));
                }
                (None, _) => {}
            }
            let claims = self.shared.records.list::<ClaimRecord>(ClaimRecord::PREFIX).await?;
            let taken: Taken = claims.into_iter().map(|c| c.of).collect();
            let exposure = allocate::exposure(wanted, &record.identities, &self.shared.config.pools(), &taken.ports)
                .map_err(exhausted)?;
            record.exposed.push(exposure.clone());
            let claim = claim_of(&record, wardian_model::claim::Claimed::Port(exposure.protocol, exposure.at.get()));
            let transaction = Transaction::new()
                .unchanged(record.key(), revision)
                .absent(claim.key())
                .put_json(record.key(), &record)?
                .put_json(claim.key(), &claim)?;
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                let message = format!("port {}/{} is exposed at {}", exposure.port, exposure.protocol, exposure.at);
                self.shared.records.say(environment, Some(&exposure.machine), message).await;
                let door = record.door(&exposure);
                self.in_effect(&record, |doors| doors.contains(&door)).await?;
                return Ok(exposure);
            }
        }
    }

    /// Takes that back.
    ///
    /// # Errors
    /// When it is not exposed.
    pub async fn unexpose(&self, environment: &EnvironmentName, wanted: &Expose) -> Result<(), Refusal> {
        loop {
            let At { mut record, revision } = self.changeable(environment).await?;
            let Some(place) = record.exposed.iter().position(|e| is(e, wanted)) else {
                return Err(Refusal::not_found(format!(
                    "{environment}/{}:{}/{} is not exposed",
                    wanted.machine, wanted.port, wanted.protocol
                )));
            };
            let exposure = record.exposed.remove(place);
            let claim = wardian_model::claim::Claimed::Port(exposure.protocol, exposure.at.get());
            let transaction = Transaction::new()
                .unchanged(record.key(), revision)
                .put_json(record.key(), &record)?
                .delete(claim.key());
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                let message = format!("port {}/{} is no longer exposed", exposure.port, exposure.protocol);
                self.shared.records.say(environment, Some(&exposure.machine), message).await;
                let door = record.door(&exposure);
                self.in_effect(&record, |doors| !doors.contains(&door)).await?;
                return Ok(());
            }
        }
    }

    /// Waits until the kernel does what was written down: who has asked may rely on it with the next packet.
    pub(super) async fn in_effect(
        &self,
        record: &EnvironmentRecord,
        at_host: impl Fn(&[Exposure]) -> bool,
    ) -> Result<(), Refusal> {
        // What is on this host: the edge, or the part or passage that there is beside it.
        let host = self.shared.host();
        let plan = network::part(record, &self.shared.config.lab, host.as_ref());
        let is_passage = host.as_ref().is_some_and(|host| passage::is_wanted(record, host));
        let at_edge = |networks: &HashMap<_, _>| match networks.get(&record.id) {
            Some(made) => *made == plan && (is_passage || self.shared.has_part(record)),
            None => !is_passage,
        };
        match self.shared.applied.until(|now| at_host(&now.exposures) && at_edge(&now.networks)).await {
            true => Ok(()),
            false => Err(Refusal::unavailable(format!(
                "the change to {} is written down, but not in effect yet",
                record.name
            ))
            .hint("it will be as soon as the host gets to it; the daemon's log says what is in the way")),
        }
    }

    /// Changes what a request may change of an environment. Gives the record as it is then, and whether `change` changed it.
    pub(super) async fn change(
        &self,
        name: &EnvironmentName,
        mut change: impl FnMut(&mut EnvironmentRecord) -> Result<bool, Refusal>,
    ) -> Result<(EnvironmentRecord, bool), Refusal> {
        loop {
            let At { mut record, revision } = self.changeable(name).await?;
            if !change(&mut record)? {
                return Ok((record, false));
            }
            let transaction = Transaction::new().unchanged(record.key(), revision).put_json(record.key(), &record)?;
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                return Ok((record, true));
            }
        }
    }

    pub(super) async fn changeable(&self, name: &EnvironmentName) -> Result<At<EnvironmentRecord>, Refusal> {
        let found = self.shared.records.environment(name).await?.ok_or_else(|| no_environment(name))?;
        if found.record.desired == Desired::Removed {
            return Err(Refusal::conflict(format!("{name} is being removed")));
        }
        Ok(found)
    }
}

fn is(exposure: &Exposure, wanted: &Expose) -> bool {
    exposure.machine == wanted.machine && exposure.port == wanted.port && exposure.protocol == wanted.protocol
}
