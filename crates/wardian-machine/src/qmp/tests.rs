//! Monitor tests against a scripted peer: only what a real QEMU does not do on demand.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use super::*;

const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n";
const SHORT: Duration = Duration::from_millis(300);

struct Peer {
    lines: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    output: OwnedWriteHalf,
}

impl Peer {
    fn new(stream: UnixStream) -> Self {
        let (input, output) = stream.into_split();
        Peer { lines: BufReader::new(input).lines(), output }
    }

    /// Greets and takes part in the negotiation.
    async fn accept(listener: &UnixListener) -> Self {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        peer.say(GREETING).await;
        let hello = peer.hear().await;
        assert_eq!(hello["execute"], "qmp_capabilities");
        peer.say(&format!("{}\r\n", json!({ "return": {}, "id": hello["id"] }))).await;
        peer
    }

    async fn say(&mut self, text: &str) {
        self.output.write_all(text.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }
}

fn socket() -> (tempfile::TempDir, PathBuf, UnixListener) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (directory, path, listener)
}

#[tokio::test]
async fn answers_in_any_order_reach_their_askers() {
    let (_directory, path, listener) = socket();
    let qmp = Qmp::new(path);
    let mut peer = Peer::accept(&listener).await;
    let (one, two) = (qmp.clone(), qmp.clone());
    let one = tokio::spawn(async move { one.execute("one", None).await });
    let first = peer.hear().await;
    let two = tokio::spawn(async move { two.execute("two", Some(json!({ "a": 1 }))).await });
    let second = peer.hear().await;
    assert_eq!(second["arguments"], json!({ "a": 1 }));
    // Written in pieces, with an event in between, and one answer nobody waits for.
    peer.say(&format!("{{\"return\": 2, \"id\": {}", second["id"])).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    peer.say(&format!("}}\r\n{{\"event\": \"STOP\"}}\n{}\n", json!({ "return": 0, "id": 99 }))).await;
    peer.say(&format!("{}\n", json!({ "return": 1, "id": first["id"] }))).await;
    assert_eq!(one.await.unwrap().unwrap(), 1);
    assert_eq!(two.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn refusal_names_command_class_and_words() {
    let (_directory, path, listener) = socket();
    let qmp = Qmp::new(path);
    let mut peer = Peer::accept(&listener).await;
    let asked = tokio::spawn(async move { qmp.execute("fly", None).await });
    let id = peer.hear().await["id"].clone();
    let error = json!({ "class": "CommandNotFound", "desc": "The command fly has not been found" });
    peer.say(&format!("{}\n", json!({ "error": error, "id": id }))).await;
    let error = asked.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "QEMU refused fly: The command fly has not been found (CommandNotFound)");
}

#[tokio::test]
async fn silence_ends_in_a_time_out_and_the_late_answer_is_dropped() {
    let (_directory, path, listener) = socket();
    let qmp = Qmp::new(path);
    let mut peer = Peer::accept(&listener).await;
    let error = qmp.execute_within("slow", None, SHORT).await.unwrap_err();
    assert!(matches!(error, QmpError::TimedOut { .. }), "{error}");
    let late = peer.hear().await["id"].clone();
    peer.say(&format!("{}\n", json!({ "return": "late", "id": late }))).await;
    let next = tokio::spawn(async move { qmp.execute("next", None).await });
    let id = peer.hear().await["id"].clone();
    peer.say(&format!("{}\n", json!({ "return": "mine", "id": id }))).await;
    assert_eq!(next.await.unwrap().unwrap(), "mine");
}

#[tokio::test]
async fn broken_connection_fails_what_was_asked_and_is_made_again() {
    let (_directory, path, listener) = socket();
    let qmp = Qmp::new(path);
    let mut events = qmp.events();
    let mut peer = Peer::accept(&listener).await;
    let asked = tokio::spawn({
        let qmp = qmp.clone();
        async move { qmp.execute("stop", None).await }
    });
    peer.hear().await;
    drop(peer);
    assert!(matches!(asked.await.unwrap(), Err(QmpError::Disconnected { .. })));
    let mut peer = Peer::accept(&listener).await;
    let asked = tokio::spawn(async move { qmp.execute("cont", None).await });
    let id = peer.hear().await["id"].clone();
    peer.say(&format!("{}\n", json!({ "return": {}, "id": id }))).await;
    asked.await.unwrap().unwrap();
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event.what);
    }
    assert_eq!(seen, [MachineEvent::Connected, MachineEvent::Disconnected, MachineEvent::Connected]);
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_the_next_one_serves() {
    let (_directory, path, listener) = socket();
    let qmp = Qmp::new(path);
    for nonsense in ["HTTP/1.1 400 Bad Request\r\n", "{\"return\": {}}\n"] {
        let mut peer = Peer::new(listener.accept().await.unwrap().0);
        peer.say(nonsense).await;
        assert!(peer.lines.next_line().await.unwrap_or(None).is_none());
    }
    let mut peer = Peer::accept(&listener).await;
    peer.say("{]\n").await;
    let mut peer = Peer::accept(&listener).await;
    let asked = tokio::spawn(async move { qmp.execute("stop", None).await });
    let id = peer.hear().await["id"].clone();
    peer.say(&format!("{}\n", json!({ "id": id }))).await;
    assert!(matches!(asked.await.unwrap(), Err(QmpError::Answer { member: "return", .. })));
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let qmp = Qmp::new(directory.path().join("qmp.sock"));
    let error = tokio::time::timeout(SHORT, qmp.execute("stop", None)).await.unwrap().unwrap_err();
    assert!(matches!(error, QmpError::Unreachable { .. }), "{error}");
    qmp.close();
    let error = tokio::time::timeout(SHORT, qmp.execute("stop", None)).await.unwrap().unwrap_err();
    assert!(matches!(error, QmpError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn endless_line_does_not_fill_memory() {
    let (_directory, path, listener) = socket();
    let qmp = Qmp::new(path);
    let mut peer = Peer::accept(&listener).await;
    let chunk = vec![b'x'; 1 << 20];
    let mut written = 0;
    while peer.output.write_all(&chunk).await.is_ok() {
        written += chunk.len();
        assert!(written < MAXIMUM_LINE + (8 << 20), "the reader takes for ever");
    }
    drop(qmp);
}

#[test]
fn full_disk_is_told_from_other_disk_errors() {
    let event = Event::read(&json!({
        "event": "BLOCK_IO_ERROR",
        "timestamp": { "seconds": 5, "microseconds": 7 },
        "data": { "device": "", "node-name": "disk0", "operation": "write", "action": "stop",
                  "nospace": true, "reason": "No space left on device" },
    }));
    let event = event.unwrap();
    assert_eq!(event.at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_micros(), 5_000_007);
    assert!(
        matches!(&event.what, MachineEvent::BlockIoError { node, paused: true, no_space: true, .. } if node == "disk0")
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![
            Just("event".to_owned()),
            Just("data".to_owned()),
            Just("timestamp".to_owned()),
            Just("seconds".to_owned()),
            Just("microseconds".to_owned()),
            Just("name".to_owned()),
            "[a-z]{0,3}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..5).prop_map(|m| m.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_message_is_read_without_panic(message in any_json()) {
        let is_event = message.get("event").is_some_and(Value::is_string);
        prop_assert_eq!(Event::read(&message).is_some(), is_event);
    }
}
