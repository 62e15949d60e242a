//! Taking an image in: look, refuse or convert, hash, and put it in its place in one rename.

use crate::description::Description;
use crate::detect::{Format, detect};
use crate::digest::Digest;
use crate::error::{ImportError, VaultError};
use crate::qemu_img::Checked;
use crate::space::space;
use crate::vault::{Image, Metadata, Vault};
use crate::wanted::{Wanted, Wish};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What boots the disk, where it does not boot itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageParts {
    /// A kernel that QEMU starts directly.
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk for that kernel.
    pub initrd: Option<PathBuf>,
    /// The command line for that kernel.
    pub command_line: Option<String>,
}

/// What to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The disk.
    pub disk: PathBuf,
    /// What the user says its format is. `None` lets the magic numbers decide; saying `raw` is the way to import a raw
    /// disk whose first bytes look like something else.
    pub format: Option<Format>,
    /// What boots it.
    pub parts: ImageParts,
}

impl Source {
    /// A disk alone, its format to be found out.
    pub fn disk(path: impl Into<PathBuf>) -> Self {
        Self { disk: path.into(), format: None, parts: ImageParts::default() }
    }

    /// What a user gave on a command line: a disk, an `image.json`, or a folder that holds one.
    ///
    /// # Errors
    /// When the description is there but cannot be used.
    pub fn from_path(path: &Path) -> Result<Self, ImportError> {
        let inside = path.join("image.json");
        let description = if path.is_dir() && inside.is_file() {
            inside
        } else if path.extension().is_some_and(|end| end == "json") {
            path.to_path_buf()
        } else {
            return Ok(Self::disk(path));
        };
        Ok(Description::read(&description)?.into())
    }
}

impl From<Description> for Source {
    fn from(description: Description) -> Self {
        Self {
            disk: description.disk,
            format: None,
            parts: ImageParts {
                kernel: description.kernel,
                initrd: description.initrd,
                command_line: description.command_line,
            },
        }
    }
}

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking at the headers and tables of the source.
    Checking,
    /// Writing the vault's own copy.
    Converting,
    /// Computing the digest.
    Hashing,
    /// Making it durable and putting it in its place.
    Finishing,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub step: Step,
    /// How much of that is done, 0 to 100.
    pub percent: f32,
}

/// An image that is in the vault now.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The image.
    pub image: Image,
    /// The format of this source. The image keeps the one it first came in, when its content had been there before.
    pub format_found: Format,
    /// Whether its content had been there before.
    pub already_there: bool,
}

/// A command line longer than this is cut by the x86 kernel (`COMMAND_LINE_SIZE`, with the closing zero).
const COMMAND_LINE_LIMIT: usize = 2047;

