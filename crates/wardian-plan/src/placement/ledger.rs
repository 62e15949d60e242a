//! What each host still has to give, and the hosts in the order of how loaded they are.
//!
//! Hosts are numbers here, in the order of their names: so what is the same but for the name goes by the name, whatever
//! order the hosts came in.

use std::collections::BTreeSet;

use super::input::{Host, Limits, Size};

/// A host's place in the order of names.
pub(super) type HostIndex = u32;

/// What machines take together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// In bytes.
    pub(super) memory: u64,
    pub(super) cpus: u64,
}

impl Need {
    /// A sum that no host can have is as good as any other.
    pub(super) const fn and(self, other: Self) -> Self {
        Self { memory: self.memory.saturating_add(other.memory), cpus: self.cpus.saturating_add(other.cpus) }
    }

    /// What of it is above `other`.
    pub(super) const fn above(self, other: Self) -> Self {
        Self { memory: self.memory.saturating_sub(other.memory), cpus: self.cpus.saturating_sub(other.cpus) }
    }

    pub(super) const fn is_nothing(self) -> bool {
        self.memory == 0 && self.cpus == 0
    }

    const fn fits(self, free: Self) -> bool {
        self.memory <= free.memory && self.cpus <= free.cpus
    }
}

impl From<Size> for Need {
    fn from(size: Size) -> Self {
        Self { memory: size.memory.as_bytes(), cpus: size.cpus.into() }
    }
}

/// How loaded a host is: the larger of the shares of memory and processors that are taken, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load(u64);

impl Load {
    fn of(used: Need, all: Need) -> Self {
        let share = |used: u64, all: u64| match all {
            0 => u64::MAX,
            all => u64::try_from(u128::from(used) * 1_000_000 / u128::from(all)).unwrap_or(u64::MAX),
        };
        Self(share(used.memory, all.memory).max(share(used.cpus, all.cpus)))
    }

    /// In percent, rounded down.
    pub(super) const fn percent(self) -> u64 {
        self.0 / 10_000
    }
}

/// One host.
#[derive(Debug, Clone)]
struct Room {
    all: Need,
    used: Need,
    load: Load,
    /// Whether it takes anything new.
    open: bool,
}

/// All hosts.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    rooms: Vec<Room>,
    /// Those that take anything new, the least loaded first.
    by_load: BTreeSet<(Load, HostIndex)>,
}

impl Ledger {
    pub(super) fn new<'a>(hosts: impl IntoIterator<Item = &'a Host>, limits: Limits) -> Self {
        let mut ledger = Self { rooms: Vec::new(), by_load: BTreeSet::new() };
        for host in hosts {
            let all = Need {
                // The largest number is a sum that was too large, and fits nowhere.
                memory: host.memory.as_bytes().min(u64::MAX - 1),
                cpus: u64::from(host.cores) * u64::from(limits.vcpus_per_core.get()),
            };
            let used = host.machines.iter().fold(Need::default(), |sum, placed| sum.and(placed.size.into()));
            ledger.add(all, used, host.up && !host.paused);
        }
        ledger
    }

    /// Adds a host behind the others.
    pub(super) fn add(&mut self, all: Need, used: Need, open: bool) {
        let load = Load::of(used, all);
        if open {
            self.by_load.insert((load, index(self.rooms.len())));
        }
        self.rooms.push(Room { all, used, load, open });
    }

    /// Lets a host take new machines.
    pub(super) fn open(&mut self, host: HostIndex) {
        let room = &mut self.rooms[host as usize];
        room.open = true;
        self.by_load.insert((room.load, host));
    }

    /// Gives a host this much more.
    pub(super) fn enlarge(&mut self, host: HostIndex, by: Need) {
        self.rooms[host as usize].all = self.rooms[host as usize].all.and(by);
        self.change(host, |_| ());
    }

    pub(super) fn hosts(&self) -> std::ops::Range<HostIndex> {
        0..index(self.rooms.len())
    }

    /// Whether it takes anything new, and has this much.
    pub(super) fn fits(&self, host: HostIndex, need: Need) -> bool {
        self.rooms[host as usize].open && need.fits(self.free(host))
    }

    pub(super) fn free(&self, host: HostIndex) -> Need {
        let room = &self.rooms[host as usize];
        room.all.above(room.used)
    }

    pub(super) fn all(&self, host: HostIndex) -> Need {
        self.rooms[host as usize].all
    }

    pub(super) fn load(&self, host: HostIndex) -> Load {
        self.rooms[host as usize].load
    }

    /// Takes what [`Self::fits`].
    pub(super) fn take(&mut self, host: HostIndex, need: Need) {
        debug_assert!(self.fits(host, need), "more is taken than there is");
        self.change(host, |used| *used = used.and(need));
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, host: HostIndex, need: Need) {
        self.change(host, |used| *used = used.above(need));
    }

    fn change(&mut self, host: HostIndex, change: impl FnOnce(&mut Need)) {
        let room = &mut self.rooms[host as usize];
        let before = room.load;
        change(&mut room.used);
        room.load = Load::of(room.used, room.all);
        if room.open && room.load != before {
            let after = room.load;
            self.by_load.remove(&(before, host));
            self.by_load.insert((after, host));
        }
    }

    /// Those that take anything new, the least loaded first, of equally loaded ones by name.
    pub(super) fn least_loaded(&self) -> impl Iterator<Item = HostIndex> {
        self.by_load.iter().map(|(_, host)| *host)
    }

    /// The most loaded of those that are `good`, of equally loaded ones the first by name.
    pub(super) fn most_loaded(&self, good: impl Fn(HostIndex) -> bool) -> Option<HostIndex> {
        let (load, _) = self.by_load.iter().rev().find(|(_, host)| good(*host))?;
        self.by_load.range((*load, 0)..=(*load, HostIndex::MAX)).map(|(_, host)| *host).find(|host| good(*host))
    }
}

