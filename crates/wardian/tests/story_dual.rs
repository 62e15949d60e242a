//! Machines with two interfaces: one inside, equal in every clone, and one on the lab network, with a hardware address
//! of its own.

use std::time::Duration;

use serde_json::Value;
use wardian_testkit::{Capture, TestHost, wait};

const TWIN: &str = "
name: twin
machines:
  web: { image: micro, hostname: web-server, memory: 128 MiB }
  db: { image: micro, hostname: db-server, memory: 128 MiB }
network: { domain: lab.contoso.com }
isolation: { mode: dual-interface, fence: open }
";

/// What a guest knows of itself inside.
const WHO: &str = "hostname; cat /sys/class/dmi/id/product_uuid /sys/class/net/eth0/address; \
    ip -4 -o address show eth0 | awk '{print $4}'; cat /etc/hosts";

#[track_caller]
fn outside(host: &TestHost, machine: &str, what: &str) -> String {
    host.machine(machine)["outside"][what].as_str().unwrap().to_owned()
}

/// Waits until both machines are set up on the lab network and answer there.
#[track_caller]
fn are_there(host: &TestHost, environment: &str) {
    for name in ["web", "db"] {
        let machine = format!("{environment}/{name}");
        wait::until(&format!("{machine} has its second interface"), wait::SOON, || {
            (host.machine(&machine)["second"]["is"] == "set").then_some(())
        });
        let address = outside(host, &machine, "address");
        wait::until(&format!("{machine} answers at {address}"), wait::SOON, || page(host, &machine));
        let has =
            host.script(&machine, "cat /sys/class/net/eth1/address; ip -4 -o address show eth1 | awk '{print $4}'");
        assert_eq!(has, format!("{}\n{address}/16", outside(host, &machine, "mac")));
    }
}

/// The page of a machine at its public address.
#[track_caller]
fn page(host: &TestHost, machine: &str) -> Option<String> {
    let url = format!("http://{}/", outside(host, machine, "address"));
    let run = host.command("curl", &["-sS", "--fail", "--max-time", "2", &url]);
    run.success().then(|| run.ok())
}

/// Its page, once it answers.
#[track_caller]
fn answer(host: &TestHost, machine: &str) -> String {
    wait::until(&format!("{machine} answers"), wait::SOON, || page(host, machine)).trim().to_owned()
}

#[track_caller]
fn serve(host: &TestHost, machine: &str) {
    host.script(machine, "mkdir -p /srv && echo first >/srv/index.html && httpd -p 80 -h /srv && echo ok");
}

#[track_caller]
fn neighbour(host: &TestHost, machine: &str) -> String {
    host.command("ip", &["neighbour", "show", &outside(host, machine, "address")]).ok()
}

/// Frames that carry one of these hardware addresses as their sender, as a link of the lab bridge has brought them.
#[track_caller]
fn from(capture: &Capture, macs: &[String]) -> Vec<String> {
    let filter: Vec<_> = macs.iter().map(|mac| format!("ether src {mac}")).collect();
    capture.seen(&filter.join(" or "))
}

/// The links the lab bridge has learned hardware addresses on.
#[track_caller]
fn learned(host: &TestHost, mac: &str) -> Vec<String> {
    let known = host.command("bridge", &["fdb", "show", "br", "wardian0"]).ok();
    let of = |line: &str| line.strip_prefix(mac)?.split_whitespace().nth(1).map(str::to_owned);
    known.lines().filter_map(of).collect()
}

fn macs(host: &TestHost, environment: &str) -> Vec<String> {
    ["web", "db"].map(|name| outside(host, &format!("{environment}/{name}"), "mac")).to_vec()
}

