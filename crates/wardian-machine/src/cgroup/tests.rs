//! cgroup tests: detection on tables of mounts, and real groups of this host.

use std::path::Path;

use super::detect::from_mounts;
use super::*;

const HYBRID: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
";

fn nothing(_: &Path) -> Vec<Controller> {
    Vec::new()
}

#[test]
fn hybrid_host_uses_version_1() {
    let found = from_mounts(HYBRID, &nothing, &|_| true);
    let Hierarchy::V1(mounts) = found else { panic!("{found:?}") };
    assert_eq!(mounts.len(), 2);
    assert_eq!(mounts[0].controllers, [Controller::Cpu]);
}

#[test]
fn version_2_with_memory_wins() {
    let found = from_mounts(HYBRID, &|_| vec![Controller::Memory, Controller::Cpu], &|_| true);
    assert!(found.is_version_2(), "{found:?}");
}

#[test]
fn read_only_hierarchy_is_reported_with_its_path() {
    let found = from_mounts(HYBRID, &nothing, &|_| false);
    let Hierarchy::Unusable { why } = found else { panic!("{found:?}") };
    assert!(why.contains("/sys/fs/cgroup/memory is not writable"), "{why}");
}

#[test]
fn name_that_leaves_the_hierarchy_is_refused() {
    let hierarchy = Hierarchy::Unusable { why: String::new() };
    for name in ["", "/a", "a/../b", "a//b", "."] {
        assert!(hierarchy.remove(name).is_err(), "{name:?}");
    }
    assert!(hierarchy.remove("wardian-1/store.web").is_ok());
}

#[test]
fn host_without_cgroups_says_what_is_not_enforced() {
    let hierarchy = Hierarchy::Unusable { why: String::new() };
    let group = hierarchy.create("a/b", &Limits { cpu_percent: Some(50), ..Limits::default() }, 1 << 20).unwrap();
    assert!(group.entrances.is_empty());
    assert!(group.unenforced.iter().any(|line| line.contains("memory")), "{:?}", group.unenforced);
}

#[test]
fn real_group_is_limited_and_leaves_nothing() {
    let hierarchy = detect();
    assert!(!hierarchy.mounts().is_empty(), "this test needs root and writable cgroups: {hierarchy:?}");
    let parent = format!("wardian-test-{}", std::process::id());
    let (one, two) = (format!("{parent}/one"), format!("{parent}/two"));
    let limits = Limits { cpu_percent: Some(150), ..Limits::default() };
    for _ in 0..2 {
        let group = hierarchy.create(&one, &limits, 256 << 20).unwrap();
        assert_eq!(group.unenforced, Vec::<String>::new());
    }
    hierarchy.create(&two, &Limits::default(), 256 << 20).unwrap();
    let memory = hierarchy.mounts().iter().find(|m| m.controllers.contains(&Controller::Memory)).unwrap();
    let file = if hierarchy.is_version_2() { "memory.max" } else { "memory.limit_in_bytes" };
    let limit = std::fs::read_to_string(memory.root.join(&one).join(file)).unwrap();
    assert_eq!(limit.trim().parse::<u64>().unwrap(), (256 << 20) + (512 << 20));
    assert_eq!(hierarchy.out_of_memory_kills(&one), 0);
    // With somebody in it the limit is raised and never lowered; without, it is what is wished.
    let limit = || std::fs::read_to_string(memory.root.join(&one).join(file)).unwrap().trim().parse::<u64>().unwrap();
    let mut inside = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    std::fs::write(memory.root.join(&one).join("cgroup.procs"), inside.id().to_string()).unwrap();
    hierarchy.create(&one, &limits, 512 << 20).unwrap();
    assert_eq!(limit(), (512 << 20) + (512 << 20));
    hierarchy.create(&one, &limits, 256 << 20).unwrap();
    assert_eq!(limit(), (512 << 20) + (512 << 20));
    let unlimited = Limits { memory_overhead_bytes: None, ..limits };
    hierarchy.create(&one, &unlimited, 256 << 20).unwrap();
    let raised = std::fs::read_to_string(memory.root.join(&one).join(file)).unwrap();
    assert!(raised.trim() == "max" || raised.trim().parse::<u64>().unwrap() > 1 << 50, "{raised}");
    hierarchy.create(&one, &limits, 256 << 20).unwrap();
    assert_eq!(std::fs::read_to_string(memory.root.join(&one).join(file)).unwrap(), raised);
    inside.kill().unwrap();
    inside.wait().unwrap();
    hierarchy.create(&one, &limits, 256 << 20).unwrap();
    assert_eq!(limit(), (256 << 20) + (512 << 20));
    for name in [&one, &one, &two] {
        hierarchy.remove(name).unwrap();
    }
    for mount in hierarchy.mounts() {
        assert!(!mount.root.join(&parent).exists(), "{}", mount.root.display());
    }
}
