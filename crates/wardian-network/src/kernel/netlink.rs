//! A blocking netlink socket: one request, one answer; dumps are asked again when the kernel says they were
//! interrupted.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// How often an interrupted dump is asked again. Each interruption means that something changed while it was written.
const DUMPS: usize = 50;

/// How many changes are asked for with one call: as many as have room for their answers in the socket.
const AT_ONCE: usize = 64;

/// What shall happen with a thing that exists.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// Change or delete what exists.
    Change,
    /// Make it; an error when it exists.
    Create,
    /// Make it, or replace it.
    Replace,
}

/// A socket in the namespace of the thread that opened it.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for a change, and waits until the kernel has done it.
    pub(crate) fn change(&mut self, message: RouteNetlinkMessage, mode: Mode) -> io::Result<()> {
        let flags = match mode {
            Mode::Change => 0,
            Mode::Create => NLM_F_CREATE | NLM_F_EXCL,
            Mode::Replace => NLM_F_CREATE | NLM_F_REPLACE,
        };
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        self.receive(|_| {}).map(drop)
    }

    /// Asks for several changes of what exists, with as few calls as possible. The kernel makes them in order, and goes
    /// on after one that it refuses; the results are in the same order.
    pub(crate) fn change_all(&mut self, messages: Vec<RouteNetlinkMessage>) -> Vec<io::Result<()>> {
        let mut results = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let first = self.sequence;
            let bytes: Vec<u8> = messages
                .by_ref()
                .take(AT_ONCE)
                .flat_map(|message| self.bytes(message, NLM_F_REQUEST | NLM_F_ACK))
                .collect();
            let last = self.sequence;
            if let Err(e) = self.socket.send(&bytes, 0) {
                results.push(Err(e));
                return results;
            }
            self.sequence = first;
            while self.sequence != last {
                self.sequence = self.sequence.wrapping_add(1);
                results.push(self.receive(|_| {}).map(drop));
            }
        }
        results
    }

    /// Asks for one thing. `None` when there is no such thing.
    pub(crate) fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK)?;
        let mut found = None;
        match self.receive(|m| found = Some(m)) {
            Ok(_) => Ok(found),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::ESRCH)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Asks for all things of a kind.
    pub(crate) fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMPS {
            let mut found = Vec::new();
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if !self.receive(|m| found.push(m))? {
                return Ok(found);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the kernel's tables changed during every one of 50 dumps"))
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let bytes = self.bytes(message, flags);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// The next message, of a length that another may follow.
    fn bytes(&mut self, message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Takes everything up to the end of the answer; says whether it was interrupted.
    fn receive(&mut self, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<bool> {
        let mut interrupted = false;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = &bytes[..];
            while rest.len() >= 16 {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                let length = (message.header.length as usize).next_multiple_of(4).clamp(16, rest.len().max(16));
                let ours = message.header.sequence_number == self.sequence;
                let (header, payload) = message.into_parts();
                if ours {
                    interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                    match payload {
                        NetlinkPayload::InnerMessage(inner) => each(inner),
                        NetlinkPayload::Done(_) => return Ok(interrupted),
                        NetlinkPayload::Error(e) if e.code.is_none() => return Ok(interrupted),
                        NetlinkPayload::Error(e) => return Err(e.to_io()),
                        _ => {}
                    }
                }
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
}
