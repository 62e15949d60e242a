//! Keys and values that are wrong by themselves.

use super::*;

#[test]
fn an_unknown_key_is_an_error_that_points_at_it_and_suggests_the_nearest() {
    insta::assert_snapshot!(problems(&web(&["memroy: 192 MiB"])), @r#"
        error: `memroy` is not a key of a machine
         --> env.yaml:5:5
          |
        5 |     memroy: 192 MiB
          |     ^^^^^^
          = hint: did you mean `memory`?
        "#);
}

#[test]
fn an_unknown_key_like_no_other_lists_the_keys_there_are() {
    insta::assert_snapshot!(problems(&web(&["colour: green"])), @r#"
        error: `colour` is not a key of a machine
         --> env.yaml:5:5
          |
        5 |     colour: green
          |     ^^^^^^
          = hint: the keys are image, hostname, memory, cpus, disk, subnet, address, mac, role, start-after, ready, cloud-init, acl, allow-spoofing, limits, generation-id, depends-outside
        "#);
}

#[test]
fn a_key_with_an_underscore_suggests_the_hyphen() {
    insta::assert_snapshot!(problems(&web(&["start_after: [db]"])), @r#"
        error: `start_after` is not a key of a machine
         --> env.yaml:5:5
          |
        5 |     start_after: [db]
          |     ^^^^^^^^^^^
          = hint: did you mean `start-after`?
        "#);
}

#[test]
fn a_key_that_stands_in_the_wrong_table_is_told_where_it_belongs() {
    insta::assert_snapshot!(problems(&with("fence: open")), @r#"
        error: `fence` is not a key of an environment
         --> env.yaml:5:1
          |
        5 | fence: open
          | ^^^^^
          = hint: `fence` belongs to `isolation`
        "#);
}

#[test]
fn a_key_that_stands_twice_is_an_error_at_the_second() {
    insta::assert_snapshot!(problems(&web(&["memory: 192 MiB", "cpus: 2", "memory: 256 MiB"])), @r#"
        error: `memory` stands twice in one table; first in line 5
         --> env.yaml:7:5
          |
        7 |     memory: 256 MiB
          |     ^^^^^^
          = hint: remove one of the two
        "#);
}

#[test]
fn a_machine_that_stands_twice_is_an_error_even_if_its_name_is_a_number() {
    let text = "name: store\nmachines:\n  1: { image: micro }\n  1: { image: micro }\n";
    insta::assert_snapshot!(problems(text), @r#"
        error: `1` stands twice in one table
         --> env.yaml:4:3
          |
        4 |   1: { image: micro }
          |   ^
          = hint: remove one of the two
        "#);
}

#[test]
fn a_missing_key_is_an_error_at_what_needs_it() {
    insta::assert_snapshot!(problems("name: store\nmachines:\n  web:\n    memory: 192 MiB\n"), @r#"
        error: a machine needs `image`: the name of an image
         --> env.yaml:3:3
          |
        3 |   web:
          |   ^^^
        "#);
}

#[test]
fn a_misspelled_required_key_is_one_problem_not_two() {
    insta::assert_snapshot!(problems("name: store\nmachines:\n  web: { imag: micro }\n"), @r#"
        error: `imag` is not a key of a machine
         --> env.yaml:3:10
          |
        3 |   web: { imag: micro }
          |          ^^^^
          = hint: did you mean `image`?
        "#);
}

#[test]
fn a_key_without_a_value_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["hostname:"])), @r#"
        error: `hostname` has no value; it wants a hostname
         --> env.yaml:5:5
          |
        5 |     hostname:
          |     ^^^^^^^^
          = hint: write one, or remove the key
        "#);
}

#[test]
fn a_machine_without_anything_is_an_error() {
    insta::assert_snapshot!(problems("name: store\nmachines:\n  web:\n"), @r#"
        error: `web` has no value; it wants a table of image, hostname, memory, cpus, …
         --> env.yaml:3:3
          |
        3 |   web:
          |   ^^^
          = hint: write one, or remove the key
        "#);
}

#[test]
fn a_text_where_a_list_is_wanted_shows_the_list() {
    insta::assert_snapshot!(problems(&web(&["start-after: db"])), @r#"
        error: `start-after` wants a list; here is the text "db"
         --> env.yaml:5:18
          |
        5 |     start-after: db
          |                  ^^
          = hint: write [db]
        "#);
}

#[test]
fn a_text_where_a_number_is_wanted_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["cpus: two"])), @r#"
        error: `cpus` wants a number of processors, 1 to 255; here is the text "two"
         --> env.yaml:5:11
          |
        5 |     cpus: two
          |           ^^^
        "#);
}

#[test]
fn a_number_in_quotes_where_a_number_is_wanted_says_so() {
    insta::assert_snapshot!(problems(&web(&["cpus: \"2\""])), @r#"
        error: `cpus` wants a number of processors, 1 to 255; here is the text "2"
         --> env.yaml:5:11
          |
        5 |     cpus: "2"
          |           ^^^
          = hint: write 2 without quotes
        "#);
}

#[test]
fn a_number_that_is_too_large_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["cpus: 256", "ready: { tcp: 65536 }"])), @r#"
        error: `cpus` wants a number of processors, 1 to 255; here is `256`
         --> env.yaml:5:11
          |
        5 |     cpus: 256
          |           ^^^

        error: `tcp` wants a port, 1 to 65535; here is `65536`
         --> env.yaml:6:19
          |
        6 |     ready: { tcp: 65536 }
          |                   ^^^^^
        "#);
}

#[test]
fn port_0_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["ready: { tcp: 0 }"])), @r#"
        error: `tcp` wants a port, 1 to 65535; here is `0`
         --> env.yaml:5:19
          |
        5 |     ready: { tcp: 0 }
          |                   ^
        "#);
}

