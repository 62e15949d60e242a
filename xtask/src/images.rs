//! Guest images: runs `images/NAME/build.sh` and keeps the result in `target/wardian-images/NAME` for as long as the
//! script, its files and the versions of the packages it asks for stay the same.
//!
//! An image folder holds `image.json` (name, disk, kernel, initrd, command-line), which is what
//! `wardian image import` takes. How a guest is put together is the business of its script.

use crate::{packages, run};
use anyhow::{Context, Result};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Which images to build.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    /// The guest of all tests: busybox, agent, ready in seconds
    Micro,
    /// Debian 12 with cloud-init
    #[value(name = "debian-12")]
    Debian12,
    /// Debian 12 with Samba, as controller or member of a domain
    Samba,
    /// Every one
    All,
}

/// Packages whose version is an input of an image.
fn inputs(name: &str) -> &'static [&'static str] {
    match name {
        "micro" => &[
            "busybox-static",
            "curl",
            "iperf3",
            "libc6",
            "linux-image-cloud-amd64",
            "nftables",
            "qemu-guest-agent",
            "sg3-utils",
        ],
        "samba" => &["base-files", "krb5-user", "libc6", "qemu-guest-agent", "samba", "smbclient", "winbind"],
        _ => &["base-files", "cloud-init", "linux-image-cloud-amd64", "qemu-guest-agent", "systemd"],
    }
}

/// Builds what is asked for, unless it is there already.
pub(crate) fn build(which: Which) -> Result<()> {
    let names: &[&str] = match which {
        Which::Micro => &["micro"],
        Which::Debian12 => &["debian-12"],
        // It boots as the micro guest does.
        Which::Samba => &["micro", "samba"],
        Which::All => &["micro", "debian-12", "samba"],
    };
    packages::lists()?;
    names.iter().try_for_each(|name| build_one(name))
}

/// Where all images are, or will be.
pub(crate) fn all() -> PathBuf {
    run::target().join("wardian-images")
}

/// Where an image is, or will be.
pub(crate) fn folder(name: &str) -> PathBuf {
    all().join(name)
}

fn build_one(name: &str) -> Result<()> {
    let folder = folder(name);
    let key = key(name)?;
    if fs::read_to_string(folder.join("key")).is_ok_and(|known| known == key) {
        eprintln!("image {name} is there: {}", folder.display());
        return Ok(());
    }
    eprintln!("building image {name}");
    let start = Instant::now();
    let parent = run::target().join("wardian-images");
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let out = match script(name, &parent) {
        Ok(out) => out,
        // The lists may name packages that the server has replaced since: the one failure that has an easy remedy.
        Err(error) if nix::unistd::geteuid().is_root() => {
            eprintln!("{error:#}\ntrying once more with fresh package lists");
            packages::update()?;
            script(name, &parent)?
        }
        Err(error) => return Err(error),
    };
    fs::write(out.path().join("key"), self::key(name)?).context("cannot write the image's key")?;
    let old = scratch(&parent)?;
    if folder.exists() {
        fs::rename(&folder, old.path().join("old")).context("cannot move the old image away")?;
    }
    let out = out.keep();
    fs::rename(&out, &folder).with_context(|| format!("cannot move the image to {}", folder.display()))?;
    eprintln!("image {name}: {} in {}", folder.display(), run::seconds(start.elapsed()));
    Ok(())
}

/// Runs the image's script; the result is in the folder that is returned.
fn script(name: &str, parent: &Path) -> Result<tempfile::TempDir> {
    // Both are removed when dropped, so a build that fails leaves the old image and nothing else.
    let (work, out) = (scratch(parent)?, scratch(parent)?);
    run::shown(
        Command::new("bash")
            .arg(run::repository().join("images").join(name).join("build.sh"))
            .env("OUT", out.path())
            .env("IMAGES", all())
            .env("WORK", work.path()),
    )?;
    Ok(out)
}

fn scratch(parent: &Path) -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(".building-")
        // Machines run as another user, and so does apt's download method.
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))
}

/// One line that changes when an input of the image does.
fn key(name: &str) -> Result<String> {
    let source = run::repository().join("images");
    let mut files = Vec::new();
    let based: &[&str] = if name == "samba" { &["micro"] } else { &[] };
    for folder in [name, "common"].iter().chain(based) {
        list(&source.join(folder), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(&source)?.hash(&mut hasher);
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut hasher);
    }
    let inputs: Vec<&str> = [name].iter().chain(based).flat_map(|image| inputs(image)).copied().collect();
    let policy = run::read(Command::new("apt-cache").arg("policy").args(inputs).env("LC_ALL", "C"))?;
    for line in policy.lines().filter(|line| !line.starts_with(' ') || line.contains("Candidate:")) {
        line.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
