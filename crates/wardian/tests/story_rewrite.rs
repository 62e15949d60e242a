//! An environment on two hosts in two physical subnets whose addresses are rewritten in between: inside all is as
//! ever, the physical network sees provider addresses of the machines' own, and when it is gone nobody has them any
//! more.

use std::path::PathBuf;

#[path = "story_cluster/scene.rs"]
#[allow(dead_code, reason = "stories of clusters share it, and each uses a part")]
mod scene;

use scene::{SLOW, nothing_is_left};
use serde_json::Value;
use wardian_testkit::{Capture, Inventory, TestCluster, TestHost};

/// A piece of the physical subnet of each host.
const PIECES: [&str; 2] = ["10.98.1.128/26", "10.98.2.128/26"];

/// Hosts a and b, each with addresses for its machines.
fn two_hosts(cluster: &mut TestCluster) -> [Inventory; 2] {
    for (number, (name, subnet)) in [("a", 1), ("b", 2)].into_iter().enumerate() {
        cluster.add_host(name, subnet);
        let text = format!("{}rewrite-addresses = '{}'\n", cluster.configuration(number), PIECES[number]);
        cluster.host(number).configure(&text);
        cluster.host_mut(number).start_daemon(&[]);
    }
    cluster.import_micro(0);
    [0, 1].map(|at| cluster.host(at).inventory())
}

/// The example with a machine on each host.
fn store(host: &TestHost) -> String {
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/store.yaml")).unwrap();
    let chosen =
        example.replace("  domain: lab.contoso.com\n", "  domain: lab.contoso.com\n  encapsulation: ip-rewrite\n");
    assert_ne!(chosen, example);
    let path = host.write("store.yaml", &(chosen + "\nplacement: { policy: spread }\n"));
    path.to_string_lossy().into_owned()
}

/// The own provider address of a machine.
fn own(host: &TestHost, machine: &str) -> String {
    let machine: Value = host.machine(machine);
    machine["provider-address"].as_str().unwrap_or_else(|| panic!("none in {machine}")).to_owned()
}

fn page(host: &TestHost, web: &str, query: &str) -> String {
    host.curl(&format!("http://{web}/cgi-bin/index.cgi{query}")).ok()
}

/// What crosses the physical network at a host while the page of an environment asks its database, by name and by
/// address.
fn crossing(host: &TestHost, file: &str, web: &str) -> Capture {
    let capture = Capture::on(&host.namespace(), "eth0", PathBuf::from(host.folder()).join(file));
    assert_eq!(page(host, web, "").matches("a fern").count(), 2);
    capture
}

