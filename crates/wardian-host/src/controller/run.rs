//! Starting a machine: network interface, disk, seed, process; from its memory where there is some to go on from.

use std::{os::fd::OwnedFd, path::PathBuf};

use wardian_machine::{
    Accelerator, Disk, DiskFormat, Interface, KernelBoot, Launch, Limits, MACHINE_TYPE, Machine, Memory, User, start,
};
use wardian_model::{
    Timestamp,
    environment::{EnvironmentRecord, Problem},
    host,
    id::MemoryId,
    machine::{AgentState, MachinePhase, MachineRecord},
    memory::FrozenMemory,
    name::MachineName,
};
use wardian_plan::network::{NetworkPlan, machine_uid};

use super::{Task, hygiene, second, stop::process_of};
use crate::{disks, fault, memories, refusal::problem, seed, shared::Shared};

/// Where a process of a machine stands, and on what.
pub(super) struct Place {
    /// Its runtime directory.
    pub(super) directory: PathBuf,
    /// One for each interface, in their order.
    pub(super) taps: Vec<OwnedFd>,
    /// Its writable layer.
    pub(super) disk: PathBuf,
    pub(super) memory: Memory,
    /// Whether it waits for a state to go on from.
    pub(super) incoming: bool,
}

impl Task {
    /// Starts the machine, or takes the one that runs.
    pub(super) async fn start(mut self) -> Option<Machine> {
        if let Some(machine) = self.handle.clone().filter(Machine::lives) {
            self.go_on(&machine).await;
            if self.record.resume.is_some() {
                // It went on from memory, and the daemon that let it ended before it saw to this.
                hygiene::begin(&self, &machine);
            }
            return Some(machine);
        }
        match self.launch().await {
            Ok(machine) => {
                fault::point("start: process runs");
                if let Some(slot) = self.slot.take() {
                    slot.keep_while_booting(machine.clone());
                }
                self.booting(&machine, true).await;
                fault::point("start: recorded");
                match &self.record.resume {
                    Some(_) => hygiene::begin(&self, &machine),
                    None => self.say("started").await,
                }
                if self.record.saved {
                    // On disk there is nothing to go on from any more.
                    self.shared.collector.memory();
                }
                Some(machine)
            }
            Err(problem) => {
                self.fail(problem).await;
                None
            }
        }
    }

    /// A machine that runs already: started by a daemon that ended before it wrote so, or paused for a full disk.
    async fn go_on(&self, machine: &Machine) {
        if let Err(error) = machine.resume().await {
            self.fail(problem(&error)).await;
            return;
        }
        self.booting(machine, false).await;
    }

    /// Whose process is `new` has an agent nobody has heard of yet; for one that goes on, what is known stays so.
    async fn booting(&self, machine: &Machine, new: bool) {
        let (process, since, run) = (process_of(machine), Timestamp::now(), self.environment.run);
        let memory = memories::of_process(&self.shared.paths, machine.pid()).map(|(id, _)| id);
        self.update(|record| {
            record.run = run;
            record.memory = memory;
            record.resume = None;
            record.saved = false;
            if new {
                record.agent = AgentState::Unknown;
            }
            record.phase = MachinePhase::Booting { process, since };
        })
        .await;
    }

    async fn launch(&self) -> Result<Machine, Problem> {
        let network = self.network.as_ref().ok_or_else(|| Problem::new("the network is not there"))?;
        if self.record.saved {
            // Before it is brought to hand: what nobody needs there is deleted.
            self.update(|record| record.saved = false).await;
        }
        let frozen = match &self.record.resume {
            Some(memory) => Some((memory, memories::at_hand(&self.shared, memory.id).await?)),
            None => None,
        };
        self.second_begins().await;
        let launch = self.prepare(network, frozen.as_ref().map(|(_, (ram, _))| ram.clone())).await?;
        fault::point("start: prepared");
        let started = start(launch).await.map_err(|error| {
            let mut problem = problem(&error);
            problem.message = format!("{} can't be started: {}", self.name, problem.message);
            problem
        })?;
        for reason in &started.unenforced {
            tracing::warn!(environment = %self.environment.name, machine = %self.name, reason, "a limit is not enforced");
        }
        if let Some((memory, (_, state))) = frozen {
            self.go_on_from(&started.machine, memory, &state).await?;
        }
        Ok(started.machine)
    }

