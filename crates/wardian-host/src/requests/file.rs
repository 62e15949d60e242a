//! Environment files: read, and checked against this host.

use wardian_model::{
    environment::Problem,
    file::{self, Severity, Surroundings},
    name::EnvironmentName,
    size::ByteSize,
    spec::EnvironmentSpec,
};

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

fn refusal(file_name: &str, problems: Vec<String>) -> Refusal {
    let message = match problems.len() {
        1 => format!("{file_name} has a problem"),
        n => format!("{file_name} has {n} problems"),
    };
    let lines = problems.iter().flat_map(|p| p.lines()).map(str::to_owned).collect::<Vec<_>>();
    Refusal::new(RefusalKind::Invalid, Problem::new(message).details(lines))
}
