//! What handlers are given: names out of paths, values out of queries, JSON out of bodies; all checked.

use axum::{
    body::{Body, HttpBody as _},
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request, path::ErrorKind as PathErrorKind, rejection::PathRejection,
    },
    http::request::Parts,
};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::wire::{ErrorKind, percent};

/// The largest JSON body, in bytes. An environment file of ten thousand machines fits.
pub(crate) const LARGEST_JSON: usize = 4 << 20;

/// Names in the request's path.
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(Failure::invalid(match error.into_kind() {
                    PathErrorKind::Message(message) | PathErrorKind::DeserializeError { message, .. } => message,
                    PathErrorKind::InvalidUtf8InPathParam { key } => {
                        format!("the {key} in the request's path is not UTF-8")
                    }
                    other => other.to_string(),
                }))
            }
            Err(error) => Err(Failure::invalid(error.body_text())),
        }
    }
}

/// Values in the request's query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // The decoder below replaces what isn't UTF-8; a path would silently become another one.
        let query = parts.uri.query().unwrap_or_default();
        if query.split(['&', '=']).any(|part| percent::decode(part).is_none()) {
            return Err(Failure::invalid("the request's query is not percent-encoded UTF-8"));
        }
        let Query(values) = Query::try_from_uri(&parts.uri).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Failure::invalid(format!("the request's query is not what this route takes: {cause}"))
        })?;
        Ok(Self(values))
    }
}

/// A JSON body. The content type is not asked for, so that `curl -d` is enough.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let bytes = small(request.into_body()).await?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::invalid(format!("the request's body is not the JSON this route takes: {error}"))
        })?;
        Ok(Self(value))
    }
}

/// The whole body, where it isn't too large.
pub(crate) async fn small(mut body: Body) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // A length that is announced is believed only as a reason to refuse.
    let mut too_large = body.size_hint().lower() > LARGEST_JSON as u64;
    while !too_large {
        let Some(frame) = body.frame().await else { return Ok(bytes) };
        let frame = frame.map_err(|_| Failure::invalid("the request's body ends before it is complete"))?;
        if let Some(data) = frame.data_ref() {
            too_large = bytes.len() + data.len() > LARGEST_JSON;
            bytes.extend_from_slice(data);
        }
    }
    Err(too_large_failure("JSON", LARGEST_JSON as u64))
}

pub(crate) fn too_large_failure(what: &str, limit: u64) -> Failure {
    Failure::new(ErrorKind::TooLarge, format!("the request's body is too large: {} MiB of {what} at most", limit >> 20))
}
