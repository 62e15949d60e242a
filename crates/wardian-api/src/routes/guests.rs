//! Routes of what is done inside one guest: commands, files, the console.

use std::time::Duration;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::mpsc;
use wardian_model::name::{EnvironmentName, MachineName};

use super::{
    CONSOLE_PROTOCOL, LARGEST_FILE, Shared,
    extract::{Asked, Named, Sent, too_large_failure},
    failure::Failure,
};
use crate::{
    backend::{ExecOrder, Refusal},
    wire::{ConsoleTail, ErrorBody, ErrorKind, ExecRequest, ExecResult, FileWritten},
};

/// The longest a command in a guest may take, in milliseconds: a day.
const LONGEST_EXEC_MS: u64 = 86_400_000;

/// How much of a console is told when the request doesn't say, in bytes.
const CONSOLE_TAIL: usize = 16 << 10;

/// How much of a console is told at most, in bytes.
const LONGEST_CONSOLE_TAIL: usize = 4 << 20;

/// Run a command in a guest
///
/// Through its guest agent, without a shell in between. A command that fails is a result, not an error.
#[utoipa::path(post, path = "/v1/environments/{environment}/machines/{machine}/exec", tag = "machines",
    request_body = ExecRequest,
    params(("environment" = String, Path, description = "The environment"), ("machine" = String, Path, description = "The machine")),
    responses((status = 200, body = ExecResult), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn exec(
    State(app): Shared,
    Named((environment, machine)): Named<(EnvironmentName, MachineName)>,
    Sent(request): Sent<ExecRequest>,
) -> Result<Json<ExecResult>, Failure> {
    let timeout_ms = request.timeout_ms.unwrap_or(ExecRequest::DEFAULT_TIMEOUT_MS);
    if request.command.first().is_none_or(String::is_empty) {
        return Err(Failure::invalid("`command` wants the program and its arguments"));
    }
    if request.command.iter().any(|word| word.contains('\0')) {
        return Err(Failure::invalid("no part of a command can contain a zero byte"));
    }
    let fits = |name: &String, value: &String| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
    if let Some((name, _)) = request.environment.iter().find(|(name, value)| !fits(name, value)) {
        return Err(Failure::invalid(format!("no environment variable can be called or contain what {name:?} does")));
    }
    if timeout_ms == 0 || timeout_ms > LONGEST_EXEC_MS {
        return Err(Failure::invalid(format!("`timeout-ms` must be between 1 and {LONGEST_EXEC_MS}")));
    }
    let order = ExecOrder {
        command: request.command,
        environment: request.environment,
        stdin: request.stdin.map(|stdin| stdin.into_bytes()).transpose().map_err(Failure::invalid)?,
        timeout: Duration::from_millis(timeout_ms),
    };
    Ok(Json(app.backend.exec(&environment, &machine, order).await?))
}

/// Which file to read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ReadQuery {
    path: String,
}

/// Which file to write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WriteQuery {
    path: String,
    mode: Option<String>,
}

/// Read a file in a guest
#[utoipa::path(get, path = "/v1/environments/{environment}/machines/{machine}/file", tag = "machines",
    params(
        ("environment" = String, Path, description = "The environment"),
        ("machine" = String, Path, description = "The machine"),
        ("path" = String, Query, description = "The file's path in the guest")
    ),
    responses((status = 200, description = "Its content", content_type = "application/octet-stream", body = Vec<u8>),
        (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn read_file(
    State(app): Shared,
    Named((environment, machine)): Named<(EnvironmentName, MachineName)>,
    Asked(query): Asked<ReadQuery>,
) -> Result<Response, Failure> {
    check_path(&query.path)?;
    let file = app.backend.read_file(&environment, &machine, &query.path).await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/octet-stream"));
    if let Some(size) = file.size {
        headers.insert(header::CONTENT_LENGTH, size.into());
    }
    // A status can't be taken back: content that breaks off ends the connection before its end.
    Ok((headers, Body::from_stream(file.content)).into_response())
}

/// Write a file in a guest
///
/// A file that is there is replaced. 256 MiB at most.
#[utoipa::path(put, path = "/v1/environments/{environment}/machines/{machine}/file", tag = "machines",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "Its content"),
    params(
        ("environment" = String, Path, description = "The environment"),
        ("machine" = String, Path, description = "The machine"),
        ("path" = String, Query, description = "The file's path in the guest"),
        ("mode" = Option<String>, Query, description = "Its permissions, in octal; those the guest gives new files when absent")
    ),
    responses((status = 200, body = FileWritten), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn write_file(
    State(app): Shared,
    Named((environment, machine)): Named<(EnvironmentName, MachineName)>,
    Asked(query): Asked<WriteQuery>,
    request: Request,
) -> Result<Json<FileWritten>, Failure> {
    check_path(&query.path)?;
    let mode = query.mode.as_deref().map(parse_mode).transpose()?;
    // The backend gets the pieces, not the body: what is too much is found out here.
    let (sender, receiver) = mpsc::channel(4);
    let content =
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) });
    let written = app.backend.write_file(&environment, &machine, &query.path, mode, content.boxed());
    let (written, fits) = tokio::join!(written, pass_on(request.into_body(), sender));
    if !fits {
        return Err(too_large_failure("content", LARGEST_FILE));
    }
    Ok(Json(FileWritten { path: query.path, size_bytes: written? }))
}

