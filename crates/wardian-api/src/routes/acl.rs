//! Routes of what machines may say and hear.

use axum::{Json, extract::State};
use wardian_model::{
    name::{EnvironmentName, MachineName},
    spec::AclRule,
};

use super::{
    Shared,
    extract::{Named, Sent},
    failure::Failure,
};
use crate::wire::{AclRequest, AclState, ErrorBody};

/// What an environment's machines may say and hear
#[utoipa::path(get, path = "/v1/environments/{environment}/acl", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = AclState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn acl(State(app): Shared, Named(name): Named<EnvironmentName>) -> Result<Json<AclState>, Failure> {
    let (record, _) = app.backend.environment(&name).await?;
    Ok(Json(AclState::new(&record)))
}

/// Change what an environment's machines may say and hear
///
/// In effect when the answer comes, at the machines on the host of its edge; on other hosts a moment later. What is
/// still allowed loses no packet, what is not stops, also where it runs already.
#[utoipa::path(put, path = "/v1/environments/{environment}/acl", tag = "environments", request_body = AclRequest,
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = AclState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn set_acl(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
    Sent(request): Sent<AclRequest>,
) -> Result<Json<AclState>, Failure> {
    let machine = request.machine.map(MachineName::new).transpose().map_err(Failure::invalid)?;
    let rules = request.rules.iter().map(|text| text.parse::<AclRule>()).collect::<Result<Vec<_>, _>>();
    let rules = rules.map_err(Failure::invalid)?;
    let (record, warnings) = app.backend.set_acl(&name, machine.as_ref(), &rules).await?;
    let warnings = warnings.into_iter().map(Into::into).collect();
    Ok(Json(AclState { warnings, ..AclState::new(&record) }))
}
