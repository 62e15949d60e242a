//! Through whom the machines of an environment reach the outside, and are reached from there.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{EnvironmentSpec, IsolationMode};
use crate::name::{MachineName, NameError};

/// The way between machines and the outside. Whatever it is, each machine's own router stays the environment's gateway:
/// a change is never seen inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Gateway {
    /// Each machine has a public address of its own.
    #[default]
    PerMachine,
    /// The machines share an address, and are reached at exposed ports of the host only.
    Host,
    /// This machine has a public address, and forwards what the others send outwards.
    Machine(MachineName),
}

impl Gateway {
    const PER_MACHINE: &str = "per-machine";
    const HOST: &str = "host";

    /// Whether it is the default.
    #[must_use]
    pub const fn is_per_machine(&self) -> bool {
        matches!(self, Self::PerMachine)
    }

    /// The machine that forwards, where it is one.
    #[must_use]
    pub const fn machine(&self) -> Option<&MachineName> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::PerMachine | Self::Host => None,
        }
    }
}

/// Why a machine or the host can't be the gateway of an environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// Nobody has that name.
    #[error("there is no machine {0} to be the gateway")]
    NoSuchMachine(MachineName),
    /// It reaches nothing outside itself.
    #[error("{0} is the domain controller, which has no outside, so it can't be the gateway")]
    NoOutside(MachineName),
    /// There is no outside to get to.
    #[error("without isolation (mode none) there is no outside, so nobody can be the gateway")]
    NoIsolation,
    /// What the others send would have to be brought to its subnet.
    #[error("with several subnets no machine can be the gateway of the others")]
    SeveralSubnets,
    /// There is nothing to do for a gateway.
    #[error("machines with a second interface are on the lab network themselves, so nobody can be their gateway")]
    SecondInterfaces,
}

/// Why no port of a machine can be reached from outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreachableError {
    /// It is on the lab network itself, by its inside address.
    #[error("without isolation (mode none) {0} has no outside to be reached at")]
    NoIsolation(MachineName),
    /// It has no outside, whatever the gateway.
    #[error("{0} is the domain controller, which has no outside to be reached at")]
    NoOutside(MachineName),
    /// Another machine decides what gets to it.
    #[error("{machine} is behind {gateway}, which is the gateway, and has no outside of its own to be reached at")]
    Behind {
        /// The machine.
        machine: MachineName,
        /// The one before it.
        gateway: MachineName,
    },
}

impl EnvironmentSpec {
    /// Whether `gateway` can be what its machines reach the outside through.
    ///
    /// # Errors
    /// Says why not.
    pub fn may_have_gateway(&self, gateway: &Gateway) -> Result<(), GatewayError> {
        match self.isolation.mode {
            _ if gateway.is_per_machine() => return Ok(()),
            IsolationMode::DualInterface => return Err(GatewayError::SecondInterfaces),
            IsolationMode::None => return Err(GatewayError::NoIsolation),
            IsolationMode::TwoWayNat => {}
        }
        match gateway.machine() {
            Some(machine) if !self.machines.contains_key(machine) => Err(GatewayError::NoSuchMachine(machine.clone())),
            Some(machine) if !self.may_have_outside(machine) => Err(GatewayError::NoOutside(machine.clone())),
            Some(_) if self.network.subnets.are_several() => Err(GatewayError::SeveralSubnets),
            _ => Ok(()),
        }
    }

    /// Whether ports of `machine` can be reached from outside, with that gateway.
    ///
    /// # Errors
    /// Says why not.
    pub fn may_be_exposed(&self, machine: &MachineName, gateway: &Gateway) -> Result<(), UnreachableError> {
        if !self.is_isolated() {
            return Err(UnreachableError::NoIsolation(machine.clone()));
        }
        if !self.may_have_outside(machine) {
            return Err(UnreachableError::NoOutside(machine.clone()));
        }
        match gateway.machine() {
            Some(gateway) if gateway != machine => {
                Err(UnreachableError::Behind { machine: machine.clone(), gateway: gateway.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PerMachine => Self::PER_MACHINE,
            Self::Host => Self::HOST,
            Self::Machine(machine) => machine.as_str(),
        })
    }
}

impl FromStr for Gateway {
    type Err = NameError;

    /// The two words come first: a machine that is called `host` can't be a gateway.
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            Self::PER_MACHINE => Ok(Self::PerMachine),
            Self::HOST => Ok(Self::Host),
            machine => machine.parse().map(Self::Machine),
        }
    }
}

impl Serialize for Gateway {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gateway {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Gateway {
    fn schema_name() -> Cow<'static, str> {
        "Gateway".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`per-machine`, `host`, or the name of the machine that forwards for the others",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_reads_as_it_is_written() {
        for text in ["per-machine", "host", "web"] {
            let gateway: Gateway = text.parse().unwrap();
            assert_eq!(gateway.to_string(), text);
            assert_eq!(serde_json::to_value(&gateway).unwrap(), text);
            assert_eq!(serde_json::from_value::<Gateway>(text.into()).unwrap(), gateway);
        }
        assert!("a machine".parse::<Gateway>().is_err());
    }
}
