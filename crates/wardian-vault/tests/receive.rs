//! An image goes from one vault to another byte for byte; what is cut short, too long or changed is refused, and
//! nothing of it is left.

mod common;

use common::Bench;
use std::fs::{self, File};
use wardian_vault::{Digest, Image, ImageParts, Part, QemuImg, ReceiveError, Receiving, Source, Vault};

/// A vault with an image that has all parts, and an empty one beside it.
async fn two(bench: &Bench) -> (Vault, Image, Vault) {
    let from = Vault::open(bench.folder.path().join("from")).unwrap();
    let parts = ImageParts {
        kernel: Some(bench.file("vmlinuz", b"kernel")),
        initrd: Some(bench.file("initrd.img", &[7; 3000])),
        command_line: Some("quiet".to_owned()),
    };
    let source = Source { disk: bench.disk("disk", "raw", ""), format: None, parts };
    let image = from.import(&source, |_| ()).await.unwrap().image;
    (from, image, bench.vault())
}

fn content(vault: &Vault, digest: &Digest, part: Part) -> Vec<u8> {
    fs::read(vault.part(digest, part).unwrap().unwrap()).unwrap()
}

fn begin(from: &Vault, to: &Vault, digest: Digest) -> Receiving {
    to.receive(digest, &content(from, &digest, Part::Description)).unwrap()
}

fn nothing_is_left(bench: &Bench, vault: &Vault) {
    assert!(bench.temporary().is_empty() && vault.list().unwrap().is_empty());
}

#[tokio::test]
async fn an_image_arrives_byte_for_byte_and_again_is_no_harm() {
    let bench = Bench::new();
    let (from, image, to) = two(&bench).await;
    for _ in 0..2 {
        let mut receiving = begin(&from, &to, image.digest);
        assert_eq!(receiving.parts(), [Part::Disk, Part::Kernel, Part::Initrd]);
        for part in receiving.parts() {
            let bytes = content(&from, &image.digest, part);
            receiving.write(part, bytes.len() as u64, bytes.as_slice()).await.unwrap();
        }
        let arrived = receiving.finish().await.unwrap();
        assert_eq!((arrived.virtual_size, arrived.disk_size), (image.virtual_size, image.disk_size));
        assert_eq!((arrived.command_line, arrived.format_found), (image.command_line.clone(), image.format_found));
        for part in Part::ALL {
            assert_eq!(content(&from, &image.digest, part), content(&to, &image.digest, part), "{part}");
        }
        assert!(bench.temporary().is_empty());
    }
    assert_eq!(to.list().unwrap(), [image.digest]);
}

#[tokio::test]
async fn one_flipped_bit_in_any_part_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let (from, image, to) = two(&bench).await;
    for flipped in [Part::Disk, Part::Kernel, Part::Initrd] {
        let mut receiving = begin(&from, &to, image.digest);
        for part in receiving.parts() {
            let mut bytes = content(&from, &image.digest, part);
            if part == flipped {
                *bytes.last_mut().unwrap() ^= 1;
            }
            receiving.write(part, bytes.len() as u64, bytes.as_slice()).await.unwrap();
        }
        let error = receiving.finish().await.unwrap_err();
        assert!(matches!(error, ReceiveError::Different { digest, .. } if digest == image.digest), "{error}");
        nothing_is_left(&bench, &to);
    }
}

#[tokio::test]
async fn what_a_description_says_falsely_is_found_out_or_not_believed() {
    let bench = Bench::new();
    let (from, image, to) = two(&bench).await;
    let mut told: serde_json::Value =
        serde_json::from_slice(&content(&from, &image.digest, Part::Description)).unwrap();
    told["virtual-size"] = 1.into();
    told["disk-size"] = 1.into();
    for (line, right) in [("quiet", true), ("init=/bin/sh", false)] {
        told["command-line"] = line.into();
        let mut receiving = to.receive(image.digest, told.to_string().as_bytes()).unwrap();
        for part in receiving.parts() {
            let bytes = content(&from, &image.digest, part);
            receiving.write(part, bytes.len() as u64, bytes.as_slice()).await.unwrap();
        }
        match receiving.finish().await {
            Ok(arrived) => assert!(right && arrived.virtual_size == image.virtual_size),
            Err(error) => assert!(!right && matches!(error, ReceiveError::Different { .. }), "{error}"),
        }
        to.remove(&image.digest).unwrap();
    }
    let error = to.receive(image.digest, b"{}").unwrap_err();
    assert!(matches!(error, ReceiveError::Description { .. }), "{error}");
    nothing_is_left(&bench, &to);
}

#[tokio::test]
async fn too_few_and_too_many_bytes_and_a_missing_file_are_refused() {
    let bench = Bench::new();
    let (from, image, to) = two(&bench).await;
    let bytes = content(&from, &image.digest, Part::Kernel);
    for size in [0, bytes.len() - 1, bytes.len() + 1] {
        let mut receiving = begin(&from, &to, image.digest);
        let error = receiving.write(Part::Kernel, size as u64, bytes.as_slice()).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Length { part: Part::Kernel, .. }), "{error}");
    }
    let error = begin(&from, &to, image.digest).finish().await.unwrap_err();
    assert!(matches!(error, ReceiveError::Vault(_)), "{error}");
    nothing_is_left(&bench, &to);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_it_comes() {
    let bench = Bench::new();
    let (from, image, to) = two(&bench).await;
    drop(to);
    let to = Vault::open_with(bench.folder.path().join("vault"), QemuImg::default(), u64::MAX / 2).unwrap();
    let disk = File::open(&image.disk).unwrap();
    let mut receiving = begin(&from, &to, image.digest);
    let error = receiving.write(Part::Disk, image.disk_size, tokio::fs::File::from_std(disk)).await.unwrap_err();
    assert!(matches!(error, ReceiveError::NoSpace { .. }), "{error}");
    drop(receiving);
    nothing_is_left(&bench, &to);
}
