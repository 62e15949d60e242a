//! `clone`, of what runs, of disks only, and of a snapshot.

use wardian_testkit::TestHost;

use crate::{
    guests::{count, counted, number, tell, word},
    points::{CLONE, CLONE_OF_DISKS, CLONE_OF_SNAPSHOT},
    scene::{ONE, Scene, is},
};

/// The machine of the clone says what that of its source said, or would have.
fn goes_on_as(host: &TestHost, copy: &str, before: u64) {
    let number = number(host, copy);
    assert!(number >= before, "{copy} says {number}, its source had said {before}");
    counted(host, copy, number + 1);
}

#[test]
fn story_clone_survives_a_kill_at_every_step() {
    let mut scene = Scene::new("clone");
    scene.host.up(ONE).ok();
    count(&scene.host, "one/m");
    for (index, point) in CLONE.iter().enumerate() {
        tell(&scene.host, "one/m", &format!("before-{index}"));
        let before = number(&scene.host, "one/m");
        let asked = scene.kill_at(point, &["clone", "one", "copy"]);
        scene.recover(["clone", point], &[], asked, is("copy", "running"));
        scene.still_answers();
        // The source goes on, and so does the clone, each with its own.
        scene.counts_on("one/m", before);
        scene.stands_alone("copy/m");
        goes_on_as(&scene.host, "copy/m", before);
        assert_eq!(word(&scene.host, "copy/m"), format!("before-{index}"));
        tell(&scene.host, "copy/m", "copy");
        assert_eq!(word(&scene.host, "one/m"), format!("before-{index}"));
        scene.host.wardian(&["rm", "copy"]).ok();
    }
    // All these cuts through its disk have lost nothing.
    let before = number(&scene.host, "one/m");
    scene.host.wardian(&["down", "one"]).ok();
    scene.host.wardian(&["start", "one"]).ok();
    let kept: u64 = scene.host.script("one/m", "tail -n 1 /root/count").parse().unwrap();
    assert!(kept >= before, "the disk has {kept}, {before} was written");
    assert_eq!(scene.host.script("one/m", "awk 'NR != $1' /root/count"), "");
    scene.end(&["still", "one"]);
}

#[test]
fn story_clone_of_disks_and_of_a_snapshot_survive_a_kill_at_every_step() {
    let mut scene = Scene::new("clone-of-disks-and-snapshots");
    scene.host.up(ONE).ok();
    count(&scene.host, "one/m");
    tell(&scene.host, "one/m", "in-the-snapshot");
    scene.host.wardian(&["snapshot", "create", "one", "first"]).ok();
    // The memory of the first is on disk only, once the machine is a child of the second.
    scene.host.wardian(&["snapshot", "create", "one", "second"]).ok();
    tell(&scene.host, "one/m", "later");
    for point in CLONE_OF_SNAPSHOT {
        let before = number(&scene.host, "one/m");
        let asked = scene.kill_at(point, &["clone", "one@first", "copy"]);
        scene.recover(["clone of a snapshot", point], &[], asked, is("copy", "running"));
        scene.counts_on("one/m", before);
        scene.stands_alone("copy/m");
        goes_on_as(&scene.host, "copy/m", 1);
        assert_eq!(word(&scene.host, "copy/m"), "in-the-snapshot");
        scene.still_answers();
        scene.host.wardian(&["rm", "copy"]).ok();
    }
    scene.host.wardian(&["snapshot", "rm", "one", "first", "second"]).ok();
    for (index, point) in CLONE_OF_DISKS.iter().enumerate() {
        scene.host.script("one/m", &format!("echo before-{index} >> /root/log && sync"));
        let before = number(&scene.host, "one/m");
        let asked = scene.kill_at(point, &["clone", "--boot", "one", "copy"]);
        scene.recover(["clone of disks", point], &[], asked, is("copy", "running"));
        scene.counts_on("one/m", before);
        scene.stands_alone("copy/m");
        let log = scene.host.script("copy/m", "cat /root/log");
        assert!(log.contains(&format!("before-{index}")) && !log.contains(&format!("before-{}", index + 1)), "{log}");
        scene.still_answers();
        scene.host.wardian(&["rm", "copy"]).ok();
    }
    scene.end(&["still", "one"]);
}
