//! The filter of a host: eBPF (`bpf/`) under its switches, carrying frames of virtual subnets between hosts.
//!
//! The program that takes frames from a switch sits on the host's end of the switch's uplink, the one that takes
//! envelopes sits on the device towards the other hosts; both by TCX. Where that device's driver can, it takes
//! envelopes off before (XDP). Tables and links are pinned in a BPF file system, so that traffic goes on while no
//! daemon runs, and the next daemon finds everything: it puts its own programs in the place of those that are there,
//! atomically, and goes on with the same tables.

mod counters;
mod early;
mod known;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{HashMap, MapData, MapError, PerCpuArray, PerCpuHashMap},
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType, TestRun, TestRunOptions,
        links::{FdLink, PinnedLink},
        tc::{SchedClassifierLink, TcAttachOptions},
    },
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use wardian_model::vsid::Vsid;
use wardian_plan::fabric::{Change, Encapsulation, Lookup, Switch};

pub use counters::{Carried, FilterCounters, Reason};
pub use early::TakenOff;

/// Compiled by `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filter.o"));

/// The filter of one host. Dropping it leaves everything as it is in the kernel.
pub struct Filter {
    bpf: Ebpf,
    pins: PathBuf,
}

/// Why the filter could not be made to do what it shall.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// No BPF file system could be had to keep tables in.
    #[error("no BPF file system can be mounted at {path}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel refuses the programs or their tables.
    #[error("the kernel refuses the packet filter; it needs Linux 6.6 or newer with eBPF")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A program could not be put at a device.
    #[error("the packet filter can't be put at {device}")]
    Attach {
        /// The device.
        device: String,
        /// What the kernel says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The device's driver takes no envelopes off.
    #[error("{device} or its driver can't take envelopes off (XDP)")]
    NoXdp {
        /// The device.
        device: String,
        /// What the kernel says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A program could not be taken away from a device.
    #[error("the packet filter's link {pin} can't be removed")]
    Detach {
        /// Where it is pinned.
        pin: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is pinned could not be removed.
    #[error("what the packet filter keeps at {path} can't be removed")]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel does not try a frame.
    #[error("the kernel can't say what the packet filter does with a frame")]
    Judge {
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such device.
    #[error("there is no device {device} on this host")]
    NoDevice {
        /// Its name.
        device: String,
        /// What the system says.
        source: io::Error,
    },
    /// A table could not be read or changed.
    #[error("the packet filter's table {table} can't be {doing}")]
    Table {
        /// Its name.
        table: &'static str,
        /// The verb.
        doing: &'static str,
        /// What the kernel says: it may be full.
        source: MapError,
    },
}

/// The uplink of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The subnet.
    pub vsid: Vsid,
    /// Its routing domain.
    pub domain: u32,
    /// The host's end of the uplink.
    pub device: String,
    /// The device towards the other hosts.
    pub underlay: String,
    /// This host's provider address.
    pub here: Ipv4Addr,
    /// How frames of the subnet travel.
    pub encapsulation: Encapsulation,
    /// The largest IP packet of a guest that fits ([`Encapsulation::guest_mtu`]).
    pub mtu: u16,
}

/// Which of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that takes frames from a switch.
    Leave,
    /// The one that takes what comes from other hosts.
    Arrive,
}

/// What the filter does with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It drops it.
    Dropped,
    /// It leaves it to others.
    NotOurs,
    /// It sends it on, to a switch or another host, as these bytes.
    Sent(Vec<u8>),
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Arrive => "arrive",
        }
    }
}

