//! A host, guests and the rest of the world, each a network namespace of its own. Nothing outside of them is touched.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test file uses its part

pub mod cluster;
pub mod fabric;
pub mod stretch;
pub mod talk;

use std::{
    fs::{self, File},
    future::Future,
    io::{Read, Write},
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns, unshare},
};
use serde_json::{Value, json};
use wardian_model::{environment::EnvironmentRecord, mac::MacAddress};
use wardian_network::{Network, NetworkConfig};
use wardian_plan::network::{LabConfig, NetworkPlan, environment, lab};

/// Runs `test` as a daemon on a host of its own would: on a thread in a fresh namespace that has loopback and a way to
/// `world`, a namespace with 203.0.113.2 (the host is 203.0.113.1).
pub fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces; run them as root");
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let world = Namespace::new(folder.path().join("world"));
            run("ip link set lo up");
            run(&format!("ip link add lan0 type veth peer name eth0 netns {}", world.path().display()));
            run("ip address add 203.0.113.1/24 dev lan0");
            run("ip link set lan0 up");
            world.run("ip link set lo up");
            world.run("ip address add 203.0.113.2/24 dev eth0");
            world.run("ip link set eth0 up");
            let resolv_conf = folder.path().join("resolv.conf");
            fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
            let mut config = NetworkConfig::new(folder.path().join("run"), "test", LabConfig::default());
            config.resolv_conf = resolv_conf;
            let network = Network::open(config).unwrap();
            let host = Host { network, world, folder };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(test(host));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

pub struct Host {
    pub network: Network,
    pub world: Namespace,
    pub folder: tempfile::TempDir,
}

impl Drop for Host {
    fn drop(&mut self) {
        // What a failed test left mounted.
        if let Ok(entries) = fs::read_dir(self.folder.path().join("run/netns")) {
            for entry in entries.flatten() {
                let _ = umount2(&entry.path(), MntFlags::MNT_DETACH);
            }
        }
    }
}

impl Host {
    /// Lab network and environments up, with their records' exposures.
    pub async fn up(&self, records: &[&EnvironmentRecord]) -> Vec<NetworkPlan> {
        self.lab(records).await;
        let mut plans = Vec::new();
        for record in records {
            let plan = environment(record, &LabConfig::default());
            self.network.ensure(&plan).await.unwrap();
            plans.push(plan);
        }
        plans
    }

    pub async fn lab(&self, records: &[&EnvironmentRecord]) {
        let doors: Vec<_> = records.iter().flat_map(|r| r.doors()).collect();
        self.network.ensure_lab(&lab(&LabConfig::default(), &doors)).await.unwrap();
    }

    /// Runs a command inside an environment's namespace.
    pub fn inside(&self, plan: &NetworkPlan, command: &str) -> String {
        run(&format!("nsenter --net={} {command}", self.netns(plan).display()))
    }

    pub fn netns(&self, plan: &NetworkPlan) -> PathBuf {
        self.folder.path().join("run/netns").join(plan.environment.to_string())
    }

    /// Packets a counter of an environment's rules has seen.
    pub fn count(&self, plan: &NetworkPlan, family: &str, counter: &str) -> u64 {
        packets(&self.inside(plan, &format!("nft list counter {family} wardian {counter}")))
    }

    /// A guest on a real tap of a machine of the plan, not configured yet.
    pub async fn boot(&self, plan: &NetworkPlan, machine: usize) -> Guest {
        let (_, tap) = plan.inside_taps().nth(machine).unwrap();
        let file = self.network.open_tap(plan, &tap.machine).await.unwrap();
        let path = self.folder.path().join(format!("guest-{}-{}", plan.environment, tap.name));
        let guest = Guest::new(path, file, tap.mac);
        guest.space.run("ip link set lo up");
        guest.space.run("ip link set eth0 up");
        guest
    }

