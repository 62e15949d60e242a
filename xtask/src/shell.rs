//! `cargo xtask shell`: a shell on a host of its own, with a running daemon and the image `micro`, to try things out.
//! The machine it runs on notices nothing: the host is a network namespace without a way out, and all of it goes away
//! with the shell.

use crate::lab::Lab;
use crate::{images, packages, run, tests};
use anyhow::{Context, Result, bail};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Runs the user's shell; reads commands from standard input when that is no terminal.
pub(crate) fn run() -> Result<()> {
    packages::ensure()?;
    tests::build()?;
    images::build(images::Which::Micro)?;
    let lab = Lab::start("shell", tests::binary())?;
    lab.import("micro")?;
    let interactive = std::io::stdin().is_terminal();
    if interactive {
        println!("A host of its own: `wardian` talks to its daemon. Leave with `exit`; everything here goes then.");
    }
    let shell = std::env::var_os("SHELL").filter(|_| interactive).unwrap_or_else(|| "/bin/bash".into());
    let mut command = lab.inside(Path::new(&shell))?;
    if !interactive {
        // A script ends at the first command that fails.
        command.arg("-eu");
    }
    let status = command
        .env("WARDIAN_HOST", lab.url())
        .env("PATH", path_with_wardian()?)
        .current_dir(run::repository())
        .status()
        .with_context(|| format!("cannot run {}", Path::new(&shell).display()))?;
    drop(lab);
    if !interactive && !status.success() {
        bail!("the script failed: {status}");
    }
    Ok(())
}

/// `PATH` with the folder of the built `wardian` in front.
fn path_with_wardian() -> Result<std::ffi::OsString> {
    let binary = tests::binary();
    let folder = binary.parent().context("the binary lies in no folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from(folder)).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}
