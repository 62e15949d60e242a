//! The shape of an environment file: which keys stand where, and what each wants. One table per type of
//! [`crate::spec`]; a test holds the two together. What a single value may be is left to its type.

use super::value::Value;
use crate::{
    bandwidth::Bandwidth,
    mac::MacAddress,
    name::{Domain, EnvironmentName, Hostname, ImageName, MachineName, SubnetName},
    size::ByteSize,
    span::Span,
    spec::{AclRule, Expose, Gateway, NetworkSpec, Readiness, Subnets, SubnetsError},
};

/// Says why a value is none of a type.
pub(super) type Check = fn(&Value) -> Result<(), String>;

/// What may stand somewhere.
pub(super) enum Shape {
    /// A table of these keys.
    Table {
        /// With its article.
        what: &'static str,
        keys: &'static [Key],
        /// Whether the values fit together.
        whole: Check,
    },
    /// A table whose keys are names.
    Named {
        what: &'static str,
        name: Check,
        each: &'static Shape,
        /// Whether there may be so many.
        whole: Check,
    },
    /// A list.
    List { of: &'static Shape },
    /// A text that reads as some type.
    Text { wants: &'static str, check: Check },
    /// A whole number from `least` to `most`.
    Integer { wants: &'static str, least: u64, most: u64 },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word { words: &'static [&'static str] },
    /// A word or a table.
    Either { word: &'static Shape, table: &'static Shape, wants: &'static str },
}

/// A key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: &'static Shape,
    pub(super) required: bool,
}

const fn key(name: &'static str, shape: &'static Shape) -> Key {
    Key { name, shape, required: false }
}

const fn required(name: &'static str, shape: &'static Shape) -> Key {
    Key { name, shape, required: true }
}

fn any(_: &Value) -> Result<(), String> {
    Ok(())
}

fn subnet(value: &Value) -> Result<(), String> {
    let Value::Text(text) = value else { return Ok(()) };
    match text.parse::<ipnet::IpNet>() {
        Ok(ipnet::IpNet::V4(_)) => Ok(()),
        Ok(ipnet::IpNet::V6(_)) => Err(format!(
            "the subnet {text} is IPv6, which is not yet available in this version; write an IPv4 subnet, \
             as in 192.168.23.0/24"
        )),
        Err(_) => Err(format!(
            "{text:?} is not a subnet; write its network address and the length of its prefix, as in 192.168.23.0/24"
        )),
    }
}

fn subnets(value: &Value) -> Result<(), String> {
    let Value::Table(all) = value else { return Ok(()) };
    match all.len() {
        0 => Err(SubnetsError::None.to_string()),
        count if count > Subnets::MOST => Err(SubnetsError::TooMany(count).to_string()),
        _ => Ok(()),
    }
}

fn address(value: &Value) -> Result<(), String> {
    let Value::Text(text) = value else { return Ok(()) };
    match text.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => Ok(()),
        Ok(std::net::IpAddr::V6(_)) => {
            Err(format!("the address {text} is IPv6, which is not yet available in this version"))
        }
        Err(_) => Err(format!("{text:?} is not an address; write four numbers up to 255, as in 192.168.23.10")),
    }
}

const TEXT: Shape = Shape::Text { wants: "a text", check: any };
const PORT: Shape = Shape::Integer { wants: "a port, 1 to 65535", least: 1, most: 65_535 };

/// A whole file: [`crate::spec::EnvironmentSpec`].
pub(super) static ENVIRONMENT: Shape = Shape::Table {
    what: "an environment",
    keys: &[
        required("name", &Shape::Text { wants: "a name", check: Value::fits::<EnvironmentName> }),
        required(
            "machines",
            &Shape::Named { what: "a table of machines", name: Value::fits::<MachineName>, each: &MACHINE, whole: any },
        ),
        key("network", &NETWORK),
        key("isolation", &ISOLATION),
        key("placement", &PLACEMENT),
        key("depends-outside", &DEPENDENCIES),
    ],

    whole: any,
};

static DEPENDENCIES: Shape = Shape::List { of: &TEXT };

static MACHINE: Shape = Shape::Table {
    what: "a machine",
    keys: &[
        required("image", &Shape::Text { wants: "the name of an image", check: Value::fits::<ImageName> }),
        key("hostname", &Shape::Text { wants: "a hostname", check: Value::fits::<Hostname> }),
        key("memory", &Shape::Text { wants: "a size, as in 192 MiB", check: Value::fits::<ByteSize> }),
        key("cpus", &Shape::Integer { wants: "a number of processors, 1 to 255", least: 0, most: 255 }),
        key("disk", &Shape::Text { wants: "a size, as in 2 GiB", check: Value::fits::<ByteSize> }),
        key("subnet", &Shape::Text { wants: "the name of a subnet", check: Value::fits::<SubnetName> }),
        key("address", &Shape::Text { wants: "an IPv4 address", check: address }),
        key("mac", &Shape::Text { wants: "a hardware address", check: Value::fits::<MacAddress> }),
        key("role", &Shape::Word { words: &["domain-controller"] }),
        key(
            "start-after",
            &Shape::List { of: &Shape::Text { wants: "the name of a machine", check: Value::fits::<MachineName> } },
        ),
        key("ready", &READY),
        key("cloud-init", &CLOUD_INIT),
        key("acl", &ACL),
        key("allow-spoofing", &Shape::Flag),
        key("limits", &LIMITS),
        key("generation-id", &Shape::Word { words: &["fresh", "keep"] }),
        key("depends-outside", &DEPENDENCIES),
    ],

    whole: any,
};

static READY: Shape = Shape::Either {
    word: &Shape::Word { words: &["agent"] },
    table: &Shape::Table {
        what: "`ready`",
        keys: &[
            key("agent", &Shape::Table { what: "`agent`", keys: &[], whole: any }),
            key("tcp", &PORT),
            key("http", &Shape::Table { what: "`http`", keys: &[key("port", &PORT), key("path", &TEXT)], whole: any }),
            key("exec", &Shape::List { of: &TEXT }),
            key("timeout", &Shape::Text { wants: "a length of time, as in 90s", check: Value::fits::<Span> }),
        ],

        whole: Value::fits::<Readiness>,
    },
    wants: "`agent`, { tcp: PORT }, { http: { port: PORT, path: PATH } } or { exec: [COMMAND, …] }",
};

static CLOUD_INIT: Shape = Shape::Table {
    what: "`cloud-init`",
    keys: &[key("ssh-keys", &Shape::List { of: &TEXT }), key("user-data", &TEXT)],

    whole: any,
};

static BANDWIDTH: Shape = Shape::Text { wants: "a bandwidth, as in 10 Mbit", check: Value::fits::<Bandwidth> };

static LIMITS: Shape = Shape::Table {
    what: "`limits`",
    keys: &[
        key(
            "cpu-percent",
            &Shape::Integer { wants: "a percentage of one processor, 1 or more", least: 0, most: u32::MAX as u64 },
        ),
        key("network-in", &BANDWIDTH),
        key("network-out", &BANDWIDTH),
    ],

    whole: any,
};

static PLACEMENT: Shape = Shape::Table {
    what: "`placement`",
    keys: &[
        key("policy", &Shape::Word { words: &["together", "spread", "pack"] }),
        key("same-host", &Shape::List { of: &MACHINES }),
        key("apart", &Shape::List { of: &MACHINES }),
    ],

    whole: any,
};

static MACHINES: Shape =
    Shape::List { of: &Shape::Text { wants: "the name of a machine", check: Value::fits::<MachineName> } };

static ACL: Shape = Shape::List {
    of: &Shape::Text { wants: "a rule, as in `deny udp to any port 53`", check: Value::fits::<AclRule> },
};

static NETWORK: Shape = Shape::Table {
    what: "`network`",
    keys: &[
        key("domain", &Shape::Text { wants: "a domain", check: Value::fits::<Domain> }),
        key("subnet", &SUBNET),
        key(
            "subnets",
            &Shape::Named {
                what: "a table of subnets",
                name: Value::fits::<SubnetName>,
                each: &SUBNET,
                whole: subnets,
            },
        ),
        key("acl", &ACL),
        key("encapsulation", &Shape::Word { words: &["nvgre", "vxlan", "ip-rewrite"] }),
    ],

    whole: Value::fits::<NetworkSpec>,
};

static SUBNET: Shape = Shape::Text { wants: "a subnet, as in 192.168.23.0/24", check: subnet };

static ISOLATION: Shape = Shape::Table {
    what: "`isolation`",
    keys: &[
        key("mode", &Shape::Word { words: &["two-way-nat", "dual-interface", "none"] }),
        key("fence", &Shape::Word { words: &["open", "out-only", "sealed"] }),
        key(
            "gateway",
            &Shape::Text { wants: "per-machine, host or the name of a machine", check: Value::fits::<Gateway> },
        ),
        key(
            "expose",
            &Shape::List { of: &Shape::Text { wants: "a port, as in web:80", check: Value::fits::<Expose> } },
        ),
    ],

    whole: any,
};

/// Every key of a file with the place it belongs to, for those that stand elsewhere.
pub(super) fn places_of(name: &str) -> Vec<&'static str> {
    fn search(shape: &'static Shape, name: &str, found: &mut Vec<&'static str>) {
        match shape {
            Shape::Table { what, keys, .. } => {
                for key in *keys {
                    if key.name == name {
                        found.push(what);
                    }
                    search(key.shape, name, found);
                }
            }
            Shape::Named { each, .. } => search(each, name, found),
            Shape::List { of } => search(of, name, found),
            Shape::Either { word, table, .. } => {
                search(word, name, found);
                search(table, name, found);
            }
            Shape::Text { .. } | Shape::Integer { .. } | Shape::Flag | Shape::Word { .. } => {}
        }
    }
    let mut found = Vec::new();
    search(&ENVIRONMENT, name, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    /// Follows a reference of the schema.
    fn follow<'a>(root: &'a Json, mut at: &'a Json) -> &'a Json {
        while let Some(reference) = at["$ref"].as_str() {
            at = root.pointer(reference.trim_start_matches('#')).unwrap();
        }
        // `Option` of a table is a choice between it and null.
        match at["anyOf"].as_array() {
            Some(choices) if choices.len() == 2 && choices[1]["type"] == "null" => follow(root, &choices[0]),
            _ => at,
        }
    }

    fn same(root: &Json, at: &Json, shape: &'static Shape) {
        let at = follow(root, at);
        match shape {
            Shape::Table { what, keys, .. } => {
                let mut ours: Vec<&str> = keys.iter().map(|key| key.name).collect();
                let mut theirs: Vec<&str> =
                    at["properties"].as_object().map_or(Vec::new(), |all| all.keys().map(String::as_str).collect());
                ours.sort_unstable();
                theirs.sort_unstable();
                assert_eq!(ours, theirs, "the keys of {what}");
                for key in *keys {
                    let needed = at["required"].as_array().is_some_and(|all| all.iter().any(|name| name == key.name));
                    assert_eq!(key.required, needed, "whether `{}` of {what} is required", key.name);
                    same(root, &at["properties"][key.name], key.shape);
                }
            }
            Shape::Named { each, .. } => {
                // A map whose keys have a pattern has one schema, for that pattern.
                let patterns = at["patternProperties"].as_object().unwrap();
                assert_eq!(patterns.len(), 1);
                patterns.values().for_each(|machine| same(root, machine, each));
            }
            Shape::List { of } => same(root, &at["items"], of),
            Shape::Either { table, .. } => same(root, &at["anyOf"][1], table),
            Shape::Word { words, .. } => {
                let theirs: Vec<&str> = match at["oneOf"].as_array() {
                    Some(all) => all.iter().map(|one| one["const"].as_str().unwrap()).collect(),
                    None => at["enum"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect(),
                };
                assert_eq!(*words, theirs);
            }
            Shape::Flag => assert_eq!(at["type"], "boolean"),
            Shape::Text { .. } | Shape::Integer { .. } => {}
        }
    }

    #[test]
    fn the_keys_of_a_file_are_the_keys_of_the_types() {
        let schema = crate::file::schema();
        same(&schema, &schema, &ENVIRONMENT);
    }
}
