//! Names people choose: of environments, machines, images, hosts and domains.
//!
//! Names of environments and machines become DNS labels of aliases, so they follow the rules of a label
//! (RFC 1123, section 2.1): letters, digits and inner hyphens, 63 at most; kept in lower case.

use std::{borrow::Borrow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a {kind} must not be empty")]
    Empty {
        /// What was to be named.
        kind: &'static str,
    },
    /// More than 63 characters in a label, or 253 in a domain.
    #[error("the {kind} {name:?} has {length} characters; {limit} at most")]
    TooLong {
        /// What was to be named.
        kind: &'static str,
        /// The offending text.
        name: String,
        /// Its length in characters.
        length: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A character that a DNS label can't carry.
    #[error("the {kind} {name:?} contains {found:?}; use a-z, 0-9 and inner hyphens, as in a DNS label")]
    Character {
        /// What was to be named.
        kind: &'static str,
        /// The offending text.
        name: String,
        /// The first offending character.
        found: char,
    },
    /// A hyphen at either end.
    #[error("the {kind} {name:?} starts or ends with a hyphen; a DNS label can't")]
    Hyphen {
        /// What was to be named.
        kind: &'static str,
        /// The offending text.
        name: String,
    },
}

fn check_label(kind: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if let Some(found) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(NameError::Character { kind, name: text.to_owned(), found });
    }
    if text.len() > 63 {
        return Err(NameError::TooLong { kind, name: text.to_owned(), length: text.len(), limit: 63 });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen { kind, name: text.to_owned() });
    }
    Ok(())
}

fn check_domain(kind: &'static str, text: &str) -> Result<(), NameError> {
    if text.len() > 253 {
        return Err(NameError::TooLong { kind, name: text.to_owned(), length: text.len(), limit: 253 });
    }
    text.split('.').try_for_each(|label| check_label(kind, label))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $type(String);

        impl $type {
            /// Checks `text`.
            ///
            /// # Errors
            /// When it doesn't follow the rules of this module.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $check($kind, &text)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

name! {
    /// The name of an environment; unique in a store.
    EnvironmentName, "environment name", check_label, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
}
name! {
    /// The name of a machine; unique in its environment.
    MachineName, "machine name", check_label, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
}
name! {
    /// The name of a subnet; unique in its environment.
    SubnetName, "subnet name", check_label, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
}
name! {
    /// The name of an image; unique in a store.
    ImageName, "image name", check_label, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
}
name! {
    /// The name of a snapshot; unique in its environment.
    SnapshotName, "snapshot name", check_label, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
}
name! {
    /// The name of a host; unique in its cluster.
    HostName, "host name", check_label, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
}
name! {
    /// The computer name a guest carries.
    Hostname, "hostname", check_label, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
}
name! {
    /// A DNS domain: labels joined by dots, no dot at the end.
    Domain, "domain", check_domain, "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        assert!(MachineName::new("web-1").is_ok());
        assert!(matches!(MachineName::new(""), Err(NameError::Empty { .. })));
        assert!(matches!(MachineName::new("Web"), Err(NameError::Character { found: 'W', .. })));
        assert!(matches!(MachineName::new("web_1"), Err(NameError::Character { found: '_', .. })));
        assert!(matches!(MachineName::new("-web"), Err(NameError::Hyphen { .. })));
        assert!(matches!(MachineName::new("w".repeat(64)), Err(NameError::TooLong { .. })));
        assert!(MachineName::new("../x").is_err());
    }

    #[test]
    fn a_domain_is_labels_joined_by_dots() {
        assert!(Domain::new("lab.contoso.com").is_ok());
        assert!(Domain::new("lab..com").is_err());
        assert!(Domain::new("lab.").is_err());
    }
}
