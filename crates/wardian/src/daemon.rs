//! The daemon: puts store, network, machines, vault, controllers and API together.

use crate::config::Config;

/// Runs until it is told to stop.
///
/// # Errors
/// When it can't start.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    anyhow::bail!("this build has no daemon; it would keep its state in {}", config.state_directory.display())
}
