//! Whether an environment's frames can travel between its hosts as its file wants, and the provider addresses that
//! its machines need for that.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use wardian_model::{
    cluster::HostRecord,
    encapsulation::Encapsulation,
    environment::MachineIdentity,
    name::{HostName, MachineName},
    record::Record,
    spec::EnvironmentSpec,
};
use wardian_plan::{
    allocate::Taken,
    encapsulation::{Unable, can_carry},
    rewrite::{self, RewriteError},
};

use crate::{Host, Refusal, RefusalKind, refusal::problem};

impl Host {
    /// Gives the machines of an environment that lies on this host and others what they need to travel between them.
    ///
    /// # Errors
    /// When a host can't send its frames so, or has no addresses left for machines.
    pub(super) async fn give_providers(
        &self,
        spec: &EnvironmentSpec,
        elsewhere: &IndexMap<MachineName, HostName>,
        identities: &mut IndexMap<MachineName, MachineIdentity>,
        taken: &Taken,
    ) -> Result<(), Refusal> {
        let (Some(own), Some(encapsulation)) = (self.shared.host(), spec.network.encapsulation) else { return Ok(()) };
        if elsewhere.is_empty() {
            return Ok(());
        }
        let hosts = self.shared.records.list::<HostRecord>(HostRecord::PREFIX).await?;
        let wanted = elsewhere.values().chain([&own]).collect();
        can_carry(spec, &hosts, &wanted)?;
        if encapsulation != Encapsulation::IpRewrite {
            return Ok(());
        }
        let prefixes: BTreeMap<_, _> =
            hosts.into_iter().filter_map(|host| Some((host.name, host.rewrite_addresses?))).collect();
        let host_of = |machine: &MachineName| elsewhere.get(machine).unwrap_or(&own);
        rewrite::give(identities, host_of, &prefixes, &taken.addresses).map_err(|error| refusal(spec, &error))
    }
}

impl From<Unable> for Refusal {
    fn from(error: Unable) -> Self {
        Self::new(RefusalKind::Invalid, problem(&error).hint(error.hint()))
    }
}

fn refusal(spec: &EnvironmentSpec, error: &RewriteError) -> Refusal {
    let (kind, hint) = match error {
        RewriteError::NoAddresses { host, .. } => (
            RefusalKind::Invalid,
            format!(
                "say `rewrite-addresses` in [cluster] on {host}, as in \"10.9.1.0/24\", or choose another \
                 `encapsulation` for {}",
                spec.name
            ),
        ),
        RewriteError::Exhausted { host, .. } => (
            RefusalKind::Unavailable,
            format!(
                "remove environments that are no longer needed (`wardian ls`), or configure larger \
                 `rewrite-addresses` on {host}"
            ),
        ),
    };
    Refusal::new(kind, problem(error).hint(hint))
}
