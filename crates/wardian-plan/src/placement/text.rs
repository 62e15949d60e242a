//! Decisions and refusals in words.

use std::fmt;

use wardian_model::{name::MachineName, size::ByteSize};

use super::{
    choose::Why,
    explain::{Decision, Obstacle, Standing},
    refusal::{Refusal, Remedy},
};

/// `a`, `a and b`, `a, b and c`.
fn list(items: &[String], last: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

fn machines(names: &[MachineName]) -> String {
    list(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), "and")
}

/// An amount that people read: one decimal where it is no whole number of a unit, rounded down. What is missing is
/// rounded up, so that as much as is said is enough.
fn amount(size: ByteSize, up: bool) -> String {
    let bytes = size.as_bytes();
    let Some((shift, unit)) = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")].iter().find(|(s, _)| bytes >> s > 0)
    else {
        return format!("{bytes} B");
    };
    let tenths = u128::from(bytes) * 10;
    let tenths = if up { tenths.div_ceil(1 << shift) } else { tenths >> shift };
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// Memory and processors, as far as there are any.
fn room(memory: ByteSize, cpus: u64) -> String {
    let processors = if cpus == 1 { "1 vCPU".to_owned() } else { format!("{cpus} vCPUs") };
    match (memory.as_bytes(), cpus) {
        (0, _) => processors,
        (_, 0) => amount(memory, true),
        _ => format!("{} and {processors}", amount(memory, true)),
    }
}

impl fmt::Display for Obstacle {
    /// As a predicate of the host: `is paused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => write!(f, "is down"),
            Self::Paused => write!(f, "is paused"),
            Self::Memory { missing } => write!(f, "lacks {} of memory", amount(*missing, true)),
            Self::Cpus { missing } => write!(f, "lacks {}", room(ByteSize::bytes(0), *missing)),
            Self::Apart { machine, from } => write!(f, "runs {from}, which {machine} must be apart from"),
            Self::SameHost { machine, with, on } => {
                write!(f, "does not run {with} ({on} does), which {machine} must be with")
            }
            Self::Together { on } => {
                let on = list(&on.iter().map(ToString::to_string).collect::<Vec<_>>(), "and");
                write!(f, "is not where its environment is kept together ({on})")
            }
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fits { load } => write!(f, "would do, {load} % loaded"),
            Self::Unfit(obstacles) => {
                write!(f, "{}", list(&obstacles.iter().map(ToString::to_string).collect::<Vec<_>>(), "and"))
            }
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, free, memory, load, .. } = self;
        write!(
            f,
            "{} on {host}: {} of {} free",
            machines(&self.machines),
            amount(*free, false),
            amount(*memory, false)
        )?;
        let joins = machines(&self.joins);
        match self.why {
            Why::Stays => return write!(f, "; is there already, and what is placed stays"),
            Why::Joins => write!(f, " after it; chosen because {joins} is there, which it goes with"),
            Why::LeastLoaded => write!(f, " after it; chosen because it is the least loaded that fits, {load} %"),
            Why::Fresh => write!(
                f,
                " after it; chosen because it is the least loaded without a machine of the environment, {load} %"
            ),
            Why::Fewest => write!(
                f,
                " after it; chosen because all that fit have machines of the environment, and it has the fewest"
            ),
            Why::Filled => {
                write!(f, " after it; chosen because machines of the environment are there, and it fits too")
            }
            Why::MostLoaded => {
                write!(f, " after it; chosen because it is the most loaded that the rest fits, {load} %")
            }
            Why::Roomiest => {
                write!(f, " after it; chosen because no host has room for all the rest, and it has the most")
            }
            Why::Tried => write!(f, " after it; chosen because with the hosts of first choice not all had come out"),
        }?;
        self.others.iter().try_for_each(|(name, standing)| write!(f, "; {name} {standing}"))
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resume(host) => write!(f, "resume {host}"),
            Self::Return(host) => write!(f, "bring {host} back"),
            Self::Policy(policy) => write!(f, "let it lie on several hosts (policy {policy})"),
            Self::Room { host, memory, cpus } => write!(f, "make room for {} more on {host}", room(*memory, *cpus)),
            Self::Host { memory, cpus } => write!(f, "add a host with room for {}", room(*memory, *cpus)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, memory, cpus, .. } = self;
        let (who, room) = (machines(&self.machines), room(*memory, *cpus));
        write!(f, "{environment} can't be placed: no host takes {who} ({room})")?;
        if !self.before.is_empty() {
            let before: Vec<_> = self.before.iter().map(|(machine, host)| format!("{machine} on {host}")).collect();
            write!(f, " with {}", list(&before, "and"))?;
        }
        let hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|(name, obstacles)| format!("{name} {}", Standing::Unfit(obstacles.clone())))
            .collect();
        match hosts.as_slice() {
            [] => write!(f, ": there are no hosts")?,
            hosts => write!(f, ": {}", hosts.join("; "))?,
        }
        if !self.certain {
            write!(f, ". Not every way was tried")?;
        }
        match self.remedies.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice() {
            [] => write!(f, ". Ask for less, or change its groups"),
            remedies => write!(f, ". What would help: {}", list(remedies, "or")),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_rounded_up_and_what_is_there_down() {
        let odd = ByteSize::bytes((3 << 30) + 1);
        assert_eq!((amount(odd, false).as_str(), amount(odd, true).as_str()), ("3 GiB", "3.1 GiB"));
        assert_eq!(amount(ByteSize::mib(1536), false), "1.5 GiB");
        assert_eq!(amount(ByteSize::bytes(7), true), "7 B");
        assert_eq!(amount(ByteSize::bytes(u64::MAX), true), "16777216 TiB");
    }
}
