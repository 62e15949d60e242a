//! How much machines may say and hear: `table bridge wardian_caps`.
//!
//! A bucket of tokens per machine and way, for all of its taps: its successor's tap during a hand-over, and its second
//! interface, draw from the same one. What exceeds it is dropped, as a narrow link with a short queue would; TCP finds
//! the rate by itself. After the access lists, so what is denied costs nothing on its way out.

use wardian_model::{bandwidth::Bandwidth, environment::EnvironmentRecord};

use super::{
    TapPlan,
    text::{Table, rules},
};

/// In bytes: the largest packet there is, which crosses whole when its sender leaves it to the network card to cut it.
const LEAST_BURST: u64 = 65_536;

/// The table, where any of the machines here has a cap. It can't change while an environment lives, so nothing ever
/// removes it.
pub(super) fn table<'a>(record: &EnvironmentRecord, taps: impl Iterator<Item = &'a TapPlan> + Clone) -> Option<String> {
    let mut parts: Vec<(String, String)> = Vec::new();
    let (mut outward, mut inward) = (Vec::new(), Vec::new());
    for (name, identity) in &record.identities {
        let Some(spec) = record.spec.machines.get(name) else { continue };
        let own = || taps.clone().filter(|tap| tap.machine == *name).flat_map(TapPlan::names);
        let ways = [("out", spec.limits.network_out, &mut outward), ("in", spec.limits.network_in, &mut inward)];
        for (way, cap, dispatch) in ways {
            let Some(cap) = cap.filter(|_| own().next().is_some()) else { continue };
            let chain = format!("{way}_{}", identity.slot);
            dispatch.extend(own().map(|tap| format!("\"{tap}\" : goto {chain}")));
            parts.push((chain, bucket(cap)));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let mut table = Table::new("bridge", "wardian_caps");
    for (chain, rule) in parts {
        table = table.part(&chain, &[rule]);
    }
    let table = table
        .collection("map", "senders", "ifname : verdict", outward)
        .collection("map", "receivers", "ifname : verdict", inward)
        .chain(
            "leaving",
            "filter hook prerouting priority -200; policy accept",
            &rules!["ether type ip iifname vmap @senders"],
        )
        .chain(
            "arriving",
            "filter hook postrouting priority 100; policy accept",
            &rules!["ether type ip oifname vmap @receivers"],
        );
    Some(table.render())
}

/// What exceeds `cap`, after a tenth of a second's worth at once.
fn bucket(cap: Bandwidth) -> String {
    let rate = cap.bytes_per_second();
    format!("limit rate over {rate} bytes/second burst {} bytes drop", (rate / 10).clamp(LEAST_BURST, 1 << 30))
}

#[cfg(test)]
mod tests {
    use super::super::{
        LabConfig, environment,
        tests::{dual, nft_check, store},
    };

    #[test]
    fn each_way_has_one_bucket_for_all_taps_of_a_machine() {
        let mut record = dual(store("open"));
        let limits = &mut record.spec.machines["m0"].limits;
        limits.network_in = Some("10 Mbit".parse().unwrap());
        limits.network_out = Some("64 kbit".parse().unwrap());
        let plan = environment(&record, &LabConfig::default());
        nft_check(&plan.nftables).unwrap();
        let (_, text) = plan.nftables.rsplit_once("table bridge wardian_caps {").unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_machine_that_may_spoof_is_pinned_at_the_gateway_only() {
        let mut record = store("open");
        record.spec.machines["m1"].allow_spoofing = true;
        for gateway in ["per-machine", "m1"] {
            record.gateway = gateway.parse().unwrap();
            let plan = environment(&record, &LabConfig::default());
            nft_check(&plan.nftables).unwrap();
            let (_, text) = plan.nftables.rsplit_once("table bridge wardian {").unwrap();
            insta::assert_snapshot!(format!("spoofing_{gateway}"), text);
        }
    }
}
