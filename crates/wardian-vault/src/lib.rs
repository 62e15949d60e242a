//! The repository of disks: immutable images by content, the overlays machines run on, and the seed disks that
//! configure a guest at its first boot. All work with `qemu-img` happens here. [`memory`] adds the durable files of
//! machines' memory, wherever the caller keeps them.
//!
//! # On disk
//!
//! ```text
//! DIR/lock                 held (flock) by the one process that has the vault open
//! DIR/images/DIGEST/       one image: disk.qcow2, kernel?, initrd?, image.json; all read-only, never changed
//! DIR/tmp/                 work in progress; emptied by `Vault::open`
//! ```
//!
//! `DIGEST` is BLAKE3 over the converted disk and the parts that boot with it, so the same content imported twice is
//! stored once. An image appears by one `rename` of a synced folder: a process killed at any instruction leaves the
//! whole image or nothing but a folder below `tmp`. One that comes from another vault ([`Vault::receive`]) is placed in
//! the same way, once its content has been found to be what its digest says.
//!
//! # Trust
//!
//! The bytes of an image come from outside. Their format is decided once, from the magic numbers of [`Format`], and
//! named to `qemu-img` ever after: what a guest writes into a raw disk can never turn it into another format. What
//! would make `qemu-img` open *other* files (backing files, external data, foreign extents) is looked for here, before
//! `qemu-img` sees the file. It then runs with limits on memory, time and output, without a network.
//!
//! Who may use or remove an image is the caller's business: [`Vault::remove`] does not look for overlays.

mod bounded;
mod description;
mod detect;
mod digest;
mod error;
mod import;
pub mod memory;
mod overlay;
mod part;
mod qcow2;
mod qemu_img;
mod receive;
pub mod seed;
mod space;
mod vault;
mod vmdk;
mod wanted;

pub use description::{Description, DescriptionError};
pub use detect::Format;
pub use digest::{Digest, DigestError};
pub use error::{ImportError, OverlayError, ReceiveError, VaultError};
pub use import::{ImageParts, Imported, Progress, Source, Step};
pub use overlay::{DiskInfo, info, overlay_on};
pub use part::Part;
pub use qemu_img::{Limits, QemuImg, ToolError};
pub use receive::{LONGEST_DESCRIPTION, Receiving};
pub use space::{Space, space};
pub use vault::{Image, Vault};
