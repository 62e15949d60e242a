//! What the daemon is told: a TOML file, overridden by flags, parsed into types before anything is opened.
//!
//! Whether folders exist, the group is known or QEMU is recent enough is found out by whoever opens them.

mod cluster;
mod dns_update;

use std::{
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    str::FromStr,
};

use ipnet::Ipv4Net;
use serde::Deserialize;
use wardian_host::update::UpdateConfig;
use wardian_model::{environment::Problem, span::Span};
use wardian_plan::alias::{AliasConfig, AliasConfigError};

use crate::cli::args;
pub(crate) use cluster::Cluster;
pub(crate) use dns_update::Zone;

/// The whole configuration, as `wardian daemon --help` shows it.
pub(crate) const HELP: &str = "\
Configuration file (TOML). Every key is optional; these are the defaults, and
unknown keys are errors:

  # Records and disks; must survive a boot.
  state-directory = \"/var/lib/wardian\"
  # Sockets and process state; must not survive a boot.
  run-directory = \"/run/wardian\"
  # The API; wardian.sock in the run directory by default.
  socket = \"/run/wardian/wardian.sock\"
  # May use the socket besides root; nobody else does by default.
  # socket-group = \"wardian\"
  # auto, kvm or tcg; auto is kvm where it is proven to work.
  accelerator = \"auto\"
  # A path, or a name that is looked up in PATH.
  qemu = \"qemu-system-x86_64\"

  [lab]
  # The bridge on which all environments meet.
  bridge = \"wardian0\"
  # Its addresses, /16 to /28; the last one is the host's.
  prefix = \"10.86.0.0/16\"
  # Machines are MACHINE.ENVIRONMENT.ZONE to the outside. The name server on the
  # host's address knows them; let yours forward the zone to it.
  zone = \"wardian.internal\"
  # How long clients may remember these names, 0s to 1h.
  alias-ttl = \"5s\"

  # A name server that is told of all aliases too (RFC 2136), signed (TSIG).
  # [dns-update]
  # server = \"10.0.0.2:53\"
  # The server's zones: one that holds the aliases, [lab] zone by default, and one
  # that holds the names of the lab network's addresses, told only if given.
  # zone = \"wardian.internal\"
  # reverse-zone = \"86.10.in-addr.arpa\"
  # key-name = \"wardian\"
  # hmac-sha256, hmac-sha384 or hmac-sha512.
  # key-algorithm = \"hmac-sha256\"
  # The key's secret, in base64; readable by root only.
  # key-secret-file = \"/etc/wardian/dns-update.key\"

  # Other hosts, with which this one shares its records: they are in an etcd then.
  # [cluster]
  # endpoints = [\"https://10.0.0.11:2379\", \"https://10.0.0.12:2379\"]
  # Whose certificates are accepted, and this host's own; for https.
  # ca = \"/etc/wardian/ca.pem\"
  # certificate = \"/etc/wardian/host.pem\"
  # key = \"/etc/wardian/host.key\"
  # The folder of all keys.
  # prefix = \"wardian\"
  # This host's name, as the computer is called by default.
  # name = \"host-a\"
  # Its address on the network to the other hosts, and the port of its daemon there.
  # provider-address = \"10.0.0.1\"
  # peer-port = 7643
  # How frames travel between hosts, where an environment says nothing else: nvgre or vxlan, the same for all.
  # encapsulation = \"nvgre\"
  # Where this host takes them out of their envelopes: in the network card's driver (xdp), after it (tc), or where it can.
  # decapsulation = \"auto\"
  # The largest packet, in bytes, that the physical network takes between any two hosts; the same for all.
  # mtu = 1500
  # Addresses that the physical network brings to this host, for machines of environments with ip-rewrite.
  # rewrite-addresses = \"10.9.1.0/24\"

A flag wins over the file.";

/// Where the configuration is unless a flag says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/wardian/wardian.toml";

