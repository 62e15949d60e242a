//! The whole command line, as snapshots: every change of it shows in review.

use std::path::PathBuf;

use uuid::Uuid;
use wardian_machine::{
    Accelerator, BadLaunch, Descriptors, Disk, DiskFormat, Interface, KernelBoot, Launch, Limits, MACHINE_TYPE, Memory,
    command_line,
};

fn small() -> Launch {
    Launch {
        name: "web".to_owned(),
        directory: PathBuf::from("/run/wardian/m/1"),
        qemu: PathBuf::from("/usr/bin/qemu-system-x86_64"),
        machine_type: MACHINE_TYPE.to_owned(),
        accelerator: Accelerator::Kvm,
        cpu_model: None,
        cpus: 1,
        memory_bytes: 192 << 20,
        memory: Memory::Anonymous,
        disks: Vec::new(),
        seed: None,
        kernel: None,
        interfaces: Vec::new(),
        uuid: Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888),
        generation_id: Uuid::from_u128(0x9999_aaaa_bbbb_cccc_dddd_eeee_ffff_0000),
        user: None,
        cgroup: None,
        limits: Limits::default(),
        paused: false,
        incoming: false,
    }
}

fn disk(path: &str, serial: &str) -> Disk {
    Disk { path: PathBuf::from(path), format: DiskFormat::Qcow2, serial: serial.to_owned(), read_only: false }
}

fn descriptors(taps: usize) -> Descriptors {
    Descriptors { qmp: 20, agent: 21, console: 22, console_log: 23, taps: (24..).take(taps).collect() }
}

/// One option with its value per line.
fn text(launch: &Launch) -> String {
    let words = command_line(launch, &descriptors(launch.interfaces.len()));
    let mut text = String::new();
    for word in &words {
        if word.starts_with('-') && !text.is_empty() {
            text.push('\n');
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

#[test]
fn machine_with_nothing_still_has_its_controls() {
    insta::assert_snapshot!(text(&small()));
}

#[test]
fn machine_with_everything() {
    let tap = |mac, mtu| {
        let tap = std::fs::File::open("/dev/null").unwrap().into();
        Interface { mac, tap, mtu }
    };
    let launch = Launch {
        name: "store, the web=server".to_owned(),
        accelerator: Accelerator::Tcg,
        cpu_model: Some("Nehalem".to_owned()),
        cpus: 3,
        disks: vec![
            disk("/var/lib/wardian/a,b=c \"d\".qcow2", "root"),
            Disk { format: DiskFormat::Raw, read_only: true, ..disk("/data.raw", "data") },
        ],
        seed: Some(PathBuf::from("/var/lib/wardian/seed.iso")),
        kernel: Some(KernelBoot {
            kernel: PathBuf::from("/images/kernel"),
            initrd: Some(PathBuf::from("/images/initrd")),
            command_line: "console=ttyS0 root=/dev/vda rw,quiet".to_owned(),
        }),
        interfaces: vec![tap([2, 0, 0, 0, 0, 1], Some(1450)), tap([2, 0, 0, 0, 0, 0xfe], None)],
        paused: true,
        ..small()
    };
    launch.check().unwrap();
    insta::assert_snapshot!(text(&launch));
}

#[test]
fn memory_in_a_file_is_shared_by_one_and_private_to_its_children() {
    let path = PathBuf::from("/dev/shm/wardian/a,b");
    let with = |memory, incoming| {
        let lines = text(&Launch { memory, incoming, ..small() });
        let told = |line: &&str| ["id=memory", "-incoming", "-S"].iter().any(|part| line.contains(part));
        lines.lines().filter(told).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(with(Memory::Shared { path: path.clone() }, false), @"-object memory-backend-file,id=memory,size=192M,mem-path=/dev/shm/wardian/a,,b,share=on");
    insta::assert_snapshot!(with(Memory::Frozen { path }, true), @r"
    -object memory-backend-file,id=memory,size=192M,mem-path=/dev/shm/wardian/a,,b,share=off,readonly=on,rom=off
    -S
    -incoming defer
    ");
}

#[test]
fn slot_of_a_network_card_does_not_depend_on_disks() {
    let card = || Interface { mac: [2; 6], tap: std::fs::File::open("/dev/null").unwrap().into(), mtu: None };
    let slot = |launch: &Launch| {
        let line = text(launch);
        let device = line.lines().find(|l| l.contains("virtio-net-pci")).unwrap();
        device.split(',').find(|part| part.starts_with("addr=")).unwrap().to_owned()
    };
    let bare = Launch { interfaces: vec![card()], ..small() };
    let full = Launch {
        interfaces: vec![card()],
        disks: (0..12).map(|i| disk("/d", &format!("d{i}"))).collect(),
        seed: Some(PathBuf::from("/s")),
        ..small()
    };
    assert_eq!(slot(&bare), slot(&full));
}

#[test]
fn settings_qemu_would_refuse_late_are_refused_early() {
    let refused = |change: &dyn Fn(&mut Launch)| {
        let mut launch = small();
        change(&mut launch);
        launch.check().unwrap_err()
    };
    assert_eq!(refused(&|l| l.cpus = 0), BadLaunch::Cpus(0));
    assert_eq!(refused(&|l| l.memory_bytes = 0), BadLaunch::Memory(0));
    assert_eq!(refused(&|l| l.memory_bytes = (64 << 20) + 1), BadLaunch::Memory((64 << 20) + 1));
    assert_eq!(refused(&|l| l.disks = vec![disk("/d", "x"); 13]), BadLaunch::Disks(13));
    assert_eq!(refused(&|l| l.name = "a\nb".to_owned()), BadLaunch::Name("a\nb".to_owned()));
    for serial in ["", "has space", "a,b", "longer-than-twenty-bytes"] {
        assert_eq!(refused(&|l| l.disks = vec![disk("/d", serial)]), BadLaunch::Serial(serial.to_owned()));
    }
    assert_eq!(refused(&|l| l.disks = vec![disk("d.qcow2", "x")]), BadLaunch::Relative(PathBuf::from("d.qcow2")));
    let shared = |path: &str| Memory::Shared { path: PathBuf::from(path) };
    assert_eq!(refused(&|l| l.memory = shared("m")), BadLaunch::Relative(PathBuf::from("m")));
    assert_eq!(refused(&|l| l.memory = shared("/m\n")), BadLaunch::Path(PathBuf::from("/m\n")));
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(191 << 20).unwrap();
    let frozen = |path: &std::path::Path| Memory::Frozen { path: path.to_owned() };
    let size = refused(&|l| l.memory = frozen(file.path()));
    let path = file.path().to_owned();
    assert_eq!(size, BadLaunch::MemorySize { path, found: 191 << 20, wanted: 192 << 20 });
    file.as_file().set_len(192 << 20).unwrap();
    Launch { memory: frozen(file.path()), ..small() }.check().unwrap();
    let link = file.path().with_extension("link");
    std::os::unix::fs::symlink(file.path(), &link).unwrap();
    let refused_link = refused(&|l| l.memory = frozen(&link));
    std::fs::remove_file(&link).unwrap();
    assert!(matches!(refused_link, BadLaunch::MemoryMissing { .. }), "{refused_link}");
    let missing = refused(&|l| l.memory = frozen(&link));
    assert!(missing.to_string().contains("No such file"), "{missing}");
    assert_eq!(refused(&|l| l.seed = Some("/a\nb".into())), BadLaunch::Path(PathBuf::from("/a\nb")));
}
