//! Snapshots, clones and restores of machines that run: nothing inside notices, and nobody outside meets two of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use wardian_testkit::{Client, TestHost, wait};

fn host() -> TestHost {
    TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"))
}

/// Begins a script in a guest that goes on by itself.
#[track_caller]
fn begin(host: &TestHost, machine: &str, script: &str) {
    host.script(machine, &format!("( {script} ) </dev/null >/dev/null 2>&1 &"));
}

/// How many lines a guest's file has. They count up from 1: none is missing, none twice, all are in order.
#[track_caller]
fn counted(host: &TestHost, machine: &str, file: &str) -> u64 {
    let check = format!(
        "awk '$1 != NR {{ print \"line \" NR \" is \" $1; bad = 1; exit }} END {{ if (!bad) print NR }}' {file}"
    );
    let said = host.script(machine, &check);
    said.parse().unwrap_or_else(|_| panic!("{machine}:{file}: {said}"))
}

/// Waits until such a file has grown beyond `count`, and gives how far.
#[track_caller]
fn grows(host: &TestHost, machine: &str, file: &str, count: u64) -> u64 {
    wait::until(&format!("{machine}:{file} grows beyond {count}"), wait::SOON, || {
        Some(counted(host, machine, file)).filter(|now| *now > count)
    })
}

/// The same for a file of the host.
#[track_caller]
fn counted_here(path: &std::path::Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    // A line may be under way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut count = 0;
    for line in whole.lines() {
        count += 1;
        assert_eq!(line, count.to_string(), "line {count} of {}", path.display());
    }
    count
}

#[track_caller]
fn grows_here(path: &std::path::Path, count: u64) -> u64 {
    wait::until(&format!("{} grows beyond {count}", path.display()), wait::SOON, || {
        Some(counted_here(path)).filter(|now| *now > count)
    })
}

/// Leaves a mark in a guest's memory and on its disk.
#[track_caller]
fn mark(host: &TestHost, machine: &str, name: &str) {
    host.script(machine, &format!("echo {name} | tee /dev/shm/{name} >/root/{name}; sync"));
}

/// Whether it is there: in both, or in neither.
#[track_caller]
fn is_marked(host: &TestHost, machine: &str, name: &str) -> bool {
    let look = format!("echo 3 >/proc/sys/vm/drop_caches; cat /dev/shm/{name} 2>&-; echo; cat /root/{name} 2>&-; true");
    let said = host.script(machine, &look);
    let (memory, disk) = said.split_once('\n').unwrap_or((&said, ""));
    assert_eq!(memory.is_empty(), disk.trim().is_empty(), "memory and disk of {machine} don't agree: {said:?}");
    !memory.is_empty()
}

const TALK: &str = "
name: talk
machines:
  web: { image: micro, hostname: web-server, memory: 128 MiB }
  db: { image: micro, hostname: db-server, memory: 128 MiB }
";

/// A line every 50 ms from web, and what db has heard of it.
const SPEAK: &str = "n=0; while :; do n=$((n + 1)); echo $n; usleep 50000; done | nc 192.168.23.2 9000";
// Its input stays open: `nc` ends its half of the conversation with that.
const LISTEN: &str = "sleep 9999 | nc -l -p 9000 >/root/heard";
/// Counts in memory first, then on the disk.
const COUNT: &str = "exec sh -c 'echo $$ >/run/counter; n=0; \
    while :; do n=$((n + 1)); echo $n >/dev/shm/n; echo $n >>/root/log; sync; usleep 20000; done'";
/// What a guest knows of itself.
const WHO: &str = "hostname; cat /sys/class/dmi/id/product_uuid /sys/class/net/eth0/address /proc/sys/kernel/random/boot_id; \
    ip -4 -o address show eth0 | awk '{print $4}'";

