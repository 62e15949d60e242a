//! Starting a machine: network interface, disk, seed, process.

use wardian_machine::{
    Accelerator, Disk, DiskFormat, Interface, KernelBoot, Launch, Limits, MACHINE_TYPE, Machine, User, start,
};
use wardian_model::{
    Timestamp,
    environment::Problem,
    host,
    machine::{AgentState, MachinePhase},
};
use wardian_plan::network::{NetworkPlan, machine_uid};

use super::{Task, stop::process_of};
use crate::{disks, fault, refusal::problem, seed};

impl Task {
    /// Starts the machine, or takes the one that runs.
    pub(super) async fn start(self) -> Option<Machine> {
        if let Some(machine) = self.handle.clone().filter(|m| m.exit().is_none()) {
            self.go_on(&machine).await;
            return Some(machine);
        }
        match self.launch().await {
            Ok(machine) => {
                fault::point("start: process runs");
                self.booting(&machine, true).await;
                fault::point("start: recorded");
                self.say("started").await;
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
        self.update(|record| {
            record.run = run;
            if new {
                record.agent = AgentState::Unknown;
            }
            record.phase = MachinePhase::Booting { process, since };
        })
        .await;
    }

    async fn launch(&self) -> Result<Machine, Problem> {
        let network = self.network.as_ref().ok_or_else(|| Problem::new("the network is not there"))?;
        let launch = self.prepare(network).await?;
        fault::point("start: prepared");
        let started = start(launch).await.map_err(|error| {
            let mut problem = problem(&error);
            problem.message = format!("{} can't be started: {}", self.name, problem.message);
            problem
        })?;
        for reason in &started.unenforced {
            tracing::warn!(environment = %self.environment.name, machine = %self.name, reason, "a limit is not enforced");
        }
        Ok(started.machine)
    }

    async fn prepare(&self, network: &NetworkPlan) -> Result<Launch, Problem> {
        let missing = || Problem::new(format!("the record of {} is incomplete", self.name));
        let spec = self.environment.spec.machines.get(&self.name).ok_or_else(missing)?;
        let identity = self.environment.identities.get(&self.name).ok_or_else(missing)?;
        let uid = machine_uid(identity.slot);
        let image = self.shared.image(&self.record.disk.image)?;
        let kernel = image.kernel.map(|kernel| KernelBoot {
            kernel,
            initrd: image.initrd,
            command_line: image.command_line.unwrap_or_default(),
        });
        let (disk, seed, accelerator) = tokio::join!(
            self.ensure_disk(uid),
            seed::ensure(&self.shared, &self.environment, &self.name, spec, identity),
            self.shared.accelerator(kernel.as_ref().map(|k| k.kernel.as_path())),
        );
        let tap = self.shared.network.open_tap(network, &self.name).await.map_err(|error| problem(&error))?;
        Ok(Launch {
            name: format!("{}/{}", self.environment.name, self.name),
            directory: self.shared.paths.machine(identity.slot),
            qemu: self.shared.config.qemu.clone(),
            machine_type: MACHINE_TYPE.to_owned(),
            accelerator: match accelerator? {
                host::Accelerator::Kvm => Accelerator::Kvm,
                host::Accelerator::Tcg => Accelerator::Tcg,
            },
            cpu_model: None,
            cpus: u32::from(spec.cpus),
            memory_bytes: spec.memory.as_bytes(),
            disks: vec![Disk { path: disk?, format: DiskFormat::Qcow2, serial: "root".to_owned(), read_only: false }],
            seed: seed?,
            kernel,
            interfaces: vec![Interface { mac: identity.inside.mac.bytes(), tap, mtu: Some(network.bridge.mtu) }],
            uuid: parse(&identity.inside.uuid)?,
            generation_id: parse(&self.record.generation)?,
            user: Some(User { uid, gid: uid }),
            cgroup: Some(disks::group(&self.environment, &self.name)),
            limits: Limits { cpu_percent: spec.limits.cpu_percent, ..Limits::default() },
            paused: false,
        })
    }
}

fn parse(uuid: &str) -> Result<uuid::Uuid, Problem> {
    uuid.parse().map_err(|_| Problem::new(format!("{uuid:?} in the records is not a UUID")))
}
