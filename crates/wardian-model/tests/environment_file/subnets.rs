//! Several subnets: their names, who is in which, and what can't be.

use super::*;

fn network(lines: &str) -> String {
    format!(
        "name: store\nmachines:\n  web: {{ image: micro }}\n  db: {{ image: micro, subnet: back }}\nnetwork:\n  {lines}\n"
    )
}

#[test]
fn machines_are_in_the_subnet_they_name_and_else_in_the_first() {
    let file = file(&network("subnets: { front: 192.168.23.0/24, back: 192.168.24.0/24 }"));
    let name = |machine: &str| {
        let machine = machine.parse().unwrap();
        let subnet = file.spec.subnet_of(&machine);
        format!("{} {} {}", subnet.name.unwrap(), subnet.net, subnet.gateway())
    };
    assert_eq!(name("web"), "front 192.168.23.0/24 192.168.23.254");
    assert_eq!(name("db"), "back 192.168.24.0/24 192.168.24.254");
    assert!(file.warnings.is_empty());
}

#[test]
fn subnet_and_subnets_together_are_an_error() {
    insta::assert_snapshot!(problems(&network(
        "subnet: 10.0.0.0/24\n  subnets: { front: 10.1.0.0/24, back: 10.2.0.0/24 }"
    )));
}

#[test]
fn subnets_must_not_overlap() {
    insta::assert_snapshot!(problems(&network("subnets:\n    front: 10.0.0.0/16\n    back: 10.0.3.0/24")));
}

#[test]
fn a_subnet_that_is_not_there_is_an_error() {
    insta::assert_snapshot!(problems(&network("subnets: { front: 10.0.0.0/24, black: 10.1.0.0/24 }")));
    insta::assert_snapshot!(problems(&network("subnet: 10.0.0.0/24")));
}

#[test]
fn an_address_is_one_of_the_machines_own_subnet() {
    let text = network("subnets: { front: 10.0.0.0/24, back: 10.1.0.0/24 }")
        .replace("web: { image: micro }", "web: { image: micro, address: 10.1.0.7 }");
    insta::assert_snapshot!(problems(&text));
}

#[test]
fn there_are_eight_subnets_at_most_and_one_at_least() {
    let many: String = (1..=9).map(|n| format!("    s{n}: 10.{n}.0.0/24\n")).collect();
    insta::assert_snapshot!(problems(&network(&format!("subnets:\n{many}"))));
    insta::assert_snapshot!(problems(&network("subnets: {}")));
}

#[test]
fn each_subnet_is_checked_by_itself() {
    let shown = problems(&network("subnets: { front: 127.0.0.0/24, back: 10.1.0.0/31 }"));
    for part in ["127.0.0.0/24 holds loopback addresses", "10.1.0.0/31 has no room for a machine"] {
        assert!(shown.contains(part), "{shown}");
    }
    let shown = problems(&network("subnets: { front: 10.1.0.1/24, back: fd00::/64 }"));
    assert!(shown.contains("IPv6"), "{shown}");
    let full = network("subnets: { front: 10.0.0.0/24, back: 10.1.0.0/30 }")
        .replace("  db:", "  cache: { image: micro, subnet: back }\n  db:");
    let shown = problems(&full);
    assert!(shown.contains("1 machine fits into 10.1.0.0/30 beside the gateway; back has 2"), "{shown}");
}

#[test]
fn what_is_not_built_for_several_subnets_is_refused() {
    let several = "subnets: { front: 10.0.0.0/24, back: 10.1.0.0/24 }\nisolation: ";
    insta::assert_snapshot!(problems(&network(&format!("{several}{{ gateway: web }}"))));
    for mode in ["dual-interface", "none, fence: open"] {
        let shown = problems(&network(&format!("{several}{{ mode: {mode} }}")));
        assert!(shown.contains("an environment has one subnet, and this one has several"), "{shown}");
    }
    // One that has a name is one.
    let one = network("subnets: { back: 10.1.0.0/24 }\nisolation: { mode: dual-interface }");
    assert!(file(&one).warnings.is_empty());
}
