//! `up`: a new environment from a file.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use wardian_model::{
    Timestamp,
    claim::{ClaimRecord, Claimed, Owner},
    cluster::PartRecord,
    cut::CutRecord,
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Origin, Stretch},
    id::{EnvironmentId, OperationId, SnapshotId},
    identity::InsideIdentity,
    image::ImageRecord,
    machine::{AgentState, Disk, MachinePhase, MachineRecord},
    name::{EnvironmentName, HostName, MachineName},
    operation::{OperationKind, OperationRecord, OperationState},
    record::Record,
    spec::{Acl, EnvironmentSpec},
};
use wardian_plan::allocate::{self, Allocation, Exhausted, Taken};
use wardian_store::{Outcome, Transaction};

use crate::{Host, Refusal, RefusalKind, fault, memory, refusal::problem};

/// What a new environment starts from.
#[derive(Clone)]
pub(super) struct Origins {
    pub(super) origin: Origin,
    pub(super) inside: IndexMap<MachineName, InsideIdentity>,
    /// The digest of each machine's image.
    pub(super) images: IndexMap<MachineName, String>,
    pub(super) kind: OperationKind,
    /// Records to be written with the environment.
    pub(super) cut: Option<CutRecord>,
    /// Keys that must be there when it is made: an image removed in between would be missed.
    pub(super) needs: BTreeSet<String>,
    pub(super) desired: Desired,
    /// Whether its machines go on from memory that they share with others.
    pub(super) from_memory: bool,
    /// The snapshot its state comes from.
    pub(super) snapshot: Option<SnapshotId>,
    /// The machines that are on other hosts than this one.
    pub(super) elsewhere: IndexMap<MachineName, HostName>,
    pub(super) extras: Extras,
}

/// What a user may say about any new environment.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    /// Whose it is.
    pub owner: Option<String>,
    /// When it shall be removed by itself.
    pub expires: Option<Timestamp>,
}

impl Host {
    /// Makes an environment and starts it, or leaves it `stopped`.
    ///
    /// # Errors
    /// When the name is taken, an image is missing, or a pool is exhausted. Nothing is changed then.
    pub async fn create(
        &self,
        spec: EnvironmentSpec,
        stopped: bool,
        extras: Extras,
    ) -> Result<OperationRecord, Refusal> {
        let (mut images, mut needs) = (IndexMap::new(), BTreeSet::new());
        for (name, machine) in &spec.machines {
            let image = self.shared.records.image(&machine.image).await?.ok_or_else(|| {
                Refusal::invalid(format!("there is no image {}, which {name} wants", machine.image))
                    .hint("`wardian image ls` lists the images; `wardian image import` adds one")
            })?;
            needs.insert(image.record.key());
            images.insert(name.clone(), image.record.digest);
        }
        let elsewhere = self.elsewhere(&spec).await?;
        let inside = allocate::inside(&spec, || uuid::Uuid::new_v4().to_string()).map_err(exhausted)?;
        let desired = if stopped { Desired::Stopped } else { Desired::Running };
        let origins = Origins {
            origin: Origin::File,
            inside,
            images,
            kind: OperationKind::Up,
            cut: None,
            needs,
            desired,
            from_memory: false,
            snapshot: None,
            elsewhere,
            extras,
        };
        self.create_from(spec, &origins).await
    }

    /// Allocates the outside and writes everything in one transaction; again when somebody was faster.
    pub(super) async fn create_from(
        &self,
        spec: EnvironmentSpec,
        origins: &Origins,
    ) -> Result<OperationRecord, Refusal> {
        loop {
            if self.shared.records.environment(&spec.name).await?.is_some() {
                return Err(taken(&spec.name));
            }
            for key in &origins.needs {
                if self.shared.records.store().get(key).await?.is_none() {
                    let what = if key.starts_with(ImageRecord::PREFIX) { "an image" } else { "the snapshot" };
                    return Err(Refusal::conflict(format!("{what} that {} needs was removed just now", spec.name)));
                }
            }
            if origins.desired == Desired::Running {
                memory::fits(&spec, |name| !origins.elsewhere.contains_key(name), origins.from_memory)?;
            }
            let allocation = self.allocate(&spec, origins).await?;
            let environment = environment(&spec, origins, allocation, self.shared.host());
            let operation = OperationRecord {
                id: environment.operation.unwrap_or_else(OperationId::random),
                kind: origins.kind,
                environment: environment.name.clone(),
                environment_id: environment.id,
                created: environment.created,
                steps: Vec::new(),
                state: OperationState::Running,
            };
            let mut transaction = transaction(&environment, &operation, origins)?;
            if let Some(cut) = &origins.cut {
                // The first clone brings the cut, the others share it; should it be used up already, they bring it
                // anew.
                transaction = match self.shared.records.cut(cut.id).await? {
                    Some(_) => transaction.present(cut.key()),
                    None => transaction.absent(cut.key()).put_json(cut.key(), cut)?,
                };
            }
            match self.shared.records.store().commit(transaction).await? {
                Outcome::Committed(_) => {
                    fault::point("create: recorded");
                    return Ok(operation);
                }
                // The name or one of the claims was taken in between, or an image was removed. Look again.
                Outcome::Conflict { .. } => {}
            }
        }
    }

