//! Files that were cut, flipped or are something else.

use super::Bench;
use crate::memory::format::HEAD;
use crate::memory::{MemoryError, inspect, verify};
use proptest::prelude::*;
use std::fs::{self, File};

#[test]
fn a_file_cut_anywhere_is_called_cut_short() {
    let bench = Bench::new();
    let (bytes, path) = bench.small();
    let file = File::options().write(true).open(&path).unwrap();
    for length in (0..bytes.len() as u64).rev() {
        file.set_len(length).unwrap();
        for result in [inspect(&path), verify(&path)] {
            match result.unwrap_err() {
                MemoryError::Truncated { expected, found, .. } => {
                    assert!(found == length && found < expected);
                    assert!(length < HEAD as u64 || expected >= HEAD as u64);
                }
                other => panic!("cut to {length}: {other}"),
            }
        }
        if length % 97 == 0 || length < 16 {
            assert!(matches!(bench.refused(&path), MemoryError::Truncated { .. }));
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let bench = Bench::new();
    let (mut bytes, path) = bench.small();
    bytes.extend(b"more");
    fs::write(&path, bytes).unwrap();
    let error = bench.refused(&path);
    assert!(error.to_string().contains("4 bytes follow its end"), "{error}");
}

#[test]
fn a_flipped_bit_in_each_byte_is_found() {
    let bench = Bench::new();
    let (mut bytes, path) = bench.small();
    let head_end = HEAD + u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let error = if at % 61 == 0 { bench.refused(&path) } else { verify(&path).unwrap_err() };
        match error {
            MemoryError::NotMemory { .. } => assert!(at < 8),
            MemoryError::Damaged { part: "head", .. } => assert!((8..head_end).contains(&at)),
            MemoryError::Damaged { .. } => assert!(at >= head_end),
            // The length of the facts decides where they end, before their checksum can be asked.
            MemoryError::Truncated { .. } => assert!((16..20).contains(&at)),
            other => panic!("byte {at}: {other}"),
        }
        assert_eq!(inspect(&path).is_err(), at < head_end);
        bytes[at] ^= 1 << (at % 8);
    }
}

#[test]
fn what_is_no_memory_file_is_called_so() {
    let bench = Bench::new();
    for (name, bytes) in [("text", &b"hello"[..]), ("disk", b"QFI\xfb\0\0\0\x03"), ("zeros", &[0; 4096])] {
        let error = bench.refused(&bench.write(name, bytes));
        assert!(matches!(error, MemoryError::NotMemory { .. }), "{error}");
    }
    assert!(matches!(bench.refused(bench.folder()), MemoryError::NotMemory { .. }));
    let pipe = bench.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(bench.refused(&pipe), MemoryError::NotMemory { .. }));
    assert!(matches!(bench.refused(&bench.path("none")), MemoryError::Io { .. }));
}

#[test]
fn every_error_names_the_file_and_has_a_hint() {
    let bench = Bench::new();
    let (bytes, path) = bench.small();
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&7_u32.to_le_bytes());
    newer[12..16].copy_from_slice(&(!7_u32).to_le_bytes());
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (bytes, says) in [
        (&newer[..], "has version 7"),
        (&flipped, "the checksum of its body is wrong"),
        (&bytes[..500], "is cut short: it has 500 bytes instead of"),
        (b"x", "is not a memory file"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = bench.refused(&path);
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(error.hint().len() > 10);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn flipping_any_bits_is_found(flips in proptest::collection::vec(any::<prop::sample::Index>(), 1..5)) {
        let bench = Bench::new();
        let (mut bytes, path) = bench.small();
        let before = bytes.clone();
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assume!(bytes != before);
        fs::write(&path, bytes).unwrap();
        bench.refused(&path);
    }

    #[test]
    fn garbage_is_refused(garbage in proptest::collection::vec(any::<u8>(), 0..2000), start in 0..200_usize) {
        let bench = Bench::new();
        let (bytes, path) = bench.small();
        fs::write(&path, &garbage).unwrap();
        bench.refused(&path);
        // A sound beginning, then garbage.
        fs::write(&path, [&bytes[..start], &garbage].concat()).unwrap();
        bench.refused(&path);
    }
}
