//! Programs that know nothing of Wardian, against a running environment: what they see is an ordinary network.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use wardian_testkit::{Client, TestHost, wait};

/// `spare` waits for `web` for ever, so its place on the switch is free for a client.
fn file(fence: &str) -> String {
    format!(
        "
name: net
machines:
  web:
    image: micro
    hostname: web-server
    memory: 96 MiB
    ready: {{ exec: [test, -e, /run/never], timeout: 1h }}
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo 'a page' > /srv/www/index.html
        cat > /etc/wardian/start <<'END'
        #!/bin/sh
        httpd -h /srv/www
        nc -ll -p 7 -e /bin/cat &
        END
        chmod +x /etc/wardian/start
  spare: {{ image: micro, hostname: spare-part, start-after: [web] }}
network: {{ domain: corp.example, subnet: 10.20.30.0/24 }}
isolation: {{ fence: {fence}, expose: [ web:80, web:7, spare:7/udp at 7007 ] }}
"
    )
}

const GATEWAY: &str = "10.20.30.254";

/// A host whose `net` has come so far that `web` serves.
fn begin(fence: &str) -> TestHost {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let path = host.write("net.yaml", &file(fence));
    host.wardian(&["up", "--no-wait", &path.to_string_lossy()]).ok();
    wait::until("web serves", Duration::from_secs(240), || {
        host.wardian(&["exec", "net/web", "--", "wget", "-q", "-O", "-", "http://127.0.0.1/"]).success().then_some(())
    });
    host
}

/// Sends a line and waits for one.
fn talk(host: &TestHost, arguments: &[&str], line: &str) -> String {
    let mut nc = host.inside("nc").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nc");
    // Its input stays open until the answer is there: `nc` goes when there is no more to send.
    let mut input = nc.stdin.take().unwrap();
    writeln!(input, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(nc.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    drop(input);
    let _ = nc.kill();
    nc.wait().unwrap();
    answer.trim().to_owned()
}

#[test]
fn story_clients_find_an_ordinary_network() {
    let host = begin("open");
    let client = Client::instead_of(&host, "net/spare");

    dhclient_gets_the_machine_its_lease(&host, &client);
    client.configure("10.20.30.2/24", GATEWAY);
    kdig_finds_names_and_what_there_is_not(&client);
    client.command("kdig", &["@10.20.30.254", "+short", "+tcp", "web-server.corp.example"]).ok();

    // Inside: between machines, and the gateway.
    client.command("ping", &["-c", "2", "-i", "0.2", "-W", "2", "10.20.30.1"]).ok();
    client.command("ping", &["-c", "2", "-i", "0.2", "-W", "2", GATEWAY]).ok();
    assert_eq!(client.command("curl", &["-sS", "--max-time", "60", "http://10.20.30.1/"]).ok(), "a page\n");
    // A machine by its own public address and the one of its neighbour: hairpin.
    let web = host.outside_address("net/web");
    assert_eq!(client.command("curl", &["-sS", "--max-time", "60", &format!("http://{web}/")]).ok(), "a page\n");
    host.script("net/web", &format!("ping -c 1 -W 20 {GATEWAY} && ping -c 1 -W 20 spare-part"));

    // From the host, with an open fence: everything at the public address.
    host.command("ping", &["-c", "2", "-i", "0.2", "-W", "2", &web]).ok();
    assert_eq!(host.curl(&format!("http://{web}/")).ok(), "a page\n");
    assert_eq!(talk(&host, &["-w", "3", &web, "7"], "by tcp"), "by tcp");
    let spare = host.outside_address("net/spare");
    assert_eq!(by_udp(&host, &client, &[&spare, "7"]), ["from outside", "from inside"]);
    // And outwards: to the host's address on the lab network.
    client.command("ping", &["-c", "1", "-W", "2", "10.86.255.254"]).ok();
}

#[test]
fn story_clients_meet_the_fence() {
    let host = begin("out-only");
    let web = host.outside_address("net/web");
    let client = Client::instead_of(&host, "net/spare");
    client.configure("10.20.30.2/24", GATEWAY);

    // What is exposed can be reached, at the public address and at the host's port.
    assert_eq!(host.curl(&format!("http://{web}/")).ok(), "a page\n");
    let exposed = host.machine("net/web")["exposed"].clone();
    let at = |port: u64| {
        let found = exposed.as_array().unwrap().iter().find(|e| e["port"] == port);
        found.unwrap_or_else(|| panic!("{port} in {exposed}"))["at"].as_u64().unwrap().to_string()
    };
    assert_eq!(host.curl(&format!("http://127.0.0.1:{}/", at(80))).ok(), "a page\n");
    assert_eq!(talk(&host, &["-w", "3", "127.0.0.1", &at(7)], "by tcp"), "by tcp");
    let spare = host.outside_address("net/spare");
    for way in [[&*spare, "7"], ["127.0.0.1", "7007"]] {
        assert_eq!(by_udp(&host, &client, &way), ["from outside", "from inside"], "{way:?}");
    }

    // What is not can't: nothing else of either. The way out stays open.
    host.command("ping", &["-c", "1", "-W", "1", &web]).fails_with(1);
    host.command("nc", &["-z", "-w", "1", &web, "81"]).fails_with(1);
    host.command("ping", &["-c", "1", "-W", "1", &spare]).fails_with(1);
    client.command("ping", &["-c", "1", "-W", "2", "10.86.255.254"]).ok();
}

#[test]
fn story_clients_of_a_sealed_environment_reach_nothing_outside() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let path = host.write("net.yaml", &file("sealed").replace(", expose: [ web:80, web:7, spare:7/udp at 7007 ]", ""));
    host.wardian(&["up", "--no-wait", &path.to_string_lossy()]).ok();
    wait::until("the network is there", wait::SOON, || host.machine("net/web")["pid"].is_number().then_some(()));
    let client = Client::instead_of(&host, "net/spare");
    client.configure("10.20.30.2/24", GATEWAY);

    let answer = client.command("kdig", &["@10.20.30.254", "+timeout=20", "www.example.org"]).ok();
    assert!(answer.contains("status: REFUSED"), "{answer}");
    assert_eq!(client.command("kdig", &["@10.20.30.254", "+short", "web-server"]).ok(), "10.20.30.1\n");
    client.command("ping", &["-c", "1", "-W", "1", "10.86.255.254"]).fails_with(1);
    host.command("ping", &["-c", "1", "-W", "1", &host.outside_address("net/web")]).fails_with(1);
}

/// What each end of a conversation by UDP hears: `nc` on the client, asked by `nc` on the host.
fn by_udp(host: &TestHost, client: &Client, to: &[&str; 2]) -> [String; 2] {
    let piped = |mut command: Command| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nc");
    let mut words = client.inside("nc");
    words.args(["-u", "-l", "7"]);
    let mut server = piped(words);
    wait::until("nc listens", wait::SOON, || client.command("ss", &["-Huln"]).ok().contains(":7 ").then_some(()));
    writeln!(server.stdin.as_ref().unwrap(), "from inside").unwrap();
    let heard = talk(host, &["-u", "-w", "3", to[0], to[1]], "from outside");
    let mut arrived = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut arrived).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    [arrived.trim().to_owned(), heard]
}

