//! The edge: fence, exposed ports, isolation, and the machine that has no outside.

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
fn each_machine_that_shares_a_port_is_looked_at() {
    file(&with("isolation: { expose: [ 'web+db:80 at 8080', web:81 ] }"));
    insta::assert_snapshot!(problems(&with("isolation: { expose: [ web+bd:80 ] }")), @r#"
        error: there is no machine bd
         --> env.yaml:5:24
          |
        5 | isolation: { expose: [ web+bd:80 ] }
          |                        ^^^^^^^^^
          = hint: did you mean `db`?
        "#);
    insta::assert_snapshot!(problems(&with("isolation: { expose: [ db:80, web+db:80 ] }")), @r#"
        error: db:80/tcp is exposed twice
         --> env.yaml:5:31
          |
        5 | isolation: { expose: [ db:80, web+db:80 ] }
          |                               ^^^^^^^^^
          = hint: remove one of the two
        "#);
    insta::assert_snapshot!(problems(&with("isolation: { gateway: web, expose: [ web+db:80 ] }")), @r#"
        error: db is behind web, which is the gateway, and has no outside of its own to be reached at
         --> env.yaml:5:38
          |
        5 | isolation: { gateway: web, expose: [ web+db:80 ] }
          |                                      ^^^^^^^^^
          = hint: remove the port; machines of the environment reach it
        "#);
}

#[test]
fn a_port_that_is_none_is_an_error() {
    insta::assert_snapshot!(problems(&with("isolation: { expose: [ web:http ] }")), @r#"
        error: "web:http" doesn't name a port
         --> env.yaml:5:24
          |
        5 | isolation: { expose: [ web:http ] }
          |                        ^^^^^^^^
          = hint: write MACHINE:PORT, MACHINE:PORT/udp or MACHINE:PORT at PORT (1 to 65535), and MACHINE+MACHINE for machines that share it
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

#[test]
fn there_is_one_domain_controller_at_most() {
    let text = "name: store\nmachines:\n  dc: { image: samba, role: domain-controller }\n  dc2: { image: samba, role: domain-controller }\n";
    insta::assert_snapshot!(problems(text), @r#"
        error: dc is the domain controller already; an environment has one at most
         --> env.yaml:4:30
          |
        4 |   dc2: { image: samba, role: domain-controller }
          |                              ^^^^^^^^^^^^^^^^^
          = hint: remove the role of one of the two
        "#);
}

#[test]
fn a_domain_controller_can_not_be_exposed() {
    let text = "name: store\nmachines:\n  dc: { image: samba, role: domain-controller }\n  web: { image: micro }\nisolation: { fence: open, expose: [ web:80, dc:389 ] }\n";
    insta::assert_snapshot!(problems(text), @r#"
        error: dc is the domain controller, which has no outside to be reached at
         --> env.yaml:5:45
          |
        5 | isolation: { fence: open, expose: [ web:80, dc:389 ] }
          |                                             ^^^^^^
          = hint: remove the port; machines of the environment reach it
        "#);
}

#[test]
fn a_domain_controller_has_no_outside() {
    let text = "name: store\nmachines:\n  dc: { image: samba, role: domain-controller }\n  web: { image: micro }\n";
    let spec = file(text).spec;
    assert_eq!(spec.domain_controller().map(|name| name.as_str()), Some("dc"));
    let outside: Vec<bool> = spec.machines.keys().map(|name| spec.may_have_outside(name)).collect();
    assert_eq!(outside, [false, true]);
}

#[test]
fn a_role_that_is_none_is_an_error() {
    insta::assert_snapshot!(problems("name: store\nmachines:\n  dc: { image: samba, role: controller }\n"), @r#"
        error: "controller" is not a word for `role`
         --> env.yaml:3:29
          |
        3 |   dc: { image: samba, role: controller }
          |                             ^^^^^^^^^^
          = hint: write domain-controller
        "#);
}

#[test]
fn who_asks_for_no_isolation_says_that_there_is_no_fence() {
    let with = |isolation: &str| format!("name: store\nmachines:\n  web: {{ image: micro }}\nisolation: {isolation}\n");
    insta::assert_snapshot!(problems(&with("{ mode: none }")));
    insta::assert_snapshot!(problems(&with("{ mode: none, fence: open, expose: [ web:80 ] }")));
    insta::assert_snapshot!(problems(&with("{ mode: none, fence: open, gateway: host }")));
    let warnings = file(&with("{ mode: none, fence: open }")).warnings;
    insta::assert_snapshot!(warnings[0].to_string());
}

#[test]
fn a_gateway_is_a_word_or_a_machine_with_an_outside() {
    let with = |isolation: &str| {
        format!(
            "name: store\nmachines:\n  web: {{ image: micro }}\n  dc: {{ image: samba, role: domain-controller }}\nisolation: {isolation}\n"
        )
    };
    insta::assert_snapshot!(problems(&with("{ gateway: wed }")));
    insta::assert_snapshot!(problems(&with("{ gateway: dc }")));
    insta::assert_snapshot!(problems(&with("{ gateway: [web] }")));
    insta::assert_snapshot!(problems(&with("{ gateway: web, mode: dual-interface }")));
    insta::assert_snapshot!(problems(&with("{ gateway: web, expose: [ dc:389 ] }")));
    let both = "name: store\nmachines: { web: { image: micro }, db: { image: micro } }\n";
    insta::assert_snapshot!(problems(&format!("{both}isolation: {{ gateway: web, expose: [ db:80 ] }}\n")));
    assert_eq!(file(&with("{ gateway: host }")).spec.isolation.gateway, wardian_model::spec::Gateway::Host);
}
