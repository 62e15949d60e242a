//! A guest whose owner means harm, root inside, beside another environment of equal addresses: it stays in its box.

use std::thread;

use serde_json::Value;
use wardian_testkit::{Capture, TestHost, wait};

/// All inside addresses; nothing of them may ever be seen outside.
const INSIDE: &str = "net 192.168.23.0/24 or arp net 192.168.23.0/24";

fn file(name: &str) -> String {
    format!(
        "
name: {name}
machines:
  one:
    image: micro
    memory: 96 MiB
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo {name} > /srv/www/name
        printf '#!/bin/sh\\nhttpd -h /srv/www\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
  two: {{ image: micro, memory: 96 MiB }}
isolation: {{ fence: out-only }}
"
    )
}

/// What a counter of an environment's rules has counted.
#[track_caller]
fn dropped(host: &TestHost, environment: &str, family: &str, counter: &str) -> u64 {
    let text = host.command_in(environment, "nft", &["-j", "list", "counter", family, "wardian", counter]).ok();
    let list: Value = serde_json::from_str(&text).unwrap();
    let found = list["nftables"].as_array().unwrap().iter().find_map(|item| item["counter"]["packets"].as_u64());
    found.unwrap_or_else(|| panic!("no {counter} in {text}"))
}

/// Runs an attack that must end in failure inside, and must be counted.
#[track_caller]
fn refused(host: &TestHost, counter: &str, attack: &str) {
    let before = dropped(host, "evil", "bridge", counter);
    let said = host.script("evil/one", &format!("({attack}) >/dev/null 2>&1 && echo reached || echo refused"));
    assert_eq!(said, "refused", "{attack}");
    let after = dropped(host, "evil", "bridge", counter);
    assert!(after > before, "{counter} stays at {after} after: {attack}");
}

