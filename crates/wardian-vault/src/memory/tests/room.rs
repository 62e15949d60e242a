//! File systems that are full, or become so: a small tmpfs in a mount namespace of the test's own thread.

use super::Bench;
use super::bench::facts;
use crate::memory::{MemoryError, load, save};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::path::Path;

/// Runs `what` with a tmpfs of 1 MiB that nobody else sees and that vanishes afterwards. Needs root.
fn with_small_tmpfs(what: impl FnOnce(&Path) + Send) {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("this test must run as root, to mount a tmpfs of its own");
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
            what(folder.path());
        });
        inside.join().unwrap();
    });
}

#[test]
fn a_memory_that_does_not_fit_is_refused_with_the_numbers_and_nothing_is_left() {
    with_small_tmpfs(|small| {
        let bench = Bench::new();
        let ram = bench.write("ram", &vec![7; 2 << 20]);
        bench.save(&ram, b"s").unwrap();
        let error = load(&bench.path("memory"), &small.join("ram"), &small.join("state")).unwrap_err();
        assert!(error.to_string().contains("2.0 MiB are needed"), "{error}");
        assert!(error.to_string().contains("only 1.0 MiB available"), "{error}");
        assert_eq!(fs::read_dir(small).unwrap().count(), 0);
    });
}

#[test]
fn a_file_system_that_becomes_full_keeps_nothing() {
    with_small_tmpfs(|small| {
        let bench = Bench::new();
        let (ram, state) = (bench.write("ram", &vec![7; 2 << 20]), bench.write("state", &vec![1; 2 << 20]));
        let error = save(&facts(2 << 20), &ram, &state, &small.join("memory"), |_, _| ()).unwrap_err();
        assert!(matches!(&error, MemoryError::DiskFull { folder, .. } if folder == small), "{error}");
        assert!(error.hint().contains("free some space"));
        assert_eq!(fs::read_dir(small).unwrap().count(), 0);

        let little = bench.sparse("little", 1 << 20, &[(0, b"x")]);
        save(&facts(1 << 20), &little, &state, &bench.path("memory"), |_, _| ()).unwrap();
        let error = load(&bench.path("memory"), &small.join("ram"), &small.join("state")).unwrap_err();
        assert!(matches!(error, MemoryError::DiskFull { .. }), "{error}");
        assert_eq!(fs::read_dir(small).unwrap().count(), 0);
    });
}

#[test]
fn a_load_that_cannot_place_its_memory_leaves_no_state() {
    let bench = Bench::new();
    let (_, path) = bench.small();
    let out = tempfile::tempdir_in("/dev/shm").unwrap();
    // A folder cannot be replaced by a file.
    let ram = out.path().join("ram");
    fs::create_dir(&ram).unwrap();
    assert!(matches!(load(&path, &ram, &out.path().join("state")), Err(MemoryError::Io { what: "place", .. })));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}
