//! A store on three members of etcd: what is lost with one of them (nothing), and with two (until one is back).

use std::time::Duration;

use wardian_store::{Error, EtcdConfig, EtcdStore, Event, EventKind, Outcome, Revision, Store, Transaction, Watch};
use wardian_testkit::etcd::EtcdCluster;

/// How long a promise may take to come true before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any request takes beyond its own time.
const SLACK: Duration = Duration::from_secs(2);

/// Runs a test where the members can be reached, with a cluster of three.
fn with_three<F: Future<Output = ()>>(test: impl FnOnce(EtcdCluster) -> F) {
    let cluster = EtcdCluster::start(3, None);
    cluster.enter();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test(cluster));
}

fn config(cluster: &EtcdCluster) -> EtcdConfig {
    EtcdConfig::new(cluster.endpoints())
}

async fn open(cluster: &EtcdCluster) -> EtcdStore {
    EtcdStore::open(config(cluster)).await.unwrap()
}

/// The counter, once it is read.
async fn count(store: &EtcdStore) -> Result<(u64, Revision), Error> {
    let entry = store.get("counter").await?.expect("a counter");
    let value = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
    Ok((value, entry.mod_revision))
}

async fn begin_to_count(store: &EtcdStore) -> Watch {
    let start = store.commit(Transaction::new().absent("counter").put("counter", "0")).await.unwrap();
    store.watch("counter", start.committed().unwrap().next()).await.unwrap()
}

/// One more, on the condition that nobody else was there.
async fn increment(store: &EtcdStore) -> Result<Outcome, Error> {
    let (value, seen) = count(store).await?;
    store.commit(Transaction::new().unchanged("counter", seen).put("counter", (value + 1).to_string())).await
}

async fn told(watch: &mut Watch) -> Vec<Event> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event is missing").unwrap()
}

/// Reads from a watch of the counter until it has told of `last`, and of each number before it once.
async fn told_up_to(watch: &mut Watch, first: u64, last: u64) {
    for number in first..=last {
        let batch = told(watch).await;
        let [Event { kind: EventKind::Put(entry), .. }] = &batch[..] else { panic!("{batch:?}") };
        assert_eq!(entry.value, number.to_string().as_bytes());
    }
}

