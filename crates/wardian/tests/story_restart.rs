//! The daemon goes away and comes back; machines end on their own. Whoever looks sees what is so, and why.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use wardian_testkit::{TestHost, wait};

/// Serves a page from its first boot on.
const WEB: &str = r"
name: web
machines:
  m:
    image: micro
    memory: 96 MiB
    ready: { http: { port: 80, path: /page } }
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /srv/www /etc/wardian
        echo hello > /srv/www/page
        printf '#!/bin/sh\nhttpd -h /srv/www\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
isolation: { expose: [ m:80 at 8080 ] }
";

const ONE: &str = "name: one\nmachines: { m: { image: micro, memory: 96 MiB } }\n";

fn kill_machine(host: &TestHost, machine: &str) {
    let pid = host.pid_of(machine).unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    wait::until("the process is gone", wait::SOON, || host.pid_of(machine).is_none().then_some(()));
}

/// Waits until the machine is in `phase`, and gives what `status` says of it then.
#[track_caller]
fn becomes(host: &TestHost, machine: &str, phase: &str) -> Value {
    wait::until(&format!("{machine} is {phase}"), wait::SOON, || {
        Some(host.machine(machine)).filter(|found| found["phase"] == phase)
    })
}

/// Waits until the environment is in `phase`.
#[track_caller]
fn environment_becomes(host: &TestHost, environment: &str, phase: &str) {
    wait::until(&format!("{environment} is {phase}"), wait::SOON, || {
        (host.status(environment)["phase"] == phase).then_some(())
    });
}

#[test]
fn story_machines_and_their_network_go_on_without_the_daemon() {
    let mut host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(WEB).ok();
    let machine = host.machine("web/m");
    let outside = machine["outside"]["address"].as_str().unwrap().to_owned();
    let pages = [format!("http://{outside}/page"), "http://127.0.0.1:8080/page".to_owned()];
    let serves =
        |host: &TestHost| pages.iter().all(|page| host.command("curl", &["-sf", "-m", "5", page]).stdout == "hello\n");
    assert!(serves(&host));
    let namespace = host.environment_namespace("web");

    host.kill_daemon();
    assert!(serves(&host), "guests are reached through both entrances while no daemon runs");
    let refused = host.wardian(&["ls"]).fails_with(1);
    assert!(refused.contains("wardian.sock") && refused.contains("hint: "), "{refused}");

    host.start_daemon(&[]);
    assert_eq!(host.script("web/m", "cat /srv/www/page"), "hello");
    let after = host.machine("web/m");
    for key in ["pid", "phase", "since", "ready-after-ms", "outside"] {
        assert_eq!(after[key], machine[key], "{key}");
    }
    assert_eq!(host.environment_namespace("web"), namespace);
    assert!(serves(&host));
    wait::until("the name server answers again", wait::SOON, || {
        let asked = ["exec", "web/m", "--", "nslookup", "-type=a", "m.lab.internal"];
        host.wardian(&asked).stdout.contains("Address: 192.168.23.1\n").then_some(())
    });
    // A lease is asked for from nothing, as after a boot.
    let lease = "udhcpc -n -q -f -i eth0 -t 10 -T 1 -s /usr/share/udhcpc/script 2>&1";
    let lease = host.script("web/m", lease);
    assert!(lease.contains("192.168.23.1 obtained"), "{lease}");
    assert!(serves(&host));
}

#[test]
fn story_a_machine_that_ends_says_why_and_starts_again_with_its_data() {
    let mut host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(ONE).ok();
    host.script("one/m", "echo kept > /root/data; sync; echo last words > /dev/console");

    // Killed while the daemon watches.
    kill_machine(&host, "one/m");
    let failed = becomes(&host, "one/m", "failed");
    let message = failed["problem"]["message"].as_str().unwrap();
    assert_eq!(message, "m: QEMU was killed by signal 9");
    assert_eq!(failed["problem"]["hint"], "start it again: wardian start one");
    assert!(failed["problem"]["details"].to_string().contains("last words"), "{failed}");
    environment_becomes(&host, "one", "degraded");
    let text = host.wardian(&["status", "one"]).ok();
    assert!(text.contains("QEMU was killed by signal 9") && text.contains("  m:/# last words\n"), "{text}");
    let refused = host.wardian(&["exec", "one/m", "--", "true"]).fails_with(1);
    assert_eq!(refused, "error: one/m does not run (it is failed)\nhint: start it with `wardian start one`\n");
    start_again(&host);

    // Killed while no daemon is there.
    host.script("one/m", "echo other words > /dev/console");
    host.kill_daemon();
    kill_machine(&host, "one/m");
    host.start_daemon(&[]);
    let failed = becomes(&host, "one/m", "failed");
    assert!(failed["problem"]["details"].to_string().contains("other words"), "{failed}");
    assert_eq!(failed["problem"]["message"], "m ended while the daemon was away");
    environment_becomes(&host, "one", "degraded");
    start_again(&host);

    // Powered off from inside: no failure, and not by request.
    host.script("one/m", "poweroff");
    let stopped = becomes(&host, "one/m", "stopped");
    assert_eq!(stopped["why"], "the guest powered off");
    environment_becomes(&host, "one", "degraded");
    let text = host.wardian(&["status", "one"]).ok();
    assert!(text.contains("the guest powered off"), "{text}");
    start_again(&host);

    // The same while no daemon is there. QEMU keeps what it knows until somebody asks.
    host.script("one/m", "sync; (sleep 1; poweroff -f) > /dev/null 2>&1 < /dev/null &");
    host.kill_daemon();
    std::thread::sleep(Duration::from_secs(3));
    host.start_daemon(&[]);
    let stopped = becomes(&host, "one/m", "stopped");
    assert_eq!(stopped["why"], "the guest powered off");
    environment_becomes(&host, "one", "degraded");
    start_again(&host);
}

#[track_caller]
fn start_again(host: &TestHost) {
    host.wardian(&["start", "one"]).ok();
    assert_eq!(host.status("one")["phase"], "running");
    assert_eq!(host.machine("one/m")["phase"], "ready");
    assert_eq!(host.script("one/m", "cat /root/data"), "kept");
}

/// A rebooting guest is the same machine in the same process; nothing is reported as ended.
#[test]
fn story_a_guest_that_reboots_stays_ready() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(ONE).ok();
    let before = host.machine("one/m");
    let boot = host.script("one/m", "cat /proc/sys/kernel/random/boot_id");
    // Its agent may be gone before it can tell of the command's end.
    let run = host.wardian(&["exec", "one/m", "--timeout", "90s", "--", "reboot"]);
    assert!(run.success() || run.stderr.contains("went away while reboot ran"), "{}", run.stderr);
    wait::until("the guest has booted again", wait::SOON, || {
        let run = host.wardian(&["exec", "one/m", "--timeout", "3s", "--", "cat", "/proc/sys/kernel/random/boot_id"]);
        (run.success() && run.stdout.trim() != boot).then_some(())
    });
    let after = host.machine("one/m");
    assert_eq!([&after["pid"], &after["phase"]], [&before["pid"], &before["phase"]]);
    assert_eq!(host.status("one")["phase"], "running");
}
