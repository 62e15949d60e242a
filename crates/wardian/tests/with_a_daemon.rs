//! The command as a process against canned answers: what it asks for, what it prints, how it ends.
//!
//! The answers are written out as JSON, so that a change of the wire that would break scripts breaks a test.

mod canned;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use canned::{Daemon, sse};
use serde_json::{Value, json};

fn wardian(daemon: &Daemon, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wardian"))
        .args(["--host", &format!("unix://{}", daemon.socket().display())])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap()
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

fn operation(kind: &str, environment: &str, state: &str, steps: &[(&str, &str)]) -> Value {
    let steps: Vec<Value> = steps.iter().map(|(name, state)| json!({ "name": name, "state": state })).collect();
    json!({
        "id": "00000000000000bb", "kind": kind, "environment": environment, "environment-id": "00000000000000aa",
        "created": "2026-03-01T12:00:00Z", "steps": steps, "state": state,
    })
}

fn not_found(name: &str) -> Value {
    json!({ "error": {
        "kind": "not-found", "message": format!("there is no environment {name}"),
        "hint": "`wardian ls` lists them", "details": [],
    } })
}

const FILE: &str = "name: store\nmachines: { web: { image: micro } }\n";

fn up(daemon: &mut Daemon, end: Value) {
    let accepted = json!({ "operation": operation("up", "store", "running", &[]), "warnings": ["web is small"] });
    daemon.answers("POST /v1/environments", 202, accepted.to_string());
    let messages = [
        operation("up", "store", "running", &[("network", "waiting"), ("web: ready", "waiting")]),
        operation("up", "store", "running", &[("network", "doing"), ("web: ready", "waiting")]),
        operation("up", "store", "running", &[("network", "done"), ("web: ready", "doing")]),
        end,
    ];
    daemon.streams("GET /v1/operations/00000000000000bb/follow", sse("operation", &messages));
}

fn file() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.yaml");
    fs::write(&path, FILE).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// Lines without how long something took.
fn without_times(text: &str) -> Vec<String> {
    let is_time = |word: &str| word.ends_with('s') && word[..word.len() - 1].parse::<f64>().is_ok();
    text.lines()
        .map(|line| line.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn up_sends_the_file_and_shows_each_step() {
    let mut daemon = Daemon::new();
    up(&mut daemon, operation("up", "store", "done", &[("network", "done"), ("web: ready", "done")]));
    let (_folder, path) = file();
    let output = wardian(&daemon, &["up", &path, "--name", "shop"]);
    assert_eq!((code(&output), stdout(&output)), (0, ""), "{output:?}");
    assert_eq!(
        without_times(stderr(&output)),
        [
            "warning: web is small",
            "network begins",
            "network done",
            "web: ready begins",
            "web: ready done",
            "store: up done in",
        ]
    );
    let asked: Value = serde_json::from_slice(&daemon.asked("POST /v1/environments")[0]).unwrap();
    assert_eq!(asked, json!({ "file": FILE, "file-name": path, "name": "shop", "stopped": false }));
}

#[test]
fn up_that_fails_tells_why_and_prints_the_operation_as_json() {
    let mut daemon = Daemon::new();
    let mut end = operation("up", "store", "failed", &[("network", "done"), ("web: ready", "failed")]);
    end["problem"] =
        json!({ "message": "web never got ready", "hint": "look at its console", "details": ["[ 1.0] panic"] });
    up(&mut daemon, end);
    let (_folder, path) = file();
    let output = wardian(&daemon, &["up", &path]);
    assert_eq!(code(&output), 1);
    let end = "error: up of store failed: web never got ready\n  [ 1.0] panic\nhint: look at its console\n";
    assert!(stderr(&output).ends_with(end), "{output:?}");

    let output = wardian(&daemon, &["up", &path, "--json", "-q"]);
    assert_eq!(code(&output), 1);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["operation"]["state"], "failed");
}

#[test]
fn up_without_waiting_does_not_follow() {
    let mut daemon = Daemon::new();
    up(&mut daemon, Value::Null);
    let (_folder, path) = file();
    assert_eq!(code(&wardian(&daemon, &["up", &path, "--no-wait"])), 0);
    assert!(daemon.asked("GET /v1/operations/00000000000000bb/follow").is_empty());
}

#[test]
fn who_interrupts_up_is_told_that_it_goes_on() {
    let mut daemon = Daemon::new();
    up(&mut daemon, Value::Null);
    let doing = operation("up", "store", "running", &[("network", "doing")]);
    daemon.streams_on("GET /v1/operations/00000000000000bb/follow", &format!("event: operation\ndata: {doing}\n\n"));
    let (_folder, path) = file();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wardian"))
        .args(["--host", &format!("unix://{}", daemon.socket().display()), "up", &path])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "network  begins"), "it follows");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let told = "warning: detached; up of store goes on, and `wardian status store` shows how far it is";
    assert_eq!(rest, [told]);
}

