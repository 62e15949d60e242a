//! Waiting for something to become so, with a limit, and without a fixed sleep.

use std::time::{Duration, Instant};

/// What happens by itself has happened by then, also where thirty guests boot on the same two processors. Nothing is
/// said by it of how fast things are; benches do that.
pub const SOON: Duration = Duration::from_secs(90);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within `limit`; says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
