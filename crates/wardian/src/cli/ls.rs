//! `wardian ls`: one line per environment.

use comfy_table::Cell;
use jiff::Timestamp;
use wardian_api::wire::{EnvironmentList, EnvironmentSummary, Origin};

use super::{
    Session, args,
    expire::countdown,
    failure::Failure,
    output::Style,
    table::{age, columns},
};

pub(crate) async fn run(session: &Session, arguments: &args::Ls) -> Result<(), Failure> {
    let list = EnvironmentList { environments: session.client().await?.environments().await? };
    if session.output.json {
        return session.output.json(&list);
    }
    if list.environments.is_empty() {
        session.output.message("no environments; `wardian up FILE` makes one");
    }
    session.output.data(render(&list, arguments.long, Timestamp::now(), session.output.data_style))
}

/// Hosts, owners and expiry times are columns where somebody has one, or all is wanted.
fn render(list: &EnvironmentList, long: bool, now: Timestamp, style: Style) -> String {
    let environments = &list.environments;
    let expires = long || environments.iter().any(|environment| environment.expires.is_some());
    let host = long || environments.iter().any(|environment| !environment.hosts.is_empty());
    let owner = long || environments.iter().any(|environment| environment.owner.is_some());
    let mut headings = vec!["NAME", "PHASE", "MACHINES", "FENCE", "AGE"];
    headings.extend(host.then_some("HOST"));
    headings.extend(expires.then_some("EXPIRES"));
    headings.extend(owner.then_some("OWNER"));
    headings.push("FROM");
    columns(
        headings,
        environments.iter().map(|environment| {
            let none = || "-".to_owned();
            let mut row: Vec<Cell> = vec![
                environment.name.clone().into(),
                style.phase(environment.phase.word()),
                format!("{}/{} ready", environment.machines_ready, environment.machines_total).into(),
                environment.fence.word().into(),
                since(&environment.created, now).map_or_else(none, age).into(),
            ];
            if host {
                let hosts = environment.hosts.join(", ");
                row.push(if hosts.is_empty() { none() } else { hosts }.into());
            }
            if expires {
                row.push(environment.expires.as_deref().map_or_else(none, |at| countdown(at, now)).into());
            }
            if owner {
                row.push(environment.owner.clone().unwrap_or_else(none).into());
            }
            row.push(from(environment).into());
            row
        }),
    )
}

fn from(environment: &EnvironmentSummary) -> String {
    match &environment.origin {
        Origin::File => "file".to_owned(),
        Origin::Clone { name, snapshot: Some(snapshot), .. } => format!("{name}@{snapshot}"),
        Origin::Clone { name, snapshot: None, .. } => name.clone(),
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
        insta::assert_snapshot!(render(&list, false, NOW.parse().unwrap(), Style::PLAIN), @r"
        NAME     PHASE     MACHINES   FENCE     AGE  FROM
        store    running   2/2 ready  out-only  5m   file
        store-2  starting  0/2 ready  sealed    8s   store
        shop     failed    1/2 ready  out-only  28d  file
        ");
    }

    #[test]
    fn expiry_and_owner_are_columns_where_somebody_has_one() {
        let held = EnvironmentSummary {
            owner: Some("ana".into()),
            expires: Some("2026-03-01T14:05:00Z".into()),
            ..clone_summary()
        };
        let list = EnvironmentList { environments: vec![summary(), held] };
        insta::assert_snapshot!(render(&list, false, NOW.parse().unwrap(), Style::PLAIN), @r"
        NAME     PHASE     MACHINES   FENCE     AGE  EXPIRES  OWNER  FROM
        store    running   2/2 ready  out-only  5m   -        -      file
        store-2  starting  0/2 ready  sealed    8s   2h 5m    ana    store
        ");
    }

    #[test]
    fn all_hosts_of_an_environment_are_in_one_column() {
        let on = |hosts: &[&str], summary: EnvironmentSummary| EnvironmentSummary {
            host: Some(hosts[0].into()),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..summary
        };
        let list = EnvironmentList { environments: vec![on(&["b"], summary()), on(&["a", "b"], clone_summary())] };
        insta::assert_snapshot!(render(&list, false, NOW.parse().unwrap(), Style::PLAIN), @r"
        NAME     PHASE     MACHINES   FENCE     AGE  HOST  FROM
        store    running   2/2 ready  out-only  5m   b     file
        store-2  starting  0/2 ready  sealed    8s   a, b  store
        ");
    }

    #[test]
    fn long_shows_all_columns() {
        let list = EnvironmentList { environments: Vec::new() };
        let text = render(&list, true, NOW.parse().unwrap(), Style::PLAIN);
        assert_eq!(text, "NAME  PHASE  MACHINES  FENCE  AGE  HOST  EXPIRES  OWNER  FROM\n");
    }

    #[test]
    fn no_environments_are_the_headings_only() {
        let list = EnvironmentList { environments: Vec::new() };
        assert_eq!(
            render(&list, false, NOW.parse().unwrap(), Style::PLAIN),
            "NAME  PHASE  MACHINES  FENCE  AGE  FROM\n"
        );
    }
}
