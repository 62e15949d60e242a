//! `up` and `rm`, `down` and `start`.

use wardian_testkit::wait;

use crate::{
    points::{DOWN, REMOVE, START, UP},
    scene::{ONE, Scene, is},
};

#[test]
fn story_up_and_rm_survive_a_kill_at_every_step() {
    let mut scene = Scene::new("up-and-rm");
    let with_still = scene.host.inventory();
    let file = scene.host.write("one.yaml", ONE).to_string_lossy().into_owned();
    for (up, remove) in UP.iter().zip(REMOVE) {
        let asked = scene.kill_at(up, &["up", &file]);
        // The daemon that ends this one is killed in the removal.
        scene.recover(["up", up], &[("WARDIAN_KILL_AT", remove)], asked, is("one", "running"));
        assert_eq!(scene.host.script("one/m", "hostname"), "m");
        scene.still_answers();
        let asked = scene.ask_until_killed(remove, &["rm", "one"]);
        scene.recover(["rm", remove], &[], asked, is("one", "gone"));
        scene.still_answers();
        scene.nothing_is_left(&with_still);
    }
    assert_eq!(UP.len(), REMOVE.len());
    scene.end(&["still"]);
}

#[test]
fn story_down_and_start_survive_a_kill_at_every_step() {
    let mut scene = Scene::new("down-and-start");
    scene.host.up(ONE).ok();
    scene.host.script("one/m", "echo kept > /root/data && sync");
    for (index, start) in START.iter().enumerate() {
        if let Some(down) = DOWN.get(index) {
            let asked = scene.kill_at(down, &["down", "one"]);
            scene.recover(["down", down], &[], asked, is("one", "stopped"));
        } else {
            scene.host.wardian(&["down", "one"]).ok();
        }
        wait::until("the network of a stopped environment is removed", wait::SOON, || {
            scene.host.pid_of("one/m").is_none().then_some(())
        });
        let asked = scene.kill_at(start, &["start", "one"]);
        scene.recover(["start", start], &[], asked, is("one", "running"));
        assert_eq!(scene.host.script("one/m", "cat /root/data"), "kept");
        scene.still_answers();
    }
    scene.end(&["still", "one"]);
}