/// There is no memory for so many hosts that they can't be counted so.
fn index(at: usize) -> HostIndex {
    HostIndex::try_from(at).expect("fewer than 2^32 hosts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_model::size::ByteSize;

    fn host(mib: u64, cores: u32) -> Host {
        Host { memory: ByteSize::mib(mib), cores, up: true, paused: false, machines: Vec::new() }
    }

    fn need(mib: u64, cpus: u64) -> Need {
        Need { memory: mib << 20, cpus }
    }

    #[test]
    fn the_larger_of_both_shares_counts() {
        let mut ledger = Ledger::new(&[host(1000, 10), host(1000, 10)], Limits::default());
        ledger.take(0, need(100, 20));
        ledger.take(1, need(300, 4));
        assert_eq!((ledger.load(0).percent(), ledger.load(1).percent()), (50, 30));
        assert_eq!(ledger.least_loaded().collect::<Vec<_>>(), [1, 0]);
        assert_eq!(ledger.most_loaded(|_| true), Some(0));
        ledger.give_back(0, need(100, 20));
        assert_eq!(ledger.least_loaded().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn of_equally_loaded_hosts_the_first_by_name_is_taken_either_way() {
        let ledger = Ledger::new(&[host(8, 1), host(16, 1), host(32, 1)], Limits::default());
        assert_eq!(ledger.least_loaded().next(), Some(0));
        assert_eq!(ledger.most_loaded(|host| host != 0), Some(1));
    }

    #[test]
    fn nothing_fits_where_there_is_nothing_left_or_never_was_anything() {
        let full = Need { memory: u64::MAX, cpus: 1 };
        let boundless = Host { memory: ByteSize::bytes(u64::MAX), ..host(0, 1) };
        let ledger = Ledger::new(&[host(0, 0), boundless], Limits::default());
        assert!(!ledger.fits(0, need(1, 0)) && !ledger.fits(0, need(0, 1)));
        assert!(ledger.fits(1, need(1, 4)) && !ledger.fits(1, need(1, 5)) && !ledger.fits(1, full.and(full)));
        let closed =
            Ledger::new(&[Host { paused: true, ..host(8, 1) }, Host { up: false, ..host(8, 1) }], Limits::default());
        assert!(closed.least_loaded().next().is_none() && !closed.fits(0, need(1, 1)) && !closed.fits(1, need(1, 1)));
    }
}
