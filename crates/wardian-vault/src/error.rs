//! What can go wrong in the vault, named for people: each error has a `hint` that says what to do next.

use crate::description::DescriptionError;
use crate::digest::Digest;
use crate::part::Part;
use crate::qemu_img::ToolError;
use crate::space::human;
use std::io;
use std::path::PathBuf;

/// The vault itself cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Another process has it open.
    #[error("the vault {} is in use by another process", path.display())]
    InUse {
        /// The vault's folder.
        path: PathBuf,
    },
    /// No image of this digest.
    #[error("there is no image {digest} in the vault")]
    NoImage {
        /// What was asked for.
        digest: Digest,
    },
    /// An image's description cannot be understood.
    #[error("the image {digest} in the vault is damaged")]
    Damaged {
        /// Which one.
        digest: Digest,
        /// What is wrong.
        source: DescriptionError,
    },
    /// A file operation failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl VaultError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::InUse { .. } => "stop the other daemon, or give this one its own state folder".into(),
            Self::NoImage { .. } => "`wardian image ls` shows what is there".into(),
            Self::Damaged { .. } => "remove the image and import it again".into(),
            Self::Io { source, .. } => io_hint(source),
        }
    }
}

/// An image was refused or could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no such file.
    #[error("{} does not exist", path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// A folder, device, socket or the like.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing in it.
    #[error("{} is empty: a disk of no size cannot be used", path.display())]
    ZeroSize {
        /// The image.
        path: PathBuf,
    },
    /// Not a disk image this vault takes.
    #[error("{} is no disk image of a known format: {looks}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        looks: String,
    },
    /// Damaged or cut short.
    #[error("{} is corrupt: {details}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        details: String,
    },
    /// It is a difference to another disk.
    #[error("{} is no whole disk: it has a backing file, {names}", path.display())]
    BackingFile {
        /// The image.
        path: PathBuf,
        /// The backing file it names.
        names: String,
    },
    /// Its content is in another file.
    #[error("{} is no whole disk: its content is in an external data file", path.display())]
    ExternalData {
        /// The image.
        path: PathBuf,
    },
    /// A VMDK extent that is not beside its descriptor.
    #[error("{} refers to `{extent}`, which is not a file in the same folder", path.display())]
    OutsideExtent {
        /// The descriptor.
        path: PathBuf,
        /// The extent it names.
        extent: String,
    },
    /// Encrypted by a key nobody gave.
    #[error("{} is encrypted", path.display())]
    Encrypted {
        /// The image.
        path: PathBuf,
    },
    /// The copy would not fit.
    #[error("{} does not fit: it needs {}, and {} must stay free, but {} has only {} available",
        path.display(), human(*needed), human(*reserve), folder.display(), human(*available))]
    NoSpace {
        /// The image.
        path: PathBuf,
        /// Bytes the copy takes at most.
        needed: u64,
        /// Bytes that are kept free for running machines.
        reserve: u64,
        /// Bytes that are available.
        available: u64,
        /// The vault's folder.
        folder: PathBuf,
    },
    /// The disk became full on the way.
    #[error("{} became full while {} was imported; nothing of it was kept", folder.display(), path.display())]
    DiskFull {
        /// The image.
        path: PathBuf,
        /// The vault's folder.
        folder: PathBuf,
    },
    /// The kernel command line cannot be passed to a kernel.
    #[error("the kernel command line cannot be used: {reason}")]
    CommandLine {
        /// Why not.
        reason: &'static str,
    },
    /// An initrd or a command line, but no kernel that would use it.
    #[error("an initrd or a kernel command line is given, but no kernel")]
    NoKernel,
    /// An image description cannot be read.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// `qemu-img` failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl ImportError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => "check the path; relative ones start at the folder you are in".into(),
            Self::NotAFile { .. } => "give a disk image file; copy a block device into one first".into(),
            Self::Unreadable { source, .. } => io_hint(source),
            Self::ZeroSize { .. } => "the download or copy that made it may have failed: fetch it again".into(),
            Self::UnknownFormat { looks, .. } if looks.contains("archive") => {
                "unpack it first, and import the disk inside".into()
            }
            Self::UnknownFormat { .. } => "qcow2, raw, vmdk, vhdx and vhd can be imported; \
                others can be converted with `qemu-img convert -O qcow2`"
                .into(),
            Self::Corrupt { .. } => "fetch it again, and compare its checksum with the publisher's".into(),
            Self::BackingFile { path, .. } | Self::ExternalData { path } => format!(
                "where the other file is, make one whole disk: `qemu-img convert -O qcow2 {} whole.qcow2`",
                path.display()
            ),
            Self::OutsideExtent { .. } => "put the descriptor and all its extents into one folder".into(),
            Self::Encrypted { .. } => "decrypt it with `qemu-img convert`, which takes the key".into(),
            Self::NoSpace { folder, .. } | Self::DiskFull { folder, .. } => format!(
                "free some space on the file system of {}: `wardian image ls` shows images that may go",
                folder.display()
            ),
            Self::CommandLine { .. } => "give one line of at most 2047 characters".into(),
            Self::NoKernel => "give the kernel too, or leave both out and let the disk boot itself".into(),
            Self::Description(error) => error.hint(),
            Self::Tool(error) => error.hint().into(),
            Self::Vault(error) => error.hint(),
        }
    }
}

