//! Lengths of time, as people write them: `90s`, `5m`, `8h`.

use std::{fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Span(u64);

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a length of time; write a whole number and a unit, as in 90s (ms, s, m, h, d)")]
pub struct SpanError {
    text: String,
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Span {
    /// `n` seconds.
    #[must_use]
    pub const fn seconds(n: u64) -> Self {
        Self(n * 1000)
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit));
        let (name, unit) = unit.copied().unwrap_or(("s", 1000));
        f.pad(&format!("{}{name}", self.0 / unit))
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let unit = UNITS.iter().find(|(n, _)| *n == unit.trim()).ok_or_else(error)?.1;
        number.checked_mul(unit).map(Self).ok_or_else(error)
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;
    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_carry_units() {
        assert_eq!("90s".parse(), Ok(Span::seconds(90)));
        assert_eq!("5m".parse(), Ok(Span::seconds(300)));
        assert_eq!(Span::seconds(300).to_string(), "5m");
        assert!("5".parse::<Span>().is_err());
        assert!("five m".parse::<Span>().is_err());
    }

    proptest! {
        #[test]
        fn every_span_reads_back_from_its_text(n in any::<u64>()) {
            prop_assert_eq!(Span(n).to_string().parse(), Ok(Span(n)));
        }
    }
}
