//! Proving accelerators on this very host.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{NOBODY, qemu};
use wardian_machine::Accelerator;
use wardian_machine::accelerator::prove;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn kvm_without_a_kernel_to_boot_is_not_proven() {
    let proof = prove(&qemu(), Accelerator::Kvm, None, Some(NOBODY), LIMIT).await;
    assert!(!proof.usable && !proof.why.is_empty(), "{proof:?}");
}

#[tokio::test]
async fn translation_needs_no_kernel_for_its_proof() {
    let proof = prove(&qemu(), Accelerator::Tcg, None, Some(NOBODY), LIMIT).await;
    assert!(proof.usable, "{proof:?}");
}

#[tokio::test]
async fn kernel_that_is_none_proves_nothing() {
    let proof = prove(&qemu(), Accelerator::Tcg, Some(Path::new("/etc/passwd")), None, Duration::from_secs(3)).await;
    assert!(!proof.usable, "{proof:?}");
}

#[tokio::test]
async fn missing_qemu_is_no_proof() {
    let proof = prove(Path::new("/nowhere/qemu"), Accelerator::Tcg, None, None, LIMIT).await;
    assert!(!proof.usable && proof.why.contains("/nowhere/qemu"), "{proof:?}");
}

#[tokio::test]
async fn guest_that_hangs_is_given_up_in_time_and_leaves_no_process() {
    // A QEMU that prints a little and then hangs for ever, as a broken KVM does.
    let directory = tempfile::tempdir().unwrap();
    let (path, mark) = (directory.path().join("qemu"), directory.path().join("pid"));
    let script = format!("#!/bin/sh\necho $$ > '{}'\necho Linux version 6.1\nexec sleep 1000\n", mark.display());
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let kernel = Some(Path::new("/boot/vmlinuz"));
    let proof = prove(&path, Accelerator::Kvm, kernel, None, Duration::from_millis(300)).await;
    assert!(!proof.usable && proof.why.contains("Linux version 6.1"), "{proof:?}");
    assert!(proof.took < Duration::from_secs(5));
    let pid = std::fs::read_to_string(mark).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}
