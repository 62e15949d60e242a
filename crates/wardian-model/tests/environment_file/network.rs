//! The network inside: subnet, addresses, names.

use super::*;

#[test]
fn a_subnet_that_is_too_small_says_how_many_machines_fit() {
    insta::assert_snapshot!(problems(&with("network: { subnet: 10.0.0.0/30 }")), @r#"
        error: 1 machine fits into 10.0.0.0/30 beside the gateway; the environment has 2
         --> env.yaml:5:20
          |
        5 | network: { subnet: 10.0.0.0/30 }
          |                    ^^^^^^^^^^^
          = hint: a prefix of 29 is long enough
        "#);
}

#[test]
fn a_subnet_without_room_is_an_error() {
    insta::assert_snapshot!(problems(&with("network: { subnet: 10.0.0.0/31 }")), @r#"
        error: the subnet 10.0.0.0/31 has no room for a machine and its gateway
         --> env.yaml:5:20
          |
        5 | network: { subnet: 10.0.0.0/31 }
          |                    ^^^^^^^^^^^
          = hint: a prefix of 30 or shorter has; 24 is usual
        "#);
    assert!(problems(&with("network: { subnet: 10.0.0.1/32 }")).contains("has no room"));
}

#[test]
fn a_subnet_with_host_bits_suggests_the_subnet_it_is_in() {
    insta::assert_snapshot!(problems(&with("network:\n  subnet: 192.168.23.7/24")), @r#"
        error: 192.168.23.7/24 is an address in a subnet, not a subnet
         --> env.yaml:6:11
          |
        6 |   subnet: 192.168.23.7/24
          |           ^^^^^^^^^^^^^^^
          = hint: did you mean 192.168.23.0/24?
        "#);
}

#[test]
fn an_ipv6_subnet_is_not_yet_available() {
    insta::assert_snapshot!(problems(&with("network:\n  subnet: fd00:23::/64")), @r#"
        error: the subnet fd00:23::/64 is IPv6, which is not yet available in this version
         --> env.yaml:6:11
          |
        6 |   subnet: fd00:23::/64
          |           ^^^^^^^^^^^^
          = hint: write an IPv4 subnet, as in 192.168.23.0/24
        "#);
}

#[test]
fn a_subnet_without_a_prefix_is_an_error() {
    insta::assert_snapshot!(problems(&with("network:\n  subnet: 192.168.23.0")), @r#"
        error: "192.168.23.0" is not a subnet
         --> env.yaml:6:11
          |
        6 |   subnet: 192.168.23.0
          |           ^^^^^^^^^^^^
          = hint: write its network address and the length of its prefix, as in 192.168.23.0/24
        "#);
}

#[test]
fn special_subnets_are_errors() {
    insta::assert_snapshot!(problems(&with("network: { subnet: 127.0.0.0/24 }")), @r#"
        error: the subnet 127.0.0.0/24 holds loopback addresses, which machines can't have
         --> env.yaml:5:20
          |
        5 | network: { subnet: 127.0.0.0/24 }
          |                    ^^^^^^^^^^^^
          = hint: choose a private one, as in 192.168.23.0/24 or 10.23.0.0/16
        "#);
    for (subnet, kind) in [
        ("0.0.0.0/0", "this network"),
        ("0.0.0.0/24", "this network"),
        ("169.254.7.0/24", "link-local"),
        ("224.0.0.0/24", "multicast"),
        ("192.0.0.0/2", "multicast"),
        ("255.0.0.0/24", "reserved"),
    ] {
        let shown = problems(&with(&format!("network: {{ subnet: {subnet} }}")));
        assert!(shown.contains(kind), "{subnet}: {shown}");
    }
}

#[test]
fn a_chosen_address_must_be_free_and_in_the_subnet() {
    let text = "name: store\nmachines:\n  a: { image: m, address: 10.0.0.1 }\n  b: { image: m, address: 192.168.23.0 }\n  c: { image: m, address: 192.168.23.255 }\n  d: { image: m, address: 192.168.23.254 }\n  e: { image: m, address: 192.168.23.9 }\n  f: { image: m, address: 192.168.23.9 }\n";
    insta::assert_snapshot!(problems(text), @r#"
        error: the address 10.0.0.1 is not in the subnet 192.168.23.0/24
         --> env.yaml:3:27
          |
        3 |   a: { image: m, address: 10.0.0.1 }
          |                           ^^^^^^^^
          = hint: choose another of 192.168.23.1 to 192.168.23.253, or none to get a free one

        error: 192.168.23.0 is the network address of 192.168.23.0/24
         --> env.yaml:4:27
          |
        4 |   b: { image: m, address: 192.168.23.0 }
          |                           ^^^^^^^^^^^^
          = hint: choose another of 192.168.23.1 to 192.168.23.253, or none to get a free one

        error: 192.168.23.255 is the broadcast address of 192.168.23.0/24
         --> env.yaml:5:27
          |
        5 |   c: { image: m, address: 192.168.23.255 }
          |                           ^^^^^^^^^^^^^^
          = hint: choose another of 192.168.23.1 to 192.168.23.253, or none to get a free one

        error: 192.168.23.254 is the gateway of 192.168.23.0/24
         --> env.yaml:6:27
          |
        6 |   d: { image: m, address: 192.168.23.254 }
          |                           ^^^^^^^^^^^^^^
          = hint: choose another of 192.168.23.1 to 192.168.23.253, or none to get a free one

        error: e has the address 192.168.23.9 already
         --> env.yaml:8:27
          |
        8 |   f: { image: m, address: 192.168.23.9 }
          |                           ^^^^^^^^^^^^
          = hint: choose another of 192.168.23.1 to 192.168.23.253, or none to get a free one
        "#);
}

#[test]
fn a_chosen_hardware_address_must_be_free() {
    let text = "name: store\nmachines:\n  a: { image: m, mac: \"02:00:00:00:00:01\" }\n  b: { image: m, mac: 02:00:00:00:00:01 }\n";
    insta::assert_snapshot!(problems(text), @r#"
        error: a has this hardware address already
         --> env.yaml:4:23
          |
        4 |   b: { image: m, mac: 02:00:00:00:00:01 }
          |                       ^^^^^^^^^^^^^^^^^
          = hint: choose another, or none to get a free one
        "#);
}

#[test]
fn two_machines_can_not_have_one_hostname() {
    let text = "name: store\nmachines:\n  a: { image: m, hostname: server }\n  b: { image: m, hostname: server }\n";
    insta::assert_snapshot!(problems(text), @r#"
        error: b has the hostname server, and so has a
         --> env.yaml:4:28
          |
        4 |   b: { image: m, hostname: server }
          |                            ^^^^^^
          = hint: a name must lead to one machine only; choose another
        "#);
}

#[test]
fn a_hostname_can_not_be_another_machines_name() {
    insta::assert_snapshot!(problems(&web(&["hostname: db"])), @r#"
        error: web has the hostname db, but that is another machine's name
         --> env.yaml:5:15
          |
        5 |     hostname: db
          |               ^^
          = hint: a name must lead to one machine only; choose another
        "#);
}

#[test]
fn a_full_name_longer_than_dns_carries_is_an_error() {
    let domain = vec!["a".repeat(62); 4].join(".");
    let shown = problems(&with(&format!("network: {{ domain: {domain} }}")));
    assert!(shown.contains("the full name of web would have 255 characters; 253 at most"), "{shown}");
}
