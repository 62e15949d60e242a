//! What can't be done is refused: what is wrong, where, and what to do, with an exit code; and nothing has changed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use nix::sys::statvfs::statvfs;
use wardian_testkit::{Inventory, Run, TestHost, wait};

/// A file with one machine `m`, and more lines.
fn one(name: &str, more: &str) -> String {
    format!("name: {name}\nmachines:\n  m: {{ image: micro, memory: 96 MiB }}\n{more}")
}

/// Fails with 1; the message has all of these parts, and nothing has changed.
#[track_caller]
fn refused(host: &TestHost, run: impl FnOnce(&TestHost) -> Run, parts: &[&str]) {
    let before = settled(host);
    let said = run(host).fails_with(1);
    for part in parts {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let after = settled(host);
    after.adds_nothing_to(&before);
    before.adds_nothing_to(&after);
}

/// What is there, once it is the same for a moment: what went before may have to settle.
fn settled(host: &TestHost) -> Inventory {
    wait::until("nothing changes any more", wait::SOON, || {
        let inventory = host.inventory();
        std::thread::sleep(Duration::from_millis(100));
        (host.inventory() == inventory).then_some(inventory)
    })
}

#[test]
fn story_a_wrong_file_is_refused_with_its_place_and_what_to_do() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let up = |file: String, parts: &[&str]| refused(&host, |host| host.up(&file), parts);
    let machine = |keys: &str| format!("name: e\nmachines:\n  m: {{ image: micro, {keys} }}\n");
    up(
        "name: e\nmachines:\n  m: { image: micro, memroy: 1 GiB }\n".into(),
        &["error: ", "memroy", "environment.yaml:3:22", "did you mean `memory`?"],
    );
    up("name: e\nmachines:\n  m: { image: micro }\n  m: { image: micro }\n".into(), &["environment.yaml:4:3", "m"]);
    up(one("Shop_1", ""), &["environment.yaml:1:7", "Shop_1", "hint: `shop-1` would do"]);
    up(
        "name: e\nmachines:\n  web_1: { image: micro }\n".into(),
        &["environment.yaml:3:3", "web_1", "hint: `web-1` would do"],
    );
    up(
        "name: e\nmachines:\n  a: { image: micro, start-after: [b] }\n  b: { image: micro, start-after: [c] }\n  \
         c: { image: micro, start-after: [a] }\n"
            .into(),
        &["a → b → c → a"],
    );
    up(
        "name: e\nmachines:\n  a: { image: micro }\n  b: { image: micro }\nnetwork: { subnet: 192.168.23.0/30 }\n"
            .into(),
        &["environment.yaml:5:20", "1 machine fits into 192.168.23.0/30", "hint: a prefix of 29"],
    );
    up(
        one("e", "network: { subnet: 10.86.4.0/24 }\n"),
        &["environment.yaml:4:20", "overlaps the lab network", "hint: "],
    );
    up(one("e", "network: { subnet: 'fd00::/64' }\n"), &["environment.yaml:4:20", "IPv6", "hint: "]);
    up(
        machine("memory: 0"),
        &["environment.yaml:3:30", "\"0\" is not a size", "hint: write a whole number and a unit"],
    );
    up(machine("memory: 0 MiB"), &["environment.yaml:3:30", "16 MiB"]);
    up(machine("memory: 900 TiB"), &["environment.yaml:3:30", "900 TiB", "the host has", "hint: give it less"]);
    up(
        "name: e\nmachines:\n  m: { image: mcro }\n".into(),
        &["environment.yaml:3:15", "there is no image mcro", "did you mean `micro`?"],
    );
    up(one("e", "isolation: { expose: [ m:80 at 8080, m:81 at 8080 ] }\n"), &["environment.yaml:4:", "8080"]);
    up(one("e", "isolation: { expose: [ m:80, m:80 ] }\n"), &["environment.yaml:4:", "m:80"]);
}

#[test]
fn story_what_is_taken_missing_or_not_ready_is_refused() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(&one("first", "isolation: { expose: [ m:80 at 8080 ] }\n")).ok();

    let up = |file: &str, parts: &[&str]| refused(&host, |host| host.up(file), parts);
    let wardian = |words: &[&str], parts: &[&str]| refused(&host, |host| host.wardian(words), parts);
    up(&one("first", ""), &["error: there is already an environment first\n", "hint: ", "wardian rm first"]);
    up(&one("second", "isolation: { expose: [ m:80 at 8080 ] }\n"), &["8080", "hint: choose another port"]);
    wardian(&["clone", "frist", "copy"], &["error: there is no environment frist\n", "hint: `wardian ls`"]);
    wardian(&["clone", "first", "first"], &["error: there is already an environment first\n", "hint: "]);
    for verb in ["start", "down", "rm"] {
        wardian(&[verb, "frist"], &["error: there is no environment frist\n", "hint: `wardian ls`"]);
    }
    wardian(&["expose", "first/n:80"], &["n", "hint: "]);
    wardian(
        &["exec", "first/n", "--", "true"],
        &["error: the environment first has no machine n\n", "hint: its machines: m\n"],
    );
    wardian(&["image", "rm", "micro"], &["error: the image micro is in use by first/m\n", "hint: "]);
    // Wrong usage is told apart by its exit code.
    for words in [&["clone", "first", "copy", "--count", "0"][..], &["clone", "first", "Copy_1"], &["clone", "first"]] {
        let said = host.wardian(words).fails_with(2);
        assert!(said.starts_with("error: ") && said.contains("--help"), "{said}");
    }

    // One that is still being set up has no whole inside to clone.
    let slow = "name: slow\nmachines: { m: { image: micro, memory: 96 MiB, ready: { tcp: 9 } } }\n";
    let file = host.write("slow.yaml", slow);
    host.wardian(&["up", "--no-wait", &file.to_string_lossy()]).ok();
    wait::until("it runs", wait::SOON, || host.pid_of("slow/m"));
    wardian(&["clone", "slow", "copy"], &["error: slow is still being set up", "hint: wait until"]);
}

