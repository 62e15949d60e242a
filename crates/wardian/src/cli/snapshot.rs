//! `wardian snapshot`: moments of an environment that are kept, and the tree they make.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;
use wardian_api::wire::{Operation, OperationState, Snapshot, SnapshotList, SnapshotRequest};
use wardian_client::ClientError;

use super::{
    Session, args,
    failure::{Failure, Problem},
    ls::since,
    output::Style,
    progress,
    table::{age, size, table},
};

pub(crate) async fn run(session: &Session, command: args::Snapshot) -> Result<(), Failure> {
    match command {
        args::Snapshot::Create(arguments) => create(session, arguments).await,
        args::Snapshot::Ls(arguments) => ls(session, arguments).await,
        args::Snapshot::Rm(arguments) => rm(session, arguments).await,
    }
}

/// `snapshot create --json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Created {
    operation: Operation,
    /// As it is once it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Snapshot>,
}

async fn create(session: &Session, arguments: args::SnapshotCreate) -> Result<(), Failure> {
    let client = session.client().await?;
    let (environment, name) = (arguments.environment.as_str(), arguments.name.as_str());
    let request = SnapshotRequest { name: name.to_owned(), memory: !arguments.disk_only };
    let mut operation = client.snapshot(environment, &request).await?;
    if arguments.no_wait {
        session.output.message(format_args!(
            "snapshot {name} of {environment} is being taken; `wardian snapshot ls {environment}` shows how far it is"
        ));
    } else {
        let ended = progress::follow(session, &client, vec![operation.clone()]).await?;
        operation = ended.into_iter().next().unwrap_or(operation);
    }
    let snapshot = match operation.state {
        OperationState::Done => {
            client.snapshots(environment).await?.snapshots.into_iter().find(|snapshot| snapshot.name == name)
        }
        OperationState::Running | OperationState::Failed => None,
    };
    let stood = snapshot.as_ref().and_then(|snapshot| snapshot.pause_us).map(paused);
    if session.output.json {
        session.output.json(&Created { operation: operation.clone(), snapshot })?;
    } else if let Some(stood) = stood {
        session.output.data(stood + "\n")?;
    }
    progress::verdict(session.output, &[operation])
}

/// How long the machines stood.
fn paused(microseconds: u64) -> String {
    if microseconds == 0 {
        return "paused for 0 ms: no machine was running".to_owned();
    }
    let tenths = microseconds.div_ceil(100);
    format!("paused for {}.{} ms", tenths / 10, tenths % 10)
}

async fn ls(session: &Session, arguments: args::SnapshotLs) -> Result<(), Failure> {
    let environment = arguments.environment.as_str();
    let list = session.client().await?.snapshots(environment).await?;
    if session.output.json {
        return session.output.json(&list);
    }
    if list.snapshots.is_empty() {
        session.output.message(format_args!(
            "no snapshots of {environment}; `wardian snapshot create {environment} NAME` takes one"
        ));
    }
    session.output.data(render(&list, Timestamp::now(), session.output.data_style))
}

/// A snapshot that can't be removed doesn't keep the others from being so.
async fn rm(session: &Session, arguments: args::SnapshotRm) -> Result<(), Failure> {
    let client = session.client().await?;
    let environment = arguments.environment.as_str();
    let mut refused = Vec::<Problem>::new();
    for name in &arguments.names {
        match client.remove_snapshot(environment, name.as_str()).await {
            Ok(()) => session.output.message(format_args!("snapshot {name} of {environment} removed")),
            Err(error @ ClientError::Refused(_)) => refused.push(error.into()),
            Err(error) => return Err(error.into()),
        }
    }
    for problem in &refused {
        session.output.problem(problem);
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::Exit(1)) }
}

