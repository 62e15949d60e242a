//! What all controllers and requests of one host share.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use tokio::sync::{Mutex, RwLock, RwLockReadGuard, watch};
use wardian_machine::Machine;
use wardian_model::{
    environment::{EnvironmentRecord, Problem},
    host::Accelerator,
    id::EnvironmentId,
    name::{HostName, MachineName},
};
use wardian_network::{Network, Underlay};
use wardian_plan::passage;
use wardian_vault::{Digest, Image, Vault};

use crate::{
    accelerator, aliases::Standing, applied::Applied, boots::Boots, collector::Collector, config::HostConfig,
    paths::Paths, records::Records, refusal::problem,
};

/// Parts of one host.
pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) paths: Paths,
    pub(crate) records: Records,
    pub(crate) vault: Vault,
    pub(crate) network: Network,
    /// Taken while files of layers are listed and deleted, or an image is.
    pub(crate) collecting: Mutex<()>,
    /// Taken while files of memory are listed and deleted.
    pub(crate) collecting_memory: Mutex<()>,
    /// Read while a cut makes files that no record names yet ([`Shared::making`]); written while files that none names
    /// are deleted.
    pub(crate) cutting: RwLock<()>,
    /// Who is told what nobody needs any more.
    pub(crate) collector: Collector,
    /// Taken while memory is brought to hand.
    pub(crate) loading: Mutex<()>,
    /// The QEMU machines are started with.
    pub(crate) qemu_version: String,
    /// How many machines may begin to boot.
    pub(crate) boots: Arc<Boots>,
    /// What of the records is in effect in the kernel.
    pub(crate) applied: Applied,
    /// How it stands with the name servers.
    pub(crate) names: watch::Sender<Standing>,
    /// The way to the other hosts, once it is open.
    pub(crate) underlay: OnceLock<Underlay>,
    accelerator: Mutex<Option<Accelerator>>,
    /// Taken while an image is brought from another host.
    bringing: Mutex<()>,
    machines: std::sync::RwLock<HashMap<(EnvironmentId, MachineName), Machine>>,
}

impl Shared {
    pub(crate) fn new(
        config: HostConfig,
        paths: Paths,
        records: Records,
        vault: Vault,
        network: Network,
        qemu_version: String,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            paths,
            records,
            vault,
            network,
            collecting: Mutex::new(()),
            collecting_memory: Mutex::new(()),
            cutting: RwLock::new(()),
            collector: Collector::default(),
            loading: Mutex::new(()),
            qemu_version,
            boots: Boots::new(),
            applied: Applied::new(),
            names: watch::Sender::default(),
            underlay: OnceLock::new(),
            accelerator: Mutex::new(None),
            bringing: Mutex::new(()),
            machines: std::sync::RwLock::default(),
        })
    }

    /// Held while memory is made that no record names yet: nothing that looks like it is deleted meanwhile.
    pub(crate) async fn making(&self) -> Making<'_> {
        Making { _cutting: self.cutting.read().await, _after: After(&self.collector) }
    }

    /// Keeps a machine's handle for requests that need the guest, or lets it go.
    pub(crate) fn hold(&self, environment: EnvironmentId, name: &MachineName, machine: Option<Machine>) {
        let mut machines = self.machines.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = (environment, name.clone());
        match machine {
            Some(machine) => machines.insert(key, machine),
            None => machines.remove(&key),
        };
    }

    /// The machine, if it runs.
    pub(crate) fn machine(&self, environment: EnvironmentId, name: &MachineName) -> Option<Machine> {
        let machines = self.machines.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        machines.get(&(environment, name.clone())).filter(|machine| machine.lives()).cloned()
    }

    /// Which host of a cluster this is; none when its store is its own.
    pub(crate) fn host(&self) -> Option<HostName> {
        self.config.member.as_ref().map(|member| member.name.clone())
    }

    /// Whether the environment's edge is on this host, and with it everything that is not of one machine.
    pub(crate) fn is_home(&self, environment: &EnvironmentRecord) -> bool {
        environment.host == self.host()
    }

    /// Whether the environment has a part on this host.
    pub(crate) fn has_part(&self, environment: &EnvironmentRecord) -> bool {
        self.is_home(environment) || self.host().is_some_and(|host| environment.hosts().contains(&host))
    }

    /// Whether the environment shall have a passage on this host: it has no part here, but somebody has whom it is
    /// joined with.
    pub(crate) fn has_passage(&self, environment: &EnvironmentRecord) -> bool {
        self.host().is_some_and(|host| passage::is_wanted(environment, &host))
    }

    /// Whether the machine is on this host.
    pub(crate) fn has(&self, environment: &EnvironmentRecord, machine: &MachineName) -> bool {
        environment.host_of(machine) == self.config.member.as_ref().map(|member| &member.name)
    }

    /// Sees to it that an image is in the vault, where another host has it.
    pub(crate) async fn bring_image(&self, digest: &str) -> Result<(), Problem> {
        let Some(member) = &self.config.member else { return Ok(()) };
        let _one = self.bringing.lock().await;
        let digest: Digest = digest.parse().map_err(|error| problem(&error))?;
        match self.vault.image(&digest) {
            Ok(_) => Ok(()),
            Err(_) => member.images.bring(&digest, &self.vault).await,
        }
    }

    /// An image in the vault.
    pub(crate) fn image(&self, digest: &str) -> Result<Image, Problem> {
        let digest: Digest = digest.parse().map_err(|error| problem(&error))?;
        self.vault.image(&digest).map_err(|error| {
            let hint = error.hint();
            problem(&error).hint(hint)
        })
    }

    /// How guests run here. Found out once; `kernel` is what a proof boots.
    pub(crate) async fn accelerator(&self, kernel: Option<&Path>) -> Result<Accelerator, Problem> {
        let mut known = self.accelerator.lock().await;
        if let Some(accelerator) = *known {
            return Ok(accelerator);
        }
        let (accelerator, settled) = accelerator::choose(&self.config, &self.records, kernel).await?;
        if settled {
            *known = Some(accelerator);
        }
        Ok(accelerator)
    }
}

/// Somebody makes memory that no record names yet. Whoever was to delete some has not, and is told when it is over.
pub(crate) struct Making<'a> {
    _cutting: RwLockReadGuard<'a, ()>,
    /// Below the lock, so that it is dropped after it.
    _after: After<'a>,
}

struct After<'a>(&'a Collector);

impl Drop for After<'_> {
    fn drop(&mut self) {
        self.0.memory();
    }
}
