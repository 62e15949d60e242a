//! The server on the unix socket: who may come in, and an orderly end.
//!
//! * [`bind`] makes the socket, and takes the place of one whose daemon is gone;
//! * [`Allowed`] decides who may use it;
//! * [`serve`] answers until it is told to stop.

pub(crate) mod connection;
mod peer;
mod socket;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::IntoResponse as _};
use hyper::{Request, body::Incoming, service::service_fn};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use peer::{Allowed, Peer};
pub use socket::{BindError, bind};

use crate::{
    backend::Backend,
    routes,
    wire::{ApiError, ErrorBody, ErrorKind},
};

/// How long a peer may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers on `listener` until `shutdown` is cancelled; then lets requests end, for five seconds at most.
///
/// Handlers find who asks in the request's extensions, as a [`Peer`].
pub async fn serve(listener: UnixListener, backend: Arc<dyn Backend>, allowed: Allowed, shutdown: CancellationToken) {
    let router = routes::router(backend, shutdown.clone());
    serve_router(listener, router, allowed, shutdown).await;
}

/// The same with routes that are made already, such as [`routes::cluster_router`].
pub async fn serve_router(listener: UnixListener, router: Router, allowed: Allowed, shutdown: CancellationToken) {
    let own_uid = nix::unistd::geteuid().as_raw();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            // Forget those that have ended, so that their number stays the number of the open ones.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    connection::not_accepted(&error).await;
                    continue;
                }
            },
        };
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "who connects can't be found out");
                continue;
            }
        };
        let admitted = allowed.admits(own_uid, &peer);
        if !admitted {
            tracing::warn!(uid = peer.uid, gid = peer.gid, pid = peer.pid, "refused a connection");
        }
        let router = admitted.then(|| router.clone());
        connections.spawn(answer(stream, peer, router, shutdown.clone()));
    }
    drop(listener);
    connection::drain(connections).await;
}

/// Answers one connection. Without a router every request is refused.
async fn answer(stream: UnixStream, peer: Peer, router: Option<Router>, shutdown: CancellationToken) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let router = router.clone();
        let uid = peer.uid;
        async move {
            Ok::<_, Infallible>(match router {
                Some(router) => router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {}),
                None => forbidden(uid),
            })
        }
    });
    connection::answer(stream, service, HEAD_TIMEOUT, shutdown).await;
}

fn forbidden(uid: u32) -> axum::response::Response {
    let error = ApiError::new(ErrorKind::Forbidden, format!("the user with id {uid} may not use this daemon"))
        .hint("run the command as root, or as a member of the group that owns the daemon's socket");
    (axum::http::StatusCode::FORBIDDEN, axum::Json(ErrorBody { error })).into_response()
}

/// The error of a system call that nix made.
fn os_error(errno: nix::errno::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}
