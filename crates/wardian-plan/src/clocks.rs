//! Whether a host's clock agrees with the others'. Records carry moments, above all those when environments expire: a
//! host that takes today for next year would remove them all.

use wardian_model::{SignedDuration, name::HostName};

/// How far two clocks may be apart. More than hosts drift that nobody sets, and less than anything expires by.
pub const AGREED: SignedDuration = SignedDuration::from_mins(5);

/// By how much this host's clock is ahead of another's; less than zero when it is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The other host.
    pub host: HostName,
    /// By how much.
    pub by: SignedDuration,
}

/// What the other hosts that are there say of the time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Those that answer.
    pub ahead: Vec<Ahead>,
    /// Those that don't. A clock that is far enough off may itself be why: certificates have their time too.
    pub silent: Vec<HostName>,
}

/// Why nothing is removed by this host's clock now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It is far ahead.
    #[error("the clock of this host is far off: {}", list(.0))]
    Ahead(Vec<Ahead>),
    /// Too few others say what time it is.
    #[error("the clock of this host can't be compared: no answer from {}", names(.0))]
    Silent(Vec<HostName>),
}

impl Ahead {
    /// Whether the two are too far apart.
    #[must_use]
    pub fn is_far(&self) -> bool {
        self.by.abs() > AGREED
    }
}

impl std::fmt::Display for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.by.is_negative() { "behind" } else { "ahead of" };
        let by = SignedDuration::from_secs(self.by.abs().as_secs());
        write!(f, "{by:#} {way} that of {}", self.host)
    }
}

/// All of them, in words.
#[must_use]
pub fn list(all: &[Ahead]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn names(all: &[HostName]) -> String {
    all.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

/// Judges the clock of a host that wants to come in by all others that are there. One that only few disagree with is
/// theirs to mend.
///
/// # Errors
/// When it is too far from most of them: those it is too far from.
pub fn agree(others: &[Ahead]) -> Result<(), Vec<Ahead>> {
    let far: Vec<_> = others.iter().filter(|ahead| ahead.is_far()).cloned().collect();
    if 2 * far.len() > others.len() { Err(far) } else { Ok(()) }
}

/// Whether what has expired by this host's clock may be removed: not when that is far ahead of most others that are
/// there, or may be for all that is known. One that is behind removes late, which loses nothing. So of two hosts that
/// disagree one goes on, and whichever is right, nothing goes before its time is over for both.
///
/// # Errors
/// Says why not.
pub fn may_expire(others: &Compared) -> Result<(), Doubt> {
    let ahead: Vec<_> = others.ahead.iter().filter(|ahead| ahead.by > AGREED).cloned().collect();
    let doubtful = ahead.len() + others.silent.len();
    if 2 * doubtful <= others.ahead.len() + others.silent.len() {
        return Ok(());
    }
    Err(if ahead.is_empty() { Doubt::Silent(others.silent.clone()) } else { Doubt::Ahead(ahead) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(host: &str, seconds: i64) -> Ahead {
        Ahead { host: HostName::new(host).unwrap(), by: SignedDuration::from_secs(seconds) }
    }

    #[test]
    fn the_most_decide() {
        assert!(agree(&[]).is_ok());
        assert!(agree(&[ahead("a", 300), ahead("b", -300)]).is_ok());
        assert!(agree(&[ahead("a", 301)]).is_err());
        assert!(agree(&[ahead("a", 3600), ahead("b", 1)]).is_ok(), "a's is the wrong one, or b's as well");
        let far = agree(&[ahead("a", 3600), ahead("b", -90_061), ahead("c", 0)]).unwrap_err();
        assert_eq!(far, [ahead("a", 3600), ahead("b", -90_061)]);
        assert_eq!(list(&far), "1h ahead of that of a; 25h 1m 1s behind that of b");
    }

    #[test]
    fn nothing_expires_by_a_clock_that_is_ahead_of_most_or_may_be() {
        const HOUR: i64 = 3600;
        let judged = |ahead: &[Ahead], silent: &[&str]| {
            let silent = silent.iter().map(|host| HostName::new(*host).unwrap()).collect();
            may_expire(&Compared { ahead: ahead.to_vec(), silent }).map_err(|doubt| doubt.to_string())
        };
        let far_off = |whose: &str| Err(format!("the clock of this host is far off: 1h ahead of that of {whose}"));
        assert_eq!(judged(&[], &[]), Ok(()));
        assert_eq!(judged(&[ahead("a", 300)], &[]), Ok(()));
        assert_eq!(judged(&[ahead("a", HOUR)], &[]), far_off("a"));
        // Others are the ones that are wrong.
        assert_eq!(judged(&[ahead("a", HOUR), ahead("b", 1)], &[]), Ok(()));
        assert_eq!(judged(&[ahead("a", -HOUR)], &[]), Ok(()), "it is over by both");
        assert_eq!(judged(&[ahead("a", HOUR), ahead("b", -HOUR)], &[]), Ok(()), "this one is in the middle");
        // Who says nothing may say anything.
        let said = "the clock of this host can't be compared: no answer from a";
        assert_eq!(judged(&[], &["a"]), Err(said.into()));
        assert_eq!(judged(&[ahead("b", 0)], &["a"]), Ok(()));
        assert_eq!(judged(&[ahead("b", HOUR), ahead("c", 0)], &["a"]), far_off("b"));
        assert_eq!(judged(&[ahead("b", HOUR), ahead("c", 0), ahead("d", 0)], &["a"]), Ok(()));
    }
}
