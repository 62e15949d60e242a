//! The command line, defined once: parsing, help, man pages and completions all come from these types.
//!
//! What a command does is for the module of its name; how targets are written is for [`super::target`].

mod edge;
mod guest;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use wardian_model::{
    name::{EnvironmentName, ImageName, SnapshotName},
    span::Span,
};

use super::target::{CloneSource, ExpiryTime, HostAddress, SnapshotTarget, clone_count, expiry};
pub(crate) use edge::{Acl, Addresses, Expose, Fence, Gateway, Join, Part};
pub(crate) use guest::{Console, Copy, Exec};

use crate::config::{Accelerator, LabPrefix, Zone};

const AFTER_HELP: &str = "\
Data goes to standard output; messages, progress and errors go to standard error.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (the operation goes on).
`exec` ends with the status of the command it ran.

With --json, standard output carries one JSON document, or one per line from
`events`, and an error is one line on standard error:
{\"error\":{\"message\":…,\"hint\":…,\"details\":[…]}}";

const SUSPEND_HELP: &str = "\
Nobody inside notices, and connections between machines go on afterwards, also
when the host was restarted meanwhile. Connections with the outside are over.
`wardian down` of a suspended environment gives the memory up: it boots then.

Examples:
  wardian suspend store
  wardian resume store           the same as `wardian start store`";

const JOIN_HELP: &str = "\
Write [cluster] into the configuration of a daemon that runs (`wardian daemon
--help` shows it), then run this on that host. The daemon looks at everything
that could be in the way, and changes nothing if anything is. Else it starts
again and brings its environments, images and snapshots along. Machines run on,
and keep their addresses.";

/// Sealed environments of virtual machines: the inside never changes, only the outside does
#[derive(Debug, Parser)]
#[command(name = "wardian", version, after_help = AFTER_HELP, max_term_width = 110, infer_subcommands = false)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The host to talk to: unix:///PATH of its socket
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "WARDIAN_HOST",
        hide_env_values = true,
        default_value = HostAddress::DEFAULT,
        value_hint = ValueHint::Url
    )]
    pub(crate) host: HostAddress,
    /// Print no progress and no messages; errors and data are still printed
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print what is going on in more detail; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up the environment a file describes, and wait until all its machines are ready
    Up(Up),
    /// List the environments
    Ls(Ls),
    /// Say what is wrong and what to do about it; of one environment, how each machine stands
    Status(Status),
    /// Print what happened, oldest first
    Events(Events),
    /// Stop the machines of environments; disks and identities are kept
    Down(Change),
    /// Stop the machines of environments where they are: their memory goes to disk, and `start` goes on from there
    #[command(after_help = SUSPEND_HELP)]
    Suspend(Change),
    /// Start the machines of environments again; those that were suspended go on where they were
    #[command(visible_alias = "resume")]
    Start(Change),
    /// Remove environments with everything that belongs to them
    Rm(Change),
    /// Keep a moment of an environment under a name: memory, devices and disks of all its machines
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Take an environment back to a snapshot; its outside stays its own
    Restore(Restore),
    /// Make new environments whose inside is the same and whose outside is their own
    Clone(CloneEnvironment),
    /// Say what environments would collide in, if they were not isolated
    Conflicts(Conflicts),
    /// Change when an environment is removed by itself
    Expire(Expire),
    /// Print the inside and outside identities of an environment's machines
    Addresses(Addresses),
    /// Say or change what may cross an environment's edge
    Fence(Fence),
    /// Say or change what machines may say to whom, and be told by whom
    Acl(Acl),
    /// Say or change through whom an environment's machines reach the outside
    Gateway(Gateway),
    /// Join two environments: their machines reach each other by their inside addresses
    Join(Join),
    /// Part two environments that were joined
    Part(Part),
    /// Let the outside reach a port of a machine
    Expose(Expose),
    /// Run a command in a machine, through its guest agent
    Exec(Exec),
    /// Attach to a machine's serial console
    Console(Console),
    /// Copy files into or out of a machine, through its guest agent
    Cp(Copy),
    /// Images that machines start from
    #[command(subcommand)]
    Image(Image),
    /// The host itself, and the others it shares its records with
    #[command(subcommand)]
    Host(Host),
    /// What crosses between hosts
    #[command(subcommand)]
    Net(Net),
    /// What would be decided, and why
    #[command(subcommand)]
    Plan(Plan),
    /// Run the daemon of this host
    Daemon(Daemon),
    /// Print the JSON Schema of the environment file
    Schema,
    /// Print the OpenAPI document of the API
    Openapi,
    /// Print the completions for a shell
    Completions(Completions),
    /// Write the man pages into a folder
    Man(Man),
    /// Write the completions and man pages that are checked in
    #[command(hide = true)]
    Generate(Generate),
}

/// `up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wardian up examples/store.yaml
  wardian up examples/store.yaml --name store-2
  wardian up examples/store.yaml --expire 8h --owner ana
  wardian up --check examples/store.yaml")]
pub(crate) struct Up {
    /// The environment file; - is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The name of the environment, instead of the one in the file
    #[arg(long)]
    pub(crate) name: Option<EnvironmentName>,
    /// Only check the file: its form here, and whether it fits the host when a daemon answers
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) check: bool,
    /// Make it, and leave it stopped
    #[arg(long, conflicts_with = "check")]
    pub(crate) no_start: bool,
    /// Remove it by itself after this time, as in 8h, 90m or 2d
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    pub(crate) expire: Option<Span>,
    /// Whose it is, for those who read `wardian ls`
    #[arg(long, value_name = "WHO")]
    pub(crate) owner: Option<String>,
    /// Don't wait until the machines are ready
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Show owners and expiry times also when there are none
    #[arg(short, long)]
    pub(crate) long: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The environment; without it, whatever needs attention on the whole host
    #[arg(value_name = "ENV")]
    pub(crate) environment: Option<EnvironmentName>,
}

