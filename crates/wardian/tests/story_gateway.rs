//! Three ways outside: each machine by itself, all by the host, the others by one machine. Switched while the machines
//! run, who notice nothing of it, and taken along by a clone.

use wardian_testkit::{Capture, Client, TestHost, wait};

/// Where names are asked for.
const NAMES: &str = "@10.86.255.254";

/// Two machines that serve a word each; `web` is a router, should anybody send it something to forward.
const FILE: &str = "
name: store
machines:
  web:
    image: micro
    memory: 96 MiB
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv
        echo web > /srv/word
        cat > /etc/wardian/start <<'END'
        #!/bin/sh
        httpd -h /srv
        echo 1 > /proc/sys/net/ipv4/ip_forward
        nft add table ip way
        nft add chain ip way out '{ type nat hook postrouting priority 100; }'
        nft add rule ip way out ip saddr 192.168.23.0/24 ip daddr != 192.168.23.0/24 masquerade
        END
        chmod +x /etc/wardian/start
  db:
    image: micro
    memory: 96 MiB
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv
        echo db > /srv/word
        printf '#!/bin/sh\\nhttpd -h /srv\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
isolation: { fence: open, expose: [ web:80 at 8080, db:80 at 8081 ] }
";

/// What a page says; nothing when it isn't reached.
#[track_caller]
fn word(host: &TestHost, at: &str) -> String {
    let url = format!("http://{at}/word");
    host.command("curl", &["-s", "--fail", "--max-time", "3", &url]).stdout.trim().to_owned()
}

#[track_caller]
fn says(host: &TestHost, at: &str, expected: &str) {
    wait::until(&format!("{expected} answers at {at}"), wait::SOON, || {
        Some(word(host, at)).filter(|word| !word.is_empty()).map(|word| assert_eq!(word, expected))
    });
}

/// The names and public addresses of the machines that have some.
#[track_caller]
fn outside(host: &TestHost, environment: &str) -> Vec<(String, String)> {
    let list = host.wardian(&["addresses", environment, "--json"]).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let all = list["addresses"].as_array().unwrap().iter();
    all.filter(|one| one["outside"].is_object())
        .map(|one| (text(&one["alias"]), text(&one["outside"]["address"])))
        .collect()
}

/// Under which address somebody on the lab network sees a machine that calls.
#[track_caller]
fn seen_as(host: &TestHost, machine: &str) -> String {
    let file = host.folder().join(format!("seen-{}.pcap", machine.replace('/', "-")));
    let capture = Capture::on(&host.namespace(), "wardian0", file);
    wait::until(&format!("{machine} reaches somebody outside"), wait::SOON, || {
        let ping = ["exec", machine, "--", "ping", "-c", "1", "-W", "1", "10.86.7.7"];
        host.wardian(&ping).success().then_some(())
    });
    let seen = capture.seen("icmp and dst host 10.86.7.7");
    let last = seen.last().unwrap_or_else(|| panic!("{machine} was not seen"));
    let (before, _) = last.split_once(" > 10.86.7.7").unwrap_or_else(|| panic!("{last}"));
    before.split_whitespace().last().unwrap_or_default().to_owned()
}

