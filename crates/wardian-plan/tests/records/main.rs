//! What the store holds, read back from whatever bytes: every type of record gives an error or a value, and a value is
//! written as what reads as the same value.
//!
//! `PROPTEST_CASES` says how many of each type are tried; with `WARDIAN_FUZZ_SECONDS`, as many as that time allows.
//! What was read wrongly is kept in `tests/corpus/records`.
#![allow(missing_docs, unused_crate_dependencies)]

mod mutate;

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use wardian_model::{
    claim::ClaimRecord,
    cluster::{ClusterRecord, HostRecord, LeaderRecord, PartRecord, PresenceRecord},
    cut::{CutPartRecord, CutRecord},
    encapsulation::Encapsulation,
    environment::EnvironmentRecord,
    event::EventRecord,
    host::AcceleratorRecord,
    image::ImageRecord,
    machine::MachineRecord,
    operation::OperationRecord,
    record::Record,
    snapshot::SnapshotRecord,
};
use wardian_plan::{
    alias::Published,
    fabric::{Policy, compile, subnets},
};

/// A type of record: what it is called, and how one is tried; says whether it is one.
type Kind = (&'static str, fn(&[u8]) -> Result<bool, TestCaseError>);

/// All there are. [`Published`] is what one of `wardian-host`, of the same name, has beside an environment's id.
const KINDS: &[Kind] = &[
    ("AcceleratorRecord", record::<AcceleratorRecord>),
    ("ClaimRecord", record::<ClaimRecord>),
    ("ClusterRecord", record::<ClusterRecord>),
    ("CutPartRecord", record::<CutPartRecord>),
    ("CutRecord", record::<CutRecord>),
    ("EnvironmentRecord", environment),
    ("EventRecord", record::<EventRecord>),
    ("HostRecord", host),
    ("ImageRecord", record::<ImageRecord>),
    ("LeaderRecord", record::<LeaderRecord>),
    ("MachineRecord", record::<MachineRecord>),
    ("OperationRecord", record::<OperationRecord>),
    ("PartRecord", record::<PartRecord>),
    ("PresenceRecord", record::<PresenceRecord>),
    ("Published", |bytes| Ok(value::<Published>(bytes)?.is_some())),
    ("SnapshotRecord", record::<SnapshotRecord>),
];

/// Reads one, and that it is written as what reads as the same.
fn value<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Result<Option<T>, TestCaseError> {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return Ok(None) };
    let fails = |error: serde_json::Error| TestCaseError::fail(format!("{value:?}: {error}"));
    let written = serde_json::to_vec(&value).map_err(fails)?;
    let again: T = serde_json::from_slice(&written).map_err(fails)?;
    prop_assert_eq!(&again, &value, "written as {}", String::from_utf8_lossy(&written));
    prop_assert_eq!(serde_json::to_vec(&again).map_err(fails)?, written);
    Ok(Some(value))
}

fn of<T: Record + PartialEq + Debug>(bytes: &[u8]) -> Result<Option<T>, TestCaseError> {
    let value = value::<T>(bytes)?;
    if let Some(value) = &value {
        prop_assert!(value.key().starts_with(T::PREFIX), "{}", value.key());
    }
    Ok(value)
}

fn record<T: Record + PartialEq + Debug>(bytes: &[u8]) -> Result<bool, TestCaseError> {
    Ok(of::<T>(bytes)?.is_some())
}

/// What every host of a cluster makes of the environments and hosts in the store, which is what they mean all together.
fn follow(hosts: &[HostRecord], environments: &[EnvironmentRecord]) -> Result<(), TestCaseError> {
    let prefix = "10.86.0.0/16".parse().unwrap();
    let subnets = subnets(prefix, Encapsulation::Nvgre, hosts, environments);
    for host in hosts {
        let policy = Policy::new(host.provider, prefix, Encapsulation::Nvgre, hosts, environments);
        prop_assert_eq!(policy.whole(), compile(host.provider, &subnets));
    }
    Ok(())
}

