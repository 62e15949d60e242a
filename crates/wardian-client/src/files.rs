//! Files in a guest: content streams both ways, never whole in memory.

use std::io;

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Method,
    body::{Bytes, Frame},
    header,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wardian_api::wire::{FileWritten, percent::encode};

use crate::{Client, ClientError, client::machine};

/// How much is read at once, in bytes.
const PIECE: usize = 64 << 10;

/// The content of a file in a guest, as it arrives.
#[derive(Debug)]
pub struct FileContent<'a> {
    client: &'a Client,
    body: hyper::body::Incoming,
    /// How long the file is, in bytes, where the daemon knows it beforehand.
    pub size: Option<u64>,
}

impl FileContent<'_> {
    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// When the content breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| self.client.transport.broken(&error))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Writes all of it; tells how many bytes there were.
    ///
    /// # Errors
    /// When the content breaks off, or `to` can't be written ([`ClientError::Content`]).
    pub async fn copy_to(mut self, mut to: impl AsyncWrite + Unpin) -> Result<u64, ClientError> {
        let mut total = 0;
        while let Some(bytes) = self.next().await? {
            to.write_all(&bytes).await.map_err(ClientError::Content)?;
            total += bytes.len() as u64;
        }
        to.flush().await.map_err(ClientError::Content)?;
        Ok(total)
    }
}

impl Client {
    /// Reads a file in a guest.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn read_file(&self, name: &str, of: &str, path: &str) -> Result<FileContent<'_>, ClientError> {
        let target = machine(name, of, &format!("/file?path={}", encode(path)));
        let response = self.transport.send(Method::GET, &target, crate::transport::empty(), &[]).await?;
        let size = response.headers().get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        Ok(FileContent { client: self, body: response.into_body(), size })
    }

    /// Writes a file in a guest, replacing one that is there. `mode` is its permissions (`0o644`); those the guest
    /// gives new files when absent.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::Content`] when `content` can't be read.
    pub async fn write_file(
        &self,
        name: &str,
        of: &str,
        path: &str,
        mode: Option<u32>,
        content: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<FileWritten, ClientError> {
        let mode = mode.map(|mode| format!("&mode={mode:o}")).unwrap_or_default();
        let target = machine(name, of, &format!("/file?path={}{mode}", encode(path)));
        let body = StreamBody::new(pieces(content).map_ok(Frame::data).boxed()).boxed_unsync();
        let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
        let response = self.transport.send(Method::PUT, &target, body, &headers).await?;
        self.transport.decode(&self.transport.collect(response).await?)
    }
}

fn pieces(content: impl AsyncRead + Send + Unpin + 'static) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(content, |mut content| async move {
        let mut piece = Vec::with_capacity(PIECE);
        let read = content.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (Bytes::from(piece), content)))
    })
}
