//! Set-up, demo, tests, benches and images of Wardian: `cargo xtask --help` lists them.
//!
//! This crate compiles before everything else on a fresh machine, so it stays light: no async runtime, and none of the
//! other crates. It drives `cargo`, the distribution's package tools and the `wardian` binary from outside.

mod bench;
mod check;
mod demo;
mod images;
mod lab;
mod packages;
mod run;
mod shell;
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
    /// Show what Wardian is for: two machines, sealed, cloned, both answering at once
    Demo,
    /// A shell on a host of its own with a running daemon, to try things out
    Shell,
    /// Measure what was promised about speed
    Bench {
        /// Print JSON: an array of name, value, unit, bound, holds
        #[arg(long)]
        json: bool,
        /// Only the benches whose title contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
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
        Task::Demo => demo::run(),
        Task::Shell => shell::run(),
        Task::Bench { json, only } => bench::run(json, only.as_deref()),
        Task::Test { quick } => tests::run(quick),
        Task::Check => check::all(),
        Task::Packages => packages::ensure_for_tests(),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
