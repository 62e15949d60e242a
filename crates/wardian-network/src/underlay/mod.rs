//! What a host of a cluster has towards the others: the packet filter at the device that has its provider address, and
//! an uplink from the lab bridge to it. The lab network is one virtual subnet for all hosts
//! ([`lab`](wardian_plan::fabric::lab)).
//!
//! ```text
//!  edges, the host itself ── lab bridge ── wlab-in ═ wlab-out (leave) ──► device towards the other hosts (arrive)
//! ```
//!
//! Links, programs and tables stay when the daemon ends, and traffic goes on; the next [`Underlay::open`] finds them.
//! All is in the namespace of the thread that opens it.

mod addresses;
mod early;
mod error;
mod links;

use std::{
    collections::BTreeSet,
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::Ipv4Net;
use tokio::sync::{Mutex, OwnedMutexGuard};
use wardian_model::{encapsulation::Decapsulation, mac::MacAddress, vsid::Vsid};
use wardian_plan::{
    fabric::{self, Change, Encapsulation, HostPolicy, difference},
    network::UplinkPlan,
};

use crate::{
    environment::Changes,
    error::NetworkError,
    filter::{Filter, FilterCounters, Uplink},
    kernel::namespace::Namespace,
};
pub use early::DecapsulationPlace;
pub use error::UnderlayError;

/// What is tried where that fails.
const TELL_BRIDGE: &str = "tell the lab bridge what is on other hosts";

/// Where, whose, and by which address.
#[derive(Debug, Clone)]
pub struct UnderlayConfig {
    /// The daemon's run directory; programs and tables are pinned below it, at `bpf`.
    pub run_dir: PathBuf,
    /// Whose links these are, as in [`crate::NetworkConfig::instance`].
    pub instance: String,
    /// This host's address on the physical network.
    pub provider: Ipv4Addr,
    /// How frames travel between hosts.
    pub encapsulation: Encapsulation,
    /// Where they are taken out of their envelopes.
    pub decapsulation: Decapsulation,
    /// The largest IP packet that the physical network takes between any two hosts, in bytes.
    pub mtu: u16,
    /// Where machines on this host get provider addresses of their own from.
    pub rewrite_addresses: Option<Ipv4Net>,
}

/// The lab bridge, connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabUplink {
    /// The bridge's own hardware address, which is that of the host's lab address.
    pub mac: MacAddress,
    /// What had to be done.
    pub changes: Changes,
}

/// The way to the other hosts. Dropping it leaves everything as it is in the kernel.
pub struct Underlay {
    config: UnderlayConfig,
    /// The daemon's own namespace.
    daemon: Namespace,
    device: String,
    decapsulation: DecapsulationPlace,
    mtu: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    filter: Filter,
    /// What the filter knows; none when that has to be read.
    known: Option<HostPolicy>,
    /// Where the lab bridge is connected.
    port: Option<Port>,
}

struct Port {
    index: u32,
    /// Which hardware addresses the bridge was told to be behind it; none when that has to be read.
    told: Option<BTreeSet<MacAddress>>,
}

impl fmt::Debug for Underlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Underlay").field("config", &self.config).field("device", &self.device).finish_non_exhaustive()
    }
}

