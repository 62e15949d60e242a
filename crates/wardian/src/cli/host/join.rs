//! `wardian host join`: asks the daemon to come into its cluster, and waits until it is there.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wardian_api::wire::{HostList, HostPhase, JoinReport};
use wardian_client::Client;

use super::{
    super::{
        Session,
        failure::{Failure, Problem},
    },
    hosts,
};

/// How long the daemon may take to be there again.
const LIMIT: Duration = Duration::from_secs(60);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often it is asked.
const EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let state = client.info().await?.state_directory;
    let report = client.join().await?;
    drop(client);
    session.output.message(told(&report));
    let deadline = Instant::now() + LIMIT;
    let list = loop {
        if let Some(list) = timeout(ANSWER, there(session)).await.ok().flatten() {
            break list;
        }
        if Instant::now() >= deadline {
            return Err(absent(&state).into());
        }
        sleep(EVERY).await;
    };
    if session.output.json {
        return session.output.json(&list);
    }
    session.output.data(hosts(&list, session.output.data_style))
}

/// All hosts, once the one that answers is one of them.
async fn there(session: &Session) -> Option<HostList> {
    let client = Client::connect(&session.host.socket).await.ok()?;
    let hosts = client.hosts().await.ok()?;
    hosts.iter().any(|host| host.here && host.phase == HostPhase::Up).then_some(HostList { hosts })
}

fn told(report: &JoinReport) -> String {
    let JoinReport { host, hosts, lab_address, environments, machines, images, snapshots } = report;
    let into = match hosts.as_slice() {
        [] => "founds a cluster".to_owned(),
        hosts => format!("comes into the cluster of {}", hosts.join(", ")),
    };
    format!(
        "this host {into} as {host}, with {lab_address} on the lab network\nit brings along: {}, {}, {}, {}\nits \
         daemon starts again; machines run on",
        counted(*environments, "environment"),
        counted(*machines, "machine"),
        counted(*images, "image"),
        counted(*snapshots, "snapshot")
    )
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn absent(state: &str) -> Problem {
    let seconds = LIMIT.as_secs();
    Problem::new(format!("the daemon started again {seconds} s ago, and is not there as a host of its cluster yet"))
        .hint(format!(
            "its log says why (`journalctl --unit wardian`); once that is seen to, start it again. While there is no \
             {state}/records.moved, it can also be alone again: remove [cluster] from its configuration, then start it"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_happen_is_told_in_words() {
        let report = JoinReport {
            host: "b".into(),
            hosts: vec!["a".into(), "c".into()],
            lab_address: "10.86.255.252".into(),
            environments: 1,
            machines: 2,
            images: 1,
            snapshots: 0,
        };
        insta::assert_snapshot!(told(&report), @r"
        this host comes into the cluster of a, c as b, with 10.86.255.252 on the lab network
        it brings along: 1 environment, 2 machines, 1 image, 0 snapshots
        its daemon starts again; machines run on
        ");
        assert!(told(&JoinReport { hosts: Vec::new(), ..report }).starts_with("this host founds a cluster as b, "));
    }
}
