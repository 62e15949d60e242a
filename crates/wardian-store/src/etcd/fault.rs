//! What a failed call means: whether another member may do better, whether it may have happened all the same, and what
//! to tell people.

use std::error::Error as StdError;
use std::sync::Arc;

use tonic::{Code, Status};

use super::connect::ConnectError;
use crate::error::{Cause, CertificateFault};

/// A call that has failed, at one member.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// Whether the call may have taken effect.
    pub(super) maybe_done: bool,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing came in time.
    Silent,
    /// There is no connection.
    Unreachable,
    /// The connection broke, and didn't say why.
    Lost,
    /// A certificate is refused.
    Certificate(CertificateFault),
    /// The member is there, but without the others.
    NoQuorum,
    /// An answer: the revision asked for has been compacted away.
    Compacted,
    /// An answer: there is no such lease.
    NoLease,
    /// An answer: no, for another reason.
    Refused,
}

impl Kind {
    /// Whether another member would say the same.
    pub(super) fn is_answer(self) -> bool {
        matches!(self, Self::Compacted | Self::NoLease | Self::Refused)
    }

    /// How much it says about what is wrong; what says more is what people are told.
    pub(super) fn weight(self) -> u8 {
        match self {
            Self::Silent => 0,
            Self::Unreachable | Self::Lost => 1,
            Self::Certificate(_) => 2,
            Self::NoQuorum => 3,
            Self::Compacted | Self::NoLease | Self::Refused => 4,
        }
    }
}

impl Fault {
    /// What a failed call says.
    pub(super) fn new(status: &Status) -> Self {
        if let Some(error) = find::<ConnectError>(status) {
            return Self::connect(error);
        }
        let text = status.message().to_owned();
        let (kind, maybe_done) = match text.strip_prefix("etcdserver: ") {
            // The second is said until the members have agreed on a version.
            Some("no leader" | "not capable") => (Kind::NoQuorum, false),
            // Another member may have time, or be no learner.
            Some("too many requests" | "rpc not supported for learner") => (Kind::Unreachable, false),
            Some("leader changed") => (Kind::NoQuorum, true),
            Some(said) if said.starts_with("request timed out") => (Kind::NoQuorum, true),
            Some("server stopped") => (Kind::Lost, true),
            Some("mvcc: required revision has been compacted") => (Kind::Compacted, false),
            Some("requested lease not found") => (Kind::NoLease, false),
            Some(_) => (Kind::Refused, false),
            // The connection was gone before the call was put on it.
            None if find::<hyper::Error>(status).is_some_and(hyper::Error::is_canceled) => (Kind::Lost, false),
            None if is_transport(status) => (Kind::Lost, true),
            None => (Kind::Refused, false),
        };
        Self { kind, maybe_done, text: deepest(status).unwrap_or(text) }
    }

    /// There is no connection, so nothing has happened.
    pub(super) fn connect(error: &ConnectError) -> Self {
        let kind = match error {
            ConnectError::Unreachable(_) => Kind::Unreachable,
            ConnectError::Certificate { fault, .. } => Kind::Certificate(*fault),
        };
        Self { kind, maybe_done: false, text: error.to_string() }
    }

    /// An answer that says no in other words.
    pub(super) fn refused(text: String) -> Self {
        Self { kind: Kind::Refused, maybe_done: false, text }
    }

    /// Nothing came in time.
    pub(super) fn silent() -> Self {
        Self { kind: Kind::Silent, maybe_done: true, text: "no answer in time".to_owned() }
    }

    /// The same, now that it is known to be for a certificate.
    pub(super) fn because(self, error: &ConnectError) -> Self {
        Self { maybe_done: self.maybe_done, ..Self::connect(error) }
    }

    /// With the address it was met at.
    pub(super) fn at(self, address: &str) -> Self {
        Self { text: format!("{address}: {}", self.text), ..self }
    }

    /// As the cause of an error.
    pub(super) fn cause(&self) -> Cause {
        cause(self.text.clone())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// A text as the cause of an error.
pub(super) fn cause(text: String) -> Cause {
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(String);
    Arc::new(Said(text))
}

/// A cause of that kind, of a call that failed on the way.
fn find<E: StdError + 'static>(status: &Status) -> Option<&E> {
    let mut next = StdError::source(status);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        next = error.source();
    }
    None
}

/// The cause below all others, for a call that failed on the way: those above it say no more than that.
fn deepest(status: &Status) -> Option<String> {
    let mut deepest = StdError::source(status)?;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    Some(deepest.to_string())
}

/// Whether it was made up on the way, and is no answer of etcd's.
fn is_transport(status: &Status) -> bool {
    StdError::source(status).is_some()
        || matches!(
            status.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::Internal
                | Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::DataLoss
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_is_told_apart() {
        for (code, text, kind, maybe_done) in [
            (Code::Unavailable, "etcdserver: no leader", Kind::NoQuorum, false),
            (Code::Unavailable, "etcdserver: request timed out", Kind::NoQuorum, true),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost", Kind::NoQuorum, true),
            (Code::Unavailable, "etcdserver: leader changed", Kind::NoQuorum, true),
            (Code::Unavailable, "transport is closing", Kind::Lost, true),
            (Code::NotFound, "etcdserver: requested lease not found", Kind::NoLease, false),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Kind::Compacted, false),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Kind::Refused, false),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", Kind::Refused, false),
        ] {
            let fault = Fault::new(&Status::new(code, text));
            assert_eq!((fault.kind, fault.maybe_done), (kind, maybe_done), "{text}");
        }
    }
}
