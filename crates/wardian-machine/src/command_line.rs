//! The QEMU command line as a pure function, with the reasons for what is on it.
//!
//! * **`pc`, not `q35` or `microvm`** (see [`crate::MACHINE_TYPE`]). Measured under TCG, kernel and initramfs to the
//!   first process: 2.0 s with each of the three. `microvm` has no PCI bus ordinary guests expect and no vmgenid by
//!   default; of the other two `pc` takes hot-plugged devices without root ports, and imported BIOS guests expect it.
//! * **`graphics=off`**: there is no display, so the firmware talks on the serial console; 0.1 s less to boot.
//! * **Every PCI device has a fixed slot.** Guests derive interface names from slots; adding a disk or a seed must not
//!   rename a network card. Slot 2 is kept for a display.
//! * **Sockets and the console log come as descriptors**, so QEMU never needs to write in the runtime directory.
//! * **Memory is a shared file** while one process has it, so that it can be handed on, and a private mapping of one
//!   that nobody writes (`share=off,readonly=on,rom=off`: opened for reading only, what the guest writes is the
//!   process's own) in each child.
//! * **Disks go through the host's page cache** (`cache.direct=off`, flushes honoured): many overlays share one base
//!   image and therefore its cached pages, and file systems without O_DIRECT work. A guest's flush still reaches the
//!   disk.
//! * **A full host disk pauses the machine** (`werror=enospc`) instead of breaking the guest's file system; other
//!   errors are the guest's to see, as with a real disk.
//! * **A guest that powers off leaves QEMU stopped in the state `shutdown`** (`-action shutdown=pause`), and whoever
//!   holds the [`crate::Machine`] ends it. An orderly power-off is so never mistaken for a crash, even if it happened
//!   while no daemon ran.
//! * **A guest's reset is only a reset**, and its panic is its own affair (`panic=none`): it is reported, and the
//!   guest's settings decide whether it reboots or dumps.

use std::os::fd::RawFd;
use std::path::Path;

use serde_json::json;

use crate::launch::{Accelerator, Disk, DiskFormat, Launch, Memory};

/// Name of the virtio port every distribution's guest agent opens.
pub(crate) const AGENT_PORT: &str = "org.qemu.guest_agent.0";
/// Id of the agent's character device, as `query-chardev` and events name it.
pub(crate) const AGENT_ID: &str = "agent";

/// What a translated guest sees: x86-64-v2 (the least today's distributions ask for) and no more. A boot takes a tenth
/// less processor time than with `max`, whose wide vectors guests use and TCG emulates slowly; and the same model
/// everywhere is what moving between hosts will need.
const TCG_MODEL: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+lahf-lm";

/// TCG's translation cache in MiB. QEMU's own default is up to 1 GiB, far above any overhead a cgroup would allow.
const TRANSLATION_CACHE_MIB: u32 = 128;

const SLOT_SERIAL: usize = 0x03;
const SLOT_RNG: usize = 0x04;
const SLOT_PANIC: usize = 0x05;
/// Behind the disks, so that the first of them is `vda` with a seed and without.
const SLOT_SEED: usize = 0x1c;
const SLOT_INTERFACES: usize = 0x08;
const SLOT_DISKS: usize = 0x10;

/// The PCI slot, on bus 0, in which a guest finds the network interface of that index.
#[must_use]
pub const fn interface_slot(index: usize) -> usize {
    SLOT_INTERFACES + index
}

/// The numbers under which the QEMU process finds what it was handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptors {
    /// Listening socket of the monitor.
    pub qmp: RawFd,
    /// Listening socket of the guest agent's port.
    pub agent: RawFd,
    /// Listening socket of the serial console.
    pub console: RawFd,
    /// The console's log, opened for appending only.
    pub console_log: RawFd,
    /// The taps, in the order of [`Launch::interfaces`].
    pub taps: Vec<RawFd>,
}

/// The arguments for QEMU, without the binary's own name.
pub fn command_line(launch: &Launch, descriptors: &Descriptors) -> Vec<String> {
    let mut line = Line(Vec::with_capacity(80));
    line.flag("-no-user-config");
    line.flag("-nodefaults");
    line.option("-display", "none");
    line.option("-name", format!("guest={},debug-threads=on", doubled(&launch.name)));
    line.option("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    line.option("-msg", "timestamp=on");
    line.option("-uuid", launch.uuid.to_string());
    line.option("-smbios", format!("type=1,manufacturer=Wardian,product=Machine,uuid={}", launch.uuid));
    platform(launch, &mut line);
    control(descriptors, &mut line);
    for (index, disk) in launch.disks.iter().enumerate() {
        block(&mut line, &format!("disk{index}"), disk, SLOT_DISKS + index, Some(index + 1));
    }
    if let Some(seed) = &launch.seed {
        let seed = Disk { path: seed.clone(), format: DiskFormat::Raw, serial: "seed".to_owned(), read_only: true };
        block(&mut line, "seed", &seed, SLOT_SEED, None);
    }
    interfaces(launch, descriptors, &mut line);
    if let Some(boot) = &launch.kernel {
        line.option("-kernel", text(&boot.kernel));
        if let Some(initrd) = &boot.initrd {
            line.option("-initrd", text(initrd));
        }
        line.option("-append", boot.command_line.clone());
    }
    if launch.paused || launch.incoming {
        line.flag("-S");
    }
    if launch.incoming {
        line.option("-incoming", "defer");
    }
    line.0
}

fn platform(launch: &Launch, line: &mut Line) {
    line.option("-machine", format!("{},memory-backend=memory,graphics=off,usb=off,vmport=off", launch.machine_type));
    line.option(
        "-accel",
        match launch.accelerator {
            Accelerator::Kvm => "kvm".to_owned(),
            Accelerator::Tcg => format!("tcg,thread=multi,tb-size={TRANSLATION_CACHE_MIB}"),
        },
    );
    let model = launch.cpu_model.as_deref().unwrap_or(match launch.accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg => TCG_MODEL,
    });
    line.option("-cpu", model);
    line.option("-smp", format!("cpus={0},sockets=1,cores={0},threads=1", launch.cpus));
    line.option("-m", format!("size={}M", launch.memory_bytes >> 20));
    line.option("-object", memory(launch));
    line.option("-rtc", "base=utc,clock=host,driftfix=slew");
    line.option("-boot", "menu=off,strict=on");
    line.option("-action", "reboot=reset,shutdown=pause,panic=none");
    line.option("-device", format!("vmgenid,guid={}", launch.generation_id));
    line.option("-device", format!("pvpanic-pci,id=panic,addr={SLOT_PANIC:#04x}"));
    line.option("-object", "rng-random,id=entropy,filename=/dev/urandom");
    line.option("-device", format!("virtio-rng-pci,id=rng,rng=entropy,addr={SLOT_RNG:#04x}"));
}

