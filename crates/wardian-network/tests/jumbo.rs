//! A physical network with jumbo frames: machines on different hosts have what it takes, less the envelope.
#![allow(missing_docs)]

mod common;

use common::{
    Namespace,
    cluster::Cluster,
    stretch::{Stretched, shop},
};
use wardian_model::encapsulation::Decapsulation;
use wardian_network::UnderlayError;
use wardian_plan::fabric::Encapsulation;

const UNDERLAY: u16 = 9000;

/// A busy machine takes its time.
fn reaches(mut attempt: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| attempt())
}

fn gets_all(client: &Namespace, server: &Namespace, address: &str) {
    let body = vec![7; 32_000_000];
    let _server = server.listen_with(81, body.clone());
    let got = client.attempt(&format!("curl -s --noproxy '*' --max-time 20 http://{address}:81/ | wc -c"));
    assert_eq!(got.and_then(|got| got.trim().parse().ok()), Some(body.len()), "{address} sends all");
}

fn large_packets_go_whole(encapsulation: Encapsulation, decapsulation: Decapsulation) {
    let mtu = encapsulation.guest_mtu(UNDERLAY);
    let mut cluster = Cluster::on(UNDERLAY, 2, encapsulation, mtu);
    for host in &mut cluster.hosts {
        host.decapsulation = decapsulation;
        host.reopen(encapsulation).unwrap();
    }
    let mut all = Stretched::over(cluster);
    // DHCP tells the machines, which is asserted there.
    all.up(shop(1, "open", ["a", "b", "b"]));
    all.outsider(0, 70);
    assert_eq!(all.host(0).underlay().mtu(), mtu);
    let [web, db] = ["web", "db"].map(|machine| &all.guest(1, machine).space);
    for (from, to) in [(web, "192.168.23.2"), (db, "192.168.23.1")] {
        let whole = format!("ping -c1 -W1 -M do -s {} {to}", mtu - 28);
        assert!(reaches(|| from.attempt(&whole).is_some()), "{to} gets {mtu} bytes in one piece");
    }
    gets_all(web, db, "192.168.23.2");
    gets_all(db, web, "192.168.23.1");
    // Also by the edge, which is on the first host: the lab network takes as much.
    let outside = &all.cluster.edges[0];
    let address = outside.addresses[0].to_string();
    gets_all(db, &outside.space, &address);
    assert_eq!(all.cluster.complaints(), [].into());
}

#[test]
fn large_packets_go_whole_over_nvgre() {
    large_packets_go_whole(Encapsulation::Nvgre, Decapsulation::Tc);
}

#[test]
fn large_packets_go_whole_over_vxlan() {
    large_packets_go_whole(Encapsulation::Vxlan, Decapsulation::Tc);
}

/// They are in several pages each, of which the program sees the first.
#[test]
fn large_packets_go_whole_where_drivers_take_envelopes_off() {
    for encapsulation in [Encapsulation::Nvgre, Encapsulation::Vxlan] {
        large_packets_go_whole(encapsulation, Decapsulation::Xdp);
    }
}

#[test]
fn a_device_that_takes_less_than_was_said_is_refused_and_one_that_takes_more_is_not_used_up() {
    let mut cluster = Cluster::on(1500, 1, Encapsulation::Nvgre, 1458);
    cluster.hosts[0].underlay_mtu = UNDERLAY;
    let error = cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap_err();
    assert!(matches!(&error, UnderlayError::Narrow { takes: 1500, mtu: UNDERLAY, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "eth0, which has the provider address 10.1.0.1, takes packets of 1500 bytes, and between hosts they are of 9000; \
         raise it (`ip link set eth0 mtu 9000`), or say `mtu = 1500` in [cluster] on all hosts before the first one founds \
         the cluster"
    );
    let mut cluster = Cluster::on(UNDERLAY, 1, Encapsulation::Nvgre, 1458);
    cluster.hosts[0].underlay_mtu = 1500;
    cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap();
    assert_eq!(cluster.hosts[0].underlay().mtu(), 1458);
}
