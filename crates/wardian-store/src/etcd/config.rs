//! What an etcd store has to be told, and the checks of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::key::check_key;

/// How long a request may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest prefix, in bytes. It is a part of each key of a transaction, which has to fit in etcd's 1.5 MiB.
const MAX_PREFIX_BYTES: usize = 128;

/// Where etcd is, how to talk to it, and which of its keys are ours.
#[derive(Debug, Clone)]
pub struct EtcdConfig {
    /// Members of one cluster: `https://HOST:PORT`, `http://HOST:PORT`, or `unix:///PATH` of a socket. Each request
    /// goes to the member that answered last, and on to the next when it doesn't.
    pub endpoints: Vec<String>,
    /// The folder of all keys, so that others can use the same etcd. At most 128 bytes.
    pub prefix: String,
    /// The certificates for `https` endpoints.
    pub tls: Option<EtcdTls>,
    /// How long a request may take, tries at all members included.
    pub timeout: Duration,
}

/// Certificates, as files in PEM format. They are read when the store is opened.
#[derive(Debug, Clone)]
pub struct EtcdTls {
    /// The authorities that may have signed etcd's certificate.
    pub ca: PathBuf,
    /// Who this host is, for an etcd that asks (`--client-cert-auth`).
    pub identity: Option<EtcdIdentity>,
}

/// A certificate of this host.
#[derive(Debug, Clone)]
pub struct EtcdIdentity {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl EtcdConfig {
    /// These endpoints, keys below `wardian/`, no certificates, 5 s for a request.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: "wardian".to_owned(),
            tls: None,
            timeout: TIMEOUT,
        }
    }

    /// Checks what can be checked without etcd, and gives the addresses.
    pub(super) fn check(&self) -> Result<Vec<Address>> {
        check_key(&self.prefix)?;
        if self.prefix.len() > MAX_PREFIX_BYTES {
            let key = self.prefix.chars().take(64).collect();
            return Err(Error::InvalidKey { key, reason: "as a prefix of all keys it is longer than 128 bytes" });
        }
        if self.endpoints.is_empty() {
            return Err(refuse("", "at least one is needed"));
        }
        self.endpoints.iter().map(|endpoint| Address::parse(endpoint, self.tls.is_some())).collect()
    }
}

/// An endpoint, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A port, with TLS or without.
    Tcp { host: String, port: u16, tls: bool },
    /// A socket of this host.
    Unix(PathBuf),
}

impl Address {
    fn parse(endpoint: &str, with_certificates: bool) -> Result<Self> {
        if let Some(path) = endpoint.strip_prefix("unix://") {
            return match path.strip_prefix('/') {
                Some(rest) if !rest.is_empty() => Ok(Self::Unix(path.into())),
                _ => Err(refuse(endpoint, "the path of a socket begins with /")),
            };
        }
        let (tls, rest) = if let Some(rest) = endpoint.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = endpoint.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(refuse(endpoint, "it begins with none of https://, http:// and unix://"));
        };
        if tls && !with_certificates {
            return Err(refuse(endpoint, "https needs the certificate of an authority"));
        }
        let Some((host, port)) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':') else {
            return Err(refuse(endpoint, "it has no port"));
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', '[', ']']) || (bare.is_none() && host.contains(':')) {
            return Err(refuse(endpoint, "between // and the port there is no name or address of a host"));
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self::Tcp { host: host.to_owned(), port, tls }),
            _ => Err(refuse(endpoint, "a port is a number from 1 to 65535")),
        }
    }
}

fn refuse(endpoint: &str, reason: &'static str) -> Error {
    Error::InvalidEndpoint { endpoint: endpoint.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Address {
        Address::Tcp { host: host.to_owned(), port, tls }
    }

    #[test]
    fn endpoints_are_ports_with_or_without_tls_and_sockets() {
        for (text, expected) in [
            ("http://10.0.0.1:2379", tcp("10.0.0.1", 2379, false)),
            ("https://etcd-1.example:2379/", tcp("etcd-1.example", 2379, true)),
            ("https://[fd00::1]:2379", tcp("fd00::1", 2379, true)),
            ("unix:///run/etcd/client:1", Address::Unix("/run/etcd/client:1".into())),
        ] {
            assert_eq!(Address::parse(text, true).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_by_name() {
        for bad in [
            "",
            "etcd:2379",
            "http://",
            "http://etcd",
            "http://:1",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://fd00::1:2379",
            "http://a/b:1",
            "http://u@a:1",
            "unix://",
            "unix:///",
            "unix://relative",
            "ftp://a:1",
        ] {
            let error = Address::parse(bad, true).unwrap_err();
            assert!(matches!(&error, Error::InvalidEndpoint { endpoint, .. } if endpoint == bad), "{bad}: {error}");
        }
        assert!(Address::parse("https://a:1", false).is_err());
    }

    #[test]
    fn a_configuration_needs_an_endpoint_and_a_folder() {
        assert!(EtcdConfig::new(["http://a:1"]).check().is_ok());
        assert!(EtcdConfig::new([""; 0]).check().is_err());
        for bad in ["", "/", "a/", &"k".repeat(129)] {
            let config = EtcdConfig { prefix: bad.to_owned(), ..EtcdConfig::new(["http://a:1"]) };
            assert!(matches!(config.check(), Err(Error::InvalidKey { .. })), "{bad:?}");
        }
    }
}
