//! What is written down while a server can't be told, and that who waits hears of it once.

use std::{net::Ipv4Addr, sync::Arc};

use serde_json::json;
use wardian_model::{event::EventRecord, mac::MacAddress, name::Domain};
use wardian_network::update::{Secret, UpdateConfig};
use wardian_store::{MemoryStore, Store};

use super::*;

fn environment(id: u8, name: &str, desired: &str) -> EnvironmentRecord {
    let identity = json!({
        "inside": {
            "hostname": "m", "address": "192.168.23.1", "mac": MacAddress::local(1),
            "uuid": "6f3c1f0e-0000-4000-8000-000000000000",
        },
        "outside": { "address": Ipv4Addr::new(10, 86, 0, id), "mac": MacAddress::local(2) },
        "slot": id,
    });
    serde_json::from_value(json!({
        "id": format!("{id:016x}"), "name": name, "created": "2026-01-01T00:00:00Z",
        "spec": { "name": "lab", "machines": { "m": { "image": "micro" } }, "network": {} },
        "origin": { "from": "file" }, "edge": { "slot": 1, "mac": MacAddress::local(2) },
        "identities": { "m": identity },
        "fence": "out-only", "desired": desired, "run": 0, "phase": { "is": "pending" },
    }))
    .unwrap()
}

/// On a store, with a server that nobody is.
async fn publisher(store: &Arc<dyn Store>) -> Publisher {
    let zone = Domain::new("lab.example").unwrap();
    // The discard port of loopback: nobody listens there.
    let config = UpdateConfig::new("127.0.0.1:9".parse().unwrap(), zone.clone(), "key", Secret::new(*b"secret"));
    let records = Records::open(store.clone()).await.unwrap();
    Publisher::new(records, AliasConfig::new(zone).unwrap(), Updater::new(config).unwrap(), watch::Sender::default())
}

async fn put(store: &Arc<dyn Store>, environment: &EnvironmentRecord) {
    let put = Transaction::new().put_json(environment.key(), environment).unwrap();
    store.commit(put).await.unwrap().committed().unwrap();
}

async fn stored(publisher: &Publisher) -> Vec<PublishedRecord> {
    publisher.records.list(PublishedRecord::PREFIX).await.unwrap()
}

async fn events(publisher: &Publisher) -> Vec<String> {
    let events = publisher.records.list::<EventRecord>(EventRecord::PREFIX).await.unwrap();
    events.into_iter().map(|event| format!("{} {}", event.environment, event.message)).collect()
}

#[tokio::test]
async fn what_may_have_been_told_is_kept_until_it_is_told_to_go_also_after_its_environment() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let [one, two] = [environment(1, "one", "running"), environment(2, "two", "running")];
    put(&store, &one).await;
    let mut publisher = publisher(&store).await;
    publisher.turn().await.unwrap().unwrap_err();
    let first = stored(&publisher).await;
    assert_eq!(first.len(), 1);
    assert!(!first[0].published.settled);
    assert_eq!(first[0].published.records.len(), 3);

    store.commit(Transaction::new().delete(one.key())).await.unwrap().committed().unwrap();
    put(&store, &two).await;
    publisher.turn().await.unwrap().unwrap_err();
    let both = stored(&publisher).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[0], first[0], "nobody has told the server that it is gone");

    publisher.turn().await.unwrap().unwrap_err();
    let told = events(&publisher).await;
    let names: Vec<_> = told.iter().map(|event| event.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["one", "two"], "each is told once: {told:?}");
    assert!(publisher.standing.borrow().elsewhere.as_ref().unwrap().message.contains("127.0.0.1:9"));
}

#[tokio::test]
async fn what_was_acknowledged_is_told_once_more_after_a_start_and_nothing_is_written_for_it() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = environment(1, "one", "running");
    put(&store, &one).await;
    let mut publisher = publisher(&store).await;
    let settled = Published::settled(alias::records([&one], &publisher.aliases));
    let written = publisher.write([(one.id, Some(settled.clone()))].into_iter()).await.unwrap();
    assert!(written);
    let revision = store.revision().await.unwrap();
    // It is told, for it fails.
    publisher.turn().await.unwrap().unwrap_err();
    assert_eq!(store.revision().await.unwrap(), revision);
    assert_eq!(events(&publisher).await, [""; 0], "nobody waits");
    publisher.verified = true;
    publisher.turn().await.unwrap().unwrap();
    assert_eq!(stored(&publisher).await[0].published, settled);
}

#[tokio::test]
async fn many_records_are_written_in_transactions_that_a_store_takes() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let publisher = publisher(&store).await;
    let published = |id: u8| Published::settled(alias::records([&environment(id, "e", "running")], &publisher.aliases));
    let all = (0..200).map(|id| (environment(id, "e", "running").id, Some(published(id))));
    assert!(publisher.write(all).await.unwrap());
    assert_eq!(stored(&publisher).await.len(), 200);
    let all = (0..200).map(|id| (environment(id, "e", "running").id, None));
    assert!(publisher.write(all).await.unwrap());
    assert_eq!(stored(&publisher).await, []);
}
