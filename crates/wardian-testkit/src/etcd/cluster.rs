//! A cluster of etcd members, each a host of its own: a network namespace with one link to a common switch.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::Signal,
};

use super::{Certificates, process::Process, single::folder};
use crate::host::run_in;

/// Members of a cluster, and a switch between them and the test. Dropped, it removes all it made.
pub struct EtcdCluster {
    members: Vec<Member>,
    /// The namespace of the switch, where the test is too.
    hub: String,
    tls: bool,
    folder: tempfile::TempDir,
}

struct Member {
    process: Process,
    namespace: String,
}

impl EtcdCluster {
    /// Starts so many members and waits until they serve. With certificates they serve only who has one of that
    /// authority.
    ///
    /// # Panics
    /// When the test does not run as root, or they don't come up, with what they said.
    #[must_use]
    #[track_caller]
    pub fn start(members: usize, certificates: Option<&Certificates>) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "tests with networks of their own need root");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let hub = format!("wardian-etcd-{}-{number}", std::process::id());
        let folder = folder();
        let mut cluster = Self { members: Vec::new(), hub, tls: certificates.is_some(), folder };
        cluster.make_switch();
        let all: Vec<String> =
            (0..members).map(|member| format!("m{member}=http://{}:2380", address(member))).collect();
        let all = all.join(",");
        for member in 0..members {
            let namespace = cluster.make_host(member);
            let place = cluster.folder.path().join(format!("m{member}"));
            std::fs::create_dir(&place).expect("a folder in one of our own");
            let process = member_process(member, &place, &namespace, &all, certificates);
            cluster.members.push(Member { process, namespace });
        }
        for member in &mut cluster.members {
            member.process.spawn();
        }
        for member in &mut cluster.members {
            member.process.await_ready();
        }
        cluster
    }

    fn make_switch(&self) {
        host(&self.hub);
        self.in_hub(&["link", "add", "br0", "type", "bridge"]);
        self.in_hub(&["address", "add", "10.99.0.254/24", "dev", "br0"]);
        self.in_hub(&["link", "set", "br0", "up"]);
    }

    fn make_host(&self, member: usize) -> String {
        let namespace = format!("{}-m{member}", self.hub);
        host(&namespace);
        let port = format!("m{member}");
        self.in_hub(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        self.in_hub(&["link", "set", &port, "master", "br0", "up"]);
        let place = path(&namespace);
        run_in(&place, "ip", &["address", "add", &format!("{}/24", address(member)), "dev", "eth0"]).ok();
        run_in(&place, "ip", &["link", "set", "eth0", "up"]).ok();
        run_in(&place, "ip", &["route", "add", "default", "via", "10.99.0.254"]).ok();
        namespace
    }

    /// Adds a subnet of hosts behind the switch, which routes between it, the others and the members.
    pub(crate) fn add_subnet(&self, subnet: u8) {
        let lan = format!("lan{subnet}");
        self.in_hub(&["link", "add", &lan, "type", "bridge"]);
        self.in_hub(&["address", "add", &format!("10.98.{subnet}.254/24"), "dev", &lan]);
        self.in_hub(&["link", "set", &lan, "up"]);
        run_in(&path(&self.hub), "sysctl", &["-qw", "net.ipv4.ip_forward=1"]).ok();
    }

    /// Gives a host a link in a subnet, and its address there.
    pub(crate) fn attach(&self, host: &Path, subnet: u8, number: usize) -> std::net::Ipv4Addr {
        let last = u8::try_from(number + 1).expect("less than 254 hosts");
        let address = std::net::Ipv4Addr::new(10, 98, subnet, last);
        let (port, place) = (Self::port(number), host.to_string_lossy());
        self.in_hub(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &place]);
        self.in_hub(&["link", "set", &port, "master", &format!("lan{subnet}"), "up"]);
        // Its addresses would come a little later than everything else.
        run_in(host, "sysctl", &["-qw", "net.ipv6.conf.eth0.disable_ipv6=1"]).ok();
        run_in(host, "ip", &["address", "add", &format!("{address}/24"), "dev", "eth0"]).ok();
        run_in(host, "ip", &["link", "set", "eth0", "up"]).ok();
        run_in(host, "ip", &["route", "add", "default", "via", &format!("10.98.{subnet}.254")]).ok();
        address
    }

    /// Cuts a host off from everybody, or joins it again.
    pub(crate) fn cut_host(&self, number: usize, cut: bool) {
        self.in_hub(&["link", "set", &Self::port(number), if cut { "down" } else { "up" }]);
    }

    /// Where the physical networks and the router between them are.
    pub(crate) fn hub(&self) -> PathBuf {
        path(&self.hub)
    }

    /// The link to a host, there.
    pub(crate) fn port(number: usize) -> String {
        format!("h{number}")
    }

    fn in_hub(&self, arguments: &[&str]) {
        run_in(&path(&self.hub), "ip", arguments).ok();
    }

    /// Brings the calling thread, and the threads it starts from then on, to where the members can be reached.
    ///
    /// # Panics
    /// When it can't be.
    pub fn enter(&self) {
        let file = File::open(path(&self.hub)).expect("a namespace of our own");
        setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
    }

    /// Where a member can be reached.
    #[must_use]
    pub fn endpoint(&self, member: usize) -> String {
        format!("{}://{}:2379", if self.tls { "https" } else { "http" }, address(member))
    }

    /// Where all can be reached.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|member| self.endpoint(member)).collect()
    }

    /// Kills a member, as a crash would.
    pub fn kill(&mut self, member: usize) {
        self.members[member].process.kill();
    }

    /// Starts a member that was killed, and doesn't wait: without the others it wouldn't serve.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn start_again(&mut self, member: usize) {
        self.members[member].process.spawn();
    }

    /// Lets a member stand still, or go on.
    ///
    /// # Panics
    /// When it doesn't run.
    #[track_caller]
    pub fn pause(&self, member: usize, still: bool) {
        self.members[member].process.signal(if still { Signal::SIGSTOP } else { Signal::SIGCONT });
    }

    /// Cuts a member off from everybody, or joins it again. Nothing says that it is gone.
    ///
    /// # Panics
    /// When its link can't be changed.
    pub fn cut(&self, member: usize, cut: bool) {
        let port = format!("m{member}");
        if cut {
            self.in_hub(&["link", "set", &port, "nomaster"]);
        } else {
            self.in_hub(&["link", "set", &port, "master", "br0"]);
        }
    }

    /// Cuts a member off from the other members, and not from the test; or joins it again.
    ///
    /// # Panics
    /// When its routes can't be changed.
    pub fn isolate(&self, member: usize, cut: bool) {
        let place = path(&self.members[member].namespace);
        for other in (0..self.members.len()).filter(|other| *other != member) {
            let verb = if cut { "add" } else { "delete" };
            run_in(&place, "ip", &["route", verb, "blackhole", &format!("{}/32", address(other))]).ok();
        }
    }

    /// Gives a member one more address.
    ///
    /// # Panics
    /// When it can't be.
    pub fn add_address(&self, member: usize, address: &str) {
        let place = path(&self.members[member].namespace);
        run_in(&place, "ip", &["address", "add", &format!("{address}/24"), "dev", "eth0"]).ok();
    }

    /// What a member has logged.
    #[must_use]
    pub fn log(&self, member: usize) -> String {
        self.members[member].process.log()
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.process.kill();
        }
        let namespaces = self.members.iter().map(|member| &member.namespace).chain([&self.hub]);
        for namespace in namespaces {
            let _ = std::process::Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

fn member_process(
    member: usize,
    folder: &Path,
    namespace: &str,
    all: &str,
    certificates: Option<&Certificates>,
) -> Process {
    let at = address(member);
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let mut arguments = vec![
        format!("--name=m{member}"),
        format!("--listen-client-urls={scheme}://0.0.0.0:2379"),
        format!("--advertise-client-urls={scheme}://{at}:2379"),
        format!("--listen-peer-urls=http://{at}:2380"),
        format!("--initial-advertise-peer-urls=http://{at}:2380"),
        format!("--initial-cluster={all}"),
    ];
    if let Some(certificates) = certificates {
        let identity = certificates.server(&format!("m{member}"), &[&at]);
        arguments.extend([
            format!("--cert-file={}", identity.certificate.display()),
            format!("--key-file={}", identity.key.display()),
            format!("--trusted-ca-file={}", certificates.ca().display()),
            "--client-cert-auth".to_owned(),
        ]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::new(folder, Some(&path(namespace)), &arguments)
}

/// Makes a network namespace with a loopback.
#[track_caller]
fn host(namespace: &str) {
    let made = std::process::Command::new("ip").args(["netns", "add", namespace]).status();
    assert!(made.is_ok_and(|status| status.success()), "the namespace {namespace} can't be made");
    run_in(&path(namespace), "ip", &["link", "set", "lo", "up"]).ok();
}

fn path(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

fn address(member: usize) -> String {
    format!("10.99.0.{}", member + 1)
}
