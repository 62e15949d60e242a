//! Routes of whole environments: up, list, status, start, stop, remove, clone, addresses, exposed ports.
//!
//! What they are held by (fence, expiry) is in [`super::edge`], their snapshots are in [`super::snapshots`].

use std::num::NonZeroU16;

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use wardian_model::{
    environment::{EnvironmentRecord, Origin},
    name::{EnvironmentName, MachineName, SnapshotName},
    spec::Expose,
};

use super::{
    App, Shared, edge,
    extract::{Asked, Named, Sent},
    failure::Failure,
    snapshots,
};
use crate::{
    backend::{CloneOrder, Denied, UpOrder},
    wire::{
        AclDenied, AddressList, Ancestor, CheckResult, CloneRequest, CloneResult, Cloned, EnvironmentDetail,
        EnvironmentList, EnvironmentSummary, ErrorBody, ErrorKind, ExposeRequest, Exposure, Operation, OperationState,
        Placement, UnexposeQuery, UpAccepted, UpRequest,
    },
};

/// How far back the lineage of an environment is told.
const OLDEST_ANCESTOR: usize = 32;

/// All environments
///
/// In the order of their names.
#[utoipa::path(get, path = "/v1/environments", tag = "environments",
    responses((status = 200, body = EnvironmentList), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn list_environments(State(app): Shared) -> Result<Json<EnvironmentList>, Failure> {
    let environments = app.backend.environments().await?;
    let environments = environments.iter().map(|(record, machines)| EnvironmentSummary::new(record, machines));
    Ok(Json(EnvironmentList { environments: environments.collect() }))
}

/// Make an environment from a file and start it
#[utoipa::path(post, path = "/v1/environments", tag = "environments", request_body = UpRequest,
    responses((status = 202, body = UpAccepted), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn up(
    State(app): Shared,
    Sent(request): Sent<UpRequest>,
) -> Result<(StatusCode, Json<UpAccepted>), Failure> {
    let (operation, warnings) = app.backend.create(order(request)?).await?;
    Ok((StatusCode::ACCEPTED, Json(UpAccepted { operation: operation.into(), warnings })))
}

/// Check a file, and change nothing
#[utoipa::path(post, path = "/v1/check", tag = "environments", request_body = UpRequest,
    responses((status = 200, body = CheckResult), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn check(State(app): Shared, Sent(request): Sent<UpRequest>) -> Result<Json<CheckResult>, Failure> {
    let checked = app.backend.check(order(request)?).await?;
    Ok(Json(CheckResult {
        name: checked.name.to_string(),
        machines: checked.machines.iter().map(ToString::to_string).collect(),
        warnings: checked.warnings,
    }))
}

/// Which host a file's environment would go to, and why
///
/// Changes nothing.
#[utoipa::path(post, path = "/v1/placement", tag = "host", request_body = UpRequest,
    responses((status = 200, body = Placement), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn place(State(app): Shared, Sent(request): Sent<UpRequest>) -> Result<Json<Placement>, Failure> {
    let (name, placement) = app.backend.place(order(request)?).await?;
    Ok(Json(Placement::new(name.to_string(), placement)))
}

fn order(request: UpRequest) -> Result<UpOrder, Failure> {
    Ok(UpOrder {
        text: request.file,
        file_name: request.file_name.unwrap_or_else(|| "environment file".to_owned()),
        name: request.name.map(EnvironmentName::new).transpose().map_err(Failure::invalid)?,
        stopped: request.stopped,
        extras: edge::extras(request.owner, request.expire_after_ms)?,
    })
}

/// Everything about one environment
#[utoipa::path(get, path = "/v1/environments/{environment}", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = EnvironmentDetail), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn environment(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<Json<EnvironmentDetail>, Failure> {
    let (record, machines) = app.backend.environment(&name).await?;
    let operation = match record.operation {
        // An operation that is forgotten, or over, isn't being carried out.
        Some(id) => app.backend.operation(id).await.ok().map(Operation::from),
        None => None,
    };
    let operation = operation.filter(|operation| operation.state == OperationState::Running);
    let lineage = lineage(&app, &record).await;
    let snapshots = snapshots::list(&app, &record).await?;
    // Everything else is worth telling when the kernel doesn't tell these.
    let counters = app.backend.fence_counters(&name).await.unwrap_or_default();
    let denied = app.backend.acl_counters(&name).await.unwrap_or_default();
    let denied = denied.into_iter().map(|Denied { machine, inward, outward }| {
        let machine = machine.to_string();
        AclDenied { machine, inward, outward }
    });
    let detail = EnvironmentDetail::new(&record, &machines, operation, lineage, snapshots, &counters);
    Ok(Json(EnvironmentDetail { denied: denied.collect(), ..detail }))
}

/// The environments an environment's inside comes from, as far back as they are still there.
async fn lineage(app: &App, record: &EnvironmentRecord) -> Vec<Ancestor> {
    let mut lineage = Vec::new();
    let mut origin = record.origin.clone();
    while let Origin::Clone { name, id, snapshot, .. } = origin {
        let there = app.backend.environment(&name).await.ok().filter(|(record, _)| record.id == id);
        lineage.push(Ancestor {
            name: name.to_string(),
            id: id.to_string(),
            exists: there.is_some(),
            snapshot: snapshot.map(|snapshot| snapshot.to_string()),
        });
        match there {
            Some((record, _)) if lineage.len() < OLDEST_ANCESTOR => origin = record.origin,
            _ => break,
        }
    }
    lineage
}

/// Remove an environment with all that belongs to it
#[utoipa::path(delete, path = "/v1/environments/{environment}", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 202, body = Operation), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn remove(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<(StatusCode, Json<Operation>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(app.backend.remove(&name).await?.into())))
}

/// Start the machines of an environment
///
/// Those that were suspended go on where they were.
#[utoipa::path(post, path = "/v1/environments/{environment}/start", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 202, body = Operation), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn start(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<(StatusCode, Json<Operation>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(app.backend.start(&name).await?.into())))
}

/// Stop the machines of an environment
///
/// Their disks stay; of a suspended environment, the memory is given up.
#[utoipa::path(post, path = "/v1/environments/{environment}/stop", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 202, body = Operation), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn stop(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<(StatusCode, Json<Operation>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(app.backend.stop(&name).await?.into())))
}

