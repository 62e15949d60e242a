//! Sealed environments of virtual machines: the command line, and the daemon that does the work.
//!
//! Wiring only. [`cli`] is everything a user types and reads, [`config`] what the daemon is told, [`daemon`] how its
//! parts are put together; what those parts do is in the other crates.

mod cli;
mod config;
mod daemon;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
