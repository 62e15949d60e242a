//! A real guest with a real agent: what is asked of it, and how it ends.

mod common;

use std::path::Path;
use std::time::{Duration, SystemTime};

use common::micro::{BOOT, exec, image, micro, ready};
use common::{NOBODY, Place, ended, wait_for};
use wardian_machine::accelerator::{DEFAULT_LIMIT, prove};
use wardian_machine::agent::{Exec, FsStatus};
use wardian_machine::{Accelerator, AgentError, Deadlines, Exit, Machine, MachineEvent, ShutdownStep, start};

#[tokio::test]
async fn agent_does_all_it_is_asked() {
    let place = Place::new();
    let machine = start(micro(&place).await).await.unwrap().machine;
    let mut events = machine.events();
    wait_for(&mut events, "agent", |event| *event == MachineEvent::AgentPort { open: true }).await;
    ready(&machine).await;
    let agent = machine.agent();
    let info = agent.info().await.unwrap();
    assert!(info.can("guest-exec") && !info.can("guest-fly"), "{info:?}");
    let interfaces = agent.interfaces().await.unwrap();
    assert!(interfaces.iter().any(|interface| interface.name == "lo"), "{interfaces:?}");

    let output = agent.exec(&exec(&["sh", "-c", "cat; echo $X >&2; exit 3"])).await.unwrap();
    assert_eq!(output.status, Some(3));
    let with = Exec {
        environment: vec!["X=y z".to_owned()],
        stdin: b"in\0put\xff".to_vec(),
        ..exec(&["/bin/sh", "-c", "cat; echo \"$X\" >&2"])
    };
    let output = agent.exec(&with).await.unwrap();
    assert!(output.success() && !output.truncated);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (b"in\0put\xff".as_slice(), b"y z\n".as_slice()));
    let output = agent.exec(&exec(&["sh", "-c", "kill -9 $$"])).await.unwrap();
    assert_eq!((output.status, output.signal), (None, Some(9)));
    let error = agent.exec(&exec(&["no-such-program"])).await.unwrap_err();
    assert!(matches!(error, AgentError::Refused { .. }), "{error}");
    let slow = Exec { timeout: Duration::from_millis(200), ..exec(&["sleep", "60"]) };
    assert!(matches!(agent.exec(&slow).await, Err(AgentError::ExecTimedOut { .. })));

    // More than one chunk, all byte values, in both directions.
    let content: Vec<u8> = (0..700_001u32).map(|i| (i % 251) as u8).collect();
    let written = agent.write_file("/tmp/copy", &mut content.as_slice(), Some(0o640)).await.unwrap();
    assert_eq!(written, content.len() as u64);
    let mode = agent.exec(&exec(&["stat", "-c", "%a", "/tmp/copy"])).await.unwrap();
    assert_eq!(mode.stdout, b"640\n");
    let mut back = Vec::new();
    agent.read_file("/tmp/copy", &mut back).await.unwrap();
    assert!(back == content, "{} bytes came back", back.len());
    assert!(matches!(agent.read_file("/nowhere", &mut back).await, Err(AgentError::Refused { .. })));

    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    agent.set_time(then, BOOT).await.unwrap();
    let now = agent.time().await.unwrap();
    assert!(now.duration_since(then).unwrap() < Duration::from_secs(60), "{now:?}");

    agent.reseed(&[0x5a; 64], BOOT).await.unwrap();
    let none = Duration::ZERO;
    assert!(matches!(agent.reseed(&[1; 64], none).await, Err(AgentError::TimedOut { command: "guest-file-open", .. })));
    assert!(matches!(agent.set_time(then, none).await, Err(AgentError::TimedOut { command: "guest-set-time", .. })));

    assert_eq!(agent.fs_status().await.unwrap(), FsStatus::Thawed);
    agent.fs_freeze().await.unwrap();
    agent.fs_thaw().await.unwrap();
    assert_eq!(agent.fs_status().await.unwrap(), FsStatus::Thawed);

    // Another handle, as after a daemon's restart, and the agent still answers.
    drop(machine);
    let machine = Machine::adopt(place.runtime().path()).await.unwrap().unwrap();
    ready(&machine).await;
    let (step, exit) = machine.shutdown(Deadlines::default()).await.unwrap();
    assert_eq!((step, exit), (ShutdownStep::Agent, Exit::PoweredOff));
}

#[tokio::test]
async fn guest_that_reboots_comes_back_with_its_agent() {
    let place = Place::new();
    let machine = start(micro(&place).await).await.unwrap().machine;
    ready(&machine).await;
    let mut events = machine.events();
    machine.reset().await.unwrap();
    wait_for(&mut events, "agent's end", |event| *event == MachineEvent::AgentPort { open: false }).await;
    assert!(matches!(machine.agent().ping(BOOT).await, Err(AgentError::NotThere)));
    ready(&machine).await;
    let output = machine.agent().exec(&exec(&["cat", "/proc/uptime"])).await.unwrap();
    assert!(output.success());
    machine.kill().unwrap();
    ended(&machine).await;
}

#[tokio::test]
async fn paused_guest_is_cut_off_without_waiting_for_it() {
    let place = Place::new();
    let machine = start(micro(&place).await).await.unwrap().machine;
    ready(&machine).await;
    machine.pause().await.unwrap();
    let begun = std::time::Instant::now();
    let (step, exit) = machine.shutdown(Deadlines::default()).await.unwrap();
    assert_eq!((step, exit), (ShutdownStep::Quit, Exit::Quit));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn ordinary_kernel_proves_an_accelerator() {
    let kernel = image().join("kernel");
    let qemu = common::qemu();
    let translated = prove(&qemu, Accelerator::Tcg, Some(&kernel), Some(NOBODY), DEFAULT_LIMIT * 3).await;
    assert!(translated.usable, "{translated:?}");
    // Whatever this host's KVM is like: the answer comes in time and says why.
    let limit = Duration::from_secs(6);
    let virtualized = prove(&qemu, Accelerator::Kvm, Some(&kernel), None, limit).await;
    println!("{virtualized:?}");
    assert!(!virtualized.why.is_empty() && virtualized.took < limit + Duration::from_secs(5), "{virtualized:?}");
    if !Path::new("/dev/kvm").exists() {
        assert!(!virtualized.usable);
    }
}