/// Stop the machines of an environment where they are
///
/// Their memory goes to disk, and their next start goes on from there, also after a restart of the host.
#[utoipa::path(post, path = "/v1/environments/{environment}/suspend", tag = "environments",
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 202, body = Operation), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn suspend(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
) -> Result<(StatusCode, Json<Operation>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(app.backend.suspend(&name).await?.into())))
}

/// Make environments whose inside is this one's inside
///
/// All from one and the same cut through it as it is now, or from a snapshot of it. Machines that run go on in each
/// clone, unless they shall boot. With several, each may be refused on its own.
#[utoipa::path(post, path = "/v1/environments/{environment}/clone", tag = "environments", request_body = CloneRequest,
    params(("environment" = String, Path, description = "The name of the source")),
    responses((status = 202, body = CloneResult), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn clone_environment(
    State(app): Shared,
    Named(source): Named<EnvironmentName>,
    Sent(request): Sent<CloneRequest>,
) -> Result<(StatusCode, Json<CloneResult>), Failure> {
    if request.count.is_some_and(|count| count == 0 || count > CloneRequest::MOST) {
        return Err(Failure::invalid(format!("the count of clones must be between 1 and {}", CloneRequest::MOST)));
    }
    let names = request.names().into_iter().map(EnvironmentName::new).collect::<Result<Vec<_>, _>>();
    let order = CloneOrder {
        source,
        snapshot: request.snapshot.map(SnapshotName::new).transpose().map_err(Failure::invalid)?,
        names: names.map_err(Failure::invalid)?,
        memory: !request.boot,
        customize: request.customize,
        extras: edge::extras(request.owner, request.expire_after_ms)?,
    };
    let results = app.backend.clone_environment(&order).await?;
    let names = order.names;
    let mut clones = Vec::with_capacity(names.len());
    for (name, result) in names.iter().zip(results) {
        clones.push(match result {
            Ok(operation) => Cloned { name: name.to_string(), operation: Some(operation.into()), problem: None },
            // Whoever asks for one thing gets one answer.
            Err(refusal) if names.len() == 1 => return Err(refusal.into()),
            Err(refusal) => Cloned { name: name.to_string(), operation: None, problem: Some(refusal.problem.into()) },
        });
    }
    // A source that is gone by now has nothing to share with its clones any more.
    let warnings =
        app.backend.environment(&order.source).await.map_or_else(|_| Vec::new(), |(r, _)| shared_outside(&r));
    Ok((StatusCode::ACCEPTED, Json(CloneResult { clones, warnings })))
}

/// What an environment's clones will use outside just as it does.
fn shared_outside(record: &EnvironmentRecord) -> Vec<String> {
    let warning = |(machine, what): (Option<&MachineName>, &str)| {
        let who = machine.map_or_else(|| record.name.to_string(), |machine| format!("{}/{machine}", record.name));
        format!(
            "{who} uses {} outside, and so will each clone: isolation can't keep them apart there; \
             `wardian fence CLONE sealed` keeps a clone away from it",
            what.trim()
        )
    };
    let bare = (!record.spec.is_isolated())
        .then(|| format!("{} is not isolated (mode none), nor are its clones: they collide with it", record.name));
    bare.into_iter().chain(record.spec.dependencies().map(warning)).collect()
}

/// Which addresses are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AddressesQuery {
    /// Only those of this machine.
    machine: Option<MachineName>,
}

