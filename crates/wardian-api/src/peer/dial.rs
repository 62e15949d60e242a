//! One request to another host, over a connection of its own.

use std::{io, net::SocketAddrV4, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::rustls::pki_types::ServerName;
use wardian_model::name::HostName;

use super::{headers, trust::Trust};
use crate::wire::{ApiError, ErrorKind};

/// How long it may take to reach a host, with certificates and all.
const REACH: Duration = Duration::from_secs(5);

/// How long what was sent may stay unacknowledged, and how long a silent host is not asked whether it is there still.
const SILENCE: Duration = Duration::from_secs(9);

/// A stream of bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Another host doesn't answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// There is no connection to it.
    #[error("host {host} can't be reached at {address}")]
    Unreachable {
        /// The host.
        host: HostName,
        /// Where it should be.
        address: SocketAddrV4,
        /// Why not.
        source: io::Error,
    },
    /// It ended the connection before it had answered.
    #[error("host {host} broke off before it had answered")]
    BrokenOff {
        /// The host.
        host: HostName,
        /// How that was noticed.
        source: hyper::Error,
    },
    /// It doesn't know the secret we have.
    #[error("host {host} doesn't take this one for a host of its cluster")]
    NotAdmitted {
        /// The host.
        host: HostName,
    },
    /// What it says makes no sense.
    #[error("host {host} answers what can't be understood: {what}")]
    Odd {
        /// The host.
        host: HostName,
        /// What is wrong with it.
        what: String,
    },
}

impl PeerError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "see `wardian host ls`; is its daemon running, and its peer port open?",
            Self::BrokenOff { .. } => "what was asked may have been done or not: look at it before asking again",
            Self::NotAdmitted { .. } => "both must have joined the same cluster: restart the one that joined earlier",
            Self::Odd { .. } => "the hosts may run different versions: see `wardian host ls`",
        }
    }
}

impl From<&PeerError> for ApiError {
    fn from(error: &PeerError) -> Self {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(source) = cause {
            let words = source.to_string();
            // Some libraries repeat the cause in their own words.
            if !message.ends_with(&words) {
                message.push_str(": ");
                message.push_str(&words);
            }
            cause = source.source();
        }
        Self::new(ErrorKind::Unavailable, message).hint(error.hint())
    }
}

/// Sends a request, whose target must be a path, and gives the answer as it begins. Dropping the answer ends the
/// connection.
pub(super) async fn send(
    trust: &Trust,
    host: &HostName,
    address: SocketAddrV4,
    mut request: Request<Body>,
) -> Result<Response<Incoming>, PeerError> {
    let unreachable = |source| PeerError::Unreachable { host: host.clone(), address, source };
    let stream = timeout(REACH, connect(trust, address))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it doesn't answer")))
        .map_err(unreachable)?;
    let broken = |source| PeerError::BrokenOff { host: host.clone(), source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(broken)?;
    // What happens to the connection is seen by whoever waits for the answer.
    drop(tokio::spawn(connection.with_upgrades()));
    let name = HeaderValue::try_from(address.to_string())
        .map_err(|error| PeerError::Odd { host: host.clone(), what: error.to_string() })?;
    request.headers_mut().insert(header::HOST, name);
    request.headers_mut().insert(header::AUTHORIZATION, trust.authorization());
    request.headers_mut().insert(headers::CARRIED, headers::YES);
    let response = sender.send_request(request).await.map_err(broken)?;
    // No route answers this: it is the channel itself that refuses.
    if response.status() == StatusCode::UNAUTHORIZED {
        return Err(PeerError::NotAdmitted { host: host.clone() });
    }
    Ok(response)
}

async fn connect(trust: &Trust, address: SocketAddrV4) -> io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect(address).await?;
    prepare(&stream)?;
    Ok(match trust.connector() {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.connect(ServerName::from(std::net::IpAddr::V4(*address.ip())), stream).await?),
    })
}

/// Lets the kernel give a connection up whose other side has vanished, also while nothing is said: a console may be
/// silent for hours.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &millis)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &u32::try_from(SILENCE.as_secs()).unwrap_or(u32::MAX))?;
    setsockopt(stream, sockopt::TcpKeepInterval, &3)?;
    setsockopt(stream, sockopt::TcpKeepCount, &3)?;
    Ok(())
}