/// The daemon's configuration. All paths are absolute, except a QEMU that is looked up in `PATH`.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Records and disks; survives a boot.
    pub(crate) state_directory: PathBuf,
    /// Sockets and process state; does not survive a boot.
    pub(crate) run_directory: PathBuf,
    /// The socket of the API.
    pub(crate) socket: PathBuf,
    /// The group that may use it besides root.
    pub(crate) socket_group: Option<String>,
    /// The lab network.
    pub(crate) lab: Lab,
    /// A name server that is told of aliases.
    pub(crate) dns_update: Option<UpdateConfig>,
    /// Other hosts, with which it shares its records.
    pub(crate) cluster: Option<Cluster>,
    /// How guests' instructions are run.
    pub(crate) accelerator: Accelerator,
    /// The QEMU to run machines with.
    pub(crate) qemu: PathBuf,
}

/// The network on which environments get their outside addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lab {
    /// Its bridge's name: 1 to 15 characters.
    pub(crate) bridge: String,
    /// Its addresses.
    pub(crate) prefix: Ipv4Net,
    /// The names of machines on it.
    pub(crate) aliases: AliasConfig,
}

/// How guests' instructions are run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Accelerator {
    /// KVM where it is proven to work, translation elsewhere
    #[default]
    Auto,
    /// By the processor
    Kvm,
    /// By translation in QEMU
    Tcg,
}

/// The addresses of the lab network: a network address with a length of 16 to 28: a machine's slot is its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LabPrefix(Ipv4Net);

impl Default for LabPrefix {
    /// 10.86.0.0/16.
    fn default() -> Self {
        Self(Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 86, 0, 0), 16))
    }
}

impl FromStr for LabPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net: Ipv4Net =
            text.parse().map_err(|_| format!("{text:?} is not an IPv4 prefix; write one as in 10.86.0.0/16"))?;
        if net.addr() != net.network() {
            return Err(format!("{text:?} is an address in a network, not a network; write {}", net.trunc()));
        }
        if !(16..=28).contains(&net.prefix_len()) {
            return Err(format!("a lab network of /{} can't be used; its length must be 16 to 28", net.prefix_len()));
        }
        Ok(Self(net))
    }
}

impl TryFrom<String> for LabPrefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    state_directory: Option<PathBuf>,
    run_directory: Option<PathBuf>,
    socket: Option<PathBuf>,
    socket_group: Option<String>,
    accelerator: Option<Accelerator>,
    qemu: Option<PathBuf>,
    #[serde(default)]
    lab: LabFile,
    dns_update: Option<dns_update::File>,
    cluster: Option<cluster::File>,
}

/// Its `[lab]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LabFile {
    bridge: Option<String>,
    prefix: Option<LabPrefix>,
    zone: Option<Zone>,
    alias_ttl: Option<Span>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file isn't a configuration.
    #[error("{path}:{position}: {message}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: Position,
        /// What is wrong there.
        message: String,
        /// The line, and a caret below the place.
        excerpt: [String; 2],
    },
    /// A path that depends on where the daemon happens to be started.
    #[error("the {what} {path} is not absolute")]
    Relative {
        /// What the path is for.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A path that no socket can have.
    #[error("the socket {path} has a path of {length} bytes; 107 at most")]
    SocketTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// A name that no interface can have.
    #[error("{name:?} can't be the name of a bridge; 1 to 15 characters without slash, colon and white space can")]
    Bridge {
        /// The name.
        name: String,
    },
    /// Names that can't be given.
    #[error(transparent)]
    Aliases(#[from] AliasConfigError),
    /// A name server that can't be told.
    #[error(transparent)]
    DnsUpdate(#[from] dns_update::Error),
    /// A cluster that can't be joined.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
}

/// A place in a text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    line: usize,
    column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        let problem = Self::new(match &error {
            ConfigError::Read { source, .. } | ConfigError::DnsUpdate(dns_update::Error::Read { source, .. }) => {
                format!("{error}: {source}")
            }
            _ => error.to_string(),
        });
        match error {
            ConfigError::Form { excerpt, .. } => {
                problem.details(excerpt).hint("`wardian daemon --help` shows every key and its default")
            }
            ConfigError::DnsUpdate(error) => problem.hint(error.hint()),
            ConfigError::Cluster(error) => problem.hint(error.hint()),
            _ => problem,
        }
    }
}

