//! `wardian daemon`: reads the configuration, begins to log, and hands over to [`crate::daemon`].

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;
use wardian_model::environment;

use super::{
    args,
    failure::{Failure, Problem},
};
use crate::config::Config;

pub(crate) fn run(flags: &args::Daemon, verbose: u8) -> Result<(), Failure> {
    let config = Config::load(flags).map_err(|error| Problem::from(environment::Problem::from(error)))?;
    log(verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("can't start the runtime: {error}")))?;
    let outcome = runtime.block_on(crate::daemon::run(config)).map_err(|error| problem(error).into());
    // What runs on other threads by now is not worth waiting for: every step can be interrupted.
    runtime.shutdown_background();
    outcome
}

/// Logs to standard error: warnings and what is worth knowing, more with `-v`; `WARDIAN_LOG` has filters.
pub(crate) fn log(verbose: u8) {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("WARDIAN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // Someone else's subscriber is as good as ours.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .try_init();
}

/// A chain of causes as one problem: the outermost, then why, in one line each.
fn problem(error: anyhow::Error) -> Problem {
    match error.downcast::<environment::Problem>() {
        Ok(problem) => problem.into(),
        Err(error) => {
            let causes: Vec<String> = error.chain().skip(1).map(|cause| format!("because {cause}")).collect();
            Problem::new(error.to_string()).details(causes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Style;

    #[test]
    fn a_daemon_that_cannot_start_says_why() {
        let error = anyhow::Error::from(std::io::Error::other("disk is on fire")).context("can't open the store");
        assert_eq!(problem(error).text(Style::PLAIN), "error: can't open the store\n  because disk is on fire\n");
        let known = environment::Problem::new("the socket is taken").hint("stop the other daemon");
        assert_eq!(
            problem(known.into()).text(Style::PLAIN),
            "error: the socket is taken\nhint: stop the other daemon\n"
        );
    }
}
