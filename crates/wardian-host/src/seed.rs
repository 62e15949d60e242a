//! First-boot configuration of a machine, as a NoCloud seed disk.
//!
//! Format: cloud-init's NoCloud data source. The instance id is the machine's SMBIOS UUID, which clones keep: to a guest,
//! being cloned is no first boot.

use std::path::PathBuf;

use wardian_model::{
    environment::{EnvironmentRecord, MachineIdentity, Problem},
    name::MachineName,
    spec::{CloudInit, MachineSpec},
};

use crate::{refusal::problem, shared::Shared};

/// The seed of a machine that has first-boot configuration; made when it isn't there.
pub(crate) async fn ensure(
    shared: &Shared,
    environment: &EnvironmentRecord,
    name: &MachineName,
    spec: &MachineSpec,
    identity: &MachineIdentity,
) -> Result<Option<PathBuf>, Problem> {
    let Some(cloud_init) = &spec.cloud_init else { return Ok(None) };
    let path = shared.paths.seed(environment.id, name);
    let files = [("meta-data", meta_data(identity, cloud_init)), ("user-data", user_data(cloud_init))];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect::<Vec<_>>();
    let target = path.clone();
    let made = tokio::task::spawn_blocking(move || wardian_vault::seed::build(&target, &files)).await;
    match made {
        Ok(Ok(())) => Ok(Some(path)),
        Ok(Err(error)) => Err(problem(&error)),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn meta_data(identity: &MachineIdentity, cloud_init: &CloudInit) -> String {
    // JSON is YAML, and needs no quoting rules of our own.
    serde_json::json!({
        "instance-id": identity.inside.uuid,
        "local-hostname": identity.inside.hostname,
        "public-keys": cloud_init.ssh_keys,
    })
    .to_string()
        + "\n"
}

fn user_data(cloud_init: &CloudInit) -> String {
    cloud_init.user_data.clone().unwrap_or_else(|| "#cloud-config\n{}\n".to_owned())
}
