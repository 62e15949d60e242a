//! Event streams (server-sent events): how they carry values, end, and fail.
//!
//! A stream ends with the event `end` when nothing more will come, and with `error` and an error body when something
//! went wrong. One that just closes was interrupted, by a daemon that stops: whoever follows asks again.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Refusal,
    wire::{ApiError, ErrorBody, ErrorKind},
};

/// A comment is sent after this much silence, so that a vanished peer is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a value is called in its stream, its id, and whether it is the last.
pub(crate) trait Message: Serialize + Send + 'static {
    /// The event's name.
    const NAME: &'static str;

    /// Where to go on after this one, for streams that can.
    fn id(&self) -> Option<u64> {
        None
    }

    /// Whether nothing comes after it.
    fn is_last(&self) -> bool;
}

/// Whether the end of the source is the end of what there is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceEnd {
    /// It is: say `end`.
    Complete,
    /// It isn't; only a value that is the last one is. Just close.
    Interrupted,
}

/// The answer that carries a stream.
pub(crate) fn answer<T: Message>(
    source: BoxStream<'static, Result<T, Refusal>>,
    source_end: SourceEnd,
    ending: &CancellationToken,
) -> Response {
    let events = stream::unfold(Some((source, false)), move |state| async move {
        let (mut source, end_now) = state?;
        if end_now {
            return Some((end(), None));
        }
        match source.next().await {
            Some(Ok(value)) => {
                let last = value.is_last();
                match event(&value) {
                    Ok(event) => Some((event, Some((source, last)))),
                    Err(problem) => {
                        let error = ApiError::new(ErrorKind::Internal, format!("an event has no JSON form: {problem}"));
                        Some((failure(error), None))
                    }
                }
            }
            Some(Err(refusal)) => Some((failure(refusal.into()), None)),
            None if source_end == SourceEnd::Complete => Some((end(), None)),
            None => None,
        }
    });
    let events = events.take_until(ending.clone().cancelled_owned()).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn event<T: Message>(value: &T) -> Result<Event, serde_json::Error> {
    let mut event = Event::default().event(T::NAME).data(serde_json::to_string(value)?);
    if let Some(id) = value.id() {
        event = event.id(id.to_string());
    }
    Ok(event)
}

fn end() -> Event {
    Event::default().event("end").data("{}")
}

fn failure(error: ApiError) -> Event {
    let body = serde_json::to_string(&ErrorBody { error }).unwrap_or_else(|_| "{}".to_owned());
    Event::default().event("error").data(body)
}
