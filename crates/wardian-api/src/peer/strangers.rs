//! Who has connected and not shown yet that it is a host: not many at once from one address.
//!
//! Machines can reach the port, too, where the fence of their environment lets them out. They must not use up what the
//! daemon needs for others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The most from one address. A host needs one for the moment in which a request of a user begins.
const MOST: usize = 128;

/// How many there are from each address. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    all: Strangers,
    from: IpAddr,
}

impl Strangers {
    /// One more from this address; nothing when that is too many.
    pub(super) fn enter(&self, from: IpAddr) -> Option<Stranger> {
        let mut all = self.lock();
        let there = all.get(&from).copied().unwrap_or_default();
        if there >= MOST {
            return None;
        }
        all.insert(from, there + 1);
        drop(all);
        Some(Stranger { all: self.clone(), from })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing under the lock leaves half a value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        match all.get_mut(&self.from) {
            Some(there) if *there > 1 => *there -= 1,
            _ => drop(all.remove(&self.from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_so_many_places_and_others_their_own() {
        let strangers = Strangers::default();
        let (one, other) = (IpAddr::from([10, 1, 0, 1]), IpAddr::from([10, 1, 0, 2]));
        let mut inside: Vec<_> = (0..MOST).map(|_| strangers.enter(one).unwrap()).collect();
        assert!(strangers.enter(one).is_none());
        assert!(strangers.enter(other).is_some());
        inside.pop();
        let again = strangers.enter(one).unwrap();
        assert!(strangers.enter(one).is_none());
        drop((inside, again));
        // Nothing is remembered of those that left.
        assert!(strangers.lock().is_empty());
    }
}
