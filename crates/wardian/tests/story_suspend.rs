//! Suspending: an environment stops where it is, leaves nothing in memory, and goes on as if nothing had been, also
//! after a restart of the host and whatever the daemon was killed at.

use std::{fs, path::PathBuf, time::Duration};

use wardian_testkit::{TestHost, wait};

const TALK: &str = "
name: talk
machines:
  web: { image: micro, memory: 128 MiB, start-after: [db] }
  db: { image: micro, memory: 128 MiB }
";

/// A line every 50 ms from web, and what db has heard of it: one connection, for ever.
const SPEAK: &str =
    "n=0; while :; do n=$((n + 1)); echo $n; usleep 50000; done | nc 192.168.23.2 9000; echo over >/run/over";
const LISTEN: &str = "sleep 9999 | nc -l -p 9000 >/root/heard; echo over >/run/over";
/// Counts in memory only.
const COUNT: &str =
    "n=0; while :; do n=$((n + 1)); echo $n >/dev/shm/n.new; mv /dev/shm/n.new /dev/shm/n; usleep 20000; done";

/// A host with two machines that talk.
fn talking() -> TestHost {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(TALK).ok();
    begin(&host, "talk/db", LISTEN);
    wait::until("db listens", wait::SOON, || host.script("talk/db", "netstat -lnt").contains(":9000").then_some(()));
    begin(&host, "talk/web", SPEAK);
    begin(&host, "talk/web", COUNT);
    wait::until("web counts", wait::SOON, || {
        (!host.script("talk/web", "cat /dev/shm/n 2>&- || true").is_empty()).then_some(())
    });
    host
}

/// Begins a script in a guest that goes on by itself.
#[track_caller]
fn begin(host: &TestHost, machine: &str, script: &str) {
    host.script(machine, &format!("( {script} ) </dev/null >/dev/null 2>&1 &"));
}

/// How far they are: the counter, what was heard, how long they run (in seconds), and which boot that is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Far {
    counted: u64,
    heard: u64,
    uptime: [u64; 2],
    boot: [String; 2],
}

#[track_caller]
fn far(host: &TestHost) -> Far {
    let number = |text: String| text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"));
    // None is missing, none twice, all are in order.
    let check =
        "awk '$1 != NR { print \"line \" NR \" is \" $1; bad = 1; exit } END { if (!bad) print NR }' /root/heard";
    let both = ["talk/web", "talk/db"];
    Far {
        counted: number(host.script("talk/web", "cat /dev/shm/n")),
        heard: number(host.script("talk/db", check)),
        uptime: both.map(|machine| number(host.script(machine, "cut -d. -f1 /proc/uptime"))),
        boot: both.map(|machine| host.script(machine, "cat /proc/sys/kernel/random/boot_id")),
    }
}

