//! Why a request is refused, told apart as far as a caller can act on it.

use wardian_model::environment::Problem;

/// A refused request. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Refusal {
    /// What a caller can make of it.
    pub kind: RefusalKind,
    /// What failed, why, and what to do.
    pub problem: Problem,
}

/// What a caller can make of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// It can't be done in the present state; later perhaps.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// Something it needs does not answer, or there is no room.
    Unavailable,
    /// Wardian's own fault.
    Internal,
}

impl Refusal {
    /// Of that kind.
    pub fn new(kind: RefusalKind, problem: Problem) -> Self {
        Self { kind, problem }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, Problem::new(message))
    }

    /// Not in the present state.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Conflict, Problem::new(message))
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, Problem::new(message))
    }

    /// Something doesn't answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Unavailable, Problem::new(message))
    }

    /// Wardian's own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Internal, Problem::new(message))
    }

    /// Something can't be used as it is.
    pub(crate) fn from_problem(problem: Problem) -> Self {
        Self::new(RefusalKind::Conflict, problem)
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem = self.problem.hint(hint);
        self
    }
}

impl From<wardian_store::Error> for Refusal {
    fn from(error: wardian_store::Error) -> Self {
        match error.hint() {
            Some(hint) => Self::new(RefusalKind::Unavailable, problem(&error).hint(hint)),
            None => Self::new(RefusalKind::Internal, problem(&error)),
        }
    }
}

/// An error and its causes, in one sentence.
#[must_use]
pub fn problem(error: &dyn std::error::Error) -> Problem {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.contains(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    Problem::new(message)
}
