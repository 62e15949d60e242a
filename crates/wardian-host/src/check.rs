//! `wardian host check`: whether this host has what environments need, and what to do where it hasn't.

use std::path::Path;

use wardian_machine as machine;
use wardian_model::host::{Accelerator, AcceleratorRecord};
use wardian_network::DecapsulationPlace;
use wardian_plan::clocks::{Ahead, list};

use crate::{Host, memory, refusal::problem};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCheck {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub verdict: HostVerdict,
    /// What was found, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How a checked thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostVerdict {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could.
    Warning,
    /// Environments can't run.
    Failed,
}

impl HostCheck {
    fn new(name: &'static str, verdict: HostVerdict, message: impl Into<String>) -> Self {
        Self { name, verdict, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Below this much free space in the state directory, guests soon stop, in bytes.
const LITTLE_SPACE: u64 = 2 << 30;

impl Host {
    /// Looks at everything environments need.
    pub async fn check(&self) -> Vec<HostCheck> {
        let config = &self.shared.config;
        vec![
            self.check_qemu().await,
            self.check_accelerator().await,
            check_program("nftables", "nft", "install the package nftables"),
            check_device("tap devices", "/dev/net/tun", "load the kernel module tun"),
            check_memory(),
            self.check_space(),
            check_groups(),
            HostCheck::new("lab network", HostVerdict::Ok, format!("{} on {}", config.lab.prefix, config.lab.bridge)),
            self.check_names(),
        ]
        .into_iter()
        .chain(self.check_updates())
        .chain(self.check_cluster().await)
        .chain(self.check_clock().await)
        .chain(self.check_envelopes())
        .collect()
    }

    /// Nothing where this host is alone.
    async fn check_cluster(&self) -> Option<HostCheck> {
        self.shared.config.member.as_ref()?;
        let check = match self.hosts().await {
            Ok(hosts) => {
                let down: Vec<_> =
                    hosts.iter().filter(|host| host.presence.is_none()).map(|host| host.record.name.as_str()).collect();
                match down.as_slice() {
                    [] => HostCheck::new("cluster", HostVerdict::Ok, format!("{} hosts, all up", hosts.len())),
                    down => HostCheck::new("cluster", HostVerdict::Warning, format!("down: {}", down.join(", ")))
                        .hint("machines may still run there; start the daemon there, or mend its way to etcd"),
                }
            }
            Err(refusal) => HostCheck {
                hint: refusal.problem.hint,
                ..HostCheck::new("cluster", HostVerdict::Failed, refusal.problem.message)
            },
        };
        Some(check)
    }

    /// Nothing where this host is alone.
    async fn check_clock(&self) -> Option<HostCheck> {
        let clocks = self.shared.config.member.as_ref()?.clocks.clone();
        let far = clocks.compare().await.map(|all| all.ahead.into_iter().filter(Ahead::is_far).collect::<Vec<_>>());
        let check = match far {
            Ok(far) if far.is_empty() => HostCheck::new("clock", HostVerdict::Ok, "agrees with those of the others"),
            Ok(far) => HostCheck::new("clock", HostVerdict::Warning, list(&far))
                .hint("set the one that is wrong: nothing expires on a host that is ahead, and its daemon doesn't come in again"),
            Err(problem) => {
                HostCheck { hint: problem.hint, ..HostCheck::new("clock", HostVerdict::Warning, problem.message) }
            }
        };
        Some(check)
    }

    /// Nothing where this host is alone.
    fn check_envelopes(&self) -> Option<HostCheck> {
        let underlay = self.shared.underlay.get()?;
        let device = underlay.device();
        let found = match underlay.decapsulation() {
            DecapsulationPlace::Xdp => format!("are taken off by the driver of {device}"),
            DecapsulationPlace::Tc { why } => format!("are taken off after the driver of {device}: {why}"),
        };
        Some(HostCheck::new("envelopes", HostVerdict::Ok, found))
    }

    fn check_names(&self) -> HostCheck {
        let config = &self.shared.config;
        match self.shared.names.borrow().own.clone() {
            Some(problem) => {
                let check = HostCheck::new("aliases", HostVerdict::Warning, problem.message);
                HostCheck { hint: problem.hint, ..check }
            }
            None => {
                let found = format!("{}, asked of {}", config.aliases.zone(), config.lab.address());
                HostCheck::new("aliases", HostVerdict::Ok, found)
            }
        }
    }

    fn check_updates(&self) -> Option<HostCheck> {
        let update = self.shared.config.updater.as_ref()?.config();
        Some(match self.shared.names.borrow().elsewhere.clone() {
            Some(problem) => HostCheck::new("dns-update", HostVerdict::Warning, problem.message)
                .hint("names are published as soon as it works; until then only the lab network's server knows them"),
            None => {
                let found = format!("{} is told of the aliases, as {}", update.server, update.key_name);
                HostCheck::new("dns-update", HostVerdict::Ok, found)
            }
        })
    }

    async fn check_qemu(&self) -> HostCheck {
        let path = &self.shared.config.qemu;
        match machine::version(path).await {
            Ok(version) => HostCheck::new("qemu", HostVerdict::Ok, format!("{} {version}", path.display())),
            Err(error) => HostCheck::new("qemu", HostVerdict::Failed, problem(&error).message)
                .hint("install the packages qemu-system-x86 and qemu-utils (on Debian 12 from backports)"),
        }
    }

    async fn check_accelerator(&self) -> HostCheck {
        if let Some(chosen) = self.shared.config.accelerator {
            return HostCheck::new("accelerator", HostVerdict::Ok, format!("{chosen}, as configured"));
        }
        let key = AcceleratorRecord::key_of(self.shared.host().as_ref());
        let known = self.shared.records.get::<AcceleratorRecord>(&key).await.ok().flatten();
        match known.map(|known| known.record) {
            Some(AcceleratorRecord { accelerator: Accelerator::Kvm, why, .. }) => {
                HostCheck::new("accelerator", HostVerdict::Ok, format!("kvm, proven: {why}"))
            }
            Some(AcceleratorRecord { why, .. }) => {
                HostCheck::new("accelerator", HostVerdict::Warning, format!("tcg: {why}"))
                    .hint("machines run, but slowly; use a host with working hardware virtualization")
            }
            None if Path::new("/dev/kvm").exists() => HostCheck::new(
                "accelerator",
                HostVerdict::Warning,
                "not known yet: /dev/kvm is proven when the first machine with a kernel of its own starts",
            ),
            None => HostCheck::new("accelerator", HostVerdict::Warning, "tcg: there is no /dev/kvm")
                .hint("machines run, but slowly; use a host with hardware virtualization"),
        }
    }

    fn check_space(&self) -> HostCheck {
        let path = self.shared.paths.state();
        match wardian_vault::space(path) {
            Ok(space) if space.available < LITTLE_SPACE => HostCheck::new(
                "disk space",
                HostVerdict::Warning,
                format!("{} MiB free in {}", space.available >> 20, path.display()),
            )
            .hint("free some: a machine whose disk can't grow is paused"),
            Ok(space) => HostCheck::new(
                "disk space",
                HostVerdict::Ok,
                format!("{} GiB free in {}", space.available >> 30, path.display()),
            ),
            Err(error) => HostCheck::new(
                "disk space",
                HostVerdict::Failed,
                format!("{} can't be looked at: {error}", path.display()),
            ),
        }
    }
}

fn check_program(name: &'static str, program: &str, hint: &str) -> HostCheck {
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file()));
    match found {
        Some(path) => HostCheck::new(name, HostVerdict::Ok, path.display().to_string()),
        None => HostCheck::new(name, HostVerdict::Failed, format!("{program} is not in PATH")).hint(hint),
    }
}

fn check_device(name: &'static str, path: &str, hint: &str) -> HostCheck {
    match Path::new(path).exists() {
        true => HostCheck::new(name, HostVerdict::Ok, path),
        false => HostCheck::new(name, HostVerdict::Failed, format!("there is no {path}")).hint(hint),
    }
}

fn check_memory() -> HostCheck {
    match (memory::total(), memory::available()) {
        (Some(total), Some(available)) => HostCheck::new(
            "memory",
            HostVerdict::Ok,
            format!("{} MiB, of which {} MiB can be had", total >> 20, available >> 20),
        ),
        _ => HostCheck::new("memory", HostVerdict::Warning, "/proc/meminfo does not say how much there is"),
    }
}

fn check_groups() -> HostCheck {
    let hierarchy = machine::cgroup::detect();
    match hierarchy.mounts().is_empty() {
        false => {
            HostCheck::new("cgroups", HostVerdict::Ok, if hierarchy.is_version_2() { "version 2" } else { "version 1" })
        }
        true => HostCheck::new("cgroups", HostVerdict::Warning, "none that can be written")
            .hint("machines run, but limits on processor time and memory are not enforced"),
    }
}