#[test]
fn one_environment_that_is_not_there_does_not_keep_the_others_from_being_removed() {
    let mut daemon = Daemon::new();
    daemon.answers("DELETE /v1/environments/shop", 404, not_found("shop").to_string());
    daemon.answers("DELETE /v1/environments/store", 202, operation("remove", "store", "running", &[]).to_string());
    let end = [operation("remove", "store", "done", &[("machines", "done")])];
    daemon.streams("GET /v1/operations/00000000000000bb/follow", sse("operation", &end));
    let output = wardian(&daemon, &["rm", "shop", "store"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("store: rm done in"), "{output:?}");
    assert!(
        stderr(&output).ends_with("error: there is no environment shop\nhint: `wardian ls` lists them\n"),
        "{output:?}"
    );
}

#[test]
fn a_command_in_a_machine_ends_with_its_status_and_keeps_its_streams_apart() {
    let mut daemon = Daemon::new();
    let result =
        json!({ "status": 3, "stdout": { "text": "out\n" }, "stderr": { "base64": "/wA=" }, "truncated": false });
    daemon.answers("POST /v1/environments/store/machines/web/exec", 200, result.to_string());
    let output = wardian(&daemon, &["exec", "store/web", "--timeout", "5m", "--", "sh", "-c", "exit 3"]);
    assert_eq!((code(&output), &*output.stdout, &*output.stderr), (3, &b"out\n"[..], &b"\xff\0"[..]));
    let asked: Value =
        serde_json::from_slice(&daemon.asked("POST /v1/environments/store/machines/web/exec")[0]).unwrap();
    assert_eq!(asked["command"], json!(["sh", "-c", "exit 3"]));
    assert_eq!(asked["timeout-ms"], 300_000);
}

#[test]
fn ls_prints_what_came_and_json_is_what_came() {
    let mut daemon = Daemon::new();
    let environment = json!({
        "name": "store", "id": "00000000000000aa", "phase": "running", "machines-total": 2, "machines-ready": 2,
        "created": "2026-03-01T12:00:00Z", "fence": "out-only", "origin": { "from": "file" }, "hosts": [],
    });
    let list = json!({ "environments": [environment] });
    daemon.answers("GET /v1/environments", 200, list.to_string());
    let output = wardian(&daemon, &["ls"]);
    assert_eq!((code(&output), stderr(&output)), (0, ""));
    assert!(stdout(&output).starts_with("NAME   PHASE    MACHINES   FENCE"), "{output:?}");
    let output = wardian(&daemon, &["ls", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), list);
}

#[test]
fn a_host_that_lacks_something_fails_the_check() {
    let mut daemon = Daemon::new();
    let check = json!({ "name": "nftables", "verdict": "failed", "message": "nft is missing", "hint": "install it" });
    daemon.answers("GET /v1/host", 200, json!({ "checks": [check] }).to_string());
    let output = wardian(&daemon, &["host", "check"]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("nft is missing"), "{output:?}");
}

#[test]
fn what_crosses_between_hosts_is_shown_and_a_host_that_is_alone_says_so() {
    let mut daemon = Daemon::new();
    let subnet = json!({ "vsid": 4096, "kind": "lab-network", "out-packets": 7, "out-bytes": 700, "in-packets": 5,
        "in-bytes": 500 });
    let state = json!({
        "underlay": { "device": "eth1", "provider-address": "10.1.0.1", "encapsulation": "vxlan", "mtu": 1450 },
        "subnets": [subnet],
        "dropped": [{ "reason": "tagged", "why": "they have an 802.1Q tag", "frames": 2 }],
    });
    daemon.answers("GET /v1/network", 200, state.to_string());
    let output = wardian(&daemon, &["net", "show"]);
    assert_eq!((code(&output), stderr(&output)), (0, ""));
    for part in ["by eth1, as 10.1.0.1, in vxlan", "lab network", "they have an 802.1Q tag"] {
        assert!(stdout(&output).contains(part), "{output:?}");
    }
    let output = wardian(&daemon, &["net", "show", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), state);

    let mut alone = Daemon::new();
    alone.answers("GET /v1/network", 200, json!({ "subnets": [], "dropped": [] }).to_string());
    let output = wardian(&alone, &["net", "show"]);
    assert_eq!((code(&output), stdout(&output)), (0, ""));
    assert!(stderr(&output).contains("this host is alone"), "{output:?}");
}

#[test]
fn a_file_is_written_to_a_machine_with_its_mode() {
    let mut daemon = Daemon::new();
    let no = json!({ "status": 1, "stdout": { "text": "" }, "stderr": { "text": "" }, "truncated": false });
    daemon.answers("POST /v1/environments/store/machines/web/exec", 200, no.to_string());
    let written = json!({ "path": "/tmp/run", "size-bytes": 2 });
    daemon.answers("PUT /v1/environments/store/machines/web/file", 200, written.to_string());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    fs::write(&path, "hi").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    let output = wardian(&daemon, &["cp", path.to_str().unwrap(), "store/web:/tmp/"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let target = "PUT /v1/environments/store/machines/web/file";
    assert_eq!(daemon.targets(target), ["/v1/environments/store/machines/web/file?path=/tmp/run&mode=750"]);
    assert_eq!(daemon.asked(target), [b"hi".to_vec()]);
}

#[test]
fn a_file_that_breaks_off_leaves_what_was_there() {
    let mut daemon = Daemon::new();
    let no = json!({ "status": 1, "stdout": { "text": "" }, "stderr": { "text": "" }, "truncated": false });
    daemon.answers("POST /v1/environments/store/machines/web/exec", 200, no.to_string());
    daemon.breaks_off("GET /v1/environments/store/machines/web/file", "half");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    fs::write(&path, "kept").unwrap();
    let output = wardian(&daemon, &["cp", "store/web:/etc/motd", path.to_str().unwrap()]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert_eq!(fs::read(&path).unwrap(), b"kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half is left");
}

#[test]
fn a_console_that_is_not_there_still_shows_what_was_printed_last() {
    let mut daemon = Daemon::new();
    let refusal = json!({ "error": { "kind": "conflict", "message": "web does not run", "details": [] } });
    daemon.answers("GET /v1/environments/store/machines/web/console", 409, refusal.to_string());
    let tail = json!({ "console": { "text": "Kernel panic\n" } });
    daemon.answers("GET /v1/environments/store/machines/web/console/tail", 200, tail.to_string());
    let output = wardian(&daemon, &["console", "store/web"]);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (1, "Kernel panic\n", "error: web does not run\n"));
    let output = wardian(&daemon, &["console", "--tail", "store/web"]);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (0, "Kernel panic\n", ""));
}

#[test]
fn an_image_is_imported_by_its_whole_path() {
    let mut daemon = Daemon::new();
    let image = json!({
        "name": "micro", "digest": "c0ffee", "virtual-size-bytes": 1 << 30, "disk-size-bytes": 1 << 20,
        "format": "raw", "kernel": true, "imported": "2026-03-01T12:00:00Z",
    });
    let messages =
        [json!({ "is": "doing", "step": "convert", "percent": 50 }), json!({ "is": "done", "image": image })];
    daemon.streams("POST /v1/images", sse("import", &messages));
    let output = wardian(&daemon, &["image", "import", "micro", "disk.raw", "--kernel", "/k"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(stderr(&output), "convert\nimage micro imported: 1.0 GiB, 1.0 MiB on disk\n");
    let asked: Value = serde_json::from_slice(&daemon.asked("POST /v1/images")[0]).unwrap();
    let here = std::env::current_dir().unwrap().join("disk.raw");
    assert_eq!((&asked["path"], &asked["kernel"]), (&json!(here), &json!("/k")));
}

fn snapshot(name: &str, phase: &str) -> Value {
    json!({
        "name": name, "id": "00000000000000cc", "environment": "store", "created": "2026-03-01T12:00:00Z",
        "phase": phase, "memory": true, "saved-bytes": 1 << 20, "pause-us": 14_200,
    })
}

#[test]
fn a_snapshot_shows_its_steps_and_says_how_long_the_machines_stood() {
    let mut daemon = Daemon::new();
    let target = "POST /v1/environments/store/snapshots";
    daemon.answers(target, 202, operation("snapshot", "store", "running", &[]).to_string());
    let messages = [
        operation("snapshot", "store", "running", &[("cut", "waiting"), ("save", "waiting")]),
        operation("snapshot", "store", "running", &[("cut", "doing"), ("save", "waiting")]),
        operation("snapshot", "store", "running", &[("cut", "done"), ("save", "doing")]),
        operation("snapshot", "store", "done", &[("cut", "done"), ("save", "done")]),
    ];
    daemon.streams("GET /v1/operations/00000000000000bb/follow", sse("operation", &messages));
    let list = json!({ "environment": "store", "snapshots": [snapshot("clean", "ready")] });
    daemon.answers("GET /v1/environments/store/snapshots", 200, list.to_string());
    let output = wardian(&daemon, &["snapshot", "create", "store", "clean"]);
    assert_eq!((code(&output), stdout(&output)), (0, "paused for 14.2 ms\n"), "{output:?}");
    let steps = ["cut begins", "cut done", "save begins", "save done", "store: snapshot done in"];
    assert_eq!(without_times(stderr(&output)), steps);
    let output = wardian(&daemon, &["snapshot", "create", "store", "clean", "--disk-only", "--json", "-q"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["operation"]["state"], &found["snapshot"]), (&json!("done"), &snapshot("clean", "ready")));
    let asked: Vec<Value> = daemon.asked(target).iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    assert_eq!(asked, [json!({ "name": "clean", "memory": true }), json!({ "name": "clean", "memory": false })]);
    let output = wardian(&daemon, &["snapshot", "create", "store", "clean", "--no-wait"]);
    assert_eq!((code(&output), stdout(&output)), (0, ""));
    assert!(stderr(&output).contains("`wardian snapshot ls store`"), "{output:?}");
}

#[test]
fn one_snapshot_that_is_not_there_does_not_keep_the_others_from_being_removed() {
    let mut daemon = Daemon::new();
    daemon.answers("DELETE /v1/environments/store/snapshots/old", 404, not_found("old").to_string());
    daemon.answers("DELETE /v1/environments/store/snapshots/clean", 204, String::new());
    let output = wardian(&daemon, &["snapshot", "rm", "store", "old", "clean"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).starts_with("snapshot clean of store removed\nerror: "), "{output:?}");
}

#[test]
fn a_restore_names_the_environment_the_snapshot_is_of() {
    let mut daemon = Daemon::new();
    let target = "POST /v1/environments/copy/restore";
    daemon.answers(target, 202, operation("restore", "copy", "running", &[]).to_string());
    let mut end = operation("restore", "copy", "failed", &[("go back", "failed")]);
    end["problem"] = json!({ "message": "the memory of web is damaged", "details": [] });
    daemon.streams("GET /v1/operations/00000000000000bb/follow", sse("operation", &[end]));
    let output = wardian(&daemon, &["restore", "copy", "store@clean"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).ends_with("error: restore of copy failed: the memory of web is damaged\n"), "{output:?}");
    assert_eq!(code(&wardian(&daemon, &["restore", "copy", "clean", "--no-wait"])), 0);
    let asked: Vec<Value> = daemon.asked(target).iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    assert_eq!(asked, [json!({ "snapshot": "clean", "of": "store" }), json!({ "snapshot": "clean" })]);
}

#[test]
fn a_clone_asks_for_what_was_said_and_tells_how_it_is_reached() {
    let mut daemon = Daemon::new();
    let target = "POST /v1/environments/store/clone";
    let clones = json!({ "clones": [
        { "name": "x-1", "operation": operation("clone", "x-1", "running", &[]) },
        { "name": "x-2", "problem": { "message": "no address is free", "hint": "remove some", "details": [] } },
    ] });
    daemon.answers(target, 202, clones.to_string());
    let end = [operation("clone", "x-1", "done", &[("cut", "done")])];
    daemon.streams("GET /v1/operations/00000000000000bb/follow", sse("operation", &end));
    let inside = json!({ "hostname": "web", "fqdn": "web.lab", "address": "192.168.23.1", "mac": "m", "uuid": "u" });
    let detail = json!({
        "name": "x-1", "id": "00000000000000aa", "phase": "running", "machines-total": 1, "machines-ready": 1,
        "created": "2026-03-01T12:00:00Z", "fence": "open", "origin": { "from": "file" },
        "machines": [{
            "name": "web", "phase": "ready", "image": "micro", "memory-bytes": 1, "cpus": 1, "agent": { "is": "silent" },
            "inside": inside, "outside": { "address": "10.86.0.9", "mac": "m" }, "exposed": [],
        }],
        "subnet": "192.168.23.0/24", "domain": "lab", "gateway": "192.168.23.254", "mode": "two-way-nat",
        "outside-by": "per-machine", "lineage": [], "snapshots": [],
    });
    daemon.answers("GET /v1/environments/x-1", 200, detail.to_string());
    let words = ["clone", "store@clean", "x", "--count", "2", "--boot", "--owner", "ana", "--expire", "8h"];
    let output = wardian(&daemon, &words);
    assert_eq!((code(&output), stdout(&output)), (1, "x-1: web 10.86.0.9\n"), "{output:?}");
    assert!(stderr(&output).ends_with("error: no address is free\nhint: remove some\n"), "{output:?}");
    let asked: Value = serde_json::from_slice(&daemon.asked(target)[0]).unwrap();
    assert_eq!(
        asked,
        json!({
            "name": "x", "count": 2, "snapshot": "clean", "boot": true, "customize": false, "owner": "ana",
            "expire-after-ms": 28_800_000,
        })
    );
}

#[test]
fn a_fence_is_changed_or_only_shown() {
    let mut daemon = Daemon::new();
    let state = |fence: &str| json!({ "environment": "store", "fence": fence, "exposed": [] }).to_string();
    daemon.answers("GET /v1/environments/store/fence", 200, state("out-only"));
    daemon.answers("PUT /v1/environments/store/fence", 200, state("sealed"));
    let output = wardian(&daemon, &["fence", "store"]);
    assert_eq!(stdout(&output), "store: out-only: connections go out only; no port is exposed\n");
    let output = wardian(&daemon, &["fence", "store", "sealed"]);
    assert_eq!((code(&output), stdout(&output)), (0, "store: sealed: nothing crosses the edge\n"));
    assert_eq!(
        daemon.asked("PUT /v1/environments/store/fence"),
        [json!({ "fence": "sealed" }).to_string().into_bytes()]
    );
}

#[test]
fn an_expiry_is_set_and_taken_back() {
    let mut daemon = Daemon::new();
    let never = json!({ "environment": "store" });
    daemon.answers("DELETE /v1/environments/store/expiry", 200, never.to_string());
    let some = json!({ "environment": "store", "expires": "2026-03-01T12:00:00.5Z" });
    daemon.answers("PUT /v1/environments/store/expiry", 200, some.to_string());
    assert_eq!(stdout(&wardian(&daemon, &["expire", "store", "never"])), "store never expires\n");
    let output = wardian(&daemon, &["expire", "store", "2h"]);
    assert_eq!(stdout(&output), "store expires now\n");
    let asked: Value = serde_json::from_slice(&daemon.asked("PUT /v1/environments/store/expiry")[0]).unwrap();
    assert_eq!(asked, json!({ "after-ms": 7_200_000 }));
    let output = wardian(&daemon, &["expire", "store", "never", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), never);
}

#[test]
fn conflicts_are_no_failure() {
    let mut daemon = Daemon::new();
    let party = |environment: &str| json!({ "environment": environment, "machine": "web", "value": "web-server" });
    let clash = json!({ "kind": "computer-name", "value": "web-server", "between": [party("copy"), party("store")] });
    let found = json!({ "conflicts": [clash], "environments": [], "warnings": ["both use it"] });
    daemon.answers("GET /v1/conflicts", 200, found.to_string());
    let output = wardian(&daemon, &["conflicts", "store", "copy"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains("computer name  web-server  copy/web, store/web\n"), "{output:?}");
    assert_eq!(stderr(&output), "warning: both use it\n");
    assert_eq!(daemon.targets("GET /v1/conflicts"), ["/v1/conflicts?environment=store&environment=copy"]);
    let output = wardian(&daemon, &["conflicts", "store", "copy", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), found);
}

#[test]
fn a_host_that_joins_is_waited_for_and_its_hosts_are_told() {
    let mut daemon = Daemon::new();
    let info = json!({
        "version": "0.1.0", "api-version": 1, "state-directory": "/var/lib/wardian", "lab-prefix": "10.86.0.0/16",
        "host-id": "00000000000000aa",
    });
    daemon.answers("GET /v1/info", 200, info.to_string());
    let report = json!({
        "host": "b", "hosts": ["a"], "lab-address": "10.86.255.253", "environments": 2, "machines": 5, "images": 1,
        "snapshots": 0,
    });
    daemon.answers("POST /v1/host/join", 202, report.to_string());
    let host = json!({
        "name": "b", "phase": "up", "here": true, "leads": false, "provider-address": "10.0.0.2",
        "lab-address": "10.86.255.253", "machines": 5, "memory-bytes": 1 << 30, "promised-bytes": 0, "cores": 4,
        "version": "0.1.0", "qemu": "10.0.2",
    });
    let list = json!({ "hosts": [host] });
    daemon.answers("GET /v1/hosts", 200, list.to_string());
    let output = wardian(&daemon, &["host", "join", "--json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), list);
    let told = "comes into the cluster of a as b, with 10.86.255.253 on the lab network\n";
    assert!(stderr(&output).contains(told), "{output:?}");
    assert!(stderr(&output).contains("2 environments, 5 machines, 1 image, 0 snapshots\n"), "{output:?}");

    let refused = json!({ "error": {
        "kind": "conflict", "message": "there is already a host b in this cluster, at 10.0.0.2",
        "hint": "choose another name ([cluster] name)", "details": [],
    } });
    daemon.answers("POST /v1/host/join", 409, refused.to_string());
    let output = wardian(&daemon, &["host", "join"]);
    assert_eq!((code(&output), stdout(&output)), (1, ""), "{output:?}");
    let told =
        "error: there is already a host b in this cluster, at 10.0.0.2\nhint: choose another name ([cluster] name)\n";
    assert_eq!(stderr(&output), told);
}