#[test]
fn story_addresses_are_rewritten_between_hosts_and_nothing_inside_notices() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    let before = two_hosts(&mut cluster);
    let [a, b] = [0, 1].map(|at| cluster.host(at));
    let path = store(a);
    a.wardian(&["up", "--quiet", &path]).ok();
    assert_eq!([a, b].map(|host| host.machine_processes().len()), [1, 1]);
    let [web, db] = ["store/web", "store/db"].map(|machine| own(a, machine));
    assert!(web.starts_with("10.98.1.") && db.starts_with("10.98.2."), "{web} {db}");

    // Under their own addresses and in no envelope; in both directions.
    let public = a.outside_address("store/web");
    let capture = crossing(a, "store.pcap", &public);
    for way in [format!("src {web} and dst {db}"), format!("src {db} and dst {web}")] {
        assert!(!capture.seen(&format!("{way} and tcp port 5432")).is_empty(), "nothing from {way}");
    }
    let enveloped = capture.seen("ip proto 47");
    assert!(!enveloped.iter().any(|line| line.contains("5432")), "{enveloped:#?}");
    drop(capture);
    for (from, to) in [("store/web", "db-server"), ("store/db", "192.168.23.1")] {
        let said = a.script(from, &format!("ping -c 3 -W 20 {to} | tail -2"));
        assert!(said.contains(" 0% packet loss"), "{from} to {to}: {said}");
    }
    // Neither host has the addresses itself, and what nobody asked for finds nobody.
    for host in [a, b] {
        let has = host.command("ip", &["address"]).ok();
        assert!(!has.contains(&web) && !has.contains(&db), "{has}");
    }
    assert!(!a.command("ping", &["-c", "1", "-W", "2", &db]).success(), "a host talks to a machine's provider address");

    // Out and in by the one edge, by exposed ports and aliases.
    for (to, machine) in [("10.86.255.254", "store/db"), ("10.86.255.253", "store/db"), ("10.86.255.253", "store/web")]
    {
        let said = b.script(machine, &format!("ping -c 3 -W 20 {to} | tail -2"));
        assert!(said.contains(" 0% packet loss"), "{machine} to {to}: {said}");
    }
    let asked = b.command("kdig", &["+short", "@10.86.255.253", "web.store.wardian.internal"]).ok();
    assert_eq!(asked.trim(), public);
    assert_eq!(page(b, &public, "").matches("a fern").count(), 2);

    // A clone has the same inside and provider addresses of its own; each answers as itself.
    b.wardian(&["clone", "--quiet", "store", "copy"]).ok();
    let copies = ["copy/web", "copy/db"].map(|machine| own(b, machine));
    assert!(!copies.contains(&web) && !copies.contains(&db), "{copies:?}");
    let copy = a.outside_address("copy/web");
    page(b, &copy, "?put=ivy");
    page(a, &public, "?put=moss");
    for at in [a, b] {
        let pages = [&public, &copy].map(|web| page(at, web, ""));
        let counts = pages.each_ref().map(|page| ["ivy", "moss"].map(|item| page.matches(item).count()));
        assert_eq!(counts, [[0, 2], [2, 0]], "{pages:?}");
    }
    let capture = crossing(a, "copy.pcap", &copy);
    let way = format!("src {} and dst {} and tcp port 5432", copies[0], copies[1]);
    assert!(!capture.seen(&way).is_empty() && capture.seen(&format!("host {web} and tcp")).is_empty());
    drop(capture);

    // Who goes leaves its addresses to the next one.
    b.wardian(&["rm", "store"]).ok();
    assert_eq!(page(a, &copy, "").matches("ivy").count(), 2);
    let text = std::fs::read_to_string(&path).unwrap().replace("name: store", "name: again");
    let again = a.write("again.yaml", &text).to_string_lossy().into_owned();
    a.wardian(&["up", "--quiet", &again]).ok();
    assert_eq!(["again/web", "again/db"].map(|machine| own(a, machine)), [web, db]);

    b.wardian(&["rm", "copy", "again"]).ok();
    nothing_is_left(&cluster, &before);
}

#[test]
fn story_what_keeps_addresses_from_being_rewritten_is_told() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    // Of the two, one has no addresses for machines; and one can't have its own.
    cluster.add_host("a", 1);
    let wrong = format!("{}rewrite-addresses = '10.98.1.0/24'\n", cluster.configuration(0));
    cluster.host(0).configure(&wrong);
    cluster.host_mut(0).spawn_daemon(&[], &[]);
    assert!(cluster.host_mut(0).daemon_dies_within(SLOW));
    let log = cluster.host(0).log();
    assert!(log.contains("they overlap this host's own provider address 10.98.1."), "{log}");
    assert!(log.contains("[cluster] rewrite-addresses"), "{log}");
    let right = format!("{}rewrite-addresses = '{}'\n", cluster.configuration(0), PIECES[0]);
    cluster.host(0).configure(&right);
    cluster.host_mut(0).start_daemon(&[]);
    cluster.start_host("b", 2);
    cluster.import_micro(0);
    let before = [0, 1].map(|at| cluster.host(at).inventory());
    let path = store(cluster.host(0));
    let refused = cluster.host(0).wardian(&["up", "--quiet", &path]).fails_with(1);
    assert!(refused.contains("the host b has no provider addresses for machines, and db needs one"), "{refused}");
    assert!(refused.contains("`rewrite-addresses` in [cluster] on b"), "{refused}");
    // On one host it has no effect.
    let together = std::fs::read_to_string(&path).unwrap().replace("policy: spread", "policy: together");
    let path = cluster.host(0).write("together.yaml", &together);
    cluster.host(0).wardian(&["up", "--quiet", "--no-start", &path.to_string_lossy()]).ok();
    let web = cluster.host(0).machine("store/web");
    assert_eq!(web.get("provider-address"), None, "{web}");
    cluster.host(0).wardian(&["rm", "store"]).ok();
    nothing_is_left(&cluster, &before);
}
