//! What machines may say to whom, and be told by whom: `allow tcp from web to db port 5432`, `deny any`.
//!
//! A rule is about who begins a conversation; answers pass with it. Rules are asked in order, a machine's own before
//! the network's, and the first that matches decides; what none matches is allowed. They are held at each machine's own
//! port: `out` is what this machine begins, `in` what others begin with it, a rule without either is about both.
//!
//! ```text
//! rule     = ("allow" | "deny") ["in" | "out"] ["any" | "tcp" | "udp" | "icmp"] [ports] ["from" end] ["to" end]
//! end      = ("any" | "gateway" | MACHINE | ADDRESS | PREFIX) [ports]
//! ports    = "port" (PORT | PORT "-" PORT)
//! ```
//!
//! Ports that stand before both ends are those of the destination.

mod text;

use std::{fmt, net::Ipv4Addr, num::NonZeroU16};

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use text::AclError;

use super::EnvironmentSpec;
use crate::name::MachineName;

/// The most rules one list may have.
pub const MAX_RULES: usize = 200;

/// The rules of an environment: those of single machines, and those of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Acl {
    /// For every machine, after its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<AclRule>,
    /// For single machines. There is no empty list.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub machines: IndexMap<MachineName, Vec<AclRule>>,
}

impl Acl {
    /// What a specification asks for.
    #[must_use]
    pub fn of(spec: &EnvironmentSpec) -> Self {
        let machines = spec.machines.iter().filter(|(_, machine)| !machine.acl.is_empty());
        Self {
            network: spec.network.acl.clone(),
            machines: machines.map(|(name, machine)| (name.clone(), machine.acl.clone())).collect(),
        }
    }

    /// Makes a specification ask for this.
    pub fn write_into(&self, spec: &mut EnvironmentSpec) {
        spec.network.acl.clone_from(&self.network);
        for (name, machine) in &mut spec.machines {
            machine.acl = self.machines.get(name).cloned().unwrap_or_default();
        }
    }

    /// Whether everything is allowed because nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.network.is_empty() && self.machines.is_empty()
    }

    /// The rules that are asked at a machine's port, in their order.
    pub fn at<'a>(&'a self, machine: &MachineName) -> impl Iterator<Item = &'a AclRule> + use<'a> {
        self.machines.get(machine).into_iter().flatten().chain(&self.network)
    }

    /// One list: a machine's, or the network's.
    #[must_use]
    pub fn list(&self, machine: Option<&MachineName>) -> &[AclRule] {
        match machine {
            Some(machine) => self.machines.get(machine).map_or(&[], Vec::as_slice),
            None => &self.network,
        }
    }

    /// Replaces one list.
    pub fn set(&mut self, machine: Option<&MachineName>, rules: Vec<AclRule>) {
        match machine {
            None => self.network = rules,
            Some(machine) if rules.is_empty() => drop(self.machines.shift_remove(machine)),
            Some(machine) => drop(self.machines.insert(machine.clone(), rules)),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct AclRule {
    /// What becomes of what matches.
    pub action: AclAction,
    /// Who begins, seen from the machine at whose port it is asked; either when absent.
    pub direction: Option<AclDirection>,
    /// The protocol.
    pub protocol: AclProtocol,
    /// Who begins.
    pub from: AclEnd,
    /// Whom it is meant for.
    pub to: AclEnd,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AclAction {
    /// It passes, and so do answers.
    Allow,
    /// It is dropped and counted.
    Deny,
}

/// Who begins, seen from a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AclDirection {
    /// Others.
    In,
    /// The machine.
    Out,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AclProtocol {
    /// All of IPv4; with ports, TCP and UDP.
    Any,
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 792.
    Icmp,
}

/// One end of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AclEnd {
    /// Who.
    pub peer: AclPeer,
    /// By which ports; all when absent.
    pub ports: Option<AclPorts>,
}

/// Who is at an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AclPeer {
    /// Whoever, but for what a machine begins with its gateway itself.
    Any,
    /// The environment's gateway itself: its names and its answers to pings.
    Gateway,
    /// A machine of the environment, under all of its addresses.
    Machine(MachineName),
    /// Whoever has one of these addresses.
    Network(Ipv4Net),
}

/// Ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AclPorts {
    /// The first.
    pub first: NonZeroU16,
    /// The last; not before the first.
    pub last: NonZeroU16,
}

impl AclEnd {
    /// Whoever, by any port.
    pub const ANY: Self = Self { peer: AclPeer::Any, ports: None };

    /// The machine that is named here.
    #[must_use]
    pub const fn machine(&self) -> Option<&MachineName> {
        match &self.peer {
            AclPeer::Machine(machine) => Some(machine),
            AclPeer::Any | AclPeer::Gateway | AclPeer::Network(_) => None,
        }
    }
}

impl AclRule {
    /// Whether it decides about everything that is left.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.direction.is_none()
            && self.protocol == AclProtocol::Any
            && self.from == AclEnd::ANY
            && self.to == AclEnd::ANY
    }

    /// Whether it can be about what `machine` says or hears at all.
    #[must_use]
    pub fn concerns(&self, machine: &MachineName) -> bool {
        let may_be = |end: &AclEnd| match &end.peer {
            AclPeer::Any | AclPeer::Network(_) => true,
            AclPeer::Gateway => false,
            AclPeer::Machine(named) => named == machine,
        };
        match self.direction {
            Some(AclDirection::Out) => may_be(&self.from),
            Some(AclDirection::In) => may_be(&self.to),
            None => may_be(&self.from) || may_be(&self.to),
        }
    }
}

impl AclPorts {
    /// Whether a port is one of these.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first.get() <= port && port <= self.last.get()
    }
}

impl fmt::Display for AclPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Display for AclPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Gateway => f.write_str("gateway"),
            Self::Machine(name) => write!(f, "{name}"),
            Self::Network(net) if net.prefix_len() == 32 => write!(f, "{}", net.addr()),
            Self::Network(net) => write!(f, "{net}"),
        }
    }
}

impl fmt::Display for AclEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer)?;
        self.ports.map_or(Ok(()), |ports| write!(f, " port {ports}"))
    }
}

impl fmt::Display for AclProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}

impl fmt::Display for AclRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.action {
            AclAction::Allow => "allow",
            AclAction::Deny => "deny",
        })?;
        match self.direction {
            Some(AclDirection::In) => f.write_str(" in")?,
            Some(AclDirection::Out) => f.write_str(" out")?,
            None => {}
        }
        let ends = [("from", &self.from), ("to", &self.to)].map(|(word, end)| (word, end, *end != AclEnd::ANY));
        if self.protocol != AclProtocol::Any || ends.iter().all(|(_, _, said)| !said) {
            write!(f, " {}", self.protocol)?;
        }
        for (word, end, _) in ends.iter().filter(|(_, _, said)| *said) {
            write!(f, " {word} {end}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for AclRule {
    type Error = AclError;
    fn try_from(text: String) -> Result<Self, AclError> {
        text.parse()
    }
}

impl From<AclRule> for String {
    fn from(rule: AclRule) -> String {
        rule.to_string()
    }
}

impl From<Ipv4Addr> for AclPeer {
    fn from(address: Ipv4Addr) -> Self {
        Self::Network(address.into())
    }
}
