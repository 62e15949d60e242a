//! nftables: texts are given to `nft`, which loads each as one transaction; and the ruleset's generation, by which one sees
//! cheaply whether anybody changed anything since.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    process::{Child, Command, Stdio},
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::error::NetworkError;

/// A transaction under way.
pub(crate) struct Loading {
    child: Child,
    whose: String,
}

/// Starts loading `text` in the namespace of the calling thread.
pub(crate) fn start(whose: impl Into<String>, text: &str) -> Result<Loading, NetworkError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| NetworkError::NftMissing { source })?;
    let whose = whose.into();
    if let Some(mut stdin) = child.stdin.take() {
        // A reader that went away has said why on its standard error.
        let _ = stdin.write_all(text.as_bytes());
    }
    Ok(Loading { child, whose })
}

impl Loading {
    /// Waits for the end of the transaction.
    pub(crate) fn finish(self) -> Result<(), NetworkError> {
        let Self { child, whose } = self;
        let output = child.wait_with_output().map_err(NetworkError::kernel("wait for nft"))?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(NetworkError::Nft { whose, message })
    }
}

/// Tells the generation of a namespace's ruleset: another number after every transaction of anybody.
///
/// `NFT_MSG_GETGEN`, linux/netfilter/nf_tables.h.
pub(crate) struct Generation(Socket);

impl Generation {
    /// Of the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    pub(crate) fn read(&self) -> io::Result<u32> {
        const SUBSYSTEM: u16 = 10 << 8;
        const GET: u16 = SUBSYSTEM | 16;
        const NEW: u16 = SUBSYSTEM | 15;
        const REQUEST: u16 = 1;
        const ATTRIBUTE_ID: u16 = 1;

        let mut request = Vec::with_capacity(20);
        request.extend(20_u32.to_ne_bytes());
        request.extend(GET.to_ne_bytes());
        request.extend(REQUEST.to_ne_bytes());
        request.extend([0; 8]); // sequence and port
        request.extend([0; 4]); // nfgenmsg: any family, version 0, no resource
        self.0.send(&request, 0)?;

        let (answer, _) = self.0.recv_from_full()?;
        let word = |at: usize| answer.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
        if word(4) == Some(NEW) {
            let mut at = 20;
            while let (Some(length), Some(kind)) = (word(at), word(at + 2)) {
                if kind == ATTRIBUTE_ID
                    && let Some(b) = answer.get(at + 4..at + 8)
                {
                    return Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                }
                at += usize::from(length).next_multiple_of(4).max(4);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel told no ruleset generation"))
    }
}

/// What was loaded into a namespace, and when: enough to see that nobody has changed it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loaded {
    text: u64,
    generation: u32,
}

impl Loaded {
    /// `text` was just loaded.
    pub(crate) fn now(text: &str, generation: &Generation) -> io::Result<Self> {
        Ok(Self { text: hash(text), generation: generation.read()? })
    }

    /// Whether `text` is still what is loaded, as far as we can tell without listing rules.
    pub(crate) fn holds(this: Option<Self>, text: &str, generation: &Generation) -> io::Result<bool> {
        Ok(this == Some(Self::now(text, generation)?))
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
