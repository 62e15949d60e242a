//! A real BIND for tests: two zones that it lets keys update, as its administrator would, and one that nobody may.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{TestHost, wait};

/// Where it listens.
pub const SERVER: &str = "127.0.0.1:53";
/// The zones that the key may update.
pub const ZONES: [&str; 2] = ["lab.example", "86.10.in-addr.arpa"];
/// The name of a key for them. `wardian-512` is one for HMAC-SHA512; `stranger` is known and may update nothing.
pub const KEY: &str = "wardian";
/// The secret of all keys, in base64 as configurations have it.
pub const SECRET: &str = "YSBrZXkgdGhhdCBib3RoIGtub3ch";
/// The same as bytes.
pub const SECRET_BYTES: &[u8] = b"a key that both know!";
/// A zone that nobody may update.
const READ_ONLY: &str = "readonly.example";

/// A name server with everything it has in a folder. It ends with the handle.
pub struct Bind {
    folder: PathBuf,
    child: Option<Child>,
}

impl Bind {
    /// Sets it up in the namespace of a test host, and starts it.
    ///
    /// # Panics
    /// When it can't be, with what it said.
    #[must_use]
    #[track_caller]
    pub fn start(host: &TestHost) -> Self {
        let folder = host.folder().join("bind");
        fs::create_dir(&folder).expect("a folder in one of our own");
        let mut bind = Self::set_up(&folder);
        bind.start_again(host);
        bind
    }

    /// The same in the namespace of the calling thread, with everything in `folder`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    #[track_caller]
    pub fn start_here(folder: &Path) -> Self {
        let mut bind = Self::set_up(folder);
        bind.run(Command::new("setpriv"));
        bind
    }

    #[track_caller]
    fn set_up(folder: &Path) -> Self {
        for zone in ZONES.into_iter().chain([READ_ONLY]) {
            let text = format!(
                "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns.lab.example. root.lab.example. 1 3600 600 86400 1\n@ NS ns.lab.example.\n"
            );
            let more = if zone == ZONES[0] { "ns A 127.0.0.1\nmail A 192.0.2.25\n" } else { "" };
            write(&folder.join(format!("{zone}.zone")), &(text + more));
        }
        write(&folder.join("named.conf"), &configuration(folder));
        write(&folder.join("key"), &format!("{SECRET}\n"));
        Self { folder: folder.to_owned(), child: None }
    }

    /// Starts it after [`Self::kill`], with what it had acknowledged by then.
    ///
    /// # Panics
    /// When it doesn't start, with what it said.
    #[track_caller]
    pub fn start_again(&mut self, host: &TestHost) {
        self.run(host.inside("setpriv"));
    }

    #[track_caller]
    fn run(&mut self, mut setpriv: Command) {
        let path = self.folder.join("named.log");
        let log = fs::File::create(&path).expect("a log in a folder of our own");
        // The system's own path: named is an administrator's program. It doesn't outlive the test's thread either.
        let search = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        setpriv
            .env("PATH", search)
            .args(["--pdeathsig", "KILL", "named", "-g", "-u", "root", "-n", "1", "-c"])
            .arg(self.folder.join("named.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log);
        self.child = Some(setpriv.spawn().unwrap_or_else(|error| panic!("setpriv: {error}")));
        let said = || fs::read_to_string(&path).unwrap_or_default();
        wait::until("named runs (its package is bind9)", wait::SOON, || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "named (is the package bind9 installed?) ended: {}", said());
            said().contains("running\n").then_some(())
        });
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The file with the key's secret.
    #[must_use]
    pub fn secret(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// Everything in its zones but their SOA, whose serial number grows, as it transfers them itself.
    ///
    /// # Panics
    /// When it doesn't.
    #[must_use]
    #[track_caller]
    pub fn content(&self, host: &TestHost) -> BTreeSet<String> {
        let words = ["+onesoa", "+nocmd", "+nostats", "+nocomments", "+time=5", "@127.0.0.1"];
        let transfer = |zone: &str| host.command("dig", &[&words[..], &[zone, "AXFR"]].concat()).ok();
        let text = ZONES.map(transfer).concat();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
        let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.filter(|line| !line.contains(" SOA ")).collect()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.kill();
    }
}

fn configuration(folder: &Path) -> String {
    let at = folder.display();
    let who = format!("key {KEY}; key {KEY}-512;");
    let zones = ZONES.map(|zone| (zone, &*who)).into_iter().chain([(READ_ONLY, "none;")]).map(|(zone, who)| {
        format!("zone \"{zone}\" {{ type primary; file \"{zone}.zone\"; allow-update {{ {who} }}; }};\n")
    });
    format!(
        r#"
        options {{
            directory "{at}"; pid-file "{at}/named.pid"; session-keyfile "{at}/session.key"; managed-keys-directory "{at}";
            listen-on {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
            recursion no; dnssec-validation no; allow-transfer {{ 127.0.0.1; }}; notify no;
        }};
        controls {{ }};
        key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};
        key "{KEY}-512" {{ algorithm hmac-sha512; secret "{SECRET}"; }};
        key "stranger" {{ algorithm hmac-sha256; secret "{SECRET}"; }};
        {}
        "#,
        zones.collect::<String>()
    )
}

#[track_caller]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
