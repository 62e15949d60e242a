//! Hosts whose clocks are far apart: environments expire by them, so one that is wrong does not come in, and where one
//! goes wrong later, it is told of and nothing expires.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use wardian_testkit::{TestCluster, TestHost, wait};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Its daemon takes the time from a file: `+0` is the right one. What only goes on, as leases do, stays as it is.
fn start_with_clock(host: &mut TestHost, ahead: &str) {
    let file = set(host, ahead);
    host.spawn_daemon(
        &[],
        &[
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
    );
}

fn set(host: &TestHost, ahead: &str) -> String {
    host.write("clock", ahead).to_string_lossy().into_owned()
}

/// Hosts a and b with their daemons, b's with a clock of its own that is right.
fn two_with_clocks(cluster: &mut TestCluster) -> (usize, usize) {
    let a = cluster.start_host("a", 1);
    let b = cluster.add_host("b", 2);
    start_with_clock(cluster.host_mut(b), "+0");
    cluster.host_mut(b).await_daemon();
    (a, b)
}

/// The environments there are, and the host that each is on.
fn listed(host: &TestHost) -> BTreeMap<String, String> {
    let said = host.wardian(&["ls", "--json"]).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    said["environments"].as_array().unwrap().iter().map(|found| (text(&found["name"]), text(&found["host"]))).collect()
}

/// What `wardian host check` says of the clock.
fn checked(host: &TestHost) -> (String, String) {
    let said = host.wardian(&["host", "check", "--json"]).json();
    let found = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "clock").unwrap().clone();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("message"))
}

#[test]
fn story_a_host_with_a_wrong_clock_stays_out_and_is_told_of() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, true);
    let a = cluster.start_host("a", 1);
    let b = cluster.add_host("b", 2);

    // Three hours ahead: it doesn't come in, and says why.
    start_with_clock(cluster.host_mut(b), "+3h");
    assert!(cluster.host_mut(b).daemon_dies_within(wait::SOON), "it has come in");
    let said = cluster.host(b).log();
    for words in ["the clock of this host is 3h", "ahead of that of a", "set whichever clock is wrong"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert_eq!(cluster.host(a).wardian(&["host", "ls", "--json"]).json()["hosts"].as_array().unwrap().len(), 1);

    // Right, it comes in.
    start_with_clock(cluster.host_mut(b), "+0");
    cluster.host_mut(b).await_daemon();
    for host in [a, b] {
        assert_eq!(checked(cluster.host(host)).0, "ok");
    }

    // It goes wrong later: either host says so.
    set(cluster.host(b), "-1d");
    let begun = Instant::now();
    wait::until("both say so", wait::SOON, || {
        let said = [a, b].map(|host| checked(cluster.host(host)));
        let wrong = said.iter().all(|(verdict, _)| verdict == "warning");
        (wrong && said[0].1.contains("ahead of that of b") && said[1].1.contains("behind that of a")).then_some(())
    });
    println!("told after {:.1} s", begun.elapsed().as_secs_f64());

    // And it stays in touch meanwhile: what leases last by has nothing to do with it.
    let listed = cluster.host(a).wardian(&["host", "ls", "--json"]).json();
    assert!(listed["hosts"].as_array().unwrap().iter().all(|host| host["phase"] == "up"), "{listed}");
}

#[test]
fn story_nothing_expires_by_a_clock_that_is_ahead() {
    // More than the minute within which b notices that its clock was set.
    const LEFT: Duration = Duration::from_secs(70);
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, true);
    let (a, b) = two_with_clocks(&mut cluster);
    cluster.import_micro(a);
    for name in ["one", "other"] {
        let file = format!("name: {name}\nmachines: {{ m: {{ image: micro, memory: 96 MiB }} }}\n");
        cluster.host(a).up(&file).ok();
    }
    let there = listed(cluster.host(a));
    let on = |host: &str| there.iter().find(|(_, at)| *at == host).map(|(name, _)| name.clone()).unwrap();
    let (right, wrong) = (on("a"), on("b"));

    let begun = Instant::now();
    cluster.host(b).wardian(&["expire", &wrong, &format!("{}s", LEFT.as_secs())]).ok();
    set(cluster.host(b), "+1d");
    let said = || cluster.host(a).wardian(&["events", &wrong]).ok().matches("would expire, but").count();
    wait::until("it says that it would", wait::SOON, || (said() == 1).then_some(()));
    println!("held after {:.1} s", begun.elapsed().as_secs_f64());
    let events = cluster.host(a).wardian(&["events", &wrong]).ok();
    assert!(events.contains("the clock of this host is far off: 24h ahead of that of a"), "{events}");

    // The other host's clock is right, and goes on to count.
    cluster.host(a).wardian(&["expire", &right, "1s"]).ok();
    wait::until("it is removed", wait::SOON, || (!listed(cluster.host(b)).contains_key(&right)).then_some(()));
    assert!(listed(cluster.host(a)).contains_key(&wrong), "it was removed before its time");

    // Right again, it expires by itself, and not before.
    set(cluster.host(b), "+0");
    wait::until("it is removed as well", wait::SOON, || listed(cluster.host(a)).is_empty().then_some(()));
    println!("removed after {:.1} s", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() >= LEFT, "it was removed before its time");
    let events = cluster.host(a).wardian(&["events", &wrong]).ok();
    assert_eq!(events.matches("would expire, but").count(), 1, "{events}");
    assert!(events.contains("has expired and is removed"), "{events}");
}
