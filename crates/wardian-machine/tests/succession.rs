//! Two processes and one place: the exchange of directories decides which of them is the machine, whoever is killed
//! when.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Place, code, ended, wait_for};
use wardian_machine::directory::next;
use wardian_machine::lock::is_held;
use wardian_machine::succession::{SuccessionError, end_other, exchange, prepare};
use wardian_machine::{Exit, Launch, Machine, MachineEvent, RuntimeDirectory, start};

fn run(place: &Place) -> PathBuf {
    place.runtime().path().to_owned()
}

async fn source(place: &Place) -> Machine {
    start(Launch { disks: vec![place.boot_sector(code::PRINT)], ..place.launch() }).await.unwrap().machine
}

/// A second machine in `DIR.next`; what it runs does not matter here.
async fn successor(place: &Place) -> Machine {
    let directory = prepare(&run(place)).unwrap();
    assert_eq!(directory, next(&run(place)));
    start(Launch { directory, paused: true, ..place.launch() }).await.unwrap().machine
}

async fn in_place(place: &Place) -> Option<i32> {
    Machine::adopt(&run(place)).await.unwrap().map(|machine| machine.pid())
}

#[tokio::test]
async fn before_the_exchange_the_successor_ends_and_the_source_stays() {
    let place = Place::new();
    let source = source(&place).await;
    let successor = successor(&place).await;
    assert_eq!(place.process(), Some(source.pid()));
    for _ in 0..2 {
        end_other(&run(&place)).await.unwrap();
        assert!(!next(&run(&place)).exists());
    }
    assert!(matches!(ended(&successor).await, Exit::Killed { .. } | Exit::Unknown { .. }));
    assert!(source.status().await.unwrap().running);
}

#[tokio::test]
async fn after_the_exchange_the_source_ends_and_the_successor_is_adopted() {
    let place = Place::new();
    let source = source(&place).await;
    let (old, new) = (source.pid(), successor(&place).await.pid());
    exchange(&run(&place)).unwrap();
    // As after a kill in between: whoever comes next finds the successor, and ends the other.
    assert_eq!(in_place(&place).await, Some(new));
    for _ in 0..2 {
        end_other(&run(&place)).await.unwrap();
    }
    ended(&source).await;
    assert_eq!(in_place(&place).await, Some(new));
    assert!(!next(&run(&place)).exists() && wardian_machine::ProcessId::look_up(old).unwrap().is_none());
}

#[tokio::test]
async fn exchange_without_a_successor_changes_nothing() {
    let place = Place::new();
    let machine = source(&place).await;
    let error = exchange(&run(&place)).unwrap_err();
    assert!(error.to_string().contains("no successor runs in"), "{error}");
    prepare(&run(&place)).unwrap();
    assert!(exchange(&run(&place)).is_err());
    assert_eq!(place.process(), Some(machine.pid()));
    // A successor that died leaves its files.
    let successor = successor(&place).await;
    successor.kill().unwrap();
    ended(&successor).await;
    assert!(exchange(&run(&place)).is_err());
    assert_eq!(place.process(), Some(machine.pid()));
}

#[tokio::test]
async fn handles_mean_the_same_machine_after_the_exchange() {
    let place = Place::new();
    let source = source(&place).await;
    let successor = successor(&place).await;
    exchange(&run(&place)).unwrap();
    assert!(source.status().await.unwrap().running);
    assert!(!successor.status().await.unwrap().running);
    // The source's monitor breaks, and its handle must not go to the one that has its place now.
    let mut events = successor.events();
    source.quit().await.unwrap();
    assert_eq!(ended(&source).await, Exit::Quit);
    assert!(source.status().await.is_err() && source.quit().await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!successor.status().await.unwrap().running);
    assert!(!std::iter::from_fn(|| events.try_recv().ok()).any(|event| event.what == MachineEvent::Disconnected));
    end_other(&run(&place)).await.unwrap();
    successor.resume().await.unwrap();
    drop(successor);
    let machine = Machine::adopt(&run(&place)).await.unwrap().unwrap();
    assert!(machine.status().await.unwrap().running);
}