#[test]
fn a_table_where_a_text_is_wanted_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["hostname: { name: web }"])), @r#"
        error: `hostname` wants a hostname; here is a table
         --> env.yaml:5:15
          |
        5 |     hostname: { name: web }
          |               ^
        "#);
}

#[test]
fn a_space_in_an_exposed_port_is_told_apart_from_a_table() {
    insta::assert_snapshot!(problems(&with("isolation:\n  expose:\n    - web: 80")), @r#"
        error: `expose` wants a port, as in web:80; here is a table
         --> env.yaml:7:7
          |
        7 |     - web: 80
          |       ^
          = hint: write web:80, without a space
        "#);
}

#[test]
fn a_name_that_is_no_dns_label_is_an_error_with_a_name_that_is() {
    let text = "name: My Store\nmachines:\n  Web_1: { image: micro }\n  \"-\": { image: micro }\n";
    insta::assert_snapshot!(problems(text), @r#"
        error: the environment name "My Store" contains 'M'
         --> env.yaml:1:7
          |
        1 | name: My Store
          |       ^^^^^^^^
          = hint: `my-store` would do

        error: the machine name "Web_1" contains 'W'
         --> env.yaml:3:3
          |
        3 |   Web_1: { image: micro }
          |   ^^^^^
          = hint: `web-1` would do

        error: the machine name "-" starts or ends with a hyphen; a DNS label can't
         --> env.yaml:4:3
          |
        4 |   "-": { image: micro }
          |   ^^^
        "#);
}

#[test]
fn a_size_without_a_unit_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["memory: 192", "disk: 2 GB"])), @r#"
        error: "192" is not a size
         --> env.yaml:5:13
          |
        5 |     memory: 192
          |             ^^^
          = hint: write a whole number and a unit, as in 192 MiB (KiB, MiB, GiB, TiB)

        error: "2 GB" is not a size
         --> env.yaml:6:11
          |
        6 |     disk: 2 GB
          |           ^^^^
          = hint: write a whole number and a unit, as in 192 MiB (KiB, MiB, GiB, TiB)
        "#);
}

#[test]
fn a_length_of_time_without_a_unit_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["ready: { tcp: 80, timeout: 30 }"])), @r#"
        error: "30" is not a length of time
         --> env.yaml:5:32
          |
        5 |     ready: { tcp: 80, timeout: 30 }
          |                                ^^
          = hint: write a whole number and a unit, as in 90s (ms, s, m, h, d)
        "#);
}

