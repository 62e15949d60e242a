//! Everything a user types and reads.
//!
//! * [`args`] defines the command line once, [`target`] how things are named on it;
//! * one module for each command: ask the daemon, print the answer;
//! * [`output`] and [`table`] print, [`failure`] tells what went wrong, [`progress`] and [`steps`] follow operations;
//! * [`generate`] makes completions and man pages from the definitions.
//!
//! The daemon's answers are printed, not interpreted: with `--json` they are the wire types as they came.

mod acl;
mod addresses;
pub(crate) mod args;
mod change;
mod clone;
mod conflicts;
mod console;
mod cp;
mod events;
mod exec;
mod expire;
mod expose;
mod failure;
mod fence;
#[cfg(test)]
mod fixtures;
mod gateway;
mod generate;
mod host;
mod image;
mod join;
mod ls;
mod net;
mod output;
mod plan;
mod progress;
mod restore;
mod run_daemon;
mod snapshot;
mod status;
mod steps;
mod table;
mod target;
mod tree;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use wardian_client::Client;

use args::{Arguments, Command};
use failure::Failure;
use output::Output;
use target::HostAddress;

/// What every command needs: where to print, and whom to ask.
struct Session {
    output: Output,
    host: HostAddress,
}

impl Session {
    /// Connects to the daemon.
    async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.host.socket).await?)
    }
}

/// Parses the command line, does what it says, and tells what went wrong. Wrong usage ends with 2.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(&arguments.global);
    match run(arguments, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Failure::Problem(problem) | Failure::Usage(problem) = &failure {
                output.problem(problem);
            }
            failure.code()
        }
    }
}

fn run(Arguments { global, command }: Arguments, output: Output) -> Result<(), Failure> {
    match command {
        Command::Daemon(flags) => return run_daemon::run(&flags, global.verbose),
        Command::Schema => return generate::schema(output),
        Command::Openapi => return generate::openapi(output),
        Command::Completions(arguments) => return generate::completions(output, arguments.shell),
        Command::Man(arguments) => return generate::man(output, &arguments.directory),
        Command::Generate(arguments) => return generate::packaging(output, &arguments),
        _ => {}
    }
    if global.verbose > 0 {
        run_daemon::log(global.verbose);
    }
    // One thread: most commands make one request and are gone.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("can't start the runtime: {error}")))?;
    let outcome = runtime.block_on(ask(&Session { output, host: global.host }, command));
    // A read of the keyboard can't be cancelled; waiting for it would wait for another key.
    runtime.shutdown_background();
    outcome
}

async fn ask(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(arguments) => up::run(session, arguments).await,
        Command::Ls(arguments) => ls::run(session, &arguments).await,
        Command::Status(arguments) => status::run(session, arguments).await,
        Command::Events(arguments) => events::run(session, arguments).await,
        Command::Down(arguments) => change::run(session, change::Verb::Down, arguments).await,
        Command::Suspend(arguments) => change::run(session, change::Verb::Suspend, arguments).await,
        Command::Start(arguments) => change::run(session, change::Verb::Start, arguments).await,
        Command::Rm(arguments) => change::run(session, change::Verb::Remove, arguments).await,
        Command::Snapshot(command) => snapshot::run(session, command).await,
        Command::Restore(arguments) => restore::run(session, arguments).await,
        Command::Clone(arguments) => clone::run(session, arguments).await,
        Command::Conflicts(arguments) => conflicts::run(session, arguments).await,
        Command::Expire(arguments) => expire::run(session, arguments).await,
        Command::Fence(arguments) => fence::run(session, arguments).await,
        Command::Acl(arguments) => acl::run(session, arguments).await,
        Command::Gateway(arguments) => gateway::run(session, arguments).await,
        Command::Addresses(arguments) => addresses::run(session, arguments).await,
        Command::Join(arguments) => join::run(session, arguments).await,
        Command::Part(arguments) => join::part(session, arguments).await,
        Command::Expose(arguments) => expose::run(session, arguments).await,
        Command::Exec(arguments) => exec::run(session, arguments).await,
        Command::Console(arguments) => console::run(session, arguments).await,
        Command::Cp(arguments) => cp::run(session, arguments).await,
        Command::Image(command) => image::run(session, command).await,
        Command::Host(command) => host::run(session, command).await,
        Command::Net(command) => net::run(session, command).await,
        Command::Plan(command) => plan::run(session, command).await,
        Command::Daemon(_)
        | Command::Schema
        | Command::Openapi
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Generate(_) => unreachable!("done without a runtime by the caller"),
    }
}
