//! Environments that are joined, on the real kernel: who reaches whom before, meanwhile and afterwards, and that
//! nothing is left.
#![allow(missing_docs)]

mod common;

use common::{
    Guest, Host, on_a_host, store,
    talk::{Session, at, echo, tcp_begins},
    with_back,
};
use wardian_model::{environment::EnvironmentRecord, spec::Subnets};
use wardian_plan::network::{LabConfig, NetworkPlan, environment};

/// A busy machine takes its time.
fn reaches(mut attempt: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| attempt())
}

/// `app` at 192.168.23.1 and `db` at 192.168.24.1.
fn tiers(fence: &str) -> EnvironmentRecord {
    with_back(store(1, fence), &["db"])
}

/// `app` and `db` at 192.168.NET.1 and 2.
fn shop(n: u8, net: u8, fence: &str) -> EnvironmentRecord {
    let mut record = store(n, fence);
    record.spec.network.subnets = Subnets::one(format!("192.168.{net}.0/24").parse().unwrap());
    for (k, identity) in (1..).zip(record.identities.values_mut()) {
        identity.inside.address = [192, 168, net, k].into();
    }
    record
}

fn join(one: &mut EnvironmentRecord, other: &mut EnvironmentRecord) {
    one.joined.push(other.as_joined());
    other.joined.push(one.as_joined());
}

async fn ensure(host: &Host, record: &EnvironmentRecord) -> NetworkPlan {
    let plan = environment(record, &LabConfig::default());
    host.network.ensure(&plan).await.unwrap();
    plan
}

async fn guests(host: &Host, plan: &NetworkPlan) -> [Guest; 2] {
    [host.boot_configured(plan, 0).await, host.boot_configured(plan, 1).await]
}

const TIERS: [&str; 2] = ["192.168.23.1", "192.168.24.1"];
const SHOP: [&str; 2] = ["192.168.30.1", "192.168.30.2"];

/// Links, routes, neighbours and rules of a namespace that have to do with joins.
fn traces(host: &Host, plan: &NetworkPlan) -> String {
    let shown = ["ip -br link", "ip route show table all", "ip neigh", "nft list ruleset"]
        .map(|command| host.inside(plan, command));
    let of_joins = |line: &&str| line.contains("join") || line.contains("169.254.");
    shown.iter().flat_map(|text| text.lines()).filter(of_joins).collect::<Vec<_>>().join("\n")
}

#[test]
fn joined_environments_reach_each_other_until_they_are_parted_whatever_their_fences() {
    on_a_host(|host| async move {
        let (mut one, mut two) = (tiers("sealed"), shop(2, 30, "sealed"));
        let plans = host.up(&[&one, &two]).await;
        let (tiers, shop) = (guests(&host, &plans[0]).await, guests(&host, &plans[1]).await);
        let all = || tiers.iter().zip(TIERS).flat_map(|t| shop.iter().zip(SHOP).map(move |s| (t, s)));
        let apart = || all().all(|((t, ta), (s, sa))| !t.space.pings(sa) && !s.space.pings(ta));
        assert!(apart());
        join(&mut one, &mut two);
        let plans = [ensure(&host, &one).await, ensure(&host, &two).await];
        for ((t, ta), (s, sa)) in all() {
            assert!(reaches(|| t.space.pings(sa)) && reaches(|| s.space.pings(ta)), "{ta} and {sa}");
            let _servers = [t.space.listen(81, "tiers"), s.space.listen(81, "shop")];
            // By their own addresses: nobody translates.
            assert!(reaches(|| t.space.fetch(&format!("{sa}:81")) == Some(format!("shop to {ta}"))), "{ta} {sa}");
            assert!(reaches(|| s.space.fetch(&format!("{ta}:81")) == Some(format!("tiers to {sa}"))), "{ta} {sa}");
        }
        for plan in &plans {
            assert!(host.network.observe(plan).await.unwrap().is_complete());
            assert!(host.network.ensure(plan).await.unwrap().is_empty());
        }
        // The gateway of the other serves its own machines alone.
        assert!(!tiers[0].space.pings("192.168.30.254"));
        // Connections between them are nobody's business, as inside.
        echo(&shop[0].space, &[80], &[]);
        let mut session = Session::new(&tiers[1].space, at("192.168.30.1:80"));
        host.network.forget_connections(plans[0].environment).await.unwrap();
        host.network.forget_connections(plans[1].environment).await.unwrap();
        assert!(session.passes(true));
        drop(session);

        one.joined.clear();
        two.joined.clear();
        // One after the other: half parted is parted.
        let first = ensure(&host, &one).await;
        assert!(apart());
        let second = ensure(&host, &two).await;
        assert!(apart() && !tcp_begins(&tiers[1].space, at("192.168.30.1:80")));
        for plan in [first, second] {
            assert_eq!(traces(&host, &plan), "");
        }
    });
}

