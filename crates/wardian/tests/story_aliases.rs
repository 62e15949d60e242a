//! Twenty clones that resumed from memory, each found by its own names: at the lab network's name server, and at a BIND
//! that is told of them, also when the daemon is killed before it has told that they are gone.

use wardian_testkit::{
    Bind, TestHost,
    bind::{KEY, SERVER, ZONES},
    wait,
};

const HOW_MANY: usize = 20;

/// The host's address on the lab network, where names are asked for.
const LAB: &str = "10.86.255.254";

const FILE: &str = "
name: store
machines:
  web:
    image: micro
    hostname: web-server
    memory: 80 MiB
    ready: { http: { port: 80, path: /word } }
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo store > /srv/www/word
        printf '#!/bin/sh\\nhttpd -h /srv/www\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
isolation: { fence: open }
";

/// A web server of an environment, and how it is called.
struct Web {
    environment: String,
    address: String,
    alias: String,
    opaque: String,
}

impl Web {
    #[track_caller]
    fn of(host: &TestHost, environment: &str) -> Self {
        let list = host.wardian(&["addresses", environment, "web", "--json"]).json();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_else(|| panic!("{list}")).to_owned();
        let web = &list["addresses"][0];
        assert_eq!(web["inside"]["hostname"], "web-server");
        Self {
            environment: environment.to_owned(),
            address: text(&web["outside"]["address"]),
            alias: text(&web["alias"]),
            opaque: text(&web["opaque-alias"]),
        }
    }

    /// Its names and its address, and what each leads to, as `kdig` says it.
    fn questions(&self) -> [(Vec<&str>, String); 3] {
        [
            (vec![&self.alias, "A"], self.address.clone()),
            (vec![&self.opaque, "A"], self.address.clone()),
            (vec!["-x", &self.address], format!("{}.", self.alias)),
        ]
    }

    /// Whether a name server knows all of that, or nothing of it.
    #[track_caller]
    fn is_known(&self, host: &TestHost, server: &str) -> bool {
        let right = self.questions().map(|(question, answer)| {
            let found = ask(host, server, &question);
            assert!(found.is_empty() || found == answer, "{question:?} at {server}: {found:?} and not {answer:?}");
            !found.is_empty()
        });
        assert!(right[0] == right[1] && right[1] == right[2], "{} at {server}: {right:?}", self.environment);
        right[0]
    }
}

#[track_caller]
fn ask(host: &TestHost, server: &str, question: &[&str]) -> String {
    let at = format!("@{server}");
    host.command("kdig", &[&[&*at, "+short", "+time=3"], question].concat()).ok().trim().to_owned()
}

/// Asks for a page by name, and nothing but the lab network's name server for the name: in a mount namespace of its
/// own, where that one is the system's.
#[track_caller]
fn page_by_name(host: &TestHost, name: &str) -> String {
    let resolver = host.write("resolv.conf", &format!("nameserver {LAB}\n"));
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec curl -sS --fail --noproxy '*' --max-time 60 http://{name}/word",
        resolver.display()
    );
    host.command("unshare", &["--mount", "sh", "-c", &script]).ok().trim().to_owned()
}

/// The daemon with BIND to tell.
fn configure(host: &TestHost, bind: &Bind) -> String {
    let text = format!(
        "[lab]\nzone = '{}'\n[dns-update]\nserver = '{SERVER}'\nreverse-zone = '{}'\nkey-name = '{}'\nkey-secret-file = '{}'\n",
        ZONES[0],
        ZONES[1],
        KEY,
        bind.secret().display()
    );
    host.write("wardian.toml", &text).to_string_lossy().into_owned()
}

