//! Telling a name server elsewhere about aliases: dynamic updates (RFC 2136), signed (TSIG, RFC 8945).
//!
//! What to tell, and how that survives a crash, is decided in [`wardian_plan::alias`]. Everything here can be repeated:
//! [`Updater::replace`] makes a record all there is of its name and type, [`Updater::remove`] takes away exactly what
//! it is given. Updates go by TCP: they are not cut, and nobody else can answer from afar.

mod error;
mod message;

use std::{
    fmt,
    net::SocketAddr,
    str::FromStr,
    time::{Duration, SystemTime},
};

use hickory_proto::rr::{Name, TSigner, rdata::tsig};
use tokio::{net::TcpStream, time::timeout};
use wardian_model::name::Domain;
use wardian_plan::alias::{AliasRecord, Updates};

use crate::services::wire::{read, write};
pub use error::UpdateError;
use message::{Change, Update};

/// How far clocks may differ, in seconds; as recommended (RFC 8945, section 10).
const FUDGE: u16 = 300;
/// How long to wait for an answer, unless something else was asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom to tell, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateConfig {
    /// The primary name server of the zones.
    pub server: SocketAddr,
    /// The zone of the aliases.
    pub zone: Domain,
    /// The zone of the lab network's addresses. Without it their names are not told.
    pub reverse_zone: Option<Domain>,
    /// The key's name, as the server knows it.
    pub key_name: String,
    /// What the key is used with.
    pub algorithm: Algorithm,
    /// The key.
    pub secret: Secret,
    /// How long to wait for the answer to one message.
    pub timeout: Duration,
}

impl UpdateConfig {
    /// With HMAC-SHA256, five seconds of patience, and without a reverse zone.
    #[must_use]
    pub fn new(server: SocketAddr, zone: Domain, key_name: impl Into<String>, secret: Secret) -> Self {
        let (key_name, algorithm) = (key_name.into(), Algorithm::HmacSha256);
        Self { server, zone, reverse_zone: None, key_name, algorithm, secret, timeout: PATIENCE }
    }
}

/// The bytes of a key. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From the bytes themselves: what a key file has in base64, decoded.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a key is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// HMAC-SHA256, which every server has.
    #[default]
    HmacSha256,
    /// HMAC-SHA384.
    HmacSha384,
    /// HMAC-SHA512.
    HmacSha512,
}

/// The text names no algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no algorithm for keys of updates; hmac-sha256, hmac-sha384 and hmac-sha512 are")]
pub struct AlgorithmError {
    text: String,
}

impl Algorithm {
    /// Its name (RFC 8945, section 6).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        let all = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];
        let found = all.into_iter().find(|a| a.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| AlgorithmError { text: text.to_owned() })
    }
}

/// Tells one server. Keeps nothing but its configuration.
#[derive(Clone)]
pub struct Updater {
    config: UpdateConfig,
    signer: TSigner,
}

impl fmt::Debug for Updater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updater").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Updater {
    /// Checks the configuration; talks to nobody yet.
    ///
    /// # Errors
    /// When the key's name is none, or the key is empty.
    pub fn new(config: UpdateConfig) -> Result<Self, UpdateError> {
        let bad_name = || UpdateError::KeyName { name: config.key_name.clone() };
        let name = Name::from_ascii(&config.key_name).map_err(|_| bad_name())?;
        if name.is_root() {
            return Err(bad_name());
        }
        if config.secret.0.is_empty() {
            return Err(UpdateError::EmptyKey { name: config.key_name.clone() });
        }
        let algorithm = match config.algorithm {
            Algorithm::HmacSha256 => tsig::TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha384 => tsig::TsigAlgorithm::HmacSha384,
            Algorithm::HmacSha512 => tsig::TsigAlgorithm::HmacSha512,
        };
        // Names of keys are signed in lower case (RFC 8945, section 4.2).
        let signer = TSigner::new(config.secret.0.clone(), algorithm, name.to_lowercase(), FUDGE);
        let signer = signer.map_err(|_| bad_name())?;
        Ok(Self { config, signer })
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> &UpdateConfig {
        &self.config
    }

    /// Makes each of `records` all there is of its name and type.
    ///
    /// # Errors
    /// When the server doesn't acknowledge everything. Some of it may be done then; it can be repeated.
    pub async fn replace(&self, records: &[AliasRecord]) -> Result<(), UpdateError> {
        self.tell(records.iter().map(Change::Replace)).await
    }

    /// Takes each of `records` away. What is not there, or says something else by now, is left alone; so is what is in
    /// none of the configured zones (any more), with a warning.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn remove(&self, records: &[AliasRecord]) -> Result<(), UpdateError> {
        self.tell(records.iter().map(Change::Remove)).await
    }

    /// Both.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn apply(&self, updates: &Updates) -> Result<(), UpdateError> {
        let remove = updates.remove.iter().map(Change::Remove);
        self.tell(remove.chain(updates.add.iter().map(Change::Replace))).await
    }

    async fn tell(&self, changes: impl IntoIterator<Item = Change<'_>>) -> Result<(), UpdateError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.tell_at(now, changes).await
    }

    /// Signed at `now`, in seconds of Unix time.
    async fn tell_at(&self, now: u64, changes: impl IntoIterator<Item = Change<'_>>) -> Result<(), UpdateError> {
        let updates = message::updates(&self.config, &self.signer, changes, now)?;
        let (server, after) = (self.config.server, self.config.timeout);
        let mut stream = None;
        for update in &updates {
            let answer = timeout(after, self.exchange(&mut stream, update)).await;
            let answer = answer.map_err(|_| UpdateError::Timeout { server, after })?;
            let answer = answer.map_err(|source| UpdateError::Connection { server, source })?;
            update.judge(&self.config, &self.signer, &answer)?;
        }
        Ok(())
    }

    async fn exchange(&self, stream: &mut Option<TcpStream>, update: &Update) -> std::io::Result<Vec<u8>> {
        let stream = match stream {
            Some(stream) => stream,
            None => stream.insert(TcpStream::connect(self.config.server).await?),
        };
        write(stream, &update.bytes).await?;
        read(stream).await
    }
}

#[cfg(test)]
mod tests;