impl Vault {
    /// Takes in an image. `progress` is called often, from the task that runs this. Dropped before it is done, nothing
    /// comes into the vault any more, and nothing of the image is kept.
    ///
    /// # Errors
    /// A typed reason; whatever it is, nothing of the image is kept.
    pub async fn import(
        &self,
        source: &Source,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Imported, ImportError> {
        let say = |step, percent| progress(Progress { step, percent });
        say(Step::Checking, 0.0);
        let disk = regular_file(&source.disk)?;
        check_parts(&source.parts)?;
        let format = match source.format {
            Some(Format::Raw) => raw(&disk)?,
            None => detect(&disk)?,
            Some(said) => {
                let found = detect(&disk)?;
                if found != said {
                    return Err(ImportError::UnknownFormat {
                        path: disk,
                        looks: format!("it was said to be {said}, but it is {found}"),
                    });
                }
                found
            }
        };
        let (virtual_size, needed) = self.examine(&disk, format, &source.parts).await?;

        say(Step::Converting, 0.0);
        let work = self.scratch()?;
        let copy = work.path().join("disk.qcow2");
        let limit = needed.saturating_add(needed / 8).saturating_add(64 << 20);
        self.tool()
            .convert(&disk, format.driver(), &copy, limit, |percent| say(Step::Converting, percent))
            .await
            .map_err(|error| {
                if error.is_disk_full() {
                    ImportError::DiskFull { path: disk.clone(), folder: self.folder().into() }
                } else {
                    error.into()
                }
            })?;

        say(Step::Hashing, 0.0);
        let vault = self.clone();
        let parts = source.parts.clone();
        // Goes with this future, and so tells the thread when it is dropped.
        let wish = Wish::new();
        let wanted = wish.wanted();
        let finish = move || vault.finish(work, &disk, parts, virtual_size, format, &wanted);
        let imported = tokio::task::spawn_blocking(finish)
            .await
            .map_err(|error| VaultError::io("hash", self.folder())(io::Error::other(error)))??;
        say(Step::Finishing, 100.0);
        Ok(imported)
    }

    /// Asks `qemu-img` about the source; returns its virtual size and the bytes the vault will need.
    async fn examine(&self, disk: &Path, format: Format, parts: &ImageParts) -> Result<(u64, u64), ImportError> {
        let path = || disk.to_path_buf();
        let corrupt = |error| match error {
            crate::ToolError::Failed { words, .. } => ImportError::Corrupt { path: path(), details: words },
            other => other.into(),
        };
        let info = self.tool().info(disk, format.driver()).await.map_err(corrupt)?;
        if info.encrypted {
            return Err(ImportError::Encrypted { path: path() });
        }
        if let Some(names) = info.backing_filename {
            return Err(ImportError::BackingFile { path: path(), names });
        }
        if info.virtual_size == 0 {
            return Err(ImportError::ZeroSize { path: path() });
        }
        if let Checked::Bad(details) = self.tool().check(disk, format.driver()).await? {
            return Err(ImportError::Corrupt { path: path(), details });
        }
        let mut needed = self.tool().measure(disk, format.driver()).await.map_err(corrupt)?;
        for part in [&parts.kernel, &parts.initrd].into_iter().flatten() {
            needed = needed.saturating_add(fs::metadata(part).map_or(0, |found| found.len()));
        }
        let available = space(self.folder()).map_err(VaultError::io("measure", self.folder()))?.available;
        if needed.saturating_add(self.reserve()) > available {
            return Err(ImportError::NoSpace {
                path: path(),
                needed,
                reserve: self.reserve(),
                available,
                folder: self.folder().into(),
            });
        }
        Ok((info.virtual_size, needed))
    }

    /// Everything after the conversion; blocking.
    fn finish(
        &self,
        work: tempfile::TempDir,
        disk: &Path,
        parts: ImageParts,
        virtual_size: u64,
        format_found: Format,
        wanted: &Wanted,
    ) -> Result<Imported, ImportError> {
        let full = |error: VaultError| match &error {
            VaultError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ImportError::DiskFull { path: disk.into(), folder: self.folder().into() }
            }
            _ => error.into(),
        };
        let copy = |part: &Option<PathBuf>, name: &str| -> Result<Option<PathBuf>, VaultError> {
            let Some(part) = part else { return Ok(None) };
            let to = work.path().join(name);
            fs::copy(part, &to).map_err(VaultError::io("copy", part))?;
            Ok(Some(to))
        };
        let kernel = copy(&parts.kernel, "kernel").map_err(full)?;
        let initrd = copy(&parts.initrd, "initrd").map_err(full)?;
        let copied = work.path().join("disk.qcow2");
        let line = parts.command_line.as_deref();
        let digest = Digest::of_parts(wanted, &copied, kernel.as_deref(), initrd.as_deref(), line)
            .map_err(VaultError::io("hash", &copied))?;
        if self.contains(&digest) {
            return Ok(Imported { image: self.image(&digest)?, format_found, already_there: true });
        }
        let metadata = Metadata {
            kernel: kernel.is_some(),
            initrd: initrd.is_some(),
            command_line: parts.command_line,
            virtual_size,
            disk_size: fs::metadata(&copied).map_err(VaultError::io("read", &copied))?.len(),
            format_found,
        };
        metadata.write(&work.path().join("image.json")).map_err(full)?;
        make_durable(work.path()).map_err(full)?;
        self.place(work, &digest, wanted).map_err(full)?;
        Ok(Imported { image: self.image(&digest)?, format_found, already_there: false })
    }
}

fn regular_file(path: &Path) -> Result<PathBuf, ImportError> {
    // Absolute, so that no part of it can be read as an option or a protocol.
    let absolute = path.canonicalize().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ImportError::Missing { path: path.into() },
        _ => ImportError::Unreadable { path: path.into(), source },
    })?;
    if absolute.is_file() { Ok(absolute) } else { Err(ImportError::NotAFile { path: path.into() }) }
}

fn raw(path: &Path) -> Result<Format, ImportError> {
    let length = fs::metadata(path).map_err(|source| ImportError::Unreadable { path: path.into(), source })?.len();
    if length == 0 { Err(ImportError::ZeroSize { path: path.into() }) } else { Ok(Format::Raw) }
}

fn check_parts(parts: &ImageParts) -> Result<(), ImportError> {
    if parts.kernel.is_none() && (parts.initrd.is_some() || parts.command_line.is_some()) {
        return Err(ImportError::NoKernel);
    }
    for part in [&parts.kernel, &parts.initrd].into_iter().flatten() {
        let file = regular_file(part)?;
        if fs::metadata(&file).is_ok_and(|found| found.len() == 0) {
            return Err(ImportError::ZeroSize { path: file });
        }
    }
    match &parts.command_line {
        Some(line) if line.len() > COMMAND_LINE_LIMIT => Err(ImportError::CommandLine { reason: "it is too long" }),
        Some(line) if line.chars().any(char::is_control) => {
            Err(ImportError::CommandLine { reason: "it has control characters" })
        }
        _ => Ok(()),
    }
}

/// Makes all files of a folder read-only and durable, and then the folder itself.
pub(crate) fn make_durable(folder: &Path) -> Result<(), VaultError> {
    for entry in fs::read_dir(folder).map_err(VaultError::io("read", folder))? {
        let path = entry.map_err(VaultError::io("read", folder))?.path();
        fs::set_permissions(&path, Permissions::from_mode(0o444)).map_err(VaultError::io("protect", &path))?;
        sync(&path)?;
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(VaultError::io("protect", folder))?;
    sync(folder)
}

pub(crate) fn sync(path: &Path) -> Result<(), VaultError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(VaultError::io("sync", path))
}
