//! First-boot configuration of a machine, as a NoCloud seed disk.
//!
//! Format: cloud-init's NoCloud data source. The instance id is the machine's SMBIOS UUID, which clones keep: to a
//! guest, being cloned is no first boot.

use std::path::{Path, PathBuf};

use wardian_model::{
    environment::{EnvironmentRecord, MachineIdentity, Problem},
    name::MachineName,
    spec::{CloudInit, MachineSpec},
};

use wardian_plan::network::machine_uid;

use crate::{disks, refusal::problem, shared::Shared};

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
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    make(shared, environment, &path, &files)?;
    // A seed may hold secrets: the machine's own user reads it, and no other machine's.
    disks::own(&path, machine_uid(identity.slot), 0o400)?;
    Ok(Some(path))
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

/// Small enough to be written without a thread of its own.
fn make(shared: &Shared, environment: &EnvironmentRecord, path: &Path, files: &[(&str, &[u8])]) -> Result<(), Problem> {
    let failed = |error: &dyn std::error::Error| {
        let mut problem = problem(error);
        problem.message = format!("the seed disk can't be made: {}", problem.message);
        problem
    };
    let directory = shared.paths.seeds(environment.id);
    std::fs::create_dir_all(&directory).map_err(|error| failed(&error))?;
    wardian_vault::seed::build(path, files).map_err(|error| failed(&error))
}
