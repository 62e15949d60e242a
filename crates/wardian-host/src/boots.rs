//! How many machines boot at once: as many as the host has cores.
//!
//! A guest that boots keeps a core busy. More of them at once only take the cores' caches from each other: ten at once
//! on two cores need up to half as much again of the processor as two at a time. So each boot takes a slot, until its
//! guest agent comes up, or the machine idles: one that waits for another must not keep that from booting.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use wardian_machine::Machine;

use crate::controller::agent_comes;

/// A machine that is busy for longer does more than to boot.
const LONGEST: Duration = Duration::from_secs(30);
/// How often the processor time of a machine that boots is looked at. The kernel counts it in hundredths of a second.
const LOOK: Duration = Duration::from_millis(250);

/// The slots of one host. Killed with the daemon: what boots then is not waited for.
pub(crate) struct Boots {
    free: watch::Sender<usize>,
}

/// The right to boot one machine. Dropped, another may.
pub(crate) struct Slot(Arc<Boots>);

impl Boots {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { free: watch::Sender::new(available_parallelism().map_or(1, usize::from)) })
    }

    /// How many slots are free, now and after each change.
    pub(crate) fn free(&self) -> watch::Receiver<usize> {
        self.free.subscribe()
    }

    /// Takes a slot, if one is free.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Slot> {
        let taken = self.free.send_if_modified(|free| match free.checked_sub(1) {
            Some(left) => {
                *free = left;
                true
            }
            None => false,
        });
        taken.then(|| Slot(self.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free.send_modify(|free| *free += 1);
    }
}

impl Slot {
    /// Keeps the slot for as long as a machine that was just started boots.
    pub(crate) fn keep_while_booting(self, machine: Machine) {
        tokio::spawn(async move {
            let mut events = machine.events();
            tokio::select! {
                _ = machine.wait_exit() => {}
                () = agent_comes(&mut events) => {}
                _ = timeout(LONGEST, idles(machine.pid())) => {}
            }
            drop(self);
        });
    }
}

/// Until a process uses less than half a core.
async fn idles(pid: i32) {
    let (mut before, mut since) = (processor_time(pid), Instant::now());
    loop {
        sleep(LOOK).await;
        let (after, now) = (processor_time(pid), Instant::now());
        let (Some(from), Some(to)) = (before, after) else { return };
        if to.saturating_sub(from) < (now - since) / 2 {
            return;
        }
        (before, since) = (after, now);
    }
}

/// What all threads of a process have used of the processors; nothing when it is gone.
fn processor_time(pid: i32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks_of(&stat)?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_millis(ticks * 1000 / u64::try_from(per_second).ok()?))
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)), counted behind the name, which may contain anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_taken_once_and_comes_back() {
        let boots = Boots::new();
        let free = boots.free();
        let all = *free.borrow();
        let slots: Vec<_> = (0..all).map(|_| boots.begin().expect("a free slot")).collect();
        assert!(all > 0 && boots.begin().is_none());
        drop(slots);
        assert_eq!(*free.borrow(), all);
    }

    #[test]
    fn processor_time_is_read_behind_a_name_of_any_shape() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194560 1 0 0 0 250 31 0 0 20 0 3 0 12345 1 2";
        assert_eq!(ticks_of(stat), Some(281));
        assert_eq!(ticks_of("77 (qemu) S 1"), None);
    }

    #[tokio::test]
    async fn who_sleeps_idles_and_who_is_gone_too() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        idles(pid).await;
        child.kill().unwrap();
        child.wait().unwrap();
        idles(pid).await;
    }
}
