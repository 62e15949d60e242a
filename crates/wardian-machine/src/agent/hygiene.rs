//! What a clone's guest is done for its own good: fresh randomness. (Its clock is set with [`Agent::set_time`].)

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tokio::time::Instant;

use super::commands::read;
use super::{Agent, AgentError};

/// Where Linux and the BSDs take randomness from whoever writes it.
const POOL: &str = "/dev/urandom";
/// What closing has, when no time is left: enough to be sent.
const CLOSE: Duration = Duration::from_millis(1);

impl Agent {
    /// Mixes `bytes` into the random pool of the guest (Linux, BSD), all within `limit`. A few dozen bytes of real
    /// randomness are plenty: two clones then draw different numbers even if their kernel knows no VM generation id.
    pub async fn reseed(&self, bytes: &[u8], limit: Duration) -> Result<(), AgentError> {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let open = "guest-file-open";
        let handle = self.execute(open, Some(json!({ "path": POOL, "mode": "w" })), left()).await?;
        let handle: i64 = read(open, handle)?;
        let arguments = json!({ "handle": handle, "buf-b64": BASE64_STANDARD.encode(bytes) });
        let written = self.execute("guest-file-write", Some(arguments), left()).await;
        // Closed in any case, and that is what makes the agent hand the bytes on; what went wrong first is what counts.
        let closed = self.execute("guest-file-close", Some(json!({ "handle": handle })), left().max(CLOSE)).await;
        written?;
        closed.map(drop)
    }
}
