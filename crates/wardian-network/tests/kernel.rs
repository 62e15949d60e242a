//! Making, repairing and removing, on the real kernel; and what a machine can't pretend.
#![allow(missing_docs)]

mod common;

use common::{attempt, eventually, on_a_host, run, store};
use std::time::{Duration, Instant};
use wardian_network::NetworkError;
use wardian_plan::network::{LabConfig, environment, lab};

/// Everything of this namespace that a network of ours could leave behind; not whether a bridge has a port that is up,
/// which its routes tell a moment later.
fn traces() -> String {
    run("ip -br link | cut -d' ' -f1; ip -o -4 address show; ip -4 route show table all; ip rule; nft list ruleset")
        .lines()
        .map(|l| l.split(" valid_lft").next().unwrap().replace(" linkdown", "").trim().to_owned() + "\n")
        .collect()
}

fn mounts(host: &common::Host) -> usize {
    let netns = host.folder.path().join("run/netns");
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().matches(netns.to_str().unwrap()).count()
}

#[test]
fn what_is_made_twice_is_made_once_and_what_is_removed_is_gone() {
    on_a_host(|host| async move {
        let before = traces();
        let lab_plan = lab(&LabConfig::default(), &[]);
        assert!(!host.network.ensure_lab(&lab_plan).await.unwrap().is_empty());
        assert_eq!(host.network.ensure_lab(&lab_plan).await.unwrap(), Default::default());
        let with_lab = traces();

        let plan = environment(&store(1, "out-only"), &LabConfig::default());
        assert!(!host.network.observe(&plan).await.unwrap().namespace);
        assert!(!host.network.ensure(&plan).await.unwrap().is_empty());
        let again = host.network.ensure(&plan).await.unwrap();
        assert!(again.is_empty(), "{again:?}");
        assert!(host.network.observe(&plan).await.unwrap().is_complete());
        assert_eq!(host.network.list().await.unwrap(), [plan.environment]);

        host.network.remove(plan.environment).await.unwrap();
        host.network.remove(plan.environment).await.unwrap();
        assert_eq!(host.network.list().await.unwrap(), []);
        assert_eq!(traces(), with_lab);
        assert_eq!(mounts(&host), 0);

        host.network.remove_lab().await.unwrap();
        host.network.remove_lab().await.unwrap();
        assert_eq!(traces(), before);
    });
}

/// What is there can't be changed into what shall be: it is replaced.
#[test]
fn tables_that_rules_can_not_be_loaded_over_are_made_anew() {
    on_a_host(|host| async move {
        let mut record = store(1, "out-only");
        record.spec.machines["db"].limits.network_in = Some("20 Mbit".parse().unwrap());
        record.acl.set(None, vec!["deny udp".parse().unwrap()]);
        let plan = host.up(&[&record]).await.remove(0);
        let whole = host.inside(&plan, "nft -s list ruleset");
        for table in ["inet wardian", "bridge wardian", "bridge wardian_acl", "bridge wardian_caps"] {
            let chain = whole.split(&format!("table {table} {{")).nth(1).unwrap();
            let chain = chain.split("chain ").skip(1).find(|chain| chain.contains("type filter")).unwrap();
            let name = chain.split_whitespace().next().unwrap();
            let other = format!("add chain {table} {name} {{ type filter hook forward priority 77; }}");
            host.inside(&plan, &format!("nft 'delete table {table}; add table {table}; {other}'"));
            assert!(!host.network.ensure(&plan).await.unwrap().is_empty(), "not seen: {table}");
            assert_eq!(host.inside(&plan, "nft -s list ruleset"), whole, "{table}");
            assert!(host.network.ensure(&plan).await.unwrap().is_empty(), "{table}");
        }
    });
}

