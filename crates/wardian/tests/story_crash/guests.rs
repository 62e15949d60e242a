//! What a guest shows of itself: a count it keeps in memory and on disk, and words; and which processes machines are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wardian_testkit::{TestHost, wait};

/// `/tmp` is on the micro guest's disk; memory is `/dev/shm`. After `sync` the disk has what was written.
const COUNT: &str = "(i=0; while :; do i=$((i+1)); echo $i >> /dev/shm/count; echo $i >> /root/count; sync; \
                     sleep 0.2; done) >/dev/null 2>&1 </dev/null &";

/// Last number in memory and on disk, and whether all before them are there, once each. The disk is read anew, past
/// everything the guest remembers of it.
const READ: &str = "all='NR != $1 { bad = 1 } END { print NR, bad + 0 }'; awk \"$all\" /dev/shm/count; \
                    sync; echo 3 > /proc/sys/vm/drop_caches; awk \"$all\" /root/count";

/// Begins to count in a guest.
pub(crate) fn count(host: &TestHost, machine: &str) {
    host.script(machine, COUNT);
    counted(host, machine, 1);
}

/// How far a guest has counted. Never a number twice, none left out, and the disk says the same as memory.
#[track_caller]
pub(crate) fn number(host: &TestHost, machine: &str) -> u64 {
    let said = host.script(machine, READ);
    let numbers: Vec<u64> = said.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
    let [memory, gaps, disk, gaps_on_disk] = numbers[..] else { panic!("{machine}: {said}") };
    assert_eq!((gaps, gaps_on_disk), (0, 0), "{machine} left numbers out, or said them twice: {said}");
    assert!(disk + 1 >= memory, "{machine} has lost what was on its disk: {said}");
    memory
}

/// Waits until a guest has counted that far; gives how far it is.
#[track_caller]
pub(crate) fn counted(host: &TestHost, machine: &str, least: u64) -> u64 {
    wait::until(&format!("{machine} counts to {least}"), wait::SOON, || {
        Some(number(host, machine)).filter(|number| *number >= least)
    })
}

/// Gives a guest a word, in memory and on disk.
pub(crate) fn tell(host: &TestHost, machine: &str, word: &str) {
    host.script(machine, &format!("echo {word} > /dev/shm/word; echo {word} > /root/word; sync"));
}

/// The word a guest has: the same in memory and on disk.
#[track_caller]
pub(crate) fn word(host: &TestHost, machine: &str) -> String {
    let said = host.script(machine, "sync; echo 3 > /proc/sys/vm/drop_caches; cat /dev/shm/word /root/word");
    let words: Vec<_> = said.lines().collect();
    assert!(words.len() == 2 && words[0] == words[1], "{machine} has these words: {words:?}");
    words[0].to_owned()
}

/// A QEMU of a machine, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    pub(crate) machine: String,
    /// A successor stands beside its machine until it takes its place.
    pub(crate) beside: bool,
    pub(crate) pid: u32,
}

/// All QEMU processes of a host, whatever a daemon knows of them. Looked at until nobody has moved meanwhile: a machine
/// that hands its place over while one after the other is looked at would be seen in the place of neither.
pub(crate) fn standing(host: &TestHost) -> Vec<Standing> {
    let mut before = look(host);
    loop {
        let now = look(host);
        if now == before {
            return now;
        }
        before = now;
    }
}

fn look(host: &TestHost) -> Vec<Standing> {
    let mut found: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| stands(&entry.path(), host.folder(), &host.run_directory().join("m")))
        .collect();
    found.sort();
    found
}

/// By its command line it is a QEMU of that host; by the lock it holds, it stands in a runtime directory.
fn stands(process: &Path, folder: &Path, directories: &Path) -> Option<Standing> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let line = fs::read(process.join("cmdline")).ok()?;
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let ours = words.iter().any(|word| word.contains(&*folder.to_string_lossy()));
    if !ours || !words.first()?.contains("qemu-system") {
        return None;
    }
    let machine = words.iter().find_map(|word| word.strip_prefix("guest=")?.split(',').next())?.to_owned();
    let open = fs::read_dir(process.join("fd")).ok()?.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let lock: PathBuf = open.into_iter().find(|path| path.starts_with(directories) && path.ends_with("lock"))?;
    let directory = lock.parent()?.file_name()?.to_str()?.to_owned();
    Some(Standing { machine, beside: directory.ends_with(".next"), pid })
}
