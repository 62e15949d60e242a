//! Who comes in, who does not, and what both get to know.

mod common;

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use common::{faulty::Faulty, newcomer, open, settings};
use proptest::prelude::*;
use wardian_cluster::{Foreseen, JoinError, Newcomer, Settings, check_join, hosts, join};
use wardian_model::{
    claim::{ClaimRecord, Claimed, Owner},
    cluster::{ClusterRecord, HostRecord},
    encapsulation::Encapsulation,
    id::EnvironmentId,
    record::Record,
};
use wardian_store::{MemoryStore, Outcome, Store, Transaction, typed};
use wardian_testkit::etcd::Etcd;

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn refused(store: &Arc<dyn Store>, me: &Newcomer) -> JoinError {
    let before = store.list("").await.unwrap();
    let foreseen = check_join(&**store, me).await.unwrap_err();
    let error = join(Arc::clone(store), me).await.unwrap_err();
    assert_eq!(foreseen.to_string(), error.to_string());
    assert_eq!(store.list("").await.unwrap(), before, "who is refused writes nothing");
    error
}

/// Claims an address for an environment, as a request does; whether it was free.
async fn claim(store: &dyn Store, address: Ipv4Addr) -> bool {
    let claim = ClaimRecord {
        of: Claimed::Address(address),
        owner: Owner::Environment(EnvironmentId::from_bits(address.to_bits().into())),
    };
    let transaction = Transaction::new().absent(claim.key()).put_json(claim.key(), &claim).unwrap();
    matches!(store.commit(transaction).await.unwrap(), Outcome::Committed(_))
}

#[tokio::test]
async fn the_first_host_founds_the_cluster_and_hosts_get_addresses_from_the_end() {
    let store = memory();
    let first = join(Arc::clone(&store), &newcomer(1)).await.unwrap();
    assert!(claim(&*store, Ipv4Addr::new(10, 86, 0, 253)).await);
    let before = store.list("").await.unwrap();
    let Foreseen { cluster, host, .. } = check_join(&*store, &newcomer(2)).await.unwrap();
    assert_eq!(store.list("").await.unwrap(), before, "who only looks writes nothing");
    let second = join(Arc::clone(&store), &newcomer(2)).await.unwrap();
    assert_eq!(first.cluster(), second.cluster());
    assert_eq!((&cluster, host.lab_address), (second.cluster(), second.host().lab_address));
    assert_eq!(first.cluster().lab, settings().lab);
    assert_eq!(first.host().lab_address, Ipv4Addr::new(10, 86, 0, 254));
    assert_eq!(second.host().lab_address, Ipv4Addr::new(10, 86, 0, 252));
    let all = hosts(&*store).await.unwrap();
    let told: Vec<_> = all.iter().map(|one| (one.host.name.as_str(), one.presence.is_some(), one.leads)).collect();
    assert_eq!(told, [("h-1", false, false), ("h-2", false, false)]);
    let claimed = typed::get_as::<ClaimRecord>(&*store, "claims/address/10.86.0.254").await.unwrap().unwrap().0;
    assert_eq!(claimed.owner, Owner::Host(newcomer(1).name));
    assert!(!format!("{first:?}").contains(&first.cluster().secret), "the secret is not for logs");
}

#[tokio::test]
async fn what_was_foreseen_is_made_so_or_judged_anew() {
    let store = memory();
    let (one, other) = (newcomer(1), newcomer(2));
    let (first, second) = (check_join(&*store, &one).await.unwrap(), check_join(&*store, &other).await.unwrap());
    assert!(!format!("{first:?}").contains(&first.cluster.secret), "the secret is not for logs");
    let expected = (first.cluster.clone(), first.host.clone());
    assert_eq!(second.host.lab_address, first.host.lab_address);
    let first = first.join(Arc::clone(&store)).await.unwrap();
    assert_eq!((first.cluster(), first.host()), (&expected.0, &expected.1));
    // Both would have founded it, each with a secret of its own.
    assert_ne!(&second.cluster, first.cluster());
    let second = second.join(Arc::clone(&store)).await.unwrap();
    assert_eq!(second.cluster(), first.cluster());
    assert_ne!(second.host().lab_address, first.host().lab_address);
    // And who may not come in any more does not.
    let late = Newcomer { provider: Ipv4Addr::new(10, 1, 0, 99), ..newcomer(3) };
    let twin = Newcomer { provider: late.provider, ..newcomer(4) };
    let foreseen = check_join(&*store, &late).await.unwrap();
    join(Arc::clone(&store), &twin).await.unwrap();
    let refused = foreseen.join(Arc::clone(&store)).await.unwrap_err();
    assert!(matches!(refused, JoinError::Provider { .. }), "{refused}");
}

