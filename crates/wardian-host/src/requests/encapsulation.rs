//! Whether an environment's frames can travel between its hosts as its file wants, and the provider addresses that
//! its machines need for that.

use std::collections::{BTreeMap, BTreeSet};

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

/// That each of these hosts can send frames as the environment wants.
pub(super) fn can_carry(
    spec: &EnvironmentSpec,
    hosts: &[HostRecord],
    wanted: &BTreeSet<&HostName>,
) -> Result<(), Refusal> {
    let Some(encapsulation) = spec.network.encapsulation else { return Ok(()) };
    let unable = |host: &&HostRecord| wanted.contains(&host.name) && !host.encapsulations.contains(&encapsulation);
    let Some(unable) = hosts.iter().find(unable) else { return Ok(()) };
    let able: Vec<_> = unable.encapsulations.iter().map(|able| format!("`{able}`")).collect();
    Err(Refusal::invalid(format!(
        "{} would lie on the host {} too, which can't send frames by {encapsulation}: its version is {}",
        spec.name, unable.name, unable.version
    ))
    .hint(format!(
        "update {}, choose {} as `encapsulation` under `network`, or `placement: {{ policy: together }}`",
        unable.name,
        if able.is_empty() { "another".to_owned() } else { able.join(" or ") }
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, encapsulations: &[&str]) -> HostRecord {
        serde_json::from_value(serde_json::json!({
            "name": name, "instance": name, "provider": "10.1.0.1", "peer": "10.1.0.1:7643",
            "lab-address": "10.86.255.1",
            "memory-mib": 1024, "cores": 2, "version": "0.1.0", "qemu": "10", "encapsulations": encapsulations,
            "joined": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    fn spec(encapsulation: Option<Encapsulation>) -> EnvironmentSpec {
        let mut spec: EnvironmentSpec =
            serde_json::from_value(serde_json::json!({ "name": "store", "machines": { "web": { "image": "micro" } } }))
                .unwrap();
        spec.network.encapsulation = encapsulation;
        spec
    }

    #[test]
    fn an_older_host_that_does_not_know_it_is_named_with_the_ways_out() {
        let hosts = [host("a", &["nvgre", "vxlan", "ip-rewrite"]), host("b", &["nvgre", "vxlan"])];
        let names = hosts.each_ref().map(|host| &host.name);
        let rewritten = spec(Some(Encapsulation::IpRewrite));
        let refused = can_carry(&rewritten, &hosts, &names.into()).unwrap_err().problem;
        assert_eq!(
            refused.message,
            "store would lie on the host b too, which can't send frames by ip-rewrite: its version is 0.1.0"
        );
        let hint = refused.hint.unwrap();
        assert!(hint.starts_with("update b, choose `nvgre` or `vxlan` as `encapsulation`"), "{hint}");
        can_carry(&rewritten, &hosts, &[names[0]].into()).unwrap();
        can_carry(&spec(Some(Encapsulation::Vxlan)), &hosts, &names.into()).unwrap();
        can_carry(&spec(None), &[host("c", &[])], &names.into()).unwrap();
    }
}
