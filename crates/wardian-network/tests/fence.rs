//! What crosses the edge, on the real kernel: translation both ways, fences, hairpins, exposed ports.
#![allow(missing_docs)]

mod common;

use common::{eventually, exposing, fetch, on_a_host, run, store};
use wardian_plan::network::{LabConfig, environment};

#[test]
fn equal_environments_meet_as_different_neighbours() {
    on_a_host(|host| async move {
        let plans = host.up(&[&store(1, "open"), &store(2, "open")]).await;
        let one = host.boot_configured(&plans[0], 0).await;
        let (two, db) = (host.boot_configured(&plans[1], 0).await, host.boot_configured(&plans[1], 1).await);
        let (_one, _two) = (one.space.listen(80, "one"), two.space.listen(80, "two"));
        let _db = db.space.listen(80, "db");

        // The same private address is somebody else in each.
        assert_eq!(db.space.fetch("192.168.23.1").as_deref(), Some("two to 192.168.23.2"));
        // Through both edges: each sees the other's public address.
        assert_eq!(one.space.fetch("10.86.0.4").as_deref(), Some("two to 10.86.0.2"));
        assert_eq!(two.space.fetch("10.86.0.2").as_deref(), Some("one to 10.86.0.4"));
        // From and to the host.
        assert_eq!(fetch("10.86.0.2").as_deref(), Some("one to 10.86.255.254"));
        assert_eq!(fetch("10.86.0.5").as_deref(), Some("db to 10.86.255.254"));
        assert!(one.space.pings("10.86.255.254"), "a machine reaches the host");
        assert!(one.space.pings("192.168.23.254"), "a machine reaches its gateway");
    });
}

#[test]
fn a_machine_reaches_the_world_and_the_world_does_not_reach_it() {
    on_a_host(|host| async move {
        let plans = host.up(&[&store(1, "out-only")]).await;
        let web = host.boot_configured(&plans[0], 0).await;
        let _world = host.world.listen(80, "world");
        let _web = web.space.listen(80, "web");
        // The host's own address is what the world sees.
        assert_eq!(web.space.fetch("203.0.113.2").as_deref(), Some("world to 203.0.113.1"));
        // Even with a route, and even with the fence open, only exposed ports lead from other networks to the lab's.
        host.world.run("ip route add 10.86.0.0/16 via 203.0.113.1");
        assert_eq!(host.world.fetch("10.86.0.2"), None);
        host.network.ensure(&environment(&store(1, "open"), &LabConfig::default())).await.unwrap();
        assert_eq!(host.world.fetch("10.86.0.2"), None);
        // Nor does anybody pretend to be of the lab network.
        host.world.run("ip address add 10.86.9.9/32 dev lo");
        assert!(host.world.attempt("ping -c1 -W1 -I 10.86.9.9 203.0.113.1").is_none());
    });
}

#[test]
fn the_fence_decides_who_may_begin() {
    on_a_host(|host| async move {
        let plans = host.up(&[&exposing(store(1, "out-only"), 80, 8080), &store(2, "open")]).await;
        let one = host.boot_configured(&plans[0], 0).await;
        let two = host.boot_configured(&plans[1], 0).await;
        let (_http, _other) = (one.space.listen(80, "one"), one.space.listen(81, "one"));
        let _two = two.space.listen(80, "two");

        // out-only: the exposed port and nothing else.
        assert_eq!(two.space.fetch("10.86.0.2:80").as_deref(), Some("one to 10.86.0.4"));
        assert_eq!(two.space.fetch("10.86.0.2:81"), None);
        assert!(!two.space.pings("10.86.0.2"));
        assert_eq!(one.space.fetch("10.86.0.4").as_deref(), Some("two to 10.86.0.2"));
        assert!(host.count(&plans[0], "inet", "fence_in") > 0);

        // open: everything.
        let open = environment(&store(1, "open"), &LabConfig::default());
        host.network.ensure(&open).await.unwrap();
        assert_eq!(two.space.fetch("10.86.0.2:81").as_deref(), Some("one to 10.86.0.4"));
        assert!(two.space.pings("10.86.0.2"));

        // sealed: nothing, in neither direction; and inside all goes on.
        let sealed = environment(&exposing(store(1, "sealed"), 80, 8080), &LabConfig::default());
        host.network.ensure(&sealed).await.unwrap();
        assert_eq!(two.space.fetch("10.86.0.2:80"), None);
        assert_eq!(one.space.fetch("10.86.0.4"), None);
        assert_eq!(fetch("127.0.0.1:8080"), None);
        let db = host.boot_configured(&plans[0], 1).await;
        assert_eq!(db.space.fetch("192.168.23.1").as_deref(), Some("one to 192.168.23.2"));
    });
}

