//! Images go in by every format, are refused for every reason, and a killed import leaves nothing. With the real
//! `qemu-img`.

mod common;

use common::{Bench, qemu_img};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use wardian_vault::{Format, ImageParts, ImportError, QemuImg, Source, Vault, VaultError};

#[tokio::test]
async fn every_format_is_imported_with_its_content() {
    let bench = Bench::new();
    let vault = bench.vault();
    for (format, driver, options) in [
        (Format::Raw, "raw", ""),
        (Format::Qcow2, "qcow2", ""),
        (Format::Qcow2, "qcow2", "compat=0.10"),
        (Format::Vmdk, "vmdk", ""),
        (Format::Vmdk, "vmdk", "subformat=streamOptimized"),
        (Format::Vmdk, "vmdk", "subformat=twoGbMaxExtentSparse"),
        (Format::Vmdk, "vmdk", "subformat=monolithicFlat"),
        (Format::Vhdx, "vhdx", ""),
        (Format::Vhd, "vpc", ""),
        (Format::Vhd, "vpc", "subformat=fixed"),
    ] {
        let path = bench.disk(&format!("{driver}-{}", options.replace('=', "-")), driver, options);
        let imported = vault
            .import(&Source::disk(&path), |_| ())
            .await
            .unwrap_or_else(|error| panic!("{driver} {options}: {error}"));
        assert_eq!(imported.format_found, format, "{driver} {options}");
        // vpc rounds up to its geometry.
        assert!(imported.image.virtual_size >= bench.content.len() as u64);
        let back = bench.folder.path().join("back.raw");
        qemu_img(&[
            "convert",
            "-f",
            "qcow2",
            "-O",
            "raw",
            imported.image.disk.to_str().unwrap(),
            back.to_str().unwrap(),
        ]);
        assert!(fs::read(&back).unwrap().starts_with(&bench.content), "{driver} {options}");
        assert_eq!(fs::metadata(&imported.image.disk).unwrap().permissions().mode() & 0o777, 0o444);
    }
}

#[tokio::test]
async fn the_same_content_is_stored_once() {
    let bench = Bench::new();
    let vault = bench.vault();
    let first = vault.import(&Source::disk(bench.disk("a", "raw", "")), |_| ()).await.unwrap();
    let again = vault.import(&Source::disk(bench.disk("b", "raw", "")), |_| ()).await.unwrap();
    assert!(!first.already_there && again.already_there);
    assert_eq!(first.image.digest, again.image.digest);
    assert_eq!(vault.list().unwrap(), [first.image.digest]);
    assert!(bench.temporary().is_empty());
}

#[tokio::test]
async fn parts_belong_to_the_identity_and_come_back() {
    let bench = Bench::new();
    let vault = bench.vault();
    let (kernel, initrd) = (bench.file("vmlinuz", b"kernel"), bench.file("initrd.img", b"initrd"));
    let description = bench.file(
        "image.json",
        br#"{ "name": "x", "disk": "a.raw", "kernel": "vmlinuz", "initrd": "initrd.img", "command-line": "quiet" }"#,
    );
    fs::rename(bench.disk("a", "raw", ""), bench.folder.path().join("a.raw")).unwrap();
    let source = Source::from_path(bench.folder.path()).unwrap();
    assert_eq!(source, Source::from_path(&description).unwrap());
    assert_eq!(source.parts.kernel, Some(kernel));
    assert_eq!(source.parts.initrd, Some(initrd));
    let booted = vault.import(&source, |_| ()).await.unwrap().image;
    assert_eq!(fs::read(booted.kernel.as_ref().unwrap()).unwrap(), b"kernel");
    assert_eq!(fs::read(booted.initrd.as_ref().unwrap()).unwrap(), b"initrd");
    assert_eq!(booted.command_line.as_deref(), Some("quiet"));
    let bare = vault.import(&Source::disk(&source.disk), |_| ()).await.unwrap().image;
    assert_ne!(bare.digest, booted.digest);
    drop(vault);
    let vault = bench.vault();
    assert_eq!(vault.image(&booted.digest).unwrap(), booted);
    vault.remove(&bare.digest).unwrap();
    vault.remove(&bare.digest).unwrap();
    assert!(matches!(vault.image(&bare.digest), Err(VaultError::NoImage { .. })));
    assert_eq!(vault.list().unwrap(), [booted.digest]);
}

