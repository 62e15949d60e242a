//! Which crate may use which: lower lines may use upper ones, and crates on one line do not know each other.

use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// The lines of the design, from the top.
const LINES: &[&[&str]] = &[
    &["wardian-model"],
    &["wardian-plan"],
    &["wardian-store", "wardian-machine", "wardian-network", "wardian-vault"],
    &["wardian-host", "wardian-cluster"],
    &["wardian-api"],
    &["wardian-client"],
    &["wardian"],
];

/// Used by tests only, and free to use what it needs for them.
const TEST_ONLY: &str = "wardian-testkit";

pub(super) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    let crates = run::repository().join("crates");
    for entry in fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))? {
        wrong.extend(of_crate(&entry?.path())?);
    }
    wrong.extend(of_crate(&run::repository().join("xtask"))?);
    if !wrong.is_empty() {
        wrong.sort();
        bail!("imports against the arrows of the design:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

fn of_crate(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("cannot parse {}", path.display()))?;
    Ok(judge(&manifest))
}

fn judge(manifest: &toml::Table) -> Vec<String> {
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml::Value::as_str)
        .unwrap_or("a crate without a name");
    let mut wrong = Vec::new();
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let used = manifest.get(section).and_then(toml::Value::as_table);
        for other in used.into_iter().flat_map(toml::Table::keys).filter(|other| other.starts_with("wardian")) {
            if !allowed(name, other, section == "dev-dependencies") {
                wrong.push(format!("{name} → {other} ({section})"));
            }
        }
    }
    if name != "xtask" && name != TEST_ONLY && line(name).is_none() {
        wrong.push(format!(
            "{name} is on no line: give it one in xtask/src/check/arrows.rs, and a reason in its first doc line"
        ));
    }
    wrong
}

fn allowed(user: &str, used: &str, in_tests: bool) -> bool {
    match (user, used) {
        // Set-up compiles before everything else.
        ("xtask", _) => false,
        (TEST_ONLY, used) => used != "wardian",
        (_, TEST_ONLY) => in_tests,
        (user, used) => matches!((line(user), line(used)), (Some(user), Some(used)) if used < user),
    }
}

fn line(name: &str) -> Option<usize> {
    LINES.iter().position(|line| line.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_upward_imports_are_allowed() {
        assert!(allowed("wardian-plan", "wardian-model", false));
        assert!(allowed("wardian-host", "wardian-vault", false));
        assert!(!allowed("wardian-model", "wardian-plan", false));
        assert!(!allowed("wardian-store", "wardian-vault", false));
        assert!(!allowed("wardian-vault", "wardian-store", true));
        assert!(!allowed("xtask", "wardian-model", false));
    }

    #[test]
    fn the_test_kit_is_for_tests_only() {
        assert!(allowed("wardian-host", TEST_ONLY, true));
        assert!(!allowed("wardian-host", TEST_ONLY, false));
    }

    #[test]
    fn a_manifest_is_judged_by_section_and_a_crate_without_a_line_is_named() {
        let manifest = "[package]\nname = 'wardian-new'\n[dependencies]\nwardian-model.workspace = true\nserde = '1'\n";
        let wrong = judge(&manifest.parse().unwrap());
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }
}
