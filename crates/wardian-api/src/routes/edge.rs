//! Routes of what holds an environment: its fence and its gateway in space, its expiry in time, and whose it is.

use axum::{Json, extract::State};
use wardian_model::{Timestamp, environment::EnvironmentRecord, name::EnvironmentName, spec::Gateway};

use super::{
    Shared,
    extract::{Named, Sent},
    failure::Failure,
};
use crate::{
    backend::Extras,
    wire::{
        ErrorBody, Expiry, ExpiryRequest, Exposure, FenceRequest, FenceState, GatewayRequest, GatewayState, JoinState,
    },
};

/// The longest name of an owner, in characters.
const LONGEST_OWNER: usize = 100;

/// What may cross an environment's edge
#[utoipa::path(get, path = "/v1/environments/{environment}/fence", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = FenceState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn fence(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<Json<FenceState>, Failure> {
    let (record, _) = app.backend.environment(&name).await?;
    Ok(Json(FenceState {
        environment: record.name.to_string(),
        fence: record.fence.into(),
        exposed: record.exposed.iter().map(|exposure| Exposure::new(&record, exposure)).collect(),
    }))
}

/// Change what may cross an environment's edge
///
/// In effect when the answer comes. Addresses stay, and so do connections inside.
#[utoipa::path(put, path = "/v1/environments/{environment}/fence", tag = "environments", request_body = FenceRequest,
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = FenceState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn set_fence(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
    Sent(request): Sent<FenceRequest>,
) -> Result<Json<FenceState>, Failure> {
    app.backend.set_fence(&name, request.fence.into()).await?;
    fence(State(app), Named(name)).await
}

/// Through whom an environment's machines reach the outside
#[utoipa::path(get, path = "/v1/environments/{environment}/gateway", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = GatewayState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn gateway(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<Json<GatewayState>, Failure> {
    let (record, _) = app.backend.environment(&name).await?;
    Ok(Json(gateway_of(&record)))
}

/// Change through whom an environment's machines reach the outside
///
/// In effect when the answer comes. Nothing changes inside; connections with the outside end.
#[utoipa::path(put, path = "/v1/environments/{environment}/gateway", tag = "environments", request_body = GatewayRequest,
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = GatewayState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn set_gateway(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
    Sent(request): Sent<GatewayRequest>,
) -> Result<Json<GatewayState>, Failure> {
    let gateway: Gateway = request.gateway.parse().map_err(|reason| {
        Failure::invalid(format!("{:?} can't be a gateway: {reason}", request.gateway))
            .hint("say per-machine, host, or the name of a machine")
    })?;
    let record = app.backend.set_gateway(&name, &gateway).await?;
    Ok(Json(gateway_of(&record)))
}

fn gateway_of(record: &EnvironmentRecord) -> GatewayState {
    GatewayState { environment: record.name.to_string(), gateway: record.gateway.to_string() }
}

/// Join the routing domains of two environments
///
/// Their machines reach each other by their inside addresses, whatever their fences; names stay each one's own. In
/// effect when the answer comes on the host that gives it, and on others that have to do with it a moment later. When
/// the daemon of one of those is down, that is the answer; they are joined all the same, and it is in effect there when
/// that daemon is back.
#[utoipa::path(put, path = "/v1/environments/{environment}/joined/{other}", tag = "environments",
    params(("environment" = String, Path, description = "Its name"), ("other" = String, Path, description = "The other's name")),
    responses((status = 200, body = JoinState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn join_environments(
    State(app): Shared,
    Named((name, other)): Named<(EnvironmentName, EnvironmentName)>,
) -> Result<Json<JoinState>, Failure> {
    Ok(Json(joined(&app.backend.join_environments(&name, &other).await?)))
}

/// Part the routing domains of two environments
///
/// In effect when the answer comes for the first one's machines on the host that gives it, and on other hosts a moment
/// later; when the daemon of one of those is down, that is the answer, as with joining.
#[utoipa::path(delete, path = "/v1/environments/{environment}/joined/{other}", tag = "environments",
    params(("environment" = String, Path, description = "Its name"), ("other" = String, Path, description = "The other's name")),
    responses((status = 200, body = JoinState), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn part_environments(
    State(app): Shared,
    Named((name, other)): Named<(EnvironmentName, EnvironmentName)>,
) -> Result<Json<JoinState>, Failure> {
    Ok(Json(joined(&app.backend.part_environments(&name, &other).await?)))
}

fn joined(record: &EnvironmentRecord) -> JoinState {
    let joined = record.joined.iter().map(|joined| joined.name.to_string()).collect();
    JoinState { environment: record.name.to_string(), joined }
}

/// Change when an environment is removed by itself
#[utoipa::path(put, path = "/v1/environments/{environment}/expiry", tag = "environments", request_body = ExpiryRequest,
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = Expiry), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn set_expiry(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
    Sent(request): Sent<ExpiryRequest>,
) -> Result<Json<Expiry>, Failure> {
    let expires = from_now(request.after_ms)?;
    app.backend.set_expiry(&name, Some(expires)).await?;
    Ok(Json(Expiry { environment: name.to_string(), expires: Some(expires.to_string()) }))
}

/// Keep an environment until somebody removes it
#[utoipa::path(delete, path = "/v1/environments/{environment}/expiry", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = Expiry), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn remove_expiry(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<Json<Expiry>, Failure> {
    app.backend.set_expiry(&name, None).await?;
    Ok(Json(Expiry { environment: name.to_string(), expires: None }))
}

/// Whose a new environment is, and until when.
pub(super) fn extras(owner: Option<String>, expire_after_ms: Option<u64>) -> Result<Extras, Failure> {
    if let Some(owner) = &owner
        && (owner.trim().is_empty() || owner.chars().count() > LONGEST_OWNER || owner.chars().any(char::is_control))
    {
        let message = format!("{owner:?} can't be an owner: write 1 to {LONGEST_OWNER} characters on one line");
        return Err(Failure::invalid(message));
    }
    Ok(Extras { owner, expires: expire_after_ms.map(from_now).transpose()? })
}

/// The daemon's own clock decides, for that is the one that will run out.
fn from_now(after_ms: u64) -> Result<Timestamp, Failure> {
    if after_ms == 0 {
        return Err(Failure::invalid("an environment can't expire at once: the time until then must be 1 ms at least")
            .hint("to remove it now, use `wardian rm`"));
    }
    let late = || Failure::invalid(format!("{after_ms} ms from now is later than a time can be"));
    Timestamp::now().checked_add(std::time::Duration::from_millis(after_ms)).map_err(|_| late())
}
