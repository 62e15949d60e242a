//! Overlays: the writable qcow2 layer of one machine on a base that nobody writes.
//!
//! Making one may be repeated after a crash and then finishes what was begun. The base and its format are written into
//! an overlay as absolute path and name, so opening it involves no guessing. A machine's chain is changed by QEMU
//! itself, on request of whoever drives it.

use crate::error::{OverlayError, VaultError};
use crate::import::sync;
use crate::qcow2::Header;
use crate::qemu_img::QemuImg;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A disk and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskInfo {
    /// Bytes as the guest sees it.
    pub virtual_size: u64,
    /// Bytes this layer takes on the file system.
    pub allocated: u64,
    /// The backing files, nearest first; empty for a whole disk.
    pub chain: Vec<PathBuf>,
}

/// A chain that is longer is taken for one that goes round in a circle.
const CHAIN_LIMIT: usize = 64;

/// What a disk is and stands on, read from the headers, without a process; works while a machine runs on it.
///
/// # Errors
/// When a file of the chain cannot be read or is no qcow2 image.
pub fn info(path: &Path) -> Result<DiskInfo, OverlayError> {
    let header = header(path)?;
    let mut chain = Vec::new();
    let mut next = header.backing_path(path);
    while let Some(base) = next {
        if chain.len() == CHAIN_LIMIT {
            return Err(OverlayError::EndlessChain { path: path.into() });
        }
        next = self::header(&base)?.backing_path(&base);
        chain.push(base);
    }
    let found = fs::metadata(path).map_err(VaultError::io("read", path))?;
    Ok(DiskInfo {
        virtual_size: header.virtual_size,
        allocated: std::os::unix::fs::MetadataExt::blocks(&found) * 512,
        chain,
    })
}

/// Makes sure that `path` is an overlay on `base`; one that is there already is left alone, with its content.
/// `size` in bytes makes it larger than the base.
///
/// # Errors
/// When the size is too small for the base, or something else is at `path`.
pub async fn overlay_on(tool: &QemuImg, base: &Path, path: &Path, size: Option<u64>) -> Result<(), OverlayError> {
    let base = base.canonicalize().map_err(VaultError::io("find the base disk", base))?;
    let base_size = header(&base)?.virtual_size;
    if let Some(size) = size.filter(|size| *size < base_size) {
        return Err(OverlayError::SmallerThanBase { base, size, base_size });
    }
    if path.symlink_metadata().is_ok() {
        return same(path, &base, size.unwrap_or(base_size));
    }
    let temporary = beside(path);
    tool.create_overlay(&temporary, &base, "qcow2", size).await?;
    place(&temporary, path)
}

fn header(path: &Path) -> Result<Header, OverlayError> {
    Header::read(path).map_err(|source| OverlayError::Header { path: path.into(), source })
}

fn same(path: &Path, base: &Path, size: u64) -> Result<(), OverlayError> {
    let found = header(path)?;
    let different = |difference| OverlayError::Different { path: path.into(), difference };
    match found.backing_path(path) {
        None => return Err(different("it has no base".into())),
        Some(other) if other != base => return Err(different(format!("its base is {}", other.display()))),
        Some(_) => {}
    }
    if found.backing_format.as_deref() != Some("qcow2") {
        return Err(different("the format of its base is not given".into()));
    }
    if found.virtual_size != size {
        return Err(different(format!("it has {} bytes instead of {size}", found.virtual_size)));
    }
    Ok(())
}

/// The one name that unfinished work for `path` has, so that a repeated attempt overwrites it and nothing piles up.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn place(temporary: &Path, path: &Path) -> Result<(), OverlayError> {
    sync(temporary)?;
    fs::rename(temporary, path).map_err(VaultError::io("place", path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(sync(folder)?)
}
