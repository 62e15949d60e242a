//! A domain controller and a member of its domain, cloned: two domains of one name that never meet.
//!
//! Samba on Debian, driven only by `wardian exec`. What takes a machine without hardware virtualization seconds gets
//! minutes here: the limits are for hosts that do much else.

use std::time::{Duration, Instant};

use serde_json::Value;
use wardian_testkit::{TestHost, image, wait};

/// The fence is open: the controller stays unreachable all the same.
const FILE: &str = "
name: corp
machines:
  dc:
    image: samba
    role: domain-controller
    memory: 640 MiB
    ready: { tcp: 445, timeout: 10m }         # the last of its services
  member:
    image: samba
    memory: 384 MiB
    start-after: [dc]
network:
  domain: lab.contoso.com
isolation:
  fence: open
";

/// The image's.
const ADMINISTRATOR: &str = "administrator%Passw0rd-of-the-lab";
const PASSWORD: &str = "Sealed-behind-gla55";

const CONTROLLER: &str = "192.168.23.1";
/// Of the member; the controller has the address before it, but nobody can reach it there.
const MEMBER_OUTSIDE: &str = "10.86.0.2";
const CONTROLLER_OUTSIDE: &str = "10.86.0.1";
/// The host's own address on the lab network.
const HOST: &str = "10.86.255.254";

#[test]
fn story_domain_is_cloned_and_both_halves_stay_apart() {
    let host = TestHost::new(env!("CARGO_BIN_EXE_wardian"));
    let description = image::folder("samba").join("image.json");
    host.wardian(&["image", "import", "samba", &description.to_string_lossy()]).ok();
    let before = host.inventory();

    timed("up", || host.up(FILE).ok());
    the_controller_is_the_name_server(&host);
    timed("the member joins", || {
        run(&host, "corp/member", &format!("net ads join -U {ADMINISTRATOR} && /etc/wardian/start"));
        trusted(&host, "corp/member");
    });
    timed("the controller has no outside", || the_controller_has_no_outside(&host, "corp", CONTROLLER_OUTSIDE));

    timed("clone", || host.wardian(&["clone", "corp", "corp-2"]).ok());
    assert_eq!(insides(&host, "corp"), insides(&host, "corp-2"), "the inside has changed");
    timed("the clone's member is trusted", || trusted(&host, "corp-2/member"));

    timed("each half gets a user", || {
        let add = |environment: &str, user: &str| {
            let machine = format!("{environment}/dc");
            let create = format!("samba-tool user create {user} {PASSWORD}");
            host.begin(&["exec", &machine, "--timeout", "180s", "--", "sh", "-c", &create])
        };
        for begun in [add("corp", "anna"), add("corp-2", "bert")] {
            begun.end(Duration::from_secs(200)).ok();
        }
    });
    timed("log in to the original", || logs_in(&host, "corp/member", "anna", "bert"));
    timed("log in to the clone", || logs_in(&host, "corp-2/member", "bert", "anna"));
    timed("the clone's controller has no outside", || the_controller_has_no_outside(&host, "corp-2", "10.86.0.3"));

    for environment in ["corp", "corp-2"] {
        timed("rm", || host.wardian(&["rm", environment]).ok());
    }
    host.inventory().adds_nothing_to(&before);
}

/// Says how long a stage took: this is the slowest of all stories.
fn timed<T>(stage: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    eprintln!("{:6.1} s  {stage}", start.elapsed().as_secs_f32());
    done
}

fn run(host: &TestHost, machine: &str, script: &str) -> String {
    host.wardian(&["exec", machine, "--timeout", "180s", "--", "sh", "-c", script]).ok()
}

fn fails(host: &TestHost, machine: &str, script: &str) -> String {
    let run = host.wardian(&["exec", machine, "--timeout", "180s", "--", "sh", "-c", script]);
    assert!(!run.success(), "{run}");
    run.stdout + &run.stderr
}

/// Waits until a member's service has found its controller and is on good terms with it.
fn trusted(host: &TestHost, machine: &str) {
    let asked = || host.wardian(&["exec", machine, "--timeout", "60s", "--", "wbinfo", "--check-secret"]);
    wait::until("the member is trusted", Duration::from_secs(300), || asked().success().then_some(()));
}

fn insides(host: &TestHost, environment: &str) -> Vec<Value> {
    let list = host.wardian(&["addresses", environment, "--json"]).json();
    list["addresses"].as_array().unwrap().iter().map(|addresses| addresses["inside"].clone()).collect()
}

