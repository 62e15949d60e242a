//! Routes of operations and events: how things stand, and how they go on.

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use futures::{StreamExt as _, future};
use serde::Deserialize;
use wardian_model::{id::OperationId, name::EnvironmentName};

use super::{
    Shared,
    extract::{Asked, Named},
    failure::Failure,
};
use crate::{
    backend::EventsFrom,
    sse::{self, Message, SourceEnd},
    wire::{ErrorBody, Event, Operation, OperationList, OperationState},
};

impl Message for Operation {
    const NAME: &'static str = "operation";

    fn is_last(&self) -> bool {
        self.state != OperationState::Running
    }
}

impl Message for Event {
    const NAME: &'static str = "event";

    fn id(&self) -> Option<u64> {
        Some(self.sequence)
    }

    fn is_last(&self) -> bool {
        false
    }
}

/// All operations that are remembered
///
/// Newest first.
#[utoipa::path(get, path = "/v1/operations", tag = "operations",
    responses((status = 200, body = OperationList), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn list_operations(State(app): Shared) -> Result<Json<OperationList>, Failure> {
    let operations = app.backend.operations().await?;
    Ok(Json(OperationList { operations: operations.into_iter().map(Operation::from).collect() }))
}

/// How an operation stands
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = String, Path, description = "The operation")),
    responses((status = 200, body = Operation), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn operation(State(app): Shared, Named(id): Named<OperationId>) -> Result<Json<Operation>, Failure> {
    Ok(Json(app.backend.operation(id).await?.into()))
}

/// How an operation goes
///
/// A stream of server-sent events: `operation` with the operation as it stands, then again after every change;
/// after it is done or has failed, `end`; or `error` with an error body. A stream that closes without either was
/// interrupted; asking again goes on.
#[utoipa::path(get, path = "/v1/operations/{id}/follow", tag = "operations",
    params(("id" = String, Path, description = "The operation")),
    responses((status = 200, body = Operation, content_type = "text/event-stream"),
        (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn follow_operation(State(app): Shared, Named(id): Named<OperationId>) -> Result<Response, Failure> {
    let changes = app.backend.operation_changes(id).await?;
    let changes = changes.map(|change| change.map(Operation::from)).boxed();
    Ok(sse::answer(changes, SourceEnd::Interrupted, &app.ending))
}

/// Which events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct EventsQuery {
    from: Option<u64>,
    #[serde(default)]
    follow: bool,
    environment: Option<EnvironmentName>,
}

/// What has happened, and what happens
///
/// A stream of server-sent events: `event`, with its sequence number as the id; without `follow`, `end` after the
/// last one there is; or `error` with an error body.
#[utoipa::path(get, path = "/v1/events", tag = "operations",
    params(
        ("from" = Option<u64>, Query, description = "The first wanted sequence number; all that are kept when absent"),
        ("follow" = Option<bool>, Query, description = "Go on with what happens from now on"),
        ("environment" = Option<String>, Query, description = "Only those of this environment"),
        ("last-event-id" = Option<u64>, Header, description = "Go on after this sequence number; wins over `from`")
    ),
    responses((status = 200, body = Event, content_type = "text/event-stream"),
        (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn events(
    State(app): Shared,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let last: Option<u64> = match headers.get("last-event-id") {
        None => None,
        Some(text) => {
            let number = text.to_str().ok().and_then(|text| text.parse().ok());
            Some(number.ok_or_else(|| Failure::invalid("the header last-event-id is not a sequence number"))?)
        }
    };
    let from = last.map(|last| last.saturating_add(1)).or(query.from);
    let events = app.backend.events(EventsFrom { from, follow: query.follow }).await?;
    let events = events.filter(move |event| {
        let wanted = query.environment.as_ref();
        future::ready(match event {
            Ok(event) => wanted.is_none_or(|name| event.environment == *name),
            Err(_) => true,
        })
    });
    let end = if query.follow { SourceEnd::Interrupted } else { SourceEnd::Complete };
    Ok(sse::answer(events.map(|event| event.map(Event::from)).boxed(), end, &app.ending))
}