/// A line per snapshot, each below the one it grew from, and where the environment is now.
pub(crate) fn render(list: &SnapshotList, now: Timestamp, style: Style) -> String {
    let text = table(
        ["NAME", "AGE", "WHAT", "SIZE", "PHASE", "NOW"],
        tree(&list.snapshots).into_iter().map(|(branch, snapshot)| {
            let here = list.at.as_ref().is_some_and(|at| at.id == snapshot.id);
            [
                format!("{branch}{}", snapshot.name).into(),
                since(&snapshot.created, now).map_or_else(|| "-".to_owned(), age).into(),
                what(snapshot).into(),
                snapshot
                    .saved_bytes
                    .filter(|_| snapshot.memory == Some(true))
                    .map_or_else(|| "-".to_owned(), size)
                    .into(),
                style.phase(snapshot.phase.word()),
                if here { format!("{} is here", list.environment).into() } else { "".into() },
            ]
        }),
    );
    let foreign = list.at.as_ref().filter(|at| at.environment != list.environment);
    match foreign {
        Some(at) => format!("{text}{} is at {}@{}\n", list.environment, at.environment, at.name),
        None => text,
    }
}

const fn what(snapshot: &Snapshot) -> &'static str {
    match snapshot.memory {
        Some(true) => "memory+disk",
        Some(false) => "disk",
        None => "-",
    }
}

/// Snapshots in the order of their tree, each with the branches drawn before its name.
fn tree(snapshots: &[Snapshot]) -> Vec<(String, &Snapshot)> {
    // Parents that are gone, or another environment's, leave their children as roots.
    let known: HashSet<&str> = snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    let children = |parent: Option<&str>| {
        let of = |snapshot: &&Snapshot| snapshot.parent.as_deref().filter(|id| known.contains(id)) == parent;
        snapshots.iter().filter(of).collect::<Vec<_>>()
    };
    let mut lines = Vec::with_capacity(snapshots.len());
    let mut left: Vec<(String, String, &Snapshot)> =
        children(None).into_iter().rev().map(|root| (String::new(), String::new(), root)).collect();
    while let Some((branch, indent, snapshot)) = left.pop() {
        lines.push((branch, snapshot));
        let mut last = true;
        for child in children(Some(&snapshot.id)).into_iter().rev() {
            let (branch, deeper) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            left.push((format!("{indent}{branch}"), format!("{indent}{deeper}"), child));
            last = false;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use wardian_api::wire::{SnapshotPhase, SnapshotPlace};

    use super::*;
    use crate::cli::fixtures::{NOW, snapshots};

    fn text(list: &SnapshotList) -> String {
        render(list, NOW.parse().unwrap(), Style::PLAIN)
    }

    #[test]
    fn snapshots_are_a_tree_that_says_where_the_environment_is() {
        insta::assert_snapshot!(text(&snapshots()), @r"
        NAME           AGE  WHAT         SIZE      PHASE   NOW
        clean          2h   memory+disk  31.0 MiB  ready
        ├─ patched     58m  memory+disk  4.0 MiB   ready
        │  └─ broken   30m  -            -         failed
        └─ other       10m  disk         -         ready   store is here
           └─ other-2  1m   -            -         taking
        elsewhere      1m   -            -         saving
        ");
    }

    #[test]
    fn a_clone_is_at_a_snapshot_of_its_source() {
        let at = SnapshotPlace { environment: "store".into(), name: "clean".into(), id: "1".into() };
        let list = SnapshotList { environment: "copy".into(), snapshots: Vec::new(), at: Some(at) };
        assert_eq!(text(&list), "NAME  AGE  WHAT  SIZE  PHASE  NOW\ncopy is at store@clean\n");
    }

    #[test]
    fn a_snapshot_says_how_long_the_machines_stood() {
        assert_eq!(paused(14_200), "paused for 14.2 ms");
        assert_eq!(paused(1), "paused for 0.1 ms");
        assert_eq!(paused(1_234_567), "paused for 1234.6 ms");
        assert_eq!(paused(0), "paused for 0 ms: no machine was running");
    }

    #[test]
    fn every_snapshot_is_shown_once() {
        let all = snapshots().snapshots;
        let mut shown: Vec<&str> = tree(&all).into_iter().map(|(_, snapshot)| snapshot.name.as_str()).collect();
        shown.sort_unstable();
        let mut names: Vec<&str> = all.iter().map(|snapshot| snapshot.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(shown, names);
        assert_eq!(SnapshotPhase::Taking.word(), "taking");
    }
}