    /// A guest on the tap of a machine's second interface, not configured yet; its first one is not plugged in.
    pub async fn boot_second(&self, plan: &NetworkPlan, machine: usize) -> Guest {
        let tap = &plan.second.as_ref().unwrap().taps[machine];
        let file = self.network.open_taps(plan, &tap.machine).await.unwrap().remove(1);
        let path = self.folder.path().join(format!("guest-{}-{}", plan.environment, tap.name));
        let guest = Guest::new(path, file, tap.mac);
        guest.space.run("ip link set lo up");
        guest.space.run("ip link set eth0 up");
        guest
    }

    /// The same with its address and default route, set by hand.
    pub async fn boot_second_configured(&self, plan: &NetworkPlan, machine: usize) -> Guest {
        let guest = self.boot_second(plan, machine).await;
        let address = plan.second.as_ref().unwrap().taps[machine].address;
        guest.space.run(&format!("ip address add {address}/16 dev eth0"));
        guest.space.run(&format!("ip route add default via {}", plan.edge.as_ref().unwrap().gateway));
        guest
    }

    /// A guest with its address and default route, set by hand.
    pub async fn boot_configured(&self, plan: &NetworkPlan, machine: usize) -> Guest {
        let guest = self.boot(plan, machine).await;
        let (switch, tap) = plan.inside_taps().nth(machine).unwrap();
        let bridge = plan.bridges().find(|bridge| bridge.name == switch).unwrap();
        guest.space.run(&format!("ip address add {}/{} dev eth0", tap.address, bridge.address.prefix_len()));
        guest.space.run(&format!("ip route add default via {}", bridge.address.addr()));
        guest
    }

    /// Somebody right on the lab bridge, at 10.86.7.7, of whom no gateway in between has an opinion.
    pub fn outsider(&self) -> Namespace {
        let outsider = Namespace::new(self.folder.path().join("outsider"));
        run(&format!("ip link add out0 master wardian0 type veth peer name eth0 netns {}", outsider.path().display()));
        run("ip link set out0 up");
        outsider.run("ip address add 10.86.7.7/16 dev eth0");
        outsider.run("ip link set eth0 up");
        // A busy machine takes its time with a new link.
        assert!((0..5).any(|_| outsider.pings("10.86.255.254")));
        outsider
    }

    /// What a process that shall take over gets.
    pub async fn successor(&self, plan: &NetworkPlan, machine: usize) -> (OwnedFd, String) {
        self.network.open_successor_tap(plan, &plan.taps[machine].machine).await.unwrap()
    }
}

pub fn packets(counter: &str) -> u64 {
    let mut words = counter.split_whitespace();
    words.find(|w| *w == "packets").unwrap();
    words.next().unwrap().parse().unwrap()
}

/// A namespace at a path of the test's own folder.
pub struct Namespace(PathBuf);

impl Namespace {
    pub fn new(path: PathBuf) -> Self {
        File::create(&path).unwrap();
        let at = path.clone();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            mount(Some("/proc/thread-self/ns/net"), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        })
        .join()
        .unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn command(&self, command: &str) -> String {
        format!("nsenter --net={} {command}", self.0.display())
    }

    /// Runs a command that must succeed; its output.
    pub fn run(&self, command: &str) -> String {
        run(&self.command(command))
    }

    /// Runs a command; its output if it succeeds.
    pub fn attempt(&self, command: &str) -> Option<String> {
        attempt(&self.command(command)).ok()
    }

    /// Starts a command that ends with the handle.
    pub fn start(&self, command: &str) -> Running {
        Running::start(&self.command(command))
    }

    /// An HTTP server on `port` that answers "NAME to PEER", PEER being the client's address as it sees it.
    pub fn listen(&self, port: u16, name: &str) -> Server {
        let name = name.to_owned();
        self.serve(port, move |peer| format!("{name} to {peer}\n").into_bytes())
    }

