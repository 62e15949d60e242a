//! The door of this crate: the networks of a host, by environment.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    net::{SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::net::{TcpSocket, TcpStream};
use wardian_model::{id::EnvironmentId, name::MachineName};
use wardian_plan::network::{LabConfig, LabPlan, NetworkPlan, PROBE_MARK, TapPlan, lab};

use crate::{
    acl::{self, AclCount},
    counters::FenceCounters,
    environment::{self, Changes, Observed},
    error::NetworkError,
    hand_over::HandOver,
    kernel::{namespace::Namespace, netfilter::Netfilter, nft::Loaded},
    lab as lab_network,
    services::Services,
    taps::{self, Role},
};

/// Where and whose.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The daemon's run directory; namespaces are mounted below it, at `netns/<environment id>`.
    pub run_dir: PathBuf,
    /// Whose links these are: one word that stays the same when the daemon is started again, and that no other daemon
    /// in the same network namespace has. It is written into the links' aliases, and what carries another is left
    /// alone.
    pub instance: String,
    /// The lab network.
    pub lab: LabConfig,
    /// Where the host's name servers are written down; /etc/resolv.conf on every real host.
    pub resolv_conf: PathBuf,
}

impl NetworkConfig {
    /// With the usual /etc/resolv.conf.
    pub fn new(run_dir: impl Into<PathBuf>, instance: impl Into<String>, lab: LabConfig) -> Self {
        Self { run_dir: run_dir.into(), instance: instance.into(), lab, resolv_conf: "/etc/resolv.conf".into() }
    }
}

/// The networks of this host. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: NetworkConfig,
    /// The daemon's own namespace.
    daemon: Namespace,
    /// One at a time works on the lab network, and on each environment.
    lab: Arc<tokio::sync::Mutex<Option<Loaded>>>,
    environments: Mutex<HashMap<EnvironmentId, Arc<tokio::sync::Mutex<Option<Loaded>>>>>,
}

