//! `wardian daemon`: reads the configuration, begins to log, and hands over to [`crate::daemon`].

use std::{
    io::{IsTerminal as _, stderr},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use tracing_subscriber::EnvFilter;
use wardian_model::environment;

use super::{
    args,
    failure::{Failure, Problem},
};
use crate::{config::Config, daemon::Ended};

/// The program of this process.
const OWN: &str = "/proc/self/exe";

/// How long what other threads do may take before the daemon starts again.
const END: Duration = Duration::from_secs(2);

pub(crate) fn run(flags: &args::Daemon, verbose: u8) -> Result<(), Failure> {
    let config = Config::load(flags).map_err(|error| Problem::from(environment::Problem::from(error)))?;
    log(verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("can't start the runtime: {error}")))?;
    let outcome = runtime.block_on(crate::daemon::run(flags, config));
    match outcome {
        Ok(Ended::Again) => {
            // What ends soon leaves nothing to the next daemon that this one has begun, such as a child to be
            // collected.
            runtime.shutdown_timeout(END);
            Err(again())
        }
        outcome => {
            // What runs on other threads by now is not worth waiting for: every step can be interrupted.
            runtime.shutdown_background();
            outcome.map(|_| ()).map_err(|error| problem(error).into())
        }
    }
}

/// Becomes the next daemon: the same process with the same arguments and environment, so that whoever watches it sees
/// nothing. All it has open closes (every descriptor is close-on-exec), but for standard error and the like. Returns
/// only when that fails; everything is as after a crash then.
fn again() -> Failure {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| "wardian".into());
    let error = Command::new(program()).arg0(name).args(words).exec();
    Failure::new(format!("the daemon can't start itself again: {error}"))
}

/// The program this is, or what has been put in its place meanwhile.
fn program() -> PathBuf {
    let own = std::fs::read_link(OWN).unwrap_or_default();
    // So the kernel says that a file was removed or replaced (proc_pid_exe(5)).
    let path = own.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map_or(own.clone(), PathBuf::from);
    if path.is_file() { path } else { OWN.into() }
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
