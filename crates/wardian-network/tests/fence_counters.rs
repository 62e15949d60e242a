//! Counters: each drop is in one of them, they tell the kernel's numbers, and they outlive changes. On the real kernel.
#![allow(missing_docs)]

mod common;

use common::{exposing, on_a_host, store};
use wardian_network::{FenceCounters, NetworkError};
use wardian_plan::network::{LabConfig, environment};

#[test]
fn counters_are_the_kernels_and_all_of_them() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "sealed")]).await.remove(0);
        let (app, outsider) = (host.boot_configured(&plan, 0).await, host.outsider());
        assert!(!app.space.pings("203.0.113.2"));
        assert!(!outsider.pings("10.86.0.2"));
        app.space.attempt("nc -z -w1 192.168.23.254 99");
        app.space.run("ip address add 192.168.23.77/32 dev lo");
        app.space.attempt("ping -c1 -W1 -I 192.168.23.77 192.168.23.254");
        let counters = host.network.counters(plan.environment).await.unwrap();
        assert_eq!((counters.fence_out.packets, counters.fence_out.bytes), (1, 84), "{counters:?}");
        assert!(counters.fence_in.packets == 1 && counters.to_gateway.packets >= 1, "{counters:?}");
        assert!(counters.forged_arp.packets + counters.forged_address.packets >= 1, "{counters:?}");

        let listed = host.inside(&plan, "nft list counters");
        let names: Vec<&str> =
            listed.lines().filter_map(|l| l.trim().strip_prefix("counter ")?.strip_suffix(" {")).collect();
        assert_eq!(names.len(), counters.iter().count(), "{listed}");
        for (name, count) in counters.iter() {
            assert!(names.contains(&name), "{name}");
            let bridge = ["forged_mac", "forged_arp", "forged_address", "rogue_dhcp", "ipv6", "other", "parked"];
            let family = if bridge.contains(&name) { "bridge" } else { "inet" };
            assert!(host.count(&plan, family, name) >= count.packets, "{name}");
        }
    });
}

#[test]
fn counters_outlive_changes_of_the_fence_and_repairs() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "sealed")]).await.remove(0);
        let app = host.boot_configured(&plan, 0).await;
        assert!(!app.space.pings("203.0.113.2"));
        let fence_out = async || host.network.counters(plan.environment).await.unwrap().fence_out.packets;
        assert_eq!(fence_out().await, 1);
        for record in [store(1, "open"), exposing(store(1, "out-only"), 80, 8080), store(1, "sealed")] {
            host.network.ensure(&environment(&record, &LabConfig::default())).await.unwrap();
            assert_eq!(fence_out().await, 1);
        }
        for damage in ["nft flush chain inet wardian forward", "nft flush set inet wardian private"] {
            host.inside(&plan, damage);
            host.network.ensure(&plan).await.unwrap();
            assert_eq!(fence_out().await, 1, "{damage}");
        }
        assert!(!app.space.pings("203.0.113.2"));
        assert_eq!(fence_out().await, 2);
        // Another daemon, which has loaded nothing yet.
        let again = wardian_network::Network::open(host.network.config().clone()).unwrap();
        again.ensure(&plan).await.unwrap();
        assert_eq!(fence_out().await, 2);
    });
}

#[test]
fn a_table_of_another_shape_is_replaced() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        for damage in [
            "nft delete table inet wardian; nft add table inet wardian; nft add chain inet wardian forward",
            "nft delete table bridge wardian; nft add table bridge wardian; \
             nft add set bridge wardian macs \"{ type ipv4_addr; }\"",
        ] {
            host.inside(&plan, &format!("sh -c '{damage}'"));
            host.network.ensure(&plan).await.unwrap();
            assert!(host.network.ensure(&plan).await.unwrap().is_empty());
            assert!(host.network.observe(&plan).await.unwrap().is_complete());
            let app = host.boot_configured(&plan, 0).await;
            assert!(app.space.pings("203.0.113.2"), "{damage}");
        }
        // The host's table too.
        let lab = wardian_plan::network::lab(&LabConfig::default(), &[]);
        common::run("nft delete table inet wardian_wardian0");
        common::run("nft add table inet wardian_wardian0; nft add chain inet wardian_wardian0 guard");
        host.network.ensure_lab(&lab).await.unwrap();
        assert!(host.network.ensure_lab(&lab).await.unwrap().is_empty());
    });
}

#[test]
fn an_environment_without_network_has_no_counters_and_no_connections() {
    on_a_host(|host| async move {
        let plan = environment(&store(1, "open"), &LabConfig::default());
        let id = plan.environment;
        assert!(matches!(host.network.counters(id).await, Err(NetworkError::NoEnvironment { .. })));
        assert!(matches!(host.network.forget_connections(id).await, Err(NetworkError::NoEnvironment { .. })));
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        assert_eq!(host.network.counters(id).await.unwrap(), FenceCounters::default());
        host.network.forget_connections(id).await.unwrap();
        host.inside(&plan, "nft flush ruleset");
        assert_eq!(host.network.counters(id).await.unwrap(), FenceCounters::default());
    });
}
