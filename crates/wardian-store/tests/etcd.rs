//! What the engine on etcd promises beside the contract: to share an etcd, to list in pages, and to say what is wrong.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wardian_store::{
    CertificateFault, Error, EtcdConfig, EtcdIdentity, EtcdStore, EtcdTls, Outcome, Revision, Store, Transaction,
};
use wardian_testkit::etcd::{Certificates, Etcd, EtcdCluster, Identity};

const PATIENCE: Duration = Duration::from_secs(10);

async fn open(config: EtcdConfig) -> EtcdStore {
    EtcdStore::open(config).await.unwrap()
}

async fn put(store: &EtcdStore, key: &str) -> Revision {
    let outcome = store.commit(Transaction::new().put(key, "1")).await.unwrap();
    outcome.committed().unwrap()
}

async fn keys(store: &EtcdStore) -> Vec<String> {
    store.list("").await.unwrap().entries.into_iter().map(|entry| entry.key).collect()
}

/// An error and its causes, as people see it.
fn told(error: &Error) -> String {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {cause}")
}

#[tokio::test]
async fn stores_in_one_etcd_do_not_see_each_other() {
    let server = Etcd::start();
    let within = |prefix: &str| EtcdConfig { prefix: prefix.to_owned(), ..EtcdConfig::new([server.endpoint()]) };
    // Neighbours by every sorting: one is the beginning of the other, one lies within the other.
    let stores = [open(within("a")).await, open(within("ab")).await, open(within("b/c")).await];
    let start = stores[0].revision().await.unwrap().next();
    let mut watch = stores[0].watch("", start).await.unwrap();
    for (number, store) in stores.iter().enumerate() {
        put(store, &format!("k/{number}")).await;
    }
    for (number, store) in stores.iter().enumerate() {
        assert_eq!(keys(store).await, [format!("k/{number}")]);
    }
    let outcome = stores[1].commit(Transaction::new().absent("k/0").absent("k/1").put("k/0", "")).await.unwrap();
    let Outcome::Conflict { observed } = outcome else { panic!("{outcome:?}") };
    let observed: Vec<_> = observed.iter().map(|(key, entry)| (key.as_str(), entry.is_some())).collect();
    assert_eq!(observed, [("k/0", false), ("k/1", true)]);
    let emptied = stores[0].commit(Transaction::new().delete_prefix("")).await.unwrap().committed().unwrap();
    assert_eq!(keys(&stores[0]).await, [""; 0]);
    assert_eq!((keys(&stores[1]).await.len(), keys(&stores[2]).await.len()), (1, 1));
    let batches = [watch.next().await.unwrap(), watch.next().await.unwrap()];
    let told = batches.each_ref().map(|batch| (batch.len(), batch[0].revision, batch[0].key()));
    assert_eq!(told, [(1, start, "k/0"), (1, emptied, "k/0")]);
}