impl Underlay {
    /// Puts the filter at the device that has the provider address. What an earlier daemon left goes on carrying
    /// meanwhile.
    ///
    /// # Errors
    /// [`UnderlayError::NoProvider`] when no device has that address, [`UnderlayError::NotEthernet`] when one has it
    /// that leads to no host, [`UnderlayError::Narrow`] when it takes smaller packets, [`UnderlayError::NoXdp`] when
    /// its driver shall take envelopes off and can't, and what the kernel refuses.
    pub async fn open(config: UnderlayConfig) -> Result<Self, UnderlayError> {
        let daemon = Namespace::current()?;
        let (provider, needed, pins) = (config.provider, config.mtu, pins(&config.run_dir));
        let (rewrite_addresses, decapsulation) = (config.rewrite_addresses, config.decapsulation);
        let open = move || {
            let device = links::device_of(provider)?;
            links::is_wide(&device, provider, needed)?;
            let mut filter = Filter::open(&pins)?;
            filter.receive_only(&device.name, links::mac_of(&device), provider)?;
            let decapsulation = early::choose(&mut filter, &device, decapsulation)?;
            addresses::hold(rewrite_addresses)?;
            Ok((device, decapsulation, filter))
        };
        let (device, decapsulation, filter) = run(&daemon, "open the way to other hosts", open).await?;
        // The device may take more than the way to some host.
        let mtu = config.encapsulation.guest_mtu(config.mtu);
        let state = Arc::new(Mutex::new(State { filter, known: None, port: None }));
        Ok(Self { config, daemon, device: device.name, decapsulation, mtu, state })
    }

    /// What it was opened with.
    #[must_use]
    pub const fn config(&self) -> &UnderlayConfig {
        &self.config
    }

    /// The device that has the provider address.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Where envelopes are taken off.
    #[must_use]
    pub const fn decapsulation(&self) -> &DecapsulationPlace {
        &self.decapsulation
    }

    /// The largest IP packet that fits between hosts, in bytes. Who sends a larger one that must not be cut is told; a
    /// larger piece of what was cut already is lost, so the lab network's own MTU better is not above this.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Connects the lab bridge. Can be repeated at any time.
    ///
    /// # Errors
    /// [`NetworkError::NoLab`] when there is no such bridge, [`UnderlayError::Foreign`] when somebody else has a link
    /// with a name of ours, [`UnderlayError::InLab`] when the provider address is on the bridge, and what the kernel
    /// refuses.
    pub async fn connect_lab(&self, bridge: &str) -> Result<LabUplink, UnderlayError> {
        if self.device == bridge {
            return Err(UnderlayError::InLab { address: self.config.provider, bridge: bridge.to_owned() });
        }
        let (bridge, owner, here) = (bridge.to_owned(), owner(&self.config.instance), self.config.provider);
        let uplink = Uplink {
            vsid: Vsid::FIRST,
            domain: fabric::LAB_DOMAIN,
            device: links::OUT.to_owned(),
            underlay: self.device.clone(),
            here: self.config.provider,
            encapsulation: self.config.encapsulation,
            mtu: self.mtu,
        };
        self.work("connect the lab network to other hosts", move |state| {
            let mut changes = Changes::default();
            let (index, mac) = links::ensure(&bridge, &owner, &mut changes)?;
            state.filter.connect(&uplink)?;
            if !changes.is_empty() || state.port.as_ref().is_none_or(|port| port.index != index) {
                state.port = Some(Port { index, told: None });
            }
            if let Some(known) = state.known.take() {
                state.forward(&known, here)?;
                state.known = Some(known);
            }
            Ok(LabUplink { mac, changes })
        })
        .await
    }

    /// Connects the switch of an environment's part, and its way to the edge where that is on another host. Their outer
    /// ends are taken up, now that the filter is there. Can be repeated at any time; says what had to be done at the
    /// links.
    ///
    /// # Errors
    /// When there is no such device, or the kernel refuses.
    pub async fn connect(&self, plan: &UplinkPlan) -> Result<Changes, UnderlayError> {
        let encapsulation = plan.encapsulation.unwrap_or(self.config.encapsulation);
        let uplink = |device: &str| Uplink {
            vsid: plan.vsid,
            domain: plan.domain,
            device: device.to_owned(),
            underlay: self.device.clone(),
            here: self.config.provider,
            encapsulation,
            mtu: encapsulation.guest_mtu(self.config.mtu).min(plan.mtu),
        };
        let (first, beside) = (uplink(&plan.outer), plan.transit.as_ref().map(|transit| uplink(&transit.outer)));
        self.work("connect a switch to other hosts", move |state| {
            let mut changes = Changes::default();
            state.filter.connect(&first)?;
            links::take_up(&first.device, &mut changes)?;
            if let Some(beside) = beside {
                state.filter.connect_beside(&beside)?;
                links::take_up(&beside.device, &mut changes)?;
            }
            Ok(changes)
        })
        .await
    }