impl Config {
    /// Reads the file that the flags name, or the default one if it exists, and lets the flags override it.
    ///
    /// # Errors
    /// When the file can't be read or a value can't be used; nothing has been opened or made then.
    pub(crate) fn load(flags: &args::Daemon) -> Result<Self, ConfigError> {
        let (path, required) = flags.config.as_deref().map_or((Path::new(DEFAULT_FILE), false), |path| (path, true));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !required => String::new(),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        Self::merge(Self::parse(path, &text)?, flags)
    }

    fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let (position, excerpt) = locate(text, offset);
            // Parsers end some messages with a line break.
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            ConfigError::Form { path: path.to_owned(), position, message, excerpt }
        })
    }

    fn merge(file: File, flags: &args::Daemon) -> Result<Self, ConfigError> {
        let path = |flag: &Option<PathBuf>, value: Option<PathBuf>, what, default: PathBuf| {
            let path = flag.clone().or(value).unwrap_or(default);
            if path.is_absolute() { Ok(path) } else { Err(ConfigError::Relative { what, path }) }
        };
        let state_directory =
            path(&flags.state_directory, file.state_directory, "state directory", "/var/lib/wardian".into())?;
        let run_directory = path(&flags.run_directory, file.run_directory, "run directory", "/run/wardian".into())?;
        let socket = path(&flags.socket, file.socket, "socket", run_directory.join("wardian.sock"))?;
        let length = socket.as_os_str().len();
        if length > 107 {
            // sockaddr_un has room for 108 bytes, one of them the final zero (unix(7)).
            return Err(ConfigError::SocketTooLong { path: socket, length });
        }
        let bridge = flags.lab_bridge.clone().or(file.lab.bridge).unwrap_or_else(|| "wardian0".to_owned());
        // The kernel's own rules (dev_valid_name), and ASCII so that every tool prints it alike.
        let printable = bridge.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
        if bridge.is_empty() || bridge.len() > 15 || !printable || bridge == "." || bridge == ".." {
            return Err(ConfigError::Bridge { name: bridge });
        }
        let prefix = flags.lab_prefix.or(file.lab.prefix).unwrap_or_default().0;
        let mut aliases = AliasConfig::new(flags.lab_zone.clone().or(file.lab.zone).unwrap_or_default().0)?;
        if let Some(ttl) = file.lab.alias_ttl {
            // Anything between is less than a client counts in.
            let seconds = ttl.duration().as_secs().try_into().unwrap_or(u32::MAX);
            aliases = aliases.with_ttl(seconds)?;
        }
        let dns_update = file.dns_update.map(|told| told.check(aliases.zone(), prefix)).transpose()?;
        Ok(Self {
            state_directory,
            run_directory,
            socket,
            socket_group: flags.socket_group.clone().or(file.socket_group),
            lab: Lab { bridge, prefix, aliases },
            dns_update,
            cluster: file.cluster.map(cluster::File::check).transpose()?,
            accelerator: flags.accelerator.or(file.accelerator).unwrap_or_default(),
            qemu: flags.qemu.clone().or(file.qemu).unwrap_or_else(|| "qemu-system-x86_64".into()),
        })
    }
}