#[test]
fn whatever_is_missing_or_wrong_is_repaired() {
    on_a_host(|host| async move {
        let record = store(1, "out-only");
        let plan = host.up(&[&record]).await.remove(0);
        let whole =
            host.inside(&plan, "sh -c 'ip -o -4 address; ip -4 route show table all; ip rule; nft -s list ruleset'");
        let strip = |text: &str| {
            let mut lines: Vec<_> =
                text.lines().map(|l| l.split_once(": ").map_or(l, |(_, rest)| rest).to_owned()).collect();
            lines.sort();
            lines
        };
        for damage in [
            "ip link del edge",
            "ip link del br0",
            "ip link set edge down",
            "ip link set edge address 02:00:00:00:00:99",
            "ip link set br0 down",
            "ip link set br0 mtu 1400",
            "ip address flush dev edge",
            "ip address flush dev br0",
            "ip address add 1.2.3.4/24 dev edge",
            "ip route flush table 86",
            "ip route del default",
            "ip route replace default via 10.86.0.77",
            "ip rule del fwmark 0x5744",
            "nft flush ruleset",
            "nft delete rule inet wardian forward handle 1 || nft flush chain inet wardian forward",
            "nft flush chain bridge wardian prerouting",
            "sysctl -qw net.ipv4.ip_forward=0",
            "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=1",
            "nft flush chain bridge wardian output",
        ] {
            host.inside(&plan, &format!("sh -c '{damage}'"));
            let changes = host.network.ensure(&plan).await.unwrap();
            assert!(!changes.is_empty(), "not seen: {damage}");
            let now = host
                .inside(&plan, "sh -c 'ip -o -4 address; ip -4 route show table all; ip rule; nft -s list ruleset'");
            assert_eq!(strip(&now), strip(&whole), "after {damage}");
            let again = host.network.ensure(&plan).await.unwrap();
            assert!(again.is_empty(), "{damage}: {again:?}");
        }
        for damage in ["ip link del we1", "ip link set we1 down", "ip link set we1 nomaster"] {
            run(damage);
            assert!(!host.network.observe(&plan).await.unwrap().is_complete(), "{damage}");
            assert!(!host.network.ensure(&plan).await.unwrap().is_empty(), "{damage}");
            assert!(host.network.observe(&plan).await.unwrap().is_complete(), "{damage}");
        }
        for damage in [
            "ip link set wardian0 down",
            "ip address flush dev wardian0",
            "nft delete table inet wardian_wardian0",
            "ip route flush type unreachable",
        ] {
            run(damage);
            let lab_plan = lab(&LabConfig::default(), &[]);
            assert!(!host.network.ensure_lab(&lab_plan).await.unwrap().is_empty(), "{damage}");
            assert!(host.network.ensure_lab(&lab_plan).await.unwrap().is_empty(), "{damage}");
        }
        let web = host.boot_configured(&plan, 0).await;
        assert!(web.space.pings("10.86.255.254"));
    });
}

#[test]
fn half_made_and_half_removed_environments_go_on() {
    on_a_host(|host| async move {
        let plan = environment(&store(1, "out-only"), &LabConfig::default());
        // Killed between the file and the mount.
        std::fs::write(host.netns(&plan), "").unwrap();
        assert_eq!(host.network.list().await.unwrap(), [plan.environment]);
        assert!(matches!(host.network.ensure(&plan).await, Err(NetworkError::NoLab { .. })));
        host.lab(&[]).await;
        host.network.ensure(&plan).await.unwrap();
        // Killed between unmounting and removing, while somebody still holds the namespace.
        let held = std::fs::File::open(host.netns(&plan)).unwrap();
        run(&format!("umount -l {}", host.netns(&plan).display()));
        assert!(attempt("ip link show we1").is_ok());
        host.network.remove(plan.environment).await.unwrap();
        assert!(attempt("ip link show we1").is_err());
        assert_eq!(host.network.list().await.unwrap(), []);
        drop(held);
        // And the other way on: made anew while the old one is still held.
        host.network.ensure(&plan).await.unwrap();
        let held = std::fs::File::open(host.netns(&plan)).unwrap();
        run(&format!("umount -l {}", host.netns(&plan).display()));
        host.network.ensure(&plan).await.unwrap();
        assert!(host.network.observe(&plan).await.unwrap().is_complete());
        drop(held);
        host.network.remove(plan.environment).await.unwrap();
        assert_eq!(mounts(&host), 0);
    });
}

