//! What is done inside a guest: commands, files, the console.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Content;

/// A command to run in a guest, through its agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExecRequest {
    /// The program and its arguments; no shell in between.
    pub command: Vec<String>,
    /// Variables added to the agent's environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What the command reads; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Content>,
    /// How long it may take, in milliseconds; 60,000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl ExecRequest {
    /// How long a command may take when the request doesn't say, in milliseconds.
    pub const DEFAULT_TIMEOUT_MS: u64 = 60_000;
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ExecResult {
    /// Its exit status; absent when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: Content,
    /// What it wrote to its standard error.
    pub stderr: Content,
    /// Whether the agent gave only the beginning of either.
    pub truncated: bool,
}

/// A file was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FileWritten {
    /// Its path in the guest.
    pub path: String,
    /// How much was written.
    pub size_bytes: u64,
}

/// The end of what a machine has written to its console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConsoleTail {
    /// It.
    pub console: Content,
}
