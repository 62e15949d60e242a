//! What a daemon does to come into a cluster: whoever put it together knows its configuration and can start it again.

use async_trait::async_trait;

use crate::{backend::Refusal, wire::JoinReport};

/// A daemon that is alone, and may be told to come into a cluster.
#[async_trait]
pub trait Joining: Send + Sync + 'static {
    /// Looks at everything that could be in the way, and changes nothing.
    ///
    /// # Errors
    /// What is in the way.
    async fn check(&self) -> Result<JoinReport, Refusal>;

    /// Starts the daemon again, once it has answered what it was asked.
    fn restart(&self);
}
