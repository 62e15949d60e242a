//! What all DNS servers of the daemon have in common: sockets, framing, and the frame of an answer.
//!
//! What is answered is the room of `dns`, inside an environment, and of `lab_dns`, outside.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, OwnedFd},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, ResponseCode},
    rr::{DNSClass, Name},
};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket,
    sockopt::{IpFreebind, ReuseAddr},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

pub(super) const PORT: u16 = 53;
/// Every client takes so much in a datagram (RFC 1035, section 4.2.1).
pub(super) const LEAST: usize = 512;
/// More in one datagram would be cut into fragments somewhere (the DNS flag day of 2020).
pub(super) const MOST: usize = 1232;

/// The two sockets of a server.
pub(super) struct Sockets {
    udp: OwnedFd,
    tcp: OwnedFd,
}

/// Where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In an environment's namespace, on an address that is there; nobody else serves there.
    Inside,
    /// In the daemon's namespace, among whatever else the host runs; its address may come later, and come again.
    Outside,
}

impl Sockets {
    /// Opens both in the namespace of the calling thread.
    pub(super) fn open(address: Ipv4Addr, place: Place) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let to = SockaddrIn::from(SocketAddrV4::new(address, PORT));
        let open = |kind| {
            let socket = socket(AddressFamily::Inet, kind, flags, None)?;
            if place == Place::Outside {
                setsockopt(&socket, IpFreebind, &true)?;
            }
            // Not for datagrams outside: a second server could take the first one's.
            if place == Place::Inside || kind == SockType::Stream {
                setsockopt(&socket, ReuseAddr, &true)?;
            }
            bind(socket.as_raw_fd(), &to)?;
            Ok::<_, io::Error>(socket)
        };
        let (udp, tcp) = (open(SockType::Datagram)?, open(SockType::Stream)?);
        listen(&tcp, Backlog::new(64)?)?;
        Ok(Self { udp, tcp })
    }

    /// For the runtime of the calling task.
    pub(super) fn into_tokio(self) -> io::Result<(UdpSocket, TcpListener)> {
        Ok((UdpSocket::from_std(self.udp.into())?, TcpListener::from_std(self.tcp.into())?))
    }
}

/// One message of a stream: its length in two bytes, then itself (RFC 1035, section 4.2.2).
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut whole = Vec::with_capacity(message.len() + 2);
    whole.extend(length.to_be_bytes());
    whole.extend(message);
    stream.write_all(&whole).await
}

/// A message to send, and how much the client takes in a datagram.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) message: Message,
    room: usize,
}

impl Answer {
    /// Empty, to `request`; `recursion` says whether the server asks others.
    pub(super) fn to(request: &Message, recursion: bool) -> Self {
        let mut message = Message::response(request.metadata.id, request.metadata.op_code);
        message.metadata.recursion_desired = request.metadata.recursion_desired;
        message.metadata.recursion_available = recursion;
        message.metadata.checking_disabled = request.metadata.checking_disabled;
        message.add_queries(request.queries.iter().cloned());
        let mut room = LEAST;
        if let Some(theirs) = &request.edns {
            room = usize::from(theirs.max_payload()).clamp(LEAST, MOST);
            let mut ours = Edns::new();
            ours.set_max_payload(MOST as u16);
            ours.set_version(0);
            ours.set_dnssec_ok(theirs.flags().dnssec_ok);
            message.set_edns(ours);
        }
        Self { message, room }
    }

    /// The same, with a code.
    pub(super) fn code(mut self, code: ResponseCode) -> Self {
        self.message.metadata.response_code = code;
        self
    }

    /// For a datagram: empty and marked as such when it doesn't fit, so that the client asks again by TCP.
    pub(super) fn datagram(&self) -> Vec<u8> {
        let whole = self.stream();
        if whole.len() <= self.room { whole } else { self.cut() }
    }

    /// Empty, and marked so that the client asks again by TCP.
    pub(super) fn cut(&self) -> Vec<u8> {
        self.message.truncate().to_vec().unwrap_or_default()
    }

    /// For a stream.
    pub(super) fn stream(&self) -> Vec<u8> {
        // Only names and numbers of ours: always written.
        self.message.to_vec().unwrap_or_default()
    }
}

/// What came, as far as every server treats it alike.
#[derive(Debug)]
pub(super) enum Received {
    /// Not a question.
    Ignore,
    /// Not to be answered otherwise.
    Answer(Answer),
    /// With exactly one question, of class IN.
    Question(Message),
}

impl Received {
    pub(super) fn from(bytes: &[u8], recursion: bool) -> Self {
        let request = match Message::from_vec(bytes) {
            Ok(request) => request,
            Err(_) => return unreadable(bytes),
        };
        if request.metadata.message_type != MessageType::Query {
            return Self::Ignore;
        }
        let refuse = |code| Self::Answer(Answer::to(&request, recursion).code(code));
        if request.edns.as_ref().is_some_and(|e| e.version() != 0) {
            return refuse(ResponseCode::BADVERS);
        }
        if request.metadata.op_code != OpCode::Query {
            return refuse(ResponseCode::NotImp);
        }
        let [query] = &request.queries[..] else { return refuse(ResponseCode::FormErr) };
        if query.query_class() != DNSClass::IN {
            return refuse(ResponseCode::Refused);
        }
        Self::Question(request)
    }
}

/// A message that can't be read is told so if it looks like a question, and otherwise left alone.
fn unreadable(bytes: &[u8]) -> Received {
    let (Some(id), Some(flags)) = (bytes.get(..2), bytes.get(2)) else { return Received::Ignore };
    if bytes.len() < 12 || flags & 0x80 != 0 {
        return Received::Ignore;
    }
    let id = u16::from_be_bytes([id[0], id[1]]);
    let message = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    Received::Answer(Answer { message, room: LEAST })
}

/// The address a name below in-addr.arpa stands for, when it is a whole one.
pub(super) fn reverse_of(name: &Name) -> Option<Ipv4Addr> {
    if name.num_labels() != 6 {
        return None;
    }
    let labels: Vec<String> = name.iter().map(|l| String::from_utf8_lossy(l).to_ascii_lowercase()).collect();
    let [d, c, b, a, "in-addr", "arpa"] = labels.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let byte = |text: &str| text.parse::<u8>().ok().filter(|n| n.to_string() == text);
    Some(Ipv4Addr::new(byte(a)?, byte(b)?, byte(c)?, byte(d)?))
}
