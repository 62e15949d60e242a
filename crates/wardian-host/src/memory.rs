//! How much memory this host has (`/proc/meminfo`, proc(5)), and whether machines still fit.

use wardian_model::{name::MachineName, size::ByteSize, spec::EnvironmentSpec};
use wardian_plan::placement::records::own_memory;

use crate::Refusal;

/// Whether the machines of `spec` that are here fit into what is available; `frozen` are those that go on from memory
/// they share.
///
/// # Errors
/// With the arithmetic, when they don't.
pub(crate) fn fits(spec: &EnvironmentSpec, here: impl Fn(&MachineName) -> bool, frozen: bool) -> Result<(), Refusal> {
    let Some(available) = available() else { return Ok(()) };
    fits_into(spec, here, frozen, available, total())
}

fn fits_into(
    spec: &EnvironmentSpec,
    here: impl Fn(&MachineName) -> bool,
    frozen: bool,
    available: u64,
    total: Option<u64>,
) -> Result<(), Refusal> {
    let machines = spec.machines.iter().filter(|(name, _)| here(name));
    let parts: Vec<_> = machines.map(|(name, machine)| (name, own_memory(machine.memory, frozen))).collect();
    let needed: u64 = parts.iter().map(|(_, size)| size.as_bytes()).sum();
    if needed <= available {
        return Ok(());
    }
    let listed: Vec<_> = parts.iter().map(|(name, size)| format!("{name} {size}")).collect();
    let mib = |bytes: u64| ByteSize::mib(bytes >> 20);
    let of = total.map(|total| format!(" of this host's {}", mib(total))).unwrap_or_default();
    Err(Refusal::unavailable(format!(
        "{} needs {} of memory ({}), and {}{of} are available",
        spec.name,
        mib(needed),
        listed.join(" + "),
        mib(available),
    ))
    .hint("stop or remove environments (`wardian ls`), or give the machines less memory"))
}

/// All of it, in bytes; nothing when the kernel doesn't say.
#[must_use]
pub fn total() -> Option<u64> {
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
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_arithmetic() {
        let spec: EnvironmentSpec = serde_json::from_value(serde_json::json!({
            "name": "store", "machines": {
                "web": { "image": "micro", "memory": "256 MiB" }, "db": { "image": "micro", "memory": "1 GiB" },
            },
        }))
        .unwrap();
        assert!(fits_into(&spec, |_| true, false, 1280 << 20, None).is_ok());
        assert!(fits_into(&spec, |_| true, true, 100 << 20, None).is_ok());
        let refusal = fits_into(&spec, |_| true, false, 600 << 20, Some(2 << 30)).unwrap_err();
        let message = refusal.problem.message;
        for part in ["1280 MiB", "web 256 MiB", " + ", "db 1 GiB", "600 MiB of this host's 2 GiB"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_line_is_found_by_its_whole_key() {
        let text = "MemTotalX:  1 kB\nMemTotal:       24110848 kB\n";
        assert_eq!(super::parse(text, "MemTotal"), Some(24_110_848 * 1024));
        assert_eq!(super::parse(text, "MemFree"), None);
    }
}
