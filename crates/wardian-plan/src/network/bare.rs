//! The rules without isolation: the edge is a port of the switch, and nothing stands between the machines and the lab network.
//!
//! Each machine can still be nobody but itself, and the gateway forwards nothing. So another environment has nothing to fear but the
//! like of it: one without isolation, too.

use wardian_model::environment::EnvironmentRecord;

use super::{
    TapPlan,
    environment::{BRIDGE, EDGE},
    pins,
    text::{Table, rules},
};

/// `table inet wardian` and `table bridge wardian`.
pub(super) fn tables(record: &EnvironmentRecord, taps: &[TapPlan]) -> String {
    let gateway = record.spec.network.gateway();
    let table = Table::new("inet", "wardian")
        .counters(&["fence_in", "fence_out", "fence_inside", "invalid", "to_gateway", "not_public"])
        .counters(&["reset_inside", "reset_outside"])
        .collection("set", "private", "ipv4_addr", record.identities.values().map(|i| i.inside.address))
        .chain(
            "forward",
            "filter hook forward priority filter; policy drop",
            &rules!["counter name fence_inside drop"],
        )
        .chain(
            "input",
            "filter hook input priority filter; policy drop",
            &rules![
                "ct state invalid counter name invalid drop",
                format!("iifname \"{BRIDGE}\" ct state established,related accept"),
                format!("iifname \"{BRIDGE}\" udp sport 68 udp dport 67 accept"),
                format!(
                    "iifname \"{BRIDGE}\" ip saddr @private ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 accept"
                ),
                format!("iifname \"{BRIDGE}\" ip saddr @private ip daddr {gateway} icmp type echo-request accept"),
                "counter name to_gateway drop",
            ],
        );
    table.render() + &pins::table_with_open_port(taps, EDGE)
}