impl Filter {
    /// Loads the programs, with the tables that are pinned in the BPF file system at `pins`, or new ones. It is mounted
    /// if there is none yet. Devices are looked for in the network namespace of the calling thread, here and later.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(pins: &Path) -> Result<Self, FilterError> {
        mount_at(pins).map_err(|source| FilterError::Mount { path: pins.to_owned(), source })?;
        let load = |error: Box<dyn std::error::Error + Send + Sync>| FilterError::Load(error);
        let mut bpf =
            EbpfLoader::new().default_map_pin_directory(pins).load(OBJECT).map_err(|error| load(error.into()))?;
        for side in [Side::Leave, Side::Arrive] {
            program(&mut bpf, side).and_then(SchedClassifier::load).map_err(|error| load(error.into()))?;
        }
        Ok(Self { bpf, pins: pins.to_owned() })
    }

    /// Takes envelopes for `here` from a device towards the other hosts, whose hardware address is `mac`, and answers
    /// there for the provider addresses of machines that are here.
    ///
    /// # Errors
    /// When the kernel refuses, or there is no such device.
    pub fn receive(&mut self, device: &str, mac: [u8; 6], here: Ipv4Addr) -> Result<(), FilterError> {
        self.put("own", here.octets(), 1u8)?;
        let face = self.table::<u32, tables::FaceValue>("faces")?.get(&index(device)?, 0).ok();
        let early = face.as_ref().is_some_and(tables::is_early);
        self.put("faces", index(device)?, tables::face(mac, early))?;
        self.attach(Side::Arrive, device)
    }

    /// As [`Self::receive`], and from no other device, for no other address: what an earlier daemon received is
    /// forgotten.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn receive_only(&mut self, device: &str, mac: [u8; 6], here: Ipv4Addr) -> Result<(), FilterError> {
        self.receive(device, mac, here)?;
        for (address, _) in self.rows::<[u8; 4], u8>("own")? {
            if address != here.octets() {
                self.remove::<_, u8>("own", address)?;
            }
        }
        let device = index(device)?;
        let own = [format!("{}{device}", early::PIN), format!("{}-{device}", Side::Arrive.name())];
        for pin in pinned(&self.pins)? {
            let name = pin.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let receives = name.starts_with(early::PIN) || name.starts_with("arrive-");
            if receives && own.iter().all(|own| own != name) {
                std::fs::remove_file(&pin).map_err(|source| FilterError::Detach { pin, source })?;
            }
        }
        for (other, _) in self.rows::<u32, tables::FaceValue>("faces")? {
            if other != device {
                self.remove::<_, tables::FaceValue>("faces", other)?;
            }
        }
        Ok(())
    }

    /// Connects a switch. If it had another uplink, that is forgotten. Its subnet's policy ([`Self::apply`]) may come
    /// before or after.
    ///
    /// # Errors
    /// When the kernel refuses, or there is no such device.
    pub fn connect(&mut self, uplink: &Uplink) -> Result<(), FilterError> {
        let (device, underlay) = (index(&uplink.device)?, index(&uplink.underlay)?);
        let port = tables::port(uplink, underlay);
        let before = self.table::<u32, u32>("switches")?.get(&uplink.vsid.number(), 0).ok();
        self.put("ports", device, port)?;
        self.put("switches", uplink.vsid.number(), device)?;
        self.attach(Side::Leave, &uplink.device)?;
        before.filter(|before| *before != device).map_or(Ok(()), |before| self.abandon(before))
    }

    /// Takes frames of a subnet from one more device, besides its switch's uplink. Nothing is given to it.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_beside(&mut self, uplink: &Uplink) -> Result<(), FilterError> {
        let (device, underlay) = (index(&uplink.device)?, index(&uplink.underlay)?);
        self.put("ports", device, tables::port(uplink, underlay))?;
        self.attach(Side::Leave, &uplink.device)
    }

    /// Forgets a switch, and all devices that frames of its subnet are taken from; they may be gone already. Fine if
    /// there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn disconnect(&mut self, vsid: Vsid) -> Result<(), FilterError> {
        self.remove::<_, u32>("switches", vsid.number())?;
        for (device, port) in self.rows::<u32, tables::PortValue>("ports")? {
            if tables::is_of(&port, vsid) {
                self.abandon(device)?;
            }
        }
        Ok(())
    }

    /// Takes no more frames from the end of an uplink, which may be gone already.
    fn abandon(&mut self, device: u32) -> Result<(), FilterError> {
        self.remove::<_, tables::PortValue>("ports", device)?;
        let pin = self.pin(Side::Leave, device);
        if let Ok(link) = PinnedLink::from_pin(&pin) {
            link.unpin().map_err(|source| FilterError::Detach { pin, source })?;
        }
        Ok(())
    }

    /// Changes what the filter knows. Each change is one step for the frames that pass meanwhile, and can be made
    /// again.
    ///
    /// # Errors
    /// When a table is full, or the kernel refuses.
    pub fn apply(&mut self, change: &Change) -> Result<(), FilterError> {
        match change {
            Change::Vacate { vsid, mac } => {
                self.remove::<_, tables::StationValue>("stations", tables::station_key(*vsid, *mac))
            }
            Change::Place { vsid, mac, provider } => {
                self.put("stations", tables::station_key(*vsid, *mac), provider.octets())
            }
            Change::Know { vsid, address, lookup } => self.know(*vsid, *address, lookup),
            Change::Forget { vsid, address, was } => {
                if let Some(rewrite) = was.rewrite {
                    self.remove::<_, [u8; 4]>("outsides", tables::inside_key(rewrite.domain, *address))?;
                    self.remove::<_, tables::OwnerValue>("owners", rewrite.address.octets())?;
                }
                self.remove::<_, tables::AddressValue>("addresses", tables::address_key(*vsid, *address))
            }
            Change::Open { vsid, switch, gone } => self.open_subnet(*vsid, switch, gone),
            Change::Close { vsid, was } => {
                self.remove::<_, tables::FloodValue>("floods", vsid.number())?;
                self.forget_peers(*vsid, &was.peers)
            }
        }
    }

    /// In such an order, here and where it is forgotten, that [`Self::known`] sees where a daemon was killed.
    fn know(&mut self, vsid: Vsid, address: Ipv4Addr, lookup: &Lookup) -> Result<(), FilterError> {
        self.put("addresses", tables::address_key(vsid, address), tables::address(lookup))?;
        if let Some(rewrite) = lookup.rewrite {
            let own = rewrite.address.octets();
            self.put("owners", own, tables::owner(vsid, address, lookup, rewrite))?;
            self.put("outsides", tables::inside_key(rewrite.domain, address), own)?;
        }
        Ok(())
    }

    fn open_subnet(&mut self, vsid: Vsid, switch: &Switch, gone: &BTreeSet<Ipv4Addr>) -> Result<(), FilterError> {
        self.forget_peers(vsid, gone)?;
        for peer in &switch.peers {
            self.put("peers", tables::peer_key(vsid, *peer), 1u8)?;
        }
        self.put("floods", vsid.number(), tables::flood(&switch.peers))
    }

    fn forget_peers(&mut self, vsid: Vsid, gone: &BTreeSet<Ipv4Addr>) -> Result<(), FilterError> {
        gone.iter().try_for_each(|peer| self.remove::<_, u8>("peers", tables::peer_key(vsid, *peer)))
    }

    /// Takes away all that a filter keeps at `pins`: programs, tables, and the file system they are in. Fine if there
    /// is nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove_all(pins: &Path) -> Result<(), FilterError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FilterError::Remove { path, source }
        };
        while is_mounted(pins).map_err(failed(pins))? {
            // One by one: what is mounted elsewhere too would live on.
            for pin in pinned(pins)? {
                std::fs::remove_file(&pin).map_err(failed(&pin))?;
            }
            umount2(pins, MntFlags::MNT_DETACH).map_err(|error| failed(pins)(error.into()))?;
        }
        match std::fs::remove_dir(pins) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(pins)(error)),
            _ => Ok(()),
        }
    }

    /// What was counted until now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counters(&self) -> Result<FilterCounters, FilterError> {
        let mut dropped = BTreeMap::new();
        let drops: PerCpuArray<_, u64> = self.map("drops").and_then(PerCpuArray::try_from).map_err(read("drops"))?;
        for (index, reason) in (0..).zip(Reason::ALL) {
            let counts = drops.get(&index, 0).map_err(read("drops"))?;
            dropped.insert(reason, counts.iter().sum());
        }
        let mut carried: BTreeMap<Vsid, Carried> = BTreeMap::new();
        let traffic: PerCpuHashMap<_, u32, [u64; 4]> =
            self.map("traffic").and_then(PerCpuHashMap::try_from).map_err(read("traffic"))?;
        for entry in traffic.iter() {
            let (vsid, counts) = entry.map_err(read("traffic"))?;
            if let Ok(vsid) = Vsid::try_from(vsid) {
                let sum = carried.entry(vsid).or_default();
                counts.iter().for_each(|counts| sum.add(*counts));
            }
        }
        Ok(FilterCounters { carried, dropped })
    }

    /// What the filter does with a frame at a device, without doing it; but it counts, and copies of broadcasts are
    /// sent.
    ///
    /// # Errors
    /// When there is no such device, or the frame has less than the 60 bytes of the smallest Ethernet frame, or more
    /// than about 3,500.
    pub fn judge(&self, side: Side, device: &str, frame: &[u8]) -> Result<Verdict, FilterError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| FilterError::Judge { source };
        let program = self.bpf.program(side.name()).ok_or_else(|| failed(ProgramError::NotLoaded.into()))?;
        let program: &SchedClassifier = program.try_into().map_err(|error: ProgramError| failed(error.into()))?;
        // Of the context (struct __sk_buff) only the device's index is told.
        let mut context = [0; 192];
        context[40..44].copy_from_slice(&index(device)?.to_ne_bytes());
        let mut sent = vec![0; 4096];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut sent),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let outcome = program.test_run(options).map_err(|error| failed(error.into()))?;
        // TCX_NEXT, TC_ACT_SHOT and TC_ACT_REDIRECT (linux/bpf.h, linux/pkt_cls.h).
        Ok(match outcome.return_value.cast_signed() {
            -1 => Verdict::NotOurs,
            7 => {
                sent.truncate(outcome.data_size_out as usize);
                Verdict::Sent(sent)
            }
            _ => Verdict::Dropped,
        })
    }

    fn map(&self, name: &'static str) -> Result<&aya::maps::Map, MapError> {
        self.bpf.map(name).ok_or(MapError::InvalidName { name: name.to_owned() })
    }

    fn table<K: Pod, V: Pod>(&mut self, name: &'static str) -> Result<HashMap<&mut MapData, K, V>, FilterError> {
        let map = self.bpf.map_mut(name).ok_or(MapError::InvalidName { name: name.to_owned() });
        map.and_then(HashMap::try_from).map_err(read(name))
    }

    fn put<K: Pod, V: Pod>(&mut self, name: &'static str, key: K, value: V) -> Result<(), FilterError> {
        self.table(name)?.insert(key, value, 0).map_err(changed(name))
    }

    /// What is not there need not be removed.
    fn remove<K: Pod, V: Pod>(&mut self, name: &'static str, key: K) -> Result<(), FilterError> {
        match self.table::<K, V>(name)?.remove(&key) {
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(changed(name)),
        }
    }

    /// Puts a program at a device, in the place of an earlier daemon's where there is one.
    fn attach(&mut self, side: Side, device: &str) -> Result<(), FilterError> {
        let pin = self.pin(side, index(device)?);
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| FilterError::Attach {
            device: device.to_owned(),
            source,
        };
        let program = program(&mut self.bpf, side).map_err(|error| failed(error.into()))?;
        if let Ok(link) = PinnedLink::from_pin(&pin) {
            let link = SchedClassifierLink::try_from(FdLink::from(link)).map_err(|error| failed(error.into()))?;
            // The pin holds it, and not this process.
            if program.attach_to_link(link).and_then(|id| program.take_link(id)).is_ok() {
                return Ok(());
            }
            // Of a device that is gone, whose number another has now.
            std::fs::remove_file(&pin).map_err(|error| failed(error.into()))?;
        }
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = program
            .attach_with_options(device, TcAttachType::Ingress, first)
            .and_then(|id| program.take_link(id))
            .map_err(|error| failed(error.into()))?;
        let link = FdLink::try_from(link).map_err(|error| failed(error.into()))?;
        link.pin(&pin).map_err(|error| failed(error.into()))?;
        Ok(())
    }

    fn pin(&self, side: Side, device: u32) -> PathBuf {
        self.pins.join(format!("{}-{device}", side.name()))
    }
}