fn memory(launch: &Launch) -> String {
    let size = launch.memory_bytes >> 20;
    let file = |path: &Path, how: &str| {
        format!("memory-backend-file,id=memory,size={size}M,mem-path={},{how}", doubled(&text(path)))
    };
    match &launch.memory {
        Memory::Anonymous => format!("memory-backend-memfd,id=memory,size={size}M,share=on"),
        Memory::Shared { path } => file(path, "share=on"),
        Memory::Frozen { path } => file(path, "share=off,readonly=on,rom=off"),
    }
}

/// Monitor, agent port and serial console.
fn control(descriptors: &Descriptors, line: &mut Line) {
    line.option("-chardev", format!("socket,id=qmp,fd={},server=on,wait=off", descriptors.qmp));
    line.option("-mon", "chardev=qmp,mode=control");
    line.option("-add-fd", format!("fd={},set=1,opaque=console-log", descriptors.console_log));
    line.option(
        "-chardev",
        format!("socket,id=console,fd={},server=on,wait=off,logfile=/dev/fdset/1,logappend=on", descriptors.console),
    );
    line.option("-serial", "chardev:console");
    line.option("-device", format!("virtio-serial-pci,id=ports,addr={SLOT_SERIAL:#04x}"));
    line.option("-chardev", format!("socket,id={AGENT_ID},fd={},server=on,wait=off", descriptors.agent));
    line.option("-device", format!("virtserialport,id=agent-port,bus=ports.0,chardev={AGENT_ID},name={AGENT_PORT}"));
}

fn block(line: &mut Line, node: &str, disk: &Disk, slot: usize, boot_index: Option<usize>) {
    let file = format!("{node}-file");
    // JSON and not key=value: a path may hold commas and equal signs.
    let protocol = json!({
        "driver": "file",
        "node-name": file,
        "filename": text(&disk.path),
        "read-only": disk.read_only,
        "auto-read-only": false,
        "discard": "unmap",
        "cache": { "direct": false, "no-flush": false },
    });
    let format = json!({
        "driver": match disk.format { DiskFormat::Qcow2 => "qcow2", DiskFormat::Raw => "raw" },
        "node-name": node,
        "file": file,
        "read-only": disk.read_only,
        "auto-read-only": false,
        "discard": "unmap",
    });
    line.option("-blockdev", protocol.to_string());
    line.option("-blockdev", format.to_string());
    let mut device = format!(
        "virtio-blk-pci,id={node}-device,drive={node},serial={},addr={slot:#04x},werror={},rerror=report",
        disk.serial,
        if disk.read_only { "report" } else { "enospc" },
    );
    if let Some(index) = boot_index {
        device.push_str(&format!(",bootindex={index}"));
    }
    line.option("-device", device);
}

fn interfaces(launch: &Launch, descriptors: &Descriptors, line: &mut Line) {
    for (index, (interface, tap)) in launch.interfaces.iter().zip(&descriptors.taps).enumerate() {
        let mac = interface.mac.map(|byte| format!("{byte:02x}")).join(":");
        line.option("-netdev", format!("tap,id=net{index},fd={tap},vhost=off"));
        // An empty option ROM: nobody boots from the network, and loading iPXE costs time at every boot.
        let mut device = format!(
            "virtio-net-pci,id=net{index}-device,netdev=net{index},mac={mac},romfile=,addr={:#04x}",
            SLOT_INTERFACES + index
        );
        if let Some(mtu) = interface.mtu {
            device.push_str(&format!(",host_mtu={mtu}"));
        }
        line.option("-device", device);
    }
}

/// Doubles commas, QEMU's quoting in key=value options.
fn doubled(value: &str) -> String {
    value.replace(',', ",,")
}

/// A path as text. [`Launch::check`] has refused paths that are not UTF-8.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

struct Line(Vec<String>);

impl Line {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn option(&mut self, flag: &str, value: impl Into<String>) {
        self.0.push(flag.to_owned());
        self.0.push(value.into());
    }
}
