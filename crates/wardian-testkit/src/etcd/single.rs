//! One etcd on a socket in a folder of its own.

use std::path::Path;

use super::process::Process;

/// An etcd of one member with everything it has in a folder. It ends with the handle.
pub struct Etcd {
    process: Process,
    // After the process, which has it open.
    folder: tempfile::TempDir,
}

impl Etcd {
    /// Starts one and waits until it serves.
    ///
    /// # Panics
    /// When it doesn't, with its log.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let folder = folder();
        // A URL of a socket looks like one of a port, and is the name of a file in the working directory.
        let process = Process::new(
            folder.path(),
            None,
            &[
                "--name=one",
                "--listen-client-urls=unix://client:1",
                "--advertise-client-urls=unix://client:1",
                "--listen-peer-urls=unix://peer:1",
                "--initial-advertise-peer-urls=unix://peer:1",
                "--initial-cluster=one=unix://peer:1",
            ],
        );
        let mut etcd = Self { process, folder };
        etcd.start_again();
        etcd
    }

    /// Where it can be reached.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.folder.path().join("client:1").display())
    }

    /// Tells it to stop, and waits.
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it with what it had, and waits until it serves.
    ///
    /// # Panics
    /// When it doesn't, with its log.
    #[track_caller]
    pub fn start_again(&mut self) {
        for socket in ["client:1", "peer:1"] {
            // One that was killed has left them, and then nobody can listen there.
            let _ = std::fs::remove_file(self.folder.path().join(socket));
        }
        self.process.spawn();
        self.process.await_ready();
    }
}

/// A folder in memory where there is one: what is tested is not the disk. With a short path, because sockets live in
/// it.
pub(super) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory } else { Path::new("/tmp") };
    tempfile::Builder::new().prefix("we").tempdir_in(place).expect("a folder for etcd")
}
