//! Ethernet hardware addresses (EUI-48).

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A unicast hardware address; printed as `02:57:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct MacAddress([u8; 6]);

/// Why a text or value is not a machine's hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six pairs of hexadecimal digits.
    #[error("{text:?} is not a hardware address; write six pairs of hexadecimal digits, as in 02:57:00:00:00:01")]
    Format {
        /// The offending text.
        text: String,
    },
    /// The group bit is set, or all bits are zero.
    #[error("{text} can't be the address of one interface: it is a group address or all zero")]
    NotUnicast {
        /// The offending address.
        text: String,
    },
}

impl MacAddress {
    /// The gateway's, inside: the same in every environment and on every host. No machine can have it.
    pub const GATEWAY: Self = Self::local(0x7fff_ffff);

    /// Checks that `bytes` can be the address of one interface.
    ///
    /// # Errors
    /// When the group bit (IEEE 802, bit 0 of the first byte) is set, or all bytes are zero.
    pub fn new(bytes: [u8; 6]) -> Result<Self, MacError> {
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(MacError::NotUnicast { text: Self(bytes).to_string() });
        }
        Ok(Self(bytes))
    }

    /// A locally administered address under Wardian's prefix `02:57`, counted by `number`.
    #[must_use]
    pub const fn local(number: u32) -> Self {
        let n = number.to_be_bytes();
        Self([0x02, 0x57, n[0], n[1], n[2], n[3]])
    }

    /// That of a host's lab bridge, in a cluster: the same number as its address on the lab network has there. No other
    /// range of ours has it.
    #[must_use]
    pub const fn lab_host(place: u16) -> Self {
        Self::local(0x8100_0000 + place as u32)
    }

    /// The six bytes, in the order of transmission.
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl FromStr for MacAddress {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let format = || MacError::Format { text: text.to_owned() };
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|p| p.len() == 2 && !p.starts_with('+')).ok_or_else(format)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| format())?;
        }
        if pairs.next().is_some() {
            return Err(format());
        }
        Self::new(bytes)
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_back_from_its_text() {
        let mac = MacAddress::local(0x0001_0203);
        assert_eq!(mac.to_string(), "02:57:00:01:02:03");
        assert_eq!("02:57:00:01:02:03".parse(), Ok(mac));
    }

    #[test]
    fn group_addresses_are_refused() {
        assert!(matches!("01:00:5e:00:00:01".parse::<MacAddress>(), Err(MacError::NotUnicast { .. })));
        assert!(matches!("02:57".parse::<MacAddress>(), Err(MacError::Format { .. })));
    }
}
