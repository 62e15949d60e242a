//! The network inside an environment: its domain, and one subnet or several.
//!
//! In the file: `subnet: 192.168.23.0/24`, or `subnets: { front: 192.168.23.0/24, back: 192.168.24.0/24 }`, of which
//! the first is that of machines that name none.

use std::net::Ipv4Addr;

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AclRule, EnvironmentSpec};
use crate::{
    encapsulation::Encapsulation,
    name::{Domain, MachineName, SubnetName},
};

/// The network inside an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct NetworkSpec {
    /// The domain of the machines' full names; `lab.internal` by default.
    pub domain: Domain,
    /// The subnets; in each, machines get .1, .2, … in file order, and the gateway is the last address.
    pub subnets: Subnets,
    /// What its machines may say and hear; all of it where nothing is said.
    pub acl: Vec<AclRule>,
    /// How its frames travel between hosts, where it lies on several; as the cluster's where nothing is said.
    pub encapsulation: Option<Encapsulation>,
}

/// One subnet without a name, or one to eight that have names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnets(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    One(Ipv4Net),
    Named(IndexMap<SubnetName, Ipv4Net>),
}

/// One of an environment's subnets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet<'a> {
    /// Its place among them, from 0.
    pub place: u8,
    /// Its name, where they have names.
    pub name: Option<&'a SubnetName>,
    /// Its addresses, as they were written.
    pub net: Ipv4Net,
}

/// Why subnets can't be an environment's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubnetsError {
    /// None.
    #[error("`subnets` names no subnet; write one at least, as in `front: 192.168.23.0/24`")]
    None,
    /// Too many.
    #[error("`subnets` has {0} subnets, {most} are the most; write fewer, or several files", most = Subnets::MOST)]
    TooMany(usize),
    /// Both ways to say it.
    #[error("`network` has both `subnet` and `subnets`; write one of the two")]
    Both,
}

impl Subnets {
    /// The most an environment may have.
    pub const MOST: usize = 8;

    /// One, without a name.
    #[must_use]
    pub const fn one(net: Ipv4Net) -> Self {
        Self(Kind::One(net))
    }

    /// Some with names, the default one first.
    ///
    /// # Errors
    /// When there is none, or there are too many.
    pub fn named(subnets: IndexMap<SubnetName, Ipv4Net>) -> Result<Self, SubnetsError> {
        match subnets.len() {
            0 => Err(SubnetsError::None),
            count if count > Self::MOST => Err(SubnetsError::TooMany(count)),
            _ => Ok(Self(Kind::Named(subnets))),
        }
    }

    /// All of them, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = Subnet<'_>> {
        let one = match &self.0 {
            Kind::One(net) => Some((None, *net)),
            Kind::Named(_) => None,
        };
        let named = match &self.0 {
            Kind::One(_) => None,
            Kind::Named(subnets) => Some(subnets.iter().map(|(name, net)| (Some(name), *net))),
        };
        one.into_iter().chain(named.into_iter().flatten()).zip(0..).map(|((name, net), place)| Subnet {
            place,
            name,
            net,
        })
    }

    /// That of machines that name none.
    #[must_use]
    pub fn first(&self) -> Subnet<'_> {
        self.iter().next().expect("there is always one, whatever the kind")
    }

    /// The one of that name.
    #[must_use]
    pub fn get(&self, name: &SubnetName) -> Option<Subnet<'_>> {
        self.iter().find(|subnet| subnet.name == Some(name))
    }

    /// Whether there is more than one.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.iter().nth(1).is_some()
    }

    /// The same ones at other addresses.
    #[must_use]
    pub fn map(&self, mut net: impl FnMut(Ipv4Net) -> Ipv4Net) -> Self {
        Self(match &self.0 {
            Kind::One(one) => Kind::One(net(*one)),
            Kind::Named(all) => Kind::Named(all.iter().map(|(name, one)| (name.clone(), net(*one))).collect()),
        })
    }
}

impl Default for Subnets {
    /// 192.168.23.0/24.
    fn default() -> Self {
        Self::one(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 23, 0), 24))
    }
}

impl Subnet<'_> {
    /// The gateway: the last host address.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.net.broadcast().to_bits().saturating_sub(1))
    }
}

impl EnvironmentSpec {
    /// The subnet a machine is in. Names of subnets were checked; one that is not known means the first.
    #[must_use]
    pub fn subnet_of(&self, machine: &MachineName) -> Subnet<'_> {
        let subnets = &self.network.subnets;
        let named = self.machines.get(machine).and_then(|machine| subnets.get(machine.subnet.as_ref()?));
        named.unwrap_or_else(|| subnets.first())
    }
}

