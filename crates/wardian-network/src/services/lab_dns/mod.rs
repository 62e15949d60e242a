//! The DNS server of the lab network: it tells the outside where machines are. This file has its sockets and loops;
//! `zones` knows the names, `bounds` how much one client may ask.
//!
//! It is authoritative for the alias zone and for the names of the lab network's addresses, and for nothing else: it
//! asks nobody, so it can't be used to reach anybody. It keeps nothing; the records come from [`wardian_plan::alias`].

mod bounds;
mod zones;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use ipnet::Ipv4Net;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use wardian_model::name::Domain;
use wardian_plan::alias::AliasRecord;

use super::wire::{PORT, Place, Sockets, read, write};
use bounds::{Connections, Rate, Verdict};
use zones::Zones;

/// A connection that says nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// How long to wait when the system has no room for more.
const RESPITE: Duration = Duration::from_millis(100);

/// Where the server listens and what it answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDnsConfig {
    /// The host's address on the lab network. It need not be there yet.
    pub address: Ipv4Addr,
    /// The zone of the aliases.
    pub zone: Domain,
    /// The lab network: the server answers for the names of its addresses.
    pub prefix: Ipv4Net,
}

/// Why the server can't be started.
#[derive(Debug, thiserror::Error)]
#[error("can't open port {PORT} of {address} for the names of machines; does another name server listen there?")]
pub struct LabDnsError {
    address: Ipv4Addr,
    source: io::Error,
}

/// The running server. Dropped, it ends.
#[derive(Debug)]
pub struct LabDns {
    config: LabDnsConfig,
    zones: watch::Sender<Arc<Zones>>,
    tasks: JoinSet<()>,
}

impl LabDns {
    /// Starts it on UDP and TCP port 53, in the network namespace of the calling thread. The lab bridge need not be
    /// there yet, and may come and go.
    ///
    /// # Errors
    /// When a socket can't be opened.
    pub fn start(config: LabDnsConfig, records: &BTreeSet<AliasRecord>) -> Result<Self, LabDnsError> {
        let failed = |source| LabDnsError { address: config.address, source };
        let sockets = Sockets::open(config.address, Place::Outside).map_err(failed)?;
        let (udp, tcp) = sockets.into_tokio().map_err(failed)?;
        let (sender, zones) = watch::channel(Arc::new(Zones::new(&config, records, zones::first_serial())));
        let mut tasks = JoinSet::new();
        tasks.spawn(datagrams(udp, zones.clone()));
        tasks.spawn(connections(tcp, zones));
        Ok(Self { config, zones: sender, tasks })
    }

    /// From the next question on, answers follow `records`.
    pub fn update(&self, records: &BTreeSet<AliasRecord>) {
        self.zones.send_if_modified(|zones| {
            let changed = !zones.are_of(records);
            if changed {
                *zones = Arc::new(Zones::new(&self.config, records, zones.next_serial()));
            }
            changed
        });
    }

    /// What it was started with.
    #[must_use]
    pub const fn config(&self) -> &LabDnsConfig {
        &self.config
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }

    /// Ends it and waits until its sockets are closed.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

type Current = watch::Receiver<Arc<Zones>>;

fn current(zones: &Current) -> Arc<Zones> {
    zones.borrow().clone()
}

async fn datagrams(socket: UdpSocket, zones: Current) {
    let mut rate = Rate::default();
    let mut buffer = vec![0; 4096];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(got) => got,
            Err(error) => {
                tracing::warn!(%error, "the lab network's DNS server can't receive");
                tokio::time::sleep(RESPITE).await;
                continue;
            }
        };
        let Some(answer) = current(&zones).answer(&buffer[..length]) else { continue };
        let bytes = match rate.count(client.ip()) {
            Verdict::Answer => answer.datagram(),
            Verdict::Prove => answer.cut(),
            Verdict::Drop => continue,
        };
        // An answer that can't be sent now is as good as lost on the way.
        let _ = socket.try_send_to(&bytes, client);
    }
}

async fn connections(listener: TcpListener, zones: Current) {
    let places = Connections::default();
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, client)) => {
                // Whoever has no place is closed at once, and the others go on.
                let Some(place) = places.enter(client.ip()) else { continue };
                let zones = zones.clone();
                open.spawn(async move {
                    // Whatever ends a conversation is the client's business.
                    let _ = conversation(stream, client.ip(), &zones).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the lab network's DNS server can't accept");
                tokio::time::sleep(RESPITE).await;
            }
        }
    }
}

/// Questions and answers on one connection (RFC 7766), one after the other.
async fn conversation(mut stream: TcpStream, client: IpAddr, zones: &Current) -> io::Result<()> {
    loop {
        let question = timeout(IDLE, read(&mut stream)).await??;
        let Some(answer) = current(zones).answer(&question) else {
            tracing::debug!(%client, "what came on a DNS connection is no question");
            return Ok(());
        };
        timeout(IDLE, write(&mut stream, &answer.stream())).await??;
    }
}
