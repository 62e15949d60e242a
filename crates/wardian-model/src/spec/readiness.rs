//! When a machine counts as ready, and how long to wait for it.
//!
//! In the file: `agent`, or one of `{ tcp: 5432 }`, `{ http: { port: 80, path: / } }`, `{ exec: [cmd, …] }`,
//! each with an optional `timeout`.

use std::{fmt, num::NonZeroU16};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::span::Span;

/// When a machine counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Readiness {
    /// What is tried, again and again.
    pub probe: Probe,
    /// How long after its start a machine may take; 5 minutes by default.
    pub timeout: Span,
}

/// What must succeed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The guest agent answers.
    Agent,
    /// A TCP connection to this port of the machine's private address is accepted.
    Tcp(NonZeroU16),
    /// A GET is answered with a status of 200 to 399.
    Http(HttpProbe),
    /// A command run through the guest agent exits with 0.
    Exec(Vec<String>),
}

/// A page that must be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// The port; 80 by default.
    #[serde(default = "HttpProbe::default_port")]
    pub port: NonZeroU16,
    /// The path; `/` by default.
    #[serde(default = "HttpProbe::default_path")]
    pub path: String,
}

impl HttpProbe {
    fn default_port() -> NonZeroU16 {
        NonZeroU16::new(80).expect("a constant that is not zero")
    }

    fn default_path() -> String {
        "/".to_owned()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self { probe: Probe::Agent, timeout: Self::DEFAULT_TIMEOUT }
    }
}

impl Readiness {
    /// Five minutes.
    pub const DEFAULT_TIMEOUT: Span = Span::seconds(300);
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("guest agent"),
            Self::Tcp(port) => write!(f, "tcp {port}"),
            Self::Http(HttpProbe { port, path }) => write!(f, "http {port}{path}"),
            Self::Exec(command) => write!(f, "exec {}", command.join(" ")),
        }
    }
}

/// The form in files and records.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Readiness")]
enum Written {
    Word(Word),
    Table(Table),
}

/// Probes that need no parameter.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Agent,
}

/// Exactly one of `agent`, `tcp`, `http`, `exec`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<NoParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<NonZeroU16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpProbe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exec: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoParameters {}

/// Why a table doesn't say when a machine is ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadinessError {
    /// None or several probes.
    #[error("`ready` wants exactly one of agent, tcp, http, exec; found {found}")]
    NotOneProbe {
        /// How many there were.
        found: usize,
    },
    /// An empty command.
    #[error("`exec` wants a command: a list of the program and its arguments")]
    EmptyCommand,
    /// A path that can't be asked for.
    #[error("the path {path:?} can't be asked for; it must start with `/` and contain no white space")]
    Path {
        /// The offending path.
        path: String,
    },
}

impl TryFrom<Written> for Readiness {
    type Error = ReadinessError;

    fn try_from(written: Written) -> Result<Self, ReadinessError> {
        let table = match written {
            Written::Word(Word::Agent) => return Ok(Self::default()),
            Written::Table(table) => table,
        };
        let timeout = table.timeout.unwrap_or(Self::DEFAULT_TIMEOUT);
        let mut probes = Vec::new();
        probes.extend(table.agent.map(|_| Probe::Agent));
        probes.extend(table.tcp.map(Probe::Tcp));
        probes.extend(table.http.map(Probe::Http));
        probes.extend(table.exec.map(Probe::Exec));
        let found = probes.len();
        let probe = probes.pop().filter(|_| found == 1).ok_or(ReadinessError::NotOneProbe { found })?;
        match &probe {
            Probe::Exec(command) if command.first().is_none_or(String::is_empty) => Err(ReadinessError::EmptyCommand),
            Probe::Http(http) if !http.path.starts_with('/') || http.path.contains(char::is_whitespace) => {
                Err(ReadinessError::Path { path: http.path.clone() })
            }
            _ => Ok(Self { probe, timeout }),
        }
    }
}

impl From<Readiness> for Written {
    fn from(ready: Readiness) -> Self {
        let mut table = Table { timeout: Some(ready.timeout), ..Table::default() };
        match ready.probe {
            Probe::Agent => table.agent = Some(NoParameters {}),
            Probe::Tcp(port) => table.tcp = Some(port),
            Probe::Http(http) => table.http = Some(http),
            Probe::Exec(command) => table.exec = Some(command),
        }
        Self::Table(table)
    }
}
