//! Which virtual subnet a frame belongs to, between hosts.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A virtual subnet's id: 24 bits, of which some are reserved (RFC 7637, section 3.2). Printed as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vsid(#[schemars(range(min = 4096, max = 16_777_214))] u32);

/// Why a number is not the id of a virtual subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} can't be the id of a virtual subnet: those go from 4096 to 16777214 (RFC 7637); choose one of them")]
pub struct VsidError(String);

impl Vsid {
    /// The first that may be used.
    pub const FIRST: Self = Self(0x1000);
    /// The last that may be used: the one behind it is reserved too.
    pub const LAST: Self = Self(0xff_fffe);

    /// That of the subnet of the environment with this edge. The first is the lab network's; no edge has the slot 0.
    #[must_use]
    pub const fn of_edge(slot: u16) -> Self {
        Self(Self::FIRST.0 + slot as u32)
    }

    /// That of a further subnet of an environment, by its place among them (0 is that of [`Self::of_edge`]): 2²⁰ for
    /// each place lie between an edge's, and slots are smaller. There are 8 places at most.
    #[must_use]
    pub const fn of_subnet(slot: u16, place: u8) -> Self {
        Self(Self::of_edge(slot).0 + ((place & 7) as u32) * Self::PLACES)
    }

    /// From one subnet of an environment to the next.
    const PLACES: u32 = 1 << 20;

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vsid {
    type Error = VsidError;

    fn try_from(number: u32) -> Result<Self, VsidError> {
        let vsid = Self(number);
        if vsid < Self::FIRST || vsid > Self::LAST { Err(VsidError(number.to_string())) } else { Ok(vsid) }
    }
}

impl From<Vsid> for u32 {
    fn from(vsid: Vsid) -> Self {
        vsid.0
    }
}

impl FromStr for Vsid {
    type Err = VsidError;

    fn from_str(text: &str) -> Result<Self, VsidError> {
        text.parse::<u32>().ok().and_then(|number| number.try_into().ok()).ok_or_else(|| VsidError(text.to_owned()))
    }
}

impl fmt::Display for Vsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_numbers_are_refused_with_the_range() {
        for number in [0, 4095, 0xff_ffff, 0x100_0000, u32::MAX] {
            let said = Vsid::try_from(number).unwrap_err().to_string();
            assert!(said.starts_with(&number.to_string()) && said.contains("from 4096 to 16777214"), "{said}");
        }
        assert_eq!(Vsid::try_from(4096), Ok(Vsid::FIRST));
        assert_eq!("16777214".parse(), Ok(Vsid::LAST));
        assert_eq!("0x1000".parse::<Vsid>().unwrap_err().to_string().split(' ').next(), Some("0x1000"));
    }

    #[test]
    fn no_two_subnets_of_any_edges_have_one_id() {
        let mut last = Vsid::FIRST.number();
        for place in 0..crate::spec::Subnets::MOST as u8 {
            for slot in 1..=u16::MAX {
                // Each is larger than all before it, and so none is twice; none is the lab network's.
                let vsid = Vsid::of_subnet(slot, place);
                assert!(vsid.number() > last && Vsid::try_from(vsid.number()) == Ok(vsid), "{slot} {place}");
                last = vsid.number();
            }
        }
        assert_eq!(Vsid::of_subnet(7, 0), Vsid::of_edge(7));
    }

    #[test]
    fn records_keep_it_as_a_number() {
        assert_eq!(serde_json::to_string(&Vsid::FIRST).unwrap(), "4096");
        assert!(serde_json::from_str::<Vsid>("17").is_err());
    }
}
