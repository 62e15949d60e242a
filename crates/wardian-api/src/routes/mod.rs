//! The routes under `/v1`, and the OpenAPI document that is made from them.
//!
//! Every error of every route has one shape, [`ErrorBody`](crate::wire::ErrorBody), also where no handler was reached.

mod acl;
mod conflicts;
mod edge;
mod environments;
mod extract;
mod failure;
mod guests;
mod host;
mod images;
mod leftover;
mod operations;
mod snapshots;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, Uri},
};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    backend::Backend,
    peer::{self, Carrier},
    wire::ErrorKind,
};

pub(crate) use extract::{Named, small};
pub(crate) use failure::Failure;

/// What a console's connection is upgraded to: raw bytes both ways.
pub const CONSOLE_PROTOCOL: &str = "wardian-console";

/// The largest file that is written into a guest, in bytes.
pub const LARGEST_FILE: u64 = 256 << 20;

/// What all handlers share.
pub(crate) struct App {
    pub(crate) backend: Arc<dyn Backend>,
    /// Set when the daemon stops; streams and consoles end.
    pub(crate) ending: CancellationToken,
    openapi: String,
}

/// What handlers take as their state.
pub(crate) type Shared = axum::extract::State<Arc<App>>;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Wardian",
        version = "1",
        description = "The interface of the Wardian daemon: JSON over HTTP/1.1 on a unix socket.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact()
    ),
    components(schemas(crate::wire::Event, crate::wire::ErrorBody)),
    tags(
        (name = "environments", description = "Sets of machines, sealed in their own networks"),
        (name = "machines", description = "What is done inside one guest"),
        (name = "operations", description = "Requests that take a while"),
        (name = "images", description = "What machines start from"),
        (name = "host", description = "The host and its daemon"),
    )
)]
struct Document;

/// The routes and the document, before they have a state.
fn documented() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(environments::list_environments, environments::up))
        .routes(routes!(environments::check))
        .routes(routes!(environments::place))
        .routes(routes!(environments::environment, environments::remove))
        .routes(routes!(environments::start))
        .routes(routes!(environments::stop))
        .routes(routes!(environments::suspend))
        .routes(routes!(environments::clone_environment))
        .routes(routes!(environments::addresses))
        .routes(routes!(environments::expose, environments::unexpose))
        .routes(routes!(edge::fence, edge::set_fence))
        .routes(routes!(acl::acl, acl::set_acl))
        .routes(routes!(edge::gateway, edge::set_gateway))
        .routes(routes!(edge::join_environments, edge::part_environments))
        .routes(routes!(edge::set_expiry, edge::remove_expiry))
        .routes(routes!(snapshots::list_snapshots, snapshots::take_snapshot))
        .routes(routes!(snapshots::remove_snapshot))
        .routes(routes!(snapshots::restore))
        .routes(routes!(conflicts::conflicts))
        .routes(routes!(guests::exec))
        .routes(routes!(guests::read_file, guests::write_file))
        .routes(routes!(guests::console))
        .routes(routes!(guests::console_tail))
        .routes(routes!(operations::list_operations))
        .routes(routes!(operations::operation))
        .routes(routes!(operations::follow_operation))
        .routes(routes!(operations::events))
        .routes(routes!(images::list_images, images::import_image))
        .routes(routes!(images::remove_image))
        .routes(routes!(host::host_report))
        .routes(routes!(host::list_hosts))
        .routes(routes!(host::join))
        .routes(routes!(host::network))
        .routes(routes!(host::info))
        .routes(routes!(host::openapi_document))
        .split_for_parts()
}

/// The OpenAPI document, as it is checked in.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().1
}

/// The routes on `backend`; streams and consoles end when `ending` is cancelled.
pub fn router(backend: Arc<dyn Backend>, ending: CancellationToken) -> Router {
    build(backend, None, ending)
}

/// The routes of a host of a cluster: what another host has to answer is carried there.
pub fn cluster_router(backend: Arc<dyn Backend>, carrier: Carrier, ending: CancellationToken) -> Router {
    build(backend, Some(carrier), ending)
}

fn build(backend: Arc<dyn Backend>, carrier: Option<Carrier>, ending: CancellationToken) -> Router {
    let (router, document) = documented();
    // A document without a JSON form doesn't exist: a test compares it with the one that is checked in.
    let openapi = document.to_json().unwrap_or_else(|_| "{}".to_owned());
    let router = router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        // Every handler that reads a body has its own limit.
        .layer(DefaultBodyLimit::disable());
    let router = match carrier {
        Some(carrier) => peer::carried(router, carrier, ending.clone()),
        None => router,
    };
    router.layer(axum::middleware::from_fn(leftover::read_leftovers)).with_state(Arc::new(App {
        backend,
        ending,
        openapi,
    }))
}

async fn unknown_route(uri: Uri) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no route {:?}", uri.path()))
        .hint("the routes are in the document at /v1/openapi.json")
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(ErrorKind::MethodNotAllowed, format!("the route {:?} doesn't take {method}", uri.path()))
        .hint("the routes are in the document at /v1/openapi.json")
}
