//! How things are named on the command line: `ENV/MACHINE`, `ENV/MACHINE:PORT/udp`, `ENV/MACHINE:PATH`, `ENV@SNAPSHOT`,
//! times and counts, and hosts.

use std::{fmt, num::NonZeroU16, path::PathBuf, str::FromStr};

use wardian_model::{
    name::{EnvironmentName, MachineName, NameError, SnapshotName},
    span::{Span, SpanError},
    spec::{Expose, ExposeError, Protocol},
};

/// The most clones one command makes.
const MOST_CLONES: u32 = wardian_api::wire::CloneRequest::MOST;

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
    /// Nothing after the sign that announces a snapshot.
    #[error("{0:?} names no snapshot after the @; write ENV@SNAPSHOT, or ENV alone for how it is now")]
    NoSnapshot(String),
    /// Nothing before it.
    #[error("{0:?} names no environment before the @; write ENV@SNAPSHOT")]
    NoEnvironment(String),
    /// More than one.
    #[error("{0:?} has more than one @; write ENV@SNAPSHOT")]
    Snapshots(String),
    /// A time that is none.
    #[error(transparent)]
    Time(#[from] SpanError),
    /// A time that has come already.
    #[error("an environment can't expire at once; use `wardian rm` to remove it now")]
    AtOnce,
    /// No clones at all, or too many.
    #[error("{0} clones can't be made: no fewer than 1 and no more than {MOST_CLONES}")]
    Clones(String),
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

/// Whose rules: `store`, or `store/db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AclTarget {
    pub(crate) environment: EnvironmentName,
    /// All machines when absent.
    pub(crate) machine: Option<MachineName>,
}

impl FromStr for AclTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.split_once('/') {
            Some((environment, machine)) => {
                Ok(Self { environment: environment.parse()?, machine: Some(machine.parse()?) })
            }
            None => Ok(Self { environment: text.parse()?, machine: None }),
        }
    }
}

/// One port of a machine, `store/dns:53/udp`, or of several that share it: `store/web-1+web-2:80`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortTarget {
    pub(crate) environment: EnvironmentName,
    /// `dns`, or `web-1+web-2`.
    pub(crate) who: String,
    pub(crate) port: NonZeroU16,
    pub(crate) protocol: Protocol,
}

impl FromStr for PortTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (environment, rest) = text.split_once('/').ok_or_else(|| TargetError::NoPort(text.to_owned()))?;
        let expose: Expose = rest.parse()?;
        if expose.at.is_some() {
            return Err(TargetError::NoPort(text.to_owned()));
        }
        let (who, port, protocol) = (expose.who(), expose.port, expose.protocol);
        Ok(Self { environment: environment.parse()?, who, port, protocol })
    }
}

/// What to clone: `store`, or `store@clean`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloneSource {
    pub(crate) environment: EnvironmentName,
    /// As it is now when absent.
    pub(crate) snapshot: Option<SnapshotName>,
}

impl FromStr for CloneSource {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match at(text)? {
            Some((environment, snapshot)) => {
                Ok(Self { environment: environment.parse()?, snapshot: Some(snapshot.parse()?) })
            }
            None => Ok(Self { environment: text.parse()?, snapshot: None }),
        }
    }
}

/// What to go back to: `clean`, or `store@clean`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotTarget {
    /// The environment that goes back itself when absent.
    pub(crate) of: Option<EnvironmentName>,
    pub(crate) name: SnapshotName,
}

impl FromStr for SnapshotTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match at(text)? {
            Some((environment, snapshot)) => Ok(Self { of: Some(environment.parse()?), name: snapshot.parse()? }),
            None => Ok(Self { of: None, name: text.parse()? }),
        }
    }
}

/// Both sides of the one @ in a text.
fn at(text: &str) -> Result<Option<(&str, &str)>, TargetError> {
    match text.split_once('@') {
        None => Ok(None),
        Some((_, snapshot)) if snapshot.contains('@') => Err(TargetError::Snapshots(text.to_owned())),
        Some(("", _)) => Err(TargetError::NoEnvironment(text.to_owned())),
        Some((_, "")) => Err(TargetError::NoSnapshot(text.to_owned())),
        Some(both) => Ok(Some(both)),
    }
}

/// When an environment shall be removed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpiryTime {
    /// So long from now.
    After(Span),
    Never,
}

impl FromStr for ExpiryTime {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text == "never" { Ok(Self::Never) } else { expiry(text).map(Self::After) }
    }
}

/// A time after which an environment is removed by itself.
pub(crate) fn expiry(text: &str) -> Result<Span, TargetError> {
    let span: Span = text.parse()?;
    if span.duration().is_zero() { Err(TargetError::AtOnce) } else { Ok(span) }
}

/// How many clones.
pub(crate) fn clone_count(text: &str) -> Result<u32, TargetError> {
    let count = text.parse().ok().filter(|count| (1..=MOST_CLONES).contains(count));
    count.ok_or_else(|| TargetError::Clones(text.to_owned()))
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
        assert_eq!((udp.environment.as_str(), &*udp.who), ("store", "dns"));
        assert_eq!("store/web-1+web-2:80".parse::<PortTarget>().unwrap().who, "web-1+web-2");
        assert_eq!((udp.port.get(), udp.protocol), (53, Protocol::Udp));
        for wrong in
            ["store/web", "web:80", "store/web:0", "store/web:80/sctp", "store/web:80 at 81", "store/web:99999"]
        {
            assert!(wrong.parse::<PortTarget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_snapshot_is_named_after_an_at() {
        let source: CloneSource = "store@clean".parse().unwrap();
        assert_eq!((source.environment.as_str(), source.snapshot.unwrap().as_str()), ("store", "clean"));
        assert_eq!("store".parse::<CloneSource>().unwrap().snapshot, None);
        let target: SnapshotTarget = "store@clean".parse().unwrap();
        assert_eq!((target.of.unwrap().as_str(), target.name.as_str()), ("store", "clean"));
        assert_eq!("clean".parse::<SnapshotTarget>().unwrap().of, None);
        for (wrong, why) in [
            ("store@", r#""store@" names no snapshot after the @; write ENV@SNAPSHOT, or ENV alone for how it is now"#),
            ("@clean", r#""@clean" names no environment before the @; write ENV@SNAPSHOT"#),
            ("a@b@c", r#""a@b@c" has more than one @; write ENV@SNAPSHOT"#),
            ("", "must not be empty"),
            ("Store@clean", "environment name"),
            ("store@Clean", "snapshot name"),
        ] {
            let source = wrong.parse::<CloneSource>().unwrap_err().to_string();
            assert!(source.contains(why), "{wrong}: {source}");
            let target = wrong.parse::<SnapshotTarget>().unwrap_err().to_string();
            assert!(target.contains(why), "{wrong}: {target}");
        }
    }

    #[test]
    fn times_and_counts_that_make_no_sense_are_refused_with_the_reason() {
        assert_eq!("never".parse(), Ok(ExpiryTime::Never));
        assert_eq!("90m".parse(), Ok(ExpiryTime::After(Span::seconds(5400))));
        assert_eq!("0h".parse::<ExpiryTime>(), Err(TargetError::AtOnce));
        assert!(matches!("soon".parse::<ExpiryTime>(), Err(TargetError::Time(_))));
        assert_eq!(clone_count("1000"), Ok(1000));
        for wrong in ["0", "1001", "-1", "many"] {
            let error = clone_count(wrong).unwrap_err().to_string();
            assert_eq!(error, format!("{wrong} clones can't be made: no fewer than 1 and no more than 1000"));
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
