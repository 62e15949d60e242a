//! Texts that are no YAML, or YAML of a kind nobody wants to read.

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
        error: the file wants a table of name, machines, network, isolation, …; here is a list
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
    let text = "name: store\nmachines:\n  web: { image: micro, memory: &m 12 }\n  db: { image: micro, memory: *m }\n";
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
