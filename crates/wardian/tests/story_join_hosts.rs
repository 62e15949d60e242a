//! Two environments on two hosts that are joined: their machines reach each other by their own addresses, in whatever
//! they have to say, whoever of the daemons is missing; parted, they don't, and nothing of it is left.

use std::{thread, time::Duration};

#[allow(dead_code, reason = "shared with stories that need all of it")]
#[path = "story_cluster/scene.rs"]
mod scene;

use scene::{SLOW, nothing_is_left, two_hosts};
use wardian_testkit::{TestCluster, TestHost, wait};

const RED: &str = "192.168.30.1";
const BLUE: &str = "192.168.40.1";

fn file(name: &str, subnet: &str) -> String {
    format!(
        "name: {name}\nmachines:\n  web: {{ image: micro, memory: 96 MiB }}\nnetwork: {{ subnet: {subnet} }}\n\
         isolation: {{ fence: sealed }}\n"
    )
}

fn pings(host: &TestHost, machine: &str, to: &str) -> bool {
    host.wardian(&["exec", machine, "--", "ping", "-c", "1", "-W", "1", to]).success()
}

/// Both ways, in the end.
#[track_caller]
fn reach_each_other(host: &TestHost) {
    for (machine, to) in [("red/web", BLUE), ("blue/web", RED)] {
        wait::until(&format!("{machine} reaches {to}"), SLOW, || pings(host, machine, to).then_some(()));
    }
}

fn are_apart(host: &TestHost) -> bool {
    [("red/web", BLUE), ("blue/web", RED)].into_iter().all(|(machine, to)| !pings(host, machine, to))
}

/// How many environments have anything of a network on a host.
fn networks(host: &TestHost) -> usize {
    std::fs::read_dir(host.run_directory().join("netns")).map_or(0, |all| all.flatten().count())
}

#[track_caller]
fn passages_go(cluster: &TestCluster) {
    for host in [0, 1] {
        wait::until("no passage is left", SLOW, || networks(cluster.host(host)).eq(&1).then_some(()));
    }
}

/// A host's daemon is killed, and another host has noticed.
#[track_caller]
fn goes_away(cluster: &mut TestCluster, host: usize, other: usize) {
    cluster.host_mut(host).kill_daemon();
    wait::until("its absence is noticed", SLOW, || {
        let list = cluster.host(other).wardian(&["host", "ls", "--json"]).json();
        (list["hosts"][host]["phase"] == "down").then_some(())
    });
}

