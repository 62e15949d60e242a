//! Overlays are made once and found again, and those on the same layer do not see each other.

mod common;

use common::{Bench, qemu_img};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wardian_vault::{Digest, OverlayError, QemuImg, Source, Vault, VaultError, info, overlay_on};

async fn with_image(bench: &Bench) -> (Vault, Digest) {
    let vault = bench.vault();
    let image = vault.import(&Source::disk(bench.disk("disk", "raw", "")), |_| ()).await.unwrap().image;
    (vault, image.digest)
}

fn content(bench: &Bench, disk: &Path) -> Vec<u8> {
    let back = bench.folder.path().join("back");
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", disk.to_str().unwrap(), back.to_str().unwrap()]);
    fs::read(back).unwrap()
}

/// Writes one byte 64 kB times at an offset, as a guest would.
fn write(disk: &Path, byte: u8, offset: u64) {
    let command = format!("write -q -P {byte} {offset} 64k");
    let output = std::process::Command::new("qemu-io").args(["-f", "qcow2", "-c", &command]).arg(disk).output();
    let output = output.expect("qemu-io must be installed (package qemu-utils)");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn machine(bench: &Bench, name: &str) -> PathBuf {
    bench.folder.path().join(name)
}

#[tokio::test]
async fn an_overlay_has_the_image_s_content_and_is_made_once() {
    let bench = Bench::new();
    let (vault, digest) = with_image(&bench).await;
    let disk = machine(&bench, "web.qcow2");
    vault.overlay(&digest, &disk, None).await.unwrap();
    let found = info(&disk).unwrap();
    assert_eq!(found.chain, [vault.image(&digest).unwrap().disk]);
    assert_eq!(found.virtual_size, 3 << 20);
    assert!(found.allocated < 1 << 20);
    assert_eq!(content(&bench, &disk), bench.content);
    write(&disk, 7, 0);
    vault.overlay(&digest, &disk, None).await.unwrap();
    assert_eq!(content(&bench, &disk)[0], 7, "an overlay that is there keeps what the guest wrote");
}

#[tokio::test]
async fn sizes_grow_but_never_shrink() {
    let bench = Bench::new();
    let (vault, digest) = with_image(&bench).await;
    let disk = machine(&bench, "web.qcow2");
    let error = vault.overlay(&digest, &disk, Some(1 << 20)).await.unwrap_err();
    assert!(matches!(error, OverlayError::SmallerThanBase { .. }));
    assert!(error.to_string().contains("1.0 MiB") && error.hint().contains("3.0 MiB"));
    assert!(!disk.exists());
    vault.overlay(&digest, &disk, Some(1 << 30)).await.unwrap();
    assert_eq!(info(&disk).unwrap().virtual_size, 1 << 30);
    assert!(matches!(vault.overlay(&digest, &disk, None).await, Err(OverlayError::Different { .. })));
}

#[tokio::test]
async fn what_is_not_the_wanted_overlay_is_left_alone() {
    let bench = Bench::new();
    let (vault, digest) = with_image(&bench).await;
    let other = bench.disk("other", "qcow2", "");
    assert!(matches!(vault.overlay(&digest, &other, None).await, Err(OverlayError::Different { .. })));
    let text = bench.file("text", b"hello");
    assert!(matches!(vault.overlay(&digest, &text, None).await, Err(OverlayError::Header { .. })));
    assert_eq!(fs::read(text).unwrap(), b"hello");
    vault.remove(&digest).unwrap();
    let error = vault.overlay(&digest, &machine(&bench, "x"), None).await.unwrap_err();
    assert!(matches!(error, OverlayError::Vault(VaultError::NoImage { .. })));
}

#[tokio::test]
async fn half_finished_work_is_overwritten() {
    let bench = Bench::new();
    let (vault, digest) = with_image(&bench).await;
    bench.file(".web.qcow2.new", b"cut short");
    vault.overlay(&digest, &machine(&bench, "web.qcow2"), None).await.unwrap();
    assert!(!machine(&bench, ".web.qcow2.new").exists());
}

#[tokio::test]
async fn a_frozen_overlay_is_shared_by_copies_that_do_not_see_each_other() {
    let bench = Bench::new();
    let (vault, digest) = with_image(&bench).await;
    let tool = QemuImg::default();
    let (source, frozen, clone) =
        (machine(&bench, "a.qcow2"), machine(&bench, "frozen.qcow2"), machine(&bench, "b.qcow2"));
    vault.overlay(&digest, &source, None).await.unwrap();
    write(&source, 7, 0);
    fs::rename(&source, &frozen).unwrap();
    fs::set_permissions(&frozen, fs::Permissions::from_mode(0o444)).unwrap();
    for overlay in [&source, &clone] {
        overlay_on(&tool, &frozen, overlay, None).await.unwrap();
    }
    write(&source, 8, 1 << 20);
    write(&clone, 9, 1 << 20);
    let (a, b) = (content(&bench, &source), content(&bench, &clone));
    assert_eq!((a[0], b[0]), (7, 7));
    assert_eq!((a[1 << 20], b[1 << 20]), (8, 9));
    assert_eq!(info(&clone).unwrap().chain, [frozen, vault.image(&digest).unwrap().disk]);
}

#[test]
fn a_circle_of_backing_files_ends_in_an_error() {
    let bench = Bench::new();
    let (disk, other) = (machine(&bench, "circle"), machine(&bench, "other"));
    for (path, base) in [(&disk, &other), (&other, &disk)] {
        let (path, base) = (path.to_str().unwrap(), base.to_str().unwrap());
        qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base, path, "1M"]);
    }
    assert!(matches!(info(&disk), Err(OverlayError::EndlessChain { .. })));
}
