//! Set-up, demo, tests, benches and images of Wardian: `cargo xtask --help` lists them.
//!
//! This crate compiles before everything else on a fresh machine, so it stays light: no async runtime, and none of the
//! other crates. It drives `cargo`, the distribution's package tools and the `wardian` binary from outside.

mod check;
mod images;
mod packages;
mod run;
mod tests;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo, tests, benches and images of Wardian")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build guest images into target/wardian-images (kept while their inputs stay the same)
    Images {
        /// Which one
        #[arg(default_value = "all")]
        name: images::Which,
    },
    /// Run the tests: packages, checks, images, then unit, part and story tests
    Test {
        /// Leave out the stories, lints and documentation
        #[arg(long)]
        quick: bool,
    },
    /// Formatting, lints, documentation, crate arrows, file sizes, licences
    Check,
    /// Install the packages the other tasks need
    Packages,
}

fn main() -> std::process::ExitCode {
    let result = match Arguments::parse().task {
        Task::Images { name } => packages::ensure().and_then(|()| images::build(name)),
        Task::Test { quick } => tests::run(quick),
        Task::Check => check::all(),
        Task::Packages => packages::ensure(),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