#[test]
fn story_live_cuts_are_not_noticed_inside() {
    let mut host = host();
    let before = host.inventory();
    host.up(TALK).ok();
    begin(&host, "talk/db", LISTEN);
    wait::until("db listens", wait::SOON, || host.script("talk/db", "netstat -lnt").contains(":9000").then_some(()));
    begin(&host, "talk/web", SPEAK);
    begin(&host, "talk/db", COUNT);
    let first = grows(&host, "talk/db", "/root/heard", 20);
    let who = host.script("talk/web", WHO);
    assert_eq!(who.lines().count(), 5, "{who}");
    let original = generations(&mut host);
    let pids = [host.pid_of("talk/web"), host.pid_of("talk/db")];

    let snapshot = |host: &TestHost, name: &str| host.wardian(&["snapshot", "create", "talk", name]).ok();
    snapshot(&host, "one");
    let taken = SystemTime::now();
    let at_one = goes_on_whole(&host, "talk", first);
    mark(&host, "talk/db", "later");
    assert!(host.pid_of("talk/web") != pids[0] && host.pid_of("talk/db") != pids[1], "nobody handed over");

    let handed_over = generations(&mut host);

    // A clone of what runs: one conversation becomes two.
    host.wardian(&["clone", "talk", "copy"]).ok();
    let [in_talk, in_copy] = ["talk", "copy"].map(|environment| goes_on_whole(&host, environment, at_one));
    goes_on_whole(&host, "copy", in_copy);
    same_inside_other_outside(&host, &who, "talk", "copy");
    // Of a clone, too, and of a copy-on-write child.
    snapshot(&host, "two");
    let at_two = goes_on_whole(&host, "talk", in_talk);
    host.wardian(&["clone", "copy", "copy-of-copy"]).ok();
    goes_on_whole(&host, "copy-of-copy", in_copy);
    goes_on_whole(&host, "copy", in_copy);

    // Back in time: old enough that a clock which is not set shows it.
    wait::until("the snapshot is old", wait::SOON, || {
        (taken.elapsed().unwrap() > Duration::from_secs(8)).then_some(())
    });
    grows(&host, "talk/db", "/root/heard", at_two);
    host.wardian(&["restore", "talk", "one"]).ok();
    assert!(!is_marked(&host, "talk/db", "later"), "it is where it was");
    let again = counted(&host, "talk/db", "/root/heard");
    assert!(again >= first, "{first} when it was taken, {again} after");
    clock_is_right(&host, "talk/web");
    clock_is_right(&host, "talk/db");
    goes_on_whole(&host, "talk", again);
    // The other way, and what came from elsewhere: a snapshot of an environment with the same inside.
    host.wardian(&["restore", "copy", "talk@two"]).ok();
    assert!(is_marked(&host, "copy/db", "later"));
    goes_on_whole(&host, "copy", at_one);
    assert_eq!(host.script("copy/web", WHO), who);
    clock_is_right(&host, "copy/db");

    // A source keeps its generation, also as its successor; whoever goes on from a moment that was lived on from has
    // its own. (The micro guest's kernel has no driver that would show it.)
    let now = generations(&mut host);
    assert_eq!(now.len(), 6, "{now:?}");
    assert_eq!(now.values().chain(original.values()).collect::<BTreeSet<_>>().len(), 8, "{now:?}, {original:?}");
    assert_eq!(handed_over, original);
    goes_on_whole(&host, "talk", again);

    for environment in ["talk", "copy", "copy-of-copy"] {
        host.wardian(&["rm", environment]).ok();
    }
    host.inventory().adds_nothing_to(&before);
}

/// The conversation goes on, whole, and the count in memory is of the same moment as the one on the disk. Gives how
/// far.
#[track_caller]
fn goes_on_whole(host: &TestHost, environment: &str, count: u64) -> u64 {
    let db = format!("{environment}/db");
    let now = grows(host, &db, "/root/heard", count);
    // Not between emptying and writing its file: it would have no number to tell.
    let stop = "set -e; counter=$(cat /run/counter); kill -STOP $counter; \
        until [ -s /dev/shm/n ]; do kill -CONT $counter; usleep 7000; kill -STOP $counter; done; \
        sync; echo 3 >/proc/sys/vm/drop_caches; cat /dev/shm/n; tail -n 1 /root/log";
    let said = host.script(&db, stop);
    let [memory, disk] = said.lines().map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()[..] else {
        panic!("{said}")
    };
    // In the order they are written; no gap before: what the disk had was what memory knew of.
    assert!(disk == memory || disk + 1 == memory, "{environment}: memory says {memory}, the disk {disk}");
    assert_eq!(counted(host, &db, "/root/log"), disk, "{environment}");
    host.script(&db, "kill -CONT $(cat /run/counter)");
    grows(host, &db, "/root/log", disk);
    now
}

