//! The serial console of a real QEMU: both directions, and a log that stays small.

mod common;

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use common::{PATIENCE, Place, code, ended};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wardian_machine::console::{KEPT, console, console_tail, trim};
use wardian_machine::{Launch, Machine, start};

#[tokio::test]
async fn console_carries_both_directions() {
    let place = Place::new();
    let launch = Launch { disks: vec![place.boot_sector(code::ECHO)], ..place.launch() };
    let machine = start(launch).await.unwrap().machine;
    let talk = async {
        // The firmware drops what arrives before the guest listens, so it is said until it is heard.
        let mut stream = console(machine.directory()).await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"!") {
            stream.write_all(b"!").await.unwrap();
            let mut byte = [0; 256];
            if let Ok(length) = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await {
                heard.extend_from_slice(&byte[..length.unwrap()]);
            }
        }
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap();
    // A client that left makes room for the next one.
    tokio::time::timeout(PATIENCE, async {
        let mut stream = console(machine.directory()).await.unwrap();
        stream.write_all(b"again").await.unwrap();
        let mut heard = String::new();
        while !heard.contains("again") {
            let mut bytes = [0; 64];
            let length = stream.read(&mut bytes).await.unwrap();
            heard.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    })
    .await
    .unwrap();
    // QEMU writes its log after it has told the client, and the firmware's own last characters may come behind.
    let logged = async {
        while !String::from_utf8_lossy(&console_tail(machine.directory(), 64).unwrap()).contains("again") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, logged).await.expect("what was said is in the log");
}

#[tokio::test]
async fn chatty_guest_fills_no_disk_and_needs_no_reader() {
    let place = Place::new();
    let launch = Launch { disks: vec![place.boot_sector(code::PRINT)], ..place.launch() };
    let machine = start(launch).await.unwrap().machine;
    let log = place.runtime().console_log();
    let work = async {
        let mut trims = 0;
        while trims < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            trims += u32::from(trim(machine.directory(), 16 << 10).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap();
    machine.pause().await.unwrap();
    trim(machine.directory(), 16 << 10).unwrap();
    let file = std::fs::metadata(&log).unwrap();
    assert!(file.len() > 32 << 10 && file.blocks() * 512 <= 40 << 10, "{} of {}", file.blocks() * 512, file.len());
    let tail = console_tail(machine.directory(), 52).unwrap();
    assert!(String::from_utf8(tail).unwrap().contains("ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
}

#[tokio::test]
async fn log_outlives_the_machine_and_goes_on_with_the_next() {
    let place = Place::new();
    let launch = || Launch { disks: vec![place.boot_sector(code::POWER_OFF)], ..place.launch() };
    let mut length = 0;
    for _ in 0..2 {
        ended(&start(launch()).await.unwrap().machine).await;
        let text = console_tail(place.runtime().path(), KEPT).unwrap();
        assert!(text.len() > length && String::from_utf8_lossy(&text).contains("SeaBIOS"));
        length = text.len();
    }
    assert!(Machine::adopt(place.runtime().path()).await.unwrap().is_none());
}