#[test]
fn story_twenty_clones_answer_to_their_own_aliases_and_leave_none() {
    let mut host = TestHost::without_daemon(env!("CARGO_BIN_EXE_wardian"));
    let mut bind = Bind::start(&host);
    let config = configure(&host, &bind);
    let empty = bind.content(&host);
    host.start_daemon_with(&["--config", &config]);
    host.import_micro();
    let before = host.inventory();
    host.up(FILE).ok();
    let store = Web::of(&host, "store");
    // Names are there as soon as machines are: nobody waits for them.
    assert!(store.is_known(&host, LAB));

    host.wardian(&["clone", "store", "lab", "--count", &HOW_MANY.to_string()]).ok();
    let names: Vec<_> = (1..=HOW_MANY).map(|number| format!("lab-{number}")).collect();
    let mut all: Vec<_> = names.iter().map(|name| Web::of(&host, name)).collect();
    for web in &all {
        assert!(web.is_known(&host, LAB), "{} has no names", web.environment);
        host.script(&format!("{}/web", web.environment), &format!("echo i am {} > /srv/www/word", web.environment));
    }
    for web in &all {
        assert_eq!(web.alias, format!("web.{}.{}", web.environment, ZONES[0]));
        for name in [&web.alias, &web.opaque] {
            assert_eq!(page_by_name(&host, name), format!("i am {}", web.environment), "by {name}");
        }
    }
    assert_eq!(page_by_name(&host, &store.alias), "store");
    let line = host.wardian(&["addresses", "lab-7", "web"]).ok();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with(&format!("web.lab-7.lab.example is {}", all[6].address)), "{line}");

    // BIND holds the same, and nothing else.
    all.push(store);
    wait::until("BIND holds three records of each", wait::SOON, || {
        (bind.content(&host).len() == empty.len() + 3 * all.len()).then_some(())
    });
    for web in &all {
        assert!(web.is_known(&host, "127.0.0.1"), "BIND doesn't know {}", web.environment);
    }

    // The daemon dies between writing down what it is about to tell and telling it.
    host.kill_daemon();
    host.spawn_daemon(&["--config", &config], &[("WARDIAN_KILL_AT", "aliases: begun")]);
    host.await_daemon();
    let gone = host.wardian(&["rm", "lab-20"]);
    assert!(host.daemon_dies_within(wait::SOON), "it told BIND without writing it down first: {gone}");
    host.start_daemon_with(&["--config", &config]);
    wait::until("BIND has forgotten the first", wait::SOON, || {
        (bind.content(&host).len() == empty.len() + 3 * HOW_MANY).then_some(())
    });
    wait::until("lab-20 is removed", wait::SOON, || (!host.wardian(&["status", "lab-20"]).success()).then_some(()));
    let one = all.remove(HOW_MANY - 1);
    assert!(!one.is_known(&host, LAB) && !one.is_known(&host, "127.0.0.1"), "lab-20 still has names");

    // All others go while BIND is away, and then the daemon dies: only its records know what BIND has to be told.
    bind.kill();
    let names: Vec<_> = all.iter().map(|web| &*web.environment).collect();
    host.wardian(&[&["rm"], &names[..]].concat()).ok();
    for web in &all {
        assert!(!web.is_known(&host, LAB), "{} still has names", web.environment);
    }
    let checks = host.wardian(&["host", "check"]).stdout;
    let update = checks.lines().find(|line| line.starts_with("dns-update")).unwrap_or_default();
    assert!(update.contains("warning") && update.contains(SERVER), "{checks}");
    host.inventory().adds_nothing_to(&before);
    host.kill_daemon();
    bind.start_again(&host);
    assert_eq!(bind.content(&host).len(), empty.len() + 3 * all.len(), "BIND remembers what it was told");
    host.start_daemon_with(&["--config", &config]);
    wait::until("BIND is as it was", wait::SOON, || (bind.content(&host) == empty).then_some(()));
}

/// Another program has the port: environments run, names come when it ends, and both are said.
#[test]
fn story_a_taken_name_server_port_keeps_nothing_from_running() {
    let mut host = TestHost::without_daemon(env!("CARGO_BIN_EXE_wardian"));
    let words = ["-u", "-l", "-k", "0.0.0.0", "53"];
    let mut other = host.inside("nc").args(words).stdin(std::process::Stdio::null()).spawn().unwrap();
    wait::until("nc listens", wait::SOON, || {
        host.command("ss", &["-H", "-u", "-l", "-n", "sport = 53"]).ok().contains(":53").then_some(())
    });
    host.start_daemon_with(&["--lab-zone", "lab.example"]);
    assert_eq!(host.log().matches("does another name server listen there").count(), 1, "{}", host.log());
    let checks = host.wardian(&["host", "check"]).stdout;
    let aliases = checks.lines().find(|line| line.starts_with("aliases")).unwrap_or_default();
    assert!(aliases.contains("warning") && aliases.contains(LAB), "{checks}");
    assert!(checks.contains("hint: aliases: "), "{checks}");

    other.kill().unwrap();
    other.wait().unwrap();
    wait::until("the server starts", wait::SOON, || {
        host.log().contains("the names of machines are served").then_some(())
    });
    assert_eq!(ask(&host, LAB, &["ns.lab.example", "A"]), LAB);
    let checks = host.wardian(&["host", "check"]).stdout;
    assert!(checks.lines().any(|line| line.starts_with("aliases") && line.contains("ok")), "{checks}");
}
