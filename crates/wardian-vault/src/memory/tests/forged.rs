//! Files with right checksums that say impossible things: made, not damaged.

use super::Bench;
use super::bench::{Forged, facts};
use crate::memory::format::{FACTS_LIMIT, MEMORY_LIMIT};
use crate::memory::{MemoryError, inspect, load};
use proptest::prelude::*;
use std::fs;

const MEMORY: u64 = 64 << 10;

fn extent(offset: u64, length: usize) -> (u64, u64, Vec<u8>) {
    (offset, length as u64, vec![9; length])
}

fn refused(extents: Vec<(u64, u64, Vec<u8>)>) -> String {
    let bench = Bench::new();
    let path = bench.write("memory", &Forged::new(extents).bytes());
    match bench.refused(&path) {
        MemoryError::Malformed { details, .. } => details,
        other => panic!("{other}"),
    }
}

#[test]
fn extents_that_touch_and_need_no_alignment_are_taken() {
    let bench = Bench::new();
    let extents = vec![extent(1, 3), extent(4, 5), extent(MEMORY - 1, 1)];
    let path = bench.write("memory", &Forged::new(extents).bytes());
    load(&path, &bench.path("ram"), &bench.path("state")).unwrap();
    let ram = fs::read(bench.path("ram")).unwrap();
    assert_eq!(ram.len() as u64, MEMORY);
    assert_eq!(&ram[..10], &[0, 9, 9, 9, 9, 9, 9, 9, 9, 0]);
    assert_eq!(ram.iter().filter(|byte| **byte == 9).count(), 9);
}

#[test]
fn extents_that_overlap_or_go_back_are_refused() {
    assert!(refused(vec![extent(0, 100), extent(99, 1)]).contains("before the end of the one before it, 100"));
    assert!(refused(vec![extent(4096, 10), extent(0, 10)]).contains("the extent at 0 begins before"));
    assert!(refused(vec![extent(5, 1), extent(5, 1)]).contains("the extent at 5 begins before"));
}

#[test]
fn extents_outside_the_memory_are_refused() {
    assert!(refused(vec![extent(MEMORY, 1)]).contains("beyond the memory's 65536 bytes"));
    assert!(refused(vec![extent(MEMORY - 1, 2)]).contains("beyond"));
    assert!(refused(vec![extent(u64::MAX, 2)]).contains("beyond"));
    assert!(refused(vec![(0, u64::MAX, vec![1; 5])]).contains("only 5 are left"));
}

#[test]
fn extents_that_are_not_what_the_head_says_are_refused() {
    assert!(refused(vec![(0, 0, Vec::new()), extent(0, 5)]).contains("the extent at 0 is empty"));
    assert!(refused(vec![(0, 2, vec![1; 20])]).contains("18 bytes less"));
    assert!(refused(vec![(0, 30, vec![1; 20])]).contains("only 20 are left"));
}

#[test]
fn counts_that_cannot_be_are_refused() {
    let bench = Bench::new();
    let with = |count, data| Forged { count, data, ..Forged::new(vec![extent(0, 100)]) }.bytes();
    for (count, data) in [(u64::MAX, 100), (101, 100), (1, u64::MAX), (1, MEMORY_LIMIT + 1)] {
        let path = bench.write("memory", &with(Some(count), Some(data)));
        assert!(matches!(bench.refused(&path), MemoryError::Damaged { part: "head", .. }));
    }
    // Plausible, and longer than the file is.
    let path = bench.write("memory", &with(Some(MEMORY_LIMIT), Some(MEMORY_LIMIT)));
    assert!(matches!(bench.refused(&path), MemoryError::Truncated { .. }));
}

#[test]
fn facts_that_cannot_be_are_refused() {
    let bench = Bench::new();
    let with = |facts: &[u8]| Forged { facts: facts.to_vec(), ..Forged::new(vec![extent(0, 100)]) }.bytes();
    for text in ["", "{}", "nonsense", "[1]", r#"{"qemu":5}"#, &"[".repeat(FACTS_LIMIT)] {
        let path = bench.write("memory", &with(text.as_bytes()));
        assert!(matches!(inspect(&path), Err(MemoryError::Facts { .. })), "{text}");
        assert!(matches!(bench.refused(&path), MemoryError::Facts { .. }));
    }
    let path = bench.write("memory", &with(&vec![b' '; FACTS_LIMIT + 1]));
    assert!(matches!(inspect(&path), Err(MemoryError::Damaged { part: "head", .. })));
    for (memory, says) in [
        (0, "no machine has 0 bytes"),
        (MEMORY_LIMIT + 1, "no machine has"),
        (u64::MAX, "no machine has"),
        (99, "100 bytes for 99 bytes of memory"),
    ] {
        let path = bench.write("memory", &with(&serde_json::to_vec(&facts(memory)).unwrap()));
        let error = bench.refused(&path);
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Now and then a length that is not true.
fn claims() -> impl Strategy<Value = Option<u64>> {
    proptest::option::weighted(0.1, any::<u64>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn of_forged_extents_exactly_the_possible_are_loaded(
        extents in proptest::collection::vec((0..40_u64, 0..40_u64, claims()), 0..4),
    ) {
        let bench = Bench::new();
        let mut memory = facts(64);
        memory.machine = "forged".into();
        let (mut end, mut possible, mut expected) = (0, true, vec![0; 64]);
        let mut forged = Forged::new(Vec::new());
        forged.facts = serde_json::to_vec(&memory).unwrap();
        for (offset, length, claim) in extents {
            let claimed = claim.unwrap_or(length);
            possible &= claimed == length && length > 0 && offset >= end && offset + length <= 64;
            if possible {
                end = offset + length;
                expected[offset as usize..end as usize].fill(9);
            }
            forged.extents.push((offset, claimed, vec![9; length as usize]));
        }
        let path = bench.write("memory", &forged.bytes());
        if possible {
            load(&path, &bench.path("ram"), &bench.path("state")).unwrap();
            prop_assert_eq!(fs::read(bench.path("ram")).unwrap(), expected);
        } else {
            bench.refused(&path);
        }
    }
}
