//! A host: opened, then run until told to stop.

use std::{net::Ipv4Addr, sync::Arc};

use wardian_machine as machine;
use wardian_network::{Network, NetworkConfig, NetworkError, UnderlayError, underlay};
use wardian_store::{Reserved, SqliteStore, Store};
use wardian_vault::{Vault, VaultError};

use crate::{
    aliases, collector,
    config::HostConfig,
    fabric, fault, lab, memories,
    paths::Paths,
    records::Records,
    requests::images,
    shared::Shared,
    state::{self, StateError},
    supervisor,
};

/// One host. Cheap to clone; all clones are the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) shared: Arc<Shared>,
}

/// What a host stands on, before it is known where its records are.
pub struct Ground {
    paths: Paths,
    /// A word no other state directory has.
    pub instance: String,
    /// The QEMU machines are started with.
    pub qemu: machine::Version,
}

impl Ground {
    /// Checks QEMU and makes the directories that are missing.
    ///
    /// # Errors
    /// When QEMU or the state directory can't be used; what was there is left as it was.
    pub async fn prepare(config: &HostConfig) -> Result<Self, OpenError> {
        let paths = Paths::new(&config.state_directory, &config.run_directory);
        let qemu = machine::version(&config.qemu).await?;
        let instance = state::prepare(&paths)?;
        Ok(Self { paths, instance, qemu })
    }

    /// The records of this host alone.
    ///
    /// # Errors
    /// When they can't be opened.
    pub async fn own_records(&self) -> Result<Arc<dyn Store>, OpenError> {
        if self.paths.moved().exists() {
            return Err(OpenError::Moved { marker: self.paths.moved() });
        }
        Ok(Arc::new(Reserved::open(self.paths.reserve(), || SqliteStore::open(self.paths.records())).await?))
    }

    /// That this host has that address on the physical network, where other hosts can be reached by packets of `mtu`
    /// bytes.
    ///
    /// # Errors
    /// When it is on no device, on the wrong one, or on one that takes smaller packets.
    pub async fn check_provider(&self, provider: Ipv4Addr, mtu: u16, lab_bridge: &str) -> Result<(), OpenError> {
        underlay::check_provider(provider, mtu, lab_bridge).await?;
        Ok(())
    }

    /// The records of this host alone, if it has any that no cluster has taken over: for a host that has just come into
    /// one.
    ///
    /// # Errors
    /// When they can't be opened.
    pub async fn records_to_bring(&self) -> Result<Option<Arc<dyn Store>>, OpenError> {
        if !self.paths.records().exists() || self.paths.moved().exists() {
            return Ok(None);
        }
        fault::point("join: in the cluster");
        self.own_records().await.map(Some)
    }

    /// Puts them away: they are in the records of a cluster from now on, and a daemon that opened them again would run
    /// machines that others may run, too.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn give_up_own_records(&self) -> std::io::Result<()> {
        fault::point("join: records copied");
        let marker = self.paths.moved();
        let temporary = marker.with_extension("new");
        std::fs::write(&temporary, "the records of this host are in its cluster's etcd\n")?;
        std::fs::File::open(&temporary)?.sync_all()?;
        std::fs::rename(&temporary, &marker)?;
        std::fs::File::open(self.paths.state())?.sync_all()?;
        fault::point("join: records given up");
        Ok(())
    }
}

/// Why a host can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The records.
    #[error(transparent)]
    Store(#[from] wardian_store::Error),
    /// The images.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The lab network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The way to the other hosts.
    #[error(transparent)]
    Underlay(#[from] UnderlayError),
    /// This host's records are a cluster's.
    #[error("this host has given its records to a cluster, and can't be alone with those it had before ({marker})")]
    Moved {
        /// What says so.
        marker: std::path::PathBuf,
    },
    /// QEMU is missing or too old.
    #[error(transparent)]
    Qemu(#[from] machine::VersionError),
}

impl Host {
    /// Opens what the ground is for, with these records.
    ///
    /// # Errors
    /// When a part can't be used; what was there is left as it was.
    pub async fn open(config: HostConfig, ground: Ground, store: Arc<dyn Store>) -> Result<Self, OpenError> {
        let Ground { paths, instance, qemu: version } = ground;
        let records = Records::open(store).await?;
        let vault = Vault::open(paths.vault())?;
        images::sweep(&records, &vault).await?;
        memories::mount_folder(&paths)?;
        let network = Network::open(NetworkConfig::new(&config.run_directory, instance, config.lab.clone()))?;
        tracing::info!(state = %paths.state().display(), %version, "opened");
        Ok(Self { shared: Shared::new(config, paths, records, vault, network, version.to_string()) })
    }

    /// Makes the lab network, then runs all controllers until this future is dropped. Machines go on without it.
    ///
    /// # Errors
    /// When the lab network can't be made.
    pub async fn run(&self, ready: impl FnOnce()) -> Result<(), OpenError> {
        let plan = lab::make(&self.shared).await?;
        fabric::open(&self.shared).await?;
        let names = aliases::serve::start(&self.shared).await?;
        ready();
        tokio::join!(
            supervisor::run(self.shared.clone()),
            lab::keep(self.shared.clone(), plan),
            collector::keep(self.shared.clone()),
            aliases::serve::keep(self.shared.clone(), names),
            aliases::publish::keep(self.shared.clone()),
            fabric::keep(self.shared.clone()),
        );
        Ok(())
    }

    /// A word no other state directory has.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.shared.network.config().instance
    }

    /// What it was told.
    #[must_use]
    pub fn config(&self) -> &HostConfig {
        &self.shared.config
    }

    /// Its images, for other hosts.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.shared.vault
    }

    /// Its records, for who wants to follow their changes.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.shared.records
    }
}
