//! What can go wrong between us and a name server that is to be told.

use std::{io, net::SocketAddr, time::Duration};

use wardian_model::name::Domain;

/// Why a name server could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The key's name is none.
    #[error("{name:?} can't be the name of a key: it is written like a DNS name, and is the one the name server knows")]
    KeyName {
        /// The name.
        name: String,
    },
    /// The key has nothing in it.
    #[error("the key {name} is empty")]
    EmptyKey {
        /// The key's name.
        name: String,
    },
    /// A record is in none of the configured zones; nothing was sent.
    #[error("{record} is not in the zone {zone} that is to be updated")]
    OutsideZone {
        /// The record's name.
        record: Domain,
        /// The configured zone.
        zone: Domain,
    },
    /// The message could not be written.
    #[error("can't write an update of the zone {zone}: {why}")]
    Encode {
        /// The zone.
        zone: Domain,
        /// What the encoder says.
        why: String,
    },
    /// Nobody there.
    #[error("can't talk to the name server {server}")]
    Connection {
        /// The server.
        server: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No answer. Whether the update was made is not known; it can be repeated.
    #[error("the name server {server} did not answer within {after:?}")]
    Timeout {
        /// The server.
        server: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// The answer can't be read, or is another question's.
    #[error("the name server {server} sent something that is no answer to an update")]
    Unreadable {
        /// The server.
        server: SocketAddr,
    },
    /// The answer says "done" and carries no signature: anybody can have sent it.
    #[error("the answer of the name server {server} is not signed; it is not believed")]
    Unsigned {
        /// The server.
        server: SocketAddr,
    },
    /// The answer's signature is not made with our key.
    #[error("the answer of the name server {server} is not signed with the key {key}; it is not believed")]
    Forged {
        /// The server.
        server: SocketAddr,
        /// The key's name.
        key: String,
    },
    /// NOTAUTH without a reason in the signature: the alias zone is not ours.
    #[error("the name server {server} is not the primary of the zone {zone}; name another server or another zone")]
    NotAuthoritative {
        /// The server.
        server: SocketAddr,
        /// The zone.
        zone: Domain,
    },
    /// BADKEY.
    #[error(
        "the name server {server} doesn't know the key {key}, or not with {algorithm}; both are to be as in its \
         configuration"
    )]
    BadKey {
        /// The server.
        server: SocketAddr,
        /// The key's name.
        key: String,
        /// The algorithm.
        algorithm: &'static str,
    },
    /// BADSIG.
    #[error("the name server {server} knows the key {key} with another secret")]
    BadSignature {
        /// The server.
        server: SocketAddr,
        /// The key's name.
        key: String,
    },
    /// BADTIME.
    #[error("the clock of the name server {server} differs from this host's by {}; set both by NTP", seconds(*.ahead))]
    Clock {
        /// The server.
        server: SocketAddr,
        /// By how many seconds the server's is ahead, where it told.
        ahead: Option<i64>,
    },
    /// REFUSED: the key may not do this.
    #[error(
        "the name server {server} refuses updates of the zone {zone} by the key {key}; its policy has to allow them"
    )]
    Refused {
        /// The server.
        server: SocketAddr,
        /// The zone.
        zone: Domain,
        /// The key's name.
        key: String,
    },
    /// Any other answer than "done".
    #[error("the name server {server} answered {code} to an update of the zone {zone}")]
    Failed {
        /// The server.
        server: SocketAddr,
        /// The zone.
        zone: Domain,
        /// The response code, as the field calls it.
        code: String,
        /// Whether it may be another one later (SERVFAIL).
        passing: bool,
    },
}

impl UpdateError {
    /// Whether the same update may succeed later without anybody changing a configuration.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. }
            | Self::Timeout { .. }
            | Self::Unreadable { .. }
            | Self::Unsigned { .. }
            | Self::Forged { .. }
            | Self::Clock { .. } => true,
            Self::Failed { passing, .. } => *passing,
            Self::KeyName { .. }
            | Self::EmptyKey { .. }
            | Self::OutsideZone { .. }
            | Self::Encode { .. }
            | Self::NotAuthoritative { .. }
            | Self::BadKey { .. }
            | Self::BadSignature { .. }
            | Self::Refused { .. } => false,
        }
    }
}

fn seconds(ahead: Option<i64>) -> String {
    ahead.map_or_else(|| "too much".into(), |s| format!("{} s", s.unsigned_abs()))
}
