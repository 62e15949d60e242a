//! What is left of rules of what machines may say and hear when there are none any more; and what they dropped. What
//! they are is decided in `wardian_plan::network`.

use std::io;

use wardian_model::id::EnvironmentId;
use wardian_plan::network::ACL_TABLE;

use crate::{
    counters::Count,
    environment::Changes,
    error::NetworkError,
    kernel::{
        namespace::Namespace,
        netfilter::{Family, Netfilter},
        nft,
    },
};

/// What was dropped at the ports of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclCount {
    /// The machine's slot.
    pub slot: u16,
    /// What it was not allowed to hear.
    pub inward: Count,
    /// What it was not allowed to say.
    pub outward: Count,
}

/// Removes the table of an environment whose plan has none.
pub(crate) fn remove_stale(
    environment: EnvironmentId,
    namespace: &Namespace,
    netfilter: &Netfilter,
    changes: &mut Changes,
) -> Result<(), NetworkError> {
    let doing = || NetworkError::kernel(format!("look for rules of environment {environment}"));
    if !netfilter.has_table(Family::Bridge, ACL_TABLE).map_err(doing())? {
        return Ok(());
    }
    let whose = format!("environment {environment}");
    let text = format!("delete table bridge {ACL_TABLE}\n");
    namespace.run_blocking("remove rules of an environment", || nft::start(whose, &text)?.finish())?;
    changes.note("removed the access lists");
    Ok(())
}

/// Of the calling thread's namespace, in the order of slots.
pub(crate) fn counters() -> io::Result<Vec<AclCount>> {
    let mut all: Vec<AclCount> = Vec::new();
    for counter in Netfilter::open()?.counters(Family::Bridge, ACL_TABLE)? {
        let Some((way, slot)) = counter.name.split_once('_') else { continue };
        let Ok(slot) = slot.parse::<u16>() else { continue };
        let at = all.binary_search_by_key(&slot, |count| count.slot).unwrap_or_else(|at| {
            all.insert(at, AclCount { slot, inward: Count::default(), outward: Count::default() });
            at
        });
        let count = Count { packets: counter.packets, bytes: counter.bytes };
        match way {
            "in" => all[at].inward = count,
            "out" => all[at].outward = count,
            _ => {}
        }
    }
    Ok(all)
}