#[test]
fn story_dual_a_clone_is_the_same_inside_and_somebody_else_on_the_lab_network() {
    let mut host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    host.up(TWIN).ok();
    for machine in ["twin/web", "twin/db"] {
        serve(&host, machine);
    }
    are_there(&host, "twin");
    for machine in ["twin/web", "twin/db"] {
        let found = neighbour(&host, machine);
        assert!(found.contains(&outside(&host, machine, "mac")), "{found}");
    }
    // Inside by name, at the inside addresses, whatever a name server says; and the way out is the second interface.
    let who = host.script("twin/web", WHO);
    assert!(who.contains("192.168.23.2 db-server.lab.contoso.com db-server db"), "{who}");
    assert_eq!(host.script("twin/web", "wget -qO- http://db-server.lab.contoso.com/"), "first");
    let routes = host.script("twin/web", "ip route show | grep ^default");
    assert_eq!(routes.trim(), "default via 10.86.255.254 dev eth1", "one way out");

    // The clone goes on from memory; what it sends before it knows better is what would be seen.
    let chatter = "( while :; do ping -c 1 -W 1 10.86.255.254; arping -c 1 -U -I eth1 10.86.0.1; usleep 100000; done ) \
        </dev/null >/dev/null 2>&1 &";
    for machine in ["twin/web", "twin/db"] {
        host.script(machine, chatter);
    }
    let edge = |environment: &str| format!("we{}", slot(&host, environment));
    let source_edge = Capture::on(&host.namespace(), &edge("twin"), host.folder().join("source.pcap"));
    let lab = Capture::on(&host.namespace(), "wardian0", host.folder().join("lab.pcap"));
    host.wardian(&["clone", "twin", "copy"]).ok();
    let copy_edge = Capture::on(&host.namespace(), &edge("copy"), host.folder().join("copy.pcap"));
    are_there(&host, "copy");
    are_there(&host, "twin");
    let (twin, copy) = (macs(&host, "twin"), macs(&host, "copy"));
    assert!(twin.iter().all(|mac| !copy.contains(mac)), "{twin:?} {copy:?}");

    // What a link's outer end receives is what its environment sends.
    std::thread::sleep(Duration::from_secs(1));
    for (mac, link) in twin.iter().map(|mac| (mac, edge("twin"))).chain(copy.iter().map(|mac| (mac, edge("copy")))) {
        assert_eq!(learned(&host, mac), std::slice::from_ref(&link), "{mac}");
    }
    assert!(!from(&lab, &twin).is_empty() && !from(&lab, &copy).is_empty());
    // Nobody but its owner ever said that an address is its own.
    for environment in ["twin", "copy"] {
        for name in ["web", "db"] {
            let machine = format!("{environment}/{name}");
            let (address, mac) = (outside(&host, &machine, "address"), outside(&host, &machine, "mac"));
            let claims = format!("(arp src host {address} or ip src host {address}) and not ether src {mac}");
            let foreign: Vec<_> = lab.seen(&claims);
            assert!(foreign.is_empty(), "{machine}: {foreign:?}");
        }
    }
    drop((source_edge, copy_edge));

    // The same inside, in both; what is written into one never shows in the other.
    assert_eq!(host.script("copy/web", WHO), who);
    for environment in ["twin", "copy"] {
        let write = format!("echo {environment} >/srv/index.html");
        host.script(&format!("{environment}/db"), &write);
    }
    for environment in ["twin", "copy"] {
        let inside = host.script(&format!("{environment}/web"), "wget -qO- http://db-server.lab.contoso.com/");
        assert_eq!(inside, environment);
        assert_eq!(answer(&host, &format!("{environment}/db")), environment);
        assert_eq!(answer(&host, &format!("{environment}/web")), "first");
    }

    // A daemon that comes back leaves it all alone; a machine that starts anew gets it again.
    host.kill_daemon();
    host.start_daemon(&[]);
    are_there(&host, "copy");
    host.wardian(&["down", "copy"]).ok();
    host.wardian(&["start", "copy"]).ok();
    for machine in ["copy/web", "copy/db"] {
        serve(&host, machine);
    }
    are_there(&host, "copy");

    host.wardian(&["rm", "twin"]).ok();
    host.wardian(&["rm", "copy"]).ok();
    host.inventory().adds_nothing_to(&before);
}

