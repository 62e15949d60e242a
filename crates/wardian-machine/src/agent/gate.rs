//! The gate calls of the agent pass one at a time: held while the machine stands, and leading on to the successor's
//! agent once it has handed over.
//!
//! QEMU puts what it receives into the guest's memory even while the guest is stopped, which is when that memory is
//! saved; and an answer that is under way then is given by the successor, to nobody. So the gate is held before, and
//! whoever is inside waited for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Agent;

/// Where calls go.
#[derive(Debug, Clone)]
enum Way {
    Open,
    Held,
    To(Agent),
}

/// The machine's side.
#[derive(Debug)]
pub(crate) struct Gate {
    way: watch::Sender<Way>,
    inside: watch::Receiver<bool>,
}

/// The calls' side.
#[derive(Debug)]
pub(crate) struct Entrance {
    way: watch::Receiver<Way>,
    inside: watch::Sender<bool>,
}

/// Where a call is carried out.
pub(super) enum Entered {
    /// Here; [`Entrance::leave`] follows.
    Here,
    /// By the successor's agent.
    There(Agent),
}

/// An open gate.
pub(crate) fn gate() -> (Gate, Entrance) {
    let ((way, seen), (inside, is_inside)) = (watch::channel(Way::Open), watch::channel(false));
    (Gate { way, inside: is_inside }, Entrance { way: seen, inside })
}

impl Gate {
    /// Lets nobody in. Fine when it is held.
    pub(crate) fn hold(&self) {
        self.turn(|way| matches!(way, Way::Open), Way::Held);
    }

    /// Lets calls in again. Fine when it is open; one that leads elsewhere stays so.
    pub(crate) fn open(&self) {
        self.turn(|way| matches!(way, Way::Held), Way::Open);
    }

    /// Sends all to `agent`, also those that are held.
    pub(crate) fn lead_to(&self, agent: Agent) {
        self.turn(|_| true, Way::To(agent));
    }

    /// Waits within `limit` until nobody is inside; gives whether nobody is.
    pub(crate) async fn empty(&self, limit: Duration) -> bool {
        let mut inside = self.inside.clone();
        // When the other side is gone, so are all calls.
        timeout(limit, inside.wait_for(|inside| !inside)).await.is_ok()
    }

    fn turn(&self, from: impl FnOnce(&Way) -> bool, to: Way) {
        self.way.send_if_modified(|way| {
            let turns = from(way);
            if turns {
                *way = to;
            }
            turns
        });
    }
}

impl Entrance {
    /// Waits within `limit` until calls may go on; `None` when that is over.
    pub(super) async fn enter(&mut self, limit: Duration) -> Option<Entered> {
        let passing = async {
            loop {
                match self.way.wait_for(|way| !matches!(way, Way::Held)).await.as_deref() {
                    Ok(Way::To(agent)) => return Entered::There(agent.clone()),
                    Ok(_) => {}
                    // Whoever could hold it is gone, and that is as good as open.
                    Err(_) => return Entered::Here,
                }
                self.inside.send_replace(true);
                // Looked at once more: whoever has held it just now has perhaps not seen us.
                if matches!(*self.way.borrow(), Way::Open) {
                    return Entered::Here;
                }
                self.inside.send_replace(false);
            }
        };
        timeout(limit, passing).await.ok()
    }

    pub(super) fn leave(&self) {
        self.inside.send_replace(false);
    }
}