#[test]
fn a_lab_network_never_hides_a_network_of_the_host() {
    on_a_host(|host| async move {
        let plan = lab(&LabConfig::default(), &[]);
        run("ip address add 10.86.3.1/24 dev lan0");
        let error = host.network.ensure_lab(&plan).await.unwrap_err();
        assert!(matches!(&error, NetworkError::Overlap { by, .. } if by == "lan0"), "{error}");
        assert!(error.to_string().contains("10.86.3.1/24 on lan0"), "{error}");
        run("ip address del 10.86.3.1/24 dev lan0");
        run("ip route add 10.0.0.0/8 via 203.0.113.2");
        let error = host.network.ensure_lab(&plan).await.unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/8 on lan0"), "{error}");
        assert!(attempt("ip link show wardian0").is_err(), "nothing was made");
        run("ip route replace 0.0.0.0/1 via 203.0.113.2");
        run("ip route del 10.0.0.0/8");
        host.network.ensure_lab(&plan).await.unwrap();
    });
}

#[test]
fn what_belongs_to_others_is_left_alone() {
    on_a_host(|host| async move {
        let plan = lab(&LabConfig::default(), &[]);
        run("ip link add wardian0 type bridge");
        run("ip link set wardian0 up");
        assert!(matches!(host.network.ensure_lab(&plan).await, Err(NetworkError::Foreign { .. })));
        assert!(matches!(host.network.remove_lab().await, Err(NetworkError::Foreign { .. })));
        run("ip link set wardian0 alias wardian:another");
        let error = host.network.ensure_lab(&plan).await.unwrap_err().to_string();
        assert!(error.contains("wardian:another"), "{error}");
        run("ip link del wardian0");
        let bad = LabConfig { bridge: "a/b".into(), ..LabConfig::default() };
        assert!(matches!(host.network.ensure_lab(&lab(&bad, &[])).await, Err(NetworkError::BridgeName { .. })));
    });
}

#[test]
fn a_tap_lives_as_long_as_its_holder() {
    on_a_host(|host| async move {
        let record = store(1, "out-only");
        let plan = host.up(&[&record]).await.remove(0);
        let web = plan.taps[0].machine.clone();
        let tap = host.network.open_tap(&plan, &web).await.unwrap();
        let shown = host.inside(&plan, &format!("ip -d link show {}", plan.taps[0].name));
        assert!(shown.contains("master br0") && shown.contains(&format!("user {}", plan.taps[0].owner)), "{shown}");
        assert!(matches!(host.network.open_tap(&plan, &web).await, Err(NetworkError::TapBusy { .. })));
        assert_eq!(host.network.observe(&plan).await.unwrap().taps, [plan.taps[0].name.clone()]);
        // An ensure puts a tap back that lost its place.
        host.inside(&plan, &format!("ip link set {} nomaster", plan.taps[0].name));
        assert!(!host.network.ensure(&plan).await.unwrap().is_empty());
        assert!(host.network.ensure(&plan).await.unwrap().is_empty());
        drop(tap);
        assert_eq!(host.network.observe(&plan).await.unwrap().taps, [""; 0]);
        drop(host.network.open_tap(&plan, &web).await.unwrap());
        // Removed under a running machine: nothing stays on the host.
        let tap = host.network.open_tap(&plan, &web).await.unwrap();
        host.network.remove(plan.environment).await.unwrap();
        assert_eq!(host.network.list().await.unwrap(), []);
        drop(tap);
        let missing = host.network.open_tap(&plan, &web).await;
        assert!(matches!(missing, Err(NetworkError::NoEnvironment { .. })));
    });
}