#[test]
fn story_an_exhausted_lab_network_is_refused_until_something_is_removed() {
    let mut host = TestHost::without_daemon(env!("CARGO_BIN_EXE_wardian"));
    let config = host.write("wardian.toml", "[lab]\nprefix = \"10.86.0.0/28\"\n");
    let config = config.to_string_lossy().into_owned();
    host.start_daemon_with(&["--config", &config]);
    host.import_micro();
    // Stopped environments hold their addresses too: 13 of 16 are for machines, at most.
    let mut file = String::from("name: many\nmachines:\n");
    for index in 0..12 {
        file += &format!(
            "  m{index}: {{ image: micro, memory: 96 MiB, start-after: [{}] }}\n",
            match index {
                0 => String::new(),
                _ => format!("m{}", index - 1),
            }
        );
    }
    let path = host.write("many.yaml", &file).to_string_lossy().into_owned();
    host.wardian(&["up", "--no-wait", &path]).ok();
    host.wardian(&["down", "many"]).ok();
    let two = "name: two\nmachines: { a: { image: micro, memory: 96 MiB }, b: { image: micro, memory: 96 MiB } }\n";
    refused(&host, |host| host.up(two), &["address", "hint: remove environments that are no longer needed"]);
    host.wardian(&["rm", "many"]).ok();
    host.up(two).ok();
}

/// Starts a daemon that is expected to end by itself.
fn daemon(host: &TestHost, words: &[&str]) -> Run {
    let run = host.begin(&[&["daemon"], words].concat());
    run.end(wait::SOON)
}

#[test]
fn story_a_daemon_that_cannot_work_says_why_and_touches_nothing() {
    let mut host = TestHost::without_daemon(env!("CARGO_BIN_EXE_wardian"));
    let folder = host.folder().to_owned();
    let [state, run, other] =
        [host.state(), host.run_directory(), folder.join("o")].map(|path| path.display().to_string());
    let folders = ["--state-directory", &state, "--run-directory", &run];

    // QEMU is missing, or too old. Nothing is made before that is known.
    let said = daemon(&host, &[&folders[..], &["--qemu", "/nonexistent/qemu"]].concat()).fails_with(1);
    assert!(said.contains("/nonexistent/qemu") && said.contains("qemu-system-x86"), "{said}");
    let old = host.write("old-qemu", "#!/bin/sh\necho 'QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg-11)'\n");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let said = daemon(&host, &[&folders[..], &["--qemu", &old.to_string_lossy()]].concat()).fails_with(1);
    assert!(said.contains("5.2") && said.contains("install the packages qemu-system-x86"), "{said}");
    assert!(!Path::new(&state).exists(), "{state} was made");

    host.start_daemon(&[]);
    let before = settled(&host);
    let pid = host.daemon_pid().to_string();
    // The socket is another daemon's.
    let said = daemon(&host, &["--state-directory", &other, "--run-directory", &run]).fails_with(1);
    assert!(said.contains(&format!("another daemon (process {pid}) listens on {run}/wardian.sock")), "{said}");
    // The state is another daemon's.
    let socket = format!("{other}.sock");
    let said =
        daemon(&host, &["--state-directory", &state, "--run-directory", &other, "--socket", &socket]).fails_with(1);
    assert!(said.contains(&state) && said.contains("in use"), "{said}");
    settled(&host).adds_nothing_to(&before);
    before.adds_nothing_to(&settled(&host));
    host.stop_daemon();

    // The state is of a later version.
    let format = host.state().join("format");
    let now = fs::read_to_string(&format).unwrap();
    fs::write(&format, "999\n").unwrap();
    let said = daemon(&host, &folders).fails_with(1);
    assert!(
        said.contains("from a later version of Wardian") && said.contains("run the version that wrote it"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&format).unwrap(), "999\n");
    fs::write(&format, now).unwrap();
    host.start_daemon(&[]);
}

/// A small file system of the test's own, mounted where a host has its state.
struct Small(String);

