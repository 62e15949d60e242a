//! Images: importing, listing, removing.

use std::{collections::BTreeSet, path::PathBuf};

use tokio::sync::mpsc;
use wardian_model::{
    Timestamp,
    cut::{CutPhase, CutRecord},
    image::ImageRecord,
    machine::MachineRecord,
    name::ImageName,
    record::Record,
    size::ByteSize,
};
use wardian_store::{Outcome, Transaction};
use wardian_vault::{Digest, ImageParts, Progress, Source, Vault};

use crate::{Host, Refusal, RefusalKind, records::Records, refusal::problem};

/// A disk to import. Paths are absolute, on this host.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// The name it gets.
    pub name: ImageName,
    /// The disk, in any format `qemu-img` reads; or an image description beside its parts.
    pub path: PathBuf,
    /// A kernel that boots it.
    pub kernel: Option<PathBuf>,
    /// An initial RAM disk, beside a kernel.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: Option<String>,
}

impl Host {
    /// All images, by name.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn images(&self) -> Result<Vec<ImageRecord>, Refusal> {
        Ok(self.shared.records.list::<ImageRecord>(ImageRecord::PREFIX).await?)
    }

    /// Refuses a name that is taken, before anything is read.
    ///
    /// # Errors
    /// When it is taken.
    pub async fn check_image_name(&self, name: &ImageName) -> Result<(), Refusal> {
        match self.shared.records.image(name).await? {
            None => Ok(()),
            Some(_) => Err(name_taken(name)),
        }
    }

    /// Imports an image; tells how far it is through `progress`.
    ///
    /// # Errors
    /// When the name is taken, or the disk is refused. Nothing is left behind then.
    pub async fn import_image(
        &self,
        request: ImportRequest,
        progress: mpsc::Sender<Progress>,
    ) -> Result<ImageRecord, Refusal> {
        self.check_image_name(&request.name).await?;
        let source = source(&request)?;
        // A slow listener loses steps, not the import its time.
        let tell = move |step: Progress| {
            let _ = progress.try_send(step);
        };
        let imported = self.shared.vault.import(&source, tell).await.map_err(|error| {
            let hint = error.hint();
            let mut problem = problem(&error);
            problem.message = format!("image {} is not imported: {}", request.name, problem.message);
            Refusal::new(RefusalKind::Invalid, problem.hint(hint))
        })?;
        let image = imported.image;
        let record = ImageRecord {
            name: request.name.clone(),
            digest: image.digest.to_string(),
            virtual_size: ByteSize::bytes(image.virtual_size),
            disk_size: ByteSize::bytes(image.disk_size),
            format: image.format_found.to_string(),
            kernel: image.kernel.is_some(),
            imported: Timestamp::now(),
        };
        let transaction = Transaction::new().absent(record.key()).put_json(record.key(), &record)?;
        match self.shared.records.store().commit(transaction).await? {
            Outcome::Committed(_) => Ok(record),
            Outcome::Conflict { .. } => Err(name_taken(&request.name)),
        }
    }

    /// Removes an image's name, and its disk when no other name has it.
    ///
    /// # Errors
    /// When there is none of that name, or a machine's disk lies on it.
    pub async fn remove_image(&self, name: &ImageName) -> Result<(), Refusal> {
        let _alone = self.shared.collecting.lock().await;
        let found = self.shared.records.image(name).await?.ok_or_else(|| {
            Refusal::not_found(format!("there is no image {name}")).hint("`wardian image ls` lists the images")
        })?;
        let digest = &found.record.digest;
        let store = self.shared.records.store();
        // First the name goes, so that nobody can come to need it; then it is seen whether somebody does.
        let forget = Transaction::new().unchanged(found.record.key(), found.revision).delete(found.record.key());
        let _ = store.commit(forget).await?;
        let machines = self.shared.records.list::<MachineRecord>(MachineRecord::PREFIX).await?;
        let cuts = self.shared.records.list::<CutRecord>(CutRecord::PREFIX).await?;
        let of_cuts = cuts.iter().filter(|cut| match &cut.phase {
            CutPhase::Done { disks, .. } => disks.values().any(|disk| disk.image == *digest),
            CutPhase::Wanted | CutPhase::Failed { .. } => false,
        });
        let other_names = self.images().await?.iter().any(|image| image.name != *name && image.digest == *digest);
        let users: Vec<_> = machines
            .iter()
            .filter(|machine| machine.disk.image == *digest)
            .map(|machine| format!("{}/{}", machine.environment, machine.name))
            .chain(of_cuts.map(|cut| format!("a snapshot of {}", cut.source)))
            .collect();
        if !users.is_empty() && !other_names {
            let restore = Transaction::new().absent(found.record.key()).put_json(found.record.key(), &found.record)?;
            let _ = store.commit(restore).await?;
            return Err(Refusal::conflict(format!("the image {name} is in use by {}", users.join(", ")))
                .hint("remove these environments first"));
        }
        if !other_names {
            let digest: Digest =
                digest.parse().map_err(|error| Refusal::new(RefusalKind::Internal, problem(&error)))?;
            self.shared.vault.remove(&digest).map_err(|error| {
                let hint = error.hint();
                Refusal::new(RefusalKind::Internal, problem(&error).hint(hint))
            })?;
        }
        Ok(())
    }
}

/// Removes content that no record names: what an import or a removal that was cut off has left. For the daemon's start,
/// when neither can be under way.
pub(crate) async fn sweep(records: &Records, vault: &Vault) -> wardian_store::Result<()> {
    let images = records.list::<ImageRecord>(ImageRecord::PREFIX).await?.into_iter().map(|image| image.digest);
    let machines = records.list::<MachineRecord>(MachineRecord::PREFIX).await?.into_iter().map(|m| m.disk.image);
    let cuts = records.list::<CutRecord>(CutRecord::PREFIX).await?.into_iter().flat_map(|cut| match cut.phase {
        CutPhase::Done { disks, .. } => disks.into_values().map(|disk| disk.image).collect(),
        CutPhase::Wanted | CutPhase::Failed { .. } => Vec::new(),
    });
    let needed: BTreeSet<String> = images.chain(machines).chain(cuts).collect();
    let present = vault.list().unwrap_or_else(|error| {
        tracing::warn!(error = %problem(&error), "images can't be listed");
        Vec::new()
    });
    for digest in present.into_iter().filter(|digest| !needed.contains(&digest.to_string())) {
        match vault.remove(&digest) {
            Ok(()) => tracing::info!(%digest, "removed an image without a name"),
            Err(error) => tracing::warn!(%digest, error = %problem(&error), "an image without a name is not removed"),
        }
    }
    Ok(())
}

fn name_taken(name: &ImageName) -> Refusal {
    Refusal::conflict(format!("there is already an image {name}"))
        .hint(format!("choose another name, or remove it first: wardian image rm {name}"))
}

/// A description names its parts itself; otherwise they are named beside the disk.
fn source(request: &ImportRequest) -> Result<Source, Refusal> {
    let parts = ImageParts {
        kernel: request.kernel.clone(),
        initrd: request.initrd.clone(),
        command_line: request.command_line.clone(),
    };
    let described = Source::from_path(&request.path).map_err(|error| {
        let hint = error.hint();
        Refusal::new(RefusalKind::Invalid, problem(&error).hint(hint))
    })?;
    let named = parts.kernel.is_some() || parts.initrd.is_some() || parts.command_line.is_some();
    Ok(if named { Source { parts, ..described } } else { described })
}