/// The generation ids of all machines, as their QEMU tells them: its monitor serves one client, so no daemon runs
/// meanwhile.
#[track_caller]
fn generations(host: &mut TestHost) -> BTreeMap<String, String> {
    host.kill_daemon();
    let asks = |directory: PathBuf| {
        let stream = UnixStream::connect(directory.join("qmp.sock")).unwrap();
        stream.set_read_timeout(Some(wait::SOON)).unwrap();
        let mut lines =
            BufReader::new(&stream).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let mut ask = |command: &str| {
            writeln!(&stream, "{{\"execute\":\"{command}\"}}").unwrap();
            let answer = lines.find(|line| line.get("event").is_none() && line.get("QMP").is_none()).unwrap();
            assert!(answer.get("return").is_some(), "{command}: {answer}");
            answer["return"].clone()
        };
        ask("qmp_capabilities");
        let text = |answer: Value, key: &str| answer[key].as_str().unwrap().to_owned();
        (text(ask("query-name"), "name"), text(ask("query-vm-generation-id"), "guid"))
    };
    let machines = fs::read_dir(host.run_directory().join("m")).unwrap().map(|entry| entry.unwrap().path());
    let found = machines.filter(|path| path.join("qmp.sock").exists()).map(asks).collect();
    host.start_daemon(&[]);
    found
}

#[track_caller]
fn same_inside_other_outside(host: &TestHost, who: &str, one: &str, other: &str) {
    for environment in [one, other] {
        assert_eq!(host.script(&format!("{environment}/web"), WHO), who);
    }
    for name in ["web", "db"] {
        let [one, other] = [format!("{one}/{name}"), format!("{other}/{name}")];
        let [here, there] = [host.machine(&one), host.machine(&other)];
        assert_eq!(here["inside"], there["inside"]);
        for key in ["address", "mac"] {
            assert_ne!(here["outside"][key], there["outside"][key], "{key}");
        }
    }
    let random = |environment: &str| host.script(&format!("{environment}/web"), "head -c 16 /dev/urandom | xxd -p");
    assert_ne!(random(one), random(other));
}

/// After what is done for a machine that went on from memory, which is done beside everything else.
#[track_caller]
fn clock_is_right(host: &TestHost, machine: &str) {
    let (environment, name) = machine.split_once('/').unwrap();
    wait::until(&format!("the clock of {machine} is set"), wait::SOON, || {
        let events = host.wardian(&["events", environment]).ok();
        let last = events.lines().rfind(|line| line.contains("went on from memory") && line.contains(name))?;
        assert!(last.contains("clock set") && last.contains("entropy renewed,"), "{last}");
        Some(())
    });
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let early = now();
    let said: u64 = host.script(machine, "date +%s").parse().unwrap();
    assert!((early - 2..=now() + 2).contains(&said), "{machine} says {said}, and it was {early}");
}

const EDGE: &str = "
name: edge
machines:
  m: { image: micro, memory: 128 MiB }
isolation: { fence: open }
";
const PEER: &str = "10.86.250.1";

/// A peer's end of a connection: `nc` with its output in a file.
struct Peer(Child);

impl Peer {
    fn new(host: &TestHost, client: &Client, arguments: &[&str], file: &str) -> Self {
        let output = fs::File::create(host.folder().join(file)).unwrap();
        let nc = client.inside("nc").args(arguments).stdin(Stdio::piped()).stdout(output).stderr(Stdio::null()).spawn();
        Self(nc.expect("nc"))
    }

