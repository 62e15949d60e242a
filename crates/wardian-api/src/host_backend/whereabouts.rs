//! Where environments are, as the records say.

use std::net::SocketAddrV4;

use async_trait::async_trait;
use wardian_host::{Host, HostStanding};
use wardian_model::name::{EnvironmentName, HostName, MachineName};

use crate::{
    peer::{Elsewhere, Whereabouts},
    wire::UpRequest,
};

/// A host that looks into the records of its cluster.
pub struct HostWhereabouts {
    host: Host,
}

impl HostWhereabouts {
    /// Of this host.
    #[must_use]
    pub const fn new(host: Host) -> Self {
        Self { host }
    }

    /// Where a host's daemon is; nothing for this host, and for one that nobody knows.
    async fn at(&self, name: &HostName) -> Option<Elsewhere> {
        let hosts = self.host.hosts().await.ok()?;
        let HostStanding { record, presence, here, .. } = hosts.into_iter().find(|host| host.record.name == *name)?;
        let peer: SocketAddrV4 = record.peer;
        (!here).then(|| Elsewhere { host: record.name, peer, present: presence.is_some() })
    }
}

#[async_trait]
impl Whereabouts for HostWhereabouts {
    async fn elsewhere(&self, environment: &EnvironmentName, machine: Option<&MachineName>) -> Option<Elsewhere> {
        let (record, _) = self.host.environment(environment).await.ok()?;
        let host = machine.map_or(record.host.as_ref(), |machine| record.host_of(machine))?;
        self.at(host).await
    }

    async fn creates(&self, request: &UpRequest) -> Option<Elsewhere> {
        let name = request.name.clone().map(EnvironmentName::new).transpose().ok()?;
        let file_name = request.file_name.as_deref().unwrap_or("environment file");
        // What is wrong with the file, and that no host takes it, is said by whoever makes it.
        let file = self.host.read_file_text(&request.file, file_name, name.as_ref()).await.ok()?;
        let placement = self.host.place(&file.spec).await.ok()??;
        self.at(&placement.home).await
    }
}
