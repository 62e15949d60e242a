//! `join` and `part`: whose machines reach each other by their inside addresses.

use std::collections::BTreeSet;

use wardian_model::{
    environment::EnvironmentRecord,
    id::EnvironmentId,
    name::{EnvironmentName, HostName},
    record::Record,
};
use wardian_plan::join::{JoinError, may_join};
use wardian_store::{Outcome, Transaction};

use crate::{
    Host, Refusal,
    records::{At, Records},
    refusal::problem,
};

impl Host {
    /// Joins the routing domains of two environments; in effect on this host when this returns. Asking twice is asking
    /// once.
    ///
    /// # Errors
    /// When one of them isn't there, or they can't be joined; says why. Also when a host that it takes is away: they
    /// are joined then, and it is in effect there when that is back.
    pub async fn join(&self, name: &EnvironmentName, other: &EnvironmentName) -> Result<EnvironmentRecord, Refusal> {
        let (one, other) = loop {
            let (one, two) = (self.changeable(name).await?, self.changeable(other).await?);
            may_join(&one.record, &two.record).map_err(|error| refused(&error))?;
            if one.record.is_joined_with(two.record.id) && two.record.is_joined_with(one.record.id) {
                break (one.record, two.record);
            }
            let (as_one, as_two) = (one.record.as_joined(), two.record.as_joined());
            let both = [(one, as_two), (two, as_one)].map(|(mut at, joined)| {
                at.record.joined.retain(|before| before.id != joined.id);
                at.record.joined.push(joined);
                at
            });
            if let Some(both) = self.write_both(both).await? {
                self.say_both(&both, "joined with").await;
                break both;
            }
        };
        self.both_in_effect(&one, &other).await?;
        Ok(one)
    }

    /// Takes that back.
    ///
    /// # Errors
    /// When one of them isn't there, or they are not joined; and when a host is away, as above.
    pub async fn part(&self, name: &EnvironmentName, other: &EnvironmentName) -> Result<EnvironmentRecord, Refusal> {
        let (one, other) = loop {
            let (one, two) = (self.changeable(name).await?, self.changeable(other).await?);
            if !one.record.is_joined_with(two.record.id) {
                return Err(Refusal::not_found(format!("{name} is not joined with {other}"))
                    .hint(format!("`wardian status {name}` says with whom it is")));
            }
            let ids = [two.record.id, one.record.id];
            let mut both = [one, two];
            for (at, id) in both.iter_mut().zip(ids) {
                at.record.joined.retain(|joined| joined.id != id);
            }
            if let Some(both) = self.write_both(both).await? {
                self.say_both(&both, "parted from").await;
                break both;
            }
        };
        self.both_in_effect(&one, &other).await?;
        Ok(one)
    }

    /// Both records in one transaction; nothing when somebody was faster.
    async fn write_both(
        &self,
        [one, two]: [At<EnvironmentRecord>; 2],
    ) -> Result<Option<(EnvironmentRecord, EnvironmentRecord)>, Refusal> {
        let transaction = Transaction::new()
            .unchanged(one.record.key(), one.revision)
            .unchanged(two.record.key(), two.revision)
            .put_json(one.record.key(), &one.record)?
            .put_json(two.record.key(), &two.record)?;
        let outcome = self.shared.records.store().commit(transaction).await?;
        Ok(matches!(outcome, Outcome::Committed(_)).then_some((one.record, two.record)))
    }

    async fn say_both(&self, (one, two): &(EnvironmentRecord, EnvironmentRecord), what: &str) {
        for (name, other) in [(&one.name, &two.name), (&two.name, &one.name)] {
            self.shared.records.say(name, None, format!("{what} {other}")).await;
        }
    }

    async fn both_in_effect(&self, one: &EnvironmentRecord, other: &EnvironmentRecord) -> Result<(), Refusal> {
        self.in_effect(one, |_, _| true).await?;
        self.in_effect(other, |_, _| true).await?;
        let hosts: BTreeSet<&HostName> = one.hosts().into_iter().chain(other.hosts()).collect();
        let mut away = Vec::new();
        for host in hosts {
            if self.other(host).await?.is_some_and(|other| !other.present) {
                away.push(host.as_str());
            }
        }
        if away.is_empty() {
            return Ok(());
        }
        let (names, away) = (format!("{} and {}", one.name, other.name), away.join(" and "));
        let is = if one.is_joined_with(other.id) { "joined" } else { "parted" };
        Err(Refusal::unavailable(format!(
            "{names} are {is}, but on {away}, whose daemon is down, it is not in effect yet"
        ))
        .hint("it is written down, and will be in effect when the daemon is back (`wardian host ls`)"))
    }
}

/// With an environment that goes, those it is joined with are parted from it, in the same transaction.
pub(super) async fn parted_from(
    mut transaction: Transaction,
    records: &Records,
    record: &EnvironmentRecord,
) -> Result<Transaction, Refusal> {
    let id: EnvironmentId = record.id;
    for joined in &record.joined {
        let Some(At { record: mut other, revision }) = records.environment(&joined.name).await? else { continue };
        if other.id == joined.id && other.is_joined_with(id) {
            other.joined.retain(|joined| joined.id != id);
            transaction = transaction.unchanged(other.key(), revision).put_json(other.key(), &other)?;
        }
    }
    Ok(transaction)
}

fn refused(error: &JoinError) -> Refusal {
    let hint = match error {
        JoinError::Itself(_) => "name another environment",
        JoinError::Mode { .. } => "remove its mode, or reach it by its public addresses",
        JoinError::Overlap(..) | JoinError::Third { .. } => {
            "make one of them with other subnets; a clone with --customize has some of its own"
        }
        JoinError::TooMany(_) => "part it from one first (`wardian part`)",
        JoinError::Apart { .. } => "reach its machines by their public addresses, or exposed ports",
    };
    Refusal::conflict(problem(error).message).hint(hint)
}
