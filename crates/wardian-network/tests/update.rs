//! Dynamic updates of a real BIND, signed.
#![allow(missing_docs)]

mod common;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use common::{on_a_host, run, store};
use wardian_model::{environment::EnvironmentRecord, name::Domain};
use wardian_network::update::{Algorithm, Secret, UpdateConfig, UpdateError, Updater};
use wardian_plan::alias::{AliasConfig, AliasData, AliasRecord, Published, plan_updates, records};
use wardian_testkit::{
    Bind,
    bind::{SECRET_BYTES, SERVER},
};

/// Everything in both zones but their SOA, as BIND itself transfers it.
fn zones() -> BTreeSet<String> {
    let transfer = |zone: &str| {
        let text = run(&format!("timeout 10 dig @127.0.0.1 +onesoa +nocmd +nostats +nocomments {zone} AXFR"));
        let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with(';'));
        let words = lines.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
        words.filter(|l| !l.contains(" SOA ")).collect::<Vec<_>>()
    };
    ["lab.example", "86.10.in-addr.arpa"].iter().flat_map(|zone| transfer(zone)).collect()
}

fn config() -> UpdateConfig {
    let server: SocketAddr = SERVER.parse().unwrap();
    let mut config =
        UpdateConfig::new(server, Domain::new("lab.example").unwrap(), "wardian", Secret::new(SECRET_BYTES));
    config.reverse_zone = Some(Domain::new("86.10.in-addr.arpa").unwrap());
    config
}

fn all(environments: &[EnvironmentRecord]) -> BTreeSet<AliasRecord> {
    records(environments, &AliasConfig::new(Domain::new("lab.example").unwrap()).unwrap())
}

fn list(records: &BTreeSet<AliasRecord>) -> Vec<AliasRecord> {
    records.iter().cloned().collect()
}

fn short(arguments: &str) -> String {
    run(&format!("timeout 8 kdig @127.0.0.1 +short {arguments}")).trim().to_owned()
}

#[test]
fn bind_holds_the_aliases_of_twenty_environments_and_is_clean_after_them() {
    on_a_host(|host| async move {
        let _bind = Bind::start_here(host.folder.path());
        let before = zones();
        assert_eq!(before.len(), 4, "{before:?}");
        let environments: Vec<_> = (1..=20).map(|n| store(n, "out-only")).collect();
        let desired = all(&environments);
        assert_eq!(desired.len(), 20 * 2 * 3);
        let updater = Updater::new(config()).unwrap();

        // As it is wired: planned, told, acknowledged.
        updater.apply(&plan_updates(&desired, [&Published::default().begin(&desired)])).await.unwrap();
        for record in &desired {
            match &record.data {
                AliasData::Address(address) => assert_eq!(short(&format!("{} A", record.name)), address.to_string()),
                AliasData::Pointer(name) => assert_eq!(short(&format!("{} PTR", record.name)), format!("{name}.")),
            }
        }
        let with_all = zones();
        assert_eq!(with_all.len(), before.len() + desired.len());
        assert!(with_all.contains("app.store-20.lab.example. 5 IN A 10.86.0.40"), "{with_all:?}");

        updater.replace(&list(&desired)).await.unwrap();
        assert_eq!(zones(), with_all, "told twice is as told once");

        // One moves on to another address; its name has only that one.
        let mut moved = desired.iter().find(|r| r.name.as_str() == "app.store-1.lab.example").unwrap().clone();
        let old = moved.clone();
        moved.data = AliasData::Address("10.86.7.7".parse().unwrap());
        updater.replace(&[moved.clone()]).await.unwrap();
        assert_eq!(short("app.store-1.lab.example A"), "10.86.7.7");
        updater.remove(&[old]).await.unwrap();
        assert_eq!(short("app.store-1.lab.example A"), "10.86.7.7", "what says something else by now is left alone");
        updater.remove(&[moved]).await.unwrap();

        updater.apply(&plan_updates(&BTreeSet::new(), [&Published::settled(desired.clone())])).await.unwrap();
        assert_eq!(zones(), before);
        updater.remove(&list(&desired)).await.unwrap();
        assert_eq!(zones(), before);
    });
}

