//! Placement: which host each machine of an environment goes to. Here, what an environment may ask of it.

mod rules;

pub use rules::{Group, Policy, Rules, RulesError};
