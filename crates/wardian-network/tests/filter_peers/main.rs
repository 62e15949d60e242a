//! The filter beside implementations that are not ours: the kernel's VXLAN device, Open vSwitch, scapy, and Wireshark's
//! reading.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod scapy;

use std::{net::Ipv4Addr, path::Path, time::Duration};

use common::{
    Namespace,
    fabric::{Fabric, TestSwitch, subnet},
};
use wardian_plan::fabric::{Encapsulation, Subnet};

/// A guest on the second host, and a seat for whoever is at 10.2.0.50.
struct Pair {
    fabric: Fabric,
    subnet: Subnet,
    guest: Namespace,
    _switch: TestSwitch,
}

const FOREIGN: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 50);

fn pair(encapsulation: Encapsulation) -> Pair {
    let mut fabric = Fabric::new(2);
    let subnet = subnet(5001, 1, encapsulation, 23, &[fabric.hosts[1].provider, FOREIGN]);
    let switch = fabric.switch(1, "ours", &subnet, None);
    let guest = fabric.guest(&switch, "ours", &subnet, &subnet.seats[0], "192.168.23.254");
    fabric.know(std::slice::from_ref(&subnet));
    Pair { fabric, subnet, guest, _switch: switch }
}

impl Pair {
    fn talks_with(&self, other: &Namespace) {
        let _servers = [self.guest.listen(80, "ours"), other.listen(80, "other")];
        let patiently = |from: &Namespace, to| (0..5).find_map(|_| from.fetch(to));
        assert_eq!(patiently(&self.guest, "192.168.23.2").as_deref(), Some("other to 192.168.23.1"));
        assert_eq!(patiently(other, "192.168.23.1").as_deref(), Some("ours to 192.168.23.2"));
    }

    fn macs(&self) -> [String; 2] {
        [0, 1].map(|n: usize| self.subnet.seats[n].mac.to_string())
    }
}

#[test]
fn the_kernels_vxlan_device_understands_and_is_understood() {
    let pair = pair(Encapsulation::Vxlan);
    let peer = pair.fabric.stranger("peer", FOREIGN);
    let ([ours, own], here) = (pair.macs(), pair.fabric.hosts[1].provider);
    peer.run(&format!(
        "ip link add vx0 address {own} mtu 1450 type vxlan id 5001 dstport 4789 local {FOREIGN} nolearning"
    ));
    peer.run("ip address add 192.168.23.2/24 dev vx0");
    peer.run("ip link set vx0 up");
    peer.run(&format!("bridge fdb append {ours} dev vx0 dst {here}"));
    // Where machines are is told by a table on both sides, and not by asking around.
    peer.run(&format!("ip neigh add 192.168.23.1 dev vx0 lladdr {ours}"));
    pair.talks_with(&peer);
}

/// Reads what is captured with Wireshark's dissectors.
fn dissected(capture: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let fields: Vec<_> = fields.iter().map(|field| format!("-e {field}")).collect();
    let text =
        common::run(&format!("tshark -r {} -T fields {} 2>/dev/null || true", capture.display(), fields.join(" ")));
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// What the router sees of a ping over the two physical subnets.
fn captured(encapsulation: Encapsulation, fields: &[&str]) -> Vec<Vec<String>> {
    let mut fabric = Fabric::new(2);
    let hosts: Vec<_> = fabric.hosts.iter().map(|host| host.provider).collect();
    let subnet = subnet(0xabcdef, 1, encapsulation, 23, &hosts);
    let mut guests = Vec::new();
    let mut switches = Vec::new();
    for n in 0..2 {
        let switch = fabric.switch(n, "wire", &subnet, None);
        guests.push(fabric.guest(&switch, &format!("wire-{n}"), &subnet, &subnet.seats[n], "192.168.23.254"));
        switches.push(switch);
    }
    fabric.know(std::slice::from_ref(&subnet));
    let file = fabric.folder.path().join("capture");
    let capture = fabric.router.start(&format!("tcpdump -i lan2 -U --immediate-mode -Z root -w {} ip", file.display()));
    // Until it is listening, and has both of a ping and its answer.
    let began = std::time::Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing is captured");
        guests[0].pings("192.168.23.2");
        // Only the pings; switches ask for groups.
        let mut rows = dissected(&file, fields);
        rows.retain(|row| row.last().is_some_and(|kind| !kind.is_empty()));
        if rows.len() >= 2 {
            capture.stop();
            rows.truncate(2);
            return rows;
        }
    }
}

