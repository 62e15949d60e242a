//! Who starts after whom.

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