/// The real client, with a script that only writes down what it was told.
fn dhclient_gets_the_machine_its_lease(host: &TestHost, client: &Client) {
    let script = host.write("dhclient-script", "#!/bin/sh\nenv >> \"${0%/*}/told\"\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = ["leases", "pid"].map(|name| host.folder().join(name).to_string_lossy().into_owned());
    let empty = host.write(
        "dhclient.conf",
        "request subnet-mask, broadcast-address, routers, domain-name, \
        domain-name-servers, domain-search, host-name, interface-mtu;\n",
    );
    let common =
        ["-4", "-1", "-d", "-cf", &empty.to_string_lossy(), "-sf", &script.to_string_lossy()].map(str::to_owned);
    // `-d` keeps it in the foreground; `timeout` ends it after it has bound.
    let mut words: Vec<&str> = vec!["--preserve-status", "5", "dhclient"];
    words.extend(common.iter().map(String::as_str));
    words.extend(["-lf", &paths[0], "-pf", &paths[1], "eth0"]);
    let run = client.command("timeout", &words);
    let told = fs::read_to_string(host.folder().join("told")).unwrap_or_default();
    for line in [
        "reason=BOUND",
        "new_ip_address=10.20.30.2",
        "new_subnet_mask=255.255.255.0",
        "new_broadcast_address=10.20.30.255",
        "new_routers=10.20.30.254",
        "new_domain_name_servers=10.20.30.254",
        "new_domain_name=corp.example",
        "new_domain_search=corp.example.",
        "new_host_name=spare-part",
        "new_dhcp_server_identifier=10.20.30.254",
        "new_interface_mtu=1500",
    ] {
        assert!(told.lines().any(|told| told == line), "no {line} in\n{told}\n{run}");
    }
}

fn kdig_finds_names_and_what_there_is_not(client: &Client) {
    let short = |words: &str| {
        let words: Vec<_> = ["@10.20.30.254", "+short", "+timeout=20"].into_iter().chain(words.split(' ')).collect();
        client.command("kdig", &words).ok().trim().to_owned()
    };
    for name in ["web", "web-server", "web-server.corp.example", "WEB-Server.Corp.Example", "web.corp.example"] {
        assert_eq!(short(&format!("{name} A")), "10.20.30.1", "{name}");
    }
    assert_eq!(short("spare-part.corp.example A"), "10.20.30.2");
    assert_eq!(short("-x 10.20.30.1"), "web-server.corp.example.");

    let status = |words: &str| {
        let words: Vec<_> = ["@10.20.30.254", "+timeout=10"].into_iter().chain(words.split(' ')).collect();
        let answer = client.command("kdig", &words).ok();
        let (_, rest) = answer.split_once("status: ").unwrap_or_else(|| panic!("no status in {answer}"));
        let answers = answer.contains("ANSWER SECTION");
        (rest.split(';').next().unwrap().to_owned(), answers)
    };
    let nothing = |word: &str| (word.to_owned(), false);
    assert_eq!(status("web-server.corp.example AAAA"), nothing("NOERROR"));
    assert_eq!(status("nobody.corp.example A"), nothing("NXDOMAIN"));
    assert_eq!(status("nobody A"), nothing("NXDOMAIN"));
    assert_eq!(status("-x 10.20.30.77"), nothing("NXDOMAIN"));
    // This host has nobody to ask about the rest of the world.
    assert_eq!(status("www.example.org A"), nothing("SERVFAIL"));
}
