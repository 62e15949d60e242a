//! Where envelopes are taken off at the device towards the other hosts: what is wanted, and what it can.

use std::{error::Error, fmt};

use wardian_model::encapsulation::Decapsulation;

use super::{UnderlayError, links};
use crate::{
    filter::{Filter, FilterError},
    kernel::message::Link,
};

/// Where they are, after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecapsulationPlace {
    /// In the device's driver.
    Xdp,
    /// After it.
    Tc {
        /// Why not in the driver.
        why: String,
    },
}

impl fmt::Display for DecapsulationPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp => f.write_str("xdp"),
            Self::Tc { why } => write!(f, "tc ({why})"),
        }
    }
}

/// Makes it so.
pub(super) fn choose(
    filter: &mut Filter,
    device: &Link,
    wanted: Decapsulation,
) -> Result<DecapsulationPlace, UnderlayError> {
    let name = &device.name;
    let why = if wanted.asks_driver(device.is_in_memory) {
        match filter.take_off_early(name, links::mac_of(device)) {
            Ok(()) => return Ok(DecapsulationPlace::Xdp),
            Err(FilterError::NoXdp { device, source }) if wanted == Decapsulation::Xdp => {
                return Err(UnderlayError::NoXdp { device, source });
            }
            Err(FilterError::NoXdp { source, .. }) => {
                format!("{name} or its driver can't: {}", whole(&*source))
            }
            Err(error) => return Err(error.into()),
        }
    } else if wanted == Decapsulation::Tc {
        "as configured".to_owned()
    } else {
        format!("{name} is in memory only")
    };
    filter.take_off_late(name, links::mac_of(device))?;
    Ok(DecapsulationPlace::Tc { why })
}

/// With its causes.
fn whole(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", whole(cause)))
}
