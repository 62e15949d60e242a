//! How much memory this host has (`/proc/meminfo`, proc(5)).

/// All of it, in bytes; nothing when the kernel doesn't say.
pub(crate) fn total() -> Option<u64> {
    of("MemTotal")
}

/// What can be had without swapping, in bytes.
pub(crate) fn available() -> Option<u64> {
    of("MemAvailable")
}

fn of(key: &str) -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?, key)
}

fn parse(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_found_by_its_whole_key() {
        let text = "MemTotalX:  1 kB\nMemTotal:       24110848 kB\n";
        assert_eq!(super::parse(text, "MemTotal"), Some(24_110_848 * 1024));
        assert_eq!(super::parse(text, "MemFree"), None);
    }
}
