//! The micro guest that tests boot.

use std::path::PathBuf;

/// The folder of the micro image: `WARDIAN_MICRO`, or where `cargo xtask images micro` puts it.
///
/// # Panics
/// When it isn't there: a test that needs it must not pass without.
#[must_use]
#[track_caller]
pub fn micro() -> PathBuf {
    let folder = std::env::var_os("WARDIAN_MICRO").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/wardian-images/micro")),
        PathBuf::from,
    );
    let description = folder.join("image.json");
    assert!(description.exists(), "{} is missing; make it with `cargo xtask images micro`", description.display());
    folder
}
