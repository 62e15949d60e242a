//! One machine on a real QEMU: start, look, pause, end, and every way to end that must be told apart.

mod common;

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use common::{NOBODY, PATIENCE, Place, code, ended, qemu, wait_for};
use wardian_machine::{
    AgentError, Deadlines, Exit, Launch, Machine, MachineEvent, Memory, RunState, ShutdownStep, StartError, start,
};

const GUEST_IGNORES: Deadlines =
    Deadlines { agent: Duration::ZERO, acpi: Duration::from_millis(200), quit: Duration::from_secs(30) };

#[tokio::test]
async fn machine_starts_pauses_resumes_and_quits() {
    let place = Place::new();
    let started = start(place.launch()).await.unwrap();
    let machine = started.machine;
    assert_eq!(Some(machine.pid()), place.process());
    assert_eq!(machine.status().await.unwrap().state, RunState::Running);
    machine.pause().await.unwrap();
    machine.pause().await.unwrap();
    assert_eq!(machine.status().await.unwrap().state, RunState::Paused);
    machine.resume().await.unwrap();
    assert!(machine.status().await.unwrap().running);
    assert_eq!(machine.exit(), None);
    machine.quit().await.unwrap();
    assert_eq!(ended(&machine).await, Exit::Quit);
    assert_eq!(machine.exit(), Some(Exit::Quit));
    assert_eq!(place.process(), None);
    let (step, _) = machine.shutdown(Deadlines::default()).await.unwrap();
    assert_eq!(step, ShutdownStep::AlreadyOff);
}

#[tokio::test]
async fn qemu_has_no_privileges_no_network_and_no_foreign_descriptors() {
    let place = Place::new();
    // Something careless: without close-on-exec.
    let careless = std::fs::File::open("/etc/passwd").unwrap();
    nix::fcntl::fcntl(&careless, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let machine = start(place.launch()).await.unwrap().machine;
    let process = format!("/proc/{}", machine.pid());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), vec![NOBODY.uid.to_string(); 4]);
    assert_eq!(field("Gid:"), vec![NOBODY.gid.to_string(); 4]);
    assert_eq!(field("Groups:"), Vec::<String>::new());
    assert_eq!(field("CapEff:"), ["0000000000000000"]);
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert_eq!(field("Seccomp:"), ["2"]);
    let namespace = |of: &str| std::fs::read_link(format!("{of}/ns/net")).unwrap();
    assert_ne!(namespace(&process), namespace("/proc/self"));
    let open: Vec<String> = std::fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .map(|target| target.display().to_string())
        .collect();
    assert!(!open.iter().any(|file| file == "/etc/passwd"), "{open:?}");
    let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(machine.pid()))).unwrap();
    assert_eq!(session.as_raw(), machine.pid());
    assert_eq!(std::fs::read_to_string(format!("{process}/oom_score_adj")).unwrap().trim(), "200");
    let directory = std::fs::metadata(place.runtime().path()).unwrap();
    assert_eq!((directory.uid(), directory.gid(), directory.mode() & 0o777), (0, NOBODY.gid, 0o710));
    for file in [place.runtime().qmp(), place.runtime().agent(), place.runtime().console()] {
        let file = std::fs::metadata(file).unwrap();
        assert_eq!((file.uid(), file.mode() & 0o777), (0, 0o600));
    }
}

#[tokio::test]
async fn guest_that_powers_off_ends_the_machine_in_good_order() {
    let place = Place::new();
    let launch = Launch { disks: vec![place.boot_sector(code::POWER_OFF)], ..place.launch() };
    let machine = start(launch).await.unwrap().machine;
    assert_eq!(ended(&machine).await, Exit::PoweredOff);
}

#[tokio::test]
async fn power_off_while_nobody_watched_is_still_known() {
    let place = Place::new();
    let launch = Launch { disks: vec![place.boot_sector(code::POWER_OFF)], paused: true, ..place.launch() };
    let machine = start(launch).await.unwrap().machine;
    let mut events = machine.events();
    machine.resume().await.unwrap();
    drop(machine);
    // Long enough for the firmware to boot; the handle is gone, so nobody ends QEMU.
    while events.recv().await.is_ok() {}
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(place.process().is_some(), "QEMU waits for somebody to come back");
    let machine = Machine::adopt(place.runtime().path()).await.unwrap().unwrap();
    assert_eq!(ended(&machine).await, Exit::PoweredOff);
}

#[tokio::test]
async fn guest_that_resets_again_and_again_stays() {
    let place = Place::new();
    let launch = Launch { disks: vec![place.boot_sector(code::RESET)], ..place.launch() };
    let machine = start(launch).await.unwrap().machine;
    let mut events = machine.events();
    for _ in 0..3 {
        wait_for(&mut events, "reset", |event| *event == MachineEvent::Reset { guest: true }).await;
    }
    assert!(machine.status().await.unwrap().running);
    machine.reset().await.unwrap();
    wait_for(&mut events, "reset by the host", |event| *event == MachineEvent::Reset { guest: false }).await;
}