#[tokio::test]
async fn last_words_are_the_ones_of_the_machine_that_ended() {
    let place = Place::new();
    let source = source(&place).await;
    std::fs::write(place.runtime().qemu_log(), "the source's words\n").unwrap();
    let successor = successor(&place).await;
    std::fs::write(RuntimeDirectory::new(next(&run(&place))).qemu_log(), "the successor's words\n").unwrap();
    exchange(&run(&place)).unwrap();
    source.kill().unwrap();
    let exit = ended(&source).await;
    assert!(matches!(&exit, Exit::Killed { last_words, .. } if last_words == "the source's words"), "{exit:?}");
    assert!(successor.exit().is_none());
}

#[tokio::test]
async fn successor_goes_on_with_the_same_console_log() {
    let place = Place::new();
    let machine = source(&place).await;
    let log = place.runtime().console_log();
    let begun = Instant::now();
    while std::fs::metadata(&log).unwrap().len() < 1000 {
        assert!(begun.elapsed() < common::PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    machine.pause().await.unwrap();
    let inode = std::fs::metadata(&log).unwrap().ino();
    let printed = std::fs::read(&log).unwrap();
    let directory = prepare(&run(&place)).unwrap();
    // The boot sector's disk is the source's still; this one prints without being paused.
    let disk = wardian_machine::Disk { read_only: true, ..place.boot_sector(code::PRINT) };
    machine.quit().await.unwrap();
    ended(&machine).await;
    let successor = start(Launch { directory, disks: vec![disk], ..place.launch() }).await.unwrap().machine;
    exchange(&run(&place)).unwrap();
    end_other(&run(&place)).await.unwrap();
    assert_eq!(std::fs::metadata(&log).unwrap().ino(), inode);
    let begun = Instant::now();
    while std::fs::metadata(&log).unwrap().len() <= printed.len() as u64 {
        assert!(begun.elapsed() < common::PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(std::fs::read(&log).unwrap().starts_with(&printed));
    successor.kill().unwrap();
    ended(&successor).await;
}

#[tokio::test]
async fn prepare_clears_what_is_dead_and_refuses_what_lives() {
    let place = Place::new();
    let machine = source(&place).await;
    let other = RuntimeDirectory::new(next(&run(&place)));
    std::fs::create_dir(other.path()).unwrap();
    std::fs::write(other.lock(), "1\n").unwrap();
    std::fs::write(other.console_log(), "stale").unwrap();
    prepare(&run(&place)).unwrap();
    assert!(!other.lock().exists());
    let inode = |directory: &RuntimeDirectory| std::fs::metadata(directory.console_log()).unwrap().ino();
    assert_eq!(inode(&other), inode(&place.runtime()));
    let successor = successor(&place).await;
    let error = prepare(&run(&place)).unwrap_err();
    assert!(matches!(&error, SuccessionError::Occupied { directory } if directory == other.path()), "{error:?}");
    assert!(is_held(&other.lock()).unwrap() && successor.exit().is_none());
    end_other(&run(&place)).await.unwrap();
    assert!(machine.exit().is_none());
    // Nothing there at all.
    end_other(&place.path().join("nowhere")).await.unwrap();
    assert_eq!(prepare(&place.path().join("nowhere")).unwrap(), place.path().join("nowhere.next"));
}

#[tokio::test]
async fn a_starter_that_is_at_work_is_waited_for() {
    let place = Place::new();
    let machine = source(&place).await;
    let directory = prepare(&run(&place)).unwrap();
    // Holds the lock, and has not made a process yet.
    let lock = std::fs::File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let begun = Instant::now();
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(lock);
    });
    end_other(&run(&place)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(290) && !directory.exists());
    later.await.unwrap();
    assert!(machine.exit().is_none());
}

#[tokio::test]
async fn successor_that_hangs_is_ended_too() {
    let place = Place::new();
    let machine = source(&place).await;
    let successor = successor(&place).await;
    let pid = nix::unistd::Pid::from_raw(successor.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    end_other(&run(&place)).await.unwrap();
    ended(&successor).await;
    let mut events = machine.events();
    machine.pause().await.unwrap();
    wait_for(&mut events, "pause", |event| *event == MachineEvent::Stopped).await;
}