/// Calls until it succeeds: members that were started need a moment.
async fn eventually<T>(call: impl AsyncFn() -> Result<T, Error>) -> T {
    let calls = async {
        loop {
            match call().await {
                Ok(value) => return value,
                Err(Error::NoQuorum { .. } | Error::Unreachable { .. } | Error::Engine { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, calls).await.expect("etcd is not back")
}

#[test]
fn a_member_that_dies_goes_unnoticed() {
    with_three(async |mut cluster| {
        let store = open(&cluster).await;
        let mut watch = begin_to_count(&store).await;
        let lease = store.grant_lease(Duration::from_secs(60)).await.unwrap();
        let mut expected = 0;
        // Whoever leads, and whoever the store talks to: it is among these.
        for member in [0, 1, 2, 0] {
            cluster.kill(member);
            for _ in 0..10 {
                assert!(increment(&store).await.unwrap().committed().is_some());
                expected += 1;
            }
            told_up_to(&mut watch, expected - 9, expected).await;
            store.keep_alive(lease).await.unwrap();
            let put = Transaction::new().put_with_lease("leased", member.to_string(), lease);
            eventually(async || store.commit(put.clone()).await).await.committed().unwrap();
            cluster.start_again(member);
            // The next one may only die when this one has caught up.
            let alone = EtcdConfig::new([cluster.endpoint(member)]);
            eventually(async || EtcdStore::open(alone.clone()).await).await;
        }
        assert_eq!(count(&store).await.unwrap().0, expected);
    });
}

#[test]
fn nothing_is_lost_or_doubled_while_members_die_under_load() {
    with_three(async |mut cluster| {
        let store = open(&cluster).await;
        let mut watch = begin_to_count(&store).await;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let writing = async {
            let (mut sure, mut stopped) = (0, stopped);
            loop {
                match increment(&store).await {
                    Ok(outcome) => assert!(outcome.committed().is_some(), "there is but one writer"),
                    // It may have happened: looking tells.
                    Err(Error::Engine { .. }) => {}
                    Err(other) => panic!("{other:?}"),
                }
                let (value, _) = count(&store).await.unwrap();
                assert!(value == sure || value == sure + 1, "{value} after {sure}");
                sure = value;
                if stopped.try_recv().is_ok() {
                    return sure;
                }
            }
        };
        let (last, cluster) = tokio::join!(writing, async {
            for member in [0, 1, 2] {
                tokio::time::sleep(Duration::from_millis(700)).await;
                cluster.kill(member);
                tokio::time::sleep(Duration::from_millis(1500)).await;
                cluster.start_again(member);
                let alone = EtcdConfig::new([cluster.endpoint(member)]);
                eventually(async || EtcdStore::open(alone.clone()).await).await;
            }
            stop.send(()).unwrap();
            cluster
        });
        assert!(last > 100, "hardly anything was written: {last}");
        told_up_to(&mut watch, 1, last).await;
        drop(cluster);
    });
}

#[test]
fn without_a_quorum_everything_says_so_and_all_is_well_afterwards() {
    with_three(async |mut cluster| {
        let config = EtcdConfig { timeout: Duration::from_secs(3), ..config(&cluster) };
        let store = EtcdStore::open(config.clone()).await.unwrap();
        let mut watch = begin_to_count(&store).await;
        increment(&store).await.unwrap().committed().unwrap();
        told_up_to(&mut watch, 1, 1).await;
        cluster.kill(0);
        cluster.kill(1);
        // The first may meet a leader that does not know yet; afterwards nobody leads.
        for _ in 0..2 {
            let put = store.commit(Transaction::new().put("other", "1"));
            let get = store.get("counter");
            let opened = EtcdStore::open(config.clone());
            let lease = store.grant_lease(Duration::from_secs(60));
            let within = config.timeout + SLACK;
            let all = async { tokio::join!(put, get, opened, lease) };
            let (put, get, opened, lease) = tokio::time::timeout(within, all).await.expect("later than its time-out");
            for error in [put.err(), get.err(), opened.err(), lease.err()] {
                let error = error.expect("there is no quorum");
                assert!(matches!(error, Error::NoQuorum { .. }), "{error:?}");
                assert!(error.to_string().contains(&cluster.endpoint(2)), "{error}");
            }
        }
        cluster.start_again(0);
        cluster.start_again(1);
        let (value, _) = eventually(async || count(&store).await).await;
        assert_eq!(value, 1);
        for _ in 0..5 {
            eventually(async || increment(&store).await).await.committed().unwrap();
        }
        told_up_to(&mut watch, 2, 6).await;
        // What a watch from the beginning tells is what is there: nothing was doubled by trying again.
        let mut all = store.watch("counter", Revision(0)).await.unwrap();
        told_up_to(&mut all, 0, 6).await;
    });
}

#[test]
fn a_member_without_the_others_is_left_for_one_that_has_them() {
    with_three(async |cluster| {
        for member in 0..3 {
            // A store of its own each time, which talks to that member and has a watch at it.
            let endpoints = (0..3).map(|next| cluster.endpoint((member + next) % 3));
            let store = EtcdStore::open(EtcdConfig { prefix: format!("p{member}"), ..EtcdConfig::new(endpoints) });
            let store = store.await.unwrap();
            let mut watch = begin_to_count(&store).await;
            cluster.isolate(member, true);
            for _ in 0..3 {
                eventually(async || increment(&store).await).await.committed().unwrap();
            }
            told_up_to(&mut watch, 1, 3).await;
            cluster.isolate(member, false);
            let alone = EtcdConfig::new([cluster.endpoint(member)]);
            eventually(async || EtcdStore::open(alone.clone()).await).await;
        }
    });
}

#[test]
fn a_member_that_vanishes_silently_is_left_too() {
    with_three(async |cluster| {
        let store = open(&cluster).await;
        let mut watch = begin_to_count(&store).await;
        cluster.cut(0, true);
        for _ in 0..3 {
            eventually(async || increment(&store).await).await.committed().unwrap();
        }
        told_up_to(&mut watch, 1, 3).await;
        cluster.cut(0, false);
        cluster.pause(1, true);
        for _ in 0..3 {
            eventually(async || increment(&store).await).await.committed().unwrap();
        }
        told_up_to(&mut watch, 4, 6).await;
        cluster.pause(1, false);
    });
}
