//! Taking an image over from another host.

use std::{io, net::SocketAddrV4, time::Duration};

use axum::{body::Body, http::StatusCode};
use futures::TryStreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, Response, body::Body as _, body::Incoming};
use tokio::{io::AsyncRead, time::timeout};
use tokio_stream::StreamExt as _;
use tokio_util::io::StreamReader;
use wardian_model::name::HostName;
use wardian_vault::{Digest, Image, LONGEST_DESCRIPTION, Part, ReceiveError, Vault, VaultError};

use super::{
    dial::{self, PeerError},
    images,
    trust::Trust,
};
use crate::wire::{ApiError, ErrorBody};

/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(60);

/// An image can't be taken over. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The host can't be asked.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It doesn't give the file.
    #[error("host {host} doesn't give the image {digest}")]
    Refused {
        /// The host.
        host: HostName,
        /// The image.
        digest: Digest,
        /// What it says.
        source: ApiError,
    },
    /// What it gives can't be taken.
    #[error("the image {digest} can't be taken over from host {host}")]
    Receive {
        /// The host.
        host: HostName,
        /// The image.
        digest: Digest,
        /// Why.
        source: ReceiveError,
    },
    /// The own vault fails.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl FetchError {
    /// Whether that host may well give it in a moment: it was there, and broke off or did not listen.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Peer(error) => matches!(error, PeerError::Unreachable { .. } | PeerError::BrokenOff { .. }),
            Self::Receive { source: ReceiveError::Length { size, came, .. }, .. } => came < size,
            Self::Receive { source, .. } => matches!(source, ReceiveError::Content { .. }),
            Self::Refused { .. } | Self::Vault(_) => false,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Peer(error) => error.hint().to_owned(),
            Self::Refused { .. } => {
                "the image may have been removed there: `wardian image ls` shows what is known".into()
            }
            Self::Receive { source, .. } => source.hint(),
            Self::Vault(error) => error.hint(),
        }
    }
}

/// The image `digest`, from the vault of `host` if it isn't in this `vault` yet. Given up by dropping it.
///
/// # Errors
/// When the host doesn't give it, or gives another one; when it doesn't fit.
pub async fn fetch_image(
    trust: &Trust,
    host: &HostName,
    address: SocketAddrV4,
    digest: Digest,
    vault: &Vault,
) -> Result<Image, FetchError> {
    if vault.contains(&digest) {
        return Ok(vault.image(&digest)?);
    }
    let from = Source { trust, host, address, digest };
    let receive = |source| FetchError::Receive { host: host.clone(), digest, source };
    let description = from.small(Part::Description).await?;
    let mut receiving = vault.receive(digest, &description).map_err(receive)?;
    for part in receiving.parts() {
        let answer = from.ask(part).await?;
        let size = answer.body().size_hint().exact();
        let size = size.ok_or_else(|| from.odd(format!("it doesn't say how long {part} is")))?;
        receiving.write(part, size, reader(answer)).await.map_err(receive)?;
    }
    receiving.finish().await.map_err(receive)
}

/// An image on another host.
struct Source<'a> {
    trust: &'a Trust,
    host: &'a HostName,
    address: SocketAddrV4,
    digest: Digest,
}

impl Source<'_> {
    /// The answer that carries a file.
    async fn ask(&self, part: Part) -> Result<Response<Incoming>, FetchError> {
        let request = Request::get(images::target(&self.digest, part)).body(Body::empty());
        let request = request.map_err(|error| self.odd(error.to_string()))?;
        let answer = timeout(SILENCE, dial::send(self.trust, self.host, self.address, request));
        let answer = answer.await.map_err(|_| self.odd("it doesn't answer at all".to_owned()))??;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let status = answer.status();
        let body = self.whole(answer).await?;
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(FetchError::Refused { host: self.host.clone(), digest: self.digest, source: body.error }),
            Err(_) => Err(self.odd(format!("status {status} without an explanation")).into()),
        }
    }

    /// A file that is short.
    async fn small(&self, part: Part) -> Result<Vec<u8>, FetchError> {
        let answer = self.ask(part).await?;
        self.whole(answer).await
    }

    async fn whole(&self, answer: Response<Incoming>) -> Result<Vec<u8>, FetchError> {
        let body = timeout(SILENCE, Limited::new(answer.into_body(), LONGEST_DESCRIPTION).collect());
        match body.await {
            Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
            Ok(Err(error)) => Err(self.odd(error.to_string()).into()),
            Err(_) => Err(self.odd("its answer doesn't end".to_owned()).into()),
        }
    }

    fn odd(&self, what: String) -> PeerError {
        PeerError::Odd { host: self.host.clone(), what }
    }
}

/// The content of an answer; fails when nothing comes for long.
fn reader(answer: Response<Incoming>) -> impl AsyncRead + Unpin {
    let pieces = answer.into_body().into_data_stream().map_err(io::Error::other).timeout(SILENCE);
    let pieces = pieces.map(|piece| {
        piece.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came for a minute")))
    });
    StreamReader::new(Box::pin(pieces))
}
