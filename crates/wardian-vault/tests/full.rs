//! A file system that becomes full while an image is imported: a typed reason, and nothing left. On a small tmpfs of
//! its own, in a mount namespace that ends with the test; needs root.

mod common;

use common::Bench;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use wardian_vault::{ImportError, QemuImg, Source, Vault, space};

// One thread: the namespace belongs to it, and to what it starts.
#[tokio::test(flavor = "current_thread")]
async fn a_disk_that_becomes_full_is_named_and_nothing_is_kept() {
    let bench = Bench::new();
    let folder = bench.folder.path().join("vault");
    fs::create_dir(&folder).unwrap();
    unshare(CloneFlags::CLONE_NEWNS).expect("this test must run as root");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("size=2m")).unwrap();

    // The honest sum refuses beforehand.
    let source = Source::disk(bench.disk("disk", "raw", ""));
    let vault = Vault::open_with(&folder, QemuImg::default(), 0).unwrap();
    let error = vault.import(&source, |_| ()).await.unwrap_err();
    assert!(matches!(error, ImportError::NoSpace { .. }), "{error:?}");
    drop(vault);

    // Somebody else fills it in the meantime: the same as measuring too little.
    let script =
        "#!/bin/sh\nif [ \"$1\" = measure ]; then echo '{ \"required\": 4096 }'; else exec qemu-img \"$@\"; fi\n";
    let tool = bench.file("qemu-img", script.as_bytes());
    fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
    let vault = Vault::open_with(&folder, QemuImg::new(tool, Default::default()), 0).unwrap();
    let error = vault.import(&source, |_| ()).await.unwrap_err();
    assert!(matches!(error, ImportError::DiskFull { .. }), "{error:?}");
    assert!(error.hint().contains("free some space"));
    assert!(bench.temporary().is_empty() && vault.list().unwrap().is_empty());
    assert!(space(&folder).unwrap().available > 1 << 20);
}