impl NetworkSpec {
    fn default_domain() -> Domain {
        Domain::new("lab.internal").expect("a constant that follows the rules")
    }
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self { domain: Self::default_domain(), subnets: Subnets::default(), acl: Vec::new(), encapsulation: None }
    }
}

/// The form in files and records.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "NetworkSpec")]
struct Written {
    /// The domain of the machines' full names; `lab.internal` by default.
    #[serde(default = "NetworkSpec::default_domain")]
    domain: Domain,
    /// The subnet; machines get .1, .2, … in file order, the gateway is the last address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("default" = "192.168.23.0/24"))]
    subnet: Option<Ipv4Net>,
    /// Instead of it, one to eight subnets by name, between which every host routes; machines that name none are in the
    /// first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "std::collections::BTreeMap<SubnetName, String>")]
    subnets: Option<IndexMap<SubnetName, Ipv4Net>>,
    /// What its machines may say and hear; all of it where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    acl: Vec<AclRule>,
    /// How its frames travel between hosts, where it lies on several; as the cluster's where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encapsulation: Option<Encapsulation>,
}

impl TryFrom<Written> for NetworkSpec {
    type Error = SubnetsError;

    fn try_from(written: Written) -> Result<Self, SubnetsError> {
        let subnets = match (written.subnet, written.subnets) {
            (Some(_), Some(_)) => return Err(SubnetsError::Both),
            (Some(one), None) => Subnets::one(one),
            (None, Some(named)) => Subnets::named(named)?,
            (None, None) => Subnets::default(),
        };
        let Written { domain, acl, encapsulation, .. } = written;
        Ok(Self { domain, subnets, acl, encapsulation })
    }
}

impl From<NetworkSpec> for Written {
    fn from(spec: NetworkSpec) -> Self {
        let (subnet, subnets) = match spec.subnets.0 {
            Kind::One(one) => (Some(one), None),
            Kind::Named(named) => (None, Some(named)),
        };
        Self { domain: spec.domain, subnet, subnets, acl: spec.acl, encapsulation: spec.encapsulation }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: serde_json::Value) -> Result<NetworkSpec, String> {
        serde_json::from_value(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_records_kept_before_there_were_several_is_read_and_written_as_it_was() {
        let kept = json!({ "domain": "lab.contoso.com", "subnet": "192.168.23.0/24" });
        let spec = read(kept.clone()).unwrap();
        assert_eq!(spec.subnets, Subnets::default());
        assert_eq!(serde_json::to_value(&spec).unwrap(), kept);
        assert_eq!(read(json!({})).unwrap(), NetworkSpec::default());
    }

    #[test]
    fn subnets_keep_their_order_and_the_first_is_the_default() {
        let kept = r#"{"domain":"lab.internal","subnets":{"front":"10.1.0.0/24","back":"10.0.0.0/24"}}"#;
        let spec: NetworkSpec = serde_json::from_str(kept).unwrap();
        let all: Vec<_> =
            spec.subnets.iter().map(|s| format!("{} {} {}", s.place, s.name.unwrap(), s.gateway())).collect();
        assert_eq!(all, ["0 front 10.1.0.254", "1 back 10.0.0.254"]);
        assert_eq!(spec.subnets.first().name.unwrap().as_str(), "front");
        assert_eq!(serde_json::to_string(&spec).unwrap(), kept);
    }

    #[test]
    fn an_encapsulation_is_kept_and_none_is_none() {
        let kept = json!({ "domain": "lab.internal", "subnet": "192.168.23.0/24", "encapsulation": "ip-rewrite" });
        let spec = read(kept.clone()).unwrap();
        assert_eq!(spec.encapsulation, Some(Encapsulation::IpRewrite));
        assert_eq!(serde_json::to_value(&spec).unwrap(), kept);
        assert!(read(json!({ "encapsulation": "geneve" })).unwrap_err().contains("geneve"));
    }

    #[test]
    fn none_too_many_and_both_ways_are_refused() {
        let many: serde_json::Map<_, _> = (0..9).map(|n| (format!("s{n}"), json!(format!("10.{n}.0.0/24")))).collect();
        for (wrong, said) in [
            (json!({ "subnets": {} }), "names no subnet"),
            (json!({ "subnets": many }), "9 subnets, 8 are the most"),
            (json!({ "subnet": "10.0.0.0/24", "subnets": { "a": "10.1.0.0/24" } }), "both `subnet` and `subnets`"),
        ] {
            assert!(read(wrong).unwrap_err().contains(said), "{said}");
        }
    }
}
