//! `wardian ls`: one line per environment.

use jiff::Timestamp;
use wardian_api::wire::{EnvironmentList, EnvironmentSummary, Origin};

use super::{
    Session,
    failure::Failure,
    output::Style,
    table::{age, table},
};

pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let list = EnvironmentList { environments: session.client().await?.environments().await? };
    if session.output.json {
        return session.output.json(&list);
    }
    if list.environments.is_empty() {
        session.output.message("no environments; `wardian up FILE` makes one");
    }
    session.output.data(render(&list, Timestamp::now(), session.output.data_style))
}

fn render(list: &EnvironmentList, now: Timestamp, style: Style) -> String {
    table(
        ["NAME", "PHASE", "MACHINES", "FENCE", "AGE", "FROM"],
        list.environments.iter().map(|environment| {
            [
                environment.name.clone().into(),
                style.phase(environment.phase.word()),
                format!("{}/{} ready", environment.machines_ready, environment.machines_total).into(),
                environment.fence.word().into(),
                since(&environment.created, now).map_or_else(|| "-".to_owned(), age).into(),
                from(environment).into(),
            ]
        }),
    )
}

fn from(environment: &EnvironmentSummary) -> &str {
    match &environment.origin {
        Origin::File => "file",
        Origin::Clone { name, .. } => name,
    }
}

/// Whole seconds since a time on the wire; nothing when it can't be read. 0 when it is yet to come.
pub(crate) fn since(at: &str, now: Timestamp) -> Option<u64> {
    let at: Timestamp = at.parse().ok()?;
    Some(u64::try_from(now.as_second() - at.as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{NOW, clone_summary, failed_summary, summary};

    #[test]
    fn environments_are_a_table() {
        let list = EnvironmentList { environments: vec![summary(), clone_summary(), failed_summary()] };
        insta::assert_snapshot!(render(&list, NOW.parse().unwrap(), Style::PLAIN), @r"
        NAME     PHASE     MACHINES   FENCE     AGE  FROM
        store    running   2/2 ready  out-only  5m   file
        store-2  starting  0/2 ready  sealed    8s   store
        shop     failed    1/2 ready  out-only  28d  file
        ");
    }

    #[test]
    fn no_environments_are_the_headings_only() {
        let list = EnvironmentList { environments: Vec::new() };
        assert_eq!(render(&list, NOW.parse().unwrap(), Style::PLAIN), "NAME  PHASE  MACHINES  FENCE  AGE  FROM\n");
    }
}