#[test]
fn a_closing_fence_cuts_connections_that_run() {
    on_a_host(|host| async move {
        let plans = host.up(&[&store(1, "open"), &store(2, "open")]).await;
        let one = host.boot_configured(&plans[0], 0).await;
        let two = host.boot_configured(&plans[1], 0).await;
        let heard = host.folder.path().join("heard");
        let _server = one.space.start(&format!("nc -l -p 90 > {}", heard.display()));
        // A word every 100 ms, on one connection from outside.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let _client = two.space.start("sh -c 'while sleep 0.1; do echo word; done | nc 10.86.0.2 90'");
        let length = || std::fs::metadata(&heard).map_or(0, |m| m.len());
        eventually("words arrive", || length() > 10).await;
        host.network.ensure(&environment(&store(1, "out-only"), &LabConfig::default())).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let then = length();
        tokio::time::sleep(std::time::Duration::from_millis(800)).await;
        assert_eq!(length(), then, "words went on through a closed fence");
    });
}

#[test]
fn a_hairpin_finds_its_way_back() {
    on_a_host(|host| async move {
        for fence in ["out-only", "sealed"] {
            let plans = host.up(&[&store(1, fence)]).await;
            let (web, db) = (host.boot_configured(&plans[0], 0).await, host.boot_configured(&plans[0], 1).await);
            let _web = web.space.listen(80, "web");
            assert_eq!(db.space.fetch("10.86.0.2").as_deref(), Some("web to 10.86.0.3"), "{fence}");
            assert_eq!(web.space.fetch("10.86.0.2").as_deref(), Some("web to 10.86.0.2"), "{fence}: itself");
            drop((web, db, _web));
        }
    });
}

#[test]
fn an_exposed_port_is_reached_by_every_address_of_the_host() {
    on_a_host(|host| async move {
        let (record, other) = (exposing(store(1, "out-only"), 80, 8080), store(2, "out-only"));
        let plans = host.up(&[&record, &other]).await;
        let (web, db) = (host.boot_configured(&plans[0], 0).await, host.boot_configured(&plans[0], 1).await);
        let two = host.boot_configured(&plans[1], 0).await;
        let _web = web.space.listen(80, "web");

        // From another computer, which the machine sees as it is.
        assert_eq!(host.world.fetch("203.0.113.1:8080").as_deref(), Some("web to 203.0.113.2"));
        // From the host itself.
        assert_eq!(fetch("203.0.113.1:8080").as_deref(), Some("web to 203.0.113.1"));
        assert_eq!(fetch("127.0.0.1:8080").as_deref(), Some("web to 10.86.255.254"));
        assert_eq!(fetch("10.86.255.254:8080").as_deref(), Some("web to 10.86.255.254"));
        // From machines: of another environment, of the same, and itself.
        for (who, guest) in [("another's", &two), ("a neighbour", &db), ("itself", &web)] {
            for address in ["10.86.255.254:8080", "203.0.113.1:8080"] {
                assert_eq!(guest.space.fetch(address).as_deref(), Some("web to 10.86.255.254"), "{who} by {address}");
            }
        }
        // What isn't exposed isn't there.
        assert_eq!(host.world.fetch("203.0.113.1:80"), None);
    });
}

