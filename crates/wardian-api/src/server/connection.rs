//! What servers on any kind of socket share: answering on one connection, and an orderly end of all of them.

use std::{convert::Infallible, error::Error, io, time::Duration};

use axum::response::Response;
use hyper::{Request, body::Incoming, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How long requests that are being answered may take once the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Answers on one connection, whose requests' heads must be there within `head`, until it ends or `shutdown` is
/// cancelled and the request that is being answered is through.
pub(crate) async fn answer<T, S>(stream: T, service: S, head: Duration, shutdown: CancellationToken)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response, Error = Infallible> + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = &error as &dyn Error, "a connection ended early");
    }
}

/// Waits for connections to end, for five seconds at most.
pub(crate) async fn drain(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("connections were cut off at the end");
    }
}

/// After a connection could not be accepted.
pub(crate) async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "a connection can't be accepted");
    // Mostly: out of file descriptors. It passes when somebody leaves.
    tokio::time::sleep(Duration::from_millis(100)).await;
}