fn the_controller_is_the_name_server(host: &TestHost) {
    for machine in ["corp/dc", "corp/member"] {
        assert!(run(host, machine, "cat /etc/resolv.conf").contains(&format!("nameserver {CONTROLLER}\n")));
    }
    let answer = run(host, "corp/member", "nslookup -type=srv _ldap._tcp.lab.contoso.com");
    assert!(answer.contains("389 dc.lab.contoso.com"), "{answer}");
    // It knows nothing about reverse look-ups, and asks the gateway.
    let answer = run(host, "corp/member", "nslookup 192.168.23.2");
    assert!(answer.contains("member.lab.contoso.com"), "{answer}");
}

/// A user who is of this half can log in, one of the other half is not known.
fn logs_in(host: &TestHost, member: &str, user: &str, stranger: &str) {
    // By its computer's service, which asks the controller under the computer's own account.
    run(host, member, &format!("wbinfo --authenticate={user}%{PASSWORD}"));
    let refused = fails(host, member, &format!("wbinfo --authenticate={stranger}%{PASSWORD}"));
    assert!(refused.contains("NT_STATUS_NO_SUCH_USER"), "{refused}");
    // With a ticket.
    let list = "smbclient --no-pass --use-kerberos=required //dc.lab.contoso.com/netlogon -c ls && klist";
    let ticket = format!("export KRB5CCNAME=/tmp/ticket; echo {PASSWORD} | kinit {user} && {list}");
    let tickets = run(host, member, &ticket);
    assert!(tickets.contains(&format!("principal: {user}@")) && tickets.contains("cifs/dc."), "{tickets}");
    let refused = fails(host, member, &format!("echo {PASSWORD} | kinit -c /tmp/other {stranger}"));
    assert!(refused.contains("not found in Kerberos database"), "{refused}");
    // By its name in the file system.
    assert!(run(host, member, &format!("id {user}")).contains("domain users"));
}

/// `address` is the one it would have.
fn the_controller_has_no_outside(host: &TestHost, environment: &str, address: &str) {
    let (dc, member) = (format!("{environment}/dc"), format!("{environment}/member"));
    let list = host.wardian(&["addresses", environment, "--json"]).json();
    assert!(list["addresses"][0].get("outside").is_none(), "{list}");
    let shown = host.wardian(&["addresses", environment, "dc"]).ok();
    assert!(shown.contains("no outside") && !shown.contains("10.86."), "{shown}");
    let refused = host.wardian(&["expose", &format!("{dc}:389")]).fails_with(1);
    assert!(refused.contains("no outside"), "{refused}");

    // Into it: to the address it would have, and, with the edge as next hop, to the one it has.
    let reachable = |address: &str| host.command("ping", &["-c", "1", "-W", "1", address]).success();
    let member_outside = host.outside_address(&member);
    assert!(reachable(&member_outside), "the member answers through an open fence");
    assert!(!reachable(address));
    let edge = host.machine(&member)["outside"]["mac"].as_str().unwrap().to_owned();
    host.command("ip", &["neighbour", "replace", address, "lladdr", &edge, "dev", "wardian0"]).ok();
    host.command("ip", &["route", "replace", CONTROLLER, "via", address, "dev", "wardian0", "onlink"]).ok();
    let (first, counted) = (dropped(host, environment, "fence_in"), |before| {
        assert!(dropped(host, environment, "fence_in") > before, "the edge counts what it drops");
        dropped(host, environment, "fence_in")
    });
    assert!(!reachable(address));
    let second = counted(first);
    assert!(!reachable(CONTROLLER));
    counted(second);
    for port in ["53", "88", "389", "445"] {
        host.command("nc", &["-z", "-w", "1", CONTROLLER, port]).fails_with(1);
    }
    host.command("ip", &["route", "del", CONTROLLER]).ok();
    host.command("ip", &["neighbour", "del", address, "dev", "wardian0"]).ok();

    // Out of it.
    let before = dropped(host, environment, "fence_out");
    run(host, &member, &format!("ping -c 1 -W 20 {HOST}"));
    for there in [HOST, MEMBER_OUTSIDE] {
        fails(host, &dc, &format!("ping -c 1 -W 1 {there}"));
    }
    assert!(dropped(host, environment, "fence_out") > before, "the edge counts what it drops");
}

/// How many packets a counter of the edge has seen.
fn dropped(host: &TestHost, environment: &str, counter: &str) -> u64 {
    let list = host.command_in(environment, "nft", &["--json", "list", "counter", "inet", "wardian", counter]).json();
    let counters = list["nftables"].as_array().unwrap();
    counters.iter().find_map(|entry| entry["counter"]["packets"].as_u64()).expect("a counter")
}
