//! Environments on different hosts that are joined, on the real kernel: who reaches whom before, meanwhile and
//! afterwards, whatever the fences, in packets of any size; and that nothing is left on any host.
#![allow(missing_docs)]

mod common;

use common::{
    Namespace,
    cluster::wait,
    stretch::{Stretched, shop as on_hosts},
    talk::{Session, at, echo, tcp_begins},
};
use wardian_model::{
    environment::EnvironmentRecord,
    spec::{Role, Subnets},
};
use wardian_plan::fabric::Encapsulation;

const ALL: [&str; 3] = ["web", "db", "cache"];

/// A busy machine takes its time.
fn reaches(mut attempt: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| attempt())
}

/// `web`, `db` and `cache` at 192.168.NET.1, 2 and 3, on these hosts.
fn shop(n: u8, net: u8, hosts: [&str; 3]) -> EnvironmentRecord {
    let mut record = on_hosts(n, "sealed", hosts);
    record.stretch = record.stretch.filter(|stretch| !stretch.elsewhere.is_empty());
    record.spec.network.subnets = Subnets::one(format!("192.168.{net}.0/24").parse().unwrap());
    for identity in record.identities.values_mut() {
        let [.., k] = identity.inside.address.octets();
        identity.inside.address = [192, 168, net, k].into();
    }
    record
}

fn address(net: u8, machine: &str) -> String {
    let k = ALL.iter().position(|name| *name == machine).unwrap() + 1;
    format!("192.168.{net}.{k}")
}

/// Both records as a join writes them, then each host.
fn join(all: &mut Stretched, one: u8, other: u8) {
    let (mut a, mut b) = (all.records[&one].clone(), all.records[&other].clone());
    a.joined.push(b.as_joined());
    b.joined.push(a.as_joined());
    all.ensure(a);
    all.ensure(b);
}

fn part(all: &mut Stretched, one: u8, other: u8) {
    for (n, from) in [(one, other), (other, one)] {
        let (mut record, id) = (all.records[&n].clone(), all.records[&from].id);
        record.joined.retain(|joined| joined.id != id);
        all.ensure(record);
    }
}

/// Each pair of machines of the two, with the other one's address, both ways.
fn pairs(all: &Stretched, one: (u8, u8), other: (u8, u8)) -> impl Iterator<Item = (&Namespace, String)> {
    let both = [(one, other), (other, one)].into_iter();
    both.flat_map(move |((n, _), (_, net))| {
        ALL.iter().flat_map(move |from| ALL.iter().map(move |to| (&all.guest(n, from).space, address(net, to))))
    })
}

/// Whether no machine of one reaches any of the other. All at once, for each takes a second to find out.
fn apart(all: &Stretched, one: (u8, u8), other: (u8, u8)) -> bool {
    std::thread::scope(|scope| {
        let attempts: Vec<_> =
            pairs(all, one, other).map(|(guest, to)| scope.spawn(move || guest.pings(&to))).collect();
        attempts.into_iter().all(|attempt| !attempt.join().unwrap())
    })
}

fn gets_all(client: &Namespace, server: &Namespace, address: &str) -> bool {
    let body = vec![7; 4_000_000];
    let _server = server.listen_with(81, body.clone());
    let got = client.attempt(&format!("curl -s --noproxy '*' --max-time 20 http://{address}:81/ | wc -c"));
    got.is_some_and(|got| got.trim().parse() == Ok(body.len()))
}

