//! How things are named on the command line: `ENV/MACHINE`, `ENV/MACHINE:PORT/udp`, `ENV/MACHINE:PATH`, and hosts.

use std::{fmt, num::NonZeroU16, path::PathBuf, str::FromStr};

use wardian_model::{
    name::{EnvironmentName, MachineName, NameError},
    spec::{Expose, ExposeError, Protocol},
};

/// Why a text names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    /// No slash between environment and machine.
    #[error("{0:?} doesn't name a machine; write ENV/MACHINE")]
    NoMachine(String),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A port that is none.
    #[error(transparent)]
    Port(#[from] ExposeError),
    /// No port at all, or more than one.
    #[error("{0:?} doesn't name a port; write ENV/MACHINE:PORT or ENV/MACHINE:PORT/udp")]
    NoPort(String),
    /// A path that depends on where the guest agent happens to stand.
    #[error("the path {path:?} in a machine must be absolute; for a local file write ./{text}")]
    RelativePath {
        /// The path in the machine.
        path: String,
        /// The whole text.
        text: String,
    },
    /// Nothing.
    #[error("a path must not be empty")]
    EmptyPath,
    /// A host that only later versions can reach.
    #[error("can't reach {0:?} yet: this version talks to a host through its socket only; write unix:///PATH")]
    NotYet(String),
    /// Not an address of a host.
    #[error("{0:?} is not the address of a host; write unix:///PATH with an absolute path")]
    NoHost(String),
}

/// One machine of an environment: `store/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineTarget {
    pub(crate) environment: EnvironmentName,
    pub(crate) machine: MachineName,
}

impl fmt::Display for MachineTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.machine)
    }
}

impl FromStr for MachineTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (environment, machine) = text.split_once('/').ok_or_else(|| TargetError::NoMachine(text.to_owned()))?;
        Ok(Self { environment: environment.parse()?, machine: machine.parse()? })
    }
}

/// One port of a machine: `store/dns:53/udp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortTarget {
    pub(crate) environment: EnvironmentName,
    pub(crate) machine: MachineName,
    pub(crate) port: NonZeroU16,
    pub(crate) protocol: Protocol,
}

impl FromStr for PortTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (environment, rest) = text.split_once('/').ok_or_else(|| TargetError::NoPort(text.to_owned()))?;
        let Expose { machine, port, protocol, at: None } = rest.parse()? else {
            return Err(TargetError::NoPort(text.to_owned()));
        };
        Ok(Self { environment: environment.parse()?, machine, port, protocol })
    }
}

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file or folder here.
    Local(PathBuf),
    /// A file or folder in a machine, by its absolute path.
    Machine { target: MachineTarget, path: String },
}

impl FromStr for Location {
    type Err = TargetError;

    /// A text is a path in a machine when what stands before its first colon is written like one; `./` makes any
    /// text a local path.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.is_empty() {
            return Err(TargetError::EmptyPath);
        }
        let Some((target, path)) =
            text.split_once(':').and_then(|(target, path)| Some((target.parse().ok()?, path.to_owned())))
        else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        if is_absolute(&path) {
            Ok(Self::Machine { target, path })
        } else {
            Err(TargetError::RelativePath { path, text: text.to_owned() })
        }
    }
}

/// In the way of Unix or of Windows, since guests may be either.
fn is_absolute(path: &str) -> bool {
    let mut chars = path.chars();
    match chars.next() {
        Some('/') => true,
        Some(drive) => {
            drive.is_ascii_alphabetic() && chars.next() == Some(':') && matches!(chars.next(), Some('\\' | '/'))
        }
        None => false,
    }
}

/// Where a host's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostAddress {
    /// Its socket.
    pub(crate) socket: PathBuf,
}

impl HostAddress {
    /// The socket of this host's daemon.
    pub(crate) const DEFAULT: &str = "unix:///run/wardian/wardian.sock";
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.socket.display())
    }
}

impl FromStr for HostAddress {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.starts_with("https://") {
            return Err(TargetError::NotYet(text.to_owned()));
        }
        match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self { socket: PathBuf::from(path) }),
            _ => Err(TargetError::NoHost(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_environment_and_machine() {
        let target: MachineTarget = "store/web".parse().unwrap();
        assert_eq!((target.environment.as_str(), target.machine.as_str()), ("store", "web"));
        assert_eq!(target.to_string(), "store/web");
        for wrong in ["store", "store/", "/web", "store/web/x", "Store/web", ""] {
            assert!(wrong.parse::<MachineTarget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_is_tcp_unless_it_says_udp() {
        let tcp: PortTarget = "store/web:80".parse().unwrap();
        assert_eq!((tcp.port.get(), tcp.protocol), (80, Protocol::Tcp));
        let udp: PortTarget = "store/dns:53/udp".parse().unwrap();
        assert_eq!((udp.environment.as_str(), udp.machine.as_str()), ("store", "dns"));
        assert_eq!((udp.port.get(), udp.protocol), (53, Protocol::Udp));
        for wrong in
            ["store/web", "web:80", "store/web:0", "store/web:80/sctp", "store/web:80 at 81", "store/web:99999"]
        {
            assert!(wrong.parse::<PortTarget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_location_is_in_a_machine_when_it_starts_like_one() {
        let machine = |text: &str| match text.parse() {
            Ok(Location::Machine { target, path }) => (target.to_string(), path),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(machine("store/web:/tmp/x:y"), ("store/web".into(), "/tmp/x:y".into()));
        assert_eq!(machine("store/web:C:\\x"), ("store/web".into(), "C:\\x".into()));
        for local in ["x", "/tmp/x", "./store/web:/tmp", "a:b", "a/b/c:/d", "/store/web:/x"] {
            assert_eq!(local.parse(), Ok(Location::Local(local.into())));
        }
    }

    #[test]
    fn a_path_in_a_machine_must_be_absolute() {
        let error = "store/web:notes".parse::<Location>().unwrap_err().to_string();
        assert_eq!(
            error,
            r#"the path "notes" in a machine must be absolute; for a local file write ./store/web:notes"#
        );
        assert!("store/web:".parse::<Location>().is_err());
        assert!("".parse::<Location>().is_err());
    }

    #[test]
    fn a_host_is_its_socket_and_tls_is_refused_for_now() {
        assert_eq!(HostAddress::DEFAULT.parse::<HostAddress>().unwrap().to_string(), HostAddress::DEFAULT);
        assert!(matches!("https://h".parse::<HostAddress>(), Err(TargetError::NotYet(_))));
        for wrong in ["", "h", "unix://run/x", "unix:/run/x", "http://h", "/run/x"] {
            assert!(matches!(wrong.parse::<HostAddress>(), Err(TargetError::NoHost(_))), "{wrong}");
        }
    }
}
