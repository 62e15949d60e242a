//! From a machine's tap to its successor's, for all machines of an environment at once and inside of a pause.
//!
//! Both taps are ports of the switch, and one of them passes nothing. What passes is turned by a setting of each port:
//! first off where it was on, then on where it was off, so a frame that comes in between reaches neither. One that a
//! processor was just handing to all ports while both were turned may lie in both queues; as only one of the two
//! processes ever runs on, its machine sees it once.

use std::fmt;

use wardian_model::{id::EnvironmentId, name::MachineName};
use wardian_plan::network::NetworkPlan;

use crate::{
    error::NetworkError,
    kernel::{
        message::{Passing, port_message},
        netlink::Netlink,
    },
};

/// A hand-over that is ready to be done, and to be undone. Holds nothing but a socket; dropped, everything stays as it
/// is.
///
/// Any number can be ready at a time, and nothing is locked: whoever cuts an environment does so alone.
///
/// Its functions block, for as long as the kernel takes: some 50 µs per machine.
pub struct HandOver {
    environment: EnvironmentId,
    netlink: Netlink,
    moves: Vec<Move>,
}

impl fmt::Debug for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOver").field("environment", &self.environment).field("moves", &self.moves).finish()
    }
}

#[derive(Debug)]
struct Move {
    machine: MachineName,
    /// Index of the tap that is left; none when there is none.
    from: Option<u32>,
    /// Index and name of the tap that takes over.
    to: (u32, String),
}

impl HandOver {
    /// Runs in the environment's namespace.
    pub(crate) fn prepare(plan: &NetworkPlan, moves: &[(MachineName, String)]) -> Result<Self, NetworkError> {
        let environment = plan.environment;
        let doing = || NetworkError::kernel(format!("look for the taps of environment {environment}"));
        let mut netlink = Netlink::open().map_err(doing())?;
        let links = netlink.links().map_err(doing())?;
        let index = |name: &str| links.iter().find(|l| l.name == name).map(|l| l.index);
        let moves = moves.iter().map(|(machine, to)| {
            let taps = || plan.all_taps().map(|(_, tap)| tap).filter(|t| t.machine == *machine);
            if taps().next().is_none() {
                return Err(NetworkError::NoMachine { environment, machine: machine.clone() });
            }
            let no_tap = || NetworkError::NoTap { machine: machine.clone(), tap: to.clone() };
            let tap = taps().find(|t| t.names().contains(&&**to)).ok_or_else(no_tap)?;
            let to = (index(to).ok_or_else(no_tap)?, to.clone());
            let from = tap.names().into_iter().find(|name| *name != to.1).and_then(index);
            Ok(Move { machine: machine.clone(), from, to })
        });
        let moves = moves.collect::<Result<_, _>>()?;
        Ok(Self { environment, netlink, moves })
    }

    /// From now on the machines' frames pass by the taps they were to be handed over to, and by no others. The switch
    /// has forgotten that it ever saw them elsewhere. Can be repeated.
    ///
    /// # Errors
    /// [`NetworkError::NoTap`] when a tap that shall take over is gone. The others were handed over all the same;
    /// [`Self::back`] undoes it.
    pub fn go(&mut self) -> Result<(), NetworkError> {
        let off = self.moves.iter().filter_map(|m| m.from).collect();
        let on = self.moves.iter().map(|m| m.to.0).collect();
        match self.turn(off, on)?.first() {
            Some(gone) => Err(self.no_tap(*gone)),
            None => Ok(()),
        }
    }

    /// Undoes [`Self::go`], whether or not it was done: the machines' frames pass by the taps they had before. A tap
    /// that is gone by now, with its process, is no error. Can be repeated.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn back(&mut self) -> Result<(), NetworkError> {
        let both: Vec<(u32, u32)> = self.moves.iter().filter_map(|m| Some((m.from?, m.to.0))).collect();
        let (on, off) = both.into_iter().unzip();
        self.turn(off, on).map(drop)
    }

    /// Answers those of `on` that are gone.
    fn turn(&mut self, off: Vec<u32>, on: Vec<u32>) -> Result<Vec<u32>, NetworkError> {
        let all: Vec<(u32, Passing)> = [(&off, Passing::Nothing), (&on, Passing::Frames)]
            .into_iter()
            .flat_map(|(links, passing)| links.iter().map(move |link| (*link, passing)))
            .collect();
        let messages = all.iter().map(|(link, passing)| port_message(*link, *passing)).collect();
        let results = self.netlink.change_all(messages);
        let mut gone = Vec::new();
        for (result, (link, passing)) in results.into_iter().zip(all) {
            match result {
                Ok(()) => {}
                Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {
                    if passing == Passing::Frames {
                        gone.push(link);
                    }
                }
                Err(e) => {
                    let doing = format!("hand over the machines of environment {}", self.environment);
                    return Err(NetworkError::kernel(doing)(e));
                }
            }
        }
        Ok(gone)
    }

    fn no_tap(&self, link: u32) -> NetworkError {
        let of = self.moves.iter().find(|m| m.to.0 == link);
        match of {
            Some(Move { machine, to: (_, tap), .. }) => {
                NetworkError::NoTap { machine: machine.clone(), tap: tap.clone() }
            }
            None => NetworkError::NoEnvironment { environment: self.environment },
        }
    }
}
