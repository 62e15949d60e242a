//! Whether the hosts that an environment would lie on can send its frames as its file wants.

use std::collections::BTreeSet;

use wardian_model::{
    cluster::HostRecord,
    encapsulation::Encapsulation,
    name::{EnvironmentName, HostName},
    spec::EnvironmentSpec,
};

/// A host that can't.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{environment} would lie on the host {host} too, which can't send frames by {wanted}: its version is {version}"
)]
pub struct Unable {
    /// Whose frames.
    pub environment: EnvironmentName,
    /// The host.
    pub host: HostName,
    /// Its version of Wardian.
    pub version: String,
    /// How they would have to be sent.
    pub wanted: Encapsulation,
    /// How it can send them.
    pub able: Vec<Encapsulation>,
}

impl Unable {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let able: Vec<_> = self.able.iter().map(|able| format!("`{able}`")).collect();
        let other = if able.is_empty() { "another".to_owned() } else { able.join(" or ") };
        format!(
            "update {}, choose {other} as `encapsulation` under `network`, or `placement: {{ policy: together }}`",
            self.host
        )
    }
}

/// Whether each of the wanted ones of these hosts can.
///
/// # Errors
/// Names the first that can't.
pub fn can_carry(spec: &EnvironmentSpec, hosts: &[HostRecord], wanted: &BTreeSet<&HostName>) -> Result<(), Unable> {
    let Some(encapsulation) = spec.network.encapsulation else { return Ok(()) };
    let unable = |host: &&HostRecord| wanted.contains(&host.name) && !host.encapsulations.contains(&encapsulation);
    match hosts.iter().find(unable) {
        None => Ok(()),
        Some(host) => Err(Unable {
            environment: spec.name.clone(),
            host: host.name.clone(),
            version: host.version.clone(),
            wanted: encapsulation,
            able: host.encapsulations.clone(),
        }),
    }
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
        let refused = can_carry(&rewritten, &hosts, &names.into()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "store would lie on the host b too, which can't send frames by ip-rewrite: its version is 0.1.0"
        );
        let hint = refused.hint();
        assert!(hint.starts_with("update b, choose `nvgre` or `vxlan` as `encapsulation`"), "{hint}");
        can_carry(&rewritten, &hosts, &[names[0]].into()).unwrap();
        can_carry(&spec(Some(Encapsulation::Vxlan)), &hosts, &names.into()).unwrap();
        can_carry(&spec(None), &[host("c", &[])], &names.into()).unwrap();
    }
}
