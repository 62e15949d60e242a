//! A guest that counts, in memory and on its disk, and its hand-over to a successor and a clone: the steps in the order
//! a host does them.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;
use wardian_machine::directory::next;
use wardian_machine::memory::{copy_private_pages, copy_sparse, freeze};
use wardian_machine::{Disk, DiskFormat, Launch, Machine, Memory, StateError, start, succession};

use super::micro::{diskless, exec, micro, ready};
use super::{NOBODY, Place};

/// Counts every 20 ms: all values in memory (tmpfs), the last one on the disk.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >>/run/counted; echo $i >/counter; sync; sleep 0.02; done";

/// One machine with its memory files, and whatever came after it.
pub struct Live {
    pub place: Place,
    memory: tempfile::TempDir,
}

/// How long each step took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steps {
    pub pause: Duration,
    pub copy: Duration,
    pub copied: u64,
    pub save: Duration,
    pub load: Duration,
    pub exchange: Duration,
    pub resume: Duration,
    pub all: Duration,
}

/// Who is there after a hand-over.
pub struct Handed {
    pub successor: Machine,
    pub clone: Machine,
    pub steps: Steps,
}

impl Live {
    pub fn new() -> Self {
        let memory = tempfile::Builder::new().prefix("wm").tempdir_in("/dev/shm").unwrap();
        std::fs::set_permissions(memory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Live { place: Place::new(), memory }
    }

    /// The memory file of generation `number`.
    pub fn memory(&self, number: u32) -> PathBuf {
        self.memory.path().join(format!("memory-{number}"))
    }

    pub fn state(&self, number: u32) -> PathBuf {
        self.memory.path().join(format!("state-{number}"))
    }

    pub fn run(&self) -> PathBuf {
        self.place.runtime().path().to_owned()
    }

    /// Starts the first machine and its counting.
    pub async fn begin(&self) -> Machine {
        let memory = Memory::Shared { path: self.memory(1) };
        let machine =
            start(Launch { memory, generation_id: generation(0), ..micro(&self.place).await }).await.unwrap().machine;
        ready(&machine).await;
        let script = format!("({COUNT}) >/dev/null 2>&1 &");
        assert!(machine.agent().exec(&exec(&["sh", "-c", &script])).await.unwrap().success());
        while counted(&machine).await.len() < 5 {}
        machine
    }

    /// A new top layer on the disk `below`.
    pub fn layer(&self, below: &Path, name: &str) -> PathBuf {
        let path = self.place.path().join(format!("{name}.qcow2"));
        let info = std::process::Command::new("qemu-img").args(["info", "-U", "--output=json"]).arg(below).output();
        let info: serde_json::Value = serde_json::from_slice(&info.unwrap().stdout).unwrap();
        let size = info["virtual-size"].to_string();
        let mut make = std::process::Command::new("qemu-img");
        make.args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b"]).args([below, &path]).arg(size);
        assert!(make.status().unwrap().success());
        chown(&path, Some(NOBODY.uid), Some(NOBODY.gid)).unwrap();
        path
    }

    /// A machine that waits for the state of generation `number`.
    pub async fn waiting(&self, number: u32, directory: PathBuf, disk: PathBuf, generation: Uuid) -> Machine {
        let disk = Disk { path: disk, format: DiskFormat::Qcow2, serial: "root".to_owned(), read_only: false };
        let launch = Launch {
            directory,
            disks: vec![disk],
            memory: Memory::Frozen { path: self.memory(number) },
            generation_id: generation,
            incoming: true,
            ..diskless(&self.place)
        };
        start(launch).await.unwrap().machine
    }

    /// What is done before the barrier, while the machine runs: the memory file, the layers, the two processes.
    pub async fn prepare(&self, number: u32, below: &Path) -> (Machine, Machine) {
        if number == 1 {
            freeze(&self.memory(1)).unwrap();
        } else {
            copy_sparse(&self.memory(number - 1), &self.memory(number)).unwrap();
        }
        let layers = (self.layer(below, &format!("next-{number}")), self.layer(below, &format!("clone-{number}")));
        let directory = succession::prepare(&self.run()).unwrap();
        let clone = self.place.path().join(format!("clone-{number}"));
        tokio::join!(
            self.waiting(number, directory, layers.0, generation(0)),
            self.waiting(number, clone, layers.1, generation(number)),
        )
    }

    /// The barrier up to the commit; the machine is paused when it fails.
    pub async fn barrier(
        &self,
        number: u32,
        source: &Machine,
        into: [&Machine; 2],
        steps: &mut Steps,
    ) -> Result<(), StateError> {
        assert!(source.settle_agent(super::PATIENCE).await, "a call of the agent does not end");
        let mut begun = Instant::now();
        let mut lap = || std::mem::replace(&mut begun, Instant::now()).elapsed();
        source.pause().await.unwrap();
        steps.pause = lap();
        if number > 1 {
            steps.copied = copy_private_pages(source, &self.memory(number)).unwrap().copied;
        }
        steps.copy = lap();
        source.save_state(&self.state(number)).await?;
        steps.save = lap();
        into[0].load_state(&self.state(number)).await?;
        steps.load = lap();
        Ok(())
    }

    /// The whole hand-over of generation `number`, and the end of the source.
    pub async fn hand_over(&self, number: u32, source: Machine, below: &Path) -> Handed {
        let (successor, clone) = self.prepare(number, below).await;
        if number > 1 {
            copy_private_pages(&source, &self.memory(number)).unwrap();
        }
        let mut steps = Steps::default();
        let begun = Instant::now();
        self.barrier(number, &source, [&successor, &clone], &mut steps).await.unwrap();
        let exchanging = Instant::now();
        succession::exchange(&self.run()).unwrap();
        steps.exchange = exchanging.elapsed();
        let resuming = Instant::now();
        successor.resume().await.unwrap();
        steps.resume = resuming.elapsed();
        steps.all = begun.elapsed();
        clone.load_state(&self.state(number)).await.unwrap();
        clone.resume().await.unwrap();
        succession::end_other(&self.run()).await.unwrap();
        super::ended(&source).await;
        assert!(!next(&self.run()).exists());
        drop(successor);
        let successor = Machine::adopt(&self.run()).await.unwrap().expect("the successor is in its place");
        source.hand_over_agent(&successor);
        Handed { successor, clone, steps }
    }
}

/// The generation of clone `number`; 0 is the first machine's and its successors'. Nothing that stands in memory by
/// chance.
pub fn generation(number: u32) -> Uuid {
    Uuid::from_u128(0x9b1d_5c3e_77aa_4f10_8d2e_a1b2_c3d4_0000 + u128::from(number))
}

/// Everything the guest counted.
pub async fn counted(machine: &Machine) -> Vec<u64> {
    let text = output(machine, "cat /run/counted").await;
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until the guest has counted `more` further values.
pub async fn goes_on(machine: &Machine, more: usize) {
    let (before, begun) = (counted(machine).await.len(), Instant::now());
    while counted(machine).await.len() < before + more {
        assert!(begun.elapsed() < super::PATIENCE, "the guest does not count any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a shell script in the guest prints.
pub async fn output(machine: &Machine, script: &str) -> String {
    let output = machine.agent().exec(&exec(&["sh", "-c", script])).await.unwrap();
    assert!(output.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether nothing was lost and nothing counted twice.
pub fn is_unbroken(values: &[u64]) -> bool {
    values.first() == Some(&1) && values.windows(2).all(|pair| pair[1] == pair[0] + 1)
}
