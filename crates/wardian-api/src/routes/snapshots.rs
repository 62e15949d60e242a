//! Routes of snapshots: take, list, remove, and go back to one.

use axum::{Json, extract::State, http::StatusCode};
use wardian_model::{
    environment::EnvironmentRecord,
    id::SnapshotId,
    name::{EnvironmentName, SnapshotName},
};

use super::{
    App, Shared,
    extract::{Named, Sent},
    failure::Failure,
};
use crate::{
    backend::{Refusal, RefusalKind},
    wire::{ErrorBody, Operation, RestoreRequest, Snapshot, SnapshotList, SnapshotPlace, SnapshotRequest},
};

/// The snapshots of an environment
///
/// Oldest first; `parent` makes a tree of them.
#[utoipa::path(get, path = "/v1/environments/{environment}/snapshots", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = SnapshotList), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn list_snapshots(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<Json<SnapshotList>, Failure> {
    let (record, _) = app.backend.environment(&name).await?;
    Ok(Json(list(&app, &record).await?))
}

/// Take a snapshot of an environment
///
/// Its machines go on as they were.
#[utoipa::path(post, path = "/v1/environments/{environment}/snapshots", tag = "environments",
    request_body = SnapshotRequest,
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 202, body = Operation), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn take_snapshot(
    State(app): Shared,
    Named(environment): Named<EnvironmentName>,
    Sent(request): Sent<SnapshotRequest>,
) -> Result<(StatusCode, Json<Operation>), Failure> {
    let name = SnapshotName::new(request.name).map_err(Failure::invalid)?;
    let operation = app.backend.snapshot(&environment, &name, request.memory).await?;
    Ok((StatusCode::ACCEPTED, Json(operation.into())))
}

/// Remove a snapshot
///
/// Those taken after it stay whole; in the tree they move up to its parent.
#[utoipa::path(delete, path = "/v1/environments/{environment}/snapshots/{snapshot}", tag = "environments",
    params(
        ("environment" = String, Path, description = "The environment's name"),
        ("snapshot" = String, Path, description = "The snapshot's name")
    ),
    responses((status = 204, description = "Removed"), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn remove_snapshot(
    State(app): Shared,
    Named((environment, name)): Named<(EnvironmentName, SnapshotName)>,
) -> Result<StatusCode, Failure> {
    app.backend.remove_snapshot(&environment, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Go back to a snapshot
///
/// Of this environment, or of another one with the same inside. The outside stays this environment's.
#[utoipa::path(post, path = "/v1/environments/{environment}/restore", tag = "environments",
    request_body = RestoreRequest,
    params(("environment" = String, Path, description = "The name of the environment that goes back")),
    responses((status = 202, body = Operation), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn restore(
    State(app): Shared,
    Named(environment): Named<EnvironmentName>,
    Sent(request): Sent<RestoreRequest>,
) -> Result<(StatusCode, Json<Operation>), Failure> {
    let snapshot = SnapshotName::new(request.snapshot).map_err(Failure::invalid)?;
    let of = request.of.map(EnvironmentName::new).transpose().map_err(Failure::invalid)?;
    let of = of.as_ref().unwrap_or(&environment);
    let operation = app.backend.restore(&environment, of, &snapshot).await?;
    Ok((StatusCode::ACCEPTED, Json(operation.into())))
}

/// The snapshots of an environment, and where it is among them.
pub(super) async fn list(app: &App, record: &EnvironmentRecord) -> Result<SnapshotList, Refusal> {
    let own = app.backend.snapshots(&record.name).await?;
    let at = match record.snapshot {
        None => None,
        Some(id) => match own.iter().find(|snapshot| snapshot.id == id) {
            Some(snapshot) => Some(SnapshotPlace::new(snapshot)),
            None => elsewhere(app, record, id).await?,
        },
    };
    let snapshots = own.iter().map(Snapshot::new).collect();
    Ok(SnapshotList { environment: record.name.to_string(), snapshots, at })
}

/// A snapshot of any other environment.
async fn elsewhere(app: &App, record: &EnvironmentRecord, id: SnapshotId) -> Result<Option<SnapshotPlace>, Refusal> {
    for (other, _) in app.backend.environments().await? {
        if other.name == record.name {
            continue;
        }
        let theirs = match app.backend.snapshots(&other.name).await {
            // Gone since they were listed.
            Err(Refusal { kind: RefusalKind::NotFound, .. }) => continue,
            theirs => theirs?,
        };
        if let Some(found) = theirs.iter().find(|snapshot| snapshot.id == id) {
            return Ok(Some(SnapshotPlace::new(found)));
        }
    }
    Ok(None)
}