#[tokio::test]
async fn a_host_that_comes_back_keeps_its_address_and_is_described_anew() {
    let store = memory();
    let before = join(Arc::clone(&store), &newcomer(1)).await.unwrap();
    join(Arc::clone(&store), &newcomer(2)).await.unwrap();
    let upgraded =
        Newcomer { version: "0.2.0".to_owned(), memory_mib: 1, provider: Ipv4Addr::new(10, 1, 0, 99), ..newcomer(1) };
    let after = join(Arc::clone(&store), &upgraded).await.unwrap();
    let kept = (before.host().lab_address, before.host().joined);
    assert_eq!((after.host().lab_address, after.host().joined), kept);
    let record = typed::get_as::<HostRecord>(&*store, "hosts/h-1").await.unwrap().unwrap().0;
    assert_eq!((record.version.as_str(), record.memory_mib, record.provider), ("0.2.0", 1, upgraded.provider));
    assert_ne!(before.daemon(), after.daemon());
}

#[tokio::test]
async fn who_is_configured_otherwise_is_told_each_difference() {
    let store = memory();
    join(Arc::clone(&store), &newcomer(1)).await.unwrap();
    let settings = Settings {
        lab: "10.87.0.0/16".parse().unwrap(),
        zone: "lab.example".to_owned(),
        ports: (1, 2),
        encapsulation: Encapsulation::Vxlan,
        mtu: 9000,
    };
    let error = refused(&store, &Newcomer { settings, ..newcomer(2) }).await;
    assert_eq!(
        error.to_string(),
        "this host is not configured like the cluster: \
         [lab] prefix is 10.87.0.0/16 here and 10.86.0.0/24 in the cluster; \
         [lab] zone is lab.example here and wardian.internal in the cluster; \
         ports is 1-2 here and 30000-32767 in the cluster; \
         [cluster] encapsulation is vxlan here and nvgre in the cluster; [cluster] mtu is 9000 here and 1500 in the cluster"
    );
    assert!(error.hint().starts_with("change `[lab] prefix` and `[lab] zone` and"), "{}", error.hint());
    // A host of the cluster whose configuration was changed, too.
    let changed = Settings { zone: "lab.example".to_owned(), ..common::settings() };
    let error = refused(&store, &Newcomer { settings: changed, ..newcomer(1) }).await;
    assert!(matches!(&error, JoinError::Settings(all) if all.len() == 1), "{error}");
}

#[tokio::test]
async fn names_and_provider_addresses_are_one_hosts_each() {
    let store = memory();
    join(Arc::clone(&store), &newcomer(1)).await.unwrap();
    let same_name = Newcomer { instance: "other".to_owned(), provider: Ipv4Addr::new(10, 1, 0, 9), ..newcomer(1) };
    let error = refused(&store, &same_name).await;
    assert_eq!(error.to_string(), "there is already a host h-1 in this cluster, at 10.1.0.1");
    assert_eq!(error.hint(), "choose another name ([cluster] name)");
    let error = refused(&store, &Newcomer { provider: newcomer(1).provider, ..newcomer(2) }).await;
    assert_eq!(error.to_string(), "10.1.0.1 is already the provider address of the host h-1 in this cluster");
}

#[tokio::test]
async fn the_addresses_of_machines_are_one_hosts_and_nobody_elses() {
    let store = memory();
    let with = |number, prefix: &str| Newcomer { rewrite_addresses: Some(prefix.parse().unwrap()), ..newcomer(number) };
    let member = join(Arc::clone(&store), &with(1, "10.9.1.7/24")).await.unwrap();
    assert_eq!(member.host().rewrite_addresses, Some("10.9.1.0/24".parse().unwrap()));
    for (wrong, said) in [
        ("10.86.0.0/28", "10.86.0.0/28 of this host can't be: they overlap the lab network 10.86.0.0/24"),
        ("10.0.0.0/8", "they overlap the lab network 10.86.0.0/24"),
        ("10.1.0.2/31", "they overlap this host's own provider address 10.1.0.2"),
        ("10.1.0.1/32", "they overlap 10.1.0.1, the provider address of the host h-1"),
        ("10.9.0.0/16", "they overlap 10.9.1.0/24 of the host h-1"),
        ("10.9.1.64/26", "they overlap 10.9.1.0/24 of the host h-1"),
    ] {
        let error = refused(&store, &with(2, wrong)).await;
        assert!(error.to_string().ends_with(said), "{error}");
        assert!(error.hint().contains("[cluster] rewrite-addresses"), "{}", error.hint());
    }
    let within = Newcomer { provider: Ipv4Addr::new(10, 9, 1, 3), ..newcomer(2) };
    let error = refused(&store, &within).await;
    assert!(
        error
            .to_string()
            .ends_with("10.9.1.3 of this host is one of the rewrite addresses 10.9.1.0/24 of the host h-1")
    );
    join(Arc::clone(&store), &with(2, "10.9.2.0/24")).await.unwrap();
    // Once a machine has one, the host keeps it; more it may have at any time.
    let address = Ipv4Addr::new(10, 9, 1, 5);
    assert!(claim(&*store, address).await);
    for less in [newcomer(1), with(1, "10.9.1.0/30"), with(1, "10.9.3.0/24")] {
        let error = refused(&store, &less).await;
        assert_eq!(
            error.to_string(),
            "this host's rewrite addresses were 10.9.1.0/24, and a machine still has 10.9.1.5 of them"
        );
        assert!(error.hint().starts_with("say `rewrite-addresses = \"10.9.1.0/24\"` in [cluster]"), "{}", error.hint());
    }
    join(Arc::clone(&store), &with(1, "10.9.0.0/23")).await.unwrap();
    store.commit(Transaction::new().delete(Claimed::Address(address).key())).await.unwrap().committed().unwrap();
    join(store, &newcomer(1)).await.unwrap();
}

