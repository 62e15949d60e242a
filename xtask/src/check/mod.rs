//! Everything that can be said about the source without running it.

mod arrows;
mod files;

use crate::run;
use anyhow::{Result, bail};

/// All checks, the fast ones first. All of them run, so that one report shows everything.
pub(crate) fn all() -> Result<()> {
    let mut failed = Vec::new();
    let mut step = |name: &'static str, check: &dyn Fn() -> Result<()>| {
        if let Err(error) = run::timed(name, check) {
            eprintln!("error: {error:#}");
            failed.push(name);
        }
    };
    step("arrows between crates", &arrows::check);
    step("files", &files::check);
    step("formatting", &formatting);
    step("lints", &lints);
    step("documentation", &documentation);
    step("generated files", &generated);
    step("dependencies", &dependencies);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// What costs next to nothing: for `test --quick`.
pub(crate) fn quick() -> Result<()> {
    run::timed("arrows between crates", arrows::check)?;
    run::timed("files", files::check)?;
    run::timed("formatting", formatting)
}

fn formatting() -> Result<()> {
    if run::read(run::cargo().args(["fmt", "--version"])).is_err() {
        eprintln!("   rustfmt is not installed: skipped (rustup component add rustfmt)");
        return Ok(());
    }
    run::shown(run::cargo().args(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    if run::read(run::cargo().args(["clippy", "--version"])).is_err() {
        eprintln!("   clippy is not installed: skipped (rustup component add clippy)");
        return Ok(());
    }
    run::shown(run::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    run::shown(run::cargo().args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Schema, API document, completions and man pages are checked in, and must be what the types say.
fn generated() -> Result<()> {
    run::shown(run::cargo().args(["run", "--quiet", "--package", "wardian", "--", "generate", "--check"]))
}

fn dependencies() -> Result<()> {
    if run::read(run::cargo().args(["deny", "--version"])).is_err() {
        eprintln!("   cargo-deny is not installed: skipped (cargo install cargo-deny)");
        return Ok(());
    }
    run::shown(run::cargo().args(["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]))?;
    // Known vulnerabilities come from a database on the network, which is not to be had everywhere.
    match run::read(run::cargo().args(["deny", "--log-level", "error", "check", "advisories"])) {
        Err(error) if format!("{error:#}").contains("failed to fetch advisory database") => {
            eprintln!("   the database of advisories is out of reach: not checked");
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}
