//! What placement is decided from: hosts with what is on them, and environments with what they need.

use std::{collections::BTreeMap, num::NonZeroU32};

use indexmap::IndexMap;
use wardian_model::{
    name::{EnvironmentName, HostName, MachineName},
    size::ByteSize,
};

use super::Rules;

/// All hosts there are, also those that take nothing now: they are part of every explanation.
pub type Hosts = BTreeMap<HostName, Host>;

/// A host, and what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The memory it has for machines; what it needs for itself is not a part of it.
    pub memory: ByteSize,
    /// Its cores.
    pub cores: u32,
    /// Whether it is there. One that isn't gets nothing.
    pub up: bool,
    /// Whether it is paused, for maintenance. One that is gets nothing new, and keeps what it has.
    pub paused: bool,
    /// What is placed there, running or not. It stays.
    pub machines: Vec<Placed>,
}

/// A machine that has its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its environment.
    pub environment: EnvironmentName,
    /// Its name there.
    pub machine: MachineName,
    /// What it takes.
    pub size: Size,
}

/// What a machine takes of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Memory, with what its process needs beside the guest's.
    pub memory: ByteSize,
    /// Virtual processors.
    pub cpus: u32,
}

/// An environment that shall have all its machines placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub environment: EnvironmentName,
    /// What it asks of its placement.
    pub rules: Rules,
    /// All its machines. Those that a host has already stay there.
    pub machines: IndexMap<MachineName, Size>,
}

/// How much may be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Virtual processors for each core; 4 by default. Memory is never promised twice.
    pub vcpus_per_core: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { vcpus_per_core: const { NonZeroU32::new(4).unwrap() } }
    }
}