fn program(bpf: &mut Ebpf, side: Side) -> Result<&mut SchedClassifier, ProgramError> {
    let program = bpf.program_mut(side.name()).ok_or(ProgramError::NotLoaded)?;
    program.try_into()
}

fn index(device: &str) -> Result<u32, FilterError> {
    nix::net::if_::if_nametoindex(device)
        .map_err(|error| FilterError::NoDevice { device: device.to_owned(), source: error.into() })
}

fn changed(table: &'static str) -> impl FnOnce(MapError) -> FilterError {
    move |source| FilterError::Table { table, doing: "changed", source }
}

fn read(table: &'static str) -> impl FnOnce(MapError) -> FilterError + Copy {
    move |source| FilterError::Table { table, doing: "read", source }
}

/// What is pinned in the BPF file system at `pins`, in an order in which it can be taken away: what `early` has taken
/// out of its envelope, `arrive` must see. Names with dots are the kernel's own.
fn pinned(pins: &Path) -> Result<Vec<PathBuf>, FilterError> {
    let entries = std::fs::read_dir(pins).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|source| FilterError::Mount { path: pins.to_owned(), source })?;
    let mut pins: Vec<_> =
        entries.iter().map(std::fs::DirEntry::path).filter(|path| path.extension().is_none()).collect();
    let is_early = |pin: &PathBuf| pin.file_name().is_some_and(|name| name.to_string_lossy().starts_with(early::PIN));
    pins.sort_by_key(|pin| !is_early(pin));
    Ok(pins)
}

/// Whether a BPF file system is there.
fn is_mounted(path: &Path) -> io::Result<bool> {
    match nix::sys::statfs::statfs(path) {
        Ok(found) => Ok(found.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC),
        Err(nix::errno::Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Mounts a BPF file system there, unless there is one.
fn mount_at(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    if is_mounted(path)? {
        return Ok(());
    }
    mount(Some("bpf"), path, Some("bpf"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, None::<&str>)?;
    Ok(())
}
