//! What `conflicts` says would collide, seen to collide where nothing isolates, and beside it an environment that is
//! isolated and notices nothing.

use wardian_testkit::{Client, Run, TestHost, wait};

/// A machine that serves the name of its environment and its own.
fn file(name: &str, isolation: &str) -> String {
    format!(
        "
name: {name}
machines:
  web:
    image: micro
    hostname: web-server
    memory: 80 MiB
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv
        echo \"{name} $(hostname)\" > /srv/word
        printf '#!/bin/sh\\nhttpd -h /srv\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
isolation: {isolation}
"
    )
}

#[track_caller]
fn up(host: &TestHost, name: &str, isolation: &str) -> Run {
    let path = host.write(&format!("{name}.yaml"), &file(name, isolation));
    let run = host.wardian(&["up", &path.to_string_lossy()]);
    assert!(run.success(), "{}", run.stderr);
    run
}

/// Who answers somebody on the lab network at `address`.
fn met(somebody: &Client, address: &str) -> String {
    let url = format!("http://{address}/word");
    somebody.command("curl", &["-s", "--fail", "--max-time", "20", &url]).stdout.trim().to_owned()
}

#[test]
fn story_conflicts_are_real_without_isolation_and_not_with_it() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    let warned = up(&host, "one", "{ mode: none, fence: open }").stderr;
    assert!(warned.contains("without isolation, whoever else has the same names"), "{warned}");
    up(&host, "two", "{ mode: none, fence: open }");
    up(&host, "kept", "{ fence: open }");
    assert!(host.wardian(&["status", "one"]).ok().contains("not isolated"));

    let report = host.wardian(&["conflicts", "one", "two", "--json"]).json();
    let kinds: Vec<_> = report["conflicts"].as_array().unwrap().iter().map(|clash| clash["kind"].clone()).collect();
    for kind in ["computer-name", "address", "mac"] {
        assert!(kinds.contains(&kind.into()), "{report}");
    }
    let said = host.wardian(&["conflicts", "one", "two"]);
    assert!(said.stderr.contains("one, two are not isolated (mode none): they do collide"), "{}", said.stderr);
    assert!(!host.wardian(&["conflicts", "one", "kept"]).stderr.contains("do collide"));

    // One name, one address, one hardware address, and whom one meets there is who has spoken last.
    let somebody = Client::on_lab(&host, "192.168.23.77/24");
    somebody.command("ip", &["address", "add", "10.86.7.7/16", "dev", "eth0"]).ok();
    for name in ["one", "two", "one"] {
        let machine = format!("{name}/web");
        wait::until(&format!("{name} is met"), wait::SOON, || {
            let spoken = host.wardian(&["exec", &machine, "--", "ping", "-c", "1", "-W", "1", "192.168.23.77"]);
            (spoken.success() && met(&somebody, "192.168.23.1") == format!("{name} web-server")).then_some(())
        });
    }
    // The third has all the same inside, and outside an address that is its own.
    let own = host.outside_address("kept/web");
    for _ in 0..3 {
        assert_eq!(met(&somebody, &own), "kept web-server");
    }

    let refused = host.wardian(&["fence", "one", "sealed"]).fails_with(1);
    assert!(refused.contains("one is not isolated (mode none), so it has no fence"), "{refused}");
    let refused = host.wardian(&["expose", "one/web:80"]).fails_with(1);
    assert!(refused.contains("without isolation (mode none) web has no outside to be reached at"), "{refused}");

    drop(somebody);
    host.wardian(&["rm", "one", "two", "kept"]).ok();
    assert_eq!(host.inventory(), before);
}
