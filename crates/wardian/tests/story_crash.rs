//! The daemon is killed at every step of every operation, and started again: machines run on, operations end, nothing
//! is left. Each test keeps a second environment whose machine must not notice anything.
//!
//! The tables the tests print are the crash table of the documentation (`docs/crash-table.md`).

#[path = "story_crash/clones.rs"]
mod clones;
#[path = "story_crash/guests.rs"]
mod guests;
#[path = "story_crash/pairs.rs"]
mod pairs;
#[path = "story_crash/points.rs"]
mod points;
#[path = "story_crash/power.rs"]
mod power;
#[path = "story_crash/scene.rs"]
mod scene;
#[path = "story_crash/snapshots.rs"]
mod snapshots;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn story_every_point_where_the_daemon_can_be_killed_is_in_a_table() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wardian-host/src");
    let mut in_sources = BTreeSet::new();
    for file in rust_files(&sources) {
        let text = fs::read_to_string(&file).unwrap();
        let points = text.split("fault::point(\"").skip(1).filter_map(|rest| rest.split('"').next());
        in_sources.extend(points.map(str::to_owned));
    }
    let in_tables: BTreeSet<_> =
        points::all().iter().map(|point| point.split('#').next().unwrap().to_owned()).collect();
    assert_eq!(in_sources, in_tables);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