impl Network {
    /// Opens the networks of the namespace the calling thread is in. Makes the folder for the environments' namespaces.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open(config: NetworkConfig) -> Result<Self, NetworkError> {
        let folder = config.run_dir.join("netns");
        fs::create_dir_all(&folder).map_err(NetworkError::file("create", &folder))?;
        let daemon = Namespace::current()?;
        Ok(Self { shared: Arc::new(Shared { config, daemon, lab: Arc::default(), environments: Mutex::default() }) })
    }

    /// What it was opened with.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.shared.config
    }

    /// Makes the lab network match `plan`. Can be repeated at any time; says what had to be done.
    ///
    /// # Errors
    /// [`NetworkError::Overlap`] when the host has a network there already, [`NetworkError::Foreign`] when somebody
    /// else has a link of that name, and what the kernel and nft refuse.
    pub async fn ensure_lab(&self, plan: &LabPlan) -> Result<Changes, NetworkError> {
        let mut loaded = self.shared.lab.clone().lock_owned().await;
        let (plan, owner) = (plan.clone(), self.owner());
        self.shared
            .daemon
            .run("set up the lab network", move || {
                let (changes, now) = lab_network::ensure(&plan, &owner, *loaded)?;
                *loaded = Some(now);
                Ok(changes)
            })
            .await
    }

    /// Removes the lab network, as configured. Succeeds when there is none.
    ///
    /// # Errors
    /// [`NetworkError::Foreign`] when the bridge is somebody else's, and what the kernel and nft refuse.
    pub async fn remove_lab(&self) -> Result<(), NetworkError> {
        let mut loaded = self.shared.lab.clone().lock_owned().await;
        let (plan, owner) = (lab(&self.shared.config.lab, &[]), self.owner());
        self.shared
            .daemon
            .run("remove the lab network", move || {
                *loaded = None;
                lab_network::remove(&plan.bridge, plan.prefix, &plan.table, &owner)
            })
            .await
    }

    /// Makes an environment's network match `plan`. Can be repeated at any time; says what had to be done.
    ///
    /// # Errors
    /// [`NetworkError::NoLab`] before [`Self::ensure_lab`], and what the kernel and nft refuse.
    pub async fn ensure(&self, plan: &NetworkPlan) -> Result<Changes, NetworkError> {
        let mut loaded = self.turn(plan.environment).lock_owned().await;
        let (plan, owner, path) = (plan.clone(), self.owner(), self.path(plan.environment));
        self.shared
            .daemon
            .run("set up an environment", move || {
                let (changes, now) = environment::ensure(&plan, &path, &owner, *loaded)?;
                *loaded = Some(now);
                Ok(changes)
            })
            .await
    }

    /// Removes all that is there of an environment's network. Succeeds when there is nothing.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub async fn remove(&self, environment: EnvironmentId) -> Result<(), NetworkError> {
        let mut loaded = self.turn(environment).lock_owned().await;
        let (owner, path) = (self.owner(), self.path(environment));
        let result = self
            .shared
            .daemon
            .run("remove an environment", move || {
                *loaded = None;
                environment::remove(environment, &path, &owner)
            })
            .await;
        if result.is_ok() {
            self.turns().remove(&environment);
        }
        result
    }

    /// The environments of which anything is on this host: a namespace, its file, or an edge.
    ///
    /// # Errors
    /// When the folder can't be read or links can't be listed.
    pub async fn list(&self) -> Result<Vec<EnvironmentId>, NetworkError> {
        let (owner, folder) = (self.owner(), self.shared.config.run_dir.join("netns"));
        self.shared
            .daemon
            .run("list environments", move || {
                let mut all: BTreeSet<EnvironmentId> = environment::owners_of_edges(&owner)?.into_iter().collect();
                let entries = match fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all.into_iter().collect()),
                    Err(e) => return Err(NetworkError::file("read", folder)(e)),
                };
                all.extend(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<EnvironmentId>().ok()));
                Ok(all.into_iter().collect())
            })
            .await
    }

    /// Looks at an environment's network, cheaply, without changing anything.
    ///
    /// # Errors
    /// When the kernel doesn't tell.
    pub async fn observe(&self, plan: &NetworkPlan) -> Result<Observed, NetworkError> {
        let loaded = *self.turn(plan.environment).lock_owned().await;
        let (plan, path) = (plan.clone(), self.path(plan.environment));
        self.shared.daemon.run("look at an environment", move || environment::observe(&plan, &path, loaded)).await
    }

    /// Makes the tap of `machine`, to be handed to its QEMU. It vanishes when the last holder of the file closes it.
    ///
    /// # Errors
    /// [`NetworkError::TapBusy`] while another process holds one of the machine's taps, [`NetworkError::NoEnvironment`]
    /// before [`Self::ensure`], [`NetworkError::NoMachine`] when the plan doesn't have it.
    pub async fn open_tap(&self, plan: &NetworkPlan, machine: &MachineName) -> Result<OwnedFd, NetworkError> {
        let (bridge, tap) = self.first(plan, machine)?;
        self.make_tap(plan, bridge, tap, Role::First).await.map(|(file, _)| file)
    }

    /// The same for all interfaces of the machine, in their order.
    ///
    /// # Errors
    /// As [`Self::open_tap`].
    pub async fn open_taps(&self, plan: &NetworkPlan, machine: &MachineName) -> Result<Vec<OwnedFd>, NetworkError> {
        let taps = self.make_taps(plan, machine, Role::First).await?;
        Ok(taps.into_iter().map(|(file, _)| file).collect())
    }

    /// Makes a second tap for `machine`, for a process that shall take over from the one that runs; answers its name
    /// too. Nothing passes it until [`Self::prepare_hand_over`] and [`HandOver::go`]; up to then it is safe to give it
    /// up.
    ///
    /// When the machine has no tap yet this is its only one, and the next [`Self::ensure`] lets it pass frames.
    ///
    /// # Errors
    /// [`NetworkError::TapBusy`] while both names are in use, otherwise as [`Self::open_tap`].
    pub async fn open_successor_tap(
        &self,
        plan: &NetworkPlan,
        machine: &MachineName,
    ) -> Result<(OwnedFd, String), NetworkError> {
        let (bridge, tap) = self.first(plan, machine)?;
        self.make_tap(plan, bridge, tap, Role::Successor).await
    }

    /// The same for all interfaces of the machine, in their order.
    ///
    /// # Errors
    /// As [`Self::open_successor_tap`].
    pub async fn open_successor_taps(
        &self,
        plan: &NetworkPlan,
        machine: &MachineName,
    ) -> Result<Vec<(OwnedFd, String)>, NetworkError> {
        self.make_taps(plan, machine, Role::Successor).await
    }

    fn first<'p>(&self, plan: &'p NetworkPlan, machine: &MachineName) -> Result<(&'p str, &'p TapPlan), NetworkError> {
        let environment = plan.environment;
        let found = plan.all_taps().find(|(_, tap)| tap.machine == *machine);
        found.ok_or_else(|| NetworkError::NoMachine { environment, machine: machine.clone() })
    }

    async fn make_taps(
        &self,
        plan: &NetworkPlan,
        machine: &MachineName,
        role: Role,
    ) -> Result<Vec<(OwnedFd, String)>, NetworkError> {
        self.first(plan, machine)?;
        let mut taps = Vec::new();
        for (bridge, tap) in plan.all_taps().filter(|(_, tap)| tap.machine == *machine) {
            taps.push(self.make_tap(plan, bridge, tap, role).await?);
        }
        Ok(taps)
    }

    async fn make_tap(
        &self,
        plan: &NetworkPlan,
        bridge: &str,
        tap: &TapPlan,
        role: Role,
    ) -> Result<(OwnedFd, String), NetworkError> {
        let environment = plan.environment;
        let (bridge, mtu, tap) = (bridge.to_owned(), plan.bridge.mtu, tap.clone());
        // Not between the rules' loading and the taps' pinning of an `ensure`.
        let turn = self.turn(environment).lock_owned().await;
        self.inside(environment)?
            .run("open a tap", move || {
                let _turn = turn;
                taps::open(environment, &bridge, mtu, &tap, role)
            })
            .await
    }

    /// Gets ready to hand machines over to their successors: each to its tap of the given name, or, with several
    /// interfaces, to each of the names given for it. What takes time is done here, so that [`HandOver::go`] is quick;
    /// nothing is changed yet.
    ///
    /// # Errors
    /// [`NetworkError::NoTap`] when one of the taps isn't there, otherwise as [`Self::open_tap`].
    pub async fn prepare_hand_over(
        &self,
        plan: &NetworkPlan,
        moves: &[(MachineName, String)],
    ) -> Result<HandOver, NetworkError> {
        let (plan, moves) = (plan.clone(), moves.to_vec());
        self.inside(plan.environment)?.run("prepare a hand-over", move || HandOver::prepare(&plan, &moves)).await
    }

    /// [`Self::prepare_hand_over`] and [`HandOver::go`]: from now on each machine's frames pass by the tap of the given
    /// name, and by no other. Can be repeated, and undone by naming the other taps.
    ///
    /// # Errors
    /// As [`Self::prepare_hand_over`] and [`HandOver::go`].
    pub async fn hand_over(&self, plan: &NetworkPlan, moves: &[(MachineName, String)]) -> Result<(), NetworkError> {
        self.prepare_hand_over(plan, moves).await?.go()
    }

    /// Forgets all connections that cross the edge of an environment or end at its gateway. Whoever goes on with one by
    /// TCP is told by a reset. Those between machines, over the switch, are known to nobody and go on.
    ///
    /// # Errors
    /// [`NetworkError::NoEnvironment`] before [`Self::ensure`], and what the kernel refuses.
    pub async fn forget_connections(&self, environment: EnvironmentId) -> Result<(), NetworkError> {
        self.inside(environment)?
            .run("forget connections", move || {
                let doing = || NetworkError::kernel(format!("forget the connections of environment {environment}"));
                Netfilter::open().and_then(|n| n.forget_connections()).map_err(doing())
            })
            .await
    }

    /// What the fence and the pins of an environment dropped and answered since its network was made.
    ///
    /// # Errors
    /// [`NetworkError::NoEnvironment`] before [`Self::ensure`], and what the kernel refuses.
    pub async fn counters(&self, environment: EnvironmentId) -> Result<FenceCounters, NetworkError> {
        self.inside(environment)?
            .run("read counters", move || {
                FenceCounters::read()
                    .map_err(NetworkError::kernel(format!("read the counters of environment {environment}")))
            })
            .await
    }

    /// What machines of an environment were not allowed to say or hear since there were rules about it.
    ///
    /// # Errors
    /// [`NetworkError::NoEnvironment`] before [`Self::ensure`], and what the kernel refuses.
    pub async fn acl_counters(&self, environment: EnvironmentId) -> Result<Vec<AclCount>, NetworkError> {
        self.inside(environment)?
            .run("read counters", move || {
                acl::counters().map_err(NetworkError::kernel(format!("read the counters of environment {environment}")))
            })
            .await
    }

    /// Connects to an address inside an environment, as its gateway does.
    ///
    /// # Errors
    /// [`NetworkError::Connect`] when nobody answers within `timeout`, or the machine refuses.
    pub async fn connect(
        &self,
        environment: EnvironmentId,
        address: SocketAddrV4,
        timeout: Duration,
    ) -> Result<TcpStream, NetworkError> {
        let failed = |source| NetworkError::Connect { address: *address.ip(), port: address.port(), source };
        let open = || {
            use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let failed = |e: nix::Error| NetworkError::kernel("open a socket")(e.into());
            let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).map_err(failed)?;
            // No rule of the environment is about what the daemon itself asks.
            setsockopt(&socket, sockopt::Mark, &PROBE_MARK).map_err(failed)?;
            Ok(socket)
        };
        // Where a socket was made is where it connects, whichever thread drives it.
        let socket = self.inside(environment)?.run("open a socket", open).await?;
        let socket = TcpSocket::from_std_stream(socket.into());
        match tokio::time::timeout(timeout, socket.connect(SocketAddr::V4(address))).await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Starts the DHCP and DNS servers of an environment. They end with the handle.
    ///
    /// # Errors
    /// [`NetworkError::NoEnvironment`] before [`Self::ensure`], [`NetworkError::Service`] when a socket can't be
    /// opened.
    pub async fn serve(&self, plan: &NetworkPlan) -> Result<Services, NetworkError> {
        let inside = self.inside(plan.environment)?;
        Services::start(plan, &inside, &self.shared.daemon, self.shared.config.resolv_conf.clone()).await
    }

    fn inside(&self, environment: EnvironmentId) -> Result<Namespace, NetworkError> {
        Namespace::at(&self.path(environment))?.ok_or(NetworkError::NoEnvironment { environment })
    }

    fn path(&self, environment: EnvironmentId) -> PathBuf {
        self.shared.config.run_dir.join("netns").join(environment.to_string())
    }

    fn owner(&self) -> String {
        format!("wardian:{}", self.shared.config.instance)
    }

    fn turn(&self, environment: EnvironmentId) -> Arc<tokio::sync::Mutex<Option<Loaded>>> {
        self.turns().entry(environment).or_default().clone()
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<EnvironmentId, Arc<tokio::sync::Mutex<Option<Loaded>>>>> {
        // A map of handles is whole at every instant.
        self.shared.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
