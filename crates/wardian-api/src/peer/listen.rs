//! The server for peers: on TCP, with certificates where there are any, and never without the secret.

use std::{cell::Cell, convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::{Request, body::Incoming, service::service_fn};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    clock,
    dial::{Io, prepare},
    headers,
    strangers::{Stranger, Strangers},
    trust::Trust,
};
use crate::{
    server::connection,
    wire::{ApiError, ErrorBody, ErrorKind},
};

/// How long a peer may take for certificates, and for the head of a request: it has no reason to wait with either, and
/// until then nobody knows who it is.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers other hosts on `listener` with the routes that [`super::router`] made, until `shutdown` is cancelled; then
/// lets requests end, for five seconds at most.
pub async fn serve(listener: TcpListener, router: Router, trust: Trust, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let strangers = Strangers::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // Forget those that have ended, so that their number stays the number of the open ones.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => match strangers.enter(from.ip()) {
                    Some(stranger) => {
                        let answered = answer(stream, from, stranger, router.clone(), trust.clone(), shutdown.clone());
                        connections.spawn(answered);
                    }
                    None => tracing::warn!(%from, "refused a connection: too many that say nothing"),
                },
                Err(error) => connection::not_accepted(&error).await,
            },
        }
    }
    drop(listener);
    connection::drain(connections).await;
}

/// Answers one connection.
async fn answer(
    stream: TcpStream,
    from: SocketAddr,
    stranger: Stranger,
    router: Router,
    trust: Trust,
    shutdown: CancellationToken,
) {
    let secured = tokio::select! {
        secured = timeout(HEAD_TIMEOUT, secure(stream, &trust)) => secured,
        () = shutdown.cancelled() => return,
    };
    let stream = match secured {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%from, %error, "refused a peer's connection");
            return;
        }
        Err(_) => {
            tracing::warn!(%from, "a peer's connection took too long to be secured");
            return;
        }
    };
    let stranger = Cell::new(Some(stranger));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let admitted = trust.admits(request.headers());
        if admitted {
            drop(stranger.take());
        }
        // Nothing behind this needs it.
        request.headers_mut().remove(header::AUTHORIZATION);
        request.headers_mut().insert(headers::CARRIED, headers::YES);
        let router = router.clone();
        async move {
            let mut response = if admitted {
                router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {})
            } else {
                tracing::warn!(%from, "refused a peer that doesn't know the cluster's secret");
                unauthorized()
            };
            clock::tell(response.headers_mut());
            Ok::<_, Infallible>(response)
        }
    });
    connection::answer(stream, service, HEAD_TIMEOUT, shutdown).await;
}

async fn secure(stream: TcpStream, trust: &Trust) -> std::io::Result<Box<dyn Io>> {
    prepare(&stream)?;
    Ok(match trust.acceptor() {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.accept(stream).await?),
    })
}

fn unauthorized() -> Response {
    let error = ApiError::new(ErrorKind::Forbidden, "only hosts of this cluster are answered here");
    let headers = [(header::WWW_AUTHENTICATE, "Bearer"), (header::CONNECTION, "close")];
    (StatusCode::UNAUTHORIZED, headers, Json(ErrorBody { error })).into_response()
}