    /// Forgets the switch of that subnet. Fine if there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn disconnect(&self, vsid: Vsid) -> Result<(), UnderlayError> {
        self.work("disconnect a switch from other hosts", move |state| Ok(state.filter.disconnect(vsid)?)).await
    }

    /// Forgets the switches of all subnets but these and the lab network.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn disconnect_others(&self, wanted: BTreeSet<Vsid>) -> Result<(), UnderlayError> {
        self.work("disconnect switches that nobody needs from other hosts", move |state| {
            for vsid in state.filter.connected()?.difference(&wanted).filter(|vsid| **vsid != Vsid::FIRST) {
                state.filter.disconnect(*vsid)?;
            }
            Ok(())
        })
        .await
    }

    /// Makes the filter know exactly this; tells how many changes that took. What stays is not touched, also when
    /// another daemon has written it: the first time, the filter's tables are read. The lab bridge is told which
    /// hardware addresses are elsewhere, so that frames for other hosts are not shown to everybody on this one.
    ///
    /// # Errors
    /// When a table is full, or the kernel refuses. Some of it may be done then; it can be repeated.
    pub async fn apply(&self, policy: &HostPolicy) -> Result<usize, UnderlayError> {
        let (policy, here) = (policy.clone(), self.config.provider);
        self.work("tell the packet filter where machines are", move |state| {
            // Gone while it is changed: after an error, what is there is looked at.
            let known = match state.known.take() {
                Some(known) => known,
                None => state.filter.known()?,
            };
            let changes = difference(&known, &policy);
            for change in &changes {
                state.filter.apply(change)?;
            }
            state.forward(&policy, here)?;
            state.known = Some(policy);
            Ok(changes.len())
        })
        .await
    }

    /// Makes changes to what the filter knows, without looking at what stays. Only after [`Self::apply`] or an earlier
    /// such call has worked: else nothing is done, and the answer is no.
    ///
    /// # Errors
    /// As [`Self::apply`], which is to be called then.
    pub async fn change(&self, changes: Vec<Change>) -> Result<bool, UnderlayError> {
        let here = self.config.provider;
        self.work("tell the packet filter where machines are", move |state| {
            let Some(mut known) = state.known.take() else { return Ok(false) };
            for change in &changes {
                state.filter.apply(change)?;
                known.make(change);
            }
            state.forward_changed(&known, &changes, here)?;
            state.known = Some(known);
            Ok(true)
        })
        .await
    }

    /// What was carried and dropped since the tables were made.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn counters(&self) -> Result<FilterCounters, UnderlayError> {
        self.work("read the packet filter's counters", |state| Ok(state.filter.counters()?)).await
    }

    /// What the filter knows, read from its tables.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn known(&self) -> Result<HostPolicy, UnderlayError> {
        self.work("read what the packet filter knows", |state| Ok(state.filter.known()?)).await
    }

    /// Removes all that was made: this host has no way to others any more.
    ///
    /// # Errors
    /// As [`Self::remove_left`].
    pub async fn close(self) -> Result<(), UnderlayError> {
        Self::remove(&self.config.run_dir, &self.config.instance, &self.daemon).await
    }

    /// The same for what an earlier daemon has left, in the namespace of the calling thread. Fine if there is nothing.
    ///
    /// # Errors
    /// [`UnderlayError::Foreign`] when a link with a name of ours is somebody else's, and what the system refuses.
    pub async fn remove_left(run_dir: &Path, instance: &str) -> Result<(), UnderlayError> {
        Self::remove(run_dir, instance, &Namespace::current()?).await
    }

    async fn remove(run_dir: &Path, instance: &str, daemon: &Namespace) -> Result<(), UnderlayError> {
        let (pins, owner) = (pins(run_dir), owner(instance));
        let remove = move || {
            links::remove(&owner)?;
            addresses::hold(None)?;
            Ok(Filter::remove_all(&pins)?)
        };
        run(daemon, "remove the way to other hosts", remove).await
    }

    /// One at a time.
    async fn work<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut State) -> Result<T, UnderlayError> + Send + 'static,
    ) -> Result<T, UnderlayError> {
        let mut state: OwnedMutexGuard<State> = self.state.clone().lock_owned().await;
        run(&self.daemon, doing, move || work(&mut state)).await
    }
}