#[test]
fn a_join_goes_no_further_than_the_two_and_their_machines() {
    on_a_host(|host| async move {
        let (mut one, mut two, mut three) = (tiers("open"), shop(2, 30, "open"), shop(3, 40, "open"));
        join(&mut one, &mut two);
        join(&mut two, &mut three);
        let plans = host.up(&[&one, &two, &three]).await;
        // The second of each pair makes the link, whichever that is.
        let (tiers, shop, far) =
            (guests(&host, &plans[0]).await, guests(&host, &plans[1]).await, guests(&host, &plans[2]).await);
        assert!(reaches(|| tiers[0].space.pings("192.168.30.1")) && reaches(|| far[0].space.pings("192.168.30.1")));
        assert!(!tiers[0].space.pings("192.168.40.1") && !far[0].space.pings("192.168.23.1"));
        // Nobody gets out by another's edge, nor speaks there under another's name.
        let _world = host.world.listen(80, "world");
        let seen = tiers[0].space.fetch("203.0.113.2");
        assert!(seen.is_some_and(|seen| seen.starts_with("world to ")));
        let heard = shop[0].space.start("tcpdump --immediate-mode -n -l -U -i eth0 udp port 9");
        std::thread::sleep(std::time::Duration::from_millis(500));
        let dropped = host.count(&plans[1], "inet", "fence_inside");
        // As if the rules of the other environment had been got round: from its gateway, by the link.
        host.inside(&plans[0], "ip address add 192.168.40.7/32 dev lo");
        host.inside(&plans[0], "ip address add 192.168.77.7/32 dev lo");
        for source in ["192.168.40.7", "192.168.77.7"] {
            host.inside(&plans[0], &format!("bash -c 'echo hello | nc -u -w1 -s {source} 192.168.30.1 9 || true'"));
        }
        assert!(host.count(&plans[1], "inet", "fence_inside") > dropped);
        assert!(!heard.stop().contains("UDP"));
    });
}

#[test]
fn a_link_comes_back_with_whoever_went_and_is_repaired() {
    on_a_host(|host| async move {
        let (mut one, mut two) = (tiers("open"), shop(2, 30, "open"));
        join(&mut one, &mut two);
        host.lab(&[&one, &two]).await;
        // One is there before the other.
        let plan = ensure(&host, &one).await;
        assert!(host.network.observe(&plan).await.unwrap().is_complete());
        let other = ensure(&host, &two).await;
        let (tiers, shop) = (guests(&host, &plan).await, guests(&host, &other).await);
        let works = || reaches(|| tiers[1].space.pings("192.168.30.2"));
        assert!(works());
        for (at, seen, damage) in [
            (&plan, true, "ip link del join2"),
            (&other, true, "ip link del join1"),
            (&plan, true, "ip link set join2 down"),
            (&plan, false, "ip route del 192.168.30.0/24"),
            (&other, false, "ip route del 192.168.24.0/24"),
            (&plan, false, "ip neigh del 169.254.0.2 dev join2"),
        ] {
            host.inside(at, damage);
            assert_eq!(host.network.observe(at).await.unwrap().is_complete(), !seen, "{damage}");
            assert!(!host.network.ensure(&plan).await.unwrap().is_empty(), "{damage}");
            assert!(host.network.ensure(&plan).await.unwrap().is_empty(), "{damage}");
            assert!(host.network.ensure(&other).await.unwrap().is_empty(), "{damage}");
            assert!(works(), "{damage}");
        }
        // Stopped, and started again.
        drop(shop);
        host.network.remove(other.environment).await.unwrap();
        assert!(!host.inside(&plan, "ip -br link").contains("join"));
        assert!(host.network.observe(&plan).await.unwrap().is_complete());
        let other = ensure(&host, &two).await;
        let _shop = guests(&host, &other).await;
        assert!(reaches(|| tiers[0].space.pings("192.168.30.1")));
    });
}
