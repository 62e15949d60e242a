//! Machines outlive whoever started them, are found again, and never run twice in one directory.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Place, ended, qemu};
use wardian_machine::{Exit, Launch, Machine, ProcessId, RunState, StartError, start};

/// Tells a copy of this test program to be the starter: its value is the scratch directory.
const STARTER: &str = "WARDIAN_TEST_STARTER";
const STARTER_QEMU: &str = "WARDIAN_TEST_STARTER_QEMU";

/// Not a test of its own: the process that starts a machine for the tests below, and then hangs until it is killed.
#[tokio::test]
async fn starter() {
    let Some(directory) = std::env::var_os(STARTER) else { return };
    let place = std::mem::ManuallyDrop::new(Place::new());
    let launch = Launch {
        directory: PathBuf::from(directory).join("run"),
        qemu: std::env::var_os(STARTER_QEMU).map_or_else(qemu, PathBuf::from),
        user: None,
        ..place.launch()
    };
    std::fs::remove_dir_all(place.path()).unwrap();
    let _started = start(launch).await.unwrap();
    std::future::pending::<()>().await;
}

/// Runs the starter and kills it as soon as `when` holds.
fn start_and_kill(place: &Place, qemu: Option<PathBuf>, when: impl Fn() -> bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["starter", "--exact", "--nocapture"]).env(STARTER, place.path()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(qemu) = qemu {
        command.env(STARTER_QEMU, qemu);
    }
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !when() {
        assert!(Instant::now() < deadline, "the starter does nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().unwrap();
}

#[tokio::test]
async fn machine_survives_its_starter_and_is_adopted() {
    let place = Place::new();
    let record = place.runtime().process();
    start_and_kill(&place, None, || record.exists());
    let pid = place.process().expect("it runs on");
    let machine = Machine::adopt(place.runtime().path()).await.unwrap().unwrap();
    assert_eq!(machine.pid(), pid);
    assert_eq!(machine.process(), ProcessId::look_up(pid).unwrap().unwrap());
    assert_eq!(machine.status().await.unwrap().state, RunState::Running);
    let noted: ProcessId = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert_eq!(noted, machine.process());
    machine.quit().await.unwrap();
    assert_eq!(ended(&machine).await, Exit::Quit);
    assert!(Machine::adopt(place.runtime().path()).await.unwrap().is_none());
}

#[tokio::test]
async fn starter_killed_before_the_record_leaves_a_machine_that_is_found() {
    let place = Place::new();
    // A QEMU that kills its starter first and takes away what the starter may have noted by then.
    let wrapper = place.path().join("qemu");
    let record = place.runtime().process();
    let script = format!(
        "#!/bin/sh\nkill -9 $PPID\nwhile [ -e /proc/$PPID/exe ]; do sleep 0.01; done\nrm -f '{}'\ntouch '{}'\nexec '{}' \"$@\"\n",
        record.display(),
        place.path().join("killed").display(),
        qemu().display(),
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let killed = place.path().join("killed");
    start_and_kill(&place, Some(wrapper), || killed.exists());
    assert!(!record.exists());
    let error = start(place.launch()).await.unwrap_err();
    assert!(matches!(error, StartError::Running { .. }), "{error:?}");
    let machine = Machine::adopt(place.runtime().path()).await.unwrap().unwrap();
    assert_eq!(machine.status().await.unwrap().state, RunState::Running);
    machine.kill().unwrap();
    let exit = ended(&machine).await;
    // On Linux before 6.15 an init that collects at once may leave nothing to read.
    assert!(matches!(exit, Exit::Killed { signal: 9, .. } | Exit::Unknown { .. }), "{exit:?}");
    println!("how the end of another's child is told here: {exit:?}");
    start(place.launch()).await.unwrap();
}

#[tokio::test]
async fn starter_killed_at_any_moment_leaves_a_machine_or_none() {
    // Killed a little later every time: nothing, the lock, the process, the record may be there.
    for step in 0..12u64 {
        let place = Place::new();
        let (runtime, begun) = (place.runtime(), Instant::now());
        start_and_kill(&place, None, || runtime.path().exists() && begun.elapsed() > Duration::from_millis(4 * step));
        match Machine::adopt(place.runtime().path()).await.unwrap() {
            Some(machine) => assert!(machine.status().await.is_ok()),
            None => drop(start(place.launch()).await.unwrap()),
        }
    }
}

#[tokio::test]
async fn second_start_in_a_directory_is_refused() {
    let place = Place::new();
    let (one, two) = tokio::join!(start(place.launch()), start(place.launch()));
    let (winner, loser) = if one.is_ok() { (one, two) } else { (two, one) };
    let machine = winner.unwrap().machine;
    let error = loser.unwrap_err();
    assert!(matches!(error, StartError::Running { .. }), "{error:?}");
    assert!(machine.status().await.unwrap().running, "the refused start did no harm");
    let error = start(place.launch()).await.unwrap_err().to_string();
    assert!(error.contains("test machine") && error.contains("already runs"), "{error}");
}

#[tokio::test]
async fn handle_can_be_dropped_and_taken_again() {
    let place = Place::new();
    let first = start(place.launch()).await.unwrap().machine;
    let process = first.process();
    drop(first);
    for _ in 0..3 {
        let machine = Machine::adopt(place.runtime().path()).await.unwrap().unwrap();
        assert_eq!(machine.process(), process);
        assert!(machine.status().await.unwrap().running);
    }
}

#[tokio::test]
async fn directory_without_machine_has_nothing_to_adopt() {
    let place = Place::new();
    assert!(Machine::adopt(place.runtime().path()).await.unwrap().is_none());
    let machine = start(place.launch()).await.unwrap().machine;
    machine.kill().unwrap();
    ended(&machine).await;
    assert!(Machine::adopt(place.runtime().path()).await.unwrap().is_none());
    place.runtime().remove().unwrap();
    place.runtime().remove().unwrap();
}
