//! What there should be: environments, their words now and in their snapshots; and where chance comes from.

use std::collections::BTreeMap;

use serde_json::Value;

/// All of them.
pub(crate) const FENCES: [&str; 3] = ["open", "out-only", "sealed"];

/// The words of a machine at some moment. No memory, no word in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moment {
    pub(crate) memory: Option<String>,
    pub(crate) disk: Option<String>,
}

/// One environment.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// As the first of its lineage had it.
    pub(crate) inside: Value,
    pub(crate) fence: &'static str,
    pub(crate) runs: bool,
    pub(crate) now: Moment,
    pub(crate) snapshots: BTreeMap<String, Moment>,
}

impl Environment {
    pub(crate) fn new(inside: Value) -> Self {
        Self { inside, fence: "open", runs: true, now: Moment::default(), snapshots: BTreeMap::new() }
    }
}

/// Everything there should be.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) environments: BTreeMap<String, Environment>,
    /// How many environments have started from an image.
    pub(crate) lineages: usize,
    named: u32,
}

impl Model {
    /// A name nothing had before.
    pub(crate) fn new_name(&mut self, kind: &str) -> String {
        self.named += 1;
        format!("{kind}{}", self.named)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.environments.keys().cloned().collect()
    }

    pub(crate) fn of(&mut self, name: &str) -> &mut Environment {
        self.environments.get_mut(name).expect("a name of the model")
    }

    /// All snapshots: whose, their names, and what they keep.
    pub(crate) fn snapshots(&self) -> Vec<(String, String, Moment)> {
        let of = |(name, environment): (&String, &Environment)| {
            let kept = environment.snapshots.clone().into_iter();
            kept.map(|(snapshot, moment)| (name.clone(), snapshot, moment)).collect::<Vec<_>>()
        };
        self.environments.iter().flat_map(of).collect()
    }
}

/// Numbers that look like chance and are the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Nothing when there is nothing to choose from.
    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        let index = self.below(all.len().max(1) as u64);
        all.get(usize::try_from(index).ok()?).cloned()
    }
}
