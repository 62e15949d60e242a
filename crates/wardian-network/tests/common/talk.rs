//! Computers that talk to one another: answering, new connections, and such as are kept.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use super::Namespace;

/// How long something that shall not come is waited for, and something that shall: it may be late where others take the
/// processors, but is not asked for again, so one packet that is lost is seen.
const SHORT: Duration = Duration::from_millis(900);
/// How long something that shall come may take: a sender that was cut off for a while tries again ever more rarely.
const LONG: Duration = Duration::from_secs(30);

/// Answers on TCP and UDP ports with what it is told, until the end of the test.
pub fn echo(space: &Namespace, tcp: &[u16], udp: &[u16]) {
    for port in tcp {
        let listener = space.enter(|| TcpListener::bind(("0.0.0.0", *port)).unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 1000];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }
    for port in udp {
        let socket = space.enter(|| UdpSocket::bind(("0.0.0.0", *port)).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 1000];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
    }
}

pub fn tcp_begins(from: &Namespace, to: SocketAddr) -> bool {
    let Ok(mut stream) = from.enter(|| TcpStream::connect_timeout(&to, SHORT)) else { return false };
    stream.set_read_timeout(Some(SHORT)).unwrap();
    stream.write_all(b"word").is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
}

/// A flow of datagrams; its first one may be the beginning.
pub struct Datagrams {
    socket: UdpSocket,
    sent: u32,
}

impl Datagrams {
    pub fn new(from: &Namespace, to: SocketAddr) -> Self {
        let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect(to).unwrap();
        Self { socket, sent: 0 }
    }

    pub fn pass(&mut self) -> bool {
        self.sent += 1;
        let word = self.sent.to_be_bytes();
        self.socket.set_read_timeout(Some(SHORT)).unwrap();
        let mut heard = [0; 4];
        if self.socket.send(&word).is_err() {
            return false;
        }
        loop {
            match self.socket.recv(&mut heard) {
                Ok(_) if heard == word => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}

/// A connection that is kept. What was said while it was cut arrives when it no longer is.
pub struct Session {
    stream: TcpStream,
    missing: usize,
}

impl Session {
    pub fn new(from: &Namespace, to: SocketAddr) -> Self {
        let stream = from.enter(|| TcpStream::connect_timeout(&to, LONG).unwrap());
        Self { stream, missing: 0 }
    }

    pub fn passes(&mut self, expected: bool) -> bool {
        let wait = if expected { LONG } else { SHORT };
        self.missing += 4;
        self.stream.write_all(b"word").unwrap();
        let end = Instant::now() + wait;
        while self.missing > 0 {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut buffer = vec![0; self.missing];
            match self.stream.read(&mut buffer) {
                Ok(length @ 1..) => self.missing -= length,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
                end => panic!("a session ended that was only cut: {end:?}"),
            }
        }
        true
    }
}

pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}
