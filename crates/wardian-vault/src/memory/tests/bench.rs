//! What the tests of memory files share: a folder on tmpfs with a machine's frozen memory and state.

use crate::memory::format::{EXTENT, Head, body_hasher};
use crate::memory::{MemoryError, MemoryFacts, Saved, load, save};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(super) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir_in("/dev/shm").unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A sparse file with some bytes here and there.
    pub(super) fn sparse(&self, name: &str, length: u64, parts: &[(u64, &[u8])]) -> PathBuf {
        let path = self.path(name);
        let file = File::create(&path).unwrap();
        file.set_len(length).unwrap();
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset).unwrap();
        }
        path
    }

    /// Saves as `memory`.
    pub(super) fn save(&self, ram: &Path, state: &[u8]) -> Result<Saved, MemoryError> {
        let state = self.write("state", state);
        let facts = facts(fs::metadata(ram).unwrap().len());
        save(&facts, ram, &state, &self.path("memory"), |_, _| ())
    }

    /// Saves something small, and gives its bytes and their path.
    pub(super) fn small(&self) -> (Vec<u8>, PathBuf) {
        let ram = self.sparse("ram", 64 << 10, &[(0, b"kernel"), (20_000, b"heap"), (65_535, b"!")]);
        self.save(&ram, b"the state of all devices").unwrap();
        let path = self.path("memory");
        (fs::read(&path).unwrap(), path)
    }

    /// Loads what must be refused, and makes sure that nothing is left of it.
    pub(super) fn refused(&self, path: &Path) -> MemoryError {
        let out = tempfile::tempdir_in("/dev/shm").unwrap();
        let result = load(path, &out.path().join("ram"), &out.path().join("state"));
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
        result.unwrap_err()
    }

    /// What is in the folder, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(self.folder.path()).unwrap().map(name).collect();
        names.sort();
        names
    }
}

pub(super) fn facts(memory_bytes: u64) -> MemoryFacts {
    MemoryFacts {
        qemu: "10.0.2".into(),
        machine_type: "pc-i440fx-8.0".into(),
        accelerator: "tcg".into(),
        cpu_model: "max".into(),
        cpus: 1,
        memory_bytes,
        created: "2026-11-20T16:16:30Z".into(),
        machine: "web".into(),
    }
}

/// A file whose checksums are right, whatever else it says: what somebody who means harm can make.
pub(super) struct Forged {
    pub(super) facts: Vec<u8>,
    pub(super) state: Vec<u8>,
    /// Offset, length, and the bytes that follow.
    pub(super) extents: Vec<(u64, u64, Vec<u8>)>,
    /// What the head says of the extents, when it is not what they are.
    pub(super) count: Option<u64>,
    pub(super) data: Option<u64>,
}

impl Forged {
    pub(super) fn new(extents: Vec<(u64, u64, Vec<u8>)>) -> Self {
        let facts = serde_json::to_vec(&facts(64 << 10)).unwrap();
        Self { facts, state: b"state".to_vec(), extents, count: None, data: None }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut body = self.state.clone();
        for (offset, length, data) in &self.extents {
            body.extend(offset.to_le_bytes());
            body.extend(length.to_le_bytes());
            body.extend(data);
        }
        let count = self.extents.len() as u64;
        let data = (body.len() - self.state.len()) as u64 - count * EXTENT as u64;
        let head = Head {
            facts: self.facts.len(),
            state: self.state.len() as u64,
            extents: self.count.unwrap_or(count),
            data: self.data.unwrap_or(data),
            body: *body_hasher().update(&body).finalize().as_bytes(),
        };
        [&head.encode(&self.facts)[..], &self.facts, &body].concat()
    }
}
