//! The distribution's packages that building, testing and running Wardian need: installed by name, in one go, only
//! when missing and only as root. QEMU comes from the backports suite where the stable one is too old.
//!
//! Server addresses are never written here: the suite is added to the source entries this machine already has.

use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything but QEMU.
const PACKAGES: &[&str] = &[
    "busybox-static",
    // For the packet filter, when Wardian is built.
    "clang",
    "cpio",
    "curl",
    "e2fsprogs",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "isc-dhcp-client",
    "knot-dnsutils",
    "libbpf-dev",
    "lz4",
    "mmdebstrap",
    "netcat-openbsd",
    "nftables",
    "openssh-client",
    "procps",
    "tcpdump",
];

/// What only tests need. BIND, etcd and Open vSwitch are services, which their packages start: nothing for a host that
/// just runs Wardian.
const FOR_TESTS: &[&str] =
    &["bind9", "bind9-dnsutils", "etcd-server", "ethtool", "faketime", "openvswitch-switch", "python3-scapy", "tshark"];

/// One source, so that their versions agree.
const QEMU: &[&str] = &["qemu-system-x86", "qemu-utils", "qemu-block-extra"];

/// The oldest QEMU that Wardian accepts (`MINIMUM` in `wardian-machine`); the facts of its design were measured on 10.
const OLDEST_QEMU: Version = (8, 2);

/// Major and minor number.
type Version = (u32, u32);

/// Installs what is missing; does nothing, quickly, when nothing is.
pub(crate) fn ensure() -> Result<()> {
    ensure_all(PACKAGES)
}

/// The same, with what tests need beside.
pub(crate) fn ensure_for_tests() -> Result<()> {
    ensure_all(&[PACKAGES, FOR_TESTS].concat())
}

fn ensure_all(names: &[&str]) -> Result<()> {
    let missing = missing(names)?;
    let qemu = if qemu_is_there() { Vec::new() } else { QEMU.to_vec() };
    if missing.is_empty() && qemu.is_empty() {
        return Ok(());
    }
    let all: Vec<&str> = missing.iter().chain(&qemu).copied().collect();
    if !nix::unistd::geteuid().is_root() {
        bail!("packages are missing: {}\nhint: run this once as root, or install them yourself", all.join(" "));
    }
    eprintln!("installing packages: {}", all.join(" "));
    if !all.iter().all(|name| candidate(name).is_some()) {
        update()?;
    }
    if !missing.is_empty() {
        install(&missing, None)?;
    }
    if !qemu.is_empty() {
        // Apart from the others, which stay with the stable suite.
        install(&qemu, suite_for_qemu()?.as_deref())?;
    }
    Ok(())
}

fn install(names: &[&str], suite: Option<&str>) -> Result<()> {
    let mut command = apt_get();
    command.args(["install", "--no-install-recommends"]);
    if let Some(suite) = suite {
        eprintln!("{} from {suite}", names.join(" "));
        // Asking for `name/suite` would leave what the package needs behind; -t takes both from there.
        command.args(["-t", suite]);
    }
    run::shown(command.args(names))
}

/// Makes sure that the package lists are there: a fresh machine may come without.
pub(crate) fn lists() -> Result<()> {
    if candidate("linux-image-cloud-amd64").is_some() { Ok(()) } else { update() }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-y"]).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

/// Fetches the package lists.
pub(crate) fn update() -> Result<()> {
    run::shown(apt_get().arg("update"))
}

fn missing<'a>(names: &[&'a str]) -> Result<Vec<&'a str>> {
    // Fails when one is unknown, but prints the others all the same.
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(names)
        .output()
        .context("cannot start dpkg-query: this task knows Debian and its children only")?;
    let known = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.iter().copied().filter(|name| !known.lines().any(|line| line == format!("{name} installed"))).collect())
}

fn qemu_is_there() -> bool {
    let of = |program: &str| run::read(Command::new(program).arg("--version")).ok().and_then(|text| version(&text));
    // Asked of the programs, not of dpkg: one built from source serves as well.
    ["qemu-system-x86_64", "qemu-img"].iter().all(|program| of(program) >= Some(OLDEST_QEMU))
}

