//! Where environments are, as the records say.

use async_trait::async_trait;
use wardian_host::{Host, OtherHost};
use wardian_model::name::{EnvironmentName, MachineName};

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
}

impl From<OtherHost> for Elsewhere {
    fn from(OtherHost { record, present }: OtherHost) -> Self {
        Self { host: record.name, peer: record.peer, present }
    }
}

#[async_trait]
impl Whereabouts for HostWhereabouts {
    async fn elsewhere(&self, environment: &EnvironmentName, machine: Option<&MachineName>) -> Option<Elsewhere> {
        // A store that can't be read is told by whoever answers then.
        self.host.elsewhere_of(environment, machine).await.ok()?.map(Elsewhere::from)
    }

    async fn creates(&self, request: &UpRequest) -> Option<Elsewhere> {
        let name = request.name.clone().map(EnvironmentName::new).transpose().ok()?;
        let file_name = request.file_name.as_deref().unwrap_or("environment file");
        // What is wrong with the file, and that no host takes it, is said by whoever makes it.
        let file = self.host.read_file_text(&request.file, file_name, name.as_ref()).await.ok()?;
        let placement = self.host.place(&file.spec).await.ok()??;
        self.host.other(&placement.home).await.ok()?.map(Elsewhere::from)
    }
}