#[test]
fn addresses_that_are_none_are_errors() {
    insta::assert_snapshot!(problems(&web(&["address: 192.168.23", "mac: 01:00:5e:00:00:01"])), @r#"
        error: "192.168.23" is not an address
         --> env.yaml:5:14
          |
        5 |     address: 192.168.23
          |              ^^^^^^^^^^
          = hint: write four numbers up to 255, as in 192.168.23.10

        error: 01:00:5e:00:00:01 can't be the address of one interface: it is a group address or all zero
         --> env.yaml:6:10
          |
        6 |     mac: 01:00:5e:00:00:01
          |          ^^^^^^^^^^^^^^^^^
        "#);
}

#[test]
fn an_ipv6_address_is_not_yet_available() {
    insta::assert_snapshot!(problems(&web(&["address: fd00::1"])), @r#"
        error: the address fd00::1 is IPv6, which is not yet available in this version
         --> env.yaml:5:14
          |
        5 |     address: fd00::1
          |              ^^^^^^^
        "#);
}

#[test]
fn two_probes_at_once_are_an_error() {
    insta::assert_snapshot!(problems(&web(&["ready: { tcp: 80, http: { port: 80 } }"])), @r#"
        error: `ready` wants exactly one of agent, tcp, http, exec; found 2
         --> env.yaml:5:12
          |
        5 |     ready: { tcp: 80, http: { port: 80 } }
          |            ^
        "#);
}

#[test]
fn a_probe_that_is_no_word_shows_the_forms_there_are() {
    insta::assert_snapshot!(problems(&web(&["ready: ssh"])), @r#"
        error: `ready` wants `agent`, { tcp: PORT }, { http: { port: PORT, path: PATH } } or { exec: [COMMAND, …] }; here is the text "ssh"
         --> env.yaml:5:12
          |
        5 |     ready: ssh
          |            ^^^
        "#);
}

#[test]
fn an_empty_command_is_an_error() {
    insta::assert_snapshot!(problems(&web(&["ready: { exec: [] }"])), @r#"
        error: `exec` wants a command: a list of the program and its arguments
         --> env.yaml:5:12
          |
        5 |     ready: { exec: [] }
          |            ^
        "#);
}

#[test]
fn a_word_that_is_none_suggests_the_nearest() {
    insta::assert_snapshot!(problems(&with("isolation: { fence: outonly }")), @r#"
        error: "outonly" is not a word for `fence`
         --> env.yaml:5:21
          |
        5 | isolation: { fence: outonly }
          |                     ^^^^^^^
          = hint: did you mean `out-only`?
        "#);
}

#[test]
fn what_is_used_outside_is_warned_of_unless_nothing_gets_there() {
    let text = "name: store\nmachines:\n  web: { image: micro, depends-outside: [the database sql.contoso.com] }\ndepends-outside: [the directory]\n";
    let file = read(text, "env.yaml").unwrap();
    let warnings: Vec<_> = file.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("the database sql.contoso.com is outside")), "{warnings:?}");
    let sealed = format!("{text}isolation: {{ fence: sealed }}\n");
    assert!(read(&sealed, "env.yaml").unwrap().warnings.is_empty());
    assert!(read(&format!("{text}x: 1\n").replace("[the directory]", "[' ']"), "env.yaml").is_err());
}

#[test]
fn everything_wrong_is_reported_at_once_in_the_order_of_the_file() {
    let text = "nam: store\nmachines:\n  web:\n    image: Micro\n    memory: 12\n    cpus: many\n  db:\n    hostnam: x\nnetwork: 3\n";
    let error = read(text, "env.yaml").unwrap_err();
    assert_eq!(places(&error), [(1, 1), (4, 12), (5, 13), (6, 11), (7, 3), (8, 5), (9, 10)]);
}

#[test]
fn an_unknown_key_does_not_hide_how_the_parts_fit_together() {
    let text = web(&["colour: green", "start-after: [dc]"]);
    assert_eq!(places(&read(&text, "env.yaml").unwrap_err()), [(5, 5), (6, 19)]);
}
