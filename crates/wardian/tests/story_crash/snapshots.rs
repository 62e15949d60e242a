//! `snapshot create`, `restore` to it, and `snapshot rm`.

use crate::{
    guests::{count, counted, number, tell, word},
    points::{FORGET, RESTORE, SNAPSHOT},
    scene::{ONE, Scene, is, snapshot_is},
};

#[test]
fn story_snapshot_and_restore_survive_a_kill_at_every_step() {
    let mut scene = Scene::new("snapshot-and-restore");
    scene.host.up(ONE).ok();
    count(&scene.host, "one/m");
    for (index, point) in SNAPSHOT.iter().enumerate() {
        let kept = format!("kept-{index}");
        tell(&scene.host, "one/m", &kept);
        let before = number(&scene.host, "one/m");
        let asked = scene.kill_at(point, &["snapshot", "create", "one", "moment"]);
        scene.recover(["snapshot", point], &[], asked, snapshot_is("one", "moment", "ready"));
        let after = scene.counts_on("one/m", before);
        scene.still_answers();
        assert_eq!(scene.saved_memories().len(), 1, "one file for the one machine");

        // Whatever it was interrupted by, it is whole: one can go back to it.
        tell(&scene.host, "one/m", "given-up");
        let late = counted(&scene.host, "one/m", after + 3);
        if let Some(point) = RESTORE.get(index) {
            let asked = scene.kill_at(point, &["restore", "one", "moment"]);
            scene.recover(["restore", point], &[], asked, is("one", "running"));
        } else {
            scene.host.wardian(&["restore", "one", "moment"]).ok();
        }
        scene.stands_alone("one/m");
        assert_eq!(word(&scene.host, "one/m"), kept, "{late} was counted, {before} to {after} when it was taken");
        let back = number(&scene.host, "one/m");
        assert!(back >= before, "restored to {before} or more, and is at {back}");
        scene.counts_on("one/m", back);
        scene.still_answers();

        if let Some(point) = FORGET.get(index) {
            let asked = scene.kill_at(point, &["snapshot", "rm", "one", "moment"]);
            scene.recover(["snapshot rm", point], &[], asked, snapshot_is("one", "moment", "gone"));
        } else {
            scene.host.wardian(&["snapshot", "rm", "one", "moment"]).ok();
        }
        scene.counts_on("one/m", back);
        assert_eq!(scene.saved_memories(), Vec::<String>::new());
    }
    scene.end(&["still", "one"]);
}
