//! A port that two machines share: both answer, until one of them doesn't serve any more; and a clone has its own.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use wardian_testkit::{TestHost, wait};

/// Two machines that serve their name each, as long as somebody lets them.
const FILE: &str = "
name: shop
machines:
  web-1: &web
    image: micro
    memory: 96 MiB
    ready: { http: { port: 80, path: /name } }
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv
        hostname > /srv/name
        printf '#!/bin/sh\\nhttpd -h /srv\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
  web-2: *web
isolation: { expose: [ 'web-1+web-2:80 at 8080' ] }
";

/// Who answers `count` requests at a port of the host; a request that isn't answered is somebody too.
fn who(host: &TestHost, port: u64, count: usize) -> BTreeSet<String> {
    let url = format!("http://127.0.0.1:{port}/name");
    let ask = |_| {
        let said = host.command("curl", &["-s", "--fail", "--max-time", "20", &url]).stdout.trim().to_owned();
        if said.is_empty() { "nobody".to_owned() } else { said }
    };
    (0..count).map(ask).collect()
}

fn are(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Why a machine is out, as the status in JSON says it.
fn out(host: &TestHost, machine: &str) -> Value {
    host.machine(machine)["exposed"][0]["out"].clone()
}

/// Waits until these, and no others, answer.
#[track_caller]
fn answer(host: &TestHost, port: u64, names: &[&str], limit: Duration) {
    wait::until("those that shall answer do", limit, || (who(host, port, 6) == are(names)).then_some(()));
    assert_eq!(who(host, port, 20), are(names));
}

#[test]
fn story_two_machines_share_a_port_and_the_one_that_fails_is_left_out() {
    let mut host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let soon = wait::SOON;
    host.up(FILE).ok();
    answer(&host, 8080, &["web-1", "web-2"], soon);
    assert_eq!((out(&host, "shop/web-1"), out(&host, "shop/web-2")), (Value::Null, Value::Null));
    let shown = host.wardian(&["addresses", "shop"]).ok();
    assert!(shown.contains("80 at 8080 with web-2\n") && shown.contains("80 at 8080 with web-1\n"), "{shown}");
    // Each is still itself at its own address.
    let own = host.outside_address("shop/web-2");
    assert_eq!(host.curl(&format!("http://{own}/name")).ok().trim(), "web-2");

    // Its clone has its own two machines, and a port of its own.
    host.wardian(&["clone", "--quiet", "shop", "shop-2"]).ok();
    let port = host.machine("shop-2/web-1")["exposed"][0]["at"].as_u64().unwrap();
    assert_eq!(host.machine("shop-2/web-2")["exposed"][0]["at"].as_u64(), Some(port));
    assert_ne!(port, 8080);
    answer(&host, port, &["web-1", "web-2"], soon);

    // One that serves no more gets nothing within seconds, and is said to; nobody else's is touched.
    host.script("shop/web-1", "killall httpd");
    answer(&host, 8080, &["web-2"], soon);
    let status = host.wardian(&["status", "shop"]).ok();
    assert!(status.contains("80 at 8080 with web-2 (out)"), "{status}");
    assert!(status.contains("out: its probe fails (http 80/name)"), "{status}");
    assert_eq!(host.machine("shop/web-1")["phase"], "ready", "it was ready once since its start");
    assert_eq!((out(&host, "shop/web-2"), out(&host, "shop-2/web-1")), (Value::Null, Value::Null));
    assert_eq!(who(&host, port, 20), are(&["web-1", "web-2"]));
    let events = host.wardian(&["events", "shop"]).ok();
    assert!(events.contains("gets no new connections at ports it shares: its probe fails (http 80/name)"), "{events}");

    // The daemon's next life goes on as it was, from the first request.
    host.stop_daemon();
    assert_eq!(who(&host, 8080, 6), are(&["web-2"]));
    host.start_daemon(&[]);
    assert_eq!(who(&host, 8080, 20), are(&["web-2"]));
    assert_eq!(out(&host, "shop/web-1"), "its probe fails (http 80/name)");

    // It serves again, and gets its part.
    host.script("shop/web-1", "httpd -h /srv");
    answer(&host, 8080, &["web-1", "web-2"], soon);
    assert_eq!(out(&host, "shop/web-1"), Value::Null);

    // A process that ends is out at once.
    let pid = host.pid_of("shop/web-2").unwrap();
    host.command("kill", &["-9", &pid.to_string()]).ok();
    wait::until("the end is seen", soon, || (out(&host, "shop/web-2") == "does not run").then_some(()));
    answer(&host, 8080, &["web-1"], soon);

    // What is shared is taken back as a whole, and can be asked for while everything runs.
    let refused = host.wardian(&["expose", "--remove", "shop/web-1:80"]).fails_with(1);
    assert!(refused.contains("together with web-2") && refused.contains("shop/web-1+web-2:80"), "{refused}");
    host.wardian(&["expose", "--remove", "shop/web-1+web-2:80"]).ok();
    assert_eq!(who(&host, 8080, 2), are(&["nobody"]));
    let said = host.wardian(&["expose", "shop-2/web-1+web-2:81", "--at", "8081", "--json"]).json();
    assert_eq!((&said["at"], &said["with"][0]), (&Value::from(8081), &Value::from("web-2")));
    host.wardian(&["rm", "--quiet", "shop", "shop-2"]).ok();
}