#[tokio::test]
async fn progress_ends_at_hundred() {
    let bench = Bench::new();
    let seen = std::sync::Mutex::new(Vec::new());
    bench
        .vault()
        .import(&Source::disk(bench.disk("a", "raw", "")), |progress| seen.lock().unwrap().push(progress))
        .await
        .unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.iter().any(|progress| progress.step == wardian_vault::Step::Converting && progress.percent > 99.0));
    assert_eq!(seen.last().map(|progress| progress.step), Some(wardian_vault::Step::Finishing));
}

#[test]
fn an_import_given_up_while_it_is_hashed_never_comes_into_the_vault() {
    let bench = Bench::new();
    let vault = bench.vault();
    let source = Source::disk(bench.disk("a", "raw", ""));
    // One thread, and somebody in it: what is handed to it begins when the test lets it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let before = tokio::task::spawn_blocking(move || wait.recv().unwrap());
        let hashing = tokio::sync::Notify::new();
        let progress = |progress: wardian_vault::Progress| {
            if progress.step == wardian_vault::Step::Hashing {
                hashing.notify_one();
            }
        };
        tokio::select! {
            biased;
            imported = vault.import(&source, progress) => panic!("{imported:?}"),
            () = hashing.notified() => {}
        }
        assert_eq!(bench.temporary().len(), 1);
        go.send(()).unwrap();
        before.await.unwrap();
        // The thread has come to the end of what it was given before.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    });
    assert!(vault.list().unwrap().is_empty());
    assert!(bench.temporary().is_empty());
    let again = runtime.block_on(vault.import(&source, |_| ())).unwrap();
    assert!(!again.already_there);
}

macro_rules! refused {
    ($bench:expr, $source:expr, $pattern:pat) => {{
        let error = $bench.vault().import(&$source, |_| ()).await.unwrap_err();
        assert!(matches!(error, $pattern), "{error:?}");
        assert!(!error.hint().is_empty() && !error.to_string().is_empty());
        assert!($bench.vault().list().unwrap().is_empty());
        assert!($bench.temporary().is_empty());
        error
    }};
}

#[tokio::test]
async fn what_is_not_a_file_is_refused() {
    let bench = Bench::new();
    refused!(bench, Source::disk("/nonexistent/disk"), ImportError::Missing { .. });
    refused!(bench, Source::disk(bench.folder.path()), ImportError::NotAFile { .. });
    refused!(bench, Source::disk("/dev/null"), ImportError::NotAFile { .. });
    refused!(bench, Source::disk(bench.file("empty", b"")), ImportError::ZeroSize { .. });
    let zero = bench.folder.path().join("zero.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", zero.to_str().unwrap(), "0"]);
    refused!(bench, Source::disk(zero), ImportError::ZeroSize { .. });
}

#[tokio::test]
async fn what_is_not_a_disk_is_refused() {
    let bench = Bench::new();
    refused!(bench, Source::disk(bench.file("text", b"hello")), ImportError::UnknownFormat { .. });
    let mut archive = vec![0; 4096];
    archive[..2].copy_from_slice(b"\x1f\x8b");
    let error = refused!(bench, Source::disk(bench.file("gz", &archive)), ImportError::UnknownFormat { .. });
    assert!(error.hint().contains("unpack"));
    let said = Source { format: Some(Format::Vmdk), ..Source::disk(bench.disk("a", "qcow2", "")) };
    refused!(bench, said, ImportError::UnknownFormat { .. });
}

