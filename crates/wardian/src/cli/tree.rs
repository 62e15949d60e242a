//! Folders as archives: packed while they are sent, unpacked while they arrive.
//!
//! An archive from a guest is input from a stranger: only files, folders and links are made of it, never outside
//! the destination (the crate `tar` sees to that), never a device, never a file that runs as its owner.

use std::{
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
};

use tokio::io::DuplexStream;
use tokio_util::io::SyncIoBridge;

/// How much waits between the two sides, in bytes.
const PIPE: usize = 256 << 10;

/// Packs what is in a folder. The reading side must be read or dropped for the packing to end.
pub(crate) fn pack(folder: PathBuf) -> (DuplexStream, impl Future<Output = io::Result<()>>) {
    let (reader, writer) = tokio::io::duplex(PIPE);
    let writer = SyncIoBridge::new(writer);
    let packing = tokio::task::spawn_blocking(move || {
        let mut archive = tar::Builder::new(writer);
        archive.follow_symlinks(false);
        archive.append_dir_all(".", &folder)?;
        archive.into_inner().and_then(|mut writer| writer.shutdown())
    });
    (reader, async { packing.await.unwrap_or_else(|error| Err(io::Error::other(error))) })
}

/// Unpacks into a folder, which is made if need be. The writing side must be closed for the unpacking to end.
pub(crate) fn unpack(folder: PathBuf) -> (DuplexStream, impl Future<Output = io::Result<()>>) {
    let (reader, writer) = tokio::io::duplex(PIPE);
    let reader = SyncIoBridge::new(reader);
    let unpacking = tokio::task::spawn_blocking(move || unpack_from(reader, &folder));
    (writer, async { unpacking.await.unwrap_or_else(|error| Err(io::Error::other(error))) })
}

fn unpack_from(mut reader: impl Read, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut archive = tar::Archive::new(&mut reader);
    archive.set_preserve_permissions(false);
    archive.set_preserve_mtime(true);
    // Last, because a folder that may not be written to would keep its own content out.
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            folders.push(entry);
        } else if kind.is_file() || kind.is_gnu_sparse() || kind.is_symlink() || kind.is_hard_link() {
            entry.unpack_in(folder)?;
        }
    }
    for mut entry in folders.into_iter().rev() {
        entry.unpack_in(folder)?;
    }
    // The padding at the end, so that the sender is not cut off.
    io::copy(&mut reader, &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn a_folder_comes_back_as_it_was() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        fs::create_dir_all(from.join("a/empty")).unwrap();
        fs::write(from.join("a/big"), vec![7; 1 << 20]).unwrap();
        fs::write(from.join("run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("run"), fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink("a/big", from.join("link")).unwrap();

        let (mut archive, packing) = pack(from);
        let (mut pipe, unpacking) = unpack(to.clone());
        let copying = async move { tokio::io::copy(&mut archive, &mut pipe).await };
        let (packed, copied, unpacked) = tokio::join!(packing, copying, unpacking);
        packed.unwrap();
        copied.unwrap();
        unpacked.unwrap();

        assert_eq!(fs::read(to.join("a/big")).unwrap().len(), 1 << 20);
        assert_eq!(fs::metadata(to.join("run")).unwrap().permissions().mode() & 0o777, 0o750);
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("a/big"));
        assert!(to.join("a/empty").is_dir());
    }

    /// An archive with one entry whose name no builder would write.
    fn archive(name: &str, kind: tar::EntryType, mode: u32) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(0);
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, io::empty()).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn a_strangers_archive_makes_nothing_outside_and_no_devices() {
        let base = tempfile::tempdir().unwrap();
        let to = base.path().join("to");
        unpack_from(&archive("../out", tar::EntryType::Regular, 0o644)[..], &to).unwrap();
        unpack_from(&archive("null", tar::EntryType::Char, 0o644)[..], &to).unwrap();
        assert!(!base.path().join("out").exists());
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    }

    #[test]
    fn a_strangers_file_never_runs_as_its_owner() {
        let to = tempfile::tempdir().unwrap();
        unpack_from(&archive("su", tar::EntryType::Regular, 0o4755)[..], to.path()).unwrap();
        assert_eq!(fs::metadata(to.path().join("su")).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        let to = tempfile::tempdir().unwrap();
        assert!(unpack_from(&[1; 1024][..], to.path()).is_err());
    }
}
