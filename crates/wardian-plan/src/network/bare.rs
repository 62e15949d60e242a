//! The rules without isolation: the edge is a port of the switch, and nothing stands between the machines and the lab
//! network.
//!
//! Each machine can still be nobody but itself, and the gateway forwards nothing. So another environment has nothing to
//! fear but the like of it: one without isolation, too.

use wardian_model::environment::EnvironmentRecord;

use super::{TapPlan, crossing, environment::EDGE, inside, pins, text::rules};

/// `table inet wardian` and `table bridge wardian`.
pub(super) fn tables(record: &EnvironmentRecord, taps: &[TapPlan]) -> String {
    let table = crossing::counted()
        .collection("set", "private", "ipv4_addr", record.identities.values().map(|i| i.inside.address))
        .chain(
            "forward",
            "filter hook forward priority filter; policy drop",
            &rules!["counter name fence_inside drop"],
        );
    let table = crossing::heard(table, record, &[]);
    table.render() + &pins::table(taps, &inside::gateways(record), None, &[EDGE])
}
