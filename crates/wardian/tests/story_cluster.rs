//! Hosts that share their records: in two physical subnets, with three members of etcd. Environments with one inside
//! are on either host, are reached from both, and go on whoever of daemons and etcd is missing.

use std::{fs, path::PathBuf, process::Child, time::Duration};

#[path = "story_cluster/scene.rs"]
mod scene;

use scene::{SLOW, nothing_is_left, spread, two_hosts};
use wardian_testkit::{TestCluster, TestHost, wait};

/// Equal in everything but its own name.
fn file(name: &str) -> String {
    format!(
        "
name: {name}
machines:
  web:
    image: micro
    memory: 80 MiB
    ready: {{ http: {{ port: 80, path: /name }}, timeout: 10m }}
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo {name} > /srv/www/name
        printf '#!/bin/sh\\nhttpd -h /srv/www\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
isolation: {{ fence: open, expose: [ web:80 ] }}
"
    )
}

/// What has crossed between this host and the others, in packets in and out: of an environment, or of the lab network.
fn crossing(host: &TestHost, environment: Option<&str>) -> [u64; 2] {
    let shown = host.wardian(&["net", "show", "--json"]).json();
    let found = shown["subnets"].as_array().unwrap().iter().find(|subnet| match environment {
        Some(name) => subnet["environment"] == name,
        None => subnet["vsid"] == 4096,
    });
    let found = found.unwrap_or_else(|| panic!("no {environment:?} in {shown}"));
    ["in-packets", "out-packets"].map(|key| found[key].as_u64().unwrap_or_else(|| panic!("no {key} in {shown}")))
}

/// Packets to an address and back, fifty a second, whatever happens meanwhile.
struct Traffic {
    ping: Child,
    said: PathBuf,
}

impl Traffic {
    fn to(host: &TestHost, address: &str) -> Self {
        let said = host.folder().join(format!("ping-{address}"));
        let output = fs::File::create(&said).unwrap();
        let ping = host.inside("ping").args(["-n", "-i", "0.02", address]).stdout(output).spawn();
        Self { ping: ping.unwrap(), said }
    }

    /// The numbers of the packets that have come back, in their order.
    fn came_back(&self) -> Vec<u32> {
        let said = fs::read_to_string(&self.said).unwrap();
        assert!(!said.contains("DUP"), "{said}");
        let number =
            |line: &str| line.split_once(" bytes from ")?.1.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok();
        // A line may be under way.
        said.rsplit_once('\n').map_or("", |(whole, _)| whole).lines().filter_map(number).collect()
    }

    /// None is missing, up to now; those under way don't count, however many a slow guest has let queue.
    fn loses_nothing(self) {
        let before = self.came_back().len();
        let numbers = wait::until("packets still come back", SLOW, || {
            Some(self.came_back()).filter(|numbers| numbers.len() > before + 50)
        });
        println!("{} packets came back", numbers.len());
        assert!(numbers.len() > 500 && numbers.iter().copied().eq(1..=numbers.len() as u32), "{numbers:?}");
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.ping.kill();
        let _ = self.ping.wait();
    }
}

fn up(host: &TestHost, name: &str) {
    let path = host.write(&format!("{name}.yaml"), &file(name));
    host.wardian(&["up", "--quiet", &path.to_string_lossy()]).ok();
}

/// What `wardian host ls` says of each host, as that host's daemon tells it.
fn hosts(host: &TestHost) -> Vec<(String, String)> {
    let list = host.wardian(&["host", "ls", "--json"]).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    list["hosts"].as_array().unwrap().iter().map(|host| (text(&host["name"]), text(&host["phase"]))).collect()
}

fn host_of(host: &TestHost, environment: &str) -> String {
    let list = host.wardian(&["ls", "--json"]).json();
    let found = list["environments"].as_array().unwrap().iter().find(|e| e["name"] == environment);
    found.and_then(|e| e["host"].as_str()).unwrap_or_default().to_owned()
}

fn page(host: &TestHost, address: &str) -> String {
    host.curl(&format!("http://{address}/name")).ok().trim().to_owned()
}

