//! A process that commits as fast as it can is killed, again and again, on one file: what it was told is committed is
//! there afterwards, whole, and nothing of the rest is there in part.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wardian_store::{Error, EventKind, Revision, SqliteStore, Store, Transaction};

const FILE: &str = "WARDIAN_STORE_CRASH_FILE";
const WRITERS: u64 = 4;
const ROUNDS: u64 = 12;

/// Two keys per commit, to see that commits are whole, and one that all commits of a writer overwrite.
fn step(writer: u64, round: u64, number: u64) -> Transaction {
    let value = format!("{round}.{number}");
    Transaction::new()
        .put(format!("left/{writer}/{round}/{number}"), value.clone())
        .put(format!("right/{writer}/{round}/{number}"), value.clone())
        .put(format!("latest/{writer}"), value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
/// Not a test of its own but the process that `acknowledged_commits_survive_being_killed` starts and kills.
async fn child() {
    let Ok(setting) = std::env::var(FILE) else {
        return;
    };
    let (round, path) = setting.split_once(':').unwrap();
    let round: u64 = round.parse().unwrap();
    let store = Arc::new(SqliteStore::open(path).await.unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0.. {
                    let outcome = store.commit(step(writer, round, number)).await.unwrap();
                    let revision = outcome.committed().unwrap();
                    // One write call, so that no line is torn; not `print!`, which the test harness captures.
                    let line = format!("\nacknowledged {writer} {number} {revision}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Kills the child whatever happens to the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(path: &Path, round: u64) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FILE, format!("{round}:{}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Killed(child.unwrap())
}

/// Runs a child for `time` after its first commit, kills it, and returns what was acknowledged.
async fn run_and_kill(path: &Path, round: u64, time: Duration) -> Vec<(u64, u64, Revision)> {
    let mut child = spawn(path, round);
    let mut output = BufReader::new(child.0.stdout.take().unwrap());
    let mut complaints = child.0.stderr.take().unwrap();
    let (started, start) = tokio::sync::oneshot::channel();
    let reading = std::thread::spawn(move || {
        let mut started = Some(started);
        let mut acknowledged = Vec::new();
        let mut line = String::new();
        // A line without its end was cut by the kill: not acknowledged.
        while output.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            if let Some(numbers) = line.strip_prefix("acknowledged ") {
                let numbers: Vec<u64> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
                acknowledged.push((numbers[0], numbers[1], Revision(numbers[2])));
                started.take().map(|started| started.send(()));
            }
            line.clear();
        }
        acknowledged
    });
    if start.await.is_err() {
        drop(child);
        let mut text = String::new();
        complaints.read_to_string(&mut text).unwrap();
        panic!("the child has committed nothing: {text}");
    }
    tokio::time::sleep(time).await;
    match SqliteStore::open(path).await {
        Err(Error::InUse { .. }) => {}
        _ => panic!("the file of a running process could be opened"),
    }
    drop(child);
    reading.join().unwrap()
}

#[tokio::test]
async fn acknowledged_commits_survive_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let time = Duration::from_millis(3 + 17 * round % 60);
        for (writer, number, revision) in run_and_kill(&path, round, time).await {
            acknowledged.insert(revision, (writer, round, number));
        }
        let store = SqliteStore::open(&path).await.unwrap();
        check(&store, &acknowledged).await;
    }
    assert!(acknowledged.len() as u64 > ROUNDS * WRITERS);
}

async fn check(store: &SqliteStore, acknowledged: &BTreeMap<Revision, (u64, u64, u64)>) {
    let left = store.list("left/").await.unwrap();
    let right = store.list("right/").await.unwrap();
    // Each commit is there whole or not at all, and every revision is one commit.
    assert_eq!(left.entries.len(), right.entries.len());
    assert_eq!(left.revision, Revision(1 + left.entries.len() as u64));
    let left: BTreeMap<_, _> = left.entries.into_iter().map(|entry| (entry.mod_revision, entry)).collect();
    for entry in right.entries {
        let twin = &left[&entry.mod_revision];
        assert_eq!(twin.key.strip_prefix("left"), entry.key.strip_prefix("right"));
        assert_eq!(twin.value, entry.value);
    }
    for (revision, (writer, round, number)) in acknowledged {
        let entry = &left[revision];
        assert_eq!(entry.key, format!("left/{writer}/{round}/{number}"));
    }
    // The history has no gaps.
    let mut watch = store.watch("left/", Revision(0)).await.unwrap();
    for (revision, entry) in &left {
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].revision, *revision);
        assert_eq!(batch[0].kind, EventKind::Put(entry.clone()));
    }
}

#[tokio::test]
async fn a_store_killed_while_it_is_created_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..24 {
        let path = folder.path().join(format!("{round}.db"));
        let child = spawn(&path, round);
        // From before the file exists to after the first commits.
        let spawned = Instant::now();
        while round % 4 != 0 && !path.exists() {
            assert!(spawned.elapsed() < Duration::from_secs(10), "no file");
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_micros(500 * round)).await;
        drop(child);
        let store = SqliteStore::open(&path).await.unwrap();
        check(&store, &BTreeMap::new()).await;
        let outcome = store.commit(Transaction::new().put("a", "1")).await;
        assert!(outcome.unwrap().committed().is_some());
    }
}
