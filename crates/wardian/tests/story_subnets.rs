//! Two subnets in one environment, and two environments that are joined: on real machines, by their own names and
//! addresses.

use std::thread;

use wardian_testkit::{TestHost, wait};

fn file(name: &str, network: &str, machines: &str) -> String {
    format!(
        "name: {name}\nmachines:\n{machines}network: {{ domain: lab.contoso.com, {network} }}\nisolation: {{ fence: sealed }}\n"
    )
}

fn tiers(name: &str) -> String {
    let machines = "  web: { image: micro, memory: 96 MiB }\n  db: { image: micro, memory: 96 MiB, subnet: back }\n";
    file(name, "subnets: { front: 192.168.23.0/24, back: 192.168.24.0/24 }", machines)
}

/// Whether a machine reaches another in the end.
#[track_caller]
fn reaches(host: &TestHost, machine: &str, to: &str) {
    wait::until(&format!("{machine} reaches {to}"), wait::SOON, || pings(host, machine, to).then_some(()));
}

fn pings(host: &TestHost, machine: &str, to: &str) -> bool {
    host.wardian(&["exec", machine, "--", "ping", "-c", "1", "-W", "1", to]).success()
}

#[test]
fn story_subnets_of_an_environment_are_routed_and_those_of_joined_ones_too() {
    let mut host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    let other = file("shop", "subnet: 192.168.30.0/24", "  till: { image: micro, memory: 96 MiB }\n");
    thread::scope(|scope| {
        for (name, text) in [("tiers", tiers("tiers")), ("shop", other)] {
            let path = host.write(&format!("{name}.yaml"), &text);
            let host = &host;
            scope.spawn(move || host.wardian(&["up", "--quiet", &path.to_string_lossy()]).ok());
        }
    });

    // By name and by address, though nothing crosses the edge.
    let status = host.wardian(&["status", "tiers"]).ok();
    assert!(status.contains("back 192.168.24.0/24, gateway 192.168.24.254"), "{status}");
    for (machine, to) in [("web", "db"), ("web", "192.168.24.1"), ("db", "web.lab.contoso.com"), ("db", "192.168.23.1")]
    {
        reaches(&host, &format!("tiers/{machine}"), to);
    }

    // A clone has all of it, and is another one: what its own db doesn't hear, nobody hears.
    host.wardian(&["clone", "--quiet", "tiers", "copy"]).ok();
    reaches(&host, "copy/web", "db");
    host.wardian(&["exec", "copy/db", "--", "ip", "link", "set", "eth0", "down"]).ok();
    assert!(!pings(&host, "copy/web", "192.168.24.1"));
    reaches(&host, "tiers/web", "192.168.24.1");

    // Two routing domains don't meet, and two equal ones never do.
    assert!(!pings(&host, "tiers/db", "192.168.30.1"));
    let said = host.wardian(&["join", "tiers", "copy"]).fails_with(1);
    assert!(said.contains("192.168.23.0/24 of tiers overlaps 192.168.23.0/24 of copy"), "{said}");
    host.wardian(&["rm", "--quiet", "copy"]).ok();

    host.wardian(&["join", "tiers", "shop"]).ok();
    for (machine, to) in [
        ("tiers/web", "192.168.30.1"),
        ("tiers/db", "192.168.30.1"),
        ("shop/till", "192.168.23.1"),
        ("shop/till", "192.168.24.1"),
    ] {
        reaches(&host, machine, to);
    }
    assert_eq!(host.wardian(&["status", "shop", "--json"]).json()["joined"], serde_json::json!(["tiers"]));

    // The daemon isn't needed for it, and finds it as it was.
    host.kill_daemon();
    host.start_daemon(&[]);
    reaches(&host, "shop/till", "192.168.24.1");

    host.wardian(&["part", "shop", "tiers"]).ok();
    assert!(!pings(&host, "shop/till", "192.168.24.1") && !pings(&host, "tiers/web", "192.168.30.1"));

    // Who goes is parted from.
    host.wardian(&["join", "shop", "tiers"]).ok();
    reaches(&host, "shop/till", "192.168.23.1");
    host.wardian(&["rm", "--quiet", "tiers"]).ok();
    assert!(host.wardian(&["status", "shop", "--json"]).json()["joined"].is_null());
    assert!(!host.command_in("shop", "ip", &["-br", "link"]).ok().contains("join"));
    host.wardian(&["rm", "--quiet", "shop"]).ok();
    assert_eq!(host.inventory(), before);
}