/// What is there of networks on each host: links of the host and of each namespace, what its filter knows and where it
/// listens.
fn traces(all: &Stretched) -> Vec<String> {
    let of_host = |host: usize| {
        let at = all.host(host);
        let ports = aya::maps::MapData::from_pin(at.run_dir.join("bpf/ports")).map(aya::maps::Map::HashMap).unwrap();
        let ports = aya::maps::HashMap::<_, u32, [u8; 20]>::try_from(ports).unwrap();
        let namespaces = common::run(&format!("ls {}", at.run_dir.join("netns").display()));
        let inside = namespaces.lines().map(|id| {
            let netns = at.run_dir.join("netns").join(id);
            let enter = |command: &str| common::run(&format!("nsenter --net={} {command}", netns.display()));
            let links =
                enter("ip -br link").lines().map(|l| l.split('@').next().unwrap().to_owned()).collect::<Vec<_>>();
            format!("{links:?} {} {}", enter("ip route show table all type unicast"), enter("nft -s list ruleset"))
        });
        let inside: Vec<_> = inside.collect();
        let links = at.space.run("ip -br link | cut -d' ' -f1 | cut -d@ -f1");
        format!("{links} {namespaces} {inside:?} {} {:?}", ports.iter().count(), wait(at.underlay().known()).unwrap())
    };
    (0..all.cluster.hosts.len()).map(of_host).collect()
}

#[test]
fn environments_on_two_hosts_reach_each_other_while_they_are_joined_and_nobody_else_does() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    let (one, two, three) = ((1, 30), (2, 40), (3, 50));
    all.up(shop(1, 30, ["a"; 3]));
    all.up(shop(2, 40, ["b"; 3]));
    all.up(shop(3, 50, ["a"; 3]));
    assert!(apart(&all, one, two));
    let before = traces(&all);
    // Who talks inside isn't disturbed by what is done.
    echo(&all.guest(1, "db").space, &[80], &[]);
    echo(&all.guest(2, "db").space, &[80], &[]);
    let mut session = Session::new(&all.guest(1, "web").space, at("192.168.30.2:80"));
    let pings = all.guest(2, "web").space.start("ping -q -i 0.02 -c 250 192.168.40.2");
    join(&mut all, 1, 2);
    assert!(session.passes(true));
    for (guest, to) in pairs(&all, one, two) {
        assert!(reaches(|| guest.pings(&to)), "{to}");
    }
    let said = pings.ends(std::time::Duration::from_secs(60));
    assert!(said.contains(" 0% packet loss"), "{said}");
    // By their own addresses, and all of what is large.
    for ((from, n), (to, m)) in [(("web", 1), ("db", 2)), (("cache", 2), ("web", 1))] {
        let (client, server) = (&all.guest(n, from).space, &all.guest(m, to).space);
        let net = |n: u8| 20 + n * 10;
        let _server = server.listen(83, to);
        let seen = (0..5).find_map(|_| client.fetch(&format!("{}:83", address(net(m), to))));
        assert_eq!(seen, Some(format!("{to} to {}", address(net(n), from))));
        assert!(gets_all(client, server, &address(net(m), to)));
    }
    for (n, host) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
        let plan = all.plan(n, host);
        assert!(wait(all.host(host).network.observe(&plan)).unwrap().is_complete());
        assert_eq!(all.ensure(all.records[&n].clone()), [""; 0]);
    }
    // A connection goes on though nobody remembers it.
    let mut across = Session::new(&all.guest(1, "web").space, at("192.168.40.2:80"));
    wait(all.host(0).network.forget_connections(all.records[&1].id)).unwrap();
    wait(all.host(1).network.forget_connections(all.records[&2].id)).unwrap();
    assert!(across.passes(true));

    // With a third: it goes no further than the two, though all three have something on both hosts.
    join(&mut all, 2, 3);
    for (guest, to) in pairs(&all, two, three) {
        assert!(reaches(|| guest.pings(&to)), "{to}");
    }
    assert!(apart(&all, one, three));
    assert!(!tcp_begins(&all.guest(1, "web").space, at("192.168.50.2:80")));
    assert_eq!(all.cluster.complaints(), [].into());
    part(&mut all, 2, 3);
    assert!(apart(&all, two, three) && reaches(|| all.guest(1, "web").space.pings("192.168.40.1")));

    // One after the other: half parted is parted.
    drop(across);
    let mut record = all.records[&1].clone();
    record.joined.clear();
    all.ensure(record);
    assert!(apart(&all, one, two));
    part(&mut all, 1, 2);
    assert!(apart(&all, one, two) && session.passes(true));
    assert_eq!(traces(&all), before);

    // Who goes leaves nothing where it had a passage.
    join(&mut all, 1, 2);
    assert!(reaches(|| all.guest(1, "web").space.pings("192.168.40.1")));
    let mut rest = all.records[&2].clone();
    rest.joined.clear();
    all.ensure(rest);
    all.remove(1);
    for host in [0, 1] {
        let left = common::run(&format!("ls {}", all.host(host).run_dir.join("netns").display()));
        assert_eq!(left.lines().count(), 1, "{left}");
    }
    assert!(reaches(|| all.guest(2, "web").space.pings("192.168.40.2")));
}

