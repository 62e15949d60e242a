//! What a machine may use: cgroup limits, a full disk, a tap in another network namespace.

mod common;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{Place, ended, wait_for};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use wardian_machine::cgroup::{Controller, detect};
use wardian_machine::{
    Disk, DiskFormat, Exit, Interface, Launch, Limits, MachineEvent, Memory, RunState, StartError, start, succession,
};

/// A cgroup of one test; removed with its parent, also when the test fails.
struct Group(String);

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if detect().remove(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn group(name: &str) -> Group {
    assert!(!detect().mounts().is_empty(), "this test needs writable cgroups: {:?}", detect());
    Group(format!("wardian-test-{}-{name}/machine", std::process::id()))
}

#[tokio::test]
async fn machine_lives_in_its_cgroup_from_the_start() {
    let group = group("lives");
    let place = Place::new();
    let limits = Limits { cpu_percent: Some(50), ..Limits::default() };
    let started = start(Launch { cgroup: Some(group.0.clone()), limits, ..place.launch() }).await.unwrap();
    assert_eq!(started.unenforced, Vec::<String>::new());
    for mount in detect().mounts() {
        let inside = std::fs::read_to_string(mount.root.join(&group.0).join("cgroup.procs")).unwrap();
        assert_eq!(inside.trim(), started.machine.pid().to_string(), "{}", mount.root.display());
    }
    assert!(detect().remove(&group.0).is_err(), "a group with a process in it stays");
    started.machine.kill().unwrap();
    ended(&started.machine).await;
    detect().remove(&group.0).unwrap();
    detect().remove(&group.0).unwrap();
}

#[tokio::test]
async fn successor_joins_the_group_and_raises_its_limit() {
    let group = group("joins");
    let place = Place::new();
    let path = place.path().join("memory");
    let with = |memory| Launch { cgroup: Some(group.0.clone()), memory, ..place.launch() };
    let source = start(with(Memory::Shared { path: path.clone() })).await.unwrap();
    let memory = detect().mounts().iter().find(|m| m.controllers.contains(&Controller::Memory)).unwrap().root.clone();
    let file = if detect().is_version_2() { "memory.max" } else { "memory.limit_in_bytes" };
    let limit = || std::fs::read_to_string(memory.join(&group.0).join(file)).unwrap().trim().parse::<u64>().unwrap();
    assert_eq!(limit(), (32 << 20) + (512 << 20));
    wardian_machine::memory::freeze(&path).unwrap();
    let directory = succession::prepare(place.runtime().path()).unwrap();
    let successor = start(Launch { directory, incoming: true, ..with(Memory::Frozen { path }) }).await.unwrap();
    assert_eq!(limit(), (64 << 20) + (512 << 20));
    let inside = std::fs::read_to_string(memory.join(&group.0).join("cgroup.procs")).unwrap();
    for machine in [&source.machine, &successor.machine] {
        assert!(inside.lines().any(|line| line == machine.pid().to_string()), "{inside}");
    }
    succession::end_other(place.runtime().path()).await.unwrap();
    source.machine.kill().unwrap();
    ended(&source.machine).await;
}

#[tokio::test]
async fn kill_for_want_of_memory_is_told() {
    let group = group("memory");
    let place = Place::new();
    // Far too little for QEMU itself.
    let limits = Limits { memory_overhead_bytes: Some(0), ..Limits::default() };
    let launch = Launch { cgroup: Some(group.0.clone()), limits, memory_bytes: 16 << 20, ..place.launch() };
    let exit = match start(launch).await {
        Ok(started) => ended(&started.machine).await,
        Err(StartError::Ended { exit, .. }) => exit,
        Err(error) => panic!("{error:?}"),
    };
    assert!(matches!(exit, Exit::Killed { signal: 9, out_of_memory: true, .. }), "{exit:?}");
    assert!(exit.to_string().contains("memory limit"));
}

/// A small file system; unmounted on drop.
struct Small(PathBuf);

impl Small {
    fn new(path: PathBuf, options: &str) -> Self {
        std::fs::create_dir(&path).unwrap();
        mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        Small(path)
    }

    fn resize(&self, options: &str) {
        mount(Some("none"), &self.0, Some("tmpfs"), MsFlags::MS_REMOUNT, Some(options)).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Boot sector: writes 64 sectors at a time from 1 MiB on without end (INT 13h, AH=43h).
const WRITE: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, // ds = 0
    0x83, 0x06, 0x28, 0x7c, 0x40, // packet.lba += 64
    0xbe, 0x20, 0x7c, // si = packet
    0xb2, 0x80, // first disk
    0xb8, 0x00, 0x43, 0xcd, 0x13, // write
    0xeb, 0xeb, // again
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, //
    // At 0x20, the packet: size 16, 64 sectors, buffer 0x1000:0, LBA 2048.
    0x10, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];

#[tokio::test]
async fn full_host_disk_pauses_the_machine_until_there_is_room() {
    let place = Place::new();
    let small = Small::new(place.path().join("small"), "size=2m");
    let disk = place.boot_sector(WRITE);
    let path = small.0.join("disk.raw");
    std::fs::copy(&disk.path, &path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
    std::os::unix::fs::chown(&path, Some(common::NOBODY.uid), None).unwrap();
    let launch = Launch { disks: vec![Disk { path, format: DiskFormat::Raw, ..disk }], paused: true, ..place.launch() };
    let machine = start(launch).await.unwrap().machine;
    let mut events = machine.events();
    machine.resume().await.unwrap();
    let full = |event: &MachineEvent| matches!(event, MachineEvent::BlockIoError { no_space: true, paused: true, node, .. } if node == "disk0");
    wait_for(&mut events, "full disk", full).await;
    assert_eq!(machine.status().await.unwrap().state, RunState::IoError);
    small.resize("size=4m");
    machine.resume().await.unwrap();
    // It goes on writing and fills the new room too: nothing was lost and nothing gave up.
    wait_for(&mut events, "full disk again", full).await;
    let written = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(small.0.join("disk.raw")).unwrap()) * 512;
    assert!(written > 2 << 20, "{written}");
    machine.kill().unwrap();
    ended(&machine).await;
}

/// A tap in a network namespace of its own, and the thread's way back.
fn tap_elsewhere() -> (OwnedFd, Box<dyn Fn() -> bool + Send>) {
    // A thread of its own: a namespace belongs to a thread, and this one ends with it.
    let make = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
        // SAFETY: an ifreq of zeros is valid; TUNSETIFF reads the name and flags and writes the name.
        unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
            request.ifr_name[..4].copy_from_slice(&[b't' as i8, b'a' as i8, b'p' as i8, b'7' as i8]);
            assert_eq!(libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request), 0, "needs root and tun");
        }
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        (OwnedFd::from(file), namespace)
    };
    let (tap, namespace) = std::thread::spawn(make).join().unwrap();
    let attached = move || {
        let namespace = namespace.try_clone().unwrap();
        let look = move || {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            table.contains("tap7:")
        };
        std::thread::spawn(look).join().unwrap()
    };
    (tap, Box::new(attached))
}

#[tokio::test]
async fn tap_of_another_namespace_works_by_descriptor_and_goes_with_qemu() {
    let place = Place::new();
    let (tap, exists) = tap_elsewhere();
    assert!(exists());
    let interface = Interface { mac: [2, 0, 0, 0, 0, 7], tap, mtu: Some(1400) };
    let machine = start(Launch { interfaces: vec![interface], ..place.launch() }).await.unwrap().machine;
    assert!(exists(), "QEMU alone keeps it");
    let answer = machine.qmp().execute("query-rx-filter", None).await.unwrap();
    assert_eq!(answer[0]["main-mac"], "02:00:00:00:00:07");
    machine.kill().unwrap();
    ended(&machine).await;
    for _ in 0..100 {
        if !exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the tap is still there");
}
