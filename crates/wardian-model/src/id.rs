//! Identifiers that Wardian chooses: random, never used again, short enough to read aloud.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an identifier: 16 hexadecimal digits are")]
pub struct IdError {
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $type(u64);

        impl $type {
            /// A fresh random identifier.
            #[must_use]
            pub fn random() -> Self {
                Self(uuid::Uuid::new_v4().as_u64_pair().0 ^ uuid::Uuid::new_v4().as_u64_pair().1)
            }

            /// An identifier of a known value, for tests and for derived ones.
            #[must_use]
            pub const fn from_bits(bits: u64) -> Self {
                Self(bits)
            }

            /// Its value.
            #[must_use]
            pub const fn bits(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { text: text.to_owned() };
                if text.len() != 16 || text.starts_with('+') {
                    return Err(error());
                }
                u64::from_str_radix(text, 16).map(Self).map_err(|_| error())
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> String {
                id.to_string()
            }
        }
    };
}

id! {
    /// One life of an environment. A new environment of an old name gets a new id.
    EnvironmentId
}
id! {
    /// One request a user waits for.
    OperationId
}
id! {
    /// One file in a machine's disk chain, above its image.
    LayerId
}
id! {
    /// One consistent cut through an environment: its disks, and its memory where that is wanted.
    CutId
}
id! {
    /// The memory of one machine: a file that it writes, or one that nobody writes any more.
    MemoryId
}
id! {
    /// One snapshot. A later one of the same name gets another id.
    SnapshotId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = EnvironmentId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("12".parse::<EnvironmentId>().is_err());
        assert!("+123456789abcdef".parse::<EnvironmentId>().is_err());
    }
}
