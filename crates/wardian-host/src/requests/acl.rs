//! `acl`: what the machines of an environment may say and hear from now on.

use wardian_model::{
    environment::{EnvironmentRecord, Problem},
    file::{Severity, check_acl},
    name::{EnvironmentName, MachineName},
    spec::AclRule,
};
use wardian_network::NetworkError;

use crate::{Host, Refusal, RefusalKind, refusal::problem};

/// What a machine was not allowed to hear and to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The machine.
    pub machine: MachineName,
    /// Packets it was not allowed to hear.
    pub inward: u64,
    /// Packets it was not allowed to say.
    pub outward: u64,
}

impl Host {
    /// Replaces the rules of a machine, or those of all machines; in effect on this host when this returns. What they
    /// still allow loses nothing, what they no longer allow stops. Gives what probably isn't meant.
    ///
    /// # Errors
    /// When there is no such environment or machine, a rule names a machine that isn't there, or the change is not in
    /// effect in time.
    pub async fn set_acl(
        &self,
        name: &EnvironmentName,
        machine: Option<&MachineName>,
        rules: &[AclRule],
    ) -> Result<(EnvironmentRecord, Vec<Problem>), Refusal> {
        let mut warnings = Vec::new();
        let set = |record: &mut EnvironmentRecord| {
            warnings = checked(record, machine, rules)?;
            let changed = record.acl.list(machine) != rules;
            record.acl.set(machine, rules.to_vec());
            Ok(changed)
        };
        let (record, changed) = self.change(name, set).await?;
        if changed {
            let said = match rules.len() {
                0 => "everything is allowed by its own rules".to_owned(),
                1 => format!("its one rule is: {}", rules[0]),
                n => format!("it has {n} rules of what it may say and hear"),
            };
            self.shared.records.say(name, machine, said).await;
        }
        self.in_effect(&record, |_, _| true).await?;
        Ok((record, warnings))
    }

    /// What machines on this host were not allowed, where there are rules. Nothing while there is no network.
    ///
    /// # Errors
    /// When there is no such environment, or the kernel doesn't tell.
    pub async fn acl_counters(&self, name: &EnvironmentName) -> Result<Vec<Denied>, Refusal> {
        let record = self.environment_record(name).await?;
        if record.acl.is_empty() {
            return Ok(Vec::new());
        }
        let counts = match self.shared.network.acl_counters(record.id).await {
            Ok(counts) => counts,
            Err(NetworkError::NoEnvironment { .. }) => Vec::new(),
            Err(error) => return Err(Refusal::internal(problem(&error).message)),
        };
        let denied = |(machine, slot): (&MachineName, u16)| {
            let count = counts.iter().find(|count| count.slot == slot)?;
            let (inward, outward) = (count.inward.packets, count.outward.packets);
            Some(Denied { machine: machine.clone(), inward, outward })
        };
        Ok(record.identities.iter().map(|(machine, identity)| (machine, identity.slot)).filter_map(denied).collect())
    }
}

fn checked(
    record: &EnvironmentRecord,
    machine: Option<&MachineName>,
    rules: &[AclRule],
) -> Result<Vec<Problem>, Refusal> {
    if let Some(machine) = machine.filter(|machine| !record.identities.contains_key(*machine)) {
        return Err(Refusal::not_found(format!("{} has no machine {machine}", record.name))
            .hint(format!("see `wardian status {}`", record.name)));
    }
    let found = check_acl(&record.spec, machine, rules);
    match found.iter().find(|finding| finding.severity == Severity::Error) {
        Some(error) => Err(Refusal::new(RefusalKind::Invalid, error.problem.clone())),
        None => Ok(found.into_iter().map(|finding| finding.problem).collect()),
    }
}