#[test]
fn story_hosts_share_their_records_and_the_lab_network_and_outlive_each_other() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 3, true);
    let (a, b, before) = two_hosts(&mut cluster);
    assert_eq!(hosts(cluster.host(b)), [("a".into(), "up".into()), ("b".into(), "up".into())]);

    // Two with one inside, asked for at one host. The second goes where there is more room, and takes its image along.
    up(cluster.host(a), "red");
    up(cluster.host(a), "blue");
    let mut places = [host_of(cluster.host(a), "red"), host_of(cluster.host(b), "blue")];
    places.sort();
    assert_eq!(places, ["a", "b"], "both are on one host");
    let (near, far) = if host_of(cluster.host(a), "red") == "a" { ("red", "blue") } else { ("blue", "red") };

    // Either is looked at and worked with from either host.
    for at in [a, b] {
        for name in [near, far] {
            let said = cluster.host(at).script(&format!("{name}/web"), "cat /srv/www/name");
            assert_eq!(said.trim(), name, "asked of host {at}");
        }
    }

    // And reached from either, by its alias; the two reach each other, by their outsides.
    for name in [near, far] {
        let address = cluster.host(a).outside_address(&format!("{name}/web"));
        for at in [a, b] {
            let alias = format!("web.{name}.wardian.internal");
            let lab = if at == a { "10.86.255.254" } else { "10.86.255.253" };
            let asked = cluster.host(at).command("kdig", &["+short", &format!("@{lab}"), &alias]).ok();
            assert_eq!(asked.trim(), address, "the alias, asked of host {at}");
            assert_eq!(page(cluster.host(at), &address), name, "from host {at}");
        }
    }
    let other = cluster.host(a).outside_address(&format!("{far}/web"));
    let said = cluster.host(a).script(&format!("{near}/web"), &format!("wget -q -O - http://{other}/name"));
    assert_eq!(said.trim(), far);
    let own = cluster.host(a).script(&format!("{near}/web"), "wget -q -O - http://192.168.23.1/name");
    assert_eq!(own.trim(), near, "the inside is another one's");

    assert!(crossing(cluster.host(a), None).iter().all(|packets| *packets > 0), "nothing has crossed");

    // A clone is where its source is, whoever asks for it.
    cluster.host(a).wardian(&["clone", "--quiet", far, "copy"]).ok();
    assert_eq!(host_of(cluster.host(a), "copy"), "b");
    let copy = cluster.host(a).outside_address("copy/web");
    wait::until("the clone answers across hosts", SLOW, || (page(cluster.host(a), &copy) == far).then_some(()));

    // Traffic both ways from now on, through all that follows.
    let this = cluster.host(a).outside_address(&format!("{near}/web"));
    let traffic = [Traffic::to(cluster.host(a), &other), Traffic::to(cluster.host(b), &this)];

    // Without its daemon, a host's machines are reached as before.
    for (dead, name, alive, environment) in [(b, "b", a, far), (a, "a", b, near)] {
        cluster.host_mut(dead).kill_daemon();
        wait::until("the other notices that the daemon is gone", SLOW, || {
            hosts(cluster.host(alive)).contains(&(name.into(), "down".into())).then_some(())
        });
        let asked = ["exec", &format!("{environment}/web"), "--", "true"];
        let refused = cluster.host(alive).wardian(&asked).fails_with(1);
        assert!(refused.contains(&format!("host {name}")) && refused.contains("wardian host ls"), "{refused}");
        assert_eq!(page(cluster.host(alive), if dead == b { &other } else { &this }), environment);
        cluster.host_mut(dead).start_daemon(&[]);
        let said = cluster.host(alive).script(&format!("{environment}/web"), "cat /srv/www/name");
        assert_eq!(said.trim(), environment);
    }

    // One member of etcd less is not noticed; without a majority nothing can be changed, and everything goes on.
    cluster.etcd().kill(0);
    cluster.host(a).wardian(&["fence", "copy", "out-only"]).ok();
    cluster.etcd().kill(1);
    let refused = cluster.host(a).wardian(&["fence", "copy", "open"]).fails_with(1);
    assert!(refused.contains("quorum"), "{refused}");
    cluster.etcd().start_again(0);
    cluster.etcd().start_again(1);
    wait::until("changes are possible again", SLOW, || {
        cluster.host(a).wardian(&["fence", "copy", "open"]).success().then_some(())
    });
    wait::until("both hosts are there again", SLOW, || {
        hosts(cluster.host(a)).iter().all(|(_, phase)| phase == "up").then_some(())
    });
    traffic.into_iter().for_each(Traffic::loses_nothing);

    cluster.host(b).wardian(&["rm", "red", "blue", "copy"]).ok();
    nothing_is_left(&cluster, &before);
}

