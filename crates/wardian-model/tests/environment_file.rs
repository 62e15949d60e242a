//! What a user sees of an environment file that can't be used, or probably isn't meant: the place, the words, the hint.
//! One test per mistake; the expectations are the whole output.

use wardian_model::file::{EnvironmentFile, FileError, MAX_MACHINES, Severity, read};

/// The problems of a file, as a user reads them.
#[track_caller]
fn problems(text: &str) -> String {
    match read(text, "env.yaml") {
        Ok(_) => panic!("this file was read without a problem:\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn file(text: &str) -> EnvironmentFile {
    read(text, "env.yaml").unwrap_or_else(|error| panic!("{error}"))
}

/// The warnings of a file that can be used.
#[track_caller]
fn warnings(text: &str) -> String {
    let warnings = file(text).warnings;
    assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
    warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

/// `line:column` of every problem.
fn places(error: &FileError) -> Vec<(usize, usize)> {
    error.problems.iter().map(|problem| (problem.line, problem.column)).collect()
}

/// A file with a machine `web` that has `lines`, each at column 5.
fn web(lines: &[&str]) -> String {
    format!(
        "name: store\nmachines:\n  web:\n    image: micro\n    {}\n  db: {{ image: micro }}\n",
        lines.join("\n    ")
    )
}

/// A file with machines `web` and `db`, followed by `lines`.
fn with(lines: &str) -> String {
    format!("name: store\nmachines:\n  web: {{ image: micro }}\n  db: {{ image: micro }}\n{lines}\n")
}

mod keys_and_values {
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
          = hint: the keys are image, hostname, memory, cpus, disk, address, mac, start-after, ready, cloud-init, limits
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
    fn words_of_the_design_that_come_later_are_told_apart_from_mistakes() {
        let text = "name: store\nmachines:\n  web: { image: micro, role: guest }\ndepends-outside: [ad]\nisolation: { mode: dual-interface }\n";
        insta::assert_snapshot!(problems(text), @r#"
        error: `role` of a machine is not yet available in this version
         --> env.yaml:3:24
          |
        3 |   web: { image: micro, role: guest }
          |                        ^^^^
          = hint: remove it for now

        error: `depends-outside` of an environment is not yet available in this version
         --> env.yaml:4:1
          |
        4 | depends-outside: [ad]
          | ^^^^^^^^^^^^^^^
          = hint: remove it for now

        error: `mode: dual-interface` is not yet available in this version
         --> env.yaml:5:20
          |
        5 | isolation: { mode: dual-interface }
          |                    ^^^^^^^^^^^^^^
          = hint: what is available: two-way-nat
        "#);
        assert!(problems(&with("isolation: { mode: none }")).contains("not yet available"));
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
}

mod yaml {
    use super::*;

    #[test]
    fn an_empty_file_says_what_to_write() {
        insta::assert_snapshot!(problems(""), @r#"
        error: the file is empty
         --> env.yaml:1:1
          |
        1 |
          | ^
          = hint: an environment has at least `name` and `machines`
        "#);
        assert!(problems("# nothing\n").contains("the file is empty"));
    }

    #[test]
    fn a_file_that_is_no_yaml_points_at_the_place() {
        insta::assert_snapshot!(problems("name: store\nmachines: [web\n"), @r#"
        error: this is not YAML that can be read: unclosed bracket '['
         --> env.yaml:2:11
          |
        2 | machines: [web
          |           ^
        "#);
    }

    #[test]
    fn a_tab_as_indentation_points_at_the_place() {
        insta::assert_snapshot!(problems("name: store\nmachines:\n\tweb: 1\n"), @r#"
        error: this is not YAML that can be read: tabs disallowed within this context (block indentation)
         --> env.yaml:3:2
          |
        3 | 	web: 1
          | 	^
        "#);
    }

    #[test]
    fn two_documents_are_an_error() {
        insta::assert_snapshot!(problems(&format!("{}---\nname: other\n", with(""))), @r#"
        error: the file holds more than one document
         --> env.yaml:7:1
          |
        7 | name: other
          | ^
          = hint: write one environment per file, without `---` between
        "#);
    }

    #[test]
    fn a_list_is_no_environment() {
        insta::assert_snapshot!(problems("- web\n- db\n"), @r#"
        error: the file wants a table of name, machines, network, isolation; here is a list
         --> env.yaml:1:1
          |
        1 | - web
          | ^
        "#);
    }

    #[test]
    fn anchors_and_merges_read_like_the_text_they_stand_for() {
        let text = "name: store\nmachines:\n  web: &small\n    image: micro\n    memory: 192 MiB\n  db:\n    <<: *small\n    memory: 256 MiB\n";
        let spec = file(text).spec;
        assert_eq!(spec.machines["db"].image.as_str(), "micro");
        assert_eq!(spec.machines["db"].memory.to_string(), "256 MiB");
    }

    #[test]
    fn a_mistake_in_an_anchored_text_points_at_its_use() {
        let text =
            "name: store\nmachines:\n  web: { image: micro, memory: &m 12 }\n  db: { image: micro, memory: *m }\n";
        assert_eq!(places(&read(text, "env.yaml").unwrap_err()), [(3, 35), (4, 31)]);
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let text = "name: store\nmachines: { \"größe\": { image: micro } }\n";
        assert_eq!(places(&read(text, "env.yaml").unwrap_err()), [(2, 13)]);
        let text = "name: store # größe\nmachines: { web: { hostname: \"größe\", imag: micro } }\n";
        assert_eq!(places(&read(text, "env.yaml").unwrap_err()), [(2, 30), (2, 39)]);
    }

    #[test]
    fn a_byte_order_mark_and_dos_line_ends_change_nothing() {
        let text = format!("\u{feff}{}", with("network: { subnt: 10.0.0.0/8 }")).replace('\n', "\r\n");
        insta::assert_snapshot!(problems(&text), @r#"
        error: `subnt` is not a key of `network`
         --> env.yaml:5:12
          |
        5 | network: { subnt: 10.0.0.0/8 }
          |            ^^^^^
          = hint: did you mean `subnet`?
        "#);
    }

    #[test]
    fn characters_that_move_a_cursor_are_not_shown() {
        let shown = problems("name: \"x\u{7f}\"\nmachines: {}\n");
        assert!(!shown.contains('\u{7f}'), "{shown}");
    }

    #[test]
    fn no_and_on_and_numbers_are_names_like_others() {
        let text = "name: on\nmachines:\n  no: { image: 12e4, start-after: [007] }\n  007: { image: 1.5e3x, ready: { exec: [sleep, 5] } }\n";
        let error = read(text, "env.yaml").unwrap_err();
        assert_eq!(places(&error), [(4, 17)], "{error}");
        let spec = file(&text.replace("1.5e3x", "15e3")).spec;
        assert_eq!(spec.machines["no"].image.as_str(), "12e4");
        assert_eq!(spec.machines["no"].start_after[0].as_str(), "007");
    }
}

mod starts {
    use super::*;

    #[test]
    fn waiting_for_a_machine_there_is_not_suggests_the_nearest() {
        insta::assert_snapshot!(problems(&web(&["start-after: [bd]"])), @r#"
        error: there is no machine bd
         --> env.yaml:5:19
          |
        5 |     start-after: [bd]
          |                   ^^
          = hint: did you mean `db`?
        "#);
    }

    #[test]
    fn waiting_for_a_machine_like_no_other_lists_the_machines() {
        insta::assert_snapshot!(problems(&web(&["start-after:", "  - domain-controller"])), @r#"
        error: there is no machine domain-controller
         --> env.yaml:6:9
          |
        6 |       - domain-controller
          |         ^^^^^^^^^^^^^^^^^
          = hint: the machines are web, db
        "#);
    }

    #[test]
    fn a_machine_can_not_wait_for_itself() {
        insta::assert_snapshot!(problems(&web(&["start-after: [web]"])), @r#"
        error: web waits for itself, so it would never start
         --> env.yaml:5:19
          |
        5 |     start-after: [web]
          |                   ^^^
          = hint: remove it here
        "#);
    }

    #[test]
    fn a_circle_of_waits_is_spelled_out() {
        let text = "name: s\nmachines:\n  a: { image: m, start-after: [b] }\n  b: { image: m, start-after: [d, c] }\n  c: { image: m, start-after: [a] }\n  d: { image: m }\n";
        insta::assert_snapshot!(problems(text), @r#"
        error: these machines wait for each other: a → b → c → a
         --> env.yaml:5:32
          |
        5 |   c: { image: m, start-after: [a] }
          |                                ^
          = hint: one of them must start first; remove its `start-after`
        "#);
    }

    #[test]
    fn waiting_twice_for_the_same_machine_is_a_warning() {
        insta::assert_snapshot!(warnings(&web(&["start-after: [db, db]"])), @r#"
        warning: web waits for db twice
         --> env.yaml:5:23
          |
        5 |     start-after: [db, db]
          |                       ^^
          = hint: once is enough
        "#);
    }

    #[test]
    fn machines_that_wait_for_the_same_one_are_no_circle() {
        file(
            "name: s\nmachines:\n  a: { image: m, start-after: [b, c] }\n  b: { image: m, start-after: [c] }\n  c: { image: m }\n",
        );
    }
}

mod network {
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
    fn a_default_subnet_that_is_too_small_points_at_the_file() {
        let machines: String = (0..254).map(|n| format!("  m{n}: {{ image: micro }}\n")).collect();
        insta::assert_snapshot!(problems(&format!("name: many\nmachines:\n{machines}")), @r#"
        error: 253 machines fit into 192.168.23.0/24 beside the gateway; the environment has 254
         --> env.yaml:1:1
          |
        1 | name: many
          | ^
          = hint: a prefix of 23 is long enough
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
}

mod edge {
    use super::*;

    #[test]
    fn exposing_a_machine_there_is_not_suggests_the_nearest() {
        insta::assert_snapshot!(problems(&with("isolation: { expose: [ wbe:80 ] }")), @r#"
        error: there is no machine wbe
         --> env.yaml:5:24
          |
        5 | isolation: { expose: [ wbe:80 ] }
          |                        ^^^^^^
          = hint: did you mean `web`?
        "#);
    }

    #[test]
    fn a_port_can_not_be_exposed_twice() {
        insta::assert_snapshot!(problems(&with("isolation:\n  expose:\n    - web:80\n    - web:80/tcp at 8080")), @r#"
        error: web:80/tcp is exposed twice
         --> env.yaml:8:7
          |
        8 |     - web:80/tcp at 8080
          |       ^^^^^^^^^^^^^^^^^^
          = hint: remove one of the two
        "#);
        file(&with("isolation: { expose: [ web:53, web:53/udp ] }"));
    }

    #[test]
    fn a_port_of_the_host_leads_to_one_place() {
        insta::assert_snapshot!(problems(&with("isolation:\n  expose: [ web:80 at 8080, db:80 at 8080 ]")), @r#"
        error: port 8080/tcp of the host leads to web:80 already
         --> env.yaml:6:29
          |
        6 |   expose: [ web:80 at 8080, db:80 at 8080 ]
          |                             ^^^^^^^^^^^^^
          = hint: choose another port, or none to get a free one
        "#);
        file(&with("isolation: { expose: [ web:53 at 5353, db:53/udp at 5353 ] }"));
    }

    #[test]
    fn a_port_that_is_none_is_an_error() {
        insta::assert_snapshot!(problems(&with("isolation: { expose: [ web:http ] }")), @r#"
        error: "web:http" doesn't name a port
         --> env.yaml:5:24
          |
        5 | isolation: { expose: [ web:http ] }
          |                        ^^^^^^^^
          = hint: write MACHINE:PORT, MACHINE:PORT/udp or MACHINE:PORT at PORT (1 to 65535)
        "#);
    }

    #[test]
    fn exposing_through_a_sealed_fence_is_a_warning() {
        insta::assert_snapshot!(warnings(&with("isolation: { fence: sealed, expose: [ web:80 ] }")), @r#"
        warning: nothing crosses a sealed fence, so these ports lead nowhere
         --> env.yaml:5:29
          |
        5 | isolation: { fence: sealed, expose: [ web:80 ] }
          |                             ^^^^^^
          = hint: they will once the fence is out-only; or remove them
        "#);
    }
}

mod machines {
    use super::*;

    #[test]
    fn an_environment_without_machines_is_an_error() {
        insta::assert_snapshot!(problems("name: store\nmachines: {}\n"), @r#"
        error: the environment has no machines
         --> env.yaml:2:11
          |
        2 | machines: {}
          |           ^
          = hint: write at least one, as in `web: { image: micro }`
        "#);
    }

    #[test]
    fn more_machines_than_an_environment_may_have_are_an_error() {
        let machines: String = (0..=MAX_MACHINES).map(|n| format!("  m{n}: {{ image: micro }}\n")).collect();
        let shown = problems(&format!("name: many\nmachines:\n{machines}network: {{ subnet: 10.0.0.0/8 }}\n"));
        assert!(
            shown.starts_with("error: the environment has 1001 machines; 1000 at most\n --> env.yaml:2:1\n"),
            "{shown}"
        );
    }

    #[test]
    fn too_little_of_anything_is_an_error() {
        let lines =
            ["memory: 8 MiB", "cpus: 0", "disk: 0 B", "limits: { cpu-percent: 0 }", "ready: { tcp: 80, timeout: 0s }"];
        insta::assert_snapshot!(problems(&web(&lines)), @r#"
        error: 8 MiB of memory are too little for any machine
         --> env.yaml:5:13
          |
        5 |     memory: 8 MiB
          |             ^^^^^
          = hint: give it 16 MiB at least

        error: a machine without processors can't run
         --> env.yaml:6:11
          |
        6 |     cpus: 0
          |           ^
          = hint: give it 1 at least

        error: 0 B are too little for a disk
         --> env.yaml:7:11
          |
        7 |     disk: 0 B
          |           ^^^
          = hint: without `disk`, it is as large as its image

        error: a machine that gets no processor time can't run
         --> env.yaml:8:28
          |
        8 |     limits: { cpu-percent: 0 }
          |                            ^
          = hint: give it 1 at least, or remove the limit

        error: no machine is ready after no time at all
         --> env.yaml:9:32
          |
        9 |     ready: { tcp: 80, timeout: 0s }
          |                                ^^
          = hint: without `timeout`, it may take 5m
        "#);
        assert!(problems(&web(&["memory: 0 B"])).contains("too little"));
    }

    #[test]
    fn user_data_of_no_known_kind_is_a_warning() {
        insta::assert_snapshot!(warnings(&web(&["cloud-init:", "  user-data: |", "    echo hello"])), @r#"
        warning: this user data is neither a cloud-config nor a script, so most guests will ignore it
         --> env.yaml:7:9
          |
        7 |         echo hello
          |         ^^^^^^^^^^
          = hint: start its first line with `#cloud-config` or `#!`
        "#);
        assert_eq!(warnings(&web(&["cloud-init: { user-data: \"#cloud-config\\n{}\" }"])), "");
    }

    #[test]
    fn an_ssh_key_is_one_line() {
        insta::assert_snapshot!(problems(&web(&["cloud-init:", "  ssh-keys: [\"ssh-ed25519 A\\nb\"]"])), @r#"
        error: an SSH key is one line of text
         --> env.yaml:6:18
          |
        6 |       ssh-keys: ["ssh-ed25519 A\nb"]
          |                  ^^^^^^^^^^^^^^^^^^
          = hint: copy the line from a .pub file
        "#);
    }
}
