//! The rules of a part whose edge is on another host: the gateway answers here as everywhere, and what its machines
//! send outwards it sends on to the gateway that has the edge. The fence is there, and only there.
//!
//! Nothing comes back by this way but what the packet filter itself says of a packet that is too large to be carried:
//! the other gateway sends answers to the machine itself. So no connection is known here, and none is asked about.

use wardian_model::environment::EnvironmentRecord;

use super::{TapPlan, crossing, environment::TRANSIT, inside, pins, text::rules};

/// `table inet wardian` and `table bridge wardian`.
pub(super) fn tables(record: &EnvironmentRecord, taps: &[TapPlan], ports: &[String]) -> String {
    let (switches, subnets) = (inside::switches(record), inside::subnets(record));
    let mut untracked = Vec::from(rules![format!("iifname {switches} ip daddr != {subnets} notrack")]);
    untracked.extend(inside::untracked(record));
    let mut forward = inside::routed(record);
    forward.extend(rules![
        format!("iifname {switches} oifname \"{TRANSIT}\" ip saddr @private accept"),
        format!(
            "iifname \"{TRANSIT}\" oifname {switches} ip daddr @private \
             icmp type destination-unreachable icmp code frag-needed accept"
        ),
        "counter name fence_inside drop",
    ]);
    let table = crossing::counted()
        .collection("set", "private", "ipv4_addr", record.identities.values().map(|i| i.inside.address))
        .chain("untracked", "filter hook prerouting priority raw; policy accept", &untracked)
        .chain("forward", "filter hook forward priority filter; policy drop", &forward);
    let table = crossing::heard(table, record, &[]);
    table.render() + &pins::table(taps, &inside::gateways(record), None, ports)
}
