//! Agent tests against a scripted guest: the hostile and the broken ones; a real agent is met in `tests/guest.rs`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::framing::Lines;

const SHORT: Duration = Duration::from_millis(300);

struct Guest {
    stream: UnixStream,
    lines: Lines,
}

impl Guest {
    async fn accept(listener: &UnixListener) -> Self {
        Guest { stream: listener.accept().await.unwrap().0, lines: Lines::new(1 << 20) }
    }

    async fn hear(&mut self) -> Value {
        loop {
            if let Some(line) = self.lines.next_line().unwrap() {
                let start = line.iter().position(|byte| *byte != 0xff).unwrap();
                return serde_json::from_slice(&line[start..]).unwrap();
            }
            let mut chunk = [0; 4096];
            let length = self.stream.read(&mut chunk).await.unwrap();
            assert_ne!(length, 0, "the client left");
            self.lines.push(&chunk[..length]);
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn synchronize(&mut self) {
        let sync = self.hear().await;
        assert_eq!(sync["execute"], "guest-sync-delimited");
        self.say(b"\xff").await;
        self.say(format!("{}\n", json!({ "return": sync["arguments"]["id"] })).as_bytes()).await;
    }

    async fn answer(&mut self, command: &str, answer: Value) {
        assert_eq!(self.hear().await["execute"], command);
        self.say(format!("{answer}\n").as_bytes()).await;
    }
}

fn socket() -> (tempfile::TempDir, PathBuf, UnixListener) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (directory, path, listener)
}

#[tokio::test]
async fn stale_answers_before_the_delimiter_are_dropped() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(path, None);
    let guest = tokio::spawn(async move {
        let mut guest = Guest::accept(&listener).await;
        let sync = guest.hear().await;
        // A dead client's answers, an answer to somebody else's sync, half a line, then ours.
        guest.say(b"{\"return\": 42}\n\xff{\"return\": 1}\n{\"retu").await;
        guest.say(b"\0\n{\"x\"").await;
        guest.say(b"\xff").await;
        guest.say(format!("{}\n", json!({ "return": sync["arguments"]["id"] })).as_bytes()).await;
        guest.answer("guest-get-time", json!({ "return": 1_000_000_000 })).await;
        guest
    });
    let time = agent.time().await.unwrap();
    assert_eq!(time, std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    guest.await.unwrap();
}

#[tokio::test]
async fn silent_agent_is_given_up_and_the_next_call_starts_afresh() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(path, None);
    let error = agent.ping(SHORT).await.unwrap_err();
    assert!(matches!(error, AgentError::Silent { .. }) && error.is_absence(), "{error}");
    drop(listener.accept().await.unwrap());
    let guest = tokio::spawn(async move {
        let mut guest = Guest::accept(&listener).await;
        guest.synchronize().await;
        guest.answer("guest-ping", json!({ "return": {} })).await;
        guest
    });
    agent.ping(Duration::from_secs(5)).await.unwrap();
    guest.await.unwrap();
}

#[tokio::test]
async fn late_answer_of_a_timed_out_call_is_not_the_next_ones() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(path, None);
    let guest = tokio::spawn(async move {
        let mut first = Guest::accept(&listener).await;
        first.synchronize().await;
        assert_eq!(first.hear().await["execute"], "guest-get-time");
        let mut second = Guest::accept(&listener).await;
        let _ = first.stream.write_all(b"{\"return\": 7}\n").await;
        second.synchronize().await;
        second.answer("guest-get-time", json!({ "return": 9 })).await;
        second
    });
    let error = agent.execute("guest-get-time", None, SHORT).await.unwrap_err();
    assert!(matches!(error, AgentError::TimedOut { .. }), "{error}");
    assert_eq!(agent.execute("guest-get-time", None, Duration::from_secs(5)).await.unwrap(), 9);
    guest.await.unwrap();
}

