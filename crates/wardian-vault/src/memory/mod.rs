//! Memory files: the memory and devices of one machine at one moment, and what made them, as one durable file.
//!
//! A snapshot's cut leaves a frozen memory file on tmpfs and a device-state stream. [`save`] turns both into one file
//! that survives a restart of the host, [`load`] turns it back. Who takes the cut, names the files, gives them to
//! QEMU's user and removes them is the caller's business, as is what runs on them; nothing here starts a process.
//!
//! # Format
//!
//! Version 1; numbers are little-endian.
//!
//! ```text
//! offset  bytes  what
//!      0      8  magic: 89 57 4D 45 4D 0D 0A 1A        (as in PNG: a transfer as text damages it visibly)
//!      8      4  version
//!     12      4  the complement of the version         (so that damage is never taken for a newer version)
//!     16      4  F, bytes of the facts, at most 64 KiB
//!     20      4  zero
//!     24      8  S, bytes of the device state
//!     32      8  E, how many extents there are
//!     40      8  D, bytes of memory in all extents
//!     48     32  body checksum: BLAKE3 (context "wardian memory body 1") of state and extents
//!     80     32  head checksum: BLAKE3 (context "wardian memory head 1") of the bytes 0..80 and the facts
//!    112      F  facts: a JSON object, see [`MemoryFacts`]; unknown keys are for later
//!      ·      S  device state, as QEMU wrote it
//!      ·   16·E + D  extents: offset in the memory (8), length (8), that many bytes;
//!                ascending, not overlapping, not empty, within the memory; everything else is zero
//! ```
//!
//! The head vouches for the body: whoever trusts it knows the file's exact length (so [`inspect`] finds a file that
//! was cut short without reading it) and, after reading everything, that no byte differs. Magic, version and its
//! complement stay where they are in every version.
//!
//! # Trust
//!
//! A memory file may come from outside. No length is believed before it is compared with the file's own, nothing is
//! allocated by one beyond 64 KiB, and a file that is sound but says impossible things is refused like a damaged one.
//! The checksum finds accidents; somebody who means harm can compute it too.
//!
//! # Crashes
//!
//! All files are written under a temporary name in the same folder and appear by one `rename`. A temporary file is
//! locked (flock) by its living writer; [`sweep`] removes those that nobody holds.

mod compatible;
mod error;
mod extents;
mod facts;
mod format;
mod load;
mod read;
mod save;
mod temporary;
#[cfg(test)]
mod tests;

pub use compatible::{Here, Incompatible, compatible};
pub use error::MemoryError;
pub use facts::MemoryFacts;
pub use load::load;
pub use read::{inspect, verify};
pub use save::{Saved, save};
pub use temporary::sweep;