#[test]
fn services_on_loopback_stay_the_hosts_own() {
    on_a_host(|host| async move {
        host.up(&[&exposing(store(1, "open"), 80, 8080)]).await;
        let _private = std::net::TcpListener::bind("127.0.0.1:9999").unwrap();
        // Somebody on the lab bridge itself, worse than any machine could be.
        let intruder = common::Namespace::new(host.folder.path().join("intruder"));
        run(&format!("ip link add in0 master wardian0 type veth peer name eth0 netns {}", intruder.path().display()));
        run("ip link set in0 up");
        intruder.run("ip address add 10.86.7.7/16 dev eth0");
        intruder.run("ip link set eth0 up");
        intruder.run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
        intruder.run("ip route add 127.0.0.1/32 via 10.86.255.254 src 10.86.7.7");
        intruder.run("ip rule add pref 0 to 127.0.0.1 lookup main");
        assert!(intruder.pings("10.86.255.254"));
        assert!(intruder.attempt("nc -z -w1 127.0.0.1 9999").is_none());
        assert!(common::packets(&run("nft list counter inet wardian_wardian0 loopback")) > 0, "the packets did arrive");
    });
}

#[test]
fn an_outsider_with_an_inside_address_is_served() {
    on_a_host(|host| async move {
        // The world's network is the environment's own; its computer even has the address of `db`.
        host.world.run("ip address add 192.168.23.2/24 dev eth0");
        run("ip address add 192.168.23.77/24 dev lan0");
        let plans = host.up(&[&exposing(store(1, "out-only"), 80, 8080)]).await;
        let (web, db) = (host.boot_configured(&plans[0], 0).await, host.boot_configured(&plans[0], 1).await);
        let _web = web.space.listen(80, "web");
        assert_eq!(host.world.fetch("192.168.23.77:8080").as_deref(), Some("web to 192.168.23.254"));
        assert_eq!(fetch("192.168.23.77:8080").as_deref(), Some("web to 192.168.23.254"));
        assert_eq!(db.space.fetch("192.168.23.1").as_deref(), Some("web to 192.168.23.2"));
    });
}

#[test]
fn others_bridges_keep_their_netfilter() {
    on_a_host(|host| async move {
        let Ok(before) = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables") else {
            return println!("this kernel has no br_netfilter");
        };
        run("ip link add docker0 type bridge");
        let (one, two) = (exposing(store(1, "out-only"), 80, 8080), store(2, "open"));
        let plans = host.up(&[&one, &two]).await;
        assert_eq!(std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").unwrap(), before);
        // And with it on, all but one way works: see `bypass_netfilter`.
        let (web, two) = (host.boot_configured(&plans[0], 0).await, host.boot_configured(&plans[1], 0).await);
        let (_web, _two) = (web.space.listen(80, "web"), two.space.listen(80, "two"));
        assert_eq!(two.space.fetch("10.86.0.2").as_deref(), Some("web to 10.86.0.4"));
        assert_eq!(web.space.fetch("10.86.0.4").as_deref(), Some("two to 10.86.0.2"));
        assert_eq!(fetch("127.0.0.1:8080").as_deref(), Some("web to 10.86.255.254"));
        assert_eq!(host.world.fetch("203.0.113.1:8080").as_deref(), Some("web to 203.0.113.2"));
    });
}

#[test]
fn an_exposed_datagram_port_answers_from_where_it_was_asked() {
    on_a_host(|host| async move {
        let record = common::exposing_as(store(1, "out-only"), "udp", 53, 5353);
        let plan = host.up(&[&record]).await.remove(0);
        let web = host.boot_configured(&plan, 0).await;
        let server = web.space.enter(|| std::net::UdpSocket::bind("0.0.0.0:53").unwrap());
        let echo = std::thread::spawn(move || {
            let mut buffer = [0; 100];
            for _ in 0..2 {
                let (length, from) = server.recv_from(&mut buffer).unwrap();
                server.send_to(&buffer[..length], from).unwrap();
            }
        });
        // A connected socket takes answers from the asked address only.
        let ask = |to: &str| {
            let client = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            client.connect(to).unwrap();
            client.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
            client.send(b"word").unwrap();
            client.recv(&mut [0; 100]).unwrap()
        };
        assert_eq!(ask("127.0.0.1:5353"), 4);
        assert_eq!(host.world.enter(|| ask("203.0.113.1:5353")), 4);
        echo.join().unwrap();
    });
}
