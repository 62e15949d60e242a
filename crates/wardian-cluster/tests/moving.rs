//! What a host brings along: all of it, once, and only where nothing else is.

mod common;

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use common::{faulty::Faulty, newcomer, open};
use proptest::prelude::*;
use serde_json::{Value, json};
use wardian_cluster::{Kind, Load, MoveError, Moved, check_records, join, move_records};
use wardian_model::name::HostName;
use wardian_store::{MemoryStore, Store, Transaction};
use wardian_testkit::etcd::Etcd;

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn host() -> HostName {
    newcomer(1).name
}

async fn put(store: &dyn Store, key: &str, value: Value) {
    store.commit(Transaction::new().put(key, value.to_string())).await.unwrap().committed().unwrap();
}

fn image(digest: &str, imported: &str) -> Value {
    json!({
        "name": "micro", "digest": digest, "virtual-size": "1GiB", "disk-size": "1MiB", "format": "qcow2",
        "kernel": true, "imported": imported,
    })
}

fn claim(of: Value, owner: u64) -> Value {
    json!({ "of": of, "environment-id": format!("{owner:016x}") })
}

/// An environment with everything that goes with it. The number makes whatever there is one of.
async fn environment(store: &dyn Store, name: &str, number: u8) {
    let id = format!("{number:016x}");
    put(store, &format!("environments/{name}"), json!({ "id": id, "name": name, "desired": "running" })).await;
    put(store, &format!("machines/{name}/m1"), json!({ "environment": name, "environment-id": id })).await;
    put(store, &format!("snapshots/{name}/first"), json!({ "environment": name, "environment-id": id })).await;
    put(store, &format!("cuts/{id}"), json!({ "id": id })).await;
    put(store, &format!("operations/{id}"), json!({ "id": id })).await;
    put(store, &format!("aliases/{id}"), json!({ "environment-id": id })).await;
    put(store, &format!("claims/edge/{number:05}"), claim(json!({ "edge": number }), number.into())).await;
    let address = format!("10.86.0.{number}");
    put(store, &format!("claims/address/{address}"), claim(json!({ "address": address }), number.into())).await;
}

/// A host's own store with that many environments.
async fn single(environments: u8) -> Arc<dyn Store> {
    let store = memory();
    put(&*store, "images/micro", image("aa", "2026-01-01T00:00:00Z")).await;
    put(&*store, "host/accelerator", json!({})).await;
    put(&*store, "events/00000000000000000001", json!({})).await;
    for number in 1..=environments {
        environment(&*store, &format!("e-{number}"), number).await;
    }
    let lease = store.grant_lease(Duration::from_secs(60)).await.unwrap();
    let remembered = Transaction::new().put_with_lease("operations/00000000000000ff", "{}", lease);
    store.commit(remembered).await.unwrap().committed().unwrap();
    store
}

async fn contents(store: &dyn Store) -> BTreeMap<String, Value> {
    let entries = store.list("").await.unwrap().entries.into_iter();
    entries.map(|entry| (entry.key.clone(), entry.decode().unwrap())).collect()
}

/// What the cluster shall have of that store.
async fn expected(from: &dyn Store) -> BTreeMap<String, Value> {
    let mut all = contents(from).await;
    all.retain(|key, _| {
        !key.starts_with("host/") && !key.starts_with("events/") && key != "operations/00000000000000ff"
    });
    for (key, value) in &mut all {
        if key.starts_with("environments/") {
            value["host"] = json!("h-1");
        }
    }
    all
}

#[tokio::test]
async fn everything_goes_along_that_is_of_use_elsewhere() {
    let (from, to) = (single(3).await, memory());
    let before = from.list("").await.unwrap();
    let moved = move_records(&*from, &*to, &host()).await.unwrap();
    assert_eq!(moved, Moved { copied: 1 + 3 * 8, already: 0, left: 3 });
    assert_eq!(contents(&*to).await, expected(&*from).await);
    assert_eq!(from.list("").await.unwrap(), before);
    // Again, as after a crash just before the host switched over.
    let again = move_records(&*from, &*to, &host()).await.unwrap();
    assert_eq!(again, Moved { copied: 0, already: 25, left: 3 });
}

#[tokio::test]
async fn a_move_that_was_interrupted_is_finished_by_the_next() {
    let from = single(40).await;
    let whole = expected(&*from).await;
    for takes in 0..4 {
        let to = memory();
        let breaking = Faulty::breaking(Arc::clone(&to), takes);
        let error = move_records(&*from, &breaking, &host()).await;
        assert!(matches!(error, Err(MoveError::To(_))), "{error:?}");
        let half = contents(&*to).await;
        assert_eq!(half.len(), takes * 100);
        // No environment is there without its parts.
        for name in half.keys().filter_map(|key| key.strip_prefix("environments/")) {
            assert!(
                half.contains_key(&format!("machines/{name}/m1"))
                    && half.contains_key(&format!("snapshots/{name}/first"))
            );
        }
        let moved = move_records(&*from, &*to, &host()).await.unwrap();
        assert_eq!(moved.already, half.len());
        assert_eq!(contents(&*to).await, whole);
    }
}

#[tokio::test]
async fn what_is_there_already_is_told_before_anything_is_written() {
    let (from, to) = (single(2).await, memory());
    put(&*to, "images/micro", image("bb", "2026-01-01T00:00:00Z")).await;
    put(&*to, "environments/e-2", json!({ "id": "0000000000000077", "name": "e-2", "host": "h-2" })).await;
    put(&*to, "machines/e-2/m1", json!({ "environment": "e-2" })).await;
    put(&*to, "snapshots/e-2/first", json!({})).await;
    put(&*to, "aliases/0000000000000001", json!({})).await;
    put(&*to, "claims/edge/00001", claim(json!({ "edge": 1 }), 0x77)).await;
    let before = to.list("").await.unwrap();
    let error = move_records(&*from, &*to, &host()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the cluster already has environment e-2, alias 0000000000000001, snapshot e-2/first, image micro, \
         claim edge/00001 (of e-1)"
    );
    assert!(error.hint().contains("wardian clone"), "{}", error.hint());
    assert_eq!(to.list("").await.unwrap(), before);
}