#[tokio::test]
async fn images_cut_short_are_refused() {
    let bench = Bench::new();
    for (driver, options) in
        [("qcow2", ""), ("vmdk", ""), ("vhdx", ""), ("vpc", ""), ("vmdk", "subformat=monolithicFlat")]
    {
        let path = bench.disk(&format!("cut-{driver}"), driver, options);
        let mut cut = path.clone();
        if options.contains("Flat") {
            cut = bench.folder.path().join("cut-vmdk-flat");
        }
        File::options().write(true).open(&cut).unwrap().set_len(1 << 20).unwrap();
        refused!(bench, Source::disk(path), ImportError::Corrupt { .. });
    }
}

#[tokio::test]
async fn damaged_tables_are_refused() {
    let bench = Bench::new();
    let path = bench.disk("a", "qcow2", "");
    let file = File::options().write(true).open(&path).unwrap();
    // The refcount table, right behind the header cluster.
    file.write_all_at(&[0xaa; 512], 0x20000).unwrap();
    refused!(bench, Source::disk(&path), ImportError::Corrupt { .. });
    file.write_all_at(&[0xff; 8], 40).unwrap();
    refused!(bench, Source::disk(&path), ImportError::Corrupt { .. });
}

#[tokio::test]
async fn backing_files_are_refused_wherever_they_point() {
    let bench = Bench::new();
    let base = bench.disk("base", "raw", "");
    for (name, backing) in [("near", base.to_str().unwrap()), ("far", "/etc/passwd"), ("net", "nbd://127.0.0.1:1/x")] {
        let path = bench.folder.path().join(name);
        qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing, path.to_str().unwrap(), "1M"]);
        let error = refused!(bench, Source::disk(path), ImportError::BackingFile { .. });
        assert!(error.to_string().contains(backing));
    }
}

#[tokio::test]
async fn external_data_and_encryption_are_refused() {
    let bench = Bench::new();
    let data = bench.folder.path().join("data");
    let path = bench.folder.path().join("outer");
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        &format!("data_file={}", data.display()),
        path.to_str().unwrap(),
        "1M",
    ]);
    refused!(bench, Source::disk(path), ImportError::ExternalData { .. });

    let path = bench.folder.path().join("luks");
    let secret = "secret,id=k,data=word";
    let options = "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10";
    qemu_img(&["create", "-q", "--object", secret, "-f", "qcow2", "-o", options, path.to_str().unwrap(), "1M"]);
    refused!(bench, Source::disk(path), ImportError::Encrypted { .. });
}

#[tokio::test]
async fn vmdk_extents_must_lie_beside_their_descriptor() {
    let bench = Bench::new();
    let text = |extent: &str| {
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\nRW 1 FLAT \"{extent}\" 0\n"
        )
    };
    for extent in ["/etc/passwd", "../secret", "nbd:localhost:1", "sub/x"] {
        let path = bench.file("evil.vmdk", text(extent).as_bytes());
        refused!(bench, Source::disk(path), ImportError::OutsideExtent { .. });
    }
    let path = bench.file("evil.vmdk", text("link").as_bytes());
    std::os::unix::fs::symlink("/etc/passwd", bench.folder.path().join("link")).unwrap();
    refused!(bench, Source::disk(&path), ImportError::OutsideExtent { .. });
    let path = bench.file("gone.vmdk", text("gone").as_bytes());
    refused!(bench, Source::disk(path), ImportError::Missing { .. });
    let child = text("x").replace("parentCID=ffffffff", "parentCID=00000007");
    refused!(bench, Source::disk(bench.file("child.vmdk", child.as_bytes())), ImportError::BackingFile { .. });
}