    fn say(&mut self, line: &str) {
        // To one that has ended: seen by that.
        let _ = writeln!(self.0.stdin.as_ref().unwrap(), "{line}");
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn story_live_connections_with_the_outside_stay_with_the_source() {
    let host = host();
    host.up(EDGE).ok();
    let client = Client::on_lab(&host, &format!("{PEER}/16"));
    let mut outbound = Peer::new(&host, &client, &["-l", "-p", "7000"], "outbound");
    let ticker = "#!/bin/sh\necho $$ >/run/ticker\nn=0\nwhile :; do n=$((n + 1)); echo $n; usleep 50000; done\n";
    host.script("edge/m", &format!("printf '{}' >/root/ticker; chmod +x /root/ticker", ticker.replace('\n', "\\n")));
    begin(&host, "edge/m", "nc -ll -p 7 -e /bin/cat");
    begin(&host, "edge/m", "nc -ll -p 8 -e /root/ticker");
    let speak = format!("{} | nc {PEER} 7000; echo ended >/run/ended", SPEAK.split(" | ").next().unwrap());
    wait::until("everybody listens", wait::SOON, || {
        let guest = host.script("edge/m", "netstat -lnt");
        let peer = client.command("ss", &["-Hlnt"]).ok();
        (guest.contains(":7 ") && guest.contains(":8 ") && peer.contains(":7000 ")).then_some(())
    });
    begin(&host, "edge/m", &speak);
    let address = host.outside_address("edge/m");
    let mut inbound = Peer::new(&host, &client, &[&address, "8"], "inbound");
    let mut echo = Peer::new(&host, &client, &[&address, "7"], "echo");
    let files = ["outbound", "inbound"].map(|file| host.folder().join(file));
    let all_go_on = || files.each_ref().map(|file| grows_here(file, counted_here(file) + 10));
    let mut echoed = 0;
    let mut speaks = |echo: &mut Peer| {
        echoed += 1;
        echo.say(&echoed.to_string());
        wait::until("the echo comes", wait::SOON, || {
            (counted_here(&host.folder().join("echo")) == echoed).then_some(())
        });
    };
    all_go_on();
    speaks(&mut echo);

    host.wardian(&["snapshot", "create", "edge", "one"]).ok();
    all_go_on();
    speaks(&mut echo);
    host.wardian(&["clone", "edge", "copy"]).ok();
    // What the clone goes on sending is answered by resets, and its peers never hear of it. (Without resets, both ends
    // would go on trying for a quarter of an hour.)
    let over = "test -e /run/ended && ! kill -0 $(cat /run/ticker) 2>/dev/null && echo over || echo goes on";
    wait::until("the clone's connections are over", wait::SOON, || {
        (host.script("copy/m", over) == "over").then_some(())
    });
    all_go_on();
    speaks(&mut echo);
    assert_eq!(host.script("edge/m", over), "goes on");
    assert!(!outbound.has_ended() && !inbound.has_ended() && !echo.has_ended());
    // The clone makes connections of its own.
    let own = host.outside_address("copy/m");
    assert_eq!(client.command("sh", &["-c", &format!("echo hello | nc -q 60 -w 60 {own} 7")]).ok(), "hello\n");

    // In place: neither side goes on with what the other doesn't know.
    host.wardian(&["restore", "edge", "one"]).ok();
    wait::until("the machine's connections are over", wait::SOON, || {
        (host.script("edge/m", over) == "over").then_some(())
    });
    let lines = files.each_ref().map(|file| counted_here(file));
    echo.say("a word from before");
    wait::until("the peer is told by a reset", wait::SOON, || echo.has_ended().then_some(()));
    assert_eq!(files.each_ref().map(|file| counted_here(file)), lines, "peers heard of a machine that went back");
    assert_eq!(client.command("sh", &["-c", &format!("echo hello | nc -q 60 -w 60 {address} 7")]).ok(), "hello\n");

    work_in_the_guest_goes_on(&host);
}

/// Commands and consoles of a machine whose process is replaced under them.
fn work_in_the_guest_goes_on(host: &TestHost) {
    let long = host.begin(&["exec", "edge/m", "--", "sh", "-c", "sleep 3; echo result; echo more >&2; exit 5"]);
    let mut console = host.wardian_command(&["console", "edge/m"]);
    let mut console = console.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut keyboard = console.stdin.take().unwrap();
    let mut screen = BufReader::new(console.stdout.take().unwrap());
    let mut asks = |number: u32| {
        writeln!(keyboard, "echo sum $(({number} + 1)) is").unwrap();
        let wanted = format!("sum {} is", number + 1);
        let mut line = String::new();
        while !line.contains(&wanted) {
            line.clear();
            assert!(screen.read_line(&mut line).unwrap() > 0, "the console was closed before {wanted:?}");
        }
    };
    asks(100);
    host.wardian(&["snapshot", "create", "edge", "two"]).ok();
    asks(200);
    host.wardian(&["clone", "edge", "second"]).ok();
    asks(300);
    let long = long.end(wait::SOON);
    assert_eq!((long.status, &*long.stdout, &*long.stderr), (Some(5), "result\n", "more\n"), "{long}");

    commands_meet_cuts(host);

    // Who goes back in time knows nothing of it.
    let lost = host.begin(&["exec", "edge/m", "--", "sleep", "60"]);
    wait::until("it sleeps", wait::SOON, || host.script("edge/m", "pidof sleep || true").lines().next().map(drop));
    host.wardian(&["restore", "edge", "two"]).ok();
    let told = lost.end(wait::SOON).fails_with(1);
    assert!(told.contains("edge/m ended meanwhile") && told.contains("hint: "), "{told}");
    let mut rest = String::new();
    wait::until("the console is closed", wait::SOON, || console.try_wait().unwrap());
    console.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
    assert!(rest.contains("the console of edge/m was closed"), "{rest}");
}

/// Says that it is over when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One command after the other, while cuts are made: each gives its result, or says that a cut has come between; none
/// is carried out twice.
fn commands_meet_cuts(host: &TestHost) {
    const ENOUGH: usize = 10;
    let over = AtomicBool::new(false);
    let (done, doubtful, cuts) = thread::scope(|scope| {
        let cutting = scope.spawn(|| {
            let mut cuts = 0;
            while !over.load(Ordering::Relaxed) {
                cuts += 1;
                host.wardian(&["snapshot", "create", "edge", &format!("cut-{cuts}")]).ok();
            }
            cuts
        });
        let (mut done, mut doubtful) = (Vec::new(), Vec::new());
        // Also when what is asserted fails: the other thread would be waited for.
        let ends = Ends(&over);
        while done.len() < ENOUGH {
            let number = (done.len() + doubtful.len()).to_string();
            let script = format!("echo {number} >>/root/ran; echo {number}");
            let run = host.wardian(&["exec", "edge/m", "--", "sh", "-c", &script]);
            if run.success() {
                assert_eq!(run.stdout.trim(), number);
                done.push(number);
            } else {
                assert!(run.clone().fails_with(1).contains("edge/m was cut just when sh"), "{run}");
                doubtful.push(number);
            }
        }
        drop(ends);
        (done, doubtful, cutting.join().unwrap())
    });
    println!("{} commands gave their result, of {} it is not known, {cuts} cuts", done.len(), doubtful.len());
    assert!(cuts >= 2 && doubtful.len() <= cuts, "{cuts} cuts, {doubtful:?}");
    let ran = host.script("edge/m", "cat /root/ran");
    for number in &done {
        assert_eq!(ran.lines().filter(|line| line == number).count(), 1, "{number} in {ran}");
    }
    for number in &doubtful {
        assert!(ran.lines().filter(|line| line == number).count() <= 1, "{number} in {ran}");
    }
}

#[test]
fn story_live_snapshots_outlive_a_restart_of_the_host() {
    let mut host = host();
    host.up("name: kept\nmachines: { m: { image: micro, memory: 128 MiB } }\n").ok();
    begin(&host, "kept/m", COUNT);
    let boot = host.script("kept/m", "cat /proc/sys/kernel/random/boot_id");
    let one = grows(&host, "kept/m", "/root/log", 10);
    host.wardian(&["snapshot", "create", "kept", "one"]).ok();
    mark(&host, "kept/m", "second");
    let two = grows(&host, "kept/m", "/root/log", one + 10);
    host.wardian(&["snapshot", "create", "kept", "two"]).ok();
    mark(&host, "kept/m", "later");

    // What a restart of the host does to it.
    host.wardian(&["down", "kept"]).ok();
    host.kill_daemon();
    let memory = host.run_directory().join("memory");
    host.command("umount", &[&memory.to_string_lossy()]).ok();
    fs::remove_dir_all(host.run_directory().join("m")).ok();
    host.start_daemon(&[]);
    host.wardian(&["restore", "kept", "two"]).ok();
    let back = counted(&host, "kept/m", "/root/log");
    assert!(back >= two, "{two} when it was taken, {back} after");
    assert_eq!(["second", "later"].map(|name| is_marked(&host, "kept/m", name)), [true, false]);
    assert_eq!(host.script("kept/m", "cat /proc/sys/kernel/random/boot_id"), boot);
    grows(&host, "kept/m", "/root/log", back);

    // The file that the machine didn't go on from: the other one.
    let in_use = |name: &str| memory.join(name.replace(".memory", ".ram")).exists();
    let saved: Vec<_> = fs::read_dir(host.state().join("memory")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(saved.len(), 2, "{saved:?}");
    let file =
        saved.iter().find(|path| !in_use(&path.file_name().unwrap().to_string_lossy())).expect("one not at hand");
    let sound = fs::read(file).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 0x10;
    let path = file.to_string_lossy();
    for (damaged, why) in [(&sound[..sound.len() - 1000], "truncated"), (&flipped[..], "damaged")] {
        fs::write(file, damaged).unwrap();
        let pid = host.pid_of("kept/m");
        let now = counted(&host, "kept/m", "/root/log");
        for words in [&["restore", "kept", "one"][..], &["clone", "kept@one", "never"]] {
            let refused = host.wardian(words).fails_with(1);
            assert!(refused.contains(&*path) && refused.contains("hint: "), "{why}: {refused}");
        }
        assert_eq!(host.pid_of("kept/m"), pid, "{why}: it runs on");
        assert_eq!(host.status("kept")["phase"], "running");
        grows(&host, "kept/m", "/root/log", now);
    }
    fs::write(file, &sound).unwrap();
    host.wardian(&["restore", "kept", "one"]).ok();
    let back = counted(&host, "kept/m", "/root/log");
    assert!(back >= one, "{one} when it was taken, {back} after");
    assert!(!is_marked(&host, "kept/m", "second"));
}