#[test]
fn story_gateway_is_switched_while_machines_run_and_nothing_changes_inside() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    host.up(FILE).ok();
    let somebody = Client::on_lab(&host, "10.86.7.7/16");
    let lab = Capture::on(&host.namespace(), "wardian0", host.folder().join("lab.pcap"));
    let own = outside(&host, "store");
    let [(_, web), (db_alias, db)] = own.as_slice() else { panic!("{own:?}") };
    let inside = |host: &TestHost| {
        host.script(
            "store/db",
            "ip route; ip -o -4 address show eth0 | cut -d' ' -f2-7; ip neigh show 192.168.23.254 | cut -d' ' -f1-5",
        )
    };
    says(&host, web, "web");
    says(&host, db, "db");
    assert_eq!(seen_as(&host, "store/db"), *db);
    let as_it_was = inside(&host);

    // By the host: ports of the host lead inside, and nothing else does.
    let said = host.wardian(&["gateway", "store", "host"]).ok();
    assert_eq!(said, "store: host: the machines share an address, and are reached at exposed ports of the host only\n");
    assert_eq!(outside(&host, "store"), []);
    assert_eq!((word(&host, web), word(&host, db)), (String::new(), String::new()));
    says(&host, "127.0.0.1:8080", "web");
    says(&host, "127.0.0.1:8081", "db");
    wait::until("the alias is gone", wait::SOON, || {
        host.command("kdig", &[NAMES, "+short", db_alias]).ok().trim().is_empty().then_some(())
    });
    assert_eq!(seen_as(&host, "store/db"), *web, "all share one address");
    assert!(host.wardian(&["status", "store"]).ok().contains("way out by host"));

    // By a machine: not while a port of one behind it is open.
    let refused = host.wardian(&["gateway", "store", "web"]).fails_with(1);
    assert!(
        refused.contains("db is behind web") && refused.contains("wardian expose --remove store/db:80"),
        "{refused}"
    );
    host.wardian(&["expose", "--remove", "store/db:80"]).ok();
    host.wardian(&["gateway", "store", "web"]).ok();
    assert_eq!(outside(&host, "store"), own[..1]);
    says(&host, web, "web");
    assert_eq!(word(&host, db), "");
    assert_eq!(seen_as(&host, "store/db"), *web);
    let refused = host.wardian(&["expose", "store/db:80"]).fails_with(1);
    assert!(refused.contains("db is behind web"), "{refused}");

    // A clone has a gateway of its own, which is the same machine.
    host.wardian(&["clone", "store", "copy"]).ok();
    let theirs = outside(&host, "copy");
    assert_eq!(theirs.len(), 1);
    assert_eq!(seen_as(&host, "copy/db"), theirs[0].1);
    says(&host, &theirs[0].1, "web");

    // And back: who was whom outside is who it is again, and inside nobody has seen any of it.
    host.wardian(&["gateway", "store", "per-machine"]).ok();
    assert_eq!(outside(&host, "store"), own);
    says(&host, web, "web");
    says(&host, db, "db");
    assert_eq!(seen_as(&host, "store/db"), *db);
    assert_eq!(inside(&host), as_it_was);
    wait::until("the alias is back", wait::SOON, || {
        (host.command("kdig", &[NAMES, "+short", db_alias]).ok().trim() == *db).then_some(())
    });

    let private: Vec<_> = lab.seen("net 192.168.23.0/24 or arp net 192.168.23.0/24");
    assert!(private.is_empty(), "private addresses on the lab network: {private:?}");
    drop((lab, somebody));
    host.wardian(&["rm", "store", "copy"]).ok();
    assert_eq!(host.inventory(), before);
}

#[test]
fn story_gateway_that_cannot_be_is_refused_with_the_way_out() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let refuse = |isolation: &str| {
        let text = format!(
            "name: lab\nmachines:\n  a: {{ image: micro }}\n  dc: {{ image: micro, role: domain-controller }}\nisolation: {isolation}\n"
        );
        let path = host.write("lab.yaml", &text);
        host.wardian(&["up", "--check", &path.to_string_lossy()]).fails_with(1)
    };
    let said = refuse("{ gateway: b }");
    assert!(said.contains("there is no machine b") && said.contains("lab.yaml:5:23"), "{said}");
    let said = refuse("{ gateway: dc }");
    assert!(said.contains("dc is the domain controller, which has no outside, so it can't be the gateway"), "{said}");
    let said = refuse("{ gateway: host, mode: dual-interface }");
    assert!(said.contains("machines with a second interface are on the lab network themselves"), "{said}");
    let said = refuse("{ gateway: Host }");
    assert!(said.contains("lab.yaml:5:23"), "{said}");

    let path = host.write("one.yaml", "name: one\nmachines: { m: { image: micro, memory: 96 MiB } }\n");
    host.wardian(&["up", "--no-start", &path.to_string_lossy()]).ok();
    let said = host.wardian(&["gateway", "one", "db"]).fails_with(1);
    assert_eq!(
        said,
        "error: one: there is no machine db to be the gateway\n\
         hint: say per-machine, host, or the name of a machine of the environment\n"
    );
    host.wardian(&["gateway", "one", "a machine"]).fails_with(2);
    // Written down for the next start.
    host.wardian(&["gateway", "one", "host"]).ok();
    assert_eq!(host.wardian(&["gateway", "one", "--json"]).json()["gateway"], "host");
    host.wardian(&["rm", "one"]).ok();
}
