//! A port of a machine that the outside may reach: `web:80`, `dns:53/udp`, `web:80 at 8080`; or of several machines
//! that share what comes: `web-1+web-2:80 at 8080`.

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

/// A port of a machine, and the port of the host that leads to it; or the same port of several machines, and the port
/// of the host that leads to one of them, for each connection anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Expose {
    /// The machine; the first one where they are several.
    pub machine: MachineName,
    /// The others that share what comes.
    pub others: Vec<MachineName>,
    /// Its port, and theirs.
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
    #[error(
        "{text:?} doesn't name a port; write MACHINE:PORT, MACHINE:PORT/udp or MACHINE:PORT at PORT (1 to 65535), and \
         MACHINE+MACHINE for machines that share it"
    )]
    Format {
        /// The offending text.
        text: String,
    },
    /// A machine can't share a port with itself.
    #[error("{0} is named twice")]
    Twice(MachineName),
}

impl Expose {
    /// The machines: one, or several that share what comes.
    pub fn machines(&self) -> impl Iterator<Item = &MachineName> {
        std::iter::once(&self.machine).chain(&self.others)
    }

    /// The machines as they are written: `web`, or `web-1+web-2`.
    #[must_use]
    pub fn who(&self) -> String {
        self.machines().map(MachineName::as_str).collect::<Vec<_>>().join("+")
    }

    /// Who is meant by `web`, or `web-1+web-2`: the first one, and the others.
    ///
    /// # Errors
    /// When a name is none, or is there twice.
    pub fn parse_who(text: &str) -> Result<(MachineName, Vec<MachineName>), ExposeError> {
        let mut names = Vec::new();
        for name in text.split('+') {
            let name = MachineName::new(name.trim())?;
            if names.contains(&name) {
                return Err(ExposeError::Twice(name));
            }
            names.push(name);
        }
        let others = names.split_off(1);
        Ok((names.remove(0), others))
    }
}

impl fmt::Display for Expose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.who(), self.port)?;
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
        let (who, rest) = text.trim().split_once(':').ok_or_else(format)?;
        let (port, at) = match rest.split_once(" at ") {
            Some((port, at)) => (port, Some(at.trim().parse().map_err(|_| format())?)),
            None => (rest, None),
        };
        let (port, protocol) = match port.trim().split_once('/') {
            None | Some((_, "tcp")) => (port.trim().trim_end_matches("/tcp"), Protocol::Tcp),
            Some((port, "udp")) => (port, Protocol::Udp),
            Some(_) => return Err(format()),
        };
        let (machine, others) = Self::parse_who(who)?;
        Ok(Self { machine, others, port: port.parse().map_err(|_| format())?, protocol, at })
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
        let shared = ["web-1+web-2:80", "dns+spare+third:53/udp", "web-1+web-2:80 at 8080"];
        for text in ["web:80", "dns:53/udp", "web:80 at 8080", "dns:53/udp at 5353"].into_iter().chain(shared) {
            assert_eq!(text.parse::<Expose>().unwrap().to_string(), text);
        }
        assert_eq!("web:80/tcp".parse::<Expose>().unwrap().to_string(), "web:80");
        for wrong in ["web", "web:", "web:0", "web:70000", "web:80/icmp", "web:80 at", "web:80 at 0", ":80", "Web:80"] {
            assert!(wrong.parse::<Expose>().is_err(), "{wrong}");
        }
        for wrong in ["web-1+:80", "+web-1:80", "web-1++web-2:80", "web-1:80+web-2:80"] {
            assert!(wrong.parse::<Expose>().is_err(), "{wrong}");
        }
        let twice = "web-1+web-2+web-1:80".parse::<Expose>();
        assert_eq!(twice, Err(ExposeError::Twice("web-1".parse().unwrap())));
    }
}
