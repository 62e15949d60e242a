//! Amounts of data in a second, as people write them: `10 Mbit`, `64 kbit`.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bits in a second; from 64 kbit to 1000 Gbit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Bandwidth(u64);

/// Why a text is no bandwidth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BandwidthError {
    /// Not of the form.
    #[error("{text:?} is not a bandwidth; write a whole number and a unit, as in 10 Mbit (kbit, Mbit, Gbit)")]
    Format {
        /// The offending text.
        text: String,
    },
    /// Less than anything could be done with, or more than anybody has.
    #[error("{text:?} is out of range; write 64 kbit to 1000 Gbit")]
    Range {
        /// The offending text.
        text: String,
    },
}

const UNITS: [(&str, u64); 3] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000)];

/// The least and the most, in bits in a second.
const RANGE: std::ops::RangeInclusive<u64> = 64_000..=1_000_000_000_000;

impl Bandwidth {
    /// In bytes in a second.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }
}

impl fmt::Display for Bandwidth {
    /// In the largest unit that divides it, so that the text reads back as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The smallest divides all that can be read.
        let (name, unit) = UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)).unwrap_or(&UNITS[2]);
        f.pad(&format!("{} {name}", self.0 / unit))
    }
}

impl FromStr for Bandwidth {
    type Err = BandwidthError;

    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        let format = || BandwidthError::Format { text: text.to_owned() };
        let range = || BandwidthError::Range { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(format)?;
        let (number, unit) = trimmed.split_at(digits);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(format)?;
        if number.is_empty() {
            return Err(format());
        }
        let bits = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit)).ok_or_else(range)?;
        if RANGE.contains(&bits) { Ok(Self(bits)) } else { Err(range()) }
    }
}

impl TryFrom<String> for Bandwidth {
    type Error = BandwidthError;
    fn try_from(text: String) -> Result<Self, BandwidthError> {
        text.parse()
    }
}

impl From<Bandwidth> for String {
    fn from(bandwidth: Bandwidth) -> String {
        bandwidth.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bandwidths_carry_decimal_units() {
        assert_eq!("10 Mbit".parse::<Bandwidth>().unwrap().bytes_per_second(), 1_250_000);
        assert_eq!("2000Mbit".parse::<Bandwidth>().unwrap().to_string(), "2 Gbit");
        for wrong in ["", "10", "Mbit", "10 MB", "10 mbit", "10 MBit", "-1 Mbit", "1.5 Mbit", "10 Mbit/s"] {
            assert!(matches!(wrong.parse::<Bandwidth>(), Err(BandwidthError::Format { .. })), "{wrong}");
        }
        for wrong in ["0 Mbit", "63 kbit", "1001 Gbit", "99999999999999999999 kbit"] {
            assert!(matches!(wrong.parse::<Bandwidth>(), Err(BandwidthError::Range { .. })), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_bandwidth_reads_back_from_its_text(n in 64_u64..=1_000_000_000) {
            let bandwidth = Bandwidth(n * 1000);
            prop_assert_eq!(bandwidth.to_string().parse(), Ok(bandwidth));
        }
    }
}
