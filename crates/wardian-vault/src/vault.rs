//! The vault's folder: who has it open, what is in it, putting images in and taking them out.

use crate::description::DescriptionError;
use crate::detect::Format;
use crate::digest::Digest;
use crate::error::{OverlayError, VaultError};
use crate::import::sync;
use crate::overlay;
use crate::qemu_img::QemuImg;
use crate::wanted::Wanted;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that an import leaves free by default: machines that run need room for what they write.
const RESERVE: u64 = 256 << 20;

/// An open vault. Clones share it; it closes with the last one.
#[derive(Debug, Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    tool: QemuImg,
    reserve: u64,
    _lock: Flock<File>,
}

/// An image in the vault. Its files are read-only and never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its content address.
    pub digest: Digest,
    /// The disk, a qcow2 file without a backing file.
    pub disk: PathBuf,
    /// A kernel that QEMU starts directly.
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk for that kernel.
    pub initrd: Option<PathBuf>,
    /// The command line for that kernel.
    pub command_line: Option<String>,
    /// Bytes of the disk as a guest sees it.
    pub virtual_size: u64,
    /// Bytes of the qcow2 file.
    pub disk_size: u64,
    /// The format it was imported from.
    pub format_found: Format,
}

/// What `image.json` in the vault says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Metadata {
    pub(crate) kernel: bool,
    pub(crate) initrd: bool,
    pub(crate) command_line: Option<String>,
    pub(crate) virtual_size: u64,
    pub(crate) disk_size: u64,
    pub(crate) format_found: Format,
}

impl Metadata {
    pub(crate) fn write(&self, path: &Path) -> Result<(), VaultError> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| VaultError::io("write", path)(error.into()))?;
        fs::write(path, text).map_err(VaultError::io("write", path))
    }
}

impl Vault {
    /// Opens the vault in `folder`, which is made when it is not there, and removes what a killed import left.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process has it open.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, VaultError> {
        Self::open_with(folder, QemuImg::default(), RESERVE)
    }

    /// Opens with a certain `qemu-img`, leaving `reserve` bytes of the file system free.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open_with(folder: impl AsRef<Path>, tool: QemuImg, reserve: u64) -> Result<Self, VaultError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(VaultError::io("create", folder))?;
        // Overlays name their base by this path, so it must not depend on the current folder.
        let folder = folder.canonicalize().map_err(VaultError::io("find", folder))?;
        let path = folder.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(VaultError::io("open", &path))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
            if error == nix::errno::Errno::EWOULDBLOCK {
                VaultError::InUse { path: folder.clone() }
            } else {
                VaultError::io("lock", &path)(error.into())
            }
        })?;
        let temporary = folder.join("tmp");
        remove_all(&temporary)?;
        for folder in [&temporary, &folder.join("images")] {
            fs::create_dir_all(folder).map_err(VaultError::io("create", folder))?;
        }
        Ok(Self { inner: Arc::new(Inner { folder, tool, reserve, _lock: lock }) })
    }

    /// Where the vault is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The `qemu-img` it works with.
    #[must_use]
    pub fn tool(&self) -> &QemuImg {
        &self.inner.tool
    }

    pub(crate) fn reserve(&self) -> u64 {
        self.inner.reserve
    }

    /// Whether an image of this content is there.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.image_folder(digest).is_dir()
    }

    /// The image of this content.
    ///
    /// # Errors
    /// When there is none, or its description is damaged.
    pub fn image(&self, digest: &Digest) -> Result<Image, VaultError> {
        let folder = self.image_folder(digest);
        let path = folder.join("image.json");
        let text = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => VaultError::NoImage { digest: *digest },
            _ => VaultError::io("read", &path)(source),
        })?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|source| VaultError::Damaged {
            digest: *digest,
            source: DescriptionError::Malformed { path, source },
        })?;
        Ok(Image {
            digest: *digest,
            disk: folder.join("disk.qcow2"),
            kernel: metadata.kernel.then(|| folder.join("kernel")),
            initrd: metadata.initrd.then(|| folder.join("initrd")),
            command_line: metadata.command_line,
            virtual_size: metadata.virtual_size,
            disk_size: metadata.disk_size,
            format_found: metadata.format_found,
        })
    }

    /// The digests of all images, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>, VaultError> {
        let folder = self.inner.folder.join("images");
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(VaultError::io("read", &folder))? {
            let name = entry.map_err(VaultError::io("read", &folder))?.file_name();
            // Whatever else somebody put there is not an image.
            found.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
        }
        found.sort();
        Ok(found)
    }

    /// Removes an image; does nothing when there is none. The caller makes sure that no overlay needs it.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<(), VaultError> {
        let folder = self.image_folder(digest);
        let away = self.inner.folder.join("tmp").join(digest.to_string());
        remove_all(&away)?;
        // First out of sight in one step, so that no half-removed image can be found.
        match fs::rename(&folder, &away) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(VaultError::io("remove", &folder)(source)),
            Ok(()) => remove_all(&away),
        }
    }

    /// Makes sure that `path` is an overlay on an image: a machine's disk. A file that is one already is left alone.
    /// `size` in bytes makes the disk larger than the image.
    ///
    /// # Errors
    /// When there is no such image, the size is too small, or something else is at `path`.
    pub async fn overlay(&self, digest: &Digest, path: &Path, size: Option<u64>) -> Result<(), OverlayError> {
        let image = self.image(digest)?;
        overlay::overlay_on(self.tool(), &image.disk, path, size).await
    }

    /// A folder for work that is not finished; gone when dropped, or at the next `open`.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir, VaultError> {
        let parent = self.inner.folder.join("tmp");
        tempfile::Builder::new()
            .prefix("import-")
            .tempdir_in(&parent)
            .map_err(VaultError::io("create a folder in", parent))
    }

    /// Puts a finished folder in its place, if it is wanted still. Somebody else having put the same content there is
    /// as good.
    pub(crate) fn place(&self, work: tempfile::TempDir, digest: &Digest, wanted: &Wanted) -> Result<(), VaultError> {
        let folder = self.image_folder(digest);
        // Held for the renaming alone: whoever gives it up meanwhile waits that long.
        let held = wanted.hold().map_err(VaultError::io("place the image at", &folder))?;
        let placed = fs::rename(work.path(), &folder);
        drop(held);
        match placed {
            // A folder that is not empty is not replaced: it has this very content.
            Err(source) if matches!(source.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                return Ok(());
            }
            other => other.map_err(VaultError::io("place the image at", &folder))?,
        }
        // Nothing is at its old place any more.
        let _ = work.keep();
        sync(&self.inner.folder.join("images"))
    }

    pub(crate) fn image_folder(&self, digest: &Digest) -> PathBuf {
        self.inner.folder.join("images").join(digest.to_string())
    }
}

fn remove_all(path: &Path) -> Result<(), VaultError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(VaultError::io("remove", path)(source)),
        _ => Ok(()),
    }
}
