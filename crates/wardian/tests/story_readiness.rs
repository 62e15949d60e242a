//! Readiness: each probe, the order that follows from it, guests that take their time, and guests that never get there.

use std::time::{Duration, Instant};

use serde_json::Value;
use wardian_testkit::{TestHost, wait};

/// One machine per probe. What each probe asks for appears a while after the boot, so that a start is not enough.
/// `last` waits for all of them.
const PROBES: &str = r"
name: probes
machines:
  last: { image: micro, memory: 96 MiB, start-after: [agent, tcp, http, exec] }
  agent: { image: micro, memory: 96 MiB, ready: agent }
  tcp:
    image: micro
    memory: 96 MiB
    ready: { tcp: 7000 }
    cloud-init: { user-data: '#!/bin/sh

        (sleep 1; nc -ll -p 7000 -e true) > /dev/null 2>&1 &' }
  http:
    image: micro
    memory: 96 MiB
    ready: { http: { port: 8000, path: /health } }
    cloud-init: { user-data: '#!/bin/sh

        mkdir /srv/www; httpd -p 8000 -h /srv/www; (sleep 2; echo well > /srv/www/health) > /dev/null 2>&1 &' }
  exec:
    image: micro
    memory: 96 MiB
    ready: { exec: [test, -e, /run/done] }
    cloud-init: { user-data: '#!/bin/sh

        (sleep 2; touch /run/done) > /dev/null 2>&1 &' }
";

/// What was said of a machine: each message with its place among all events.
fn events(host: &TestHost, environment: &str) -> Vec<(String, String)> {
    let lines = host.wardian(&["events", environment, "--json"]).ok();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            (text("machine"), text("message"))
        })
        .collect()
}

#[test]
fn story_every_probe_is_waited_for_and_dependents_start_after_it() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(PROBES).ok();
    let status = host.status("probes");
    assert_eq!([&status["phase"], &status["machines-ready"]], [&Value::from("running"), &Value::from(5)]);
    let events = events(&host, "probes");
    let place = |machine: &str, words: &str| {
        let found = events.iter().position(|(of, message)| of == machine && message.starts_with(words));
        found.unwrap_or_else(|| panic!("{machine} never {words}: {events:?}"))
    };
    for machine in ["agent", "tcp", "http", "exec"] {
        assert!(place(machine, "is ready") < place("last", "started"), "{events:#?}");
    }
    // What was probed was there.
    assert_eq!(host.script("probes/http", "wget -qO- http://127.0.0.1:8000/health"), "well");
    assert_eq!(host.script("probes/exec", "ls /run/done"), "/run/done");
}

/// Its first boots end in a reboot before it is done, as the set-up of many systems does.
const REBOOTS: &str = r"
name: setup
machines:
  m:
    image: micro
    memory: 96 MiB
    ready: { exec: [test, -e, /root/done] }
    cloud-init:
      user-data: |
        #!/bin/sh
        echo boot >> /root/boots
        sync
        if [ $(wc -l < /root/boots) -le 2 ]; then
            reboot -f
            sleep 60
        fi
        touch /root/done
";

#[test]
fn story_a_guest_that_reboots_twice_during_its_setup_is_waited_for() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(REBOOTS).ok();
    assert_eq!(host.script("setup/m", "wc -l < /root/boots"), "3");
    let starts = events(&host, "setup").iter().filter(|(_, message)| message == "started").count();
    assert_eq!(starts, 1, "the process was the same all the time");
}

/// Nothing listens on its port until somebody sees to it.
const NEVER: &str = r"
name: never
machines:
  base: { image: micro, memory: 96 MiB, ready: { tcp: 9, timeout: 12s } }
  top: { image: micro, memory: 96 MiB, start-after: [base] }
";

#[test]
fn story_a_machine_that_never_gets_ready_is_told_and_left_running() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let began = Instant::now();
    let path = host.write("never.yaml", NEVER);
    let asked = host.begin(&["up", &path.to_string_lossy()]);
    wait::until("the guest runs", Duration::from_secs(12), || {
        let words = ["exec", "never/base", "--", "sh", "-c", "echo nobody listens > /dev/console"];
        host.wardian(&words).success().then_some(())
    });
    let said = asked.end(Duration::from_secs(60)).fails_with(1);
    let took = began.elapsed();
    // The probe, the time, the end of the console, what to do.
    assert!(said.contains("error: up of never failed: base did not get ready within 12s (tcp 9)\n"), "{said}");
    assert!(said.contains("\n  base:/# nobody listens\n"), "{said}");
    let hint =
        "hint: it still runs: look with `wardian console never/base`; wait once more with `wardian start never`\n";
    assert!(said.ends_with(hint), "{said}");
    assert!(took >= Duration::from_secs(12), "{took:?}");

    let status = host.status("never");
    assert_eq!(status["phase"], "failed");
    assert_eq!(status["problem"]["message"], "base did not get ready within 12s (tcp 9)");
    assert_eq!(host.machine("never/base")["phase"], "unready");
    assert_eq!(host.machine("never/top")["phase"], "stopped");
    let pid = host.pid_of("never/base").expect("it still runs");
    assert_eq!(host.pid_of("never/top"), None);

    // Waiting once more is the same machine, with the whole time again.
    let began = Instant::now();
    let said = host.wardian(&["start", "never"]).fails_with(1);
    assert!(said.contains("start of never failed: base did not get ready within 12s (tcp 9)"), "{said}");
    assert!(began.elapsed() >= Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(host.pid_of("never/base"), Some(pid));

    // Mended, it gets there, and the machine that waited for it starts.
    host.script("never/base", "(nc -ll -p 9 -e true) > /dev/null 2>&1 < /dev/null &");
    host.wardian(&["start", "never"]).ok();
    assert_eq!(host.status("never")["phase"], "running");
    assert_eq!(host.pid_of("never/base"), Some(pid));
    assert_eq!(host.machine("never/top")["phase"], "ready");
}