/// `events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only what happened to this environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: Option<EnvironmentName>,
    /// Go on printing what happens
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// `down`, `suspend`, `start`, `rm`.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The environments
    #[arg(value_name = "ENV", required = true)]
    pub(crate) environments: Vec<EnvironmentName>,
    /// Don't wait until it is done
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `snapshot …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Take a snapshot; the machines go on as they were, after a pause of milliseconds
    Create(SnapshotCreate),
    /// Print the tree of an environment's snapshots, and where in it the environment is
    Ls(SnapshotLs),
    /// Remove snapshots; those taken after them stay whole
    Rm(SnapshotRm),
}

/// `snapshot create`.
#[derive(Debug, Args)]
#[command(after_help = "\
The last line says how long the machines stood.

Examples:
  wardian snapshot create store before-upgrade
  wardian snapshot create store nightly --disk-only")]
pub(crate) struct SnapshotCreate {
    /// The environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// The snapshot's name, unique in the environment
    #[arg(value_name = "NAME")]
    pub(crate) name: SnapshotName,
    /// Keep the disks only; machines that start from it boot
    #[arg(long)]
    pub(crate) disk_only: bool,
    /// Don't wait until it is taken
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `snapshot ls`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotLs {
    /// The environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
}

/// `snapshot rm`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotRm {
    /// The environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// The snapshots
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<SnapshotName>,
}

/// `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wardian restore store before-upgrade
  wardian restore store-2 store@before-upgrade     a snapshot of another environment with the same inside")]
