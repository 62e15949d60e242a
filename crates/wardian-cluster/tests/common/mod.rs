//! Hosts for tests.
#![allow(dead_code, reason = "every test file has its own copy and uses a part of it")]

pub(crate) mod faulty;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use wardian_cluster::{Member, Newcomer, Settings, Standing};
use wardian_model::encapsulation::Encapsulation;
use wardian_store::{EtcdConfig, EtcdStore, Store};
use wardian_testkit::etcd::Etcd;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn settings() -> Settings {
    Settings {
        lab: "10.86.0.0/24".parse().unwrap(),
        zone: "wardian.internal".to_owned(),
        ports: (30000, 32767),
        encapsulation: Encapsulation::Nvgre,
        mtu: 1500,
    }
}

/// The host `h-NUMBER`.
pub(crate) fn newcomer(number: u8) -> Newcomer {
    let provider = Ipv4Addr::new(10, 1, 0, number);
    Newcomer {
        name: format!("h-{number}").parse().unwrap(),
        instance: format!("{number:016x}"),
        provider,
        peer: format!("{provider}:7643").parse().unwrap(),
        memory_mib: 8192,
        cores: 4,
        version: "0.1.0".to_owned(),
        qemu: "10.0.0".to_owned(),
        encapsulations: vec![Encapsulation::Nvgre, Encapsulation::Vxlan],
        rewrite_addresses: None,
        settings: settings(),
    }
}

pub(crate) async fn open(server: &Etcd) -> Arc<dyn Store> {
    Arc::new(EtcdStore::open(EtcdConfig::new([server.endpoint()])).await.unwrap())
}

/// A member whose daemon runs.
pub(crate) struct Running {
    pub(crate) member: Arc<Member>,
    pub(crate) standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(member: Member) -> Self {
        let member = Arc::new(member);
        let (sender, standing) = watch::channel(Standing::new());
        let kept = Arc::clone(&member);
        let task = tokio::spawn(async move { kept.keep(&sender).await });
        Self { member, standing, task }
    }

    pub(crate) fn leads(&self) -> bool {
        self.standing.borrow().leads()
    }

    /// Waits until it stands so.
    pub(crate) async fn until(&mut self, what: &str, so: impl FnMut(&Standing) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, self.standing.wait_for(so)).await;
        assert!(matches!(waited, Ok(Ok(_))), "{}: not {what}", self.member.host().name);
    }

    /// Ends as a crash would.
    pub(crate) async fn crash(self) -> Arc<Member> {
        self.task.abort();
        let _ = self.task.await;
        self.member
    }
}
