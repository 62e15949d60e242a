//! The command as a process: exit codes, and what goes where. No daemon is needed.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

const GOOD: &str = "\
name: store
machines:
  web:
    image: micro
    start-after: [db]
    ready: { http: { port: 80 } }
  db:
    image: micro
isolation:
  expose: [ web:80 ]
";

/// `wardian` with nothing of the user's environment, and no daemon to be found.
fn wardian(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardian"));
    command
        .env_remove("NO_COLOR")
        .env_remove("WARDIAN_LOG")
        .env("WARDIAN_HOST", "unix:///nonexistent/wardian.sock")
        .args(words)
        .stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    wardian(words).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("store.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn without_a_daemon_a_command_fails_with_a_hint() {
    let output = run(&["ls"]);
    assert_eq!(code(&output), 1);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).starts_with("error: no daemon answers at /nonexistent/wardian.sock"), "{output:?}");
    assert!(stderr(&output).contains("\nhint: "), "{output:?}");
    assert!(!stderr(&output).contains('\x1b'), "no colours where no terminal is: {output:?}");
}

#[test]
fn with_json_an_error_is_one_line_of_json_on_standard_error() {
    let output = run(&["status", "--json"]);
    assert_eq!(code(&output), 1);
    assert_eq!(stdout(&output), "");
    assert_eq!(stderr(&output).lines().count(), 1);
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(line["error"]["message"].as_str().unwrap().contains("/nonexistent/wardian.sock"));
    assert!(line["error"]["hint"].is_string());
    assert!(line["error"]["details"].is_array());
}

#[test]
fn the_flag_names_the_host_and_wins_over_the_variable() {
    let output = run(&["ls", "--host", "unix:///elsewhere/w.sock"]);
    assert!(stderr(&output).contains("/elsewhere/w.sock"), "{output:?}");
}

#[test]
fn wrong_usage_ends_with_2() {
    for words in [
        &["frobnicate"][..],
        &["fence"],
        &["fence", "store", "shut"],
        &["snapshot"],
        &["snapshot", "create", "store"],
        &["snapshot", "create", "store", "Clean"],
        &["snapshot", "rm", "store"],
        &["restore", "store"],
        &["restore", "store", "other@"],
        &["expire", "store"],
        &["expire", "store", "2"],
        &["expire", "store", "0h"],
        &["conflicts"],
        &["up", "x", "--expire", "soon"],
        &["clone", "store@", "store-2"],
        &["clone", "@clean", "store-2"],
        &[],
        &["up"],
        &["rm"],
        &["exec", "store/web"],
        &["exec", "store", "--", "true"],
        &["expose", "store/web"],
        &["expose", "store/web:80", "--at", "0"],
        &["clone", "store", "Store-2"],
        &["clone", "store", "store-2", "--count", "0"],
        &["image", "import", "a/b", "x"],
        &["cp", "x", "y"],
        &["cp", "a/b:/x", "c/d:/y"],
        &["cp", "a/b:x", "y"],
        &["ls", "--host", "https://example.org"],
        &["daemon", "--lab-prefix", "10.86.0.1/16"],
    ] {
        assert_eq!(code(&run(words)), 2, "{words:?}");
    }
    assert!(stderr(&run(&["ls", "--host", "https://example.org"])).contains("yet"));
    let said = |words: &[&str]| stderr(&run(words)).lines().next().unwrap().to_owned();
    assert_eq!(
        said(&["clone", "store", "store-2", "--count", "0"]),
        "error: invalid value '0' for '--count <N>': 0 clones can't be made: no fewer than 1 and no more than 1000"
    );
    assert!(
        said(&["clone", "store@", "store-2"])
            .ends_with("names no snapshot after the @; write ENV@SNAPSHOT, or ENV alone for how it is now")
    );
}

#[test]
fn a_good_file_is_right_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["up", "--check", &file(folder.path(), GOOD)]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("was not checked"), "{output:?}");
    assert!(stderr(&output).contains("store: the file is right; machines: web, db"), "{output:?}");
}

#[test]
fn a_checked_file_is_described_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["up", "--check", "--json", "--quiet", "--name", "shop", &file(folder.path(), GOOD)]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        found,
        serde_json::json!({ "name": "shop", "machines": ["web", "db"], "warnings": [], "host-checked": false })
    );
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_bad_file_is_refused_at_its_line_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &GOOD.replace("start-after", "start-aftr"));
    for words in [&["up", "--check", &path][..], &["up", &path]] {
        let output = run(words);
        assert_eq!(code(&output), 1);
        let text = stderr(&output);
        assert!(text.starts_with("error: "), "{text}");
        assert!(text.contains("store.yaml:5:5"), "{text}");
        assert!(text.contains("start-after"), "the nearest key is suggested: {text}");
        assert!(text.contains('^'), "{text}");
    }
    let output = run(&["up", "--check", "--json", &path]);
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (&line["error"]["problems"][0]["line"], &line["error"]["problems"][0]["column"]),
        (&5.into(), &5.into())
    );
}

#[test]
fn a_file_comes_from_standard_input_too() {
    let mut child = wardian(&["up", "--check", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"name: [\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("standard input:"), "{output:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let output = run(&["up", "--check", "/nonexistent/store.yaml"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).starts_with("error: can't read /nonexistent/store.yaml: "), "{output:?}");
    assert_eq!(code(&run(&["up", "--check", "/"])), 1);
}

#[test]
fn documents_are_printed_without_a_daemon() {
    for words in [&["schema"][..], &["openapi"]] {
        let output = run(words);
        assert_eq!(code(&output), 0);
        assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap().is_object());
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell])).contains("wardian"));
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(code(&run(&["man", folder.path().join("new").to_str().unwrap()])), 0);
    assert!(folder.path().join("new/wardian-up.1").exists());
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = wardian(&["schema"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
    let output = output.unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, ""));
}

#[test]
fn a_daemon_with_a_bad_configuration_says_where_and_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    std::fs::write(&path, "[lab]\nprefx = '10.0.0.0/8'\n").unwrap();
    let output = run(&["daemon", "--config", path.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("w.toml:2:1: unknown field `prefx`"), "{output:?}");
}

#[test]
fn help_of_the_daemon_documents_its_configuration() {
    let output = run(&["daemon", "--help"]);
    assert_eq!(code(&output), 0);
    for key in ["state-directory", "run-directory", "socket-group", "accelerator", "qemu", "bridge", "prefix"] {
        assert!(stdout(&output).contains(key), "{key}");
    }
}
