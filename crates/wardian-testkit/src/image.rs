//! The guests that tests boot.

use std::path::PathBuf;

/// The folder of an image: in `WARDIAN_IMAGES`, or where `cargo xtask images` puts it.
///
/// # Panics
/// When it isn't there: a test that needs it must not pass without.
#[must_use]
#[track_caller]
pub fn folder(name: &str) -> PathBuf {
    let images = std::env::var_os("WARDIAN_IMAGES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/wardian-images")),
        PathBuf::from,
    );
    let description = images.join(name).join("image.json");
    assert!(description.exists(), "{} is missing; make it with `cargo xtask images {name}`", description.display());
    images.join(name)
}

/// The folder of the micro image.
///
/// # Panics
/// As [`folder`].
#[must_use]
#[track_caller]
pub fn micro() -> PathBuf {
    folder("micro")
}