/// The counter, the connection and the boot are those of before, and go on. Gives how far.
#[track_caller]
fn goes_on(host: &TestHost, before: &Far) -> Far {
    let now = wait::until(&format!("they go on from {before:?}"), wait::SOON, || {
        for machine in ["talk/web", "talk/db"] {
            assert_eq!(host.script(machine, "cat /run/over 2>&- || true"), "", "the connection of {machine} is over");
        }
        Some(far(host)).filter(|now| now.counted > before.counted + 5 && now.heard > before.heard + 5)
    });
    assert_eq!(now.boot, before.boot);
    assert!(now.uptime[0] >= before.uptime[0] && now.uptime[1] >= before.uptime[1], "{before:?}, {now:?}");
    now
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Nothing runs, and nothing is in memory; each machine has one file on disk.
#[track_caller]
fn is_suspended(host: &TestHost) {
    assert_eq!(host.machine_processes(), []);
    assert_eq!(files(host.run_directory().join("memory")), [""; 0].map(PathBuf::from));
    assert_eq!(files(host.state().join("memory")).len(), 2);
    let status = host.status("talk");
    assert_eq!((&status["phase"], &status["machines-ready"]), (&"suspended".into(), &0.into()));
    for machine in ["talk/web", "talk/db"] {
        let machine = host.machine(machine);
        assert_eq!((&machine["phase"], &machine["why"]), (&"stopped".into(), &"suspended".into()));
    }
}

#[test]
fn story_suspend_goes_on_where_it_was_even_after_a_restart_of_the_host() {
    let mut host = talking();
    let first = far(&host);
    let run = host.wardian(&["suspend", "talk"]);
    assert!(run.success() && run.stderr.contains("web: suspend"), "{run}");
    is_suspended(&host);
    assert!(host.wardian(&["ls"]).ok().contains("suspended"));
    // Asking twice is asking once; what needs its memory says what to do.
    host.wardian(&["suspend", "talk"]).ok();
    for words in [&["snapshot", "create", "talk", "now"][..], &["clone", "talk", "copy"]] {
        let refused = host.wardian(words).fails_with(1);
        assert!(refused.contains("talk is suspended") && refused.contains("wardian start talk"), "{refused}");
    }
    let refused = host.wardian(&["exec", "talk/web", "--", "true"]).fails_with(1);
    assert!(refused.contains("talk/web does not run"), "{refused}");

    // What a restart of the host leaves of it.
    host.kill_daemon();
    host.command("umount", &[&host.run_directory().join("memory").to_string_lossy()]).ok();
    fs::remove_dir_all(host.run_directory().join("m")).unwrap();
    host.start_daemon(&[]);
    is_suspended(&host);
    host.wardian(&["resume", "talk"]).ok();
    let second = goes_on(&host, &first);
    let events = host.wardian(&["events", "talk"]).ok();
    assert_eq!(events.matches("went on from memory").count(), 2, "{events}");
    wait::until("nothing is on disk any more", wait::SOON, || {
        files(host.state().join("memory")).is_empty().then_some(())
    });

    // From copy-on-write children of what was read from disk, twice.
    let mut last = second;
    for _ in 0..2 {
        host.wardian(&["suspend", "talk"]).ok();
        is_suspended(&host);
        host.wardian(&["start", "talk"]).ok();
        last = goes_on(&host, &last);
    }

    // A snapshot stays usable across it.
    host.wardian(&["snapshot", "create", "talk", "kept"]).ok();
    let kept = goes_on(&host, &last);
    host.wardian(&["suspend", "talk"]).ok();
    assert_eq!(files(host.state().join("memory")).len(), 4);
    host.wardian(&["restore", "talk", "kept"]).ok();
    assert_eq!(far(&host).boot, kept.boot);
    goes_on(&host, &last);
    host.wardian(&["snapshot", "rm", "talk", "kept"]).ok();

    // Stopped, it boots.
    host.wardian(&["suspend", "talk"]).ok();
    host.wardian(&["down", "talk"]).ok();
    assert_eq!(host.status("talk")["phase"], "stopped");
    assert!(host.wardian(&["events", "talk"]).ok().contains("its memory is given up"));
    wait::until("its memory is gone", wait::SOON, || files(host.state().join("memory")).is_empty().then_some(()));
    let refused = host.wardian(&["suspend", "talk"]).fails_with(1);
    assert!(refused.contains("no machine of talk runs"), "{refused}");
    host.wardian(&["start", "talk"]).ok();
    assert_ne!(host.script("talk/web", "cat /proc/sys/kernel/random/boot_id"), kept.boot[0]);

    // Removed, nothing is left of it.
    host.wardian(&["suspend", "talk"]).ok();
    host.wardian(&["rm", "talk"]).ok();
    wait::until("its memory is gone", wait::SOON, || files(host.state().join("memory")).is_empty().then_some(()));
}

#[test]
fn story_suspend_survives_a_kill_at_every_step() {
    let mut host = talking();
    let mut last = far(&host);
    for point in [
        "suspend: paused",
        "suspend: saved",
        "suspend: recorded",
        "suspend: recorded#2",
        "suspend: process ended",
        "memory: on disk",
        "suspend: memory let go",
    ] {
        host.kill_daemon();
        host.start_daemon(&[("WARDIAN_KILL_AT", point)]);
        let asked = host.begin(&["suspend", "talk"]);
        assert!(host.daemon_dies_within(wait::SOON), "it does not get to {point}:\n{}", host.log());
        host.start_daemon(&[]);
        // Told that the connection broke, or done.
        let _ = asked.end(Duration::from_secs(120));
        wait::until(&format!("killed at {point}, it is suspended in the end"), wait::SOON, || {
            (host.status("talk")["phase"] == "suspended").then_some(())
        });
        is_suspended(&host);
        host.wardian(&["start", "talk"]).ok();
        last = goes_on(&host, &last);
        println!("{point}: {last:?}");
    }
}

#[test]
fn story_suspend_without_room_on_the_disk_is_given_up_and_all_goes_on() {
    let host = talking();
    let before = far(&host);
    let folder = host.state().join("memory").to_string_lossy().into_owned();
    host.command("mount", &["-t", "tmpfs", "-o", "size=64k", "none", &folder]).ok();
    let refused = host.wardian(&["suspend", "talk"]);
    host.command("umount", &[&folder]).ok();
    let refused = refused.fails_with(1);
    assert!(refused.contains("can't be suspended, so all go on") && refused.contains("hint: "), "{refused}");
    wait::until("it runs", wait::SOON, || (host.status("talk")["phase"] == "running").then_some(()));
    goes_on(&host, &before);
    host.wardian(&["suspend", "talk"]).ok();
    is_suspended(&host);
}
