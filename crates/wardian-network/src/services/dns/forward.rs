//! Questions about other names, asked of the host's own name servers, from the daemon's namespace.
//!
//! The question goes on as the client wrote it, and the answer comes back as it is: whatever clients and servers agree
//! on beyond what we know (EDNS options, DNSSEC) passes.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::{
    net::{TcpSocket, UdpSocket},
    time::{Instant, timeout, timeout_at},
};

use super::zone::Question;
use crate::{
    error::NetworkError,
    kernel::namespace::Namespace,
    services::wire::{read, write},
};

/// How long one name server may think.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many as the resolver of the C library takes from the file.
const SERVERS: usize = 3;

#[derive(Debug, Clone)]
pub(in crate::services) struct Upstream {
    daemon: Namespace,
    resolv_conf: PathBuf,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Transport {
    Datagram,
    Stream,
}

impl Upstream {
    pub(in crate::services) fn new(daemon: Namespace, resolv_conf: PathBuf) -> Self {
        Self { daemon, resolv_conf }
    }

    /// The first answer of one of the host's name servers; none when all are silent.
    pub(super) async fn ask(&self, question: &Question, transport: Transport) -> Option<Vec<u8>> {
        let path = self.resolv_conf.clone();
        // The file is read each time: the host may have moved to another network.
        let opened = self
            .daemon
            .run("open sockets to name servers", move || {
                let text = fs::read_to_string(&path).map_err(NetworkError::file("read", &path))?;
                let servers = servers(&text);
                Ok(servers.into_iter().filter_map(|s| Some((s, open(s, transport).ok()?))).collect::<Vec<_>>())
            })
            .await;
        let opened = opened
            .inspect_err(|error| tracing::warn!(%error, "the host's name servers are unknown"))
            .unwrap_or_default();
        for (server, socket) in opened {
            let id: u16 = rand::random();
            let asked = question.with_id(id);
            let answer = match transport {
                Transport::Datagram => datagram(socket.into(), server, &asked).await,
                Transport::Stream => timeout(PATIENCE, stream(socket.into(), server, &asked))
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            };
            match answer {
                Ok(answer) => return question.restore(answer),
                Err(error) => tracing::debug!(%server, %error, "a name server of the host did not answer"),
            }
        }
        None
    }
}

/// The `nameserver` lines of resolv.conf(5).
fn servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok());
    addresses.take(SERVERS).map(|address| SocketAddr::new(address, 53)).collect()
}

fn open(server: SocketAddr, transport: Transport) -> io::Result<std::os::fd::OwnedFd> {
    let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = match transport {
        Transport::Datagram => SockType::Datagram,
        Transport::Stream => SockType::Stream,
    };
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?)
}

async fn datagram(socket: std::net::UdpSocket, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let socket = UdpSocket::from_std(socket)?;
    // Connected: the kernel takes answers of nobody else, and chooses a port nobody knows.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = timeout_at(deadline, socket.recv(&mut buffer)).await??;
        if is_answer(&buffer[..length], question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn stream(socket: std::net::TcpStream, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpSocket::from_std_stream(socket).connect(server).await?;
    write(&mut stream, question).await?;
    let answer = read(&mut stream).await?;
    if is_answer(&answer, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Same number, and marked as a response.
fn is_answer(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= 12 && answer[..2] == question[..2] && answer[2] & 0x80 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_c_library_reads_it() {
        let text = "# no\nsearch lab\nnameserver 10.0.0.1\n nameserver\t::1 # local\nnameserver fe80::1%eth0\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:53", "[::1]:53", "1.1.1.1:53"]);
    }
}
