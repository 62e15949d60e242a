//! What machines may say and hear.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::environment as model;

use super::Problem;

/// Change what machines may say and hear: one list of rules is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AclRequest {
    /// The machine whose rules these are; when absent, they are for all machines, each after its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The rules, in the order they are asked: `allow tcp from web to db port 5432`, `deny any`. None at all allows
    /// everything.
    pub rules: Vec<String>,
}

/// What machines may say and hear. The first rule that matches decides; what none matches is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AclState {
    /// The environment.
    pub environment: String,
    /// The rules for all machines, asked after each one's own.
    pub network: Vec<String>,
    /// The rules of those machines that have some.
    pub machines: BTreeMap<String, Vec<String>>,
    /// After a change: what is allowed, but probably not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
}

/// What a machine was not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AclDenied {
    /// The machine.
    pub machine: String,
    /// Packets it was not allowed to hear.
    pub inward: u64,
    /// Packets it was not allowed to say.
    pub outward: u64,
}

impl AclState {
    /// From the record of an environment.
    #[must_use]
    pub fn new(record: &model::EnvironmentRecord) -> Self {
        let texts = |rules: &[wardian_model::spec::AclRule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
        Self {
            environment: record.name.to_string(),
            network: texts(&record.acl.network),
            machines: record.acl.machines.iter().map(|(name, rules)| (name.to_string(), texts(rules))).collect(),
            warnings: Vec::new(),
        }
    }
}
