//! Images: disks of every format come in, broken ones don't, used ones stay, and an import that was cut off leaves
//! nothing.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use wardian_testkit::{TestHost, micro, wait};

#[track_caller]
fn qemu_img(arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed");
    assert!(output.status.success(), "qemu-img {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A copy of the micro disk in a format of `qemu-img`.
fn converted(host: &TestHost, format: &str, suffix: &str) -> PathBuf {
    let path = host.folder().join(format!("disk.{suffix}"));
    qemu_img(&["convert", "-O", format, &text(&micro().join("disk.qcow2")), &text(&path)]);
    path
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The words that import a disk which boots by the micro kernel.
fn import(name: &str, disk: &Path) -> Vec<String> {
    let description = fs::read_to_string(micro().join("image.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    let [kernel, initrd] = ["kernel", "initrd"].map(|part| text(&micro().join(description[part].as_str().unwrap())));
    let line = description["command-line"].as_str().unwrap();
    let words =
        ["image", "import", name, &text(disk), "--kernel", &kernel, "--initrd", &initrd, "--command-line", line];
    words.map(str::to_owned).to_vec()
}

fn words(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

#[test]
fn story_disks_of_every_format_are_imported_and_boot() {
    let host = TestHost::new(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    let formats = [("qcow2", "qcow2"), ("raw", "raw"), ("vmdk", "vmdk"), ("vhdx", "vhdx"), ("vpc", "vhd")];
    for (format, name) in formats {
        let disk = converted(&host, format, name);
        host.wardian(&words(&import(name, &disk))).ok();
        fs::remove_file(disk).unwrap();
    }
    let images = host.wardian(&["image", "ls", "--json"]).json();
    let images = images["images"].as_array().unwrap();
    assert_eq!(images.len(), formats.len());
    for image in images {
        assert_eq!(image["kernel"], true);
        assert!(image["virtual-size-bytes"].as_u64().unwrap() >= 512 << 20, "{image}");
    }
    let table = host.wardian(&["image", "ls"]).ok();
    assert!(table.contains("vmdk") && table.contains("vhdx"), "{table}");

    // The same content is kept once, whatever it was wrapped in; a name more is not a disk more.
    let kept = fs::read_dir(host.state().join("vault/images")).unwrap().count();
    println!("{kept} disks for {} images", formats.len());
    assert!(kept <= formats.len());

    let file = "name: e\nmachines:\n  a: { image: vmdk, memory: 96 MiB }\n  b: { image: vhd, memory: 96 MiB }\n";
    host.up(file).ok();
    for machine in ["a", "b"] {
        assert_eq!(host.script(&format!("e/{machine}"), "echo data > /root/data; sync; cat /root/data"), "data");
    }
    let table = host.wardian(&["image", "rm", "vhdx", "raw", "qcow2"]).ok();
    assert_eq!(table, "");
    host.script("e/a", "cat /usr/lib/wardian/agent > /dev/null");
    host.wardian(&["rm", "e"]).ok();
    host.wardian(&["image", "rm", "vmdk", "vhd"]).ok();
    wait::until("unneeded layers are deleted", wait::SOON, || (host.inventory().count(".qcow2") == 0).then_some(()));
    host.inventory().adds_nothing_to(&before);
}

#[test]
fn story_broken_disks_and_images_in_use_are_refused() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    let refused = |name: &str, disk: &Path, parts: &[&str]| {
        let said = host.wardian(&["image", "import", name, &text(disk)]).fails_with(1);
        assert!(said.contains("error: ") && said.contains("hint: "), "{said}");
        for part in parts {
            assert!(said.contains(part), "no {part:?} in:\n{said}");
        }
        host.inventory().adds_nothing_to(&before);
    };

    let corrupt = converted(&host, "qcow2", "corrupt.qcow2");
    // The first table of clusters points to nowhere.
    let mut bytes = fs::read(&corrupt).unwrap();
    let table = usize::try_from(u64::from_be_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    bytes[table..table + 8].copy_from_slice(&0x8000_ffff_ffff_0000_u64.to_be_bytes());
    fs::write(&corrupt, &bytes).unwrap();
    refused("broken", &corrupt, &["corrupt"]);

    let truncated = converted(&host, "qcow2", "truncated.qcow2");
    let length = fs::metadata(&truncated).unwrap().len();
    File::options().write(true).open(&truncated).unwrap().set_len(length / 2).unwrap();
    refused("short", &truncated, &["truncated.qcow2"]);

    let overlay = host.folder().join("overlay.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", "-u", &text(&overlay), "64M"]);
    refused("outside", &overlay, &["backing file", "/etc/shadow"]);

    refused("missing", &host.folder().join("nothing.qcow2"), &["nothing.qcow2 does not exist"]);
    let junk = host.write("junk.qcow2", "this is no disk");
    refused("junk", &junk, &["junk.qcow2"]);
    let empty = host.write("empty.raw", "");
    refused("empty", &empty, &["is empty"]);
    refused("micro", &junk, &["there is already an image micro"]);

    // In use, by a running and by a stopped machine.
    host.up("name: e\nmachines: { m: { image: micro, memory: 96 MiB } }\n").ok();
    for _ in 0..2 {
        let said = host.wardian(&["image", "rm", "micro"]).fails_with(1);
        assert!(said.contains("error: the image micro is in use by e/m\nhint: "), "{said}");
        host.wardian(&["down", "e"]).ok();
    }
    host.wardian(&["start", "e"]).ok();
    host.wardian(&["rm", "e"]).ok();
    host.wardian(&["image", "rm", "micro"]).ok();
    let said = host.wardian(&["image", "rm", "micro"]).fails_with(1);
    assert!(said.contains("error: there is no image micro\nhint: `wardian image ls`"), "{said}");
}

/// Imports a disk that takes a while, and does something in the middle of it.
fn interrupted(host: &mut TestHost, disk: &Path, interrupt: impl FnOnce(&mut TestHost, wardian_testkit::Begun)) {
    let begun = host.begin(&["image", "import", "big", &text(disk)]);
    let scratch = host.state().join("vault/tmp");
    wait::until("the import is under way", wait::SOON, || {
        let mut entries = fs::read_dir(&scratch).unwrap().flatten();
        entries.next().is_some().then_some(())
    });
    interrupt(host, begun);
}

#[test]
fn story_an_import_that_is_cut_off_leaves_nothing() {
    let mut host = TestHost::new(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    // Content that neither compresses nor is skipped.
    let disk = host.folder().join("big.raw");
    let to = format!("of={}", disk.display());
    let made = Command::new("dd").args(["if=/dev/urandom", "bs=1M", "count=600", "status=none", &to]).status();
    assert!(made.is_ok_and(|status| status.success()));

    // The daemon is killed: the next one removes what is there.
    interrupted(&mut host, &disk, |host, begun| {
        host.kill_daemon();
        assert!(!begun.end(wait::SOON).success());
        host.start_daemon(&[]);
    });
    wait::until("the rest is removed", wait::SOON, || {
        (fs::read_dir(host.state().join("vault/tmp")).unwrap().count() == 0).then_some(())
    });
    host.inventory().adds_nothing_to(&before);

    // Who asked goes away: the import is given up. What was finished meanwhile has no name, and goes at the next start.
    interrupted(&mut host, &disk, |_, begun| drop(begun));
    wait::until("the rest is removed", wait::SOON, || {
        (fs::read_dir(host.state().join("vault/tmp")).unwrap().count() == 0).then_some(())
    });
    host.kill_daemon();
    host.start_daemon(&[]);
    host.inventory().adds_nothing_to(&before);
    assert_eq!(host.wardian(&["image", "ls", "--json"]).json()["images"], serde_json::json!([]));

    // And in peace it succeeds, and outlasts a restart.
    host.wardian(&["image", "import", "big", &text(&disk)]).ok();
    host.kill_daemon();
    host.start_daemon(&[]);
    assert_eq!(host.inventory().count("disk.qcow2"), 1);

    // Content that nobody has named, as a kill between the last two steps of an import leaves it.
    let images = host.state().join("vault/images");
    let named = fs::read_dir(&images).unwrap().flatten().next().unwrap().path();
    let nameless = images.join("f".repeat(64));
    let copied = Command::new("cp").args(["-r", &text(&named), &text(&nameless)]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    host.kill_daemon();
    host.start_daemon(&[]);
    assert!(named.exists() && !nameless.exists());
}
