//! Environment files: read, and checked against this host.

use wardian_model::{
    environment::Problem,
    file::{self, Finding, Part, Severity, Surroundings},
    name::EnvironmentName,
    size::ByteSize,
    spec::EnvironmentSpec,
};
use wardian_plan::placement::{Rules, RulesError};

use crate::{Host, Refusal, RefusalKind, aliases, memory};

/// A file that is right for this host.
#[derive(Debug, Clone)]
pub struct CheckedFile {
    /// What it asks for.
    pub spec: EnvironmentSpec,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

impl Host {
    /// Reads an environment file and checks what depends on this host: images, memory, the lab network.
    ///
    /// # Errors
    /// With every problem found, each with its place in the file.
    pub async fn read_file_text(
        &self,
        text: &str,
        file_name: &str,
        name: Option<&EnvironmentName>,
    ) -> Result<CheckedFile, Refusal> {
        let read = file::read(text, file_name)
            .map_err(|error| refusal(file_name, error.problems.iter().map(ToString::to_string).collect()))?;
        let surroundings = Surroundings {
            lab: self.shared.config.lab.prefix,
            // Of several hosts, the one it goes to says whether it fits.
            memory_total: memory::total().map(ByteSize::bytes).filter(|_| self.shared.config.member.is_none()),
            images: Some(self.images().await?.into_iter().map(|image| image.name).collect()),
        };
        let mut found = read.locate(file::check_on(&read.spec, &surroundings));
        found.extend(read.locate(placement(&read.spec, self.shared.config.member.is_none()).into_iter().collect()));
        found.extend(read.warnings.iter().cloned());
        let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|d| d.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(refusal(file_name, errors.iter().map(ToString::to_string).collect()));
        }
        let mut spec = read.spec;
        if let Some(name) = name {
            spec.name = name.clone();
        }
        let overlap = aliases::overlap(&spec.network.domain, self.shared.config.aliases.zone());
        Ok(CheckedFile { spec, warnings: warnings.iter().map(ToString::to_string).chain(overlap).collect() })
    }
}

/// What of `placement` can't be, or does nothing on a host that is alone.
fn placement(spec: &EnvironmentSpec, alone: bool) -> Option<Finding> {
    let finding = |path: String, severity, problem| Finding { path, part: Part::Key, severity, problem };
    if let Err(error) = Rules::of(spec) {
        let path = match &error {
            RulesError::UnknownMachine { group, .. }
            | RulesError::Twice { group, .. }
            | RulesError::Alone { group, .. }
            | RulesError::Empty { group } => format!("placement/{group}"),
            RulesError::Contradiction { .. } => "placement".to_owned(),
        };
        return Some(finding(path, Severity::Error, Problem::new(error.to_string())));
    }
    let without_effect = alone && !spec.placement.is_default();
    without_effect.then(|| {
        let problem = Problem::new("this host is alone, so `placement` has no effect: all machines will be on it")
            .hint("`wardian daemon --help` shows [cluster], with which hosts share their records");
        finding("placement".to_owned(), Severity::Warning, problem)
    })
}

fn refusal(file_name: &str, problems: Vec<String>) -> Refusal {
    let message = match problems.len() {
        1 => format!("{file_name} has a problem"),
        n => format!("{file_name} has {n} problems"),
    };
    let lines = problems.iter().flat_map(|p| p.lines()).map(str::to_owned).collect::<Vec<_>>();
    Refusal::new(RefusalKind::Invalid, Problem::new(message).details(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(placement_of_it: &str, alone: bool) -> Vec<String> {
        let text =
            format!("name: store\nmachines: {{ web: {{ image: micro }}, db: {{ image: micro }} }}\n{placement_of_it}");
        let read = file::read(&text, "store.yaml").unwrap();
        read.locate(placement(&read.spec, alone).into_iter().collect()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn placement_on_a_host_that_is_alone_is_warned_of_and_what_is_so_anyway_is_not() {
        for quiet in ["", "placement: { policy: together }\n"] {
            assert!(found(quiet, true).is_empty(), "{quiet}");
        }
        let spread = "placement: { policy: spread }\n";
        assert!(found(spread, false).is_empty());
        let said = found(spread, true);
        assert_eq!(said.len(), 1);
        for part in ["warning: this host is alone", "store.yaml:3:1", "3 | placement:"] {
            assert!(said[0].contains(part), "{part}: {}", said[0]);
        }
    }

    #[test]
    fn groups_that_cannot_hold_are_errors_at_their_place_in_the_file() {
        let unknown = found("placement:\n  policy: spread\n  apart: [ [ web, cache ] ]\n", false);
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].starts_with("error: a group of apart names cache"), "{}", unknown[0]);
        assert!(unknown[0].contains("store.yaml:5:3"), "{}", unknown[0]);
        let both = found("placement: { same-host: [[web, db]], apart: [[db, web]] }\n", true);
        assert_eq!(both.len(), 1, "what can't be is not warned of as well: {both:?}");
        assert!(both[0].contains("must be apart, and on the same host"), "{}", both[0]);
        assert!(both[0].contains("store.yaml:3:1"), "{}", both[0]);
    }
}
