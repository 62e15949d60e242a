//! `[cluster]`: other hosts, with which this one shares its records.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
};

use ipnet::Ipv4Net;
use serde::Deserialize;
use wardian_model::{
    encapsulation::{Decapsulation, Encapsulation},
    name::HostName,
};
use wardian_store::{EtcdConfig, EtcdIdentity, EtcdTls};

/// Where hosts reach each other's daemons unless told otherwise. Nobody has registered it.
const PEER_PORT: u16 = 7643;

/// What this host is told of the cluster it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// Its name there.
    pub(crate) name: HostName,
    /// Its address on the physical network.
    pub(crate) provider: Ipv4Addr,
    /// Where other hosts reach its daemon.
    pub(crate) peer: SocketAddrV4,
    /// How frames travel between hosts.
    pub(crate) encapsulation: Encapsulation,
    /// Where they are taken out of their envelopes here.
    pub(crate) decapsulation: Decapsulation,
    /// The largest IP packet that the physical network takes between any two hosts, in bytes.
    pub(crate) mtu: u16,
    /// Where machines on this host get provider addresses of their own from.
    pub(crate) rewrite_addresses: Option<Ipv4Net>,
    /// The records.
    pub(crate) etcd: EtcdConfig,
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    name: Option<HostName>,
    endpoints: Vec<String>,
    prefix: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    provider_address: Ipv4Addr,
    peer_port: Option<u16>,
    #[serde(default = "nvgre")]
    encapsulation: Encapsulation,
    #[serde(default)]
    decapsulation: Decapsulation,
    #[serde(default = "common")]
    mtu: u16,
    rewrite_addresses: Option<Ipv4Net>,
}

const fn common() -> u16 {
    Encapsulation::COMMON_UNDERLAY
}

const fn nvgre() -> Encapsulation {
    Encapsulation::Nvgre
}

/// Why it can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The computer's own name is no name of a host.
    #[error("this computer is called {name:?}, which can't be the name of a host in a cluster")]
    Name {
        /// What it is called.
        name: String,
    },
    /// Some of the certificates are missing.
    #[error("[cluster] has {given} and no {missing}; with certificates it needs ca, certificate and key")]
    Certificates {
        /// A key that is there.
        given: &'static str,
        /// One that isn't.
        missing: &'static str,
    },
    /// Not every subnet can travel so.
    #[error(
        "the lab network can't travel by ip-rewrite: it is for the subnets of environments, by their own provider addresses"
    )]
    Rewrite,
    /// No physical network is like that.
    #[error(
        "[cluster] mtu is {mtu}, and physical networks take {} to {} bytes",
        Encapsulation::UNDERLAY.start(),
        Encapsulation::UNDERLAY.end()
    )]
    Mtu {
        /// As configured.
        mtu: u16,
    },
}

impl Error {
    /// What to do about it.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => {
                "choose one with `name` in [cluster]: lower-case letters, digits and hyphens, 63 at most"
            }
            Self::Certificates { .. } => "give all three, or none for an etcd without certificates",
            Self::Mtu { .. } => {
                "say the largest packet that goes between any two hosts, like 9000, or nothing for the 1500 that always go"
            }
            Self::Rewrite => {
                "choose `encapsulation = \"nvgre\"` or \"vxlan\" in [cluster]; environments ask for ip-rewrite \
                 in their files"
            }
        }
    }
}

impl File {
    /// Checks what can be checked without etcd.
    pub(super) fn check(self) -> Result<Cluster, Error> {
        let name = match self.name {
            Some(name) => name,
            None => own_name()?,
        };
        if self.encapsulation == Encapsulation::IpRewrite {
            return Err(Error::Rewrite);
        }
        if !Encapsulation::UNDERLAY.contains(&self.mtu) {
            return Err(Error::Mtu { mtu: self.mtu });
        }
        let mut etcd = EtcdConfig::new(self.endpoints);
        if let Some(prefix) = self.prefix {
            etcd.prefix = prefix;
        }
        etcd.tls = match (self.ca, self.certificate, self.key) {
            (None, None, None) => None,
            (Some(ca), Some(certificate), Some(key)) => {
                Some(EtcdTls { ca, identity: Some(EtcdIdentity { certificate, key }) })
            }
            (ca, certificate, key) => {
                let given = [("ca", ca), ("certificate", certificate), ("key", key)];
                let first =
                    |there: bool| given.iter().find(|(_, path)| path.is_some() == there).map_or("", |(key, _)| key);
                return Err(Error::Certificates { given: first(true), missing: first(false) });
            }
        };
        Ok(Cluster {
            name,
            provider: self.provider_address,
            peer: SocketAddrV4::new(self.provider_address, self.peer_port.unwrap_or(PEER_PORT)),
            encapsulation: self.encapsulation,
            decapsulation: self.decapsulation,
            mtu: self.mtu,
            rewrite_addresses: self.rewrite_addresses,
            etcd,
        })
    }
}

/// What the computer is called, up to the first dot.
fn own_name() -> Result<HostName, Error> {
    let name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().to_lowercase();
    let short = name.split('.').next().unwrap_or_default();
    HostName::new(short).map_err(|_| Error::Name { name: name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Cluster, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        file.check().map_err(|error| format!("{error}; {}", error.hint()))
    }

    const LEAST: &str = "name = 'a'\nendpoints = ['http://10.0.0.1:2379']\nprovider-address = '10.1.0.1'\n";

    #[test]
    fn endpoints_and_an_address_are_enough() {
        let cluster = check(LEAST).unwrap();
        assert_eq!(cluster.peer.to_string(), "10.1.0.1:7643");
        assert_eq!((cluster.encapsulation, cluster.etcd.prefix.as_str()), (Encapsulation::Nvgre, "wardian"));
        assert!(cluster.etcd.tls.is_none());
        let with = check(&format!("{LEAST}rewrite-addresses = '10.9.1.0/24'")).unwrap();
        assert_eq!((cluster.rewrite_addresses, with.rewrite_addresses), (None, Some("10.9.1.0/24".parse().unwrap())));
        let tc = check(&format!("{LEAST}decapsulation = 'tc'")).unwrap();
        assert_eq!((cluster.decapsulation, tc.decapsulation), (Decapsulation::Auto, Decapsulation::Tc));
        assert_eq!((cluster.mtu, check(&format!("{LEAST}mtu = 9000")).unwrap().mtu), (1500, 9000));
    }

    #[test]
    fn what_is_missing_or_does_not_go_together_is_refused() {
        let with = |more: &str| check(&format!("{LEAST}{more}")).unwrap_err();
        assert!(check("endpoints = []").unwrap_err().contains("provider-address"));
        assert!(with("ca = '/a'").contains("has ca and no certificate"));
        assert!(with("encapsulation = 'ip-rewrite'").contains("nvgre"));
        assert!(with("encapsulation = 'geneve'").contains("geneve"));
        assert!(with("decapsulation = 'ebpf'").contains("ebpf"));
        assert!(with("mtu = 1000").contains("1330 to 9216"));
        assert!(with("rewrite-addresses = '10.9.1.7'").contains("rewrite-addresses"));
        assert!(with("colour = 1").contains("colour"));
        assert!(check(&LEAST.replace("'a'", "'A b'")).unwrap_err().contains("A b"));
    }
}