/// Both identities of the machines of an environment
#[utoipa::path(get, path = "/v1/environments/{environment}/addresses", tag = "environments",
    params(
        ("environment" = String, Path, description = "Its name"),
        ("machine" = Option<String>, Query, description = "Only those of this machine")
    ),
    responses((status = 200, body = AddressList), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn addresses(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
    Asked(query): Asked<AddressesQuery>,
) -> Result<Json<AddressList>, Failure> {
    let (record, _) = app.backend.environment(&name).await?;
    let mut list = AddressList::new(&record, app.backend.aliases());
    if let Some(machine) = query.machine {
        if !record.identities.contains_key(&machine) {
            let message = format!("environment {name} has no machine {machine}");
            return Err(Failure::new(ErrorKind::NotFound, message));
        }
        list.addresses.retain(|addresses| addresses.machine == machine.as_str());
    }
    Ok(Json(list))
}

/// Let the outside reach a port of a machine
#[utoipa::path(post, path = "/v1/environments/{environment}/expose", tag = "environments", request_body = ExposeRequest,
    params(("environment" = String, Path, description = "Its name")),
    responses((status = 200, body = Exposure), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn expose(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
    Sent(request): Sent<ExposeRequest>,
) -> Result<Json<Exposure>, Failure> {
    let (machine, others) = Expose::parse_who(&request.machine).map_err(Failure::invalid)?;
    let with = others.iter().map(ToString::to_string).collect();
    let (protocol, at) = (request.protocol.into(), request.at.map(port).transpose()?);
    let expose = Expose { machine, others, port: port(request.port)?, protocol, at };
    let exposure: Exposure = (&app.backend.expose(&name, expose).await?).into();
    Ok(Json(Exposure { with, ..exposure }))
}

/// Close an exposed port again
#[utoipa::path(delete, path = "/v1/environments/{environment}/expose", tag = "environments",
    params(("environment" = String, Path, description = "Its name"), UnexposeQuery),
    responses((status = 204, description = "Closed"), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn unexpose(
    State(app): Shared,
    Named(name): Named<EnvironmentName>,
    Asked(query): Asked<UnexposeQuery>,
) -> Result<StatusCode, Failure> {
    let (machine, others) = Expose::parse_who(&query.machine).map_err(Failure::invalid)?;
    let expose = Expose { machine, others, port: port(query.port)?, protocol: query.protocol.into(), at: None };
    app.backend.unexpose(&name, expose).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn port(port: u16) -> Result<NonZeroU16, Failure> {
    NonZeroU16::new(port).ok_or_else(|| Failure::invalid("a port must be between 1 and 65535"))
}