#[tokio::test]
async fn killed_machine_tells_its_signal() {
    let place = Place::new();
    let machine = start(place.launch()).await.unwrap().machine;
    machine.kill().unwrap();
    let exit = ended(&machine).await;
    assert!(matches!(exit, Exit::Killed { signal: 9, out_of_memory: false, .. }), "{exit:?}");
    machine.kill().unwrap();
    assert!(!exit.is_orderly());
}

#[tokio::test]
async fn guest_that_ignores_everything_is_cut_off_and_the_step_told() {
    let place = Place::new();
    let machine = start(place.launch()).await.unwrap().machine;
    let (step, exit) = machine.shutdown(GUEST_IGNORES).await.unwrap();
    assert_eq!((step, exit), (ShutdownStep::Quit, Exit::Quit));
}

#[tokio::test]
async fn qemu_that_hangs_is_killed() {
    let place = Place::new();
    let machine = start(place.launch()).await.unwrap().machine;
    let pid = nix::unistd::Pid::from_raw(machine.pid());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let short = Deadlines { quit: Duration::from_millis(300), ..GUEST_IGNORES };
    let (step, exit) = tokio::time::timeout(PATIENCE, machine.shutdown(short)).await.unwrap().unwrap();
    assert_eq!(step, ShutdownStep::Kill);
    assert!(matches!(exit, Exit::Killed { signal: 9, .. }), "{exit:?}");
}

#[tokio::test]
async fn guest_without_agent_says_so_at_once() {
    let place = Place::new();
    let machine = start(place.launch()).await.unwrap().machine;
    let start = std::time::Instant::now();
    let error = machine.agent().ping(PATIENCE).await.unwrap_err();
    assert!(matches!(error, AgentError::NotThere), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4), "known without waiting for the agent: {:?}", start.elapsed());
    assert!(machine.status().await.unwrap().running);
}

#[tokio::test]
async fn qemu_that_fails_is_quoted() {
    let place = Place::new();
    let mut disk = place.boot_sector(code::ECHO);
    disk.path = place.path().join("missing.raw");
    let error = start(Launch { disks: vec![disk], ..place.launch() }).await.unwrap_err();
    let StartError::Ended { exit: Exit::Failed { code: 1, last_words }, .. } = &error else { panic!("{error:?}") };
    assert!(last_words.contains("missing.raw") && last_words.contains("No such file"), "{last_words}");
    assert_eq!(place.process(), None);
    // And nothing of it stands in the way of the next start.
    start(place.launch()).await.unwrap();
}

#[tokio::test]
async fn corrupt_disk_is_refused_with_its_path() {
    let place = Place::new();
    let mut disk = place.boot_sector(code::ECHO);
    disk.format = wardian_machine::DiskFormat::Qcow2;
    let error = start(Launch { disks: vec![disk], ..place.launch() }).await.unwrap_err().to_string();
    assert!(error.contains("not in qcow2 format"), "{error}");
}

#[tokio::test]
async fn missing_qemu_names_the_package() {
    let place = Place::new();
    let launch = Launch { qemu: "/nowhere/qemu-system-x86_64".into(), ..place.launch() };
    let error = start(launch).await.unwrap_err();
    assert!(matches!(error, StartError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("apt install qemu-system-x86"));
    assert_eq!(place.process(), None);
}

#[tokio::test]
async fn path_too_long_for_a_socket_is_refused() {
    let place = Place::new();
    let launch = Launch { directory: place.path().join("x".repeat(100)), ..place.launch() };
    let error = start(launch).await.unwrap_err();
    assert!(matches!(error, StartError::Directory { .. }), "{error:?}");
    let _ = qemu();
}

#[tokio::test]
async fn disk_is_switched_to_an_overlay_while_the_machine_runs() {
    let place = Place::new();
    let disk = place.boot_sector(code::ECHO);
    let overlay = place.path().join("0b9c1f6e-overlay.qcow2");
    let made = std::process::Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .args([&disk.path, &overlay])
        .status()
        .unwrap();
    assert!(made.success());
    std::os::unix::fs::chown(&overlay, Some(NOBODY.uid), Some(NOBODY.gid)).unwrap();
    let machine = start(Launch { disks: vec![disk], ..place.launch() }).await.unwrap().machine;
    for _ in 0..2 {
        machine.switch_disk(0, &overlay).await.unwrap();
    }
    let blocks = machine.qmp().execute("query-block", None).await.unwrap();
    let inserted = &blocks.as_array().unwrap().iter().find(|b| b["inserted"].is_object()).unwrap()["inserted"];
    assert_eq!(inserted["file"].as_str(), overlay.to_str());
    assert_eq!(inserted["backing_file_depth"], 1);
    assert!(machine.status().await.unwrap().running);
    assert!(machine.switch_disk(1, &overlay).await.is_err());
}

#[tokio::test]
async fn memory_that_cannot_be_made_is_named() {
    let place = Place::new();
    let path = place.path().join("no-such-folder/memory");
    let error = start(Launch { memory: Memory::Shared { path: path.clone() }, ..place.launch() }).await.unwrap_err();
    assert!(matches!(&error, StartError::Memory { path: named, .. } if *named == path), "{error:?}");
    assert_eq!(place.process(), None);
}