pub(crate) struct Restore {
    /// The environment that goes back
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// The snapshot to go back to; of another environment with OTHER@
    #[arg(value_name = "[OTHER@]NAME")]
    pub(crate) snapshot: SnapshotTarget,
    /// Don't wait until the machines are ready
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `clone`.
#[derive(Debug, Args)]
#[command(after_help = "\
Machines that run go on in the clone where they are; with --boot they start from their disks.
The last line of each clone says how its machines are reached.

Examples:
  wardian clone store store-2
  wardian clone store@before-upgrade store-2
  wardian clone class student --count 30 --expire 8h     makes student-1 to student-30")]
pub(crate) struct CloneEnvironment {
    /// The environment to clone as it is now, or one of its snapshots
    #[arg(value_name = "ENV[@SNAPSHOT]")]
    pub(crate) source: CloneSource,
    /// The name of the clone; with --count above 1, NAME-1, NAME-2 and so on
    #[arg(value_name = "NAME")]
    pub(crate) name: EnvironmentName,
    /// How many clones, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clone_count)]
    pub(crate) count: u32,
    /// Start from the disks, without the memory
    #[arg(long)]
    pub(crate) boot: bool,
    /// Give the machines other hostnames, addresses and ids inside: they boot and configure themselves anew. Whatever
    /// was configured with the old ones has to be told the new ones
    #[arg(long)]
    pub(crate) customize: bool,
    /// Whose the clones are, for those who read `wardian ls`
    #[arg(long, value_name = "WHO")]
    pub(crate) owner: Option<String>,
    /// Remove the clones by themselves after this time, as in 8h, 90m or 2d
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    pub(crate) expire: Option<Span>,
    /// Don't wait until the machines are ready
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `conflicts`.
#[derive(Debug, Args)]
#[command(after_help = "\
Computer names, addresses, subnets, hardware addresses and system UUIDs are compared. Wardian isolates environments, so
they run side by side all the same; what they would collide in matters where they are not isolated.

Examples:
  wardian conflicts store             with all others
  wardian conflicts store store-2     with each other")]
pub(crate) struct Conflicts {
    /// The environments; one alone is compared with all others
    #[arg(value_name = "ENV", required = true)]
    pub(crate) environments: Vec<EnvironmentName>,
}

/// `expire`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wardian expire store 2h        two hours from now
  wardian expire store never")]
pub(crate) struct Expire {
    /// The environment
    #[arg(value_name = "ENV")]
    pub(crate) environment: EnvironmentName,
    /// How long from now, as in 8h, 90m or 2d; or never
    #[arg(value_name = "TIME|never")]
    pub(crate) when: ExpiryTime,
}

/// `image …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Import a disk: qcow2, raw, vmdk, vhdx or vhd
    Import(ImageImport),
    /// List the images
    Ls,
    /// Remove images that no machine uses
    Rm(ImageRemove),
}

/// `image import`.
#[derive(Debug, Args)]
pub(crate) struct ImageImport {
    /// The name machines call it by
    #[arg(value_name = "NAME")]
    pub(crate) name: ImageName,
    /// The disk, on the host
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// A kernel to boot directly, instead of the disk's boot loader
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) kernel: Option<PathBuf>,
    /// The kernel's initial RAM disk
    #[arg(long, value_name = "FILE", requires = "kernel", value_hint = ValueHint::FilePath)]
    pub(crate) initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    pub(crate) command_line: Option<String>,
}

/// `image rm`.
#[derive(Debug, Args)]
pub(crate) struct ImageRemove {
    /// The images
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<ImageName>,
}

/// `host …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Host {
    /// Say whether this host has what Wardian needs, and what to do where it hasn't
    Check,
    /// List the hosts of the cluster
    Ls,
    /// Bring this host into the cluster that its configuration names by now
    #[command(after_help = JOIN_HELP)]
    Join,
}

/// `net …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Net {
    /// Say what the packet filter of this host has carried to and from the others, and what it has dropped
    Show,
}

/// `plan …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// Say which host an environment would go to
    Place(Place),
}

/// `plan place`.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The environment file; - is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The name of the environment, instead of the one in the file
    #[arg(long)]
    pub(crate) name: Option<EnvironmentName>,
    /// Say why there, and what the other hosts were to it
    #[arg(long)]
    pub(crate) explain: bool,
}

/// `daemon`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = crate::config::HELP)]
pub(crate) struct Daemon {
    /// The configuration; /etc/wardian/wardian.toml by default, if it exists
    #[arg(long, value_name = "F", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Where records and disks are kept
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_directory: Option<PathBuf>,
    /// Where sockets and what else must not outlive a boot is kept
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) run_directory: Option<PathBuf>,
    /// The socket of the API
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
    /// The group that may use the socket
    #[arg(long, value_name = "GROUP")]
    pub(crate) socket_group: Option<String>,
    /// The bridge of the lab network
    #[arg(long, value_name = "NAME")]
    pub(crate) lab_bridge: Option<String>,
    /// The addresses of the lab network
    #[arg(long, value_name = "PREFIX")]
    pub(crate) lab_prefix: Option<LabPrefix>,
    /// The DNS zone of machines' names on the lab network
    #[arg(long, value_name = "ZONE")]
    pub(crate) lab_zone: Option<Zone>,
    /// How guests' instructions are run
    #[arg(long, value_name = "HOW")]
    pub(crate) accelerator: Option<Accelerator>,
    /// The QEMU to run machines with
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(crate) qemu: Option<PathBuf>,
}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder; it is made if need be
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
}

/// `generate`.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The packaging folder
    #[arg(long, value_name = "DIR", default_value = "packaging")]
    pub(crate) directory: PathBuf,
    /// Change nothing; fail when a file is not what it would be made to be
    #[arg(long)]
    pub(crate) check: bool,
}