#[test]
fn story_an_environment_lies_on_two_hosts_and_nothing_inside_notices() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    let (a, b, before) = two_hosts(&mut cluster);
    let path = spread(cluster.host(a));
    let planned = cluster.host(a).wardian(&["plan", "place", &path, "--json"]).json();
    assert_eq!(planned["machines"], serde_json::json!({ "web": "a", "db": "b" }), "{planned}");
    cluster.host(a).wardian(&["up", "--quiet", &path]).ok();
    assert_eq!([cluster.host(a), cluster.host(b)].map(|host| host.machine_processes().len()), [1, 1]);

    // The page asks the database by its name and by its address, from one host to the other.
    let web = cluster.host(a).outside_address("store/web");
    for at in [a, b] {
        let page = cluster.host(at).curl(&format!("http://{web}/cgi-bin/index.cgi")).ok();
        assert_eq!(page.matches("a fern").count(), 2, "from host {at}: {page}");
    }
    for at in [a, b] {
        assert!(crossing(cluster.host(at), Some("store")).iter().all(|packets| *packets > 0), "nothing has crossed");
    }
    // As it is between hosts that are namespaces.
    let checks = cluster.host(a).wardian(&["host", "check"]).ok();
    assert!(checks.contains("are taken off after the driver of") && checks.contains("is in memory only"), "{checks}");
    // Either machine is worked with from either host.
    for (machine, hostname) in [("store/web", "web-server"), ("store/db", "db-server")] {
        for at in [a, b] {
            assert_eq!(cluster.host(at).script(machine, "hostname").trim(), hostname, "asked of host {at}");
        }
    }
    // The machine without an edge on its host reaches the outside, and says who it is there.
    let own = cluster.host(a).outside_address("store/db");
    let lab = ["10.86.255.254", "10.86.255.253"];
    for to in lab {
        let said = cluster.host(b).script("store/db", &format!("ping -c 3 -W 20 {to} | tail -2"));
        assert!(said.contains(" 0% packet loss"), "{own} to {to}: {said}");
    }

    // A session between the two goes on while both daemons are killed and come back.
    let pings = cluster.host(a).begin(&["exec", "store/web", "--", "ping", "-q", "-i", "0.2", "-c", "40", "db-server"]);
    std::thread::sleep(Duration::from_secs(2));
    cluster.host_mut(b).kill_daemon();
    std::thread::sleep(Duration::from_secs(1));
    cluster.host_mut(b).start_daemon(&[]);
    let said = pings.end(SLOW).ok();
    assert!(said.contains(" 0% packet loss"), "{said}");

    // Stopped and started, it lies where it lay; what was written is there.
    cluster.host(b).curl(&format!("http://{web}/cgi-bin/index.cgi?put=moss")).ok();
    cluster.host(b).wardian(&["down", "store"]).ok();
    assert_eq!([cluster.host(a), cluster.host(b)].map(|host| host.machine_processes().len()), [0, 0]);
    cluster.host(b).wardian(&["start", "store"]).ok();
    let page = cluster.host(a).curl(&format!("http://{web}/cgi-bin/index.cgi")).ok();
    assert_eq!(page.matches("moss").count(), 2, "{page}");

    // Cloned while it runs, from either host: each half goes on from its half, both at the same moment, on its own
    // host.
    let counted = |name: &str| {
        let said = cluster.host(a).script(&format!("{name}/db"), "cat /run/counter");
        said.trim().parse::<u64>().unwrap_or_else(|_| panic!("{name} counts {said:?}"))
    };
    let at_least = counted("store");
    cluster.host(b).wardian(&["clone", "--quiet", "store", "copy"]).ok();
    assert_eq!([cluster.host(a), cluster.host(b)].map(|host| host.machine_processes().len()), [2, 2]);
    let events = cluster.host(a).wardian(&["events"]).ok();
    println!("{}", events.lines().filter(|line| line.contains("was cut")).collect::<String>());
    assert!(counted("copy") >= at_least, "the clone counts anew");
    let copy = cluster.host(a).outside_address("copy/web");
    for at in [a, b] {
        let page = cluster.host(at).curl(&format!("http://{copy}/cgi-bin/index.cgi")).ok();
        assert_eq!(page.matches("moss").count(), 2, "from host {at}: {page}");
    }
    // Written in one, it does not show in the other.
    cluster.host(b).curl(&format!("http://{copy}/cgi-bin/index.cgi?put=ivy")).ok();
    let pages = [&web, &copy].map(|at| cluster.host(a).curl(&format!("http://{at}/cgi-bin/index.cgi")).ok());
    assert_eq!(pages.map(|page| page.matches("ivy").count()), [0, 2]);

    // What is not there yet is refused with the reason.
    let refused = cluster.host(b).wardian(&["snapshot", "create", "store", "now"]).fails_with(1);
    assert!(refused.contains("hosts a and b"), "{refused}");

    cluster.host(b).wardian(&["rm", "store", "copy"]).ok();
    nothing_is_left(&cluster, &before);
}
