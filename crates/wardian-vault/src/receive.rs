//! Taking an image over from another vault: its files come one after the other, and what they are is found out here.
//!
//! Nothing is believed that the digest doesn't cover: the sizes are taken from the disk that came. An image that isn't
//! the one that was asked for never gets to its place.

use crate::digest::Digest;
use crate::error::{ReceiveError, VaultError};
use crate::import::make_durable;
use crate::part::Part;
use crate::qcow2::Header;
use crate::space::space;
use crate::vault::{Image, Metadata, Vault};
use crate::wanted::{Wanted, Wish};
use std::fs;
use std::io;
use std::path::PathBuf;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Bytes that are read before they are written.
const PIECE: usize = 1 << 20;

/// The longest description of an image, in bytes.
pub const LONGEST_DESCRIPTION: usize = 1 << 20;

/// An image on its way in. Dropped before it is finished, nothing of it is kept; what a killed process leaves is
/// removed when the vault is opened.
#[derive(Debug)]
pub struct Receiving {
    vault: Vault,
    work: tempfile::TempDir,
    digest: Digest,
    metadata: Metadata,
}

impl Vault {
    /// Begins to take over the image `digest` from a vault that has this `description` of it.
    ///
    /// # Errors
    /// When that is no description, or there is no place for the files.
    pub fn receive(&self, digest: Digest, description: &[u8]) -> Result<Receiving, ReceiveError> {
        let metadata =
            serde_json::from_slice(description).map_err(|source| ReceiveError::Description { digest, source })?;
        Ok(Receiving { vault: self.clone(), work: self.scratch()?, digest, metadata })
    }
}

impl Receiving {
    /// The files that must be written, each once.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let kernel = self.metadata.kernel.then_some(Part::Kernel);
        let initrd = self.metadata.initrd.then_some(Part::Initrd);
        [Some(Part::Disk), kernel, initrd].into_iter().flatten().collect()
    }

    /// Writes one of [`Self::parts`]: `size` bytes of `content`.
    ///
    /// # Errors
    /// When they don't fit, there are more or fewer, or they can't be read or written.
    pub async fn write(
        &mut self,
        part: Part,
        size: u64,
        mut content: impl AsyncRead + Unpin,
    ) -> Result<(), ReceiveError> {
        let digest = self.digest;
        self.check_room(size)?;
        let path = self.work.path().join(part.file_name());
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull => ReceiveError::DiskFull { digest, folder: self.vault.folder().into() },
            _ => VaultError::io("write", &path)(source).into(),
        };
        let mut file = File::create_new(&path).await.map_err(failed)?;
        let mut piece = Vec::with_capacity(PIECE);
        let mut written = 0;
        loop {
            piece.clear();
            while piece.len() < PIECE {
                let room = (PIECE - piece.len()) as u64;
                let read = (&mut content).take(room).read_buf(&mut piece).await;
                if read.map_err(|source| ReceiveError::Content { digest, part, source })? == 0 {
                    break;
                }
            }
            written += piece.len() as u64;
            if piece.is_empty() || written > size {
                break;
            }
            file.write_all(&piece).await.map_err(failed)?;
        }
        if written != size {
            return Err(ReceiveError::Length { digest, part, size, came: written });
        }
        file.flush().await.map_err(failed)
    }

    /// Puts the image into its place, if it is the one that was asked for.
    ///
    /// # Errors
    /// When it is another one, a file is missing, or it can't be made durable.
    pub async fn finish(self) -> Result<Image, ReceiveError> {
        let folder = self.vault.folder().to_path_buf();
        // Goes with this future, and so tells the thread when it is dropped.
        let wish = Wish::new();
        let wanted = wish.wanted();
        tokio::task::spawn_blocking(move || self.place(&wanted))
            .await
            .map_err(|error| VaultError::io("hash", folder)(io::Error::other(error)))?
    }

    /// Everything after the last byte; blocking.
    fn place(self, wanted: &Wanted) -> Result<Image, ReceiveError> {
        let Self { vault, work, digest, metadata: told } = self;
        let at = |part: Part| -> PathBuf { work.path().join(part.file_name()) };
        let (disk, kernel, initrd) = (at(Part::Disk), at(Part::Kernel), at(Part::Initrd));
        let found = Digest::of_parts(
            wanted,
            &disk,
            told.kernel.then_some(kernel.as_path()),
            told.initrd.then_some(initrd.as_path()),
            told.command_line.as_deref(),
        )
        .map_err(VaultError::io("hash", work.path()))?;
        if found != digest {
            return Err(ReceiveError::Different { digest, found });
        }
        let metadata = Metadata {
            virtual_size: Header::read(&disk).map_err(VaultError::io("read", &disk))?.virtual_size,
            disk_size: fs::metadata(&disk).map_err(VaultError::io("read", &disk))?.len(),
            ..told
        };
        let full = |error: VaultError| match &error {
            VaultError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ReceiveError::DiskFull { digest, folder: vault.folder().into() }
            }
            _ => error.into(),
        };
        metadata.write(&at(Part::Description)).map_err(full)?;
        make_durable(work.path()).map_err(full)?;
        vault.place(work, &digest, wanted).map_err(full)?;
        Ok(vault.image(&digest)?)
    }

    fn check_room(&self, size: u64) -> Result<(), ReceiveError> {
        let folder = self.vault.folder();
        let available = space(folder).map_err(VaultError::io("measure", folder))?.available;
        let reserve = self.vault.reserve();
        if size.saturating_add(reserve) > available {
            let (digest, folder) = (self.digest, folder.into());
            return Err(ReceiveError::NoSpace { digest, needed: size, reserve, available, folder });
        }
        Ok(())
    }
}