impl Small {
    fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let target = path.display().to_string();
        let run = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0711"), "wardian-test", &target])
            .status();
        assert!(run.is_ok_and(|status| status.success()), "a tmpfs can't be mounted");
        Self(target)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

fn used_bytes(path: &Path) -> u64 {
    let found = statvfs(path).unwrap();
    (found.blocks() - found.blocks_free()) * found.fragment_size()
}

fn resize(small: &Small, size: &str) {
    let done = Command::new("mount").args(["-o", &format!("remount,size={size}"), &small.0]).status();
    assert!(done.is_ok_and(|status| status.success()), "not resized");
}

#[test]
fn story_an_import_that_does_not_fit_is_refused() {
    let mut host = TestHost::without_daemon(env!("CARGO_BIN_EXE_wardian"));
    let small = Small::mount(&host.state(), "20M");
    host.start_daemon(&[]);
    let description = wardian_testkit::micro().join("image.json").display().to_string();
    let import = |host: &TestHost| host.wardian(&["image", "import", "micro", &description]);
    refused(&host, import, &["image micro is not imported", "hint: "]);
    resize(&small, "400M");
    import(&host).ok();
}

/// The disks are on a file system of their own, which gets full; the records are elsewhere.
#[test]
fn story_a_full_disk_pauses_a_machine_and_nothing_is_lost() {
    let mut host = TestHost::without_daemon(env!("CARGO_BIN_EXE_wardian"));
    let small = Small::mount(&host.state().join("layers"), "400M");
    host.start_daemon(&[]);
    paused_until_there_is_room(&mut host, &small, 8 << 20, |_| {});
}

/// Records and disks share a file system, as they do on most hosts: what there is to say is written to the reserve.
#[test]
fn story_a_full_disk_under_the_records_too_is_said_and_nothing_is_lost() {
    let mut host = TestHost::without_daemon(env!("CARGO_BIN_EXE_wardian"));
    let state = host.state();
    let small = Small::mount(&state, "400M");
    let reserve = || fs::metadata(state.join("records.reserve")).unwrap().len();
    host.start_daemon(&[]);
    let whole = reserve();
    // Without a byte: the last few that are too few for a machine would do for records.
    paused_until_there_is_room(&mut host, &small, 0, |host| {
        assert!((1..whole).contains(&reserve()), "records needed some of it, and a machine did not get the rest");
        // A daemon that begins on a full disk finds everything as it was.
        host.kill_daemon();
        host.start_daemon(&[]);
        assert_eq!(host.machine("full/m")["phase"], "paused");
    });
    wait::until("the reserve is whole again", wait::SOON, || {
        host.wardian(&["ls"]).ok();
        (reserve() == whole).then_some(())
    });
}

/// A machine fills the `small` file system below its disk, where `room` bytes are free, is paused, and goes on when
/// there is more. `paused` looks at the host while it is full.
fn paused_until_there_is_room(host: &mut TestHost, small: &Small, room: u64, paused: impl FnOnce(&mut TestHost)) {
    host.import_micro();
    host.up(&one("full", "")).ok();
    let used = used_bytes(Path::new(&small.0));
    resize(small, &format!("{}", used + room));
    let pid = host.pid_of("full/m");
    host.script("full/m", "(head -c 12000000 /dev/urandom > /root/big; sync; md5sum < /root/big > /root/sum; sync) > /dev/null 2>&1 < /dev/null &");
    let machine = wait::until("the machine is paused", wait::SOON, || {
        Some(host.machine("full/m")).filter(|machine| machine["phase"] == "paused")
    });
    let problem = machine["problem"].to_string();
    assert!(problem.contains("m is paused") && problem.contains("wardian start full"), "{problem}");
    assert!(host.wardian(&["status"]).ok().contains("m is paused"), "the overview says so");

    // Without room it is paused again, and says so again.
    let said = host.wardian(&["start", "full"]);
    assert!(said.fails_with(1).contains("error: start of full failed: m is paused"));
    wait::until("it is paused again", wait::SOON, || (host.machine("full/m")["phase"] == "paused").then_some(()));
    paused(host);

    resize(small, "400M");
    host.wardian(&["start", "full"]).ok();
    assert_eq!([host.machine("full/m")["phase"].clone(), host.status("full")["phase"].clone()], ["ready", "running"]);
    assert_eq!(host.pid_of("full/m"), pid, "it went on, it did not start anew");
    assert_eq!(host.machine("full/m")["agent"]["is"], "answers", "what is known of its agent is still so");
    wait::until("the guest has written everything", wait::SOON, || {
        host.wardian(&["exec", "full/m", "--", "test", "-s", "/root/sum"]).success().then_some(())
    });
    // From the disk, not from memory.
    host.script("full/m", "echo 3 > /proc/sys/vm/drop_caches; md5sum < /root/big | cmp - /root/sum");
    assert_eq!(host.script("full/m", "stat -c %s /root/big"), "12000000");
    assert_eq!(host.script("full/m", "dmesg | grep -c 'I/O error' || true"), "0");
    host.wardian(&["rm", "full"]).ok();
}
