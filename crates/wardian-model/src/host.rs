//! The record of a host: what it can do, found out once and remembered.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Record;

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
        Self::KEY.to_owned()
    }
}

impl AcceleratorRecord {
    /// Where it is kept.
    pub const KEY: &'static str = "host/accelerator";
}