/// Where an environment is, as `ls` says.
fn host_of(host: &TestHost, environment: &str) -> String {
    let list = host.wardian(&["ls", "--json"]).json();
    let found = list["environments"].as_array().unwrap().iter().find(|e| e["name"] == environment);
    found.and_then(|e| e["host"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn story_environments_on_two_hosts_are_joined_and_parted() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    let (a, b, before) = two_hosts(&mut cluster);
    for (name, subnet) in [("red", "192.168.30.0/24"), ("blue", "192.168.40.0/24")] {
        let path = cluster.host(a).write(&format!("{name}.yaml"), &file(name, subnet));
        cluster.host(a).wardian(&["up", "--quiet", &path.to_string_lossy()]).ok();
    }
    let places = || ["red", "blue"].map(|name| host_of(cluster.host(a), name));
    let at = places();
    assert_ne!(at[0], at[1], "both are on one host");
    assert!(are_apart(cluster.host(a)));

    // Asked where one of them is not; who talks inside meanwhile loses nothing.
    let inside =
        cluster.host(a).begin(&["exec", "red/web", "--", "ping", "-q", "-i", "0.2", "-c", "40", "192.168.30.254"]);
    thread::sleep(Duration::from_secs(1));
    for host in [a, b] {
        cluster.host(host).wardian(&["join", "blue", "red"]).ok();
    }
    reach_each_other(cluster.host(b));
    let said = inside.end(SLOW).ok();
    assert!(said.contains(" 0% packet loss"), "{said}");

    // It is where its machines are, and nowhere else.
    assert_eq!(places(), at);
    for (name, other, own) in [("red", "blue", &at[0]), ("blue", "red", &at[1])] {
        let status = cluster.host(b).wardian(&["status", name, "--json"]).json();
        assert_eq!(status["joined"], serde_json::json!([other]), "{status}");
        assert_eq!(status["hosts"], serde_json::json!([own]), "{status}");
    }

    // All of what is large.
    let serve =
        "mkdir -p /srv/www && dd if=/dev/urandom of=/srv/www/large bs=1M count=4 2>/dev/null && httpd -h /srv/www";
    let sum = |said: String| said.split_whitespace().next().unwrap_or_default().to_owned();
    for (server, client, address) in [("blue/web", "red/web", BLUE), ("red/web", "blue/web", RED)] {
        cluster.host(a).script(server, serve);
        let expected = sum(cluster.host(a).script(server, "md5sum < /srv/www/large"));
        let got = sum(cluster.host(a).script(client, &format!("wget -q -O - http://{address}/large | md5sum")));
        assert_eq!((got.len(), &got), (32, &expected), "{client} from {server}");
    }

    // The daemons aren't needed for it, and find it as it was.
    cluster.host_mut(b).kill_daemon();
    let near = if at[0] == "a" { ("red/web", BLUE) } else { ("blue/web", RED) };
    wait::until("they still do", SLOW, || pings(cluster.host(a), near.0, near.1).then_some(()));
    cluster.host_mut(b).start_daemon(&[]);
    reach_each_other(cluster.host(a));

    // With one that is away: it is said, parted is parted at once, and it does its part when it is back.
    let this = near.0.split('/').next().unwrap();
    let that = if this == "red" { "blue" } else { "red" };
    goes_away(&mut cluster, b, a);
    let said = cluster.host(a).wardian(&["part", this, that]).fails_with(1);
    assert!(said.contains("are parted, but on b, whose daemon is down, it is not in effect yet"), "{said}");
    assert!(!pings(cluster.host(a), near.0, near.1));
    cluster.host_mut(b).start_daemon(&[]);
    passages_go(&cluster);
    assert!(are_apart(cluster.host(a)));
    goes_away(&mut cluster, b, a);
    let said = cluster.host(a).wardian(&["join", this, that]).fails_with(1);
    assert!(said.contains("are joined, but on b, whose daemon is down"), "{said}");
    assert!(!pings(cluster.host(a), near.0, near.1));
    cluster.host_mut(b).start_daemon(&[]);
    reach_each_other(cluster.host(b));

    // A daemon that is killed between the steps ends in the state that was asked for.
    for (request, is) in [("part", false), ("join", true)] {
        let asked = cluster.host(a).begin(&[request, this, that]);
        cluster.host_mut(b).kill_daemon();
        cluster.host_mut(b).start_daemon(&[]);
        let _ = asked.end(SLOW);
        cluster.host(a).wardian(&["status", this]).ok();
        match is {
            true => reach_each_other(cluster.host(a)),
            false => wait::until("they are apart", SLOW, || are_apart(cluster.host(a)).then_some(())),
        }
    }

    // Stopped and started, it is joined as before.
    cluster.host(a).wardian(&["down", "--quiet", "blue"]).ok();
    assert!(!pings(cluster.host(a), "red/web", BLUE));
    cluster.host(b).wardian(&["start", "--quiet", "blue"]).ok();
    reach_each_other(cluster.host(a));

    cluster.host(b).wardian(&["part", "red", "blue"]).ok();
    thread::sleep(Duration::from_secs(1));
    assert!(are_apart(cluster.host(a)));
    passages_go(&cluster);

    // Who goes is parted from, and leaves nothing on the other's host.
    cluster.host(b).wardian(&["join", "red", "blue"]).ok();
    reach_each_other(cluster.host(a));
    cluster.host(a).wardian(&["rm", "--quiet", "red"]).ok();
    assert!(cluster.host(a).wardian(&["status", "blue", "--json"]).json()["joined"].is_null());
    wait::until("one network is left", SLOW, || {
        (networks(cluster.host(a)) + networks(cluster.host(b))).eq(&1).then_some(())
    });
    cluster.host(b).wardian(&["rm", "--quiet", "blue"]).ok();
    nothing_is_left(&cluster, &before);
}
