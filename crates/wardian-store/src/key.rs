//! Which texts are keys, and the limits every engine keeps.
//!
//! The limits are those of an etcd server with its default settings, so that whatever fits here fits there.

use std::time::Duration;

use crate::error::{Error, Result};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Longest value, in bytes (1 MiB).
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Most conditions and, separately, most writes of one transaction (etcd's `--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;
/// Most bytes of keys and values in one transaction (1.25 MiB). etcd refuses requests above 1.5 MiB
/// (`--max-request-bytes`); the rest is left to the encoding, which names condition keys twice.
pub const MAX_TRANSACTION_BYTES: usize = 1280 * 1024;
/// Longest time to live of a lease (etcd's limit, 9,000,000,000 s).
pub const MAX_TTL: Duration = Duration::from_secs(9_000_000_000);

/// Checks that `key` is one: non-empty segments of printable ASCII, separated by `/`, at most
/// [`MAX_KEY_BYTES`] long.
pub fn check_key(key: &str) -> Result<()> {
    check_text(key)?;
    if key.is_empty() {
        return Err(refuse(key, "it is empty"));
    }
    if key.split('/').any(str::is_empty) {
        return Err(refuse(key, "it has an empty segment between slashes"));
    }
    Ok(())
}

/// Checks that `prefix` can begin a key. The empty prefix begins every key.
pub fn check_prefix(prefix: &str) -> Result<()> {
    check_text(prefix)
}

fn check_text(text: &str) -> Result<()> {
    if text.len() > MAX_KEY_BYTES {
        return Err(refuse(text, "it is longer than 512 bytes"));
    }
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(refuse(text, "it has characters other than printable ASCII"));
    }
    Ok(())
}

fn refuse(key: &str, reason: &'static str) -> Error {
    Error::InvalidKey { key: key.chars().take(64).collect(), reason }
}

/// The first text behind all keys that begin with `prefix`: keys never hold DEL (0x7f), which sorts behind
/// every character they may hold.
pub(crate) fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{7f}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_segments_of_printable_ascii() {
        for good in ["a", "a/b", "environments/store/machines/web", "a b/~!", &"k".repeat(512)] {
            check_key(good).unwrap();
        }
        for bad in ["", "/", "/a", "a/", "a//b", "ä", "a\n", "a\0", "a\u{7f}", &"k".repeat(513)] {
            assert!(matches!(check_key(bad), Err(Error::InvalidKey { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_may_be_empty_or_end_inside_a_segment() {
        for good in ["", "a/", "a/b", "/"] {
            check_prefix(good).unwrap();
        }
        assert!(check_prefix("ä").is_err());
    }

    #[test]
    fn the_end_of_a_prefix_lies_behind_exactly_its_keys() {
        for (prefix, key, inside) in
            [("", "~", true), ("a/", "a/~~~", true), ("a/", "a0", false), ("a~", "a~~", true), ("a~", "b", false)]
        {
            assert_eq!(key >= prefix && key < end_of(prefix).as_str(), inside);
            assert_eq!(key.starts_with(prefix), inside);
        }
    }
}