#[test]
fn an_unprivileged_qemu_takes_the_tap() {
    on_a_host(|host| async move {
        let record = store(1, "out-only");
        let plan = host.up(&[&record]).await.remove(0);
        let tap = host.network.open_tap(&plan, &plan.taps[0].machine).await.unwrap();
        use std::os::fd::AsRawFd;
        nix::fcntl::fcntl(&tap, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let (uid, fd) = (plan.taps[0].owner, tap.as_raw_fd());
        // `info network` answers only if QEMU could set the header's size and the offloads.
        let said = run(&format!(
            "echo 'info network\nquit' | setpriv --reuid {uid} --regid {uid} --clear-groups --no-new-privs \
             qemu-system-x86_64 -machine q35,accel=tcg -m 64 -nodefaults -display none -S -monitor stdio \
             -netdev tap,id=n,fd={fd},vhost=off -device virtio-net-pci,netdev=n 2>&1"
        ));
        assert!(said.contains("n: index=0,type=tap"), "{said}");
        assert!(!said.to_lowercase().contains("could not") && !said.contains("failed"), "{said}");
    });
}

#[test]
fn a_machine_can_be_nobody_but_itself() {
    on_a_host(|host| async move {
        let record = store(1, "open");
        let plan = host.up(&[&record]).await.remove(0);
        let (web, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        assert!(web.space.pings("192.168.23.2"));

        // Another address of the subnet, the gateway's, and one of anywhere.
        for forged in ["192.168.23.2", "192.168.23.254", "8.8.8.8"] {
            let before = host.count(&plan, "bridge", "forged_address") + host.count(&plan, "bridge", "forged_arp");
            db.space.run("ip neigh flush all");
            web.space.run(&format!("ip address add {forged}/32 dev lo"));
            let to = if forged == "192.168.23.2" { "192.168.23.254" } else { "192.168.23.2" };
            assert!(web.space.attempt(&format!("ping -c1 -W1 -I {forged} {to}")).is_none());
            web.space.run(&format!("busybox arping -c1 -w1 -I eth0 -s {forged} {to}; true"));
            let after = host.count(&plan, "bridge", "forged_address") + host.count(&plan, "bridge", "forged_arp");
            assert!(after > before, "{forged}");
            web.space.run(&format!("ip address del {forged}/32 dev lo"));
        }
        // A gratuitous answer for the gateway poisons nobody.
        db.space.pings("192.168.23.254");
        web.space.run("ip address add 192.168.23.254/32 dev lo");
        web.space.run("busybox arping -U -c1 -w1 -I eth0 -s 192.168.23.254 192.168.23.254; true");
        let known = db.space.run("ip neigh show 192.168.23.254");
        assert!(known.contains(&plan.bridge.mac.to_string()), "{known}");
        web.space.run("ip address del 192.168.23.254/32 dev lo");

        // Another hardware address.
        let before = host.count(&plan, "bridge", "forged_mac");
        web.space.run("ip link set eth0 address 02:00:00:00:00:99");
        assert!(!web.space.pings("192.168.23.2"));
        assert!(host.count(&plan, "bridge", "forged_mac") > before);
        web.space.run(&format!("ip link set eth0 address {}", plan.taps[0].mac));
        eventually("the machine is back", || web.space.pings("192.168.23.2")).await;

        // IPv6, for now.
        web.space.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0");
        web.space.attempt("ping -6 -c1 -W1 ff02::1%eth0");
        eventually("IPv6 is dropped", || host.count(&plan, "bridge", "ipv6") > 0).await;
    });
}

#[test]
fn crafted_frames_are_dropped_and_counted() {
    on_a_host(|host| async move {
        let record = store(1, "open");
        let plan = host.up(&[&record]).await.remove(0);
        let (web, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        assert!(db.space.pings("192.168.23.254"));
        let (own, others) = (plan.taps[0].mac.bytes(), plan.taps[1].mac.bytes());

        // Frames to link-local groups skip all rules; the switch must not learn from them whose port this is.
        let lldp = [&[0x01, 0x80, 0xc2, 0, 0, 0x0e][..], &others, &[0x88, 0xcc], &[0; 46]].concat();
        let port_of_db = || {
            let known = host.inside(&plan, "bridge fdb show br br0 dynamic");
            let line = known.lines().find(|l| l.contains(&plan.taps[1].mac.to_string())).unwrap();
            line.split_whitespace().nth(2).unwrap().to_owned()
        };
        web.send_frame(&lldp);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(port_of_db(), plan.taps[1].name);
        // The control: with the setting off it does learn, and an ensure sees that.
        host.inside(&plan, "ip link set br0 type bridge no_linklocal_learn 0");
        web.send_frame(&lldp);
        eventually("the switch is deceived", || port_of_db() == plan.taps[0].name).await;
        assert!(!host.network.ensure(&plan).await.unwrap().is_empty());
        assert!(host.network.ensure(&plan).await.unwrap().is_empty());

        // Another's hardware address in an ordinary frame.
        let before = host.count(&plan, "bridge", "forged_mac");
        web.send_frame(&[&[0xff; 6][..], &others, &[0x08, 0], &[0; 46]].concat());
        eventually("the frame is counted", || host.count(&plan, "bridge", "forged_mac") > before).await;

        // A machine that plays DHCP server.
        let (from, to) = (plan.taps[0].address.octets(), [255; 4]);
        let offer = etherparse::PacketBuilder::ethernet2(own, [0xff; 6]).ipv4(from, to, 64).udp(67, 68);
        let mut frame = Vec::new();
        offer.write(&mut frame, &[2; 300]).unwrap();
        web.send_frame(&frame);
        eventually("the offer is counted", || host.count(&plan, "bridge", "rogue_dhcp") == 1).await;

        // A tagged frame, and a protocol nobody has.
        for kind in [[0x81, 0], [0x88, 0xb5]] {
            let before = host.count(&plan, "bridge", "other");
            web.send_frame(&[&[0xff; 6][..], &own, &kind, &[0; 46]].concat());
            eventually("the frame is counted", || host.count(&plan, "bridge", "other") > before).await;
        }
    });
}

#[test]
fn the_lab_network_sees_public_addresses_only() {
    on_a_host(|host| async move {
        let plans = host.up(&[&store(1, "open"), &store(2, "out-only")]).await;
        let capture = common::Running::start("tcpdump -n -e -l -U -i wardian0 2>/dev/null");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (web, db) = (host.boot_configured(&plans[0], 0).await, host.boot_configured(&plans[0], 1).await);
        let two = host.boot_configured(&plans[1], 0).await;
        let _servers = (web.space.listen(80, "web"), two.space.listen(80, "two"));
        db.space.fetch("10.86.0.4");
        two.space.fetch("10.86.0.2");
        two.space.pings("10.86.0.2");
        db.space.fetch("203.0.113.2");
        db.space.pings("10.86.0.200");
        // Answers that belong to no connection, errors of the gateway, broadcasts, and multicasts.
        web.space.attempt("ping -c1 -W1 -t1 203.0.113.2");
        two.space.attempt("ping -c1 -W1 -b 192.168.23.255");
        two.space.attempt("ping -c1 -W1 224.0.0.1");
        web.space.attempt("nc -z -w1 10.86.0.4 99");
        two.space.attempt("nc -u -z -w1 10.86.0.2 99");
        host.inside(&plans[0], "ping -c1 -W1 -I 192.168.23.254 10.86.255.254; true");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let seen = capture.stop();
        assert!(seen.contains("10.86.0.2"), "{seen}");
        for line in seen.lines() {
            assert!(!line.contains("192.168.23."), "{line}");
            assert!(!line.contains("02:57:00:00:00:0"), "a machine's own hardware address: {line}");
        }
    });
}

#[test]
fn a_probe_comes_from_the_gateway() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "sealed")]).await.remove(0);
        let web = host.boot_configured(&plan, 0).await;
        let _server = web.space.listen(80, "web");
        let connect = |port| {
            host.network.connect(
                plan.environment,
                std::net::SocketAddrV4::new(plan.taps[0].address, port),
                Duration::from_secs(1),
            )
        };
        let stream = connect(80).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), "192.168.23.254");
        let started = Instant::now();
        assert!(matches!(connect(81).await, Err(NetworkError::Connect { .. })));
        assert!(started.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn many_at_once_do_not_disturb_one_another() {
    on_a_host(|host| async move {
        let lab_plan = lab(&LabConfig::default(), &[]);
        let mut tasks = tokio::task::JoinSet::new();
        host.network.ensure_lab(&lab_plan).await.unwrap();
        for round in 0..3 {
            for n in 1..=6 {
                let (network, plan) = (host.network.clone(), environment(&store(n, "out-only"), &LabConfig::default()));
                let lab_plan = lab_plan.clone();
                tasks.spawn(async move {
                    network.ensure_lab(&lab_plan).await.unwrap();
                    network.ensure(&plan).await.unwrap();
                    if round == 1 {
                        network.remove(plan.environment).await.unwrap();
                    }
                });
            }
        }
        // One that nobody waits for is done all the same, and the next one takes its turn after it.
        let plan = environment(&store(9, "out-only"), &LabConfig::default());
        let _ = tokio::time::timeout(Duration::from_millis(2), host.network.ensure(&plan)).await;
        host.network.ensure(&plan).await.unwrap();
        assert!(host.network.observe(&plan).await.unwrap().is_complete());
        tasks.join_all().await;
        for environment in host.network.list().await.unwrap() {
            host.network.remove(environment).await.unwrap();
        }
        assert!(!run("ip -br link").contains("we"), "{}", run("ip -br link"));
        assert_eq!(mounts(&host), 0);
    });
}
