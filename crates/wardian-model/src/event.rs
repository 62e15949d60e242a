//! The record of an event: something that happened to an environment, for people and scripts that follow along.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    name::{EnvironmentName, MachineName},
    record::Record,
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EventRecord {
    /// Order of events; grows.
    pub sequence: u64,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The environment.
    pub environment: EnvironmentName,
    /// The machine, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineName>,
    /// What happened, in one sentence.
    pub message: String,
}

impl Record for EventRecord {
    const PREFIX: &'static str = "events/";

    fn key(&self) -> String {
        // Fixed width, so that the order of keys is the order of events.
        format!("{}{:020}", Self::PREFIX, self.sequence)
    }
}
