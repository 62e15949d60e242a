//! What the filter has carried, and what it has dropped and why.

use std::{collections::BTreeMap, fmt};

use wardian_model::vsid::Vsid;

/// Why the filter drops a frame, in the order of `bpf/tables.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It came out of a device that is no switch's.
    NoPort,
    /// It is of a subnet that this host has no switch of.
    NoSwitch,
    /// It has an 802.1Q tag.
    Tagged,
    /// It is neither IPv4 nor ARP.
    NotIpv4,
    /// It does not fit into a frame of the physical network.
    TooBig,
    /// Its sender's hardware address is not one that speaks from there.
    ForgedMac,
    /// Its sender's customer address is not that of its hardware address.
    ForgedAddress,
    /// Nobody has its receiver's hardware address there.
    UnknownDestination,
    /// It was sent by a provider address that is no host of the subnet's, or, where addresses are rewritten, no
    /// machine's of the domain.
    UnknownSender,
    /// It came in another envelope than the subnet's.
    WrongEncapsulation,
    /// It is cut off, or makes no sense.
    Malformed,
    /// It stays on its host: it has no sender's address yet, as when asking for one, or it is what a gateway says to
    /// all.
    NotCarried,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NoPort,
        Self::NoSwitch,
        Self::Tagged,
        Self::NotIpv4,
        Self::TooBig,
        Self::ForgedMac,
        Self::ForgedAddress,
        Self::UnknownDestination,
        Self::UnknownSender,
        Self::WrongEncapsulation,
        Self::Malformed,
        Self::NotCarried,
    ];

    /// As it is written in JSON and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoPort => "no-port",
            Self::NoSwitch => "no-switch",
            Self::Tagged => "tagged",
            Self::NotIpv4 => "not-ipv4",
            Self::TooBig => "too-big",
            Self::ForgedMac => "forged-mac",
            Self::ForgedAddress => "forged-address",
            Self::UnknownDestination => "unknown-destination",
            Self::UnknownSender => "unknown-sender",
            Self::WrongEncapsulation => "wrong-encapsulation",
            Self::Malformed => "malformed",
            Self::NotCarried => "not-carried",
        }
    }
}

/// As a sentence about the frames that were dropped.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoPort => "they came out of a device that is no switch's",
            Self::NoSwitch => "this host has no switch of their subnet",
            Self::Tagged => "they have an 802.1Q tag",
            Self::NotIpv4 => "they are neither IPv4 nor ARP; every guest that tries IPv6 sends some",
            Self::TooBig => "they don't fit into a frame of the physical network; senders that can be told are told",
            Self::ForgedMac => "their sender's hardware address is not one that speaks from there",
            Self::ForgedAddress => "their sender's address is not that of its hardware address",
            Self::UnknownDestination => "nobody there has their receiver's hardware address",
            Self::UnknownSender => "they were sent by an address that is no host of the subnet's",
            Self::WrongEncapsulation => "they came in another envelope than the subnet's",
            Self::Malformed => "they are cut off, or make no sense",
            Self::NotCarried => "they stay on their host: they have no sender's address yet, as when asking for one",
        })
    }
}

/// What was carried for one subnet. Bytes count frames as machines see them, without envelopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// To other hosts. A broadcast counts once.
    pub packets_out: u64,
    /// To other hosts.
    pub bytes_out: u64,
    /// From other hosts.
    pub packets_in: u64,
    /// From other hosts.
    pub bytes_in: u64,
}

impl Carried {
    /// The four sums as the filter lays them out; one of them for each processor is added.
    pub(super) fn add(&mut self, value: [u64; 4]) {
        self.packets_out += value[0];
        self.bytes_out += value[1];
        self.packets_in += value[2];
        self.bytes_in += value[3];
    }
}

/// Everything the filter of a host has counted since its tables were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterCounters {
    /// By subnet.
    pub carried: BTreeMap<Vsid, Carried>,
    /// Frames, by reason; each is there.
    pub dropped: BTreeMap<Reason, u64>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_word_and_a_sentence_of_its_own() {
        let words: BTreeSet<_> = Reason::ALL.map(Reason::word).into();
        let sentences: BTreeSet<_> = Reason::ALL.map(|reason| reason.to_string()).into();
        assert_eq!((words.len(), sentences.len()), (Reason::ALL.len(), Reason::ALL.len()));
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '4')));
    }
}
