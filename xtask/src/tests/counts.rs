//! How many tests passed, failed and were skipped, read from the summary lines of nextest and of the standard harness.

use std::fmt;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// Only tests that were asked for and did not run; those of another kind do not count.
    pub(super) skipped: usize,
    /// Whether the command ended well: false as well when something did not compile.
    pub(super) good: bool,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.good &= other.good;
    }

    /// Takes in one line of output.
    pub(super) fn read(&mut self, line: &str) {
        // What a failed test has printed is indented by nextest, the harness's summary of it too: it is in the other's.
        let line = match line.strip_prefix("    ") {
            Some(indented) if indented.trim_start().starts_with("test result: ") => return,
            _ => line.trim(),
        };
        if let Some(rest) = line.strip_prefix("Summary [") {
            // `Summary [ 1.2s] 40 tests run: 39 passed (1 slow), 1 failed, 0 skipped`; here "skipped" are the tests of
            // the other kinds.
            let rest = rest.split_once(" run: ").map_or("", |(_, rest)| rest);
            self.passed += before(rest, "passed");
            self.failed += before(rest, "failed") + before(rest, "timed out");
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            // `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
            self.passed += before(rest, "passed");
            self.failed += before(rest, "failed");
            self.skipped += before(rest, "ignored");
        }
    }
}

/// The number right before a word.
fn before(text: &str, word: &str) -> usize {
    text.split([',', ';', '.'])
        .filter_map(|part| part.trim().split_once(' '))
        .find(|(_, rest)| rest.starts_with(word))
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_harnesses_are_understood() {
        let mut counts = Counts::default();
        counts.read("     Summary [   8.911s] 42 tests run: 39 passed (2 slow), 2 failed, 1 timed out, 7 skipped");
        counts.read("test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.1s");
        counts.read("test something ... ok");
        counts.read(
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out; finished in 20.33s",
        );
        assert_eq!(counts, Counts { passed: 42, failed: 4, skipped: 2, good: false });
        assert_eq!(counts.to_string(), "42 passed, 4 failed, 2 skipped");
    }
}