#[tokio::test]
async fn a_listing_of_many_pages_is_whole_and_in_order() {
    let server = Etcd::start();
    let store = open(EtcdConfig::new([server.endpoint()])).await;
    let mut expected = Vec::new();
    for part in 0..20 {
        let mut transaction = Transaction::new();
        for number in 0..110 {
            expected.push(format!("k/{part:02}/{number:03}"));
            transaction = transaction.put(expected.last().unwrap(), vec![7; 3000]);
        }
        store.commit(transaction).await.unwrap().committed().unwrap();
    }
    let listing = store.list("k/").await.unwrap();
    assert_eq!(listing.revision, store.revision().await.unwrap());
    let keys: Vec<_> = listing.entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn dropping_the_store_ends_its_watches() {
    let server = Etcd::start();
    let store = open(EtcdConfig::new([server.endpoint()])).await;
    let mut watch = store.watch("", Revision(0)).await.unwrap();
    drop(store);
    let next = tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch goes on");
    assert!(matches!(next, Err(Error::Closed { .. })), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_when_etcd_is_back() {
    let mut server = Etcd::start();
    let store = open(EtcdConfig::new([server.endpoint()])).await;
    let mut watch = store.watch("", Revision(0)).await.unwrap();
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(put(&store, "a").await);
        expected.push(put(&store, "a").await);
        server.kill();
        server.start_again();
        expected.push(put(&store, "a").await);
    }
    for expected in expected {
        let batch = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event is missing").unwrap();
        assert_eq!((batch.len(), batch[0].revision), (1, expected));
    }
}

#[tokio::test]
async fn where_nobody_listens_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("unix://{}", folder.path().join("nobody").display());
    let other = format!("unix://{}", folder.path().join("neither").display());
    let config = EtcdConfig { timeout: Duration::from_millis(300), ..EtcdConfig::new([&nobody, &other]) };
    let error = EtcdStore::open(config).await.err().unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let text = told(&error);
    for part in [&format!("no etcd answers at {nobody}, {other}"), &format!("{other}: No such file")] {
        assert!(text.contains(part.as_str()), "{text}");
    }
}

#[tokio::test]
async fn one_member_that_answers_is_enough() {
    let server = Etcd::start();
    let nobody = format!("{}-nobody", server.endpoint());
    let store = open(EtcdConfig::new([nobody, server.endpoint()])).await;
    put(&store, "a").await;
    assert_eq!(keys(&store).await, ["a"]);
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused_before_anything_is_tried() {
    let error = EtcdStore::open(EtcdConfig::new(["10.0.0.1:2379"])).await.err().unwrap();
    let expected = "\"10.0.0.1:2379\" is no address of an etcd: it begins with none of https://, http:// and unix://";
    assert_eq!(error.to_string(), expected);
}

/// Runs a test where the members of a cluster can be reached.
fn inside(cluster: &EtcdCluster, test: impl Future<Output = ()>) {
    cluster.enter();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn with_tls(cluster: &EtcdCluster, ca: PathBuf, identity: Option<&Identity>) -> EtcdConfig {
    let identity =
        identity.map(|identity| EtcdIdentity { certificate: identity.certificate.clone(), key: identity.key.clone() });
    EtcdConfig { tls: Some(EtcdTls { ca, identity }), ..EtcdConfig::new(cluster.endpoints()) }
}

async fn certificate_fault(config: EtcdConfig) -> (CertificateFault, String) {
    match EtcdStore::open(config).await.err().expect("the certificate is accepted") {
        error @ Error::Certificate { fault, .. } => (fault, told(&error)),
        other => panic!("{}", told(&other)),
    }
}

#[test]
fn certificates_let_in_whom_they_should_and_say_who_refuses_whom() {
    let (ours, theirs) = (Certificates::new("ours"), Certificates::new("theirs"));
    let cluster = EtcdCluster::start(1, Some(&ours));
    let (right, wrong) = (ours.client("host-a"), theirs.client("host-b"));
    inside(&cluster, async {
        let store = open(with_tls(&cluster, ours.ca(), Some(&right))).await;
        let start = put(&store, "a").await;
        let mut watch = store.watch("", start).await.unwrap();
        assert_eq!(watch.next().await.unwrap()[0].revision, start);
        // Several times each: when the refusal reaches us differs.
        for _ in 0..5 {
            let (fault, text) = certificate_fault(with_tls(&cluster, ours.ca(), Some(&wrong))).await;
            assert_eq!(fault, CertificateFault::Ours, "{text}");
            let (fault, text) = certificate_fault(with_tls(&cluster, ours.ca(), None)).await;
            assert_eq!(fault, CertificateFault::Ours, "{text}");
            let (fault, text) = certificate_fault(with_tls(&cluster, theirs.ca(), Some(&right))).await;
            assert_eq!(fault, CertificateFault::Theirs, "{text}");
            assert!(text.contains(&cluster.endpoint(0)), "{text}");
        }
        put(&store, "a").await;
        // Who speaks another protocol is told that nobody answers: it is no matter of certificates.
        let plain = cluster.endpoint(0).replace("https", "http");
        let config = EtcdConfig { timeout: Duration::from_millis(500), ..EtcdConfig::new([plain]) };
        let error = EtcdStore::open(config).await.err().unwrap();
        assert!(matches!(error, Error::Unreachable { .. }), "{}", told(&error));
    });
}

#[test]
fn a_name_that_the_certificate_does_not_have_is_refused() {
    let ours = Certificates::new("ours");
    let cluster = EtcdCluster::start(1, Some(&ours));
    let right = ours.client("host-a");
    inside(&cluster, async {
        // The same member under an address that its certificate does not name.
        cluster.add_address(0, "10.99.0.77");
        let config = with_tls(&cluster, ours.ca(), Some(&right));
        let config = EtcdConfig { endpoints: vec!["https://10.99.0.77:2379".to_owned()], ..config };
        assert_eq!(certificate_fault(config).await.0, CertificateFault::Theirs);
    });
}

#[tokio::test]
async fn files_that_hold_no_certificates_are_told_by_name() {
    let authority = Certificates::new("ours");
    let identity = authority.client("host-a");
    let missing = Path::new("/nowhere/ca.pem");
    let tls = |ca: &Path, certificate: &Path, key: &Path| {
        let identity = EtcdIdentity { certificate: certificate.to_owned(), key: key.to_owned() };
        let tls = Some(EtcdTls { ca: ca.to_owned(), identity: Some(identity) });
        EtcdConfig { tls, ..EtcdConfig::new(["https://127.0.0.1:1"]) }
    };
    let (ca, certificate, key) = (authority.ca(), identity.certificate, identity.key);
    for (config, named) in [
        (tls(missing, &certificate, &key), missing),
        (tls(&ca, missing, &key), missing),
        (tls(&ca, &certificate, missing), missing),
        (tls(&key, &certificate, &key), &key),
        (tls(&ca, &certificate, &certificate), &certificate),
    ] {
        let (fault, text) = certificate_fault(config).await;
        assert_eq!(fault, CertificateFault::Unusable);
        assert!(text.contains(&named.display().to_string()), "{text}");
    }
}
