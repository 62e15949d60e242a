//! One request over one connection: connect, send, and tell a refusal from an answer.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;
use wardian_api::wire::ErrorBody;

use crate::ClientError;

/// How long the first connection is worth using.
const FRESH: Duration = Duration::from_secs(5);

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The daemon's socket.
#[derive(Debug)]
pub(crate) struct Transport {
    path: PathBuf,
    /// The connection that proved that the daemon is there; the first request uses it.
    first: Mutex<Option<(UnixStream, Instant)>>,
}

impl Transport {
    pub(crate) async fn connect(path: PathBuf) -> Result<Self, ClientError> {
        let first = open(&path).await?;
        Ok(Self { path, first: Mutex::new(Some((first, Instant::now()))) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Asks, and takes the whole answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        request: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let response = self.send(method, target, self.json(request)?, &[]).await?;
        self.decode(&self.collect(response).await?)
    }

    /// Asks for something that has no answer beyond "done".
    pub(crate) async fn tell(&self, method: Method, target: &str) -> Result<(), ClientError> {
        let response = self.send(method, target, empty(), &[]).await?;
        self.collect(response).await.map(drop)
    }

    /// The JSON body of a request.
    pub(crate) fn json(&self, request: Option<&impl Serialize>) -> Result<Body, ClientError> {
        let Some(request) = request else { return Ok(empty()) };
        let json = serde_json::to_vec(request).map_err(|error| self.protocol(error))?;
        Ok(Full::new(Bytes::from(json)).map_err(|never| match never {}).boxed_unsync())
    }

    /// Sends a request; an answer that is a refusal becomes an error.
    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        body: Body,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<Response<Incoming>, ClientError> {
        let first = self.first.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let stream = match first {
            Some((stream, since)) if since.elapsed() < FRESH => stream,
            // The daemon closes a connection that is silent for long.
            _ => open(&self.path).await?,
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        // What happens to the connection is seen by whoever waits for the answer.
        drop(tokio::spawn(connection.with_upgrades()));
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, "wardian");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(body).map_err(|error| self.protocol(error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let body = self.collect(response).await?;
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(ClientError::Refused(body.error)),
            Err(_) => Err(self.protocol(format!("status {status} without an explanation"))),
        }
    }

    pub(crate) async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        Ok(response.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes())
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.protocol(error))
    }

    pub(crate) fn protocol(&self, what: impl ToString) -> ClientError {
        ClientError::Protocol { path: self.path.clone(), what: what.to_string() }
    }

    pub(crate) fn interrupted(&self) -> ClientError {
        ClientError::Interrupted { path: self.path.clone() }
    }

    /// What an error of the connection means: something that isn't HTTP, or an end too early.
    pub(crate) fn broken(&self, error: &hyper::Error) -> ClientError {
        if error.is_parse() {
            return self.protocol(error);
        }
        if error.is_user() {
            // The body we were sending failed: its reader did.
            let source = std::error::Error::source(error)
                .and_then(|source| source.downcast_ref::<io::Error>())
                .map_or_else(|| io::Error::other(error.to_string()), |e| io::Error::new(e.kind(), e.to_string()));
            return ClientError::Content(source);
        }
        self.interrupted()
    }
}

pub(crate) fn empty() -> Body {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

async fn open(path: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(path).await.map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon { path, source },
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path, source },
            _ => ClientError::Connect { path, source },
        }
    })
}