#[tokio::test]
async fn hostile_answers_are_errors() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(path, None);
    let answers = [
        ("guest-get-time", json!({ "return": "noon" })),
        ("guest-get-time", json!([1, 2])),
        ("guest-get-time", json!({ "return": u64::MAX })),
        ("guest-fsfreeze-status", json!({ "return": "melting" })),
        ("guest-network-get-interfaces", json!({ "return": [{ "name": 5 }] })),
    ];
    let script = answers.clone();
    let guest = tokio::spawn(async move {
        let mut guest = Guest::accept(&listener).await;
        guest.synchronize().await;
        for (command, answer) in script {
            guest.answer(command, answer.clone()).await;
            if answer.is_array() {
                guest = Guest::accept(&listener).await;
                guest.synchronize().await;
            }
        }
        guest
    });
    assert!(matches!(agent.time().await, Err(AgentError::Answer { .. })));
    assert!(matches!(agent.time().await, Err(AgentError::Answer { .. })));
    // u64::MAX nanoseconds is the year 2554, and fine.
    assert!(agent.time().await.is_ok());
    assert!(matches!(agent.fs_status().await, Err(AgentError::Answer { .. })));
    assert!(matches!(agent.interfaces().await, Err(AgentError::Answer { .. })));
    guest.await.unwrap();
}

#[tokio::test]
async fn refusal_is_passed_on_without_control_characters() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(path, None);
    let guest = tokio::spawn(async move {
        let mut guest = Guest::accept(&listener).await;
        guest.synchronize().await;
        let error = json!({ "class": "GenericError", "desc": format!("no\u{1b}[2J{}", "x".repeat(5000)) });
        guest.answer("guest-fsfreeze-freeze", json!({ "error": error })).await;
        guest
    });
    let error = agent.fs_freeze().await.unwrap_err().to_string();
    assert!(error.len() < 1200 && !error.contains('\u{1b}'), "{error}");
    guest.await.unwrap();
}

#[tokio::test]
async fn program_that_does_not_end_is_reported_with_its_number() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(path, None);
    let guest = tokio::spawn(async move {
        let mut guest = Guest::accept(&listener).await;
        guest.synchronize().await;
        guest.answer("guest-exec", json!({ "return": { "pid": 77 } })).await;
        loop {
            guest.answer("guest-exec-status", json!({ "return": { "exited": false } })).await;
        }
    });
    let exec = Exec { argv: vec!["sleep".into(), "9".into()], timeout: Duration::from_millis(50), ..Exec::default() };
    let error = agent.exec(&exec).await.unwrap_err();
    assert!(matches!(error, AgentError::ExecTimedOut { pid: 77, .. }), "{error}");
    guest.abort();
}

#[tokio::test]
async fn file_is_read_until_the_end_and_always_closed() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(path, None);
    let guest = tokio::spawn(async move {
        let mut guest = Guest::accept(&listener).await;
        guest.synchronize().await;
        guest.answer("guest-file-open", json!({ "return": 3 })).await;
        guest.answer("guest-file-read", json!({ "return": { "count": 3, "buf-b64": "YWJj", "eof": false } })).await;
        guest.answer("guest-file-read", json!({ "return": { "count": 1, "buf-b64": "ZA==", "eof": true } })).await;
        guest.answer("guest-file-close", json!({ "return": {} })).await;
        guest.answer("guest-file-open", json!({ "return": 4 })).await;
        guest.answer("guest-file-read", json!({ "return": { "count": 3, "buf-b64": "!", "eof": false } })).await;
        // An unusable answer leaves the connection in step.
        guest.answer("guest-file-close", json!({ "return": {} })).await;
        guest
    });
    let mut copy = Vec::new();
    assert_eq!(agent.read_file("/etc/hostname", &mut copy).await.unwrap(), 4);
    assert_eq!(copy, b"abcd");
    let error = agent.read_file("/etc/hostname", &mut copy).await.unwrap_err();
    assert!(matches!(error, AgentError::Answer { .. }), "{error}");
    guest.await.unwrap();
}