#[tokio::test]
async fn a_raw_disk_stays_raw_whatever_is_written_into_it() {
    let bench = Bench::new();
    // What a guest could do to its raw disk: a qcow2 header that names a backing file.
    let mut bytes = vec![0; 1 << 20];
    let bait = bench.folder.path().join("bait");
    qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", bait.to_str().unwrap(), "1M"]);
    bytes[..512].copy_from_slice(&fs::read(&bait).unwrap()[..512]);
    let path = bench.file("raw", &bytes);
    refused!(bench, Source::disk(&path), ImportError::BackingFile { .. });
    let source = Source { format: Some(Format::Raw), ..Source::disk(path) };
    let image = bench.vault().import(&source, |_| ()).await.unwrap().image;
    assert_eq!((image.format_found, image.virtual_size), (Format::Raw, 1 << 20));
    assert!(wardian_vault::info(&image.disk).unwrap().chain.is_empty());
}

#[tokio::test]
async fn an_image_that_does_not_fit_is_refused_with_the_sum() {
    let bench = Bench::new();
    let vault = Vault::open_with(bench.folder.path().join("vault"), QemuImg::default(), 1 << 60).unwrap();
    let error = vault.import(&Source::disk(bench.disk("a", "raw", "")), |_| ()).await.unwrap_err();
    assert!(matches!(error, ImportError::NoSpace { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("it needs 3.") && text.contains("1024.0 PiB must stay free") && text.contains("available"),
        "{text}"
    );
}

#[tokio::test]
async fn boot_parts_without_sense_are_refused() {
    let bench = Bench::new();
    let disk = bench.disk("a", "raw", "");
    let kernel = Some(bench.file("k", b"kernel"));
    let with = |parts| Source { parts, ..Source::disk(&disk) };
    let line = |text: String| with(ImageParts { kernel: kernel.clone(), command_line: Some(text), initrd: None });
    refused!(
        bench,
        with(ImageParts { command_line: Some("quiet".into()), ..Default::default() }),
        ImportError::NoKernel
    );
    refused!(bench, line("two\nlines".into()), ImportError::CommandLine { .. });
    refused!(bench, line("x".repeat(2048)), ImportError::CommandLine { .. });
    refused!(
        bench,
        with(ImageParts { kernel: Some("/nonexistent".into()), ..Default::default() }),
        ImportError::Missing { .. }
    );
}

#[test]
fn a_vault_has_one_owner() {
    let bench = Bench::new();
    let vault = bench.vault();
    assert!(matches!(Vault::open(vault.folder()), Err(VaultError::InUse { .. })));
    drop(vault);
    bench.vault();
}

/// Not a test of its own: the process that the next test starts and kills.
#[tokio::test]
async fn child_that_imports() {
    let Some(folder) = std::env::var_os("VAULT_CHILD") else { return };
    let folder = Path::new(&folder);
    let tool = QemuImg::new(folder.join("qemu-img"), Default::default());
    let vault = Vault::open_with(folder.join("vault"), tool, 0).unwrap();
    vault.import(&Source::disk(folder.join("disk")), |_| ()).await.unwrap();
}

#[test]
fn an_import_killed_at_any_verb_leaves_nothing() {
    for verb in ["info", "check", "measure", "convert"] {
        let bench = Bench::new();
        bench.disk("disk", "qcow2", "");
        let reached = bench.folder.path().join("reached");
        // Does the real work, says so, and then hangs.
        let script = format!(
            "#!/bin/sh\nqemu-img \"$@\" || exit\nif [ \"$1\" = {verb} ]; then echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600; fi\n",
            reached.display()
        );
        let path = bench.file("qemu-img", script.as_bytes());
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_imports"])
            .env("VAULT_CHILD", bench.folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        common::until(|| reached.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let tool = fs::read_to_string(&reached).unwrap();
        let gone = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", tool.trim())).unwrap_or_default();
            // A zombie waits for a parent that may be slow to look; it runs no more.
            stat.is_empty() || stat.contains(") Z ")
        };
        common::until(gone);
        assert_eq!(verb == "convert", !bench.temporary().is_empty(), "{verb}");
        let vault = bench.vault();
        assert!(bench.temporary().is_empty(), "{verb}");
        assert!(vault.list().unwrap().is_empty(), "{verb}");
    }
}