#[test]
fn wireshark_reads_an_nvgre_frame_as_the_standard_has_it() {
    let fields = [
        "eth.type",
        "ip.src",
        "ip.dst",
        "ip.proto",
        "ip.flags.df",
        "gre.flags_and_version",
        "gre.proto",
        "gre.key",
        "icmp.type",
    ];
    let rows = captured(Encapsulation::Nvgre, &fields);
    assert_eq!(rows.len(), 2, "{rows:?}");
    for (row, (from, to, kind)) in rows.iter().zip([("10.1.0.1", "10.2.0.1", "8"), ("10.2.0.1", "10.1.0.1", "0")]) {
        assert_eq!(row[0], "0x0800,0x0800");
        assert!(
            row[1].starts_with(&format!("{from},192.168.23.")) && row[2].starts_with(&format!("{to},192.168.23.")),
            "{row:?}"
        );
        assert_eq!((row[3].as_str(), row[5].as_str(), row[6].as_str()), ("47,1", "0x2000", "0x6558"));
        assert!(row[4].starts_with('1') || row[4].starts_with("True"), "{row:?}");
        let key = u32::from_str_radix(row[7].trim_start_matches("0x"), 16).unwrap();
        assert_eq!(key >> 8, 0xabcdef);
        assert_eq!(row[8], kind);
    }
}

#[test]
fn wireshark_reads_a_vxlan_frame_as_the_standard_has_it() {
    let fields =
        ["ip.src", "ip.dst", "udp.dstport", "udp.srcport", "udp.checksum", "vxlan.flags", "vxlan.vni", "icmp.type"];
    let rows = captured(Encapsulation::Vxlan, &fields);
    assert_eq!(rows.len(), 2, "{rows:?}");
    for (row, kind) in rows.iter().zip(["8", "0"]) {
        assert_eq!((row[2].as_str(), row[4].as_str(), row[5].as_str()), ("4789", "0x0000", "0x0800"), "{row:?}");
        assert!(row[3].parse::<u16>().unwrap() >= 49152);
        assert_eq!((row[6].as_str(), row[7].as_str()), ("11259375", kind));
    }
}

/// Open vSwitch's user-space switch in a computer of its own.
struct OpenVSwitch<'a> {
    space: &'a Namespace,
    folder: std::path::PathBuf,
    _running: [common::Running; 2],
}

impl<'a> OpenVSwitch<'a> {
    fn start(space: &'a Namespace, folder: &Path) -> Self {
        let folder = folder.join("ovs");
        std::fs::create_dir(&folder).unwrap();
        let at = folder.display();
        common::run(&format!("ovsdb-tool create {at}/conf.db /usr/share/openvswitch/vswitch.ovsschema"));
        let settings = format!("env OVS_RUNDIR={at} OVS_LOGDIR={at} OVS_DBDIR={at}");
        let database = space
            .start(&format!("{settings} ovsdb-server {at}/conf.db --remote=punix:{at}/db.sock --log-file={at}/db.log"));
        let switch = space
            .start(&format!("{settings} ovs-vswitchd unix:{at}/db.sock --unixctl={at}/ctl --log-file={at}/switch.log"));
        let this = Self { space, folder, _running: [database, switch] };
        let began = std::time::Instant::now();
        while this.control_attempt("--timeout=2 --no-wait init").is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "Open vSwitch does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    fn control_attempt(&self, words: &str) -> Option<String> {
        self.space.attempt(&format!("ovs-vsctl --db=unix:{}/db.sock {words}", self.folder.display()))
    }

    fn control(&self, words: &str) {
        self.space.run(&format!("ovs-vsctl --timeout=20 --db=unix:{}/db.sock {words}", self.folder.display()));
    }
}

#[test]
fn open_v_switch_understands_nvgre_and_is_understood() {
    let pair = pair(Encapsulation::Nvgre);
    let peer = Namespace::new(pair.fabric.folder.path().join("peer"));
    pair.fabric.plug(&peer, "peer", FOREIGN);
    let ([ours, own], here) = (pair.macs(), pair.fabric.hosts[1].provider);
    let ovs = OpenVSwitch::start(&peer, pair.fabric.folder.path());
    // Its tunnels leave by a bridge of its own, which has the provider address.
    ovs.control("add-br phy -- set bridge phy datapath_type=netdev -- add-port phy eth0");
    peer.run("ip address flush dev eth0");
    peer.run(&format!("ip address add {FOREIGN}/24 dev phy"));
    peer.run("ip link set phy up");
    ovs.control(&format!("add-br inner -- set bridge inner datapath_type=netdev other-config:hwaddr={own}"));
    // NVGRE's key is the subnet's id and the flow's; flow 0 is "not told".
    ovs.control(&format!(
        "add-port inner gre0 -- set interface gre0 type=gre options:remote_ip={here} options:local_ip={FOREIGN} options:in_key=flow options:out_key={}",
        5001u32 << 8
    ));
    peer.run("ip link set inner mtu 1450 up");
    peer.run("ip address add 192.168.23.2/24 dev inner");
    peer.run(&format!("ip neigh add 192.168.23.1 dev inner lladdr {ours}"));
    // It takes frames as they would be on a wire; between namespaces nobody else writes checksums.
    pair.guest.run("ethtool -K eth0 tx off");
    // It looks for the way out, and asks who is there, only when there is something to send.
    let began = std::time::Instant::now();
    while !pair.guest.pings("192.168.23.2") {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", pair.fabric.hosts[1].counters());
    }
    pair.talks_with(&peer);
}
