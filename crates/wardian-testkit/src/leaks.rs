//! What is there of Wardian on a host, as a list that two moments can be compared by.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::TestHost;

/// One line per thing that could be left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory(BTreeSet<String>);

impl Inventory {
    #[track_caller]
    pub(crate) fn take(host: &TestHost) -> Self {
        let mut things = BTreeSet::new();
        let folder = host.folder();
        things.extend(processes(folder).into_iter().map(|(pid, name)| format!("process {pid} {name}")));
        for line in host.command("ip", &["-brief", "link"]).ok().lines() {
            things.extend(line.split_whitespace().next().map(|link| format!("link {link}")));
        }
        for line in host.command("ip", &["route", "show", "table", "all"]).ok().lines() {
            // A bridge without a cable is no other route.
            things.insert(format!("route {}", line.trim().trim_end_matches(" linkdown")));
        }
        for line in host.command("nft", &["list", "ruleset"]).ok().lines() {
            // Counters change without anything being left.
            if !line.contains("packets") {
                things.insert(format!("rule {}", line.trim()));
            }
        }
        for mount in mounts_below(&host.run_directory()) {
            things.insert(format!("mount {}", mount.display()));
        }
        let state = host.state();
        let kept = ["layers", "memory", "seeds", "vault"].map(|part| state.join(part));
        for part in kept.into_iter().chain([host.run_directory()]) {
            things.extend(files(&part).into_iter().map(|path| format!("file {}", path.display())));
        }
        things.extend(cgroups_of(folder).into_iter().map(|path| format!("cgroup {}", path.display())));
        for (what, arguments) in [("environment", ["ls", "--json"]), ("image", ["image", "--json"])] {
            let arguments: &[&str] = if what == "image" { &["image", "ls", "--json"] } else { &arguments };
            for name in names(&host.wardian(arguments).json()) {
                things.insert(format!("{what} {name}"));
            }
        }
        Self(things)
    }

    /// Nothing more than `before`.
    ///
    /// # Panics
    /// With what is more.
    #[track_caller]
    pub fn adds_nothing_to(&self, before: &Self) {
        let more: Vec<_> = self.0.difference(&before.0).collect();
        assert!(more.is_empty(), "left behind:\n{more:#?}");
    }

    /// All but the lines that contain `text`: what may stay.
    #[must_use]
    pub fn without(self, text: &str) -> Self {
        Self(self.0.into_iter().filter(|line| !line.contains(text)).collect())
    }

    /// How many lines contain `text`.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.0.iter().filter(|line| line.contains(text)).count()
    }
}

fn names(list: &serde_json::Value) -> Vec<String> {
    // Either the list itself, or an object with the list as its only array.
    let list = list.as_array().cloned().or_else(|| list.as_object()?.values().find_map(|v| v.as_array().cloned()));
    list.unwrap_or_default().iter().filter_map(|item| Some(item["name"].as_str()?.to_owned())).collect()
}

/// Processes whose command line names something below `folder`, except daemons.
pub(crate) fn processes(folder: &Path) -> Vec<(i32, String)> {
    let needle = folder.as_os_str().as_bytes();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let ours = line.windows(needle.len()).any(|part| part == needle);
            let program = String::from_utf8_lossy(line.split(|byte| *byte == 0).next()?).into_owned();
            (ours && program.contains("qemu")).then_some((pid, program))
        })
        .collect()
}

fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let paths = text.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    paths.filter(|path| path.starts_with(folder)).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}

/// Groups below `wardian` in any hierarchy.
fn cgroups() -> Vec<PathBuf> {
    let Ok(hierarchies) = fs::read_dir("/sys/fs/cgroup") else { return Vec::new() };
    let roots =
        hierarchies.flatten().map(|entry| entry.path().join("wardian")).chain(["/sys/fs/cgroup/wardian".into()]);
    roots
        .flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten())
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Those of this host's machines, and those that stay empty, whose owner can't be told: another test's are soon filled,
/// or removed, as soon as they get a processor.
fn cgroups_of(folder: &Path) -> Vec<PathBuf> {
    let ours: BTreeSet<_> = processes(folder).into_iter().map(|(pid, _)| pid.to_string()).collect();
    let members = |path: &PathBuf| fs::read_to_string(path.join("cgroup.procs")).ok();
    let empty = |path: &PathBuf| members(path).is_some_and(|members| members.trim().is_empty());
    let (mut left, filled): (Vec<_>, Vec<_>) = cgroups().into_iter().partition(empty);
    for _ in 0..20 {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        left.retain(empty);
    }
    let is_ours = |path: &PathBuf| members(path).unwrap_or_default().lines().any(|pid| ours.contains(pid.trim()));
    left.into_iter().chain(filled.into_iter().filter(is_ours)).collect()
}

/// Ends the machines of a test that failed half-way, by their process ids, and unmounts its namespaces.
pub(crate) fn clean(run: &Path, folder: &Path) {
    let machines = processes(folder);
    for (pid, _) in &machines {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
    }
    let gone = || machines.iter().all(|(pid, _)| !Path::new(&format!("/proc/{pid}")).exists());
    for _ in 0..100 {
        if gone() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for mount in mounts_below(run) {
        let _ = Command::new("umount").arg(&mount).status();
    }
    // Groups of machines that were killed just now are empty, and of nobody else.
    for (_, group) in cgroups().into_iter().map(|path| (fs::read_to_string(path.join("cgroup.procs")), path)) {
        if fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|processes| processes.trim().is_empty())
            && !machines.is_empty()
        {
            let _ = fs::remove_dir(group);
        }
    }
}