/// Passes a body on, piece by piece. False when there is more of it than may be.
async fn pass_on(mut body: Body, to: mpsc::Sender<Result<Bytes, Refusal>>) -> bool {
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(piece)) => piece,
            Ok(Err(_)) => continue,
            Err(_) => {
                let _ = to.send(Err(Refusal::invalid("the content ends before it is complete"))).await;
                return true;
            }
        };
        total += piece.len() as u64;
        if total > LARGEST_FILE {
            let _ = to.send(Err(Refusal::invalid("the content is too large"))).await;
            return false;
        }
        if to.send(Ok(piece)).await.is_err() {
            // The backend wants no more of it.
            return true;
        }
    }
    true
}

fn check_path(path: &str) -> Result<(), Failure> {
    if path.is_empty() || path.contains('\0') {
        return Err(Failure::invalid("`path` must not be empty, and must not contain a zero byte"));
    }
    Ok(())
}

fn parse_mode(text: &str) -> Result<u32, Failure> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
    mode.ok_or_else(|| Failure::invalid(format!("{text:?} is not a file mode; write octal digits, as in 644")))
}

/// A machine's console
///
/// Raw bytes both ways, after an upgrade of the connection to `wardian-console`.
#[utoipa::path(get, path = "/v1/environments/{environment}/machines/{machine}/console", tag = "machines",
    params(
        ("environment" = String, Path, description = "The environment"),
        ("machine" = String, Path, description = "The machine"),
        ("connection" = String, Header, description = "`upgrade`"),
        ("upgrade" = String, Header, description = "`wardian-console`")
    ),
    responses((status = 101, description = "The connection is the console's"),
        (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn console(
    State(app): Shared,
    Named((environment, machine)): Named<(EnvironmentName, MachineName)>,
    mut request: Request,
) -> Result<Response, Failure> {
    let wanted = request.headers().get(header::UPGRADE);
    if !wanted.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(CONSOLE_PROTOCOL.as_bytes())) {
        let message = format!("a console wants the connection upgraded to {CONSOLE_PROTOCOL}");
        return Err(Failure::new(ErrorKind::UpgradeRequired, message)
            .hint(format!("send the headers `connection: upgrade` and `upgrade: {CONSOLE_PROTOCOL}`")));
    }
    let mut console = app.backend.console(&environment, &machine).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    let ending = app.ending.clone();
    tokio::spawn(async move {
        let copy = async {
            let mut peer = TokioIo::new(upgrade.await?);
            // Either side's end is the end; an error here is one side going away.
            let _ = tokio::io::copy_bidirectional(&mut peer, &mut console).await;
            Ok::<_, hyper::Error>(())
        };
        tokio::select! {
            result = copy => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a console's connection was not upgraded");
                }
            }
            () = ending.cancelled() => {}
        }
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, CONSOLE_PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// How much of a console is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TailQuery {
    bytes: Option<usize>,
}

/// The end of what a machine has written to its console
#[utoipa::path(get, path = "/v1/environments/{environment}/machines/{machine}/console/tail", tag = "machines",
    params(
        ("environment" = String, Path, description = "The environment"),
        ("machine" = String, Path, description = "The machine"),
        ("bytes" = Option<usize>, Query, description = "How much at most; 16384 when absent, 4194304 at most")
    ),
    responses((status = 200, body = ConsoleTail), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn console_tail(
    State(app): Shared,
    Named((environment, machine)): Named<(EnvironmentName, MachineName)>,
    Asked(query): Asked<TailQuery>,
) -> Result<Json<ConsoleTail>, Failure> {
    let most = query.bytes.unwrap_or(CONSOLE_TAIL).min(LONGEST_CONSOLE_TAIL);
    let bytes = app.backend.console_tail(&environment, &machine, most).await?;
    Ok(Json(ConsoleTail { console: bytes.into() }))
}