    /// An HTTP server on `port` that answers with `body`.
    pub fn listen_with(&self, port: u16, body: Vec<u8>) -> Server {
        self.serve(port, move |_| body.clone())
    }

    fn serve(&self, port: u16, body: impl Fn(std::net::IpAddr) -> Vec<u8> + Send + 'static) -> Server {
        let listener = self.enter(|| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((mut stream, peer)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
                let _ = stream.set_write_timeout(Some(Duration::from_secs(10)));
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
                let _ = stream.write_all(&body(peer.ip()));
            }
        });
        Server { stop, thread: Some(thread) }
    }

    /// What an HTTP server says; none if it can't be reached within a second and a half.
    pub fn fetch(&self, address: &str) -> Option<String> {
        self.attempt(&fetch_command(address)).map(|s| s.trim().to_owned())
    }

    pub fn pings(&self, address: impl std::fmt::Display) -> bool {
        self.attempt(&format!("ping -c1 -W1 {address}")).is_some()
    }

    /// Sends an IPv4 packet as it is.
    pub fn send_packet(&self, packet: &[u8]) {
        self.send_packets(&[packet.to_vec()]);
    }

    /// Sends IPv4 packets as they are, to one address, close behind one another.
    pub fn send_packets(&self, packets: &[Vec<u8>]) {
        use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};
        self.enter(|| {
            let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).unwrap();
            for packet in packets {
                let to = SockaddrIn::new(packet[16], packet[17], packet[18], packet[19], 0);
                sendto(socket.as_raw_fd(), packet, &to, MsgFlags::empty()).unwrap();
            }
        });
    }

    /// Sends a frame as it is, at `eth0`.
    pub fn send_frames(&self, frame: &[u8], times: usize) {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        self.enter(|| {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).unwrap();
            // SAFETY: a sockaddr_ll is plain data, for which all zeroes is a valid value.
            let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            to.sll_family = libc::AF_PACKET as libc::c_ushort;
            to.sll_ifindex = nix::net::if_::if_nametoindex("eth0").unwrap() as libc::c_int;
            for _ in 0..times {
                // SAFETY: pointers and lengths are of live values of the types the kernel expects.
                let sent = unsafe {
                    let (frame, length) = (frame.as_ptr().cast(), frame.len());
                    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                    libc::sendto(socket.as_raw_fd(), frame, length, 0, (&raw const to).cast(), size)
                };
                assert_eq!(sent, frame.len() as isize);
            }
        });
    }

    /// All frames that its devices see from now on.
    pub fn sniff(&self) -> Sniffer {
        use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        self.enter(|| Sniffer(socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap()))
    }

    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(File::open(&self.0).unwrap().as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&self.0);
        // Whoever is last leaves no folder behind, also where that could not be removed before.
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}

/// [`Namespace::fetch`] from the host itself.
pub fn fetch(address: &str) -> Option<String> {
    attempt(&fetch_command(address)).ok().map(|s| s.trim().to_owned())
}

fn fetch_command(address: &str) -> String {
    format!("curl -s --noproxy '*' --max-time 1.5 http://{address}/")
}

/// What a computer sees.
pub struct Sniffer(OwnedFd);

impl Sniffer {
    /// What it has seen since it was asked last; nothing of what the kernel had no room for.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 70_000];
        std::iter::from_fn(|| nix::unistd::read(&self.0, &mut buffer).ok().map(|length| buffer[..length].to_vec()))
            .collect()
    }
}

pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// A process that ends with the handle.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(Some(child))
    }

    /// Waits until it ends by itself, and tells what it wrote.
    pub fn ends(mut self, limit: Duration) -> String {
        let mut child = self.0.take().unwrap();
        let deadline = Instant::now() + limit;
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Ends it and tells what it wrote.
    pub fn stop(mut self) -> String {
        let child = self.0.take().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGINT)
            .unwrap();
        self.0 = Some(child);
        self.ends(Duration::from_secs(2))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A computer with one interface, `eth0`, whose frames go to and from a tap's file, as in QEMU.
pub struct Guest {
    pub space: Namespace,
    tap: Arc<Mutex<Arc<OwnedFd>>>,
    stop: Arc<AtomicBool>,
    cable: Option<JoinHandle<()>>,
}

impl Guest {
    pub fn new(path: PathBuf, tap: OwnedFd, mac: MacAddress) -> Self {
        let space = Namespace::new(path);
        let own = space.enter(|| open_tap("eth0"));
        space.run(&format!("ip link set eth0 address {mac}"));
        space.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let tap = Arc::new(Mutex::new(Arc::new(tap)));
        let current = tap.clone();
        let cable = std::thread::spawn(move || {
            // Both ends speak with the same header before each frame, so frames are copied as they are.
            let mut buffer = vec![0; 70_000];
            while !stopped.load(Ordering::Relaxed) {
                let tap = current.lock().unwrap().clone();
                let mut ends =
                    [PollFd::new(tap.as_fd(), PollFlags::POLLIN), PollFd::new(own.as_fd(), PollFlags::POLLIN)];
                if poll(&mut ends, PollTimeout::from(20_u8)).unwrap_or(0) == 0 {
                    continue;
                }
                let ready = ends.map(|end| end.revents().is_some_and(|r| r.contains(PollFlags::POLLIN)));
                for (ready, from, to) in [(ready[0], &*tap, &own), (ready[1], &own, &*tap)] {
                    if ready && let Ok(length) = nix::unistd::read(from, &mut buffer) {
                        let _ = nix::unistd::write(to, &buffer[..length]);
                    }
                }
            }
        });
        Self { space, tap, stop, cable: Some(cable) }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.cable.take().unwrap().join();
    }
}

impl Guest {
    /// From now on the guest's frames go to and from another tap; answers the one they went by.
    pub fn plug(&self, tap: OwnedFd) -> Arc<OwnedFd> {
        std::mem::replace(&mut *self.tap.lock().unwrap(), Arc::new(tap))
    }

    /// Sends a frame as it is, whoever it says it is from.
    pub fn send_frame(&self, frame: &[u8]) {
        self.send_often(frame, 1);
    }

    pub fn send_often(&self, frame: &[u8], times: usize) {
        self.space.send_frames(frame, times);
    }
}

/// A tap with the offloads that QEMU asks for: checksums and segments of TCP.
pub fn open_tap(name: &str) -> OwnedFd {
    nix::ioctl_write_int_bad!(set_offload, nix::request_code_write!(b'T', 208, size_of::<libc::c_uint>()));
    nix::ioctl_write_ptr_bad!(
        set_interface,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: an ifreq is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: the descriptor is a tun file, and the pointer is to an ifreq that outlives the call.
    unsafe { set_interface(file.as_raw_fd(), &raw const request) }.unwrap();
    // SAFETY: the argument is a plain number: TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 (linux/if_tun.h).
    unsafe { set_offload(file.as_raw_fd(), 0b111) }.unwrap();
    file.into()
}

/// Runs a command that must succeed, in the namespace of this thread; its output.
pub fn run(command: &str) -> String {
    attempt(command).unwrap_or_else(|error| panic!("{command}: {error}"))
}

pub fn attempt(command: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(text + &String::from_utf8_lossy(&output.stderr)) }
}

/// Waits up to a minute for `condition`.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within a minute: {what}");
}

