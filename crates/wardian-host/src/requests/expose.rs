//! `expose`: a port of a machine that the outside may reach, or of several machines that share it.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use wardian_model::{
    claim::ClaimRecord,
    door::Door,
    environment::{Desired, EnvironmentRecord, Exposure},
    name::{EnvironmentName, MachineName},
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
use crate::{Host, Refusal, applied::Now, records::At};

/// How often, and for how long each time, the kernel is looked at until a change is given up. Usually it takes some 20
/// ms.
const LOOKS: usize = 10;
const LOOK: Duration = Duration::from_secs(1);

impl Host {
    /// Lets the outside reach a port, or one that several machines share. Asking twice without choosing a port gives
    /// the same answer: the exposure of the first machine.
    ///
    /// # Errors
    /// When there is no such environment or machine, or the chosen port leads elsewhere.
    pub async fn expose(&self, environment: &EnvironmentName, wanted: &Expose) -> Result<Exposure, Refusal> {
        loop {
            let At { mut record, revision } = self.changeable(environment).await?;
            for machine in wanted.machines() {
                if let Err(reason) = record.spec.may_be_exposed(machine, &record.gateway) {
                    return Err(Refusal::conflict(format!("{environment}: {reason}"))
                        .hint("machines of its environment reach it; expose one of them"));
                }
            }
            if let Some(present) =
                wanted.machines().find_map(|machine| record.exposed.iter().find(|e| is(e, machine, wanted)))
            {
                let same = is_share(&record, present, wanted);
                match wanted.at {
                    None if same => return Ok(first(&record, present, wanted)),
                    Some(at) if same && present.at == at => return Ok(first(&record, present, wanted)),
                    _ => {
                        let with = with_others(&record, present);
                        return Err(Refusal::conflict(format!(
                            "{environment}/{}:{} is already exposed at port {}{with}",
                            present.machine, present.port, present.at
                        ))
                        .hint("remove that first: `wardian expose --remove …`"));
                    }
                }
            }
            let claims = self.shared.records.list::<ClaimRecord>(ClaimRecord::PREFIX).await?;
            let taken: Taken = claims.into_iter().map(|c| c.of).collect();
            let share = allocate::exposures(wanted, &record.identities, &self.shared.config.pools(), &taken.ports)
                .map_err(exhausted)?;
            let Some(exposure) = share.first().cloned() else { continue };
            record.exposed.extend(share);
            let claim = claim_of(&record, wardian_model::claim::Claimed::Port(exposure.protocol, exposure.at.get()));
            let transaction = Transaction::new()
                .unchanged(record.key(), revision)
                .absent(claim.key())
                .put_json(record.key(), &record)?
                .put_json(claim.key(), &claim)?;
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                let message = format!("port {}/{} is exposed at {}", exposure.port, exposure.protocol, exposure.at);
                for machine in wanted.machines() {
                    self.shared.records.say(environment, Some(machine), message.clone()).await;
                }
                self.in_effect(&record, |_, doors| doors.iter().any(|door| door.is_of(&exposure))).await?;
                return Ok(exposure);
            }
        }
    }

    /// Takes that back, for all that share it.
    ///
    /// # Errors
    /// When it is not exposed, or shared by others too.
    pub async fn unexpose(&self, environment: &EnvironmentName, wanted: &Expose) -> Result<(), Refusal> {
        loop {
            let At { mut record, revision } = self.changeable(environment).await?;
            let Some(exposure) = record.exposed.iter().find(|e| is(e, &wanted.machine, wanted)).cloned() else {
                return Err(Refusal::not_found(format!(
                    "{environment}/{}:{}/{} is not exposed",
                    wanted.who(),
                    wanted.port,
                    wanted.protocol
                )));
            };
            if !is_share(&record, &exposure, wanted) {
                let with = with_others(&record, &exposure);
                let whole =
                    record.exposes().into_iter().find(|expose| expose.machines().any(|m| *m == exposure.machine));
                let whole = whole.map(|expose| format!("name all that share it: {environment}/{expose}"));
                return Err(Refusal::conflict(format!(
                    "{environment}/{}:{} is exposed at port {}{with}",
                    exposure.machine, exposure.port, exposure.at
                ))
                .hint(whole.unwrap_or_default()));
            }
            record.exposed.retain(|other| (other.protocol, other.at) != (exposure.protocol, exposure.at));
            let mut out = std::mem::take(&mut record.out);
            out.retain(|machine, _| record.is_sharing(machine));
            record.out = out;
            let claim = wardian_model::claim::Claimed::Port(exposure.protocol, exposure.at.get());
            let transaction = Transaction::new()
                .unchanged(record.key(), revision)
                .put_json(record.key(), &record)?
                .delete(claim.key());
            if let Outcome::Committed(_) = self.shared.records.store().commit(transaction).await? {
                let message = format!("port {}/{} is no longer exposed", exposure.port, exposure.protocol);
                for machine in wanted.machines() {
                    self.shared.records.say(environment, Some(machine), message.clone()).await;
                }
                self.in_effect(&record, |_, doors| !doors.iter().any(|door| door.is_of(&exposure))).await?;
                return Ok(());
            }
        }
    }

    /// Waits until the kernel does what was written down: who has asked may rely on it with the next packet. `at_host`
    /// says whether the host's own ports do.
    pub(super) async fn in_effect(
        &self,
        record: &EnvironmentRecord,
        at_host: impl Fn(&EnvironmentRecord, &[Door]) -> bool,
    ) -> Result<(), Refusal> {
        // What is on this host: the edge, or the part or passage that there is beside it.
        let host = self.shared.host();
        let mut record = record.clone();
        for _ in 0..LOOKS {
            let plan = network::part(&record, &self.shared.config.lab, host.as_ref());
            let is_passage = host.as_ref().is_some_and(|host| passage::is_wanted(&record, host));
            let at_edge = |networks: &HashMap<_, _>| match networks.get(&record.id) {
                Some(made) => *made == plan && (is_passage || self.shared.has_part(&record)),
                None => !is_passage,
            };
            let done = |now: &Now| at_host(&record, &now.doors) && at_edge(&now.networks);
            if self.shared.applied.until(LOOK, done).await {
                return Ok(());
            }
            // Which machines are out of ports they share is nobody's request, and may have changed meanwhile.
            if let Some(now) = self.shared.records.environment(&record.name).await? {
                record.out = now.record.out;
            }
        }
        Err(Refusal::unavailable(format!("the change to {} is written down, but not in effect yet", record.name))
            .hint("it will be as soon as the host gets to it; the daemon's log says what is in the way"))
    }

    /// Changes what a request may change of an environment. Gives the record as it is then, and whether `change`
    /// changed it.
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

/// Whether that is the port of `machine` that is asked for.
fn is(exposure: &Exposure, machine: &MachineName, wanted: &Expose) -> bool {
    exposure.machine == *machine && exposure.port == wanted.port && exposure.protocol == wanted.protocol
}

/// Whether those that share the door of `present` are the machines that are asked for.
fn is_share(record: &EnvironmentRecord, present: &Exposure, wanted: &Expose) -> bool {
    let there: BTreeSet<_> = record.shares_with(present).chain([&present.machine]).collect();
    there == wanted.machines().collect()
}

/// The exposure of the machine that was named first.
fn first(record: &EnvironmentRecord, present: &Exposure, wanted: &Expose) -> Exposure {
    record.exposed.iter().find(|e| is(e, &wanted.machine, wanted)).unwrap_or(present).clone()
}

/// ` together with web-2`; nothing where it is alone.
fn with_others(record: &EnvironmentRecord, exposure: &Exposure) -> String {
    let others: Vec<_> = record.shares_with(exposure).map(MachineName::as_str).collect();
    if others.is_empty() { String::new() } else { format!(" together with {}", others.join(", ")) }
}
