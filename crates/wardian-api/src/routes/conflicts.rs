//! The route of conflicts: what environments would collide in, if they were not isolated.

use axum::{Json, extract::State};
use wardian_model::{environment::EnvironmentRecord, name::EnvironmentName};
use wardian_plan::conflicts;

use super::{Shared, extract::Asked, failure::Failure};
use crate::{
    backend::{Refusal, RefusalKind},
    wire::{Conflicts, ErrorBody},
};

/// What environments would collide in, if they were not isolated
///
/// One environment is compared with all others; several are compared with one another.
#[utoipa::path(get, path = "/v1/conflicts", tag = "environments",
    params(("environment" = Vec<String>, Query, description = "The environments; repeated for several")),
    responses((status = 200, body = Conflicts), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn conflicts(
    State(app): Shared,
    Asked(query): Asked<Vec<(String, String)>>,
) -> Result<Json<Conflicts>, Failure> {
    let names = names(query)?;
    let mut of = None;
    let mut environments: Vec<EnvironmentRecord> = Vec::new();
    for name in &names {
        environments.push(app.backend.environment(name).await?.0);
    }
    if let [only] = names.as_slice() {
        of = Some(only);
        environments = app.backend.environments().await?.into_iter().map(|(record, _)| record).collect();
    }
    // Only what an environment was taken back to is looked up in them.
    let mut snapshots = Vec::new();
    if environments.iter().any(|environment| environment.restore.is_some()) {
        for (environment, _) in app.backend.environments().await? {
            match app.backend.snapshots(&environment.name).await {
                // Gone since they were listed.
                Err(Refusal { kind: RefusalKind::NotFound, .. }) => {}
                found => snapshots.extend(found?),
            }
        }
    }
    let environments: Vec<&EnvironmentRecord> = environments.iter().collect();
    Ok(Json(conflicts::conflicts(&environments, &snapshots, of).into()))
}

fn names(query: Vec<(String, String)>) -> Result<Vec<EnvironmentName>, Failure> {
    let mut names = Vec::new();
    for (key, value) in query {
        if key != "environment" {
            let message = format!("the request's query is not what this route takes: unknown field `{key}`");
            return Err(Failure::invalid(message));
        }
        let name = EnvironmentName::new(value).map_err(Failure::invalid)?;
        if names.contains(&name) {
            return Err(Failure::invalid(format!(
                "{name} is named twice; an environment has no conflicts with itself"
            )));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err(Failure::invalid("name one environment or more: ?environment=NAME"));
    }
    Ok(names)
}
