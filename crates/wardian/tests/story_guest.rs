//! Working with one guest: commands, files, its console, exposed ports, what happened to it.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use wardian_testkit::{TestHost, wait};

const FILE: &str = "
name: desk
machines:
  web:
    image: micro
    memory: 96 MiB
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo 'a page' > /srv/www/index.html
        printf '#!/bin/sh\\nhttpd -h /srv/www; httpd -p 8080 -h /srv/www\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start

  mute:                           # has no agent
    image: micro
    memory: 96 MiB
    ready: { http: {} }
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo mute > /srv/www/index.html
        printf '#!/bin/sh\\nhttpd -h /srv/www\\n' > /etc/wardian/start
        printf '#!/bin/sh\\nexec sleep 3600\\n' > /usr/lib/wardian/agent
        chmod +x /etc/wardian/start
";

#[test]
fn story_guest_is_worked_with() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    host.up(FILE).ok();
    commands_run(&host);
    files_are_copied(&host);
    the_console_answers(&host);
    ports_are_exposed_and_closed(&host);
    everything_speaks_json(&host);
    events_are_in_order(&host);
    a_guest_without_an_agent_goes_on(&host);
}

fn commands_run(host: &TestHost) {
    let run = host.wardian(&["exec", "desk/web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((run.status, &*run.stdout, &*run.stderr), (Some(7), "out\n", "err\n"));
    // A signal's number, as a shell gives it.
    host.wardian(&["exec", "desk/web", "--", "sh", "-c", "kill -9 $$"]).fails_with(137);
    let run = host.wardian(&["exec", "desk/web", "--", "no-such-program"]);
    assert!(run.clone().fails_with(1).contains("no-such-program"), "{run}");

    let mut sort = host.wardian_command(&["exec", "-i", "desk/web", "--", "sort"]);
    let mut sort = sort.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sort.stdin.take().unwrap().write_all(b"b\nc\na\n").unwrap();
    let output = sort.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"a\nb\nc\n");
}

fn files_are_copied(host: &TestHost) {
    // Large enough for many pieces, and no text.
    let content: Vec<u8> = (0..300_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let there = host.folder().join("tool");
    fs::write(&there, &content).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o750)).unwrap();
    host.wardian(&["cp", &there.to_string_lossy(), "desk/web:/srv/"]).ok();
    assert_eq!(host.script("desk/web", "stat -c '%a %s' /srv/tool"), "750 300000");

    let back = host.folder().join("back");
    host.wardian(&["cp", "desk/web:/srv/tool", &back.to_string_lossy()]).ok();
    assert!(fs::read(&back).unwrap() == content, "the file changed on its way");
    assert_eq!(fs::metadata(&back).unwrap().mode() & 0o777, 0o750);

    let tree = host.folder().join("site");
    fs::create_dir_all(tree.join("pages")).unwrap();
    fs::write(tree.join("pages/one"), "1\n").unwrap();
    fs::write(tree.join("top"), "top\n").unwrap();
    host.wardian(&["cp", "-r", &tree.to_string_lossy(), "desk/web:/srv"]).ok();
    assert_eq!(host.script("desk/web", "cat /srv/site/top /srv/site/pages/one"), "top\n1");
    let folder = host.folder().join("copies");
    fs::create_dir(&folder).unwrap();
    host.wardian(&["cp", "-r", "desk/web:/srv/site", &folder.to_string_lossy()]).ok();
    assert_eq!(fs::read_to_string(folder.join("site/pages/one")).unwrap(), "1\n");

    let missing = host.wardian(&["cp", "desk/web:/no/such/file", &back.to_string_lossy()]).fails_with(1);
    assert!(missing.contains("/no/such/file"), "{missing}");
}

/// In a pseudo terminal (made by `script`), as somebody at a keyboard would.
fn the_console_answers(host: &TestHost) {
    let inner = host.wardian_command(&["console", "desk/web"]);
    let mut command = host.inside("script");
    for (key, value) in inner.get_envs() {
        command.env(key, value.unwrap());
    }
    let line = format!("{} console desk/web", inner.get_program().to_string_lossy());
    let mut terminal =
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let mut output = terminal.stdout.take().unwrap();
    let listener = thread::spawn({
        let heard = Arc::clone(&heard);
        move || {
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                heard.lock().unwrap().extend(&piece[..length]);
            }
        }
    });
    let mut keyboard = terminal.stdin.take().unwrap();
    let hears = |text: &str| {
        wait::until(&format!("the console says {text:?}"), wait::SOON, || {
            String::from_utf8_lossy(&heard.lock().unwrap()).contains(text).then_some(())
        });
    };
    hears("ctrl-]");
    keyboard.write_all(b"\r").unwrap();
    // What is typed is echoed too: only the answer has the sum.
    keyboard.write_all(b"echo sum $((40 + 2)) of $(hostname)\r").unwrap();
    hears("sum 42 of web");
    keyboard.write_all(b"\x1d").unwrap();
    wait::until("ctrl-] detaches", wait::SOON, || terminal.try_wait().unwrap());
    drop(keyboard);
    listener.join().unwrap();

    let tail = host.wardian(&["console", "desk/web", "--tail"]).ok();
    assert!(tail.contains("sum 42 of web"), "{tail}");
}