/// The place of a byte in a text, its line, and a caret below it.
fn locate(text: &str, offset: usize) -> (Position, [String; 2]) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[start..].chars().count();
    let line = text[start..].lines().next().unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    (
        Position { line: number, column: column + 1 },
        [format!("{number} | {line}"), format!("{}   {}^", " ".repeat(number.to_string().len()), " ".repeat(column))],
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn flags(words: &[&str]) -> args::Daemon {
        match args::Arguments::try_parse_from(["wardian", "daemon"].iter().chain(words)).unwrap().command {
            args::Command::Daemon(flags) => flags,
            other => panic!("{other:?}"),
        }
    }

    fn config(text: &str, words: &[&str]) -> Result<Config, ConfigError> {
        Config::merge(Config::parse(Path::new("w.toml"), text)?, &flags(words))
    }

    #[test]
    fn an_empty_file_gives_the_defaults_that_the_help_shows() {
        let config = config("", &[]).unwrap();
        assert_eq!(config.socket, Path::new("/run/wardian/wardian.sock"));
        assert_eq!(config.accelerator, Accelerator::Auto);
        assert_eq!(config.socket_group, None);
        for shown in [
            config.state_directory.to_str().unwrap(),
            config.run_directory.to_str().unwrap(),
            config.socket.to_str().unwrap(),
            config.qemu.to_str().unwrap(),
            &config.lab.bridge,
            &config.lab.prefix.to_string(),
            config.lab.aliases.zone().as_str(),
            &Span::seconds(config.lab.aliases.ttl_seconds().into()).to_string(),
        ] {
            assert!(HELP.contains(&format!("\"{shown}\"")), "{shown}");
        }
    }

    #[test]
    fn the_help_is_a_configuration_that_changes_nothing() {
        let text = HELP.split_once("errors:").unwrap().1.split_once("A flag").unwrap().0;
        assert_eq!(format!("{:?}", config(text, &[]).unwrap()), format!("{:?}", config("", &[]).unwrap()));
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "run-directory = '/run/w'\naccelerator = 'tcg'\n[lab]\nbridge = 'lab'\nprefix = '10.1.0.0/16'\nzone = 'x'\nalias-ttl = '1m'";
        let config =
            config(text, &["--lab-prefix", "10.2.0.0/24", "--lab-zone", "Lab.example.", "--accelerator", "kvm"])
                .unwrap();
        assert_eq!(config.socket, Path::new("/run/w/wardian.sock"));
        assert_eq!(config.accelerator, Accelerator::Kvm);
        let aliases = AliasConfig::new("lab.example".parse().unwrap()).unwrap().with_ttl(60).unwrap();
        assert_eq!(config.lab, Lab { bridge: "lab".into(), prefix: "10.2.0.0/24".parse().unwrap(), aliases });
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_position() {
        let error = config("accelerator = 'tcg'\n[lab]\nbrige = 'x'\n", &[]).unwrap_err();
        let problem = Problem::from(error);
        assert!(problem.message.starts_with("w.toml:3:1: unknown field `brige`"), "{}", problem.message);
        assert_eq!(problem.details, ["3 | brige = 'x'", "    ^"]);
        assert!(config("x =", &[]).unwrap_err().to_string().starts_with("w.toml:1:"));
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_before_anything_is_opened() {
        assert!(matches!(config("state-directory = 'x'", &[]), Err(ConfigError::Relative { .. })));
        assert!(matches!(config("lab = { bridge = 'a-name-that-is-too-long' }", &[]), Err(ConfigError::Bridge { .. })));
        for (lab, what) in [("alias-ttl = '2h'", "7200"), ("zone = 'a_b'", "a_b"), ("alias-ttl = 5", "string")] {
            let error = config(&format!("[lab]\n{lab}"), &[]).unwrap_err().to_string();
            assert!(error.contains(what), "{lab}: {error}");
        }
        let told = "[dns-update]\nserver = '10.0.0.2'\nkey-name = 'w'\nkey-secret-file = '/nonexistent'";
        let problem = Problem::from(config(told, &[]).unwrap_err());
        assert!(problem.message.starts_with("can't read the secret of the key w in /nonexistent: "), "{problem:?}");
        assert!(problem.hint.is_some());
        let long = format!("socket = '/{}'", "s".repeat(107));
        assert!(matches!(config(&long, &[]), Err(ConfigError::SocketTooLong { length: 108, .. })));
        for prefix in ["10.86.0.1/16", "10.86.0.0/30", "fd00::/64", "10.86.0.0"] {
            let error = config(&format!("lab = {{ prefix = '{prefix}' }}"), &[]).unwrap_err();
            assert!(matches!(error, ConfigError::Form { .. }), "{prefix}: {error}");
        }
    }

    #[test]
    fn a_named_file_must_exist_and_the_default_one_need_not() {
        let error = Config::load(&flags(&["--config", "/nonexistent/w.toml"])).unwrap_err();
        assert!(Problem::from(error).message.starts_with("can't read the configuration /nonexistent/w.toml: "));
    }
}
