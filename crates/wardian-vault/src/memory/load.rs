//! Turning a memory file back into what QEMU loads: a sparse file of guest memory and a device-state stream.

use super::error::MemoryError;
use super::facts::MemoryFacts;
use super::read::Opened;
use super::temporary::{Temporary, folder_of};
use crate::space::space;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Writes the guest memory in the memory file `path` to `ram`, a sparse file of exactly `memory_bytes`, and the device
/// state to `state`, replacing what was there. Both appear only when every byte was proven right, the memory last.
///
/// Nothing is synced: these are the working files of one run of a machine, not to be trusted after a crash of the host.
/// They may be read by their owner only. It takes time: not for an async context.
///
/// # Errors
/// When the memory file is not sound ([`super::verify`]), or there is no room; neither file is there then, and what
/// was there before is unchanged unless renaming failed.
pub fn load(path: &Path, ram: &Path, state: &Path) -> Result<MemoryFacts, MemoryError> {
    let opened = Opened::new(path)?;
    fits(path, ram, opened.head.data)?;
    let memory_file = Temporary::beside(ram)?;
    let state_file = Temporary::beside(state)?;
    memory_file.file().set_len(opened.facts.memory_bytes).map_err(MemoryError::io("set the size of", ram))?;
    let facts = opened.read(
        |piece| state_file.file().write_all(piece).map_err(MemoryError::io("write", state)),
        |offset, piece| memory_file.file().write_all_at(piece, offset).map_err(MemoryError::io("write", ram)),
    )?;
    state_file.place()?;
    memory_file.place().inspect_err(|_| {
        // A state without its memory is of no use; should it stay, the next load replaces it.
        let _ = fs::remove_file(state);
    })?;
    Ok(facts)
}

/// Refuses early, and with the numbers, what would only fill a tmpfs: that is memory of the host.
fn fits(path: &Path, ram: &Path, needed: u64) -> Result<(), MemoryError> {
    let folder = folder_of(ram);
    let available = space(folder).map_err(MemoryError::io("look at the space of", folder))?.available;
    if needed > available {
        return Err(MemoryError::NoSpace { path: path.into(), needed, available, folder: folder.into() });
    }
    Ok(())
}
