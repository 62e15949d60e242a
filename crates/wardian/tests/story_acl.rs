//! What machines may say and hear, changed while they talk: with real guests, by file and by command, and a clone has
//! it too.

use std::time::Duration;

use wardian_testkit::{TestHost, wait};

const FILE: &str = "
name: shop
machines:
  web: { image: micro, memory: 96 MiB }
  db:
    image: micro
    memory: 96 MiB
    ready: { tcp: 5432 }
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo rows > /srv/www/rows
        printf '#!/bin/sh\\nhttpd -h /srv/www -p 5432\\nhttpd -h /srv/www -p 8080\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
    acl:
      - allow tcp from web to db port 5432
      - deny any
";

/// What web gets from a port of db.
fn fetch(host: &TestHost, environment: &str, port: u16) -> String {
    let command = format!("curl -sf --max-time 2 http://192.168.23.2:{port}/rows || echo nothing");
    host.script(&format!("{environment}/web"), &command)
}

/// The rows, also where the guests have to wait for a processor.
#[track_caller]
fn gets(host: &TestHost, environment: &str, port: u16) {
    wait::until(&format!("{environment}/web gets the rows from port {port}"), wait::SOON, || {
        (fetch(host, environment, port) == "rows").then_some(())
    });
}

fn pings(host: &TestHost, machine: &str, to: &str) -> String {
    host.script(machine, &format!("ping -c 1 -W 1 {to} >/dev/null && echo yes || echo no"))
}

/// How many of its pings web has had answered.
fn answered(host: &TestHost) -> u32 {
    host.script("shop/web", "grep -c 'bytes from' /tmp/pings || true").parse().unwrap()
}

#[test]
fn story_access_lists_hold_and_change_under_way() {
    let mut host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let path = host.write("shop.yaml", FILE);
    // The probe of readiness passes, whatever the rules say.
    host.wardian(&["up", "--quiet", &path.to_string_lossy()]).ok();
    gets(&host, "shop", 5432);
    assert_eq!(fetch(&host, "shop", 8080), "nothing");
    assert_eq!(pings(&host, "shop/db", "192.168.23.1"), "no");
    assert!(host.wardian(&["status", "shop"]).ok().contains("acl: denied "));

    // A flow that runs stops when it is forbidden, and goes on when it is allowed again.
    host.wardian(&["acl", "shop/db", "allow tcp from web to db", "allow icmp", "deny any"]).ok();
    gets(&host, "shop", 8080);
    wait::until("db reaches web", wait::SOON, || (pings(&host, "shop/db", "192.168.23.1") == "yes").then_some(()));
    host.script("shop/web", "(ping -i 0.1 192.168.23.2 > /tmp/pings 2>&1 &)");
    wait::until("pings are answered", wait::SOON, || (answered(&host) > 3).then_some(()));
    host.wardian(&["acl", "shop", "deny in icmp"]).ok();
    gets(&host, "shop", 8080);
    host.wardian(&["acl", "shop/db", "--clear"]).ok();
    // What was answered before may still have to be written down.
    std::thread::sleep(Duration::from_secs(3));
    let before = answered(&host);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(answered(&host), before, "the rules of all forbid it now");
    let shown = host.wardian(&["acl", "shop"]).ok();
    assert_eq!(shown, "shop:\n  deny in icmp\n");

    // A clone has the rules of its source as they are now, and its own from then on.
    host.wardian(&["acl", "shop/db", "deny tcp port 8080"]).ok();
    host.wardian(&["clone", "--quiet", "shop", "shop-2"]).ok();
    gets(&host, "shop-2", 5432);
    assert_eq!(fetch(&host, "shop-2", 8080), "nothing");
    host.wardian(&["acl", "shop-2", "--clear"]).ok();
    host.wardian(&["acl", "shop-2/db", "--clear"]).ok();
    gets(&host, "shop-2", 8080);
    assert_eq!(fetch(&host, "shop", 8080), "nothing");

    // What can't be meant is refused with the way out, and changes nothing.
    let refused = host.wardian(&["acl", "shop", "deny from wbe"]).fails_with(1);
    assert!(refused.contains("did you mean `web`?"), "{refused}");
    // The daemon's next life finds everything as it was.
    host.stop_daemon();
    host.start_daemon(&[]);
    gets(&host, "shop", 5432);
    assert_eq!(fetch(&host, "shop", 8080), "nothing");
    host.wardian(&["rm", "--quiet", "shop", "shop-2"]).ok();
}