/// The number of an environment's edge, from its outer end's alias.
#[track_caller]
fn slot(host: &TestHost, environment: &str) -> String {
    let id = host.status(environment)["id"].as_str().unwrap().to_owned();
    let links: Value = host.command("ip", &["-json", "link", "show"]).json();
    let links = links.as_array().unwrap();
    let link = links.iter().find(|link| link["ifalias"].as_str().is_some_and(|alias| alias.ends_with(&id)));
    let name = link.unwrap_or_else(|| panic!("{environment} has no edge in {links:?}"))["ifname"].as_str().unwrap();
    name.trim_start_matches("we").to_owned()
}

#[test]
fn story_dual_without_an_agent_the_link_of_a_clone_stays_down_and_status_says_why() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(TWIN).ok();
    for machine in ["twin/web", "twin/db"] {
        serve(&host, machine);
    }
    are_there(&host, "twin");
    let agent = "sed -i '/agent/d' /etc/inittab; kill -HUP 1; sleep 1; killall qemu-ga";
    let _ = host.wardian(&[
        "exec",
        "twin/web",
        "--timeout",
        "60s",
        "--",
        "sh",
        "-c",
        &format!("( {agent} ) </dev/null >/dev/null 2>&1 &"),
    ]);
    wait::until("no agent answers", wait::SOON, || {
        let asked = host.wardian(&["exec", "twin/web", "--timeout", "2s", "--", "true"]);
        (!asked.success()).then_some(())
    });
    let lab = Capture::on(&host.namespace(), "wardian0", host.folder().join("lab.pcap"));
    let clone = host.begin(&["clone", "twin", "copy"]);
    wait::until("the clone's link is held", Duration::from_secs(120), || {
        let status = host.wardian(&["status", "copy", "--json"]);
        let status = status.success().then(|| status.json())?;
        let machines = status["machines"].as_array()?.clone();
        let web = machines.into_iter().find(|machine| machine["name"] == "web")?;
        (web["second"]["is"] == "held" && web["second"]["why"].as_str()?.contains("agent")).then_some(())
    });
    let said = host.wardian(&["status", "copy"]).ok();
    assert!(
        said.contains("web: its interface on the lab network is held down: its guest agent does not answer"),
        "{said}"
    );
    assert!(host.wardian(&["events"]).ok().contains("is held down"));
    assert!(page(&host, "copy/web").is_none());
    // The other one has an agent and is there; so is the source.
    answer(&host, "twin/web");
    answer(&host, "copy/db");
    let stale = outside(&host, "twin/web", "mac");
    assert_eq!(learned(&host, &stale), [format!("we{}", slot(&host, "twin"))]);
    drop((lab, clone));
}

#[test]
fn story_dual_a_daemon_killed_in_between_ends_with_the_right_addresses_on_the_lab_network() {
    let mut host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(TWIN).ok();
    for machine in ["twin/web", "twin/db"] {
        serve(&host, machine);
    }
    are_there(&host, "twin");
    for (n, point) in ["start: state loaded", "second: prepared", "second: link up"].into_iter().enumerate() {
        let name = format!("copy-{n}");
        host.kill_daemon();
        host.start_daemon(&[("WARDIAN_KILL_AT", point)]);
        let asked = host.begin(&["clone", "twin", &name]);
        assert!(host.daemon_dies_within(wait::SOON), "it does not get to {point}:\n{}", host.log());
        host.start_daemon(&[]);
        let _ = asked.end(wait::SOON);
        are_there(&host, &name);
        are_there(&host, "twin");
        for mac in macs(&host, "twin") {
            assert_eq!(learned(&host, &mac), [format!("we{}", slot(&host, "twin"))], "{point}");
        }
        host.wardian(&["rm", &name]).ok();
    }
}
