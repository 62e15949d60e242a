//! What is saved is what is loaded, and saving is all or nothing.

use super::Bench;
use super::bench::facts;
use crate::memory::{MemoryError, inspect, load, save, sweep, verify};
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_saved_is_loaded(
        pages in 1..2000_u64,
        rest in 0..4096_u64,
        parts in proptest::collection::vec((any::<u64>(), 0..20_000_usize, any::<u8>()), 0..12),
        state in proptest::collection::vec(any::<u8>(), 0..1000),
    ) {
        let bench = Bench::new();
        let length = pages * 4096 + rest;
        let ram = bench.sparse("ram", length, &[]);
        let file = File::options().write(true).open(&ram).unwrap();
        for (at, size, byte) in parts {
            let at = at % length;
            let size = size.min((length - at) as usize);
            file.write_all_at(&vec![byte; size], at).unwrap();
        }
        let saved = bench.save(&ram, &state).unwrap();
        let path = bench.path("memory");
        prop_assert_eq!(saved.file_bytes, fs::metadata(&path).unwrap().len());
        prop_assert!(saved.data_bytes <= file.metadata().unwrap().blocks() * 512);
        prop_assert_eq!(verify(&path).unwrap(), facts(length));
        let (new, new_state) = (bench.path("new"), bench.path("new-state"));
        prop_assert_eq!(load(&path, &new, &new_state).unwrap(), facts(length));
        prop_assert!(fs::read(&ram).unwrap() == fs::read(&new).unwrap());
        prop_assert_eq!(fs::read(&new_state).unwrap(), state);
        prop_assert!(fs::metadata(&new).unwrap().blocks() <= file.metadata().unwrap().blocks());
    }
}

#[test]
fn zero_pages_are_neither_kept_nor_allocated() {
    let bench = Bench::new();
    let ram = bench.write("ram", &vec![0; 8 << 20]);
    let saved = bench.save(&ram, b"").unwrap();
    assert_eq!(saved.data_bytes, 0);
    assert!(saved.file_bytes < 1024);
    load(&bench.path("memory"), &ram, &bench.path("state")).unwrap();
    let found = fs::metadata(&ram).unwrap();
    assert_eq!((found.len(), found.blocks()), (8 << 20, 0));
}

#[test]
fn a_large_sparse_memory_costs_what_is_in_it() {
    let bench = Bench::new();
    let length = 1 << 40;
    let ram = bench.sparse("ram", length, &[(0, b"a"), (length / 2 + 5, b"b"), (length - 1, b"c")]);
    assert_eq!(bench.save(&ram, b"s").unwrap().data_bytes, 3 * 4096);
    let new = bench.path("new");
    load(&bench.path("memory"), &new, &bench.path("new-state")).unwrap();
    let file = File::open(&new).unwrap();
    assert_eq!(file.metadata().unwrap().len(), length);
    let mut byte = [0];
    file.read_exact_at(&mut byte, length / 2 + 5).unwrap();
    assert_eq!(&byte, b"b");
}

#[test]
fn progress_rises_and_ends_at_the_end() {
    let bench = Bench::new();
    let ram = bench.write("ram", &vec![7; 3 << 20]);
    let state = bench.write("state", b"");
    let mut seen = Vec::new();
    save(&facts(3 << 20), &ram, &state, &bench.path("memory"), |done, all| seen.push((done, all))).unwrap();
    assert!(seen.len() > 3 && seen.is_sorted());
    assert_eq!((seen.first(), seen.last()), (Some(&(0, 3 << 20)), Some(&(3 << 20, 3 << 20))));
}

