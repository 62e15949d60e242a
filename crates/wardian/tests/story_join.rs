//! A host that is alone comes into a cluster while its machines run: nobody inside notices, and whatever is in the way
//! is told before anything has changed.

use std::fs;

use wardian_testkit::{Run, TestCluster, TestHost, wait};

/// Serves a page, and counts from its start on.
const WEB: &str = r#"
name: web
machines:
  m:
    image: micro
    memory: 80 MiB
    ready: { http: { port: 80, path: /page }, timeout: 10m }
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /srv/www /etc/wardian
        echo hello > /srv/www/page
        count='(i=0; while :; do i=$((i+1)); echo $i > /run/count; sleep 1; done) &'
        printf '#!/bin/sh\n%s\nhttpd -h /srv/www\n' "$count" > /etc/wardian/start
        chmod +x /etc/wardian/start
isolation: { expose: [ m:80 at 8080 ] }
"#;

const OTHER: &str = "name: other\nmachines: { m: { image: micro, memory: 80 MiB } }\n";

/// Where the daemon is killed on its way.
const JOIN: [&str; 3] = ["join: in the cluster", "join: records copied", "join: records given up"];

/// The name, state, lab address and number of machines of each host.
fn hosts(host: &TestHost) -> Vec<(String, String, String, u64)> {
    table(&host.wardian(&["host", "ls", "--json"]).json())
}

fn table(list: &serde_json::Value) -> Vec<(String, String, String, u64)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let row = |host: &serde_json::Value| {
        let machines = host["machines"].as_u64().unwrap_or_default();
        (text(&host["name"]), text(&host["phase"]), text(&host["lab-address"]), machines)
    };
    list["hosts"].as_array().unwrap().iter().map(row).collect()
}

fn row(name: &str, lab_address: &str, machines: u64) -> (String, String, String, u64) {
    (name.to_owned(), "up".to_owned(), lab_address.to_owned(), machines)
}

fn count(host: &TestHost) -> u64 {
    host.script("web/m", "cat /run/count").trim().parse().unwrap()
}

fn serves(host: &TestHost, address: &str) -> bool {
    [format!("http://{address}/page"), "http://127.0.0.1:8080/page".to_owned()]
        .iter()
        .all(|page| host.command("curl", &["-sf", "-m", "5", page]).stdout == "hello\n")
}

fn join(host: &TestHost) -> Run {
    host.wardian(&["host", "join"])
}

/// Asks, is told all of these words, and the daemon is alone as before.
#[track_caller]
fn refused(host: &TestHost, words: &[&str]) {
    let (pid, log) = (host.daemon_pid(), host.log().matches("wardian::daemon: ready").count());
    let said = join(host).fails_with(1);
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(said.contains("hint: ") || said.contains("correct "), "what to do about it: {said}");
    assert_eq!(host.wardian(&["host", "ls", "--json"]).json()["hosts"].as_array().unwrap().len(), 0, "it is alone");
    assert!(!host.state().join("records.moved").exists());
    assert_eq!(host.daemon_pid(), pid);
    assert_eq!(host.log().matches("wardian::daemon: ready").count(), log, "the daemon has started again");
}

/// What the daemon has open below its state directory.
fn open_files(host: &TestHost) -> Vec<String> {
    let folder = format!("/proc/{}/fd", host.daemon_pid());
    let targets = fs::read_dir(folder).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let state = host.state();
    targets.filter(|path| path.starts_with(&state)).map(|path| path.display().to_string()).collect()
}