#[test]
fn environments_on_several_hosts_reach_each_other_from_wherever_each_machine_is() {
    let mut all = Stretched::new(3, Encapsulation::Vxlan);
    all.up(shop(1, 30, ["a", "b", "b"]));
    all.up(shop(2, 40, ["b", "c", "b"]));
    join(&mut all, 1, 2);
    for (guest, to) in pairs(&all, (1, 30), (2, 40)) {
        assert!(reaches(|| guest.pings(&to)), "{to}");
    }
    assert!(gets_all(&all.guest(1, "web").space, &all.guest(2, "db").space, "192.168.40.2"));
    assert!(gets_all(&all.guest(2, "db").space, &all.guest(1, "cache").space, "192.168.30.3"));
    assert_eq!(all.cluster.complaints(), [].into());
    part(&mut all, 1, 2);
    assert!(apart(&all, (1, 30), (2, 40)));
    assert!(reaches(|| all.guest(1, "web").space.pings("192.168.30.2")));
}

#[test]
fn what_does_not_fit_between_the_hosts_is_answered() {
    // Machines believe in 1500 bytes: once the filter has to say what fits, once the gateway, whose links are as
    // narrow.
    let narrow = common::stretch::mtu(Encapsulation::Vxlan);
    for mtu in [1500, narrow] {
        let mut all = Stretched::with_mtu(2, Encapsulation::Vxlan, mtu);
        all.up(shop(1, 30, ["a"; 3]));
        all.up(shop(2, 40, ["b"; 3]));
        for n in [1, 2] {
            all.guest(n, "web").space.run("ip link set eth0 mtu 1500");
        }
        join(&mut all, 1, 2);
        let [one, two] = [1, 2].map(|n| &all.guest(n, "web").space);
        assert!(reaches(|| one.pings("192.168.40.1")));
        assert!(gets_all(one, two, "192.168.40.1") && gets_all(two, one, "192.168.30.1"), "{mtu}");
        let said = one.attempt("ping -c2 -W1 -M do -s 1472 192.168.40.1 || true").unwrap();
        assert!(said.contains("mtu = 1450") || said.contains("mtu=1450"), "{mtu}: {said}");
    }
}

#[test]
fn a_domain_controller_is_seen_by_its_own_environment_alone() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    let mut record = shop(1, 30, ["a"; 3]);
    record.spec.machines["db"].role = Some(Role::DomainController);
    all.up(record);
    all.up(shop(2, 40, ["b"; 3]));
    all.up(shop(3, 50, ["a"; 3]));
    join(&mut all, 1, 2);
    join(&mut all, 1, 3);
    let controller = &all.guest(1, "db").space;
    let other = &all.guest(1, "web").space;
    assert!(reaches(|| other.pings("192.168.30.2")) && reaches(|| controller.pings("192.168.30.1")));
    echo(controller, &[80], &[]);
    for (n, net) in [(2, 40), (3, 50)] {
        let guest = &all.guest(n, "web").space;
        let own = address(net, "web");
        assert!(reaches(|| guest.pings("192.168.30.1")) && reaches(|| other.pings(&own)));
        assert!(!guest.pings("192.168.30.2") && !controller.pings(&own), "{n}");
        assert!(!tcp_begins(guest, at("192.168.30.2:80")), "{n}");
    }
}
