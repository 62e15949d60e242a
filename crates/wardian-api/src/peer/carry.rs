//! Carrying: a request about an environment that is on another host goes there, and the answer comes back.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use wardian_model::name::HostName;

use super::{
    about::About,
    dial::{self, PeerError},
    headers,
    trust::Trust,
    whereabouts::{Elsewhere, Whereabouts},
};
use crate::{
    routes::{Failure, small},
    wire::{ApiError, ErrorKind, UpRequest},
};

/// Where one looks which hosts there are.
const HOSTS: &str = "`wardian host ls` shows the hosts, and which of them are there";

/// How the content type of an event stream begins.
const EVENTS: &[u8] = b"text/event-stream";

/// What sends requests to the hosts that have to answer them.
#[derive(Clone)]
pub struct Carrier {
    whereabouts: Arc<dyn Whereabouts>,
    trust: Trust,
}

impl Carrier {
    /// One that asks `whereabouts` where to.
    #[must_use]
    pub fn new(whereabouts: Arc<dyn Whereabouts>, trust: Trust) -> Self {
        Self { whereabouts, trust }
    }
}

/// The routes of `router`, each answered where it must be. Streams and consoles end when `ending` is cancelled.
pub fn carried<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    carrier: Carrier,
    ending: CancellationToken,
) -> Router<S> {
    router.layer(middleware::from_fn_with_state((carrier, ending), carry))
}

async fn carry(
    State((carrier, ending)): State<(Carrier, CancellationToken)>,
    request: Request,
    next: Next,
) -> Response {
    let once = request.headers().contains_key(headers::CARRIED);
    let (about, request) = About::of(request).await;
    let (place, subject, request) = match about {
        About::Other => return next.run(request).await,
        // The one that carried it here has decided.
        About::Creation if once => return next.run(request).await,
        About::Creation => {
            let (parts, body) = request.into_parts();
            let body = match small(body).await {
                Ok(body) => body,
                Err(failure) => return failure.into_response(),
            };
            let place = match serde_json::from_slice::<UpRequest>(&body) {
                Ok(up) => carrier.whereabouts.creates(&up).await,
                // The handler says what is wrong with it.
                Err(_) => None,
            };
            (place, "the environment belongs".to_owned(), Request::from_parts(parts, Body::from(body)))
        }
        About::Environment { name, machine, records } => {
            let place = carrier.whereabouts.elsewhere(&name, machine.as_ref()).await;
            // Whoever isn't there needn't be asked for what the store says as well.
            let there = place.as_ref().is_some_and(|place| place.present && !once);
            if records && !there {
                return next.run(request).await;
            }
            (place, format!("{name} is"), request)
        }
    };
    match place {
        None => next.run(request).await,
        Some(place) if once => {
            refuse(format!("{subject} on host {} by now", place.host), "it has moved meanwhile: ask again")
        }
        Some(place) if !place.present => {
            refuse(format!("{subject} on host {}, which does not answer; nothing was done", place.host), HOSTS)
        }
        Some(place) => match forward(&carrier.trust, &place, request, ending).await {
            Ok(response) => response,
            Err(error) => {
                let error = ApiError::from(&error);
                tracing::warn!(host = %place.host, %error, "a request was not answered by another host");
                Failure::from(error).into_response()
            }
        },
    }
}

fn refuse(message: String, hint: &str) -> Response {
    Failure::new(ErrorKind::Unavailable, message).hint(hint).into_response()
}

/// Sends a request on, and its answer back.
async fn forward(
    trust: &Trust,
    to: &Elsewhere,
    mut request: Request,
    ending: CancellationToken,
) -> Result<Response, PeerError> {
    let wanted = request.headers_mut().remove(header::UPGRADE);
    // Before the body is taken: both hang on the request.
    let wanted = wanted.map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
    let (mut parts, body) = request.into_parts();
    let mut carried = Request::new(body);
    *carried.method_mut() = parts.method;
    *carried.uri_mut() = parts.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    *carried.headers_mut() = headers::through(std::mem::take(&mut parts.headers));
    if let Some((protocol, _)) = &wanted {
        headers::upgrade_to(carried.headers_mut(), protocol.clone());
    }
    let answer = dial::send(trust, &to.host, to.peer, carried).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(pass_back(answer, ending));
    }
    match (wanted, answer.headers().get(header::UPGRADE).cloned()) {
        (Some((_, ours)), Some(protocol)) => {
            let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
            headers::upgrade_to(response.headers_mut(), protocol);
            tokio::spawn(join(ours, answer, to.host.clone(), ending));
            Ok(response)
        }
        _ => {
            let what = "it changes the protocol, and nobody has asked for that".to_owned();
            Err(PeerError::Odd { host: to.host.clone(), what })
        }
    }
}

/// The answer, its body as it comes. A body that breaks off on the way breaks off here too.
fn pass_back(answer: hyper::Response<Incoming>, ending: CancellationToken) -> Response {
    let (mut parts, body) = answer.into_parts();
    let events = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(EVENTS));
    let mut response = Response::new(if events {
        // It has no end of its own, and nothing has to be complete.
        Body::from_stream(body.into_data_stream().take_until(ending.cancelled_owned()))
    } else {
        Body::new(body)
    });
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers::through(std::mem::take(&mut parts.headers));
    response
}

/// Passes bytes on between two upgraded connections, until one of them ends or this daemon does.
async fn join(ours: OnUpgrade, answer: hyper::Response<Incoming>, host: HostName, ending: CancellationToken) {
    let copy = async {
        let mut user = TokioIo::new(ours.await?);
        let mut peer = TokioIo::new(hyper::upgrade::on(answer).await?);
        // Either side's end is the end; an error here is one side going away.
        let _ = tokio::io::copy_bidirectional(&mut user, &mut peer).await;
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        result = copy => {
            if let Err(error) = result {
                tracing::debug!(%host, %error, "a connection that was carried was not upgraded");
            }
        }
        () = ending.cancelled() => {}
    }
}
