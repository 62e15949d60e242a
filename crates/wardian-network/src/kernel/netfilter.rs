//! A blocking netlink socket to netfilter: the rules' generation, their counters, and conntrack's table.
//!
//! linux/netfilter/nfnetlink.h, nf_tables.h and nfnetlink_conntrack.h.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

const RULES: u16 = 10 << 8;
const CONNECTIONS: u16 = 1 << 8;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const INTERRUPTED: u16 = 0x10;

/// How often an interrupted dump is asked again.
const DUMPS: usize = 50;

/// A family of tables.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Family {
    Any = 0,
    Inet = 1,
    Bridge = 7,
}

/// A named counter of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) name: String,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A socket in the namespace of the thread that opened it; usable from any thread.
pub(crate) struct Netfilter(Socket);

impl Netfilter {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// The ruleset's generation: another number after every transaction of anybody.
    pub(crate) fn generation(&self) -> io::Result<u32> {
        const GET: u16 = RULES | 16;
        const ID: u16 = 1;
        let mut found = None;
        self.ask(GET, ACK, Family::Any, &[], |answer| {
            found = attribute(answer, ID).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        })?;
        found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel told no ruleset generation"))
    }

    /// Whether there is a table of that name.
    pub(crate) fn has_table(&self, family: Family, table: &str) -> io::Result<bool> {
        const GET: u16 = RULES | 1;
        const NAME: u16 = 1;
        let mut request = Vec::new();
        push(&mut request, NAME, &[table.as_bytes(), &[0]].concat());
        match self.ask(GET, ACK, family, &request, |_| {}) {
            Ok(_) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The named counters of one table, in no order. None when there is no such table.
    pub(crate) fn counters(&self, family: Family, table: &str) -> io::Result<Vec<Counter>> {
        const GET: u16 = RULES | 19;
        const TABLE: u16 = 1;
        const NAME: u16 = 2;
        const KIND: u16 = 3;
        const DATA: u16 = 4;
        const COUNTER: u32 = 1;
        const BYTES: u16 = 1;
        const PACKETS: u16 = 2;

        let mut request = Vec::new();
        push(&mut request, TABLE, &[table.as_bytes(), &[0]].concat());
        push(&mut request, KIND, &COUNTER.to_be_bytes());
        for _ in 0..DUMPS {
            let mut found = Vec::new();
            let interrupted = self.ask(GET, DUMP, family, &request, |answer| {
                let number = |data, kind| attribute(data, kind).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
                let text = |kind| {
                    let bytes = attribute(answer, kind)?;
                    Some(String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned())
                };
                if let (Some(of), Some(name), Some(data)) = (text(TABLE), text(NAME), attribute(answer, DATA))
                    && of == table
                    && let (Some(packets), Some(bytes)) = (number(data, PACKETS), number(data, BYTES))
                {
                    found.push(Counter { name, packets, bytes });
                }
            })?;
            if !interrupted {
                return Ok(found);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the rules changed during every one of 50 dumps"))
    }

    /// Empties conntrack's table of this namespace.
    pub(crate) fn forget_connections(&self) -> io::Result<()> {
        const DELETE: u16 = CONNECTIONS | 2;
        self.ask(DELETE, ACK, Family::Any, &[], |_| {}).map(drop)
    }

    /// One request, and all of its answer: the attributes of each message. Says whether a dump was interrupted.
    fn ask(
        &self,
        kind: u16,
        flags: u16,
        family: Family,
        attributes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        const HEADER: usize = 16;
        const FAMILY_HEADER: usize = 4;
        const ERROR: u16 = 2;
        const DONE: u16 = 3;

        let length = HEADER + FAMILY_HEADER + attributes.len();
        let mut request = Vec::with_capacity(length);
        request.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((REQUEST | flags).to_ne_bytes());
        request.extend([0; 8]); // sequence and port: one question at a time, and each answer is read to its end
        request.extend([family as u8, 0, 0, 0]); // version 0, no resource
        request.extend(attributes);
        self.0.send(&request, 0)?;

        let mut interrupted = false;
        loop {
            let (bytes, _) = self.0.recv_from_full()?;
            let mut rest = &bytes[..];
            while let (Some(length), Some(kind), Some(flags)) = (word(rest, 0), half(rest, 4), half(rest, 6)) {
                let length = (length as usize).clamp(HEADER, rest.len().max(HEADER));
                let message = rest.get(HEADER..length).unwrap_or_default();
                interrupted |= flags & INTERRUPTED != 0;
                match kind {
                    DONE => return Ok(interrupted),
                    ERROR => match word(message, 0).unwrap_or(0).cast_signed() {
                        0 => return Ok(interrupted),
                        code => return Err(io::Error::from_raw_os_error(-code)),
                    },
                    _ => each(message.get(FAMILY_HEADER..).unwrap_or_default()),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn push(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// The value of the first attribute of a kind.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    /// Flags of nesting and byte order.
    const FLAGS: u16 = 0xc000;
    loop {
        let (length, kind) = (usize::from(half(rest, 0)?), half(rest, 2)?);
        if kind & !FLAGS == wanted {
            return rest.get(4..length);
        }
        rest = rest.get(length.next_multiple_of(4).max(4)..)?;
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}
