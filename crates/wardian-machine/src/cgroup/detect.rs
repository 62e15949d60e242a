//! Which cgroups this host has, and whether we may make some.

use std::path::{Path, PathBuf};

use super::Controller;

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub root: PathBuf,
    /// What it controls, of what we use.
    pub controllers: Vec<Controller>,
}

/// The cgroups of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2: one tree for all controllers.
    V2(Mount),
    /// Version 1: a tree per controller (or for a few).
    V1(Vec<Mount>),
    /// None that we could use.
    Unusable {
        /// Why, for people.
        why: String,
    },
}

impl Hierarchy {
    /// The trees, none when unusable.
    pub fn mounts(&self) -> &[Mount] {
        match self {
            Hierarchy::V2(mount) => std::slice::from_ref(mount),
            Hierarchy::V1(mounts) => mounts,
            Hierarchy::Unusable { .. } => &[],
        }
    }

    /// Whether this is version 2.
    pub fn is_version_2(&self) -> bool {
        matches!(self, Hierarchy::V2(_))
    }
}

/// Looks at this host's mounts.
pub fn detect() -> Hierarchy {
    match std::fs::read_to_string("/proc/self/mounts") {
        Ok(mounts) => from_mounts(&mounts, &available, &writable),
        Err(error) => Hierarchy::Unusable { why: format!("/proc/self/mounts: {error}") },
    }
}

/// Reads a table of mounts (fstab(5)). A tree of version 2 with the memory controller wins; a hybrid host's has none.
pub(super) fn from_mounts(
    mounts: &str,
    available: &dyn Fn(&Path) -> Vec<Controller>,
    writable: &dyn Fn(&Path) -> bool,
) -> Hierarchy {
    let mut old = Vec::new();
    let mut refused = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(root), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let root = PathBuf::from(root);
        let controllers = match kind {
            "cgroup2" => available(&root),
            "cgroup" => {
                let given: Vec<&str> = options.split(',').collect();
                Controller::ALL.into_iter().filter(|c| given.contains(&c.as_str())).collect()
            }
            _ => continue,
        };
        let useful =
            if kind == "cgroup2" { controllers.contains(&Controller::Memory) } else { !controllers.is_empty() };
        if !useful {
            continue;
        }
        if !writable(&root) {
            refused = Some(root);
            continue;
        }
        if kind == "cgroup2" {
            return Hierarchy::V2(Mount { root, controllers });
        }
        old.push(Mount { root, controllers });
    }
    if !old.is_empty() {
        return Hierarchy::V1(old);
    }
    Hierarchy::Unusable {
        why: match refused {
            Some(root) => format!("{} is not writable", root.display()),
            None => "no cgroup hierarchy with the memory controller is mounted".to_owned(),
        },
    }
}

fn available(root: &Path) -> Vec<Controller> {
    let text = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let given: Vec<&str> = text.split_ascii_whitespace().collect();
    Controller::ALL.into_iter().filter(|c| given.contains(&c.as_str())).collect()
}

fn writable(root: &Path) -> bool {
    nix::unistd::access(root, nix::unistd::AccessFlags::W_OK).is_ok()
}
