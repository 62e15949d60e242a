//! Routes of the host and its daemon.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use super::{Shared, failure::Failure};
use crate::wire::{DaemonInfo, ErrorBody, HostList, HostReport, HostSummary, JoinReport, NetworkState};

/// What environments need of the host, and whether it is there
#[utoipa::path(get, path = "/v1/host", tag = "host",
    responses((status = 200, body = HostReport), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn host_report(State(app): Shared) -> Result<Json<HostReport>, Failure> {
    Ok(Json(app.backend.host_report().await?))
}

/// The hosts of the cluster
///
/// In the order of their names; none where this host is alone.
#[utoipa::path(get, path = "/v1/hosts", tag = "host",
    responses((status = 200, body = HostList), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn list_hosts(State(app): Shared) -> Result<Json<HostList>, Failure> {
    let hosts = app.backend.hosts().await?;
    Ok(Json(HostList { hosts: hosts.into_iter().map(HostSummary::from).collect() }))
}

/// Bring this host into a cluster
///
/// Into the one that its configuration names by now. The daemon starts again as soon as it has answered, and answers
/// again once it is there; machines run on. When anything is in the way, nothing happens.
#[utoipa::path(post, path = "/v1/host/join", tag = "host",
    responses((status = 202, body = JoinReport), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn join(State(app): Shared) -> Result<(StatusCode, Json<JoinReport>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(app.backend.join().await?)))
}

/// What crosses between this host and the others
///
/// Of the host that answers: each has a packet filter of its own.
#[utoipa::path(get, path = "/v1/network", tag = "host",
    responses((status = 200, body = NetworkState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn network(State(app): Shared) -> Result<Json<NetworkState>, Failure> {
    Ok(Json(NetworkState::new(app.backend.traffic().await?)))
}

/// Who answers
#[utoipa::path(get, path = "/v1/info", tag = "host",
    responses((status = 200, body = DaemonInfo), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn info(State(app): Shared) -> Result<Json<DaemonInfo>, Failure> {
    Ok(Json(app.backend.info().await?))
}

/// This document
#[utoipa::path(get, path = "/v1/openapi.json", tag = "host",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)))]
pub(super) async fn openapi_document(State(app): Shared) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone())
}
