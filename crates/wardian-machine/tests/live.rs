//! Running machines handed over to a successor and a clone: memory, devices and disks go on from one moment in both.

mod common;

use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::live::{Live, Steps, counted, generation, goes_on, is_unbroken, output};
use common::{NOBODY, ended};
use wardian_machine::lock::is_held;
use wardian_machine::memory::{copy_private_pages, copy_sparse};
use wardian_machine::{AgentError, Machine, RunState, RuntimeDirectory, StateError, succession};

fn checksum(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(path).unwrap());
    hasher.finish()
}

fn median(steps: &[Steps], of: impl Fn(&Steps) -> Duration) -> f64 {
    let mut times: Vec<Duration> = steps.iter().map(of).collect();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn report(what: &str, steps: &[Steps]) {
    println!(
        "{what}, median of {}, in ms: pause {:.2}, copy {:.2} ({} KiB), save {:.2}, load {:.2}, exchange {:.2}, resume {:.2}, all {:.2}",
        steps.len(),
        median(steps, |s| s.pause),
        median(steps, |s| s.copy),
        steps[steps.len() / 2].copied >> 10,
        median(steps, |s| s.save),
        median(steps, |s| s.load),
        median(steps, |s| s.exchange),
        median(steps, |s| s.resume),
        median(steps, |s| s.all),
    );
}

/// What stands on the disk, past the guest's own memory of it.
async fn on_disk(machine: &Machine, file: &str) -> String {
    output(machine, &format!("sync; echo 3 >/proc/sys/vm/drop_caches; cat {file}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_guest_is_handed_over_again_and_again() {
    let live = Live::new();
    let source = live.begin().await;
    let old = source.pid();
    let before = *counted(&source).await.last().unwrap();
    let handed = live.hand_over(1, source, &live.place.path().join("overlay.qcow2")).await;
    report("first hand-over", &[handed.steps]);
    assert!(!Path::new(&format!("/proc/{old}")).exists() && handed.successor.pid() != old);

    let (mut machine, clone) = (handed.successor, handed.clone);
    let frozen = checksum(&live.memory(1));
    for (machine, mark) in [(&machine, "successor"), (&clone, "clone")] {
        goes_on(machine, 10).await;
        output(machine, &format!("echo {mark} >/mark; sync")).await;
        let values = counted(machine).await;
        assert!(is_unbroken(&values) && *values.last().unwrap() > before, "{values:?}");
    }
    assert_eq!(on_disk(&machine, "/mark").await, "successor\n");
    assert_eq!(on_disk(&clone, "/mark").await, "clone\n");
    assert_eq!(checksum(&live.memory(1)), frozen, "children wrote the file they were born from");

    // Each following one saves a copy-on-write child.
    let mut steps = Vec::new();
    for number in 2..=6 {
        let values = counted(&machine).await;
        let handed =
            live.hand_over(number, machine, &live.place.path().join(format!("next-{}.qcow2", number - 1))).await;
        for machine in [&handed.successor, &handed.clone] {
            goes_on(machine, 3).await;
            let later = counted(machine).await;
            assert!(is_unbroken(&later) && later.starts_with(&values), "{later:?}");
            assert_eq!(on_disk(machine, "/mark").await, "successor\n");
        }
        assert!(handed.steps.copied > 0);
        steps.push(handed.steps);
        handed.clone.kill().unwrap();
        ended(&handed.clone).await;
        machine = handed.successor;
    }
    report("later hand-over", &steps);
    // The first clone knows nothing of all that.
    assert!(is_unbroken(&counted(&clone).await));
    assert_eq!(on_disk(&clone, "/mark").await, "clone\n");
    for (machine, disk) in [(machine, "next-6"), (clone, "clone-1")] {
        // Without a chance to tidy up; and a disk that still grows can't be checked, for what is read of it is of
        // several moments.
        machine.kill().unwrap();
        ended(&machine).await;
        let check = std::process::Command::new("qemu-img")
            .args(["check", "-q"])
            .arg(live.place.path().join(format!("{disk}.qcow2")))
            .status();
        // 3 is "leaked clusters", which a machine that was killed may leave.
        assert!(matches!(check.unwrap().code(), Some(0 | 3)), "{disk}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_were_changed_are_copied_and_no_others() {
    let live = Live::new();
    let source = live.begin().await;
    let first = live.hand_over(1, source, &live.place.path().join("overlay.qcow2")).await;
    first.clone.kill().unwrap();
    let sum =
        output(&first.successor, "dd if=/dev/urandom of=/run/blob bs=1M count=32 2>/dev/null; md5sum /run/blob").await;
    let second = live.hand_over(2, first.successor, &live.place.path().join("next-1.qcow2")).await;
    report("32 MiB changed", &[second.steps]);
    let copied = second.steps.copied >> 20;
    assert!((32..64).contains(&copied), "{copied} MiB");
    for machine in [&second.successor, &second.clone] {
        assert_eq!(output(machine, "md5sum /run/blob").await, sum);
        assert!(is_unbroken(&counted(machine).await));
    }
    // A file of the wrong size is nobody's memory, and a shared one has nothing private.
    let small = live.memory(9);
    std::fs::write(&small, [0; 4096]).unwrap();
    let error = copy_private_pages(&second.clone, &small).unwrap_err();
    assert!(error.to_string().contains("maps no file of 4096 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roll_back_after_the_state_was_saved_and_loaded() {
    let live = Live::new();
    let source = live.begin().await;
    let overlay = live.place.path().join("overlay.qcow2");
    let (successor, clone) = live.prepare(1, &overlay).await;
    let mut steps = Steps::default();
    live.barrier(1, &source, [&successor, &clone], &mut steps).await.unwrap();
    assert_eq!(successor.status().await.unwrap().state, RunState::Paused);
    // The successor has not been let go, so the disks are still the source's to take.
    source.resume().await.unwrap();
    succession::end_other(&live.run()).await.unwrap();
    clone.kill().unwrap();
    ended(&clone).await;
    goes_on(&source, 10).await;
    output(&source, "echo here >/mark; sync").await;
    assert_eq!(on_disk(&source, "/mark").await, "here\n");
    let values = counted(&source).await;
    assert!(is_unbroken(&values));
    assert_eq!(Machine::adopt(&live.run()).await.unwrap().unwrap().pid(), source.pid());

    // And the next attempt, with layers of its own, is as good as the first.
    std::fs::remove_file(live.place.path().join("next-1.qcow2")).unwrap();
    std::fs::remove_file(live.place.path().join("clone-1.qcow2")).unwrap();
    RuntimeDirectory::new(live.place.path().join("clone-1")).remove().unwrap();
    let handed = live.hand_over(1, source, &overlay).await;
    for machine in [&handed.successor, &handed.clone] {
        goes_on(machine, 5).await;
        assert!(is_unbroken(&counted(machine).await));
        assert_eq!(on_disk(machine, "/mark").await, "here\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_that_cannot_be_loaded_leaves_the_source_unharmed() {
    let live = Live::new();
    let source = live.begin().await;
    assert!(matches!(source.save_state(&live.state(1)).await, Err(StateError::NotPaused)));
    assert!(!live.state(1).exists());
    let overlay = live.place.path().join("overlay.qcow2");
    let (successor, clone) = live.prepare(1, &overlay).await;
    source.pause().await.unwrap();
    source.save_state(&live.state(1)).await.unwrap();
    let error = source.load_state(&live.state(1)).await.unwrap_err();
    assert!(matches!(error, StateError::NotIncoming { state: RunState::Paused }), "{error:?}");
    let state = std::fs::read(live.state(1)).unwrap();
    let (cut, foreign) = (live.state(7), live.state(8));
    std::fs::write(&cut, &state[..state.len() / 2]).unwrap();
    std::fs::write(&foreign, b"this is no state at all, but quite long enough to be looked at").unwrap();
    for file in [&cut, &foreign] {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    }
    let begun = std::time::Instant::now();
    let error = successor.load_state(&cut).await.unwrap_err();
    println!("cut state, told after {:?}: {error}", begun.elapsed());
    assert!(matches!(&error, StateError::Failed { reason, .. } if !reason.is_empty()), "{error:?}");
    let error = clone.load_state(&foreign).await.unwrap_err();
    println!("foreign state: {error}");
    assert!(matches!(&error, StateError::Failed { .. }), "{error:?}");
    succession::end_other(&live.run()).await.unwrap();
    let missing = live.waiting(1, live.place.path().join("late"), live.layer(&overlay, "late"), generation(9)).await;
    let error = missing.load_state(&live.state(6)).await.unwrap_err();
    println!("missing state: {error:?}");
    assert!(matches!(&error, StateError::Failed { .. } | StateError::Refused { .. }), "{error:?}");

    source.resume().await.unwrap();
    goes_on(&source, 10).await;
    assert!(is_unbroken(&counted(&source).await));
    output(&source, "echo here >/mark; sync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_may_be_loaded_without_the_source_at_any_time_later() {
    let live = Live::new();
    let source = live.begin().await;
    let overlay = live.place.path().join("overlay.qcow2");
    let handed = live.hand_over(1, source, &overlay).await;
    let values = counted(&handed.clone).await;
    for machine in [&handed.successor, &handed.clone] {
        machine.kill().unwrap();
        ended(machine).await;
    }
    let late = live.waiting(1, live.place.path().join("late"), live.layer(&overlay, "late"), generation(9)).await;
    assert_eq!(late.status().await.unwrap().state, RunState::Incoming);
    late.load_state(&live.state(1)).await.unwrap();
    assert_eq!(late.status().await.unwrap().state, RunState::Paused);
    late.resume().await.unwrap();
    goes_on(&late, 5).await;
    let later = counted(&late).await;
    assert!(is_unbroken(&later));
    assert_eq!(later.iter().zip(&values).filter(|(a, b)| a != b).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_gets_its_own_generation_in_its_memory_and_the_successor_keeps_the_old_one() {
    let live = Live::new();
    let source = live.begin().await;
    let handed = live.hand_over(1, source, &live.place.path().join("overlay.qcow2")).await;
    let generations = [(&handed.clone, generation(1)), (&handed.successor, generation(0))];
    let mut place = None;
    for (number, (machine, generation)) in (2..).zip(generations) {
        let told = machine.qmp().execute("query-vm-generation-id", None).await.unwrap();
        assert_eq!(told["guid"], generation.to_string());
        // What the guest sees: its memory, where a child has changed it. The clone's says where.
        machine.pause().await.unwrap();
        copy_sparse(&live.memory(1), &live.memory(number)).unwrap();
        copy_private_pages(machine, &live.memory(number)).unwrap();
        machine.resume().await.unwrap();
        let memory = std::fs::read(live.memory(number)).unwrap();
        let bytes = generation.to_bytes_le();
        let place = *place.get_or_insert_with(|| {
            memory.windows(16).position(|found| found == bytes).expect("the generation is in the clone's memory")
        });
        assert_eq!(memory[place..place + 16], bytes);
    }
    // Kernels that know the device (Debian 12's does not) answer by reseeding.
    println!("{}", output(&handed.clone, "dmesg | grep 'machine fork'; true").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_memory_cannot_be_written_and_shared_memory_is_new_each_time() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let live = Live::new();
    std::fs::write(live.memory(1), "somebody's").unwrap();
    let others = std::fs::File::open(live.memory(1)).unwrap();
    let source = live.begin().await;
    let metadata = std::fs::metadata(live.memory(1)).unwrap();
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o777), (NOBODY.uid, 0o600));
    assert_eq!(metadata.len(), 192 << 20);
    assert_eq!(std::io::read_to_string(others).unwrap(), "somebody's");
    let error = copy_private_pages(&source, &live.memory(1)).unwrap_err();
    assert!(error.to_string().contains("shared file"), "{error}");
    let handed = live.hand_over(1, source, &live.place.path().join("overlay.qcow2")).await;
    let metadata = std::fs::metadata(live.memory(1)).unwrap();
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o777), (0, 0o444));
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", handed.clone.pid())).unwrap();
    let file = live.memory(1).display().to_string();
    let kinds: Vec<&str> = maps.lines().filter(|l| l.ends_with(&file)).filter_map(|l| l.split(' ').nth(1)).collect();
    assert_eq!(kinds, ["rw-p"]);
    // What the process holds open is open for reading only.
    for fd in std::fs::read_dir(format!("/proc/{}/fd", handed.clone.pid())).unwrap().map(Result::unwrap) {
        if std::fs::read_link(fd.path()).is_ok_and(|target| target == live.memory(1)) {
            let info = format!("/proc/{}/fdinfo/{}", handed.clone.pid(), fd.file_name().display());
            let flags = std::fs::read_to_string(info).unwrap();
            let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
            assert_eq!(u32::from_str_radix(&flags, 8).unwrap() & 3, 0, "{flags}");
        }
    }
    assert!(is_held(&live.place.runtime().lock()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_is_left_alone_while_the_machine_is_paused() {
    let live = Live::new();
    let machine = live.begin().await;
    machine.pause().await.unwrap();
    let asking = tokio::spawn({
        let machine = machine.clone();
        async move { machine.agent().ping(Duration::from_secs(20)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asking.is_finished());
    machine.resume().await.unwrap();
    asking.await.unwrap().unwrap();
    machine.pause().await.unwrap();
    let held = machine.agent().ping(Duration::from_millis(100)).await;
    assert!(matches!(held, Err(AgentError::Held { command: "guest-ping", .. })), "{held:?}");
    machine.resume().await.unwrap();
    machine.agent().ping(Duration::from_secs(20)).await.unwrap();
}

/// What is asked of a process that hands over is answered, by it or by those that come after it.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_agent_go_on_through_hand_overs() {
    let live = Live::new();
    let source = live.begin().await;
    let (over, ran) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let commands = tokio::spawn({
        let (machine, over, ran) = (source.clone(), over.clone(), ran.clone());
        async move {
            while !over.load(Ordering::Relaxed) {
                let number = ran.load(Ordering::Relaxed) + 1;
                let printed = output(&machine, &format!("echo {number} >>/run/ran; echo {number}")).await;
                assert_eq!(printed, format!("{number}\n"));
                ran.store(number, Ordering::Relaxed);
            }
        }
    });
    let copies = tokio::spawn({
        let (machine, over) = (source.clone(), over.clone());
        async move {
            let content: Vec<u8> = (0..900_001_u32).map(|i| (i % 251) as u8).collect();
            let mut copies = 0_u32;
            while !over.load(Ordering::Relaxed) {
                machine.agent().write_file("/run/copy", &mut content.as_slice(), None).await.unwrap();
                let mut back = Vec::new();
                machine.agent().read_file("/run/copy", &mut back).await.unwrap();
                assert!(back == content, "{} bytes came back", back.len());
                copies += 1;
            }
            copies
        }
    });
    let (mut machine, mut below) = (source, live.place.path().join("overlay.qcow2"));
    for number in 1..=3 {
        let before = ran.load(Ordering::Relaxed);
        while ran.load(Ordering::Relaxed) < before + 3 {
            assert!(!commands.is_finished() && !copies.is_finished());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let handed = live.hand_over(number, machine, &below).await;
        handed.clone.kill().unwrap();
        (machine, below) = (handed.successor, live.place.path().join(format!("next-{number}.qcow2")));
    }
    over.store(true, Ordering::Relaxed);
    commands.await.unwrap();
    let (ran, copied) = (ran.load(Ordering::Relaxed), copies.await.unwrap());
    println!("{ran} commands and {copied} copies there and back");
    let noted = output(&machine, "cat /run/ran").await;
    assert!(noted.lines().map(str::to_owned).eq((1..=ran).map(|number| number.to_string())), "{noted}");
}
