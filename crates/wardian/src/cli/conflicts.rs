//! `wardian conflicts`: what environments would collide in, if they were not isolated.

use std::fmt::Write as _;

use wardian_api::wire::{ClashKind, Conflicts, Contender, Party};
use wardian_model::name::EnvironmentName;

use super::{Session, args, failure::Failure, table::table};

pub(crate) async fn run(session: &Session, arguments: args::Conflicts) -> Result<(), Failure> {
    let names: Vec<&str> = arguments.environments.iter().map(EnvironmentName::as_str).collect();
    let conflicts = session.client().await?.conflicts(&names).await?;
    if session.output.json {
        return session.output.json(&conflicts);
    }
    if conflicts.conflicts.is_empty() {
        session.output.data(none(&names) + "\n")?;
    } else {
        session.output.data(render(&conflicts))?;
    }
    for warning in &conflicts.warnings {
        session.output.warning(warning);
    }
    Ok(())
}

fn none(names: &[&str]) -> String {
    match names {
        [only] => format!("{only} has nothing in common with any other environment; it would not collide"),
        several => format!("{} have nothing in common; they would not collide", several.join(", ")),
    }
}

fn render(conflicts: &Conflicts) -> String {
    let mut text = "would collide without isolation:\n".to_owned();
    text += &table(
        ["WHAT", "VALUE", "WHO"],
        conflicts.conflicts.iter().map(|clash| {
            let who = |party: &Party| who(party, clash.kind, &clash.value);
            let between = clash.between.iter().map(who).collect::<Vec<_>>().join(", ");
            [clash.kind.word().to_owned(), clash.value.clone(), between]
        }),
    );
    for contender in &conflicts.environments {
        if contender.clone_of.is_some() || contender.restored_to.is_some() {
            let _ = writeln!(text, "{}", since(contender));
        }
    }
    text
}

fn who(party: &Party, kind: ClashKind, value: &str) -> String {
    match (&party.machine, kind) {
        (Some(machine), _) => format!("{}/{machine}", party.environment),
        (None, ClashKind::Address) => format!("{} (gateway)", party.environment),
        (None, _) if party.value != value => format!("{} ({})", party.environment, party.value),
        (None, _) => party.environment.clone(),
    }
}

/// Where an inside that is another one's comes from, and since when.
fn since(contender: &Contender) -> String {
    let mut text = format!("{}: ", contender.name);
    if let Some(source) = &contender.clone_of {
        let _ = match &contender.clone_of_snapshot {
            Some(snapshot) => write!(text, "clone of {source}@{snapshot} since {}", contender.since),
            None => write!(text, "clone of {source} since {}", contender.since),
        };
    }
    if let Some(snapshot) = &contender.restored_to {
        let comma = if contender.clone_of.is_some() { ", " } else { "" };
        let _ = match (&contender.restored_of, &contender.restored_taken) {
            (Some(of), Some(taken)) => write!(text, "{comma}restored to {of}@{snapshot}, taken {taken}"),
            _ => write!(text, "{comma}restored to {snapshot}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::conflicts;

    #[test]
    fn conflicts_are_a_table_and_where_they_come_from() {
        insta::assert_snapshot!(render(&conflicts()), @r"
        would collide without isolation:
        WHAT           VALUE           WHO
        computer name  web-server      copy/web, store/web
        address        192.168.23.254  large/old, store (gateway)
        subnet         192.168.0.0/16  large, store (192.168.23.0/24)
        copy: clone of store@clean since 2026-03-01T11:00:00Z, restored to store@later, taken 2026-03-01T11:30:00Z
        ");
    }

    #[test]
    fn nothing_in_common_is_said_so() {
        assert_eq!(none(&["a"]), "a has nothing in common with any other environment; it would not collide");
        assert_eq!(none(&["a", "b"]), "a, b have nothing in common; they would not collide");
    }
}
