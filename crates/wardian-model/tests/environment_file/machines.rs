//! How many machines there may be, and what each may have.

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
    assert!(shown.starts_with("error: the environment has 41 machines; 40 at most\n --> env.yaml:2:1\n"), "{shown}");
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

#[test]
fn the_gateway_s_hardware_address_is_nobody_else_s() {
    let shown = problems(&web(&["mac: 02:57:7f:ff:ff:ff"]));
    assert!(
        shown.starts_with("error: 02:57:7f:ff:ff:ff is the gateway's hardware address\n --> env.yaml:5:10\n"),
        "{shown}"
    );
}

#[test]
fn who_may_spoof_does_so_inside_and_only_where_there_is_an_inside() {
    let text = |more: &str, isolation: &str| {
        format!("name: store\nmachines:\n  web: {{ image: micro, allow-spoofing: true{more} }}\n{isolation}")
    };
    assert!(file(&text("", "")).spec.machines["web"].allow_spoofing);
    insta::assert_snapshot!(problems(&text(", role: domain-controller", "")), @"
    error: web is the domain controller, whom all machines know by its address
     --> env.yaml:3:40
      |
    3 |   web: { image: micro, allow-spoofing: true, role: domain-controller }
      |                                        ^^^^
      = hint: remove it, or the role
    ");
    assert!(problems(&text("", "isolation: { mode: none, fence: open }\n")).contains("forged on the lab network"));
    assert!(problems(&text("", "").replace("true", "perhaps")).contains("`allow-spoofing` wants true or false"));
}

#[test]
fn caps_carry_decimal_units() {
    let text =
        |cap: &str| format!("name: store\nmachines:\n  web: {{ image: micro, limits: {{ network-in: {cap} }} }}\n");
    let limits = &file(&text("10 Mbit")).spec.machines["web"].limits;
    assert_eq!(limits.network_in.map(|cap| cap.bytes_per_second()), Some(1_250_000));
    assert!(problems(&text("10 MB")).contains("write a whole number and a unit, as in 10 Mbit"));
    assert!(problems(&text("1 kbit")).contains("write 64 kbit to 1000 Gbit"));
}
