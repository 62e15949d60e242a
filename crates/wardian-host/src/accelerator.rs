//! Which accelerator guests get: what was configured, or what was *proven* by booting a kernel, once per kernel and
//! QEMU.

use std::{path::Path, time::Duration};

use wardian_machine::{self as machine, accelerator};
use wardian_model::{
    Timestamp,
    environment::Problem,
    host::{Accelerator, AcceleratorRecord},
    record::Record,
};
use wardian_store::Transaction;

use crate::{config::HostConfig, records::Records, refusal::problem};

/// How long a proof may take. A kernel that works gets there in well under a second.
const PROOF: Duration = Duration::from_secs(5);

/// The accelerator to use now, and whether that is settled for this run of the daemon.
pub(crate) async fn choose(
    config: &HostConfig,
    records: &Records,
    kernel: Option<&Path>,
) -> Result<(Accelerator, bool), Problem> {
    if let Some(chosen) = config.accelerator {
        return Ok((chosen, true));
    }
    let of = fingerprint(config).await?;
    let host = config.member.as_ref().map(|member| member.name.clone());
    let known = records
        .get::<AcceleratorRecord>(&AcceleratorRecord::key_of(host.as_ref()))
        .await
        .map_err(|error| problem(&error))?;
    if let Some(known) = known.map(|known| known.record).filter(|known| known.of == of) {
        return Ok((known.accelerator, true));
    }
    let proof = accelerator::prove(&config.qemu, machine::Accelerator::Kvm, kernel, None, PROOF).await;
    let accelerator = if proof.usable { Accelerator::Kvm } else { Accelerator::Tcg };
    if !proof.usable {
        tracing::warn!(why = proof.why, "guests run without hardware virtualization, which is slower");
    }
    // Without a kernel to boot nothing is proven; another image may bring one.
    let settled = kernel.is_some() || !Path::new("/dev/kvm").exists();
    if settled {
        let record = AcceleratorRecord { host, accelerator, why: proof.why, of, at: Timestamp::now() };
        let transaction = Transaction::new().put_json(record.key(), &record).map_err(|error| problem(&error))?;
        let _ = records.store().commit(transaction).await.map_err(|error| problem(&error))?;
    }
    Ok((accelerator, settled))
}

/// What a proof holds for: this kernel, this QEMU, this device.
async fn fingerprint(config: &HostConfig) -> Result<String, Problem> {
    let version = machine::version(&config.qemu).await.map_err(|error| problem(&error))?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let device = if Path::new("/dev/kvm").exists() { "with /dev/kvm" } else { "without /dev/kvm" };
    Ok(format!("linux {}, qemu {version}, {device}", kernel.trim()))
}
