//! The agent's small commands: is it there, what can it do, addresses, clock, file systems, power.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Agent, AgentError, DEFAULT_TIMEOUT};

/// Freezing flushes every file system first, which may take long on a busy guest.
const FREEZE: Duration = Duration::from_secs(120);

/// An agent and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its version, as in `7.2.22`.
    pub version: String,
    /// The commands it knows, and whether each is enabled; administrators forbid some.
    pub commands: BTreeMap<String, bool>,
}

impl AgentInfo {
    /// Whether a command is there and enabled.
    pub fn can(&self, command: &str) -> bool {
        self.commands.get(command).copied().unwrap_or(false)
    }
}

/// A network interface as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestInterface {
    /// Its name in the guest.
    pub name: String,
    /// Its MAC address as the guest writes it; the loopback may have none.
    pub mac: Option<String>,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// Whether the guest's file systems are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsStatus {
    /// They are not.
    Thawed,
    /// They are: nothing can be written.
    Frozen,
}

impl Agent {
    /// Whether the agent answers, within `limit`.
    pub async fn ping(&self, limit: Duration) -> Result<(), AgentError> {
        self.execute("guest-ping", None, limit).await.map(drop)
    }

    /// Which agent this is and what it can do.
    pub async fn info(&self) -> Result<AgentInfo, AgentError> {
        #[derive(Deserialize)]
        struct Info {
            version: String,
            supported_commands: Vec<Command>,
        }
        #[derive(Deserialize)]
        struct Command {
            name: String,
            enabled: bool,
        }
        let command = "guest-info";
        let info: Info = read(command, self.execute(command, None, DEFAULT_TIMEOUT).await?)?;
        let commands = info.supported_commands.into_iter().map(|c| (c.name, c.enabled)).collect();
        Ok(AgentInfo { version: info.version, commands })
    }

    /// The guest's network interfaces.
    pub async fn interfaces(&self) -> Result<Vec<GuestInterface>, AgentError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Interface {
            name: String,
            hardware_address: Option<String>,
            #[serde(default)]
            ip_addresses: Vec<Address>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Address {
            ip_address: String,
            prefix: u8,
        }
        let command = "guest-network-get-interfaces";
        let found: Vec<Interface> = read(command, self.execute(command, None, DEFAULT_TIMEOUT).await?)?;
        let address = |a: Address| {
            // Windows appends the zone to link-local addresses.
            let text = a.ip_address.split('%').next().unwrap_or_default();
            Some((text.parse().ok()?, a.prefix))
        };
        let interface = |i: Interface| GuestInterface {
            name: i.name,
            mac: i.hardware_address,
            addresses: i.ip_addresses.into_iter().filter_map(address).collect(),
        };
        Ok(found.into_iter().map(interface).collect())
    }

    /// The guest's clock.
    pub async fn time(&self) -> Result<SystemTime, AgentError> {
        let command = "guest-get-time";
        let nanoseconds: u64 = read(command, self.execute(command, None, DEFAULT_TIMEOUT).await?)?;
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_nanos(nanoseconds))
            .ok_or_else(|| AgentError::Answer { command, what: "a time beyond all clocks".to_owned() })
    }

    /// Sets the guest's clock, and its hardware clock after it, within `limit`; times before 1970 count as 1970.
    pub async fn set_time(&self, time: SystemTime, limit: Duration) -> Result<(), AgentError> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        let arguments = json!({ "time": nanoseconds });
        self.execute("guest-set-time", Some(arguments), limit).await.map(drop)
    }

    /// Flushes and freezes the guest's file systems; gives how many. [`Agent::fs_thaw`] must follow soon.
    pub async fn fs_freeze(&self) -> Result<u64, AgentError> {
        let command = "guest-fsfreeze-freeze";
        read(command, self.execute(command, None, FREEZE).await?)
    }

    /// Thaws the guest's file systems; gives how many were frozen. Fine when none is.
    pub async fn fs_thaw(&self) -> Result<u64, AgentError> {
        let command = "guest-fsfreeze-thaw";
        read(command, self.execute(command, None, FREEZE).await?)
    }

    /// Whether the guest's file systems are frozen.
    pub async fn fs_status(&self) -> Result<FsStatus, AgentError> {
        let command = "guest-fsfreeze-status";
        match self.execute(command, None, DEFAULT_TIMEOUT).await?.as_str() {
            Some("thawed") => Ok(FsStatus::Thawed),
            Some("frozen") => Ok(FsStatus::Frozen),
            other => Err(AgentError::Answer { command, what: format!("status {other:?}") }),
        }
    }

    /// Asks the guest to power off. Success means that it has not refused; the machine's exit tells the rest.
    pub async fn shutdown(&self) -> Result<(), AgentError> {
        let arguments = json!({ "mode": "powerdown" });
        self.request("guest-shutdown", Some(arguments), DEFAULT_TIMEOUT, false).await.map(drop)
    }
}

/// Reads an answer as a type.
pub(super) fn read<T: serde::de::DeserializeOwned>(command: &'static str, value: Value) -> Result<T, AgentError> {
    serde_json::from_value(value).map_err(|error| AgentError::Answer { command, what: error.to_string() })
}