#[test]
fn each_reason_of_a_refusal_is_told() {
    on_a_host(|host| async move {
        let _bind = Bind::start_here(host.folder.path());
        let before = zones();
        let records = list(&all(&[store(1, "open")]));
        let attempt = async |config: UpdateConfig| Updater::new(config).unwrap().replace(&records).await.unwrap_err();

        let error = attempt(UpdateConfig { secret: Secret::new(*b"wrong"), ..config() }).await;
        assert!(matches!(error, UpdateError::BadSignature { .. }), "{error:?}");
        let error = attempt(UpdateConfig { key_name: "nobody".into(), ..config() }).await;
        assert!(matches!(error, UpdateError::BadKey { .. }), "{error:?}");
        let error = attempt(UpdateConfig { algorithm: Algorithm::HmacSha512, ..config() }).await;
        assert!(matches!(error, UpdateError::BadKey { .. }), "{error:?}");
        let error = attempt(UpdateConfig { key_name: "stranger".into(), ..config() }).await;
        assert!(matches!(error, UpdateError::Refused { .. }), "{error:?}");
        assert_eq!(zones(), before);

        let elsewhere = |zone: &str| {
            let name = Domain::new(format!("web.store.{zone}")).unwrap();
            let record = AliasRecord { name, data: AliasData::Address([10, 86, 0, 9].into()), ttl_seconds: 5 };
            (UpdateConfig { zone: Domain::new(zone).unwrap(), ..config() }, record)
        };
        let (other, record) = elsewhere("notours.example");
        let error = Updater::new(other).unwrap().replace(&[record]).await.unwrap_err();
        assert!(matches!(error, UpdateError::NotAuthoritative { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "the name server 127.0.0.1:53 is not the primary of the zone notours.example; name another server or another zone"
        );
        let (other, record) = elsewhere("readonly.example");
        let error = Updater::new(other).unwrap().replace(&[record]).await.unwrap_err();
        assert!(matches!(error, UpdateError::Refused { .. }), "{error:?}");

        let sha512 = UpdateConfig { key_name: "Wardian-512".into(), algorithm: Algorithm::HmacSha512, ..config() };
        Updater::new(sha512).unwrap().replace(&records).await.unwrap();
        assert_eq!(zones().len(), before.len() + records.len());
    });
}

#[test]
fn a_server_that_is_not_there_or_silent_is_told() {
    on_a_host(|_host| async move {
        let records = list(&all(&[store(1, "open")]));
        let config = UpdateConfig { timeout: Duration::from_millis(200), ..config() };
        let error = Updater::new(config.clone()).unwrap().replace(&records).await.unwrap_err();
        assert!(matches!(error, UpdateError::Connection { .. }), "{error:?}");
        let silent = tokio::net::TcpListener::bind(SERVER).await.unwrap();
        let error = Updater::new(config).unwrap().replace(&records).await.unwrap_err();
        assert_eq!(error.to_string(), "the name server 127.0.0.1:53 did not answer within 200ms");
        drop(silent);
    });
}

#[test]
fn a_secret_is_never_printed_and_nonsense_is_refused() {
    let updater = Updater::new(config()).unwrap();
    assert!(!format!("{updater:?}").contains("97"), "{updater:?}");
    let name = Updater::new(UpdateConfig { key_name: "a..b".into(), ..config() });
    assert!(matches!(name, Err(UpdateError::KeyName { .. })));
    let empty = Updater::new(UpdateConfig { secret: Secret::new([]), ..config() });
    assert!(matches!(empty, Err(UpdateError::EmptyKey { .. })));
    assert_eq!("HMAC-SHA384".parse(), Ok(Algorithm::HmacSha384));
    assert!("hmac-md5".parse::<Algorithm>().is_err());
}