#[test]
fn story_a_host_comes_into_a_cluster_with_its_machines_running() {
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, true);
    let a = cluster.start_alone("a", 1);
    cluster.import_micro(a);
    cluster.host(a).up(WEB).ok();
    let (pid, address) = (cluster.host(a).pid_of("web/m").unwrap(), cluster.host(a).outside_address("web/m"));
    assert!(serves(cluster.host(a), &address));
    assert!(open_files(cluster.host(a)).iter().any(|path| path.contains("records")), "its records are here");

    // What is in the way is told, one after the other, and changes nothing.
    let good = cluster.configuration(a).to_owned();
    let own = good.lines().find_map(|line| line.strip_prefix("provider-address = '")?.strip_suffix('\'')).unwrap();
    let with = |what: &str, instead: &str| good.replace(what, instead);
    {
        let host = cluster.host(a);
        refused(host, &["has no [cluster]", "wardian daemon --help"]);
        host.configure(&with("[cluster]", "[cluster]\ncolour = 'blue'"));
        refused(host, &["unknown field `colour`"]);
        host.configure(&with(own, "10.1.0.99"));
        refused(host, &["no device of this host has the provider address 10.1.0.99", own]);
        host.configure(&with("[cluster]", "[lab]\nprefix = '10.99.0.0/16'\n[cluster]"));
        refused(host, &["[lab] prefix is 10.86.0.0/16 here and 10.99.0.0/16 in the file"]);
        host.configure(&with("certificate = '", "certificate = '/nowhere"));
        refused(host, &["certificate"]);
    }
    cluster.etcd().kill(0);
    cluster.host(a).configure(&good);
    refused(cluster.host(a), &["etcd", "can be reached from here"]);
    cluster.etcd().start_again(0);
    assert_eq!(cluster.host(a).pid_of("web/m"), Some(pid));
    assert!(serves(cluster.host(a), &address));

    // It founds the cluster. Its machine runs on, as the same process, and is reached as before.
    let (daemon, before) = (cluster.host(a).daemon_pid(), count(cluster.host(a)));
    let joined = join(cluster.host(a));
    println!("{}{}", joined.stderr, joined.stdout);
    assert!(joined.stderr.contains("this host founds a cluster as a"), "{}", joined.stderr);
    assert!(joined.stderr.contains("1 environment, 1 machine, 1 image, 0 snapshots"), "{}", joined.stderr);
    assert!(joined.ok().contains("LAB ADDRESS"));
    {
        let host = cluster.host(a);
        assert_eq!(host.daemon_pid(), daemon);
        let name = fs::read_to_string(format!("/proc/{daemon}/comm")).unwrap();
        assert_eq!(name.trim(), "wardian", "who looks at processes sees no other one");
        assert_eq!(hosts(host), [row("a", "10.86.255.254", 1)]);
        assert!(host.state().join("records.moved").exists());
        let open = open_files(host);
        assert!(!open.iter().any(|path| path.contains("records")), "still open: {open:?}");
        assert_eq!(host.pid_of("web/m"), Some(pid));
        assert_eq!(host.outside_address("web/m"), address);
        wait::until("the machine is reached from both sides", wait::SOON, || serves(host, &address).then_some(()));
        let after = count(host);
        assert!(after >= before, "it has counted anew: {after} after {before}");
        wait::until("it counts on", wait::SOON, || (count(host) > after).then_some(()));
        let list = host.wardian(&["ls"]).ok();
        assert!(list.lines().next().is_some_and(|head| head.contains("HOST")), "{list}");
        let said = join(host).fails_with(1);
        assert!(said.contains("in a cluster already, as a"), "{said}");
        // It is adopted, not only looked at: its end is noticed, and it is collected.
        host.wardian(&["down", "--quiet", "web"]).ok();
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "its process is left behind");
        host.wardian(&["start", "--quiet", "web"]).ok();
    }

    // Another one, which has what the first has.
    let b = cluster.start_alone("b", 2);
    cluster.import_micro(b);
    cluster.host(b).up(OTHER).ok();
    let good = cluster.configuration(b).to_owned();
    {
        let host = cluster.host(b);
        host.configure(&good.replace("[cluster]", "[lab]\nzone = 'lab.example'\n[cluster]"));
        refused(host, &["[lab] zone is lab.example here and wardian.internal in the cluster"]);
        host.configure(&good.replace("name = 'b'", "name = 'a'"));
        refused(host, &["there is already a host a in this cluster"]);
        host.configure(&good);
        refused(host, &["the cluster already has", "(of other)"]);
        // What nobody else has goes along.
        host.up(&OTHER.replace("other", "second")).ok();
        host.wardian(&["rm", "--quiet", "other"]).ok();
    }

    // Whenever it is killed on its way, the next start goes on, and who asked is told in the end.
    let second = cluster.host(b).pid_of("second/m").unwrap();
    let [first, others @ ..] = JOIN;
    cluster.host_mut(b).stop_daemon();
    cluster.host(b).configure("");
    cluster.host_mut(b).start_daemon(&[("WARDIAN_KILL_AT", first)]);
    cluster.host(b).configure(&good);
    let begun = cluster.host(b).begin(&["host", "join", "--quiet", "--json"]);
    assert!(cluster.host_mut(b).daemon_dies_within(wait::SOON), "{first}");
    for point in others {
        assert!(!cluster.host(b).state().join("records.moved").exists(), "before {point}");
        cluster.host_mut(b).spawn_daemon(&[], &[("WARDIAN_KILL_AT", point)]);
        assert!(cluster.host_mut(b).daemon_dies_within(wait::SOON), "{point}");
    }
    assert!(cluster.host(b).state().join("records.moved").exists());
    cluster.host_mut(b).start_daemon(&[]);
    let list = begun.end(wait::SOON).json();
    let both = [row("a", "10.86.255.254", 1), row("b", "10.86.255.253", 1)];
    assert_eq!(table(&list), both);
    assert_eq!(hosts(cluster.host(a)), both);
    {
        let host = cluster.host(b);
        assert_eq!(host.pid_of("second/m"), Some(second));
        assert_eq!(host.script("second/m", "echo $((6 * 7))").trim(), "42");
        let seen = cluster.host(a).wardian(&["ls", "--json"]).json();
        let of = |name: &str| {
            let found = seen["environments"].as_array().unwrap().iter().find(|one| one["name"] == name);
            found.map(|one| one["host"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!([of("web"), of("second"), of("other")], [Some("a".into()), Some("b".into()), None], "{seen}");
        wait::until("the page is reached across hosts", wait::SOON, || {
            (host.command("curl", &["-sf", "-m", "2", &format!("http://{address}/page")]).stdout == "hello\n")
                .then_some(())
        });
    }

    // From now on it starts as one of them.
    cluster.host_mut(a).stop_daemon();
    cluster.host_mut(a).start_daemon(&[]);
    assert!(serves(cluster.host(a), &address));
    let said = cluster.host(b).script("web/m", "cat /srv/www/page");
    assert_eq!(said.trim(), "hello");
}