#[tokio::test]
async fn who_cannot_send_as_the_cluster_does_stays_out() {
    let store = memory();
    let able = vec![Encapsulation::Vxlan];
    let error = refused(&store, &Newcomer { encapsulations: able, ..newcomer(1) }).await;
    assert_eq!(error.to_string(), "this host can't send frames as the cluster does, by nvgre; it can by vxlan");
    let error = refused(&store, &Newcomer { encapsulations: vec![], ..newcomer(1) }).await;
    assert!(error.to_string().ends_with("it can by none"), "{error}");
}

#[tokio::test]
async fn a_full_lab_network_is_told() {
    let store = memory();
    let small = |number| {
        let settings = Settings { lab: "10.86.0.0/30".parse().unwrap(), ..settings() };
        Newcomer { settings, ..newcomer(number) }
    };
    join(Arc::clone(&store), &small(1)).await.unwrap();
    assert!(claim(&*store, Ipv4Addr::new(10, 86, 0, 1)).await);
    assert_eq!(
        refused(&store, &small(2)).await.to_string(),
        "the lab network 10.86.0.0/30 has no free address for this host"
    );
}

#[tokio::test]
async fn an_address_lost_by_hand_does_not_keep_a_host_out() {
    let store = memory();
    let before = join(Arc::clone(&store), &newcomer(1)).await.unwrap();
    let address = before.host().lab_address;
    store.commit(Transaction::new().delete(Claimed::Address(address).key())).await.unwrap().committed().unwrap();
    assert_eq!(join(Arc::clone(&store), &newcomer(1)).await.unwrap().host().lab_address, address);
    store.commit(Transaction::new().delete(Claimed::Address(address).key())).await.unwrap().committed().unwrap();
    assert!(claim(&*store, address).await);
    assert_ne!(join(Arc::clone(&store), &newcomer(1)).await.unwrap().host().lab_address, address);
}

/// Hosts come in at once while environments claim addresses, all from the same end.
async fn at_once(store: Arc<dyn Store>, order: Vec<u8>) {
    let joins: Vec<_> = order
        .iter()
        .map(|number| {
            let (store, me) = (Arc::clone(&store), newcomer(*number));
            tokio::spawn(async move { join(store, &me).await.unwrap().host().clone() })
        })
        .collect();
    let claims: Vec<_> = (0..order.len())
        .map(|place| {
            let store = Arc::clone(&store);
            let address = Ipv4Addr::new(10, 86, 0, 254 - u8::try_from(place).unwrap());
            tokio::spawn(async move { claim(&*store, address).await.then_some(address) })
        })
        .collect();
    let mut addresses = BTreeSet::new();
    for join in joins {
        assert!(addresses.insert(join.await.unwrap().lab_address));
    }
    for claim in claims {
        if let Some(address) = claim.await.unwrap() {
            assert!(addresses.insert(address), "{address} is a host's and an environment's");
        }
    }
    let distinct: BTreeSet<_> = order.iter().collect();
    assert_eq!(hosts(&*store).await.unwrap().len(), distinct.len());
    assert_eq!(store.list(ClusterRecord::PREFIX).await.unwrap().entries.len(), 1);
    // Every address has its claim.
    let claims = typed::list_as::<ClaimRecord>(&*store, &Claimed::addresses()).await.unwrap().entries;
    assert_eq!(claims.len(), addresses.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn hosts_that_come_in_at_once_never_share_an_address(
        order in Just((1u8..=12).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        runtime.block_on(at_once(Faulty::between(memory()).0, order));
    }
}

#[tokio::test]
async fn of_two_that_come_in_at_once_with_one_provider_address_one_stays_out() {
    // The second begins while the first is anywhere on its way.
    for turns in 0..10 {
        let (store, _way) = Faulty::between(memory());
        let first = join(Arc::clone(&store), &newcomer(1)).await.unwrap();
        let twin = |number| Newcomer { provider: Ipv4Addr::new(10, 1, 0, 99), ..newcomer(number) };
        let (one, other) = (twin(2), twin(3));
        let later = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            join(Arc::clone(&store), &other).await
        };
        let (one, other) = tokio::join!(join(Arc::clone(&store), &one), later);
        assert!(one.is_ok() != other.is_ok());
        let refused = one.err().or(other.err()).unwrap();
        assert!(matches!(refused, JoinError::Provider { .. }), "{refused}");
        let cluster = typed::get_as::<ClusterRecord>(&*store, ClusterRecord::KEY).await.unwrap().unwrap().0;
        assert_eq!(&cluster, first.cluster());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hosts_that_come_in_at_once_never_share_an_address_in_etcd() {
    let server = Etcd::start();
    at_once(open(&server).await, (1..=8).collect()).await;
}
