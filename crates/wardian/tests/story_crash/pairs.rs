//! Where a second machine makes a difference: one is through, the other is not.

use crate::{
    guests::{count, number, tell, word},
    scene::{PAIR, Scene, is, snapshot_is},
};

const BOTH: [&str; 2] = ["pair/a", "pair/b"];

#[test]
fn story_two_machines_survive_a_kill_between_them() {
    let mut scene = Scene::new("two-machines");
    let file = scene.host.write("pair.yaml", PAIR).to_string_lossy().into_owned();
    let asked = scene.kill_at("start: process runs#2", &["up", &file]);
    scene.recover(["up", "start: process runs#2"], &[], asked, is("pair", "running"));
    BOTH.iter().for_each(|machine| count(&scene.host, machine));

    for point in ["cut: layer recorded#2", "cut: paused", "cut: switched", "cut: frozen"] {
        clone(&mut scene, point, &["clone", "--boot", "pair", "copy"]);
        scene.host.wardian(&["rm", "copy"]).ok();
    }
    for point in [
        "live: successors wait",
        "live: taps handed over",
        "live: a machine has handed over",
        "live: a machine has handed over#2",
        "live: running again",
        "start: state loaded",
        "start: state loaded#2",
    ] {
        BOTH.iter().for_each(|machine| tell(&scene.host, machine, point.split(' ').next_back().unwrap()));
        clone(&mut scene, point, &["clone", "pair", "copy"]);
        for machine in ["copy/a", "copy/b"] {
            scene.stands_alone(machine);
            assert_eq!(word(&scene.host, machine), point.split(' ').next_back().unwrap());
        }
        scene.host.wardian(&["rm", "copy"]).ok();
    }
    snapshots(&mut scene);
    let asked = scene.kill_at("stop: process ended#2", &["down", "pair"]);
    scene.recover(["down", "stop: process ended#2"], &[], asked, is("pair", "stopped"));
    let asked = scene.kill_at("forget: a directory is next#2", &["rm", "pair"]);
    scene.recover(["rm", "forget: a directory is next#2"], &[], asked, is("pair", "gone"));
    scene.end(&["still"]);
}

/// A clone whose daemon is killed; both sources count on.
fn clone(scene: &mut Scene, point: &str, words: &[&str]) {
    let before = BOTH.map(|machine| number(&scene.host, machine));
    let asked = scene.kill_at(point, words);
    let what = if words.contains(&"--boot") { "clone of disks" } else { "clone" };
    scene.recover([what, point], &[], asked, is("copy", "running"));
    scene.still_answers();
    for (machine, before) in BOTH.iter().zip(before) {
        scene.counts_on(machine, before);
    }
    for machine in ["a", "b"] {
        assert_eq!(scene.host.script(&format!("copy/{machine}"), "hostname"), machine);
    }
}

/// Snapshots whose daemon is killed between the machines, and going back to each.
fn snapshots(scene: &mut Scene) {
    for (snapshot, restore) in [
        ("live: a machine has handed over", "restore: process ended"),
        ("live: a machine has handed over#2", "restore: process ended#2"),
        ("memory: on disk", "disk: recorded"),
        ("memory: on disk#2", "start: state loaded"),
        ("live: taken over", "start: state loaded#2"),
    ] {
        BOTH.iter().for_each(|machine| tell(&scene.host, machine, "kept"));
        let before = BOTH.map(|machine| number(&scene.host, machine));
        let asked = scene.kill_at(snapshot, &["snapshot", "create", "pair", "moment"]);
        scene.recover(["snapshot", snapshot], &[], asked, snapshot_is("pair", "moment", "ready"));
        for (machine, before) in BOTH.iter().zip(before) {
            scene.counts_on(machine, before);
            tell(&scene.host, machine, "given-up");
        }
        assert_eq!(scene.saved_memories().len(), 2);
        let asked = scene.kill_at(restore, &["restore", "pair", "moment"]);
        scene.recover(["restore", restore], &[], asked, is("pair", "running"));
        for (machine, before) in BOTH.iter().zip(before) {
            assert_eq!(word(&scene.host, machine), "kept");
            scene.counts_on(machine, before);
        }
        scene.still_answers();
        scene.host.wardian(&["snapshot", "rm", "pair", "moment"]).ok();
        assert_eq!(scene.saved_memories(), Vec::<String>::new());
    }
}
