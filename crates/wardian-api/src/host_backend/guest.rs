//! Commands and files in a guest.

use axum::body::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use tokio_util::io::{ReaderStream, StreamReader};
use wardian_host::Host;
use wardian_machine::agent::Exec;
use wardian_model::name::{EnvironmentName, MachineName};

use crate::{
    backend::{ExecOrder, FileRead, Refusal},
    wire::{Content, ExecResult},
};

/// What is on its way from the guest to the client at most, in bytes.
const IN_FLIGHT: usize = 256 << 10;

pub(super) async fn exec(
    host: &Host,
    name: &EnvironmentName,
    machine: &MachineName,
    order: ExecOrder,
) -> Result<ExecResult, Refusal> {
    let exec = Exec {
        argv: order.command,
        environment: order.environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        stdin: order.stdin.unwrap_or_default(),
        timeout: order.timeout,
    };
    let output = host.exec(name, machine, &exec).await?;
    Ok(ExecResult {
        status: output.status,
        signal: output.signal,
        stdout: Content::from(output.stdout),
        stderr: Content::from(output.stderr),
        truncated: output.truncated,
    })
}

/// The first bytes are awaited, so that a file that isn't there is refused and not an empty answer.
pub(super) async fn read_file(
    host: &Host,
    name: &EnvironmentName,
    machine: &MachineName,
    path: &str,
) -> Result<FileRead, Refusal> {
    let (reader, mut writer) = tokio::io::duplex(IN_FLIGHT);
    let (host, name, machine, path) = (host.clone(), name.clone(), machine.clone(), path.to_owned());
    let copying = tokio::spawn(async move { host.read_file(&name, &machine, &path, &mut writer).await.map(drop) });
    let bytes = ReaderStream::new(reader).map_err(|error| Refusal::unavailable(error.to_string()));
    let end = futures::stream::once(async move {
        match copying.await {
            Ok(Ok(())) => Ok(Bytes::new()),
            Ok(Err(refusal)) => Err(refusal),
            Err(error) => Err(Refusal::unavailable(error.to_string())),
        }
    });
    let mut content = bytes.chain(end).boxed();
    match content.next().await {
        Some(Err(refusal)) => Err(refusal),
        first => {
            let first = futures::stream::iter(first);
            Ok(FileRead { size: None, content: first.chain(content).boxed() })
        }
    }
}

pub(super) async fn write_file(
    host: &Host,
    name: &EnvironmentName,
    machine: &MachineName,
    path: &str,
    mode: Option<u32>,
    content: BoxStream<'static, Result<Bytes, Refusal>>,
) -> Result<u64, Refusal> {
    let mut reader = StreamReader::new(content.map_err(|refusal| std::io::Error::other(refusal.problem.message)));
    host.write_file(name, machine, path, &mut reader, mode).await
}
