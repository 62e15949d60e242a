//! How a refusal looks: one shape for every error of every route.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::environment;

/// The body of every answer whose status is 400 or above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ApiError,
}

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "kebab-case")]
pub struct ApiError {
    /// Which kind of refusal it is; decides the HTTP status.
    pub kind: ErrorKind,
    /// What failed and why, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Further lines, such as an excerpt of the file or the end of a console.
    #[serde(default)]
    pub details: Vec<String>,
}

impl ApiError {
    /// An error of one sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, details: Vec::new() }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// 400: the request can't be understood or can't be carried out as it stands.
    Invalid,
    /// 403: the peer may not use this daemon.
    Forbidden,
    /// 404: no such environment, machine, image, operation, or no such route.
    NotFound,
    /// 405: the route is there, the method isn't.
    MethodNotAllowed,
    /// 409: the thing is in a state that doesn't allow it, or the name is taken.
    Conflict,
    /// 413: the body is larger than the route takes.
    TooLarge,
    /// 426: the console speaks its own protocol after an upgrade.
    UpgradeRequired,
    /// 500: the daemon's fault.
    Internal,
    /// 503: not now; something needed is missing or not up.
    Unavailable,
    /// A kind this client doesn't know yet.
    #[serde(other)]
    Unknown,
}

impl ErrorKind {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UpgradeRequired => 426,
            Self::Internal | Self::Unknown => 500,
            Self::Unavailable => 503,
        }
    }
}

/// Something that went wrong with a thing, as opposed to a request: why an environment or an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// What failed and why, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Further lines, such as the end of a console.
    #[serde(default)]
    pub details: Vec<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<environment::Problem> for Problem {
    fn from(problem: environment::Problem) -> Self {
        Self { message: problem.message, hint: problem.hint, details: problem.details }
    }
}

impl From<&environment::Problem> for Problem {
    fn from(problem: &environment::Problem) -> Self {
        problem.clone().into()
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self { message: error.message, hint: error.hint, details: error.details }
    }
}
