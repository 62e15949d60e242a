//! Rules of what machines may say and hear.

use super::*;

#[test]
fn rules_stand_at_machines_and_at_the_network() {
    let read = file(
        "name: store\nmachines:\n  web: { image: micro }\n  db:\n    image: micro\n    acl:\n      - allow tcp from web to db port 5432\n      \
         - deny any\nnetwork:\n  acl: [ deny udp from any to any port 53 ]\n",
    );
    assert!(read.warnings.is_empty(), "{:?}", read.warnings);
    let texts = |rules: &[wardian_model::spec::AclRule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&read.spec.machines["db"].acl), ["allow tcp from web to db port 5432", "deny any"]);
    assert_eq!(texts(&read.spec.network.acl), ["deny udp to any port 53"]);
}

#[test]
fn a_rule_that_is_none_says_which_word_is_wrong() {
    insta::assert_snapshot!(problems(&with("network:\n  acl:\n    - deny tcp form web")), @r#"
        error: "deny tcp form web" has "form" where it wants `from`, `to` or `port`
         --> env.yaml:7:7
          |
        7 |     - deny tcp form web
          |       ^^^^^^^^^^^^^^^^^
          = hint: write allow|deny [in|out] [tcp|udp|icmp|any] [from WHO [port N]] [to WHO [port N]]
        "#);
}

#[test]
fn a_rule_about_a_machine_there_is_not_suggests_the_nearest() {
    insta::assert_snapshot!(problems(&with("network: { acl: [ deny from wbe ] }")), @r#"
        error: there is no machine wbe
         --> env.yaml:5:19
          |
        5 | network: { acl: [ deny from wbe ] }
          |                   ^^^^^^^^^^^^^
          = hint: did you mean `web`?
        "#);
}

#[test]
fn a_rule_that_never_decides_is_a_warning() {
    let text = "name: store\nmachines:\n  web: { image: micro, acl: [ deny any, allow icmp ] }\n  \
                db: { image: micro, acl: [ deny from web to web ] }\n";
    insta::assert_snapshot!(warnings(text), @r#"
        warning: `allow icmp` is never asked: `deny any` has decided before
         --> env.yaml:3:41
          |
        3 |   web: { image: micro, acl: [ deny any, allow icmp ] }
          |                                         ^^^^^^^^^^
          = hint: the first rule that matches decides; write special ones before general ones

        warning: `deny from web to web` is never about what db says or hears
         --> env.yaml:4:30
          |
        4 |   db: { image: micro, acl: [ deny from web to web ] }
          |                              ^^^^^^^^^^^^^^^^^^^^
          = hint: write it at the machine it is about, or under `network`
        "#);
}