/// The numbers around the first dot: `QEMU emulator version 10.0.2`, `1:10.0.2+ds-2`.
fn version(text: &str) -> Option<Version> {
    let (before, after) = text.split_once('.')?;
    let major = before.rsplit(|letter: char| !letter.is_ascii_digit()).next()?;
    let minor = after.split(|letter: char| !letter.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn candidate(name: &str) -> Option<String> {
    let policy = run::read(Command::new("apt-cache").args(["policy", name]).env("LC_ALL", "C")).ok()?;
    let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (line != "(none)").then(|| line.to_owned())
}

/// The suite to ask for QEMU, when the default one is too old; enables it where it is not.
fn suite_for_qemu() -> Result<Option<String>> {
    if candidate("qemu-system-x86").and_then(|text| version(&text)) >= Some(OLDEST_QEMU) {
        return Ok(None);
    }
    let codename = codename()?;
    let suite = format!("{codename}-backports");
    let offered = || {
        run::read(Command::new("apt-cache").args(["madison", "qemu-system-x86"]).env("LC_ALL", "C"))
            .is_ok_and(|text| text.contains(&suite))
    };
    if !offered() {
        enable(&codename, &suite)?;
        update()?;
        if !offered() {
            let (major, minor) = OLDEST_QEMU;
            bail!(
                "no QEMU {major}.{minor} or newer in {codename} or {suite}\nhint: install qemu-system-x86 and qemu-utils yourself"
            );
        }
    }
    Ok(Some(suite))
}

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release has no VERSION_CODENAME")
}

/// Adds the suite to the source entry that offers `codename` itself.
fn enable(codename: &str, suite: &str) -> Result<()> {
    for file in source_files() {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let changed = if file.extension().is_some_and(|end| end == "sources") {
            with_suite_deb822(&text, codename, suite)
        } else {
            with_suite_one_line(&text, codename, suite)
        };
        if let Some(changed) = changed {
            eprintln!("enabling {suite} in {}", file.display());
            return fs::write(&file, changed).with_context(|| format!("cannot write {}", file.display()));
        }
    }
    bail!("no package source offers {codename}, so {suite} cannot be enabled\nhint: add it to your sources by hand")
}

fn source_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "sources" || end == "list"))
        .collect();
    files.sort();
    if Path::new("/etc/apt/sources.list").is_file() {
        files.insert(0, "/etc/apt/sources.list".into());
    }
    files
}

/// `Suites: bookworm bookworm-updates` gets one more word; `None` when no such line names the release.
fn with_suite_deb822(text: &str, codename: &str, suite: &str) -> Option<String> {
    edit_first(text, |line| {
        let suites = line.strip_prefix("Suites:")?;
        suites.split_whitespace().any(|word| word == codename).then(|| format!("{} {suite}", line.trim_end()))
    })
}

/// `deb [options] URI bookworm main` is repeated with the other suite.
fn with_suite_one_line(text: &str, codename: &str, suite: &str) -> Option<String> {
    edit_first(text, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() != Some(&"deb") {
            return None;
        }
        let at = words.iter().position(|word| *word == codename)?;
        let copy: Vec<&str> =
            words.iter().enumerate().map(|(index, word)| if index == at { suite } else { word }).collect();
        Some(format!("{line}\n{}", copy.join(" ")))
    })
}

fn edit_first(text: &str, edit: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut done = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| match edit(line) {
            Some(changed) if !done => {
                done = true;
                changed
            }
            _ => line.to_owned(),
        })
        .collect();
    done.then(|| lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_are_found_with_and_without_an_epoch() {
        assert_eq!(version("QEMU emulator version 10.0.2 (Debian 1:10.0.2)"), Some((10, 0)));
        assert_eq!(version("1:7.2+dfsg-7+deb12u18"), Some((7, 2)));
        assert_eq!(version("none"), None);
        assert!(version("1:8.1.5") < Some(OLDEST_QEMU) && version("1:10.0.2+ds-2") >= Some(OLDEST_QEMU));
    }

    #[test]
    fn a_deb822_source_gets_the_suite_where_the_release_is() {
        let text = "Types: deb\nURIs: http://one.example\nSuites: bookworm-security\n\nTypes: deb\nSuites: bookworm bookworm-updates\n";
        let changed = with_suite_deb822(text, "bookworm", "bookworm-backports").unwrap();
        assert!(changed.contains("Suites: bookworm bookworm-updates bookworm-backports\n"));
        assert!(changed.contains("Suites: bookworm-security\n"));
    }

    #[test]
    fn a_one_line_source_is_repeated_with_its_options() {
        let text = "# main\ndeb [signed-by=/k] http://one.example/debian bookworm main contrib\n";
        let changed = with_suite_one_line(text, "bookworm", "bookworm-backports").unwrap();
        assert!(changed.ends_with("deb [signed-by=/k] http://one.example/debian bookworm-backports main contrib\n"));
        assert!(with_suite_one_line("deb http://x sid main\n", "bookworm", "b").is_none());
    }
}
