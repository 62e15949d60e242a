//! Copying files into and out of the guest, in chunks, without holding a file in memory.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::commands::read;
use super::exec::decode;
use super::{Agent, AgentError, DEFAULT_TIMEOUT};

/// Bytes per call; base64 makes a third more of it on the wire.
const CHUNK: usize = 256 << 10;

impl Agent {
    /// Copies the guest's file `path` to `to`; gives the number of bytes.
    pub async fn read_file<W>(&self, path: &str, to: &mut W) -> Result<u64, AgentError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let handle = self.open(path, "r").await?;
        let copied = self.read_all(handle, to).await;
        // Closed in any case; what went wrong first is what counts.
        let closed = self.close(handle).await;
        let copied = copied?;
        closed.map(|()| copied)
    }

    /// Copies `from` to the guest's file `path`, replacing it; gives the number of bytes. `mode` are permission bits
    /// set afterwards with the guest's `chmod`.
    pub async fn write_file<R>(&self, path: &str, from: &mut R, mode: Option<u32>) -> Result<u64, AgentError>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        let handle = self.open(path, "w").await?;
        let copied = self.write_all(handle, from).await;
        let closed = self.close(handle).await;
        let copied = copied?;
        closed?;
        if let Some(mode) = mode {
            self.run(&["chmod", "--", &format!("{:04o}", mode & 0o7777), path]).await?;
        }
        Ok(copied)
    }

    async fn open(&self, path: &str, mode: &str) -> Result<i64, AgentError> {
        let command = "guest-file-open";
        let arguments = json!({ "path": path, "mode": mode });
        read(command, self.execute(command, Some(arguments), DEFAULT_TIMEOUT).await?)
    }

    async fn close(&self, handle: i64) -> Result<(), AgentError> {
        let arguments = json!({ "handle": handle });
        self.execute("guest-file-close", Some(arguments), DEFAULT_TIMEOUT).await.map(drop)
    }

    async fn read_all<W>(&self, handle: i64, to: &mut W) -> Result<u64, AgentError>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Chunk {
            #[serde(default)]
            buf_b64: String,
            eof: bool,
        }
        let command = "guest-file-read";
        let mut total = 0;
        loop {
            let arguments = json!({ "handle": handle, "count": CHUNK });
            let chunk: Chunk = read(command, self.execute(command, Some(arguments), DEFAULT_TIMEOUT).await?)?;
            let bytes = decode(command, &chunk.buf_b64)?;
            to.write_all(&bytes).await.map_err(|source| AgentError::Local { source })?;
            total += bytes.len() as u64;
            // A guest that never says "end" and never sends anything would hold us for ever.
            if chunk.eof || bytes.is_empty() {
                to.flush().await.map_err(|source| AgentError::Local { source })?;
                return Ok(total);
            }
        }
    }

    async fn write_all<R>(&self, handle: i64, from: &mut R) -> Result<u64, AgentError>
    where
        R: AsyncRead + Unpin + ?Sized,
    {
        let command = "guest-file-write";
        let mut buffer = vec![0; CHUNK];
        let mut total = 0;
        loop {
            let length = from.read(&mut buffer).await.map_err(|source| AgentError::Local { source })?;
            if length == 0 {
                let arguments = json!({ "handle": handle });
                self.execute("guest-file-flush", Some(arguments), DEFAULT_TIMEOUT).await?;
                return Ok(total);
            }
            let mut rest = &buffer[..length];
            // The agent may write less than it was given.
            while !rest.is_empty() {
                let arguments = json!({ "handle": handle, "buf-b64": BASE64_STANDARD.encode(rest) });
                let answer = self.execute(command, Some(arguments), DEFAULT_TIMEOUT).await?;
                let count = answer.get("count").and_then(Value::as_u64).and_then(|c| usize::try_from(c).ok());
                match count {
                    Some(count) if count > 0 && count <= rest.len() => rest = &rest[count..],
                    _ => return Err(AgentError::Answer { command, what: format!("wrote {count:?} bytes") }),
                }
            }
            total += length as u64;
        }
    }
}
