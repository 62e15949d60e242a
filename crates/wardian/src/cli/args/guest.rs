//! The arguments of what is done inside a machine: exec, console, cp.

use clap::{Args, ValueHint};

use wardian_model::span::Span;

use crate::cli::target::{Location, MachineTarget};

/// `exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
The command's output is passed on, and wardian ends with its exit status, or with 128 + N when signal N ended it.
When the command could not be run at all, wardian says why and ends with 1.

Example:
  wardian exec store/web -- sh -c 'uptime; df -h'")]
pub(crate) struct Exec {
    /// The machine
    #[arg(value_name = "ENV/MACHINE")]
    pub(crate) target: MachineTarget,
    /// Pass standard input on, up to its end
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// How long the command may take, as in 90s or 5m; 60s by default
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// `console`.
#[derive(Debug, Args)]
#[command(after_help = "\
What the console printed last comes first. Detach with ctrl-]. When standard input is not a terminal, what the
console prints is passed on until it ends.")]
pub(crate) struct Console {
    /// The machine
    #[arg(value_name = "ENV/MACHINE")]
    pub(crate) target: MachineTarget,
    /// Only print what the console printed last, and end
    #[arg(long)]
    pub(crate) tail: bool,
}

/// `cp`.
#[derive(Debug, Args)]
#[command(after_help = "\
One side is ENV/MACHINE:PATH with an absolute PATH, the other a local path (write ./a/b:c for a local name with a
colon). A destination that is a folder, or ends in /, keeps the file's name. Permission bits are kept.

Examples:
  wardian cp site.tar store/web:/tmp/
  wardian cp store/web:/var/log/messages .
  wardian cp -r site store/web:/srv")]
pub(crate) struct Copy {
    /// What to copy
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    pub(crate) source: Location,
    /// Where to
    #[arg(value_name = "DST", value_hint = ValueHint::AnyPath)]
    pub(crate) destination: Location,
    /// Copy a folder with all it contains (the machine needs `tar`)
    #[arg(short, long)]
    pub(crate) recursive: bool,
}