#[test]
fn what_does_not_fit_the_facts_is_not_saved_and_the_old_file_stays() {
    let bench = Bench::new();
    let (ram, state, to) = (bench.write("ram", b"x"), bench.write("state", b""), bench.write("memory", b"old"));
    let error = save(&facts(4096), &ram, &state, &to, |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("it has 1 bytes, and the machine 4096 bytes"), "{error}");
    let empty = bench.write("empty", b"");
    assert!(matches!(save(&facts(0), &empty, &state, &to, |_, _| ()), Err(MemoryError::Unsuitable { .. })));
    let missing = bench.path("missing");
    let error = save(&facts(1), &ram, &missing, &to, |_, _| ()).unwrap_err();
    assert!(error.to_string().ends_with("/missing"), "{error}");
    let mut long = facts(1);
    long.machine = "m".repeat(70_000);
    assert!(matches!(save(&long, &ram, &state, &to, |_, _| ()), Err(MemoryError::Unsuitable { .. })));
    assert_eq!(fs::read(&to).unwrap(), b"old");
    assert_eq!(bench.names(), ["empty", "memory", "ram", "state"]);
}

#[test]
fn keys_of_a_later_time_are_skipped() {
    let bench = Bench::new();
    let mut forged = super::bench::Forged::new(Vec::new());
    let mut value: serde_json::Value = serde_json::from_slice(&forged.facts).unwrap();
    value["display"] = "virtio-gpu".into();
    forged.facts = serde_json::to_vec(&value).unwrap();
    let path = bench.write("memory", &forged.bytes());
    assert_eq!(inspect(&path).unwrap(), facts(64 << 10));
}

/// Stays in the middle of saving until it is killed, when the next test runs it; nothing otherwise.
#[test]
fn a_writer_to_be_killed() {
    let Ok(folder) = std::env::var("WARDIAN_TEST_KILLED_WRITER") else { return };
    let path = |name: &str| std::path::Path::new(&folder).join(name);
    let stay = |done, _| {
        if done > 0 {
            File::create(path("half-way")).unwrap().write_all(b"!").unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
    };
    save(&facts(4 << 20), &path("ram"), &path("state"), &path("memory"), stay).unwrap();
}

#[test]
fn a_killed_writer_leaves_only_what_a_sweep_removes() {
    let bench = Bench::new();
    bench.write("ram", &vec![7; 4 << 20]);
    bench.write("state", b"s");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::tests::whole::a_writer_to_be_killed"])
        .env("WARDIAN_TEST_KILLED_WRITER", bench.folder())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !bench.path("half-way").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the writer did not start to write");
        std::thread::sleep(Duration::from_millis(10));
    }
    // A living writer is not disturbed.
    assert_eq!(sweep(bench.folder()).unwrap(), 0);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bench.names().len(), 4);
    assert_eq!(sweep(bench.folder()).unwrap(), 1);
    assert_eq!(bench.names(), ["half-way", "ram", "state"]);
}

#[test]
fn speed_of_saving_and_loading() {
    const DATA: usize = 100 << 20;
    let bench = Bench::new();
    let mut page = 0_u64;
    let mut content = vec![0; DATA];
    for bytes in content.chunks_mut(4096) {
        page += 1;
        bytes[..8].copy_from_slice(&page.to_le_bytes());
        bytes[4000..].fill(page as u8);
    }
    let ram = bench.sparse("ram", 256 << 20, &[(1 << 20, &content[..DATA / 2]), (150 << 20, &content[DATA / 2..])]);
    let state = bench.write("state", &[5; 100_000]);
    // On a disk, which the memory of tmpfs would not be.
    let disk = tempfile::tempdir_in("/var/tmp").unwrap();
    let to = disk.path().join("memory");
    let begun = Instant::now();
    let saved = save(&facts(256 << 20), &ram, &state, &to, |_, _| ()).unwrap();
    let save_time = begun.elapsed();
    let begun = Instant::now();
    inspect(&to).unwrap();
    let inspect_time = begun.elapsed();
    let begun = Instant::now();
    verify(&to).unwrap();
    let verify_time = begun.elapsed();
    let begun = Instant::now();
    load(&to, &bench.path("new"), &bench.path("new-state")).unwrap();
    println!(
        "{} MiB of memory: saved and synced in {save_time:?}, inspected in {inspect_time:?}, verified in \
         {verify_time:?}, loaded in {:?}",
        saved.data_bytes >> 20,
        begun.elapsed()
    );
}
