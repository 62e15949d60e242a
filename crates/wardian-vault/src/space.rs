//! How full the file system of a folder is.

use std::io;
use std::path::Path;

/// The room of one file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What an ordinary user may still write.
    pub available: u64,
}

/// The room of the file system that `folder` is on.
///
/// # Errors
/// When the folder does not exist or cannot be reached.
pub fn space(folder: &Path) -> io::Result<Space> {
    let found = nix::sys::statvfs::statvfs(folder)?;
    let fragment = found.fragment_size();
    Ok(Space {
        total: found.blocks().saturating_mul(fragment),
        available: found.blocks_available().saturating_mul(fragment),
    })
}

/// A size for people, in binary units.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(human(0), "0 bytes");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(64 << 30), "64.0 GiB");
        assert_eq!(human(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn the_root_has_some_room() {
        let root = space(Path::new("/")).unwrap();
        assert!(root.total >= root.available && root.total > 0);
    }
}
