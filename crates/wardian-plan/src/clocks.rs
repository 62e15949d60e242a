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

/// Judges the clock of a host that wants to come in by all others that are there. One that only few disagree with is
/// theirs to mend.
///
/// # Errors
/// When it is too far from most of them: those it is too far from.
pub fn agree(others: &[Ahead]) -> Result<(), Vec<Ahead>> {
    let far: Vec<_> = others.iter().filter(|ahead| ahead.is_far()).cloned().collect();
    if 2 * far.len() > others.len() { Err(far) } else { Ok(()) }
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
}
