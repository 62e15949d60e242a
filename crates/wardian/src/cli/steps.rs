//! What happened to the steps of operations since one last looked: the lines of progress, without any printing.
//!
//! Time is handed in, so that this is a function of its input; [`super::progress`] has the clock and the terminal.

use std::{collections::HashMap, fmt, time::Duration};

use wardian_api::wire::{Operation, Step, StepState};

use super::table::duration;

/// What is known of the steps of one operation.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    seen: HashMap<String, Seen>,
    /// Whether one has looked before.
    looked: bool,
}

#[derive(Debug)]
struct Seen {
    state: StepState,
    began: Option<Duration>,
}

/// A step whose state changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The step.
    pub(crate) name: String,
    /// Its new state.
    pub(crate) state: StepState,
    /// How long it took, when it was seen to begin and to end.
    pub(crate) took: Option<Duration>,
    /// What the daemon adds.
    pub(crate) note: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            StepState::Waiting => "waits",
            StepState::Doing => "begins",
            StepState::Done => "done",
            StepState::Failed => "failed",
        };
        write!(f, "{}  {state}", self.name)?;
        if let Some(took) = self.took {
            write!(f, "  {}", duration(milliseconds(took)))?;
        }
        self.note.as_ref().map_or(Ok(()), |note| write!(f, "  {note}"))
    }
}

impl Steps {
    /// Compares with what was last seen. Steps that have yet to begin make no change; `at` is the time since the
    /// caller began to look.
    pub(crate) fn observe(&mut self, operation: &Operation, at: Duration) -> Vec<Change> {
        let first = !std::mem::replace(&mut self.looked, true);
        operation.steps.iter().filter_map(|step| self.step(step, at, first)).collect()
    }

    fn step(&mut self, step: &Step, at: Duration, first: bool) -> Option<Change> {
        let before = self.seen.get(&step.name);
        if before.is_some_and(|seen| seen.state == step.state) {
            return None;
        }
        let began = match step.state {
            // What was being done when one first looked may have begun at any time before.
            StepState::Doing => Some(at).filter(|_| !first),
            StepState::Waiting => None,
            StepState::Done | StepState::Failed => before.and_then(|seen| seen.began),
        };
        let new = before.is_none();
        self.seen.insert(step.name.clone(), Seen { state: step.state, began });
        if step.state == StepState::Waiting && new {
            return None;
        }
        let ended = matches!(step.state, StepState::Done | StepState::Failed);
        Some(Change {
            name: step.name.clone(),
            state: step.state,
            took: began.filter(|_| ended).map(|began| at.saturating_sub(began)),
            note: step.note.clone(),
        })
    }
}

/// Whole milliseconds; the end of time for more than 64 bits of them.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::operation;

    fn lines(steps: &mut Steps, at: u64, states: &[(&str, StepState)]) -> Vec<String> {
        let operation = operation("store", states);
        steps.observe(&operation, Duration::from_millis(at)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_appears_when_a_step_changes_and_only_then() {
        use StepState::{Doing, Done, Waiting};
        let mut steps = Steps::default();
        let mut all = Vec::new();
        for (at, network, ready) in [
            (0, Waiting, Waiting),
            (10, Doing, Waiting),
            (10, Doing, Waiting),
            (150, Done, Doing),
            (2000, Done, Doing),
            (3950, Done, Done),
            (4000, Done, Done),
        ] {
            all.extend(lines(&mut steps, at, &[("network", network), ("web: ready", ready)]));
        }
        insta::assert_snapshot!(all.join("\n"), @r"
        network  begins
        network  done  0.1s
        web: ready  begins
        web: ready  done  3.8s
        ");
    }

    #[test]
    fn a_step_that_was_not_seen_to_begin_has_no_time() {
        let mut steps = Steps::default();
        assert_eq!(lines(&mut steps, 5, &[("network", StepState::Doing)]), ["network  begins"]);
        assert_eq!(
            lines(&mut steps, 9, &[("network", StepState::Done), ("disks", StepState::Done)]),
            ["network  done", "disks  done"]
        );
    }

    #[test]
    fn a_step_that_is_done_again_says_so() {
        let mut steps = Steps::default();
        lines(&mut steps, 0, &[("network", StepState::Waiting)]);
        lines(&mut steps, 1, &[("network", StepState::Doing)]);
        assert_eq!(lines(&mut steps, 2, &[("network", StepState::Failed)]), ["network  failed  0.0s"]);
        assert_eq!(lines(&mut steps, 3, &[("network", StepState::Waiting)]), ["network  waits"]);
    }
}
