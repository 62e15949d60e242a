//! The way between two hosts is bad: slow, out of order, or open in one direction only. What runs goes on, what passes
//! arrives as it was sent, and hosts that can't speak with their cluster are shown as away.

#[path = "story_cluster/scene.rs"]
mod scene;

use scene::{SLOW, nothing_is_left, spread, two_hosts};
use wardian_testkit::{Fault, TestCluster, TestHost, Way, wait};

/// Whether each host is there, as a host tells it.
fn phases(host: &TestHost) -> Vec<String> {
    let list = host.wardian(&["host", "ls", "--json"]).json();
    list["hosts"].as_array().unwrap().iter().map(|host| host["phase"].as_str().unwrap().to_owned()).collect()
}

/// The page of one machine with what the other one has, found by its name and by its address.
fn answers(host: &TestHost, web: &str) {
    wait::until("both halves answer", SLOW, || {
        let page = host.curl(&format!("http://{web}/cgi-bin/index.cgi"));
        (page.success() && page.ok().matches("a fern").count() == 2).then_some(())
    });
}

/// Segments that came before others that were sent earlier, in a machine.
fn overtaken(host: &TestHost, machine: &str) -> u64 {
    let table = host.script(machine, "grep TcpExt: /proc/net/netstat");
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.iter().position(|name| *name == "TCPOFOQueue").unwrap();
    values[place].parse().unwrap()
}

/// Fetches what db has, from its host to web's, and gives its digest.
fn fetched(host: &TestHost) -> String {
    host.script("store/web", "wget -q -O - http://192.168.23.2:8081/blob | md5sum").trim().to_owned()
}

#[test]
fn story_a_bad_way_between_hosts_changes_nothing_inside() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    let (a, b, before) = two_hosts(&mut cluster);
    cluster.host(a).wardian(&["up", "--quiet", &spread(cluster.host(a))]).ok();
    let web = cluster.host(a).outside_address("store/web");
    let status = cluster.host(a).wardian(&["status", "store", "--json"]).json();
    let machine = status["machines"].as_array().unwrap().iter().find(|machine| machine["name"] == "web").unwrap();
    let at = if machine["host"] == "a" { a } else { b };
    let sum = cluster.host(a).script(
        "store/db",
        "mkdir /dev/shm/w; dd if=/dev/urandom of=/dev/shm/w/blob bs=64k count=64 2>&-; httpd -p 8081 -h /dev/shm/w
         md5sum < /dev/shm/w/blob",
    );
    let sum = sum.trim();
    assert_eq!(fetched(cluster.host(a)), sum);

    // Packets overtake each other on their way to web.
    let orderly = overtaken(cluster.host(a), "store/web");
    cluster.make(at, Fault::Reordered);
    assert_eq!(fetched(cluster.host(a)), sum);
    let late = overtaken(cluster.host(a), "store/web") - orderly;
    println!("{late} segments were overtaken");
    assert!(late > 20, "{late} only: the way was in order");
    answers(cluster.host(b), &web);
    cluster.mend(at);

    // A way that is slow: it takes its time, nobody is taken for away, and what is asked for is done.
    cluster.make(at, Fault::Slow(2000));
    assert_eq!(fetched(cluster.host(a)), sum);
    assert_eq!(phases(cluster.host(1 - at)), ["up", "up"]);
    cluster.host(1 - at).wardian(&["fence", "store", "sealed"]).ok();
    cluster.host(1 - at).wardian(&["fence", "store", "open"]).ok();
    cluster.mend(at);

    // Open in one direction only, either: db's host is away for the others, and its machine runs on.
    let (here, there) = (at, 1 - at);
    for way in [Way::In, Way::Out] {
        cluster.make(there, Fault::Deaf(way));
        let gone = if there == b { ["up", "down"] } else { ["down", "up"] };
        wait::until("it is away", SLOW, || (phases(cluster.host(here)) == gone).then_some(()));
        assert_eq!(cluster.host(there).machine_processes().len(), 1);
        cluster.host(here).command("ping", &["-c", "1", "-W", "5", &web]).ok();
        cluster.mend(there);
        wait::until("it is back", SLOW, || (phases(cluster.host(here)) == ["up", "up"]).then_some(()));
        answers(cluster.host(there), &web);
        assert_eq!(fetched(cluster.host(there)), sum);
    }
    cluster.host(a).wardian(&["rm", "--quiet", "store"]).ok();
    nothing_is_left(&cluster, &before);
}
