//! The DNS server of an environment. This file has the loops over its sockets; `zone` knows the environment's names,
//! `forward` asks the host's name servers for others.

mod forward;
mod zone;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use wardian_plan::network::NetworkPlan;

use forward::Transport;
pub(super) use forward::Upstream;
use zone::Verdict;

use super::wire::{Sockets, read, write};

/// Questions of one environment that wait for the host's name servers at the same time. More are dropped; clients ask
/// again.
const WAITING: usize = 64;
/// Open TCP connections of one environment.
const CONNECTIONS: usize = 32;
/// A connection that says nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// What the servers at all gateways of an environment have in common.
#[derive(Clone)]
pub(super) struct Common {
    plan: watch::Receiver<Arc<NetworkPlan>>,
    upstream: Upstream,
    waiting: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Common {
    pub(super) fn new(plan: watch::Receiver<Arc<NetworkPlan>>, upstream: Upstream) -> Self {
        let (waiting, connections) = (Semaphore::new(WAITING), Semaphore::new(CONNECTIONS));
        Self { plan, upstream, waiting: Arc::new(waiting), connections: Arc::new(connections) }
    }
}

#[derive(Clone)]
struct Server {
    /// The gateway it listens at.
    at: Ipv4Addr,
    common: Common,
}

/// Starts the server at one gateway.
pub(super) fn spawn(tasks: &mut JoinSet<()>, at: Ipv4Addr, sockets: Sockets, common: Common) -> io::Result<()> {
    let server = Server { at, common };
    let (udp, tcp) = sockets.into_tokio()?;
    tasks.spawn(server.clone().datagrams(udp));
    tasks.spawn(server.connections(tcp));
    Ok(())
}

impl Server {
    async fn datagrams(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        // Dropped with this task, and with it all that wait.
        let mut forwarded = JoinSet::new();
        let mut buffer = vec![0; 4096];
        loop {
            while forwarded.try_join_next().is_some() {}
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(got) => got,
                Err(error) => {
                    tracing::warn!(%error, "the DNS server can't receive");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            match self.judge(&buffer[..length]) {
                Verdict::Ignore => {}
                // An answer that can't be sent now is as good as lost on the way.
                Verdict::Answer(answer) => drop(socket.try_send_to(&answer.datagram(), client)),
                Verdict::Forward(question) => {
                    let Ok(place) = self.common.waiting.clone().try_acquire_owned() else { continue };
                    let (upstream, socket) = (self.common.upstream.clone(), socket.clone());
                    forwarded.spawn(async move {
                        let answer = upstream.ask(&question, Transport::Datagram).await;
                        let answer = answer.unwrap_or_else(|| question.failure().datagram());
                        send(&socket, question.fit(answer), client).await;
                        drop(place);
                    });
                }
            }
        }
    }

    async fn connections(self, listener: TcpListener) {
        let mut open = JoinSet::new();
        loop {
            while open.try_join_next().is_some() {}
            // Waits for a free place: further connections stay in the kernel's queue.
            let Ok(place) = self.common.connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    open.spawn(async move {
                        // Whatever ends a conversation is the client's business.
                        let _ = server.conversation(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the DNS server can't accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Questions and answers on one connection (RFC 7766), one after the other.
    async fn conversation(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let question = timeout(IDLE, read(&mut stream)).await??;
            let answer = match self.judge(&question) {
                Verdict::Ignore => return Ok(()),
                Verdict::Answer(answer) => answer.stream(),
                Verdict::Forward(question) => {
                    let answer = self.common.upstream.ask(&question, Transport::Stream).await;
                    answer.unwrap_or_else(|| question.failure().stream())
                }
            };
            timeout(IDLE, write(&mut stream, &answer)).await??;
        }
    }

    fn judge(&self, bytes: &[u8]) -> Verdict {
        zone::judge(&self.common.plan.borrow().dns, self.at, bytes)
    }
}

async fn send(socket: &UdpSocket, answer: Vec<u8>, client: SocketAddr) {
    if let Err(error) = socket.send_to(&answer, client).await {
        tracing::debug!(%client, %error, "a DNS answer could not be sent");
    }
}