#[tokio::test]
async fn a_look_before_tells_what_will_move_and_writes_nothing() {
    let (from, to) = (single(2).await, memory());
    let free = Ipv4Addr::new(10, 86, 0, 254);
    let load = check_records(&*from, &*to, &host(), free).await.unwrap();
    assert_eq!(load, Load { environments: 2, machines: 2, images: 1, snapshots: 2 });
    assert!(contents(&*to).await.is_empty());

    let error = check_records(&*from, &*to, &host(), Ipv4Addr::new(10, 86, 0, 2)).await.unwrap_err();
    let told = error.to_string();
    assert_eq!(told, "the cluster already has claim address/10.86.0.2 (of e-2)");

    environment(&*to, "e-1", 9).await;
    let before = contents(&*to).await;
    let error = check_records(&*from, &*to, &host(), free).await.unwrap_err();
    assert!(matches!(&error, MoveError::Collisions(all) if all.all()[0].kind == Kind::Environment), "{error}");
    assert_eq!(contents(&*to).await, before);
}

#[tokio::test]
async fn many_collisions_are_counted() {
    let (from, to) = (single(12).await, single(12).await);
    for number in 1..=12 {
        put(&*to, &format!("environments/e-{number}"), json!({ "id": "0000000000000077" })).await;
    }
    let error = move_records(&*from, &*to, &host()).await.unwrap_err();
    let MoveError::Collisions(collisions) = &error else { panic!("{error:?}") };
    assert_eq!(collisions.all().len(), 12);
    assert!(collisions.all().iter().all(|one| one.kind == Kind::Environment));
    assert!(error.to_string().ends_with("environment e-7, and 2 more"), "{error}");
}

#[tokio::test]
async fn an_image_of_the_same_content_stays_as_it_is_there() {
    let (from, to) = (single(1).await, memory());
    let there = image("aa", "2020-01-01T00:00:00Z");
    put(&*to, "images/micro", there.clone()).await;
    let moved = move_records(&*from, &*to, &host()).await.unwrap();
    assert_eq!((moved.copied, moved.already), (8, 1));
    assert_eq!(contents(&*to).await["images/micro"], there);
}

#[tokio::test]
async fn the_address_of_a_host_that_came_in_is_nobody_elses() {
    let to = memory();
    let member = join(Arc::clone(&to), &newcomer(2)).await.unwrap();
    let from = memory();
    environment(&*from, "web", 9).await;
    let address = member.host().lab_address.to_string();
    put(&*from, &format!("claims/address/{address}"), claim(json!({ "address": address }), 9)).await;
    let error = move_records(&*from, &*to, &host()).await.unwrap_err();
    assert_eq!(error.to_string(), "the cluster already has claim address/10.86.0.254 (of web)");
}

#[tokio::test]
async fn a_store_that_is_not_a_single_hosts_is_refused() {
    let to = memory();
    let from = memory();
    join(Arc::clone(&from), &newcomer(1)).await.unwrap();
    let error = move_records(&*from, &*to, &host()).await.unwrap_err();
    assert!(matches!(error, MoveError::Clustered { .. }), "{error:?}");
    let from = single(1).await;
    put(&*from, "racks/1", json!({})).await;
    let error = move_records(&*from, &*to, &host()).await.unwrap_err();
    assert_eq!(error.to_string(), "this host's own store has records that this version doesn't know: racks/1");
    assert!(contents(&*to).await.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_part_is_there_already_the_rest_follows(part in prop::collection::vec(any::<bool>(), 81)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (from, to) = (single(10).await, memory());
            let whole = expected(&*from).await;
            for ((key, value), there) in whole.iter().zip(&part) {
                if *there {
                    put(&*to, key, value.clone()).await;
                }
            }
            let moved = move_records(&*from, &*to, &host()).await.unwrap();
            prop_assert_eq!(moved.copied + moved.already, whole.len());
            prop_assert_eq!(contents(&*to).await, whole);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn two_hosts_bring_their_records_into_one_etcd() {
    let server = Etcd::start();
    let to = open(&server).await;
    let first = single(60).await;
    let member = join(Arc::clone(&to), &newcomer(1)).await.unwrap();
    let moved = move_records(&*first, &*to, &host()).await.unwrap();
    assert_eq!(moved.copied, 1 + 60 * 8);
    let second = memory();
    put(&*second, "images/micro", image("aa", "2026-02-02T00:00:00Z")).await;
    environment(&*second, "web", 200).await;
    move_records(&*second, &*to, &newcomer(2).name).await.unwrap();
    let all = contents(&*to).await;
    for (key, value) in expected(&*first).await {
        assert_eq!(all[&key], value, "{key}");
    }
    assert_eq!(all["environments/web"]["host"], json!("h-2"));
    // A host that comes in now gets an address that none of the environments has.
    assert_eq!(member.host().lab_address.to_string(), "10.86.0.254");
    let colliding = single(1).await;
    put(&*colliding, "environments/e-1", json!({ "id": "0000000000000077" })).await;
    let error = move_records(&*colliding, &*to, &newcomer(2).name).await.unwrap_err();
    assert_eq!(error.to_string(), "the cluster already has environment e-1");
}
