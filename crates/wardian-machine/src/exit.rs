//! Why a machine's process is gone, told from everything that was seen of its end.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::directory::RuntimeDirectory;
use crate::process::Ending;

/// How much of QEMU's log is read for its last words, in bytes.
const LOG_TAIL: u64 = 16 << 10;
/// How many lines are last words.
const LINES: usize = 12;

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The guest powered itself off.
    PoweredOff,
    /// QEMU was asked to quit through its monitor or by a termination signal; the guest was not asked.
    Quit,
    /// A signal killed it.
    Killed {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel killed it for want of memory, as far as its cgroup tells.
        out_of_memory: bool,
        /// QEMU's last words; an abort (signal 6) says why there.
        last_words: String,
    },
    /// QEMU gave up.
    Failed {
        /// Its exit code.
        code: i32,
        /// The last lines of its log.
        last_words: String,
    },
    /// Nobody saw how: the process was not our child and the guest had not powered off.
    Unknown {
        /// The last lines of its log.
        last_words: String,
    },
}

impl Exit {
    /// Whether this is an end somebody wanted: the guest's or the user's.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Exit::PoweredOff | Exit::Quit)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = match self {
            Exit::PoweredOff => return f.write_str("the guest powered off"),
            Exit::Quit => return f.write_str("QEMU was told to quit"),
            Exit::Killed { out_of_memory: true, .. } => {
                return f.write_str("the kernel killed QEMU because its memory limit was reached");
            }
            Exit::Killed { signal, last_words, .. } => {
                write!(f, "QEMU was killed by signal {signal}")?;
                last_words
            }
            Exit::Failed { code, last_words } => {
                write!(f, "QEMU failed with exit code {code}")?;
                last_words
            }
            Exit::Unknown { last_words } => {
                f.write_str("QEMU ended while nobody watched")?;
                last_words
            }
        };
        if words.is_empty() { Ok(()) } else { write!(f, ": {words}") }
    }
}

/// What was seen of a machine before its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// The guest powered off.
    pub(crate) guest_shutdown: bool,
    /// QEMU announced that it quits for the host.
    pub(crate) quit: bool,
    /// The cgroup counted a kill for want of memory.
    pub(crate) out_of_memory: bool,
}

/// Tells the reason. A signal outweighs what was announced before it; a code outweighs nothing that QEMU announced
/// itself.
pub(crate) fn judge(ending: Ending, seen: Seen, last_words: String) -> Exit {
    match ending {
        Ending::Signal(signal) => {
            Exit::Killed { signal, out_of_memory: seen.out_of_memory && signal == libc::SIGKILL, last_words }
        }
        Ending::Unknown if seen.out_of_memory => {
            Exit::Killed { signal: libc::SIGKILL, out_of_memory: true, last_words }
        }
        Ending::Code(code) if code != 0 => Exit::Failed { code, last_words },
        _ if seen.guest_shutdown => Exit::PoweredOff,
        Ending::Code(_) => Exit::Quit,
        Ending::Unknown if seen.quit => Exit::Quit,
        Ending::Unknown => Exit::Unknown { last_words },
    }
}

/// QEMU's last words in a runtime directory: the last lines of its log without time stamps' noise. Empty when there are
/// none.
pub(crate) fn last_words(directory: &Path) -> String {
    let path = RuntimeDirectory::new(directory).qemu_log();
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    tail(&String::from_utf8_lossy(&read().unwrap_or_default()))
}

fn tail(log: &str) -> String {
    let mut lines: Vec<&str> = log.lines().rev().map(unstamped).filter(|l| !l.is_empty()).take(LINES).collect();
    lines.reverse();
    lines.join("\n")
}

/// A line without the time stamp (`-msg timestamp=on`) and the program's name: "2026-…Z qemu-system-x86_64: words".
fn unstamped(line: &str) -> &str {
    let rest = match line.split_once("Z ") {
        Some((stamp, rest))
            if stamp.len() > 18 && stamp.bytes().all(|b| b.is_ascii_digit() || b"-T:.".contains(&b)) =>
        {
            rest
        }
        _ => line,
    };
    rest.strip_prefix("qemu-system-x86_64: ").unwrap_or(rest).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "could not open";

    fn told(ending: Ending, seen: Seen) -> Exit {
        judge(ending, seen, WORDS.to_owned())
    }

    #[test]
    fn guests_power_off_is_known_without_being_the_parent() {
        let seen = Seen { guest_shutdown: true, quit: true, ..Seen::default() };
        assert_eq!(told(Ending::Unknown, seen), Exit::PoweredOff);
        assert_eq!(told(Ending::Code(0), seen), Exit::PoweredOff);
    }

    #[test]
    fn crash_after_power_off_is_a_crash() {
        let seen = Seen { guest_shutdown: true, ..Seen::default() };
        assert!(matches!(told(Ending::Signal(11), seen), Exit::Killed { signal: 11, out_of_memory: false, .. }));
        assert!(matches!(told(Ending::Code(1), seen), Exit::Failed { code: 1, .. }));
    }

    #[test]
    fn kill_for_want_of_memory_is_told_apart_from_other_kills() {
        let seen = Seen { out_of_memory: true, ..Seen::default() };
        assert!(matches!(told(Ending::Signal(9), seen), Exit::Killed { out_of_memory: true, .. }));
        assert!(matches!(told(Ending::Signal(11), seen), Exit::Killed { out_of_memory: false, .. }));
        assert!(matches!(told(Ending::Unknown, seen), Exit::Killed { out_of_memory: true, .. }));
    }

    #[test]
    fn unwatched_end_is_not_called_orderly() {
        assert!(!told(Ending::Unknown, Seen::default()).is_orderly());
        assert!(told(Ending::Unknown, Seen { quit: true, ..Seen::default() }).is_orderly());
    }

    #[test]
    fn last_words_lose_stamp_and_program() {
        let log = "2026-11-20T13:02:11.123456Z qemu-system-x86_64: -blockdev x: Could not open\n\nplain\n";
        assert_eq!(tail(log), "-blockdev x: Could not open\nplain");
    }
}