    /// Loads the state and lets the machine go; one that can't is ended.
    async fn go_on_from(
        &self,
        machine: &Machine,
        memory: &FrozenMemory,
        state: &std::path::Path,
    ) -> Result<(), Problem> {
        let gone_on = async {
            machine.load_state(state).await.map_err(|error| problem(&error))?;
            if self.environment.has_second_interface(&self.name) {
                // The guest still has another instance's addresses there.
                machine.set_link(second::INTERFACE, false).await.map_err(|error| problem(&error))?;
            }
            fault::point("start: state loaded");
            // Written down before it goes: from then on its disk is newer than that memory.
            self.booting(machine, true).await;
            machine.resume().await.map_err(|error| problem(&error))
        };
        let Err(mut problem) = gone_on.await else { return Ok(()) };
        let _ = machine.kill();
        machine.wait_exit().await;
        // It has not run.
        self.update(|record| record.resume = Some(memory.clone())).await;
        problem.message = format!("{} can't go on from its memory: {}", self.name, problem.message);
        tracing::warn!(memory = %memory.id, %problem, "memory not usable");
        let name = &self.environment.name;
        Err(problem.hint(format!(
            "boot from the disk instead: `wardian down {name}` gives the memory up, then `wardian start {name}`"
        )))
    }

    async fn prepare(&self, network: &NetworkPlan, frozen: Option<PathBuf>) -> Result<Launch, Problem> {
        let identity = self.environment.identities.get(&self.name).ok_or_else(|| incomplete(&self.name))?;
        let disk = self.ensure_disk(machine_uid(identity.slot)).await?;
        let taps = self.shared.network.open_taps(network, &self.name).await.map_err(|error| problem(&error))?;
        let incoming = frozen.is_some();
        let memory = match frozen {
            Some(path) => Memory::Frozen { path },
            None => {
                // Written down before the file is there, so that a file no record names is garbage.
                let id = MemoryId::random();
                self.update(|record| record.memory = Some(id)).await;
                Memory::Shared { path: self.shared.paths.ram(id) }
            }
        };
        let place = Place { directory: self.shared.paths.machine(identity.slot), taps, disk, memory, incoming };
        launch(&self.shared, &self.environment, &self.name, &self.record, network, place).await
    }
}

fn incomplete(name: &MachineName) -> Problem {
    Problem::new(format!("the record of {name} is incomplete"))
}

/// What a process of a machine is started with: the same for the first, and for each that goes on from it.
pub(super) async fn launch(
    shared: &Shared,
    environment: &EnvironmentRecord,
    name: &MachineName,
    record: &MachineRecord,
    network: &NetworkPlan,
    place: Place,
) -> Result<Launch, Problem> {
    let spec = environment.spec.machines.get(name).ok_or_else(|| incomplete(name))?;
    let identity = environment.identities.get(name).ok_or_else(|| incomplete(name))?;
    let uid = machine_uid(identity.slot);
    let image = shared.image(&record.disk.image)?;
    let kernel = image.kernel.map(|kernel| KernelBoot {
        kernel,
        initrd: image.initrd,
        command_line: image.command_line.unwrap_or_default(),
    });
    let (seed, accelerator) = tokio::join!(
        seed::ensure(shared, environment, name, spec, identity),
        shared.accelerator(kernel.as_ref().map(|k| k.kernel.as_path())),
    );
    let disk = Disk { path: place.disk, format: DiskFormat::Qcow2, serial: "root".to_owned(), read_only: false };
    Ok(Launch {
        name: format!("{}/{name}", environment.name),
        directory: place.directory,
        qemu: shared.config.qemu.clone(),
        machine_type: MACHINE_TYPE.to_owned(),
        accelerator: match accelerator? {
            host::Accelerator::Kvm => Accelerator::Kvm,
            host::Accelerator::Tcg => Accelerator::Tcg,
        },
        cpu_model: None,
        cpus: u32::from(spec.cpus),
        memory_bytes: spec.memory.as_bytes(),
        memory: place.memory,
        incoming: place.incoming,
        disks: vec![disk],
        seed: seed?,
        kernel,
        interfaces: [identity.inside.mac, identity.outside.mac]
            .into_iter()
            .zip(place.taps)
            .map(|(mac, tap)| Interface { mac: mac.bytes(), tap, mtu: Some(network.bridge.mtu) })
            .collect(),
        uuid: parse(&identity.inside.uuid)?,
        generation_id: parse(&record.generation)?,
        user: Some(User { uid, gid: uid }),
        cgroup: Some(disks::group(environment, name)),
        limits: Limits { cpu_percent: spec.limits.cpu_percent, ..Limits::default() },
        paused: false,
    })
}

fn parse(uuid: &str) -> Result<uuid::Uuid, Problem> {
    uuid.parse().map_err(|_| Problem::new(format!("{uuid:?} in the records is not a UUID")))
}
