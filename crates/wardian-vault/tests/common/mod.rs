//! What the tests of the vault share: a folder with a vault, and source disks made by the real `qemu-img`.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(missing_docs, unreachable_pub, reason = "a test's own module")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use wardian_vault::Vault;

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub content: Vec<u8>,
}

impl Bench {
    pub fn new() -> Self {
        // Neither zero nor compressible: every cluster must be stored.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut content = Vec::with_capacity(3 << 20);
        while content.len() < 3 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend(state.to_le_bytes());
        }
        Self { folder: tempfile::tempdir().unwrap(), content }
    }

    pub fn vault(&self) -> Vault {
        Vault::open(self.folder.path().join("vault")).unwrap()
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A disk with the content, in a format.
    pub fn disk(&self, name: &str, driver: &str, options: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let raw = self.file("content", &self.content);
        let mut words = vec!["convert", "-f", "raw", "-O", driver];
        if !options.is_empty() {
            words.extend(["-o", options]);
        }
        words.extend([raw.to_str().unwrap(), path.to_str().unwrap()]);
        qemu_img(&words);
        path
    }

    /// What is in the vault's folder for unfinished work.
    pub fn temporary(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.folder.path().join("vault/tmp")).unwrap();
        folder.map(|entry| entry.unwrap().path()).collect()
    }
}

pub fn qemu_img(words: &[&str]) {
    let output =
        Command::new("qemu-img").args(words).output().expect("qemu-img must be installed (package qemu-utils)");
    assert!(output.status.success(), "qemu-img {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited for too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}