fn ports_are_exposed_and_closed(host: &TestHost) {
    let address = host.outside_address("desk/web");
    let closed =
        |url: &str| assert!(!host.command("curl", &["-sS", "--max-time", "1", url]).success(), "{url} answers");
    closed(&format!("http://{address}/"));

    let chosen = host.wardian(&["expose", "desk/web:80", "--at", "8088", "--json"]).json();
    assert_eq!((&chosen["at"], &chosen["address"]), (&Value::from(8088), &Value::from(&*address)));
    let automatic = host.wardian(&["expose", "desk/web:8080", "--json"]).json();
    let at = automatic["at"].as_u64().unwrap();
    for url in [
        "http://127.0.0.1:8088/".to_owned(),
        format!("http://{address}/"),
        format!("http://127.0.0.1:{at}/"),
        format!("http://{address}:8080/"),
    ] {
        assert_eq!(host.curl(&url).ok(), "a page\n", "{url}");
    }

    let taken = host.wardian(&["expose", "desk/web:81", "--at", "8088"]).fails_with(1);
    assert!(taken.contains("8088"), "{taken}");
    host.wardian(&["expose", "desk/nobody:80"]).fails_with(1);

    host.wardian(&["expose", "desk/web:80", "--remove"]).ok();
    closed("http://127.0.0.1:8088/");
    closed(&format!("http://{address}/"));
    assert_eq!(host.curl(&format!("http://127.0.0.1:{at}/")).ok(), "a page\n", "the other one stays open");
}

fn everything_speaks_json(host: &TestHost) {
    for words in [
        &["ls"][..],
        &["status"],
        &["status", "desk"],
        &["addresses", "desk"],
        &["addresses", "desk", "web"],
        &["image", "ls"],
        &["host", "check"],
        &["exec", "desk/web", "--json", "--", "true"],
    ] {
        let words: Vec<_> = match words.contains(&"--json") {
            true => words.to_vec(),
            false => words.iter().copied().chain(["--json"]).collect(),
        };
        let run = host.wardian(&words);
        assert!(serde_json::from_str::<Value>(&run.stdout).is_ok_and(|value| value.is_object()), "{run}");
    }
    let error = host.wardian(&["status", "nobody", "--json"]).fails_with(1);
    let error: Value = serde_json::from_str(error.trim()).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("nobody"), "{error}");
}

fn events_are_in_order(host: &TestHost) {
    let lines = host.wardian(&["events", "desk", "--json"]).ok();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<_> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{lines}");
    let mut messages = events.iter().map(|event| event["message"].as_str().unwrap());
    for next in ["is starting", "started", "is ready", "is running", "exposed at 8088", "no longer exposed"] {
        assert!(messages.any(|message| message.contains(next)), "no {next:?} at its place in\n{lines}");
    }
}

fn a_guest_without_an_agent_goes_on(host: &TestHost) {
    // It counts as silent only after more than a minute; until then nothing is known of it.
    let status = host.machine("desk/mute");
    assert_ne!(status["agent"]["is"], "answers");
    assert_eq!(status["phase"], "ready");
    let refused = host.wardian(&["exec", "desk/mute", "--timeout", "3s", "--", "true"]).fails_with(1);
    assert!(refused.contains("agent"), "{refused}");

    // What does not need it works: ports, the console, an orderly stop.
    host.wardian(&["expose", "desk/mute:80"]).ok();
    assert_eq!(host.curl(&format!("http://{}/", host.outside_address("desk/mute"))).ok(), "mute\n");
    host.wardian(&["console", "desk/mute", "--tail"]).ok();
    host.wardian(&["down", "desk"]).ok();
    let events = host.wardian(&["events", "desk"]).ok();
    let stops: Vec<_> = events.lines().filter(|line| line.contains(" stopped (")).collect();
    let stopped = |machine: &str, how: &str| stops.iter().any(|line| line.contains(machine) && line.contains(how));
    assert!(stopped("desk/web", "agent") && stopped("desk/mute", "power button"), "{events}");
}