/// An image of another vault could not be taken over. Whatever it is, nothing of the image is kept.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What came as its description is none.
    #[error("the other vault's description of the image {digest} can't be understood")]
    Description {
        /// The image.
        digest: Digest,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It stopped coming.
    #[error("{part} of the image {digest} broke off")]
    Content {
        /// The image.
        digest: Digest,
        /// The file.
        part: Part,
        /// Why.
        source: io::Error,
    },
    /// More or less came than was announced.
    #[error("{part} of the image {digest} should have {size} bytes, but {} came", count(*came, *size))]
    Length {
        /// The image.
        digest: Digest,
        /// The file.
        part: Part,
        /// Bytes it should have.
        size: u64,
        /// Bytes that were read.
        came: u64,
    },
    /// What came is another image, or a damaged one.
    #[error("what came as the image {digest} has another content, with the digest {found}")]
    Different {
        /// The image that was wanted.
        digest: Digest,
        /// What came instead.
        found: Digest,
    },
    /// It would not fit.
    #[error("the image {digest} does not fit: it needs {}, and {} must stay free, but {} has only {} available",
        human(*needed), human(*reserve), folder.display(), human(*available))]
    NoSpace {
        /// The image.
        digest: Digest,
        /// Bytes it takes.
        needed: u64,
        /// Bytes that are kept free for running machines.
        reserve: u64,
        /// Bytes that are available.
        available: u64,
        /// The vault's folder.
        folder: PathBuf,
    },
    /// The disk became full on the way.
    #[error("{} became full while the image {digest} came; nothing of it was kept", folder.display())]
    DiskFull {
        /// The image.
        digest: Digest,
        /// The vault's folder.
        folder: PathBuf,
    },
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

fn count(came: u64, size: u64) -> String {
    // Of what is too much, no more is read than shows it.
    if came > size { "more".into() } else { came.to_string() }
}

impl ReceiveError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Description { .. } => "the other host may run another version: use the same one everywhere".into(),
            Self::Content { .. } | Self::Length { .. } => "try again; the network or the other host may be down".into(),
            Self::Different { .. } => {
                "the image is damaged where it came from: remove it there, and import it again".into()
            }
            Self::NoSpace { folder, .. } | Self::DiskFull { folder, .. } => {
                format!("free some space on the file system of {}", folder.display())
            }
            Self::Vault(error) => error.hint(),
        }
    }
}

/// A machine's disk could not be made or looked at.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The disk asked for is smaller than what it starts from.
    #[error("a disk of {} is too small: the image {} has {}", human(*size), base.display(), human(*base_size))]
    SmallerThanBase {
        /// The base.
        base: PathBuf,
        /// Bytes asked for.
        size: u64,
        /// Bytes of the base.
        base_size: u64,
    },
    /// Something else is at the place of the overlay.
    #[error("{} is there already, and is not the overlay that is wanted: {difference}", path.display())]
    Different {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        difference: String,
    },
    /// A file in the chain is not a qcow2 image.
    #[error("cannot read the header of {}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The chain of backing files is longer than any that is made here, or goes round in a circle.
    #[error("the chain of backing files of {} does not end", path.display())]
    EndlessChain {
        /// Where it starts.
        path: PathBuf,
    },
    /// `qemu-img` failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl OverlayError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::SmallerThanBase { base_size, .. } => {
                format!("ask for at least {}, or leave the size out", human(*base_size))
            }
            Self::Different { .. } => "remove the machine and make it again".into(),
            Self::Header { source, .. } => io_hint(source),
            Self::EndlessChain { .. } => "the file is damaged: restore it from a snapshot".into(),
            Self::Tool(error) if error.is_disk_full() => "free some space on that file system".into(),
            Self::Tool(error) => error.hint().into(),
            Self::Vault(error) => error.hint(),
        }
    }
}

pub(crate) fn io_hint(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "the daemon's user may not do that: check owner and mode".into(),
        io::ErrorKind::StorageFull => "free some space on that file system".into(),
        io::ErrorKind::NotFound => "check the path".into(),
        _ => "check the file system and the kernel's log (`dmesg`)".into(),
    }
}