#[test]
fn story_isolation_holds_against_a_hostile_guest() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    thread::scope(|scope| {
        for name in ["evil", "good"] {
            let path = host.write(&format!("{name}.yaml"), &file(name));
            let host = &host;
            scope.spawn(move || host.wardian(&["up", "--quiet", &path.to_string_lossy()]).ok());
        }
    });
    let outside: [String; 2] = ["evil/one", "good/one"].map(|machine| host.outside_address(machine));
    let inside_macs = ["evil/one", "evil/two"].map(|m| host.machine(m)["inside"]["mac"].as_str().unwrap().to_owned());
    let lab = Capture::on(&host.namespace(), "wardian0", host.folder().join("lab.pcap"));
    let good = Capture::on(&host.environment_namespace("good"), "br0", host.folder().join("good.pcap"));

    // Addresses of others, in frames, in packets and in ARP. The agent does not need the network.
    let ping = "ping -c 2 -i 0.2 -W 1 192.168.23.2";
    let flush = "ip neigh flush dev eth0";
    refused(&host, "forged_mac", &format!("ip link set eth0 address 02:57:00:00:00:02; {flush}; {ping}"));
    host.script("evil/one", &format!("ip link set eth0 address {}", inside_macs[0]));
    wait::until("the guest has its neighbour again", wait::SOON, || {
        host.wardian(&["exec", "evil/one", "--", "ping", "-c", "1", "-W", "1", "192.168.23.2"]).success().then_some(())
    });
    refused(
        &host,
        "forged_address",
        "ip address add 192.168.23.77/32 dev eth0; ping -c 2 -i 0.2 -W 1 -I 192.168.23.77 192.168.23.2",
    );
    // "192.168.23.254 is at me", to all: the neighbour goes on knowing the gateway's true place.
    let gateway =
        "ping -c 1 -W 20 192.168.23.254 >/dev/null; ip neigh show 192.168.23.254 | grep -o 'lladdr [0-9a-f:]*'";
    let place = host.script("evil/two", gateway);
    refused(
        &host,
        "forged_arp",
        "ip address add 192.168.23.254/32 dev eth0; arping -A -c 3 -w 3 -I eth0 -s 192.168.23.254 192.168.23.254; \
         arping -U -c 2 -w 2 -I eth0 -s 192.168.23.254 192.168.23.254; ip address del 192.168.23.254/32 dev eth0; false",
    );
    assert_eq!(host.script("evil/two", gateway), place);
    // A second DHCP server that offers itself as the router: the neighbour goes on hearing only the true one.
    let before = dropped(&host, "evil", "bridge", "rogue_dhcp");
    host.script(
        "evil/one",
        "printf 'start 192.168.23.50\\nend 192.168.23.60\\ninterface eth0\\noption router 192.168.23.1\\n' > /tmp/udhcpd.conf
         touch /tmp/leases; (udhcpd -f -S /tmp/udhcpd.conf >/dev/null 2>&1 &)",
    );
    let ask = "printf '#!/bin/sh\\necho $1 $ip $router\\n' > /tmp/print; chmod +x /tmp/print
               udhcpc -f -n -q -t 60 -T 1 -i eth0 -s /tmp/print 2>/dev/null | grep bound";
    assert_eq!(host.script("evil/two", ask), "bound 192.168.23.2 192.168.23.254");
    wait::until("the offer is dropped", wait::SOON, || {
        (dropped(&host, "evil", "bridge", "rogue_dhcp") > before).then_some(())
    });

    // The other environment's machines and this one's have equal addresses; each answers only at home.
    let fetch = |url: &str| format!("curl -sf --max-time 2 http://{url}/name || echo nothing");
    let answers = |machine: &str, to: &str, word: &str| {
        wait::until(&format!("{machine} is answered by {to}"), wait::SOON, || {
            Some(host.script(machine, &fetch(to))).filter(|said| said != "nothing").map(|said| assert_eq!(said, word))
        });
    };
    answers("evil/two", "192.168.23.1", "evil");
    answers("good/two", "192.168.23.1", "good");
    // Nor is a way made by hand a way: the neighbour's public address as the gateway to its inside.
    let trick = format!(
        "ip route add {other} dev eth0; ip route replace 192.168.23.1/32 via {other} dev eth0; {fetch}",
        other = outside[1],
        fetch = fetch("192.168.23.1")
    );
    assert_eq!(host.script("evil/two", &trick), "nothing");
    host.script("evil/two", &format!("ip route del 192.168.23.1/32; ip route del {}", outside[1]));

    // Not exposed: the good environment's edge drops it.
    let before = dropped(&host, "good", "inet", "fence_in");
    assert_eq!(host.script("evil/two", &fetch(&outside[1])), "nothing");
    assert!(dropped(&host, "good", "inet", "fence_in") > before);
    // The daemon listens on the host for names of the lab network, and on the gateway for names and leases only.
    for line in host.command("ss", &["-Htuln"]).ok().lines() {
        assert!(line.contains(" 10.86.255.254:53 "), "{line}");
    }
    for line in host.command_in("evil", "ss", &["-Htuln"]).ok().lines() {
        assert!([":53 ", ":67 "].iter().any(|port| line.contains(port)), "{line}");
    }
    let before = dropped(&host, "evil", "inet", "to_gateway");
    assert_eq!(host.script("evil/two", &fetch("192.168.23.254")), "nothing");
    assert!(dropped(&host, "evil", "inet", "to_gateway") > before);

    // On the lab network only public identities were ever seen; in the good environment's switch, nobody else's.
    assert!(!lab.seen("ip").is_empty(), "the capture saw nothing at all");
    for filter in [
        INSIDE.to_owned(),
        "ip6".to_owned(),
        inside_macs.iter().map(|mac| format!("ether host {mac}")).collect::<Vec<_>>().join(" or "),
    ] {
        assert_eq!(lab.seen(&filter), Vec::<String>::new(), "{filter}");
    }
    assert_eq!(good.seen(&format!("host 192.168.23.77 or host {}", outside[0])), Vec::<String>::new());

    // After all that, both work.
    answers("good/two", "192.168.23.1", "good");
}
