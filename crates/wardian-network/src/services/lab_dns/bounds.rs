//! How much one client may ask, so that others get their answers, and nobody gets what he didn't ask for.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Datagrams of one client that are answered within a second. More are told to come by TCP: an address that somebody
/// else wrote into them gets no more bytes than were sent in its name, and a client that means it gets its answer.
const ANSWERED: u32 = 1000;
/// Beyond so many within a second nothing is said at all.
const TOLERATED: u32 = 5000;
/// Clients that are counted one by one; all others together are one more.
const CLIENTS: usize = 4096;
const WINDOW: Duration = Duration::from_secs(1);
/// Open TCP connections.
const CONNECTIONS: usize = 128;
/// Those of one client.
const OF_ONE: usize = 32;

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Answer,
    Prove,
    Drop,
}

/// Counts datagrams.
#[derive(Debug)]
pub(super) struct Rate {
    began: Instant,
    counts: HashMap<IpAddr, u32>,
    others: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { began: Instant::now(), counts: HashMap::new(), others: 0 }
    }
}

impl Rate {
    pub(super) fn count(&mut self, client: IpAddr) -> Verdict {
        self.count_at(client, Instant::now())
    }

    fn count_at(&mut self, client: IpAddr, now: Instant) -> Verdict {
        if now.duration_since(self.began) >= WINDOW {
            self.began = now;
            self.counts.clear();
            self.others = 0;
        }
        let count = if self.counts.len() < CLIENTS || self.counts.contains_key(&client) {
            self.counts.entry(client).or_default()
        } else {
            &mut self.others
        };
        *count = count.saturating_add(1);
        if *count <= ANSWERED {
            Verdict::Answer
        } else if *count <= TOLERATED {
            Verdict::Prove
        } else {
            Verdict::Drop
        }
    }
}

/// Counts connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place. Dropped, it is free.
#[derive(Debug)]
pub(super) struct Place {
    of: Connections,
    client: IpAddr,
}

impl Connections {
    /// A place for `client`, if there is one.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let mut counts = self.counts();
        let all: usize = counts.values().sum();
        let own = counts.get(&client).copied().unwrap_or_default();
        if all >= CONNECTIONS || own >= OF_ONE {
            return None;
        }
        counts.insert(client, own + 1);
        Some(Place { of: self.clone(), client })
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Numbers are whole at every instant.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn a_client_that_asks_too_much_has_to_prove_its_address_and_others_do_not() {
        let mut rate = Rate::default();
        let now = Instant::now();
        let verdicts: Vec<_> = (0..TOLERATED + 1).map(|_| rate.count_at(client(1), now)).collect();
        assert_eq!(verdicts[ANSWERED as usize - 1], Verdict::Answer);
        assert_eq!(verdicts[ANSWERED as usize], Verdict::Prove);
        assert_eq!(verdicts[TOLERATED as usize], Verdict::Drop);
        assert_eq!(rate.count_at(client(2), now), Verdict::Answer);
        assert_eq!(rate.count_at(client(1), now + WINDOW), Verdict::Answer);
    }

    #[test]
    fn any_number_of_addresses_takes_a_bounded_room() {
        let mut rate = Rate::default();
        let now = Instant::now();
        for n in 0..20_000 {
            rate.count_at(client(n), now);
        }
        assert_eq!(rate.counts.len(), CLIENTS);
        assert_eq!(rate.count_at(client(30_000), now), Verdict::Drop);
        assert_eq!(rate.count_at(client(5), now), Verdict::Answer);
    }

    #[test]
    fn one_client_never_has_all_connections_and_places_come_back() {
        let connections = Connections::default();
        let mut held: Vec<_> = (0..OF_ONE).map(|_| connections.enter(client(1)).unwrap()).collect();
        assert!(connections.enter(client(1)).is_none());
        held.extend((0..CONNECTIONS - OF_ONE).map(|n| connections.enter(client(2 + n as u32)).unwrap()));
        assert!(connections.enter(client(9999)).is_none());
        held.clear();
        assert!(connections.counts().is_empty());
        assert!(connections.enter(client(1)).is_some());
    }
}
