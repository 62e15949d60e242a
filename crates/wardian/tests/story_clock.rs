//! Hosts whose clocks are far apart: environments expire by them, so one that is wrong does not come in, and one that
//! goes wrong later is told of.

use std::time::Instant;

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