    async fn allocate(&self, spec: &EnvironmentSpec, origins: &Origins) -> Result<Allocation, Refusal> {
        let claims = self.shared.records.list::<ClaimRecord>(ClaimRecord::PREFIX).await?;
        let taken: Taken = claims.into_iter().map(|claim| claim.of).collect();
        let pools = self.shared.config.pools();
        let mut allocation =
            allocate::outside(origins.inside.clone(), &spec.isolation, &pools, &taken).map_err(exhausted)?;
        self.give_providers(spec, &origins.elsewhere, &mut allocation.identities, &taken).await?;
        Ok(allocation)
    }
}

pub(super) fn exhausted(error: Exhausted) -> Refusal {
    let hint = match &error {
        Exhausted::Edges => "remove environments that are no longer needed (`wardian ls`)",
        Exhausted::Addresses { .. } => {
            "remove environments that are no longer needed (`wardian ls`), or configure a larger lab prefix"
        }
        Exhausted::Ports { .. } => "choose a port with `at`, or remove environments that are no longer needed",
        Exhausted::PortTaken { .. } => "choose another port, or none to get a free one",
        Exhausted::Subnet { .. } => "choose a larger subnet",
        Exhausted::NoSuchMachine { .. } => "name a machine of the environment",
    };
    let kind = match &error {
        Exhausted::Edges | Exhausted::Addresses { .. } | Exhausted::Ports { .. } => RefusalKind::Unavailable,
        Exhausted::PortTaken { .. } => RefusalKind::Conflict,
        Exhausted::Subnet { .. } | Exhausted::NoSuchMachine { .. } => RefusalKind::Invalid,
    };
    Refusal::new(kind, problem(&error).hint(hint))
}

pub(super) fn taken(name: &EnvironmentName) -> Refusal {
    Refusal::conflict(format!("there is already an environment {name}"))
        .hint(format!("choose another name with --name, or remove it first: wardian rm {name}"))
}

fn environment(
    spec: &EnvironmentSpec,
    origins: &Origins,
    allocation: Allocation,
    host: Option<HostName>,
) -> EnvironmentRecord {
    EnvironmentRecord {
        id: EnvironmentId::random(),
        name: spec.name.clone(),
        created: Timestamp::now(),
        spec: spec.clone(),
        origin: origins.origin.clone(),
        host,
        stretch: (!origins.elsewhere.is_empty()).then(|| Stretch { elsewhere: origins.elsewhere.clone() }),
        edge: allocation.edge,
        identities: allocation.identities,
        fence: spec.isolation.fence,
        gateway: spec.isolation.gateway.clone(),
        acl: Acl::of(spec),
        // Nor is a clone of one that is: it would overlap it.
        joined: Vec::new(),
        exposed: allocation.exposed,
        // Who is on its way is written down when it is.
        out: BTreeMap::new(),
        desired: origins.desired,
        // Nothing was asked to run yet, where it is only made.
        run: u32::from(origins.desired == Desired::Running),
        restore: None,
        snapshot: origins.snapshot,
        expires: origins.extras.expires,
        owner: origins.extras.owner.clone(),
        phase: EnvironmentPhase::Pending,
        operation: Some(OperationId::random()),
    }
}

fn transaction(
    environment: &EnvironmentRecord,
    operation: &OperationRecord,
    origins: &Origins,
) -> Result<Transaction, Refusal> {
    let mut transaction = Transaction::new()
        .absent(environment.key())
        .put_json(environment.key(), environment)?
        .put_json(operation.key(), operation)?;
    for key in &origins.needs {
        transaction = transaction.present(key);
    }
    for claim in environment.claims() {
        transaction = transaction.absent(claim.key()).put_json(claim.key(), &claim_of(environment, claim))?;
    }
    for host in origins.elsewhere.values().collect::<BTreeSet<_>>() {
        let part = PartRecord { environment_id: environment.id, host: host.clone() };
        transaction = transaction.put_json(part.key(), &part)?;
    }
    for (name, image) in &origins.images {
        let machine = MachineRecord {
            environment: environment.name.clone(),
            environment_id: environment.id,
            name: name.clone(),
            disk: Disk { image: image.clone(), layers: Vec::new() },
            generation: uuid::Uuid::new_v4().to_string(),
            run: 0,
            memory: None,
            resume: None,
            saved: false,
            restored: 0,
            phase: MachinePhase::Stopped { why: None },
            agent: AgentState::Unknown,
            second: None,
        };
        transaction = transaction.put_json(machine.key(), &machine)?;
    }
    Ok(transaction)
}

pub(super) fn claim_of(environment: &EnvironmentRecord, of: Claimed) -> ClaimRecord {
    ClaimRecord { of, owner: Owner::Environment(environment.id) }
}
