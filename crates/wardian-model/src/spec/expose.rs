//! A port of a machine that the outside may reach: `web:80`, `dns:53/udp`, `web:80 at 8080`.

use std::{fmt, num::NonZeroU16, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{MachineName, NameError};

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// RFC 9293.
    #[default]
    Tcp,
    /// RFC 768.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of a machine, and the port of the host that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Expose {
    /// The machine.
    pub machine: MachineName,
    /// Its port.
    pub port: NonZeroU16,
    /// The protocol.
    pub protocol: Protocol,
    /// The port on the host's own addresses; a free one when absent.
    pub at: Option<NonZeroU16>,
}

/// Why a text does not name a port to expose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExposeError {
    /// The machine's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not of the form.
    #[error("{text:?} doesn't name a port; write MACHINE:PORT, MACHINE:PORT/udp or MACHINE:PORT at PORT (1 to 65535)")]
    Format {
        /// The offending text.
        text: String,
    },
}

impl fmt::Display for Expose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.machine, self.port)?;
        if self.protocol == Protocol::Udp {
            f.write_str("/udp")?;
        }
        self.at.map_or(Ok(()), |at| write!(f, " at {at}"))
    }
}

impl FromStr for Expose {
    type Err = ExposeError;

    fn from_str(text: &str) -> Result<Self, ExposeError> {
        let format = || ExposeError::Format { text: text.to_owned() };
        let (machine, rest) = text.trim().split_once(':').ok_or_else(format)?;
        let (port, at) = match rest.split_once(" at ") {
            Some((port, at)) => (port, Some(at.trim().parse().map_err(|_| format())?)),
            None => (rest, None),
        };
        let (port, protocol) = match port.trim().split_once('/') {
            None | Some((_, "tcp")) => (port.trim().trim_end_matches("/tcp"), Protocol::Tcp),
            Some((port, "udp")) => (port, Protocol::Udp),
            Some(_) => return Err(format()),
        };
        Ok(Self { machine: MachineName::new(machine)?, port: port.parse().map_err(|_| format())?, protocol, at })
    }
}

impl TryFrom<String> for Expose {
    type Error = ExposeError;
    fn try_from(text: String) -> Result<Self, ExposeError> {
        text.parse()
    }
}

impl From<Expose> for String {
    fn from(expose: Expose) -> String {
        expose.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back() {
        for text in ["web:80", "dns:53/udp", "web:80 at 8080", "dns:53/udp at 5353"] {
            assert_eq!(text.parse::<Expose>().unwrap().to_string(), text);
        }
        assert_eq!("web:80/tcp".parse::<Expose>().unwrap().to_string(), "web:80");
        for wrong in ["web", "web:", "web:0", "web:70000", "web:80/icmp", "web:80 at", "web:80 at 0", ":80", "Web:80"] {
            assert!(wrong.parse::<Expose>().is_err(), "{wrong}");
        }
    }
}