pub fn script(path: &Path, text: &str) {
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Environment `n` of two machines, `app` (web-server) and `db` (db-server). Inside it is the same for every `n`;
/// outside are 10.86.0.(2n) and 10.86.0.(2n + 1).
pub fn store(n: u8, fence: &str) -> EnvironmentRecord {
    let edge = MacAddress::local(0x8000_0000 + u32::from(n));
    let identity = |k: u8, hostname: &str| {
        json!({
            "inside": {
                "hostname": hostname, "address": Ipv4Addr::new(192, 168, 23, k + 1),
                "mac": MacAddress::local(u32::from(k) + 1), "uuid": "6f3c1f0e-0000-4000-8000-000000000000",
            },
            "outside": { "address": Ipv4Addr::new(10, 86, 0, 2 * n + k), "mac": edge },
            "slot": u16::from(n) * 2 + u16::from(k),
        })
    };
    serde_json::from_value(json!({
        "id": format!("{n:016x}"), "name": format!("store-{n}"), "created": "2026-01-01T00:00:00Z",
        "spec": {
            "name": "store", "machines": { "app": { "image": "micro" }, "db": { "image": "micro" } },
            "network": { "domain": "lab.contoso.com", "subnet": "192.168.23.0/24" },
        },
        "origin": { "from": "file" },
        "edge": { "slot": n, "mac": edge },
        "identities": { "app": identity(0, "web-server"), "db": identity(1, "db-server") },
        "fence": fence, "exposed": [],
        "desired": "running", "run": 0, "phase": { "is": "pending" },
    }))
    .unwrap()
}

/// The same record with a second subnet, `back` (192.168.24.0/24), and these machines in it.
pub fn with_back(mut record: EnvironmentRecord, machines: &[&str]) -> EnvironmentRecord {
    let named = [("front", "192.168.23.0/24"), ("back", "192.168.24.0/24")];
    let named = named.map(|(name, net)| (name.parse().unwrap(), net.parse().unwrap()));
    record.spec.network.subnets = wardian_model::spec::Subnets::named(named.into()).unwrap();
    for (n, machine) in machines.iter().enumerate() {
        record.spec.machines[*machine].subnet = Some("back".parse().unwrap());
        record.identities[*machine].inside.address = Ipv4Addr::new(192, 168, 24, u8::try_from(n).unwrap() + 1);
    }
    record
}

/// The same with second interfaces.
pub fn dual(mut record: EnvironmentRecord) -> EnvironmentRecord {
    record.spec.isolation.mode = wardian_model::spec::IsolationMode::DualInterface;
    for identity in record.identities.values_mut() {
        identity.outside.mac = MacAddress::local(0x9000_0000 + u32::from(identity.slot));
    }
    record
}

/// The same with `port` of machine 0 exposed at `at`.
pub fn exposing(record: EnvironmentRecord, port: u16, at: u16) -> EnvironmentRecord {
    exposing_as(record, "tcp", port, at)
}

pub fn exposing_as(mut record: EnvironmentRecord, protocol: &str, port: u16, at: u16) -> EnvironmentRecord {
    let address = record.identities["app"].outside.address;
    let exposure: Value = json!({ "machine": "app", "port": port, "protocol": protocol, "at": at, "address": address });
    record.exposed.push(serde_json::from_value(exposure).unwrap());
    record
}

/// Environment 9 with many machines, 192.168.23.1 and up; outside they are 10.86.1.1 and up.
pub fn crowd(machines: u32) -> EnvironmentRecord {
    let mut record = serde_json::to_value(store(9, "out-only")).unwrap();
    let (spec, identity) = (record["spec"]["machines"]["app"].clone(), record["identities"]["app"].clone());
    record["spec"]["machines"] = json!({});
    record["identities"] = json!({});
    for n in 1..=machines {
        let name = format!("m{n}");
        record["spec"]["machines"][&name] = spec.clone();
        let mut identity = identity.clone();
        identity["inside"]["hostname"] = json!(name);
        identity["inside"]["address"] = json!(format!("192.168.23.{n}"));
        identity["inside"]["mac"] = json!(MacAddress::local(n));
        identity["outside"]["address"] = json!(format!("10.86.1.{n}"));
        identity["slot"] = json!(256 + n);
        record["identities"][&name] = identity;
    }
    serde_json::from_value(record).unwrap()
}
