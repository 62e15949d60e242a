//! Places where tests kill the daemon: every step of every operation has one.
//!
//! `WARDIAN_KILL_AT=NAME` ends the process, as SIGKILL would, the first time it reaches the place of that name
//! (`NAME#3`: the third time). Only builds with debug assertions can be killed so; in all of them a log of `trace`
//! tells when each place was reached, which shows where the time of an operation goes.

/// A place of that name. Statements before it have taken effect, statements after it have not.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    tracing::trace!(name, "reached");
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static REACHED: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("WARDIAN_KILL_AT").ok()?;
        match text.split_once('#') {
            Some((name, times)) => Some((name.to_owned(), times.parse().unwrap_or(1))),
            None => Some((text, 1)),
        }
    });
    if let Some((wanted, times)) = wanted
        && wanted == name
        && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        // SIGKILL to ourselves: nothing is unwound, flushed or dropped.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        loop {
            std::thread::park();
        }
    }
}

/// A place of that name, for the log.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn point(name: &str) {
    tracing::trace!(name, "reached");
}
