//! The part of the configuration that names a server elsewhere, which is told of aliases.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ipnet::Ipv4Net;
use serde::Deserialize;
use wardian_host::update::{Algorithm, Secret, UpdateConfig, UpdateError, Updater};
use wardian_model::name::Domain;
use wardian_plan::alias::reverse_zones;

/// The port of name servers.
const PORT: u16 = 53;

/// `[dns-update]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    server: Server,
    zone: Option<Zone>,
    reverse_zone: Option<Zone>,
    key_name: String,
    #[serde(default)]
    key_algorithm: KeyAlgorithm,
    key_secret_file: PathBuf,
}

/// Why nobody can be told so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The secret can't be read.
    #[error("can't read the secret of the key {key} in {path}")]
    Read {
        /// The key's name.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The secret is something else.
    #[error("{path} doesn't hold the secret of the key {key}: it is not base64")]
    Base64 {
        /// The key's name.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// A file that depends on where the daemon happens to be started.
    #[error("the key-secret-file {path} is not absolute")]
    Relative {
        /// The file.
        path: PathBuf,
    },
    /// Aliases would be in a zone of somebody else.
    #[error("the aliases' zone {aliases} is not in {zone}, the zone that {server} is to be told of")]
    Zone {
        /// Of the aliases.
        aliases: Domain,
        /// To be updated.
        zone: Domain,
        /// The name server.
        server: SocketAddr,
    },
    /// Names of addresses would be in a zone of somebody else.
    #[error("the reverse-zone {zone} doesn't hold the names of all addresses of the lab network {prefix}")]
    Reverse {
        /// To be updated.
        zone: Domain,
        /// The lab network.
        prefix: Ipv4Net,
    },
    /// The key can't be one.
    #[error(transparent)]
    Key(UpdateError),
}

impl Error {
    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "root must be able to read the key-secret-file of [dns-update]".to_owned(),
            Self::Base64 { .. } => {
                "write nothing into it but the text between the quotes of `secret \"…\";` in the name \
                                    server's configuration, as `tsig-keygen` prints it"
                    .to_owned()
            }
            Self::Relative { .. } => "write its whole path, as in /etc/wardian/dns-update.key".to_owned(),
            Self::Zone { zone, .. } => format!("set `zone` of [lab] to {zone} or a name below it"),
            Self::Reverse { prefix, .. } => match &*reverse_zones(*prefix) {
                [zone] => format!("they are in {zone}; name that zone or one above, or leave reverse-zone out"),
                [first, .., last] => {
                    format!("they are in {first} to {last}; name a zone above all of them, or leave reverse-zone out")
                }
                [] => "leave reverse-zone out".to_owned(),
            },
            Self::Key(_) => "key-name and key-secret-file of [dns-update] are to be as in the name server's \
                             configuration"
                .to_owned(),
        }
    }
}

impl File {
    /// Checks it beside the rest, and reads the secret.
    pub(super) fn check(self, aliases: &Domain, prefix: Ipv4Net) -> Result<UpdateConfig, Error> {
        let server = self.server.0;
        let zone = self.zone.map_or_else(|| aliases.clone(), |zone| zone.0);
        if !is_below(aliases, &zone) {
            return Err(Error::Zone { aliases: aliases.clone(), zone, server });
        }
        let reverse_zone = self.reverse_zone.map(|zone| zone.0);
        if let Some(zone) = &reverse_zone
            && !reverse_zones(prefix).iter().all(|of_lab| is_below(of_lab, zone))
        {
            return Err(Error::Reverse { zone: zone.clone(), prefix });
        }
        let secret = secret(&self.key_name, &self.key_secret_file)?;
        let mut config = UpdateConfig::new(server, zone, self.key_name, secret);
        (config.reverse_zone, config.algorithm) = (reverse_zone, self.key_algorithm.0);
        Updater::new(config.clone()).map_err(Error::Key)?;
        Ok(config)
    }
}

fn secret(key: &str, path: &Path) -> Result<Secret, Error> {
    let (key, path) = (key.to_owned(), path.to_owned());
    if !path.is_absolute() {
        return Err(Error::Relative { path });
    }
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(source) => return Err(Error::Read { key, path, source }),
    };
    match STANDARD.decode(text.trim_ascii()) {
        Ok(bytes) => Ok(Secret::new(bytes)),
        Err(_) => Err(Error::Base64 { key, path }),
    }
}

fn is_below(domain: &Domain, zone: &Domain) -> bool {
    domain.as_str().strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

macro_rules! from_text {
    ($($type:ident)*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )*};
}
from_text!(Server Zone KeyAlgorithm);

