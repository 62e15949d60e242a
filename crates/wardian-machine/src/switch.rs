//! Moving a running machine's writes to a new file: what was written before stays in the old one, below it.

use std::path::Path;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::qmp::QmpError;

impl Machine {
    /// From now on disk `index` (0 is `vda`) writes to the qcow2 file `overlay`, made beforehand on top of the present
    /// one, which QEMU opens read-only in the same step. The machine may run or be paused; between several machines
    /// only pausing gives one moment. Fine when it writes there already.
    ///
    /// QMP: `blockdev-snapshot-sync` with `mode: existing`.
    ///
    /// # Errors
    /// When QEMU refuses or does not answer; the disk is then as before, unless the answer was only late.
    pub async fn switch_disk(&self, index: usize, overlay: &Path) -> Result<(), QmpError> {
        let blocks = self.qmp().execute("query-block", None).await?;
        let missing = || QmpError::Answer { command: "query-block".to_owned(), member: "node-name" };
        let inserted = inserted(&blocks, index).ok_or_else(missing)?;
        if inserted.get("file").and_then(Value::as_str).map(Path::new) == Some(overlay) {
            return Ok(());
        }
        let node = inserted.get("node-name").and_then(Value::as_str).ok_or_else(missing)?;
        let stem = overlay.file_stem().and_then(|stem| stem.to_str()).unwrap_or("overlay");
        // A node's name has 31 characters at most and starts with a letter.
        let name: String = format!("l{stem}").chars().filter(char::is_ascii_alphanumeric).take(31).collect();
        let arguments = json!({
            "node-name": node,
            "snapshot-file": overlay,
            "snapshot-node-name": name,
            "format": "qcow2",
            "mode": "existing",
        });
        self.qmp().execute("blockdev-snapshot-sync", Some(arguments)).await.map(drop)
    }
}

/// What `query-block` says of the medium in disk `index`, found by the device's id.
fn inserted(blocks: &Value, index: usize) -> Option<&Value> {
    let device = format!("disk{index}-device");
    let is_ours = |block: &&Value| {
        let path = block.get("qdev").and_then(Value::as_str).unwrap_or_default();
        path.split('/').any(|part| part == device)
    };
    blocks.as_array()?.iter().find(is_ours)?.get("inserted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medium_is_found_by_its_device() {
        let blocks = json!([
            { "qdev": "/machine/peripheral/seed-device/virtio-backend", "inserted": { "node-name": "seed" } },
            { "qdev": "/machine/peripheral/disk0-device/virtio-backend", "inserted": { "node-name": "disk0" } },
        ]);
        assert_eq!(inserted(&blocks, 0).unwrap()["node-name"], "disk0");
        assert!(inserted(&blocks, 1).is_none());
    }
}
