//! The customized clone: other computer names, addresses and hardware addresses inside.
//!
//! This is the exception. A clone is for keeping the inside, and everything that was configured with the old names and
//! addresses has to be told the new ones; where machines must see each other without any isolation, there is no other
//! way.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use wardian_model::{
    mac::MacAddress,
    name::{EnvironmentName, Hostname},
    spec::EnvironmentSpec,
};

/// Hardware addresses set aside for each subnet: 65,536 times as many are what the inside range has.
const MACS: u32 = 128;

/// The longest DNS label.
const LABEL: usize = 63;

/// `spec` for an environment called `name`, with everything chosen about its inside given up; its subnet is one that is
/// not among `used`.
#[must_use]
pub fn customized(spec: &EnvironmentSpec, name: &EnvironmentName, used: &BTreeSet<Ipv4Net>) -> EnvironmentSpec {
    let mut spec = spec.clone();
    spec.name = name.clone();
    let mut used = used.clone();
    spec.network.subnets = spec.network.subnets.map(|net| {
        let free = free(net.trunc(), &used);
        used.insert(free);
        free
    });
    let macs: Vec<_> =
        spec.machines.keys().enumerate().map(|(number, name)| mac(spec.subnet_of(name).net, number)).collect();
    for ((machine, settings), mac) in spec.machines.iter_mut().zip(macs) {
        settings.hostname = hostname(name.as_str(), machine.as_str());
        settings.address = None;
        settings.mac = mac;
    }
    spec
}

/// Hardware addresses of the inside range that go with the subnet; none, and so the usual ones, for machines beyond the
/// first hundred.
fn mac(subnet: Ipv4Net, number: usize) -> Option<MacAddress> {
    let number = u32::try_from(number).ok().filter(|number| *number < MACS - 1)?;
    let place = (subnet.addr().to_bits() >> 8) & 0xffff;
    Some(MacAddress::local(place * MACS + number + 1)).filter(|mac| *mac != MacAddress::GATEWAY)
}

/// `ENVIRONMENT-MACHINE`, cut where it would be too long; the machine's name is what tells it from its neighbours.
fn hostname(environment: &str, machine: &str) -> Option<Hostname> {
    let room = LABEL.saturating_sub(machine.len() + 1);
    let prefix = environment.get(..environment.len().min(room))?.trim_end_matches('-');
    let text = if prefix.is_empty() { machine.to_owned() } else { format!("{prefix}-{machine}") };
    Hostname::new(text).ok()
}

/// The next subnet of that size that overlaps none of those used; the same when all are.
fn free(subnet: Ipv4Net, used: &BTreeSet<Ipv4Net>) -> Ipv4Net {
    // Private addresses are found within the /8 of the subnet's own; who chose a public one keeps its neighbourhood
    // too.
    let around = Ipv4Net::new(subnet.addr(), subnet.prefix_len().min(16)).map(|net| net.trunc()).unwrap_or(subnet);
    let all = || around.subnets(subnet.prefix_len()).into_iter().flatten();
    let fits = |candidate: &Ipv4Net| {
        let overlaps = |other: &Ipv4Net| candidate.contains(other) || other.contains(candidate);
        *candidate != subnet && !used.iter().any(overlaps)
    };
    all().skip_while(|candidate| *candidate <= subnet).find(fits).or_else(|| all().find(fits)).unwrap_or(subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> EnvironmentSpec {
        serde_json::from_value(serde_json::json!({
            "name": "store",
            "machines": { "web": { "image": "micro", "hostname": "web-server", "address": "192.168.23.9" } },
        }))
        .unwrap()
    }

    #[test]
    fn a_customized_clone_has_other_names_and_another_subnet() {
        let used = ["192.168.23.0/24", "192.168.24.0/24"].map(|net| net.parse().unwrap()).into();
        let clone = customized(&spec(), &EnvironmentName::new("branch").unwrap(), &used);
        let web = &clone.machines["web"];
        assert_eq!(web.hostname.as_ref().unwrap().as_str(), "branch-web");
        assert_eq!(web.address, None);
        assert_ne!(web.mac, Some(MacAddress::local(1)));
        assert_eq!(clone.network.subnets.first().net.to_string(), "192.168.25.0/24");
    }

    #[test]
    fn of_several_subnets_each_is_another_one() {
        let mut spec = spec();
        let named = [("back", "10.0.0.0/24"), ("front", "10.0.1.0/24")]
            .map(|(n, net)| (n.parse().unwrap(), net.parse().unwrap()));
        spec.network.subnets = wardian_model::spec::Subnets::named(named.into()).unwrap();
        let used = ["10.0.0.0/24", "10.0.1.0/24"].map(|net| net.parse().unwrap()).into();
        let clone = customized(&spec, &EnvironmentName::new("branch").unwrap(), &used);
        let subnets: Vec<_> = clone.network.subnets.iter().map(|s| format!("{} {}", s.name.unwrap(), s.net)).collect();
        assert_eq!(subnets, ["back 10.0.2.0/24", "front 10.0.3.0/24"]);
    }

    #[test]
    fn subnets_go_round_and_long_names_are_cut() {
        let used = (24..=255).map(|n| format!("192.168.{n}.0/24").parse().unwrap()).collect();
        assert_eq!(free("192.168.23.0/24".parse().unwrap(), &used).to_string(), "192.168.0.0/24");
        let long = hostname(&"e".repeat(63), "web").unwrap();
        assert_eq!(long.as_str().len(), 63);
        assert_eq!(hostname("x", &"m".repeat(63)).unwrap().as_str(), "m".repeat(63));
    }
}
