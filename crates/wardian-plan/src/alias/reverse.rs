//! The names of addresses, and the zones they are in.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use wardian_model::name::Domain;

/// The name under which the name of `address` is found (RFC 1035, section 3.5; RFC 3596, section 2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> Domain {
    match address {
        IpAddr::V4(address) => reverse_of(&address.octets()),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            domain(digits + "ip6.arpa")
        }
    }
}

/// The zones that the names of all addresses of `prefix` are in: they begin at whole bytes, so a /16 has one, a /20 has
/// sixteen, and a /26 has the one of the /24 around it.
#[must_use]
pub fn reverse_zones(prefix: Ipv4Net) -> Vec<Domain> {
    let bytes = usize::from(prefix.prefix_len().div_ceil(8)).clamp(1, 3);
    let step = 1_u64 << (32 - 8 * bytes);
    let (first, last) = (u64::from(prefix.network().to_bits()), u64::from(prefix.broadcast().to_bits()));
    let starts = (first - first % step..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    let address = |bits| Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX));
    starts.map(|bits| reverse_of(&address(bits).octets()[..bytes])).collect()
}

fn reverse_of(bytes: &[u8]) -> Domain {
    let labels: String = bytes.iter().rev().map(|byte| format!("{byte}.")).collect();
    domain(labels + "in-addr.arpa")
}

fn domain(text: String) -> Domain {
    Domain::new(text).expect("digits, dots and the name of a root of addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_name_of_its_bytes_backwards() {
        assert_eq!(reverse_name("10.86.0.5".parse().unwrap()).as_str(), "5.0.86.10.in-addr.arpa");
        assert_eq!(
            reverse_name("2001:db8::567:89ab".parse().unwrap()).as_str(),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn reverse_zones_begin_at_whole_bytes() {
        let zones = |prefix: &str| reverse_zones(prefix.parse().unwrap());
        let texts = |prefix: &str| zones(prefix).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts("10.86.0.0/16"), ["86.10.in-addr.arpa"]);
        assert_eq!(texts("10.86.7.0/24"), ["7.86.10.in-addr.arpa"]);
        assert_eq!(texts("10.86.7.64/26"), ["7.86.10.in-addr.arpa"]);
        assert_eq!(texts("10.86.6.0/23"), ["6.86.10.in-addr.arpa", "7.86.10.in-addr.arpa"]);
        assert_eq!(zones("10.86.16.0/20").len(), 16);
        assert_eq!(texts("255.255.255.0/24"), ["255.255.255.in-addr.arpa"]);
        assert_eq!(zones("0.0.0.0/0").len(), 256);
    }
}