impl State {
    /// Tells the lab bridge which hardware addresses are on other hosts.
    fn forward(&mut self, policy: &HostPolicy, here: Ipv4Addr) -> Result<(), UnderlayError> {
        let Some(port) = &mut self.port else { return Ok(()) };
        let elsewhere = policy.stations.iter().filter(|((vsid, _), host)| *vsid == Vsid::FIRST && **host != here);
        let wanted: BTreeSet<MacAddress> = elsewhere.map(|((_, mac), _)| *mac).collect();
        if port.told.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let doing = || NetworkError::kernel(TELL_BRIDGE);
        let mut netlink = links::netlink()?;
        let told = match port.told.take() {
            Some(told) => told,
            None => netlink.forwarded(port.index).map_err(doing())?,
        };
        for mac in told.difference(&wanted) {
            netlink.forward_no_more(port.index, *mac).map_err(doing())?;
        }
        for mac in wanted.difference(&told) {
            netlink.forward(port.index, *mac).map_err(doing())?;
        }
        port.told = Some(wanted);
        Ok(())
    }

    /// The same when only this was changed in what is known.
    fn forward_changed(&mut self, known: &HostPolicy, changes: &[Change], here: Ipv4Addr) -> Result<(), UnderlayError> {
        let Some((index, mut told)) = self.port.as_mut().and_then(|port| Some((port.index, port.told.take()?))) else {
            return self.forward(known, here);
        };
        let doing = || NetworkError::kernel(TELL_BRIDGE);
        let changed = changes.iter().filter_map(|change| match change {
            Change::Vacate { vsid: Vsid::FIRST, mac } => Some((*mac, false)),
            Change::Place { vsid: Vsid::FIRST, mac, provider } => Some((*mac, *provider != here)),
            _ => None,
        });
        for (mac, is_elsewhere) in changed {
            if is_elsewhere && told.insert(mac) {
                links::netlink()?.forward(index, mac).map_err(doing())?;
            } else if !is_elsewhere && told.remove(&mac) {
                links::netlink()?.forward_no_more(index, mac).map_err(doing())?;
            }
        }
        if let Some(port) = &mut self.port {
            port.told = Some(told);
        }
        Ok(())
    }
}

/// That [`Underlay::open`] would find this host's provider address where it can be, given the lab bridge; the device
/// that has it. In the namespace of the calling thread.
///
/// # Errors
/// [`UnderlayError::NoProvider`], [`UnderlayError::NotEthernet`], [`UnderlayError::InLab`] and
/// [`UnderlayError::Narrow`], and what the kernel refuses.
pub async fn check_provider(provider: Ipv4Addr, mtu: u16, bridge: &str) -> Result<String, UnderlayError> {
    let look = move || links::device_of(provider);
    let device = run(&Namespace::current()?, "look for the provider address", look).await?;
    if device.name == bridge {
        return Err(UnderlayError::InLab { address: provider, bridge: device.name });
    }
    links::is_wide(&device, provider, mtu)?;
    Ok(device.name)
}

/// On a thread of its own in that namespace. When the caller stops waiting, it is finished all the same.
async fn run<T: Send + 'static>(
    daemon: &Namespace,
    doing: &'static str,
    work: impl FnOnce() -> Result<T, UnderlayError> + Send + 'static,
) -> Result<T, UnderlayError> {
    daemon.run(doing, move || Ok(work())).await?
}

fn pins(run_dir: &Path) -> PathBuf {
    run_dir.join("bpf")
}

fn owner(instance: &str) -> String {
    format!("wardian:{instance}")
}