fn environment(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Some(record) = of::<EnvironmentRecord>(bytes)? else { return Ok(false) };
    static HOST: LazyLock<HostRecord> =
        LazyLock::new(|| serde_json::from_value(seeds("HostRecord").remove(0)).unwrap());
    let _ = (
        record.vsids().count(),
        record.hosts(),
        record.claims().count(),
        record.doors().len(),
        record.shared_address(),
    );
    follow(std::slice::from_ref(&*HOST), &[record])?;
    Ok(true)
}

fn host(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let record = of::<HostRecord>(bytes)?;
    follow(record.as_slice(), &[])?;
    Ok(record.is_some())
}

fn corpus(kind: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", "records", kind].iter().collect()
}

/// What is kept of a type.
fn kept(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(corpus(kind)).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

fn is_seed(path: &Path) -> bool {
    !path.file_name().unwrap().to_str().unwrap().starts_with("found-")
}

/// The right ones.
fn seeds(kind: &str) -> Vec<Value> {
    let right = kept(kind).into_iter().filter(|(path, _)| is_seed(path));
    right.map(|(_, bytes)| serde_json::from_slice(&bytes).unwrap()).collect()
}

/// Tries that many; tells how many of them were records.
fn fuzz((kind, try_one): &Kind, all: &[Value], cases: u32) -> u64 {
    let read = AtomicU64::new(0);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&mutate::damaged(&seeds(kind), all), |bytes| {
        read.fetch_add(u64::from(try_one(&bytes)?), Ordering::Relaxed);
        Ok(())
    });
    match outcome {
        Ok(()) => read.into_inner(),
        Err(TestError::Fail(why, bytes)) => {
            let path = corpus(kind).join(format!("found-{}.json", &blake3::hash(&bytes).to_hex()[..12]));
            fs::write(&path, &bytes).unwrap();
            panic!("{kind}: {why}; kept as {}: {}", path.display(), String::from_utf8_lossy(&bytes));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn whatever_bytes_a_record_has_it_is_refused_or_written_as_what_reads_the_same() {
    let all: Vec<Value> = KINDS.iter().flat_map(|(kind, _)| seeds(kind)).collect();
    let Ok(seconds) = std::env::var("WARDIAN_FUZZ_SECONDS") else {
        for kind in KINDS {
            fuzz(kind, &all, Config::default().cases);
        }
        return;
    };
    const AT_ONCE: u32 = 1_000;
    let wanted = Duration::from_secs(seconds.parse().expect("WARDIAN_FUZZ_SECONDS is a number"));
    let (began, mut told, mut cases, mut read) = (Instant::now(), Instant::now(), 0, 0);
    while began.elapsed() < wanted {
        read += KINDS.iter().map(|kind| fuzz(kind, &all, AT_ONCE)).sum::<u64>();
        cases += u64::from(AT_ONCE) * KINDS.len() as u64;
        if told.elapsed() > Duration::from_secs(60) {
            eprintln!("{cases} in {} s, of which {read} are records", began.elapsed().as_secs());
            told = Instant::now();
        }
    }
    eprintln!("{cases} in {} s: {read} are read back as they are, the others refused", began.elapsed().as_secs());
}

#[test]
fn right_records_are_read_and_what_was_ever_read_wrongly_is_not() {
    for (kind, try_one) in KINDS {
        for (path, bytes) in kept(kind) {
            let is_one = try_one(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(is_one || !is_seed(&path), "{} is refused", path.display());
        }
    }
}

#[test]
fn a_record_that_ends_early_is_refused() {
    for (kind, try_one) in KINDS {
        for (path, bytes) in kept(kind).into_iter().filter(|(path, _)| is_seed(path)) {
            let bytes = serde_json::to_vec(&serde_json::from_slice::<Value>(&bytes).unwrap()).unwrap();
            for length in 0..bytes.len() {
                assert!(!try_one(&bytes[..length]).unwrap(), "{} is read from {length} bytes", path.display());
            }
        }
    }
}

/// All types of records are in the list: looked for where they are made.
#[test]
fn no_type_of_record_is_forgotten() {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let kinds = text.lines().filter_map(|line| line.strip_prefix("impl Record for ")?.strip_suffix(" {"));
                found.extend(kinds.map(str::to_owned));
            }
        }
    }
    assert!(found.remove("PublishedRecord"));
    found.insert("Published".to_owned());
    assert_eq!(found, KINDS.iter().map(|(kind, _)| (*kind).to_owned()).collect());
}
