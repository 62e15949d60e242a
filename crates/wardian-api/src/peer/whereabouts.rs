//! Which host has to answer.

use std::net::SocketAddrV4;

use async_trait::async_trait;
use wardian_model::name::{EnvironmentName, HostName, MachineName};

use crate::wire::UpRequest;

/// Another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name.
    pub host: HostName,
    /// Where its daemon listens for peers.
    pub peer: SocketAddrV4,
    /// Whether it is there, as far as the store knows.
    pub present: bool,
}

/// Who knows which host has to answer.
#[async_trait]
pub trait Whereabouts: Send + Sync + 'static {
    /// The host that has to answer for this environment, or for that machine of it; nothing when it is this one, or
    /// when nobody knows the environment.
    async fn elsewhere(&self, environment: &EnvironmentName, machine: Option<&MachineName>) -> Option<Elsewhere>;

    /// The host that has to make the environment of this request; nothing when it is this one. Of the request only the
    /// form has been checked.
    async fn creates(&self, request: &UpRequest) -> Option<Elsewhere> {
        let _ = request;
        None
    }
}
