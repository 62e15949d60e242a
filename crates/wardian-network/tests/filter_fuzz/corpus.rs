//! Frames that are kept, and tried by every run: one file for each device, one frame a line, in hexadecimal, after what
//! it is called.

use std::{fs, io::Write, path::PathBuf};

fn file(device: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", "filter", device].iter().collect()
}

/// All that are kept for a device.
pub(crate) fn kept(device: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(file(device)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| bytes(line.split_whitespace().last().unwrap())).collect()
}

/// Keeps one that was found to be treated wrongly.
pub(crate) fn keep(device: &str, frame: &[u8]) -> PathBuf {
    let (file, line) = (file(device), format!("found {}\n", hexadecimal(frame)));
    if !kept(device).iter().any(|other| other == frame) {
        let open = fs::OpenOptions::new().append(true).create(true).open(&file);
        open.and_then(|mut open| open.write_all(line.as_bytes())).unwrap();
    }
    file
}

fn bytes(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0, "{text}");
    (0..text.len()).step_by(2).map(|n| u8::from_str_radix(&text[n..n + 2], 16).unwrap()).collect()
}

fn hexadecimal(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}
