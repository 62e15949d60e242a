//! Following along: operations and events, across restarts of the daemon.
//!
//! What is followed lives in the store, not in the daemon's memory: after a restart the same question has the same
//! answer, continued. So a stream that is interrupted asks again, for as long as its patience lasts.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use hyper::{Method, header};
use serde::de::DeserializeOwned;
use wardian_api::wire::{Event, Operation, OperationState, percent::encode};

use crate::{
    ClientError, Messages, sse,
    transport::{Transport, empty},
};

/// How long a stream waits for a daemon that went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl Patience {
    /// Not at all.
    pub const NONE: Self = Self(Duration::ZERO);
}

impl Default for Patience {
    /// Half a minute: as long as a restart of the daemon takes on a busy host.
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventOptions {
    /// From this sequence number on; all that are kept when absent.
    pub from: Option<u64>,
    /// Go on with what happens from now on.
    pub follow: bool,
    /// Only those of this environment.
    pub environment: Option<String>,
}

impl EventOptions {
    fn target(&self) -> String {
        let mut target = format!("/v1/events?follow={}", self.follow);
        if let Some(from) = self.from {
            target.push_str(&format!("&from={from}"));
        }
        if let Some(environment) = &self.environment {
            target.push_str(&format!("&environment={}", encode(environment)));
        }
        target
    }
}

/// A question that can be asked again where its answer broke off.
trait Question<T>: Send {
    /// The request's target, for what has not been answered yet.
    fn target(&self) -> String;

    /// Takes note of an item. False: it is the last.
    fn heard(&mut self, item: &T) -> bool;
}

struct OfOperation(String);

impl Question<Operation> for OfOperation {
    fn target(&self) -> String {
        format!("/v1/operations/{}/follow", encode(&self.0))
    }

    fn heard(&mut self, operation: &Operation) -> bool {
        operation.state == OperationState::Running
    }
}

impl Question<Event> for EventOptions {
    fn target(&self) -> String {
        self.target()
    }

    fn heard(&mut self, event: &Event) -> bool {
        self.from = Some(event.sequence.saturating_add(1));
        true
    }
}

pub(crate) fn operation(transport: &Transport, id: String, patience: Patience) -> Messages<'_, Operation> {
    ask(transport, OfOperation(id), patience)
}

pub(crate) fn events(transport: &Transport, options: EventOptions, patience: Patience) -> Messages<'_, Event> {
    ask(transport, options, patience)
}

/// Where a stream is between two items.
struct State<'a, T, Q> {
    question: Q,
    messages: Option<Messages<'a, T>>,
    /// Since when the daemon has been away.
    away: Option<Instant>,
}

fn ask<'a, T, Q>(transport: &'a Transport, question: Q, patience: Patience) -> Messages<'a, T>
where
    T: DeserializeOwned + Send + 'a,
    Q: Question<T> + 'a,
{
    let state = State { question, messages: None, away: None };
    Box::pin(stream::try_unfold(Some(state), move |state| async move {
        let Some(mut state) = state else { return Ok(None) };
        loop {
            match next(transport, &mut state).await {
                Ok(None) => return Ok(None),
                Ok(Some(item)) => {
                    state.away = None;
                    let more = state.question.heard(&item);
                    return Ok(Some((item, more.then_some(state))));
                }
                Err(error) if error.is_passing() => {
                    state.messages = None;
                    let since = *state.away.get_or_insert_with(Instant::now);
                    if since.elapsed() >= patience.0 {
                        return Err(error);
                    }
                    // A daemon that restarts is back within a fraction of a second.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }))
}

async fn next<'a, T, Q>(transport: &'a Transport, state: &mut State<'a, T, Q>) -> Result<Option<T>, ClientError>
where
    T: DeserializeOwned + Send + 'a,
    Q: Question<T>,
{
    let messages = match &mut state.messages {
        Some(messages) => messages,
        none => {
            let headers = [(header::ACCEPT, "text/event-stream")];
            let response = transport.send(Method::GET, &state.question.target(), empty(), &headers).await?;
            none.insert(sse::messages(transport, response.into_body()))
        }
    };
    messages.next().await.transpose()
}