#[tokio::test]
async fn reseeding_closes_the_file_also_when_it_cannot_be_written() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(&path, None);
    let guest = async {
        let mut guest = Guest::accept(&listener).await;
        guest.synchronize().await;
        guest.answer("guest-file-open", json!({ "return": 5 })).await;
        guest.answer("guest-file-write", json!({ "error": { "class": "GenericError", "desc": "no" } })).await;
        guest.answer("guest-file-close", json!({ "return": {} })).await;
    };
    let (result, ()) = tokio::join!(agent.reseed(&[1; 32], SHORT), guest);
    assert!(matches!(result, Err(AgentError::Refused { command: "guest-file-write", .. })), "{result:?}");
}

#[tokio::test]
async fn reseeding_and_setting_the_clock_end_in_time_with_a_silent_guest() {
    let (_directory, path, listener) = socket();
    let agent = Agent::new(&path, None);
    let silent = tokio::spawn(async move {
        let mut guests = Vec::new();
        while let Ok((guest, _)) = listener.accept().await {
            guests.push(guest);
        }
    });
    let begun = std::time::Instant::now();
    assert!(agent.reseed(&[1; 32], SHORT).await.is_err());
    assert!(agent.set_time(std::time::SystemTime::now(), SHORT).await.is_err());
    assert!(begun.elapsed() < SHORT * 4);
    silent.abort();
}

#[tokio::test]
async fn answer_to_another_clients_synchronization_is_nobodys() {
    let ((_directory, path, listener), (_next, successor, heir)) = (socket(), socket());
    let asks = |path| {
        let agent = Agent::new(path, None);
        tokio::spawn(async move { agent.ping(Duration::from_secs(20)).await })
    };
    // As a machine's process that hands over at once, and its successor: each asks for the first time.
    let first = asks(path);
    let stale = Guest::accept(&listener).await.hear().await["arguments"]["id"].clone();
    let second = asks(successor);
    let mut guest = Guest::accept(&heir).await;
    let sync = guest.hear().await;
    guest.say(b"\xff").await;
    guest.say(format!("{}\n", json!({ "return": stale })).as_bytes()).await;
    // What the agent says to the byte in front of the question.
    guest.say(b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n").await;
    guest.say(b"\xff").await;
    guest.say(format!("{}\n", json!({ "return": sync["arguments"]["id"] })).as_bytes()).await;
    guest.answer("guest-ping", json!({ "return": {} })).await;
    second.await.unwrap().unwrap();
    first.abort();
}

#[tokio::test]
async fn held_gate_lets_the_call_under_way_end_and_leads_the_next_to_the_successor() {
    let ((_directory, path, listener), (_next, successor, heir)) = (socket(), socket());
    let (gate, entrance) = gate();
    let agent = Agent::holding(path, None, entrance, ());
    let call = |command| {
        let agent = agent.clone();
        tokio::spawn(async move { agent.execute(command, None, Duration::from_secs(20)).await })
    };
    let under_way = call("guest-get-time");
    let mut guest = Guest::accept(&listener).await;
    guest.synchronize().await;
    assert_eq!(guest.hear().await["execute"], "guest-get-time");
    gate.hold();
    assert!(!gate.empty(SHORT).await, "its answer is still to come");
    let held = call("guest-ping");
    guest.say(b"{\"return\": 7}\n").await;
    assert!(gate.empty(Duration::from_secs(20)).await);
    assert_eq!(under_way.await.unwrap().unwrap(), 7);

    assert!(!held.is_finished());
    gate.lead_to(Agent::new(successor, None));
    let mut guest = Guest::accept(&heir).await;
    guest.synchronize().await;
    guest.answer("guest-ping", json!({ "return": {} })).await;
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn call_that_was_held_for_too_long_was_never_sent() {
    let (_directory, path, listener) = socket();
    let (gate, entrance) = gate();
    let agent = Agent::holding(path, None, entrance, ());
    gate.hold();
    let error = agent.ping(SHORT).await.unwrap_err();
    assert!(matches!(error, AgentError::Held { command: "guest-ping", .. }) && !error.is_absence(), "{error}");
    gate.open();
    let guest = async {
        let mut guest = Guest::accept(&listener).await;
        guest.synchronize().await;
        guest.answer("guest-ping", json!({ "return": {} })).await;
    };
    let (pong, ()) = tokio::join!(agent.ping(Duration::from_secs(20)), guest);
    pong.unwrap();
}
