//! An environment lies on two hosts, and the daemon of either is killed while something is done with it: it is done all
//! the same, once, and on both.

use std::time::Duration;

#[path = "story_cluster/scene.rs"]
mod scene;

use scene::{SLOW, nothing_is_left, spread, two_hosts};
use wardian_testkit::{TestCluster, TestHost, wait};

/// The machines' processes are where they belong, one of each.
fn nobody_runs_twice(cluster: &TestCluster, what: &str) {
    let processes = [0, 1].map(|host| cluster.host(host).machine_processes().len());
    assert_eq!(processes, [1, 1], "{what}: somebody runs twice, or not at all");
}

fn phase(host: &TestHost, environment: &str) -> Option<String> {
    let list = host.wardian(&["ls", "--json"]).json();
    let found = list["environments"].as_array()?.iter().find(|e| e["name"] == environment)?;
    Some(found["phase"].as_str()?.to_owned())
}

/// The page of one machine with what the other one has, found by its name and by its address.
fn answers(host: &TestHost, environment: &str) {
    let web = host.outside_address(&format!("{environment}/web"));
    wait::until("both halves answer", SLOW, || {
        let page = host.curl(&format!("http://{web}/cgi-bin/index.cgi"));
        (page.success() && page.ok().matches("a fern").count() == 2).then_some(())
    });
}

/// Kills the daemon of a host at a step of what is asked for at the other one, and starts it again, perhaps to be
/// killed at `next`. Whether the request was answered well.
fn kill(cluster: &mut TestCluster, killed: usize, step: &str, request: &[&str], next: Option<&str>) -> bool {
    let asked = cluster.host(1 - killed).begin(request);
    assert!(cluster.host_mut(killed).daemon_dies_within(SLOW), "{killed} is not killed at {step:?}");
    cluster.host_mut(killed).kill_daemon();
    let variables: Vec<_> = next.iter().map(|next| ("WARDIAN_KILL_AT", *next)).collect();
    cluster.host_mut(killed).start_daemon(&variables);
    asked.end(Duration::from_secs(180)).success()
}

/// In `up` and in `rm`. The gateway's part is made once more when a daemon starts.
const UP: [&str; 5] = ["network: made", "disk: recorded", "start: prepared", "start: process runs", "ready: recorded"];
const REMOVE: [&str; 5] = [
    "stop: process ended",
    "stop: end recorded",
    "network: removed",
    "forget: files removed",
    "collect: layer deleted",
];

#[test]
fn story_up_and_rm_on_two_hosts_survive_a_kill_on_either() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    let (a, b, before) = two_hosts(&mut cluster);
    let files = [a, b].map(|host| spread(cluster.host(host)));
    for (n, (up, remove)) in UP.into_iter().zip(REMOVE).enumerate() {
        // The home does much as if it were alone: there every other step is enough.
        for killed in [a, b].into_iter().filter(|killed| *killed == b || n % 2 == 0) {
            cluster.host_mut(killed).stop_daemon();
            cluster.host_mut(killed).start_daemon(&[("WARDIAN_KILL_AT", up)]);
            let asked = kill(&mut cluster, killed, up, &["up", "--quiet", &files[1 - killed]], Some(remove));
            wait::until("it runs", Duration::from_secs(120), || {
                (phase(cluster.host(a), "store")? == "running").then_some(())
            });
            println!("host {killed} killed at {up:?}: it runs ({asked})");
            answers(cluster.host(1 - killed), "store");
            nobody_runs_twice(&cluster, up);
            let asked = kill(&mut cluster, killed, remove, &["rm", "store"], None);
            wait::until("it is gone", SLOW, || phase(cluster.host(a), "store").is_none().then_some(()));
            println!("host {killed} killed at {remove:?}: it is gone ({asked})");
            nothing_is_left(&cluster, &before);
        }
    }
}

#[test]
fn story_a_host_is_away_while_its_part_is_asked_for() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    let (a, b, before) = two_hosts(&mut cluster);
    cluster.host(a).wardian(&["up", "--quiet", &spread(cluster.host(a))]).ok();

    // Its machine runs on; what is asked for meanwhile is done when its daemon is there again.
    cluster.host_mut(b).kill_daemon();
    let down = cluster.host(a).begin(&["down", "--quiet", "store"]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.host(b).machine_processes().len(), 1, "a daemon that is not there has stopped a machine");
    cluster.host_mut(b).start_daemon(&[]);
    down.end(Duration::from_secs(120)).ok();
    for host in [a, b] {
        assert_eq!(cluster.host(host).machine_processes().len(), 0);
    }

    // The home may be the one that is away.
    cluster.host_mut(a).kill_daemon();
    let refused = cluster.host(b).wardian(&["start", "--quiet", "store"]).fails_with(1);
    assert!(refused.contains("host a"), "{refused}");
    cluster.host_mut(a).start_daemon(&[]);
    cluster.host(b).wardian(&["start", "--quiet", "store"]).ok();
    answers(cluster.host(b), "store");
    nobody_runs_twice(&cluster, "started again");

    cluster.host_mut(b).kill_daemon();
    let removal = cluster.host(a).begin(&["rm", "--quiet", "store"]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.host(b).machine_processes().len(), 1);
    cluster.host_mut(b).start_daemon(&[]);
    removal.end(Duration::from_secs(120)).ok();
    nothing_is_left(&cluster, &before);
}

/// Where a daemon is killed while it makes its part of a cut: before and after the others wait for it, and while it
/// exchanges its machine.
const CUT: [&str; 5] =
    ["live: successors wait", "live: paused", "live: saved", "live: a machine has handed over", "live: taken over"];

#[test]
fn story_a_cut_through_two_hosts_survives_a_kill_on_either() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    let (a, b, before) = two_hosts(&mut cluster);
    cluster.host(a).wardian(&["up", "--quiet", &spread(cluster.host(a))]).ok();

    for killed in [a, b] {
        for step in CUT {
            cluster.host_mut(killed).stop_daemon();
            cluster.host_mut(killed).start_daemon(&[("WARDIAN_KILL_AT", step)]);
            let asked = cluster.host(b - killed + a).begin(&["clone", "--quiet", "store", "copy"]);
            assert!(cluster.host_mut(killed).daemon_dies_within(SLOW), "{killed} is not killed at {step:?}");
            cluster.host_mut(killed).kill_daemon();
            cluster.host_mut(killed).start_daemon(&[]);
            let asked = asked.end(Duration::from_secs(180));
            // It runs, or it is said that it doesn't and why; nothing in between.
            let phase = wait::until("it is clear what becomes of the clone", Duration::from_secs(120), || {
                phase(cluster.host(a), "copy").filter(|phase| phase == "running" || phase == "failed")
            });
            println!("host {killed} killed at {step:?}: the clone is {phase} ({})", asked.success());
            // The source goes on, on both hosts.
            answers(cluster.host(b), "store");
            if phase == "running" {
                answers(cluster.host(a), "copy");
            }
            cluster.host(a).wardian(&["rm", "copy"]).ok();
            let processes = [cluster.host(a), cluster.host(b)].map(|host| host.machine_processes().len());
            assert_eq!(processes, [1, 1], "{step}: somebody runs twice, or not at all");
        }
    }
    cluster.host(a).wardian(&["rm", "store"]).ok();
    nothing_is_left(&cluster, &before);
}
