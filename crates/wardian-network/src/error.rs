//! What can go wrong between a plan and the kernel.

use std::{io, net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;
use wardian_model::{id::EnvironmentId, name::MachineName};

/// Why the kernel's network could not be made to match a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A file or folder of ours.
    #[error("can't {doing} {path}")]
    File {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The kernel refused a change of links, addresses, routes or namespaces.
    #[error("can't {doing}")]
    Kernel {
        /// What was to be done, naming the thing.
        doing: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// `nft` could not be started.
    #[error("can't run nft; is the package nftables installed?")]
    NftMissing {
        /// What the system says.
        source: io::Error,
    },
    /// `nft` refused the rules.
    #[error("nft refused the rules of {whose}: {message}")]
    Nft {
        /// An environment, or the lab network.
        whose: String,
        /// Its words.
        message: String,
    },
    /// The lab prefix is used by somebody else on this host.
    #[error(
        "the lab network {prefix} overlaps {network} on {by}; choose another prefix for the lab network in the configuration"
    )]
    Overlap {
        /// The lab network.
        prefix: Ipv4Net,
        /// The network that was there before.
        network: Ipv4Net,
        /// The interface, or the kind of route.
        by: String,
    },
    /// A link with the lab bridge's name exists and is not ours.
    #[error(
        "{name} exists already and belongs to {owner}; remove it, or choose another name for the lab bridge in the configuration"
    )]
    Foreign {
        /// The link.
        name: String,
        /// Its alias, as far as it has one.
        owner: String,
    },
    /// The lab bridge's name is none.
    #[error("{name:?} can't be the name of a bridge; use up to 15 letters, digits, hyphens, dots and underscores")]
    BridgeName {
        /// The name.
        name: String,
    },
    /// The lab bridge isn't there.
    #[error("the lab bridge {name} doesn't exist; it must be made before environments")]
    NoLab {
        /// The bridge.
        name: String,
    },
    /// Frames of second interfaces can't be shown to the fence.
    #[error(
        "this kernel doesn't show the fence what a switch hands on, which machines with two interfaces need; load the module br_netfilter"
    )]
    NoBridgeFilter,
    /// The environment has no network on this host.
    #[error("environment {environment} has no network on this host")]
    NoEnvironment {
        /// The environment.
        environment: EnvironmentId,
    },
    /// The machine is not in the plan.
    #[error("environment {environment} has no machine {machine}")]
    NoMachine {
        /// The environment.
        environment: EnvironmentId,
        /// The machine.
        machine: MachineName,
    },
    /// Another process holds the tap.
    #[error("the network interface of {machine} ({tap}) is in use by another process; is its QEMU still running?")]
    TapBusy {
        /// The machine.
        machine: MachineName,
        /// The tap.
        tap: String,
    },
    /// A tap that shall take over isn't there.
    #[error(
        "{machine} has no network interface {tap} to hand over to; is the process that shall take over still running?"
    )]
    NoTap {
        /// The machine.
        machine: MachineName,
        /// The tap.
        tap: String,
    },
    /// A connection into the environment failed.
    #[error("can't connect to {address} port {port}")]
    Connect {
        /// The machine's address.
        address: Ipv4Addr,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// A server's socket could not be opened.
    #[error("can't open the {service} socket of environment {environment}")]
    Service {
        /// DHCP or DNS.
        service: &'static str,
        /// The environment.
        environment: EnvironmentId,
        /// What the system says.
        source: io::Error,
    },
    /// A thread that worked in a namespace ended without an answer.
    #[error("the thread that was to {doing} ended early")]
    Thread {
        /// What it did.
        doing: &'static str,
    },
}

impl NetworkError {
    pub(crate) fn kernel(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Kernel { doing, source }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