/// An address with or without a port.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Server(SocketAddr);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_port = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT));
        text.parse().ok().or_else(with_port).map(Self).ok_or_else(|| {
            format!("{text:?} is not the address of a name server; write one as in 10.0.0.2 or 10.0.0.2:53")
        })
    }
}

/// A zone, with or without the dot at its end, in whatever case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Zone(pub(crate) Domain);

impl Default for Zone {
    /// Below the domain that is set apart for private use.
    fn default() -> Self {
        Self(Domain::new("wardian.internal").expect("a constant that follows the rules"))
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        Domain::new(name).map(Self).map_err(|error| error.to_string())
    }
}

/// What the key is used with.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
struct KeyAlgorithm(Algorithm);

impl FromStr for KeyAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: wardian_host::update::AlgorithmError| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checked section, in a file beside which `secret` lies.
    fn check(section: &str, secret: &[u8]) -> Result<UpdateConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, secret).unwrap();
        let text = section.replace("SECRET", &path.to_string_lossy());
        let file: File = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        let aliases = Zone::default().0;
        file.check(&aliases, "10.86.0.0/16".parse().unwrap()).map_err(|error| {
            let hint = error.hint();
            format!("{error}; {hint}").replace(&*path.to_string_lossy(), "SECRET")
        })
    }

    const SECTION: &str = "server = '10.0.0.2'\nkey-name = 'wardian'\nkey-secret-file = 'SECRET'\n";

    #[test]
    fn the_least_and_the_most_that_can_be_said_are_understood() {
        let config = check(SECTION, b"c2VjcmV0\n").unwrap();
        let server = "10.0.0.2:53".parse().unwrap();
        let least = UpdateConfig::new(server, Zone::default().0, "wardian", Secret::new(*b"secret"));
        assert_eq!(config, least);
        let more = "zone = 'Internal.'\nreverse-zone = '10.in-addr.arpa'\nkey-algorithm = 'hmac-sha512'";
        let config = check(&SECTION.replace("10.0.0.2", "[fd00::2]:5353").add(more), b"c2VjcmV0").unwrap();
        assert_eq!(config.server, "[fd00::2]:5353".parse().unwrap());
        assert_eq!((config.zone.as_str(), config.algorithm), ("internal", Algorithm::HmacSha512));
        assert_eq!(config.reverse_zone.unwrap().as_str(), "10.in-addr.arpa");
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_way_out() {
        let refused = |section: &str, secret: &[u8]| check(section, secret).unwrap_err();
        let all = [
            refused(SECTION, b"key \"wardian\" { secret \"c2VjcmV0\"; };"),
            refused(SECTION, b""),
            refused(&SECTION.replace("SECRET", "/nonexistent"), b""),
            refused(&SECTION.replace("SECRET", "secret"), b""),
            refused(&SECTION.replace("'wardian'", "'a..b'"), b"c2VjcmV0"),
            refused(&SECTION.add("zone = 'example.com'"), b"c2VjcmV0"),
            refused(&SECTION.add("reverse-zone = '87.10.in-addr.arpa'"), b"c2VjcmV0"),
            refused(&SECTION.add("key-algorithm = 'hmac-md5'"), b"c2VjcmV0"),
            refused(&SECTION.replace("10.0.0.2", "ns.example.com"), b"c2VjcmV0"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        SECRET doesn't hold the secret of the key wardian: it is not base64; write nothing into it but the text between the quotes of `secret "…";` in the name server's configuration, as `tsig-keygen` prints it
        the key wardian is empty; key-name and key-secret-file of [dns-update] are to be as in the name server's configuration
        can't read the secret of the key wardian in /nonexistent; root must be able to read the key-secret-file of [dns-update]
        the key-secret-file secret is not absolute; write its whole path, as in /etc/wardian/dns-update.key
        "a..b" can't be the name of a key: it is written like a DNS name, and is the one the name server knows; key-name and key-secret-file of [dns-update] are to be as in the name server's configuration
        the aliases' zone wardian.internal is not in example.com, the zone that 10.0.0.2:53 is to be told of; set `zone` of [lab] to example.com or a name below it
        the reverse-zone 87.10.in-addr.arpa doesn't hold the names of all addresses of the lab network 10.86.0.0/16; they are in 86.10.in-addr.arpa; name that zone or one above, or leave reverse-zone out
        "hmac-md5" is no algorithm for keys of updates; hmac-sha256, hmac-sha384 and hmac-sha512 are
        "ns.example.com" is not the address of a name server; write one as in 10.0.0.2 or 10.0.0.2:53
        "#);
    }

    trait Add {
        fn add(&self, more: &str) -> String;
    }

    impl Add for str {
        fn add(&self, more: &str) -> String {
            format!("{self}{more}")
        }
    }
}
