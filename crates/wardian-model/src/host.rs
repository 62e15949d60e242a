//! The record of a host: what it can do, found out once and remembered.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{name::HostName, record::Record};

/// How guests' instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// By the processor, through /dev/kvm.
    Kvm,
    /// By translation in QEMU.
    Tcg,
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// What was found out about the host's accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcceleratorRecord {
    /// The host, where several share a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What `auto` means here.
    pub accelerator: Accelerator,
    /// Why.
    pub why: String,
    /// Of which kernel and QEMU this holds; found out anew when they change.
    pub of: String,
    /// When it was found out.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

impl Record for AcceleratorRecord {
    const PREFIX: &'static str = "host/";

    fn key(&self) -> String {
        Self::key_of(self.host.as_ref())
    }
}

impl AcceleratorRecord {
    /// Where that of a host is kept: of the one whose store it is, or of one among others.
    #[must_use]
    pub fn key_of(host: Option<&HostName>) -> String {
        match host {
            None => "host/accelerator".to_owned(),
            Some(host) => format!("host/accelerator/{host}"),
        }
    }
}
