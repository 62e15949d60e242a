//! The arguments of what is between an environment and the outside: fence, gateway, addresses, exposed ports.

use std::num::NonZeroU16;

use clap::{Args, ValueEnum};
use wardian_model::{
    name::{EnvironmentName, MachineName},
    spec::AclRule,
};

use crate::cli::target::{AclTarget, PortTarget};

/// `fence`.
#[derive(Debug, Args)]
#[command(after_help = "\
Addresses stay, and so do connections inside. What is allowed then is printed in one line.

Examples:
  wardian fence store             says what is allowed now
  wardian fence store sealed")]
pub(crate) struct Fence {
    /// The environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// What may cross the edge from now on; without it, the present fence is shown
    #[arg(value_name = "MODE")]
    pub(crate) mode: Option<FenceMode>,
}

/// What may cross an environment's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FenceMode {
    /// Connections both ways
    Open,
    /// Connections from inside; from outside only to exposed ports
    OutOnly,
    /// Nothing
    Sealed,
}

impl From<FenceMode> for wardian_api::wire::Fence {
    fn from(mode: FenceMode) -> Self {
        match mode {
            FenceMode::Open => Self::Open,
            FenceMode::OutOnly => Self::OutOnly,
            FenceMode::Sealed => Self::Sealed,
        }
    }
}

/// `acl`.
#[derive(Debug, Args)]
#[command(after_help = "\
A rule: allow|deny [in|out] [tcp|udp|icmp|any] [from WHO [port N]] [to WHO [port N]]
WHO:    any, gateway, a machine, an address or a prefix; N: a port, or a range as in 8000-8080

A rule is about who begins; answers pass. A machine's own rules are asked before those of its
environment, the first that matches decides, and what none matches is allowed. What is still
allowed loses no packet by a change; what is not stops, also where it runs already.

Examples:
  wardian acl store                  says what the rules are
  wardian acl store/db 'allow tcp from web to db port 5432' 'deny any'
  wardian acl store 'deny udp port 53'
  wardian acl store/db --clear")]
pub(crate) struct Acl {
    /// The environment, or one of its machines
    #[arg(value_name = "ENV[/MACHINE]")]
    pub(crate) target: AclTarget,
    /// The rules from now on, in the order they are asked; without any, the present ones are shown
    #[arg(value_name = "RULE")]
    pub(crate) rules: Vec<AclRule>,
    /// Take all rules of the target away
    #[arg(long, conflicts_with = "rules")]
    pub(crate) clear: bool,
}

/// `gateway`.
#[derive(Debug, Args)]
#[command(after_help = "\
per-machine: each machine has a public address of its own.
host:        the machines share one, and are reached at exposed ports of the host only.
MACHINE:     this machine has a public address, and what the others send outwards goes to it; it must forward
             and translate (masquerade) it. Every machine's router stays what it was.

Nothing changes inside. Connections with the outside end.

Examples:
  wardian gateway store          says what it is now
  wardian gateway store host")]
pub(crate) struct Gateway {
    /// The environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// Through whom from now on; without it, the present way is shown
    #[arg(value_name = "per-machine|host|MACHINE")]
    pub(crate) by: Option<wardian_model::spec::Gateway>,
}

/// `join`.
#[derive(Debug, Args)]
#[command(after_help = "\
Their machines reach each other by their inside addresses, whatever the fences of the two. Names stay each one's own.
Their subnets must not overlap, and both are on the same host. A clone of either is joined with nobody.

Example:
  wardian join shop warehouse")]
pub(crate) struct Join {
    /// An environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// The other one
    #[arg(value_name = "OTHER")]
    pub(crate) other: EnvironmentName,
}

/// `part`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  wardian part shop warehouse")]
pub(crate) struct Part {
    /// An environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// The other one
    #[arg(value_name = "OTHER")]
    pub(crate) other: EnvironmentName,
}

/// `addresses`.
#[derive(Debug, Args)]
pub(crate) struct Addresses {
    /// The environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// Only this machine
    #[arg(value_name = "MACHINE")]
    pub(crate) machine: Option<MachineName>,
}

/// `expose`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wardian expose store/web:80
  wardian expose store/web:80 --at 8080
  wardian expose store/web-1+web-2:80 --at 8080   # each connection goes to one of them that serves
  wardian expose store/dns:53/udp --remove")]
pub(crate) struct Expose {
    /// The machine and its port; TCP unless /udp; MACHINE+MACHINE for several that share it
    #[arg(value_name = "ENV/MACHINE:PORT[/udp]")]
    pub(crate) target: PortTarget,
    /// The port of the host that leads there; a free one is chosen without
    #[arg(long, value_name = "PORT", conflicts_with = "remove")]
    pub(crate) at: Option<NonZeroU16>,
    /// Close it again
    #[arg(long)]
    pub(crate) remove: bool,
}
