//! Whether a saved machine can go on here: a pure decision, with a reason that people understand.
//!
//! QEMU keeps device state compatible per versioned machine type, and forward only: a newer QEMU reads what an older
//! one wrote, not the other way (QEMU's `docs/devel/migration/compatibility.rst`). Across major versions machine types
//! go away and nobody here has tried it, so that is refused too.

use super::facts::MemoryFacts;

/// What a machine would be started with here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Version of QEMU: `10.0.2`; what distributions append does not matter.
    pub qemu: String,
    /// The machine types that can be started.
    pub machine_types: Vec<String>,
    /// The accelerator, `tcg` or `kvm`.
    pub accelerator: String,
    /// The processor model a machine would get.
    pub cpu_model: String,
}

/// Why a saved machine cannot go on here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// Another accelerator: the state of processors and clocks differs.
    #[error("the memory of {machine} was saved under {saved}, and machines run under {here} here")]
    Accelerator {
        /// The machine.
        machine: String,
        /// The accelerator it ran with.
        saved: String,
        /// The accelerator here.
        here: String,
    },
    /// The QEMU here cannot build the same devices.
    #[error("the memory of {machine} was saved from a machine of type {saved}, and here there is {here}")]
    MachineType {
        /// The machine.
        machine: String,
        /// Its type.
        saved: String,
        /// The types here, as text.
        here: String,
    },
    /// The QEMU here is older.
    #[error(
        "the memory of {machine} was saved by QEMU {saved}, here is {here}: device state can be read by a newer \
        QEMU, not by an older one"
    )]
    OlderQemu {
        /// The machine.
        machine: String,
        /// The QEMU that saved it.
        saved: String,
        /// The QEMU here.
        here: String,
    },
    /// Another major version.
    #[error(
        "the memory of {machine} was saved by QEMU {saved}, here is {here}: device state is only read within one \
        major version"
    )]
    OtherMajor {
        /// The machine.
        machine: String,
        /// The QEMU that saved it.
        saved: String,
        /// The QEMU here.
        here: String,
    },
    /// Versions that can't be compared.
    #[error("the memory of {machine} was saved by QEMU `{saved}`, here is `{here}`: these versions cannot be compared")]
    UnknownVersion {
        /// The machine.
        machine: String,
        /// The QEMU that saved it.
        saved: String,
        /// The QEMU here.
        here: String,
    },
    /// The guest would lose, or suddenly see, instructions.
    #[error("the memory of {machine} was saved with the processor model {saved}, and machines get {here} here")]
    CpuModel {
        /// The machine.
        machine: String,
        /// The model it had.
        saved: String,
        /// The model here.
        here: String,
    },
}

impl Incompatible {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        const DISKS: &str = "restore the disks only, which boots the machine";
        match self {
            Self::Accelerator { saved, .. } => format!("use a host with {saved}, or {DISKS}"),
            Self::MachineType { .. } => format!("use a QEMU and Wardian that have this type, or {DISKS}"),
            Self::OlderQemu { saved, .. } => {
                format!("upgrade QEMU to {saved} or newer, of the same major version, or {DISKS}")
            }
            Self::OtherMajor { saved, .. } => {
                let major = saved.split('.').next().unwrap_or(saved);
                format!("use a host with QEMU {major}, {saved} or newer, or {DISKS}")
            }
            Self::UnknownVersion { .. } => format!("use the QEMU that saved it, or {DISKS}"),
            Self::CpuModel { saved, .. } => format!("use a host that offers {saved}, or {DISKS}"),
        }
    }
}

/// Whether the machine that `facts` describe can go on `here`: the same kind of accelerator, machine type and processor
/// model, and a QEMU of the same major version that is not older than the one that saved it.
///
/// # Errors
/// The first reason why not.
pub fn compatible(facts: &MemoryFacts, here: &Here) -> Result<(), Incompatible> {
    let machine = facts.machine.clone();
    let both = |saved: &str, here: &str| (machine.clone(), saved.to_owned(), here.to_owned());
    if kind(&facts.accelerator) != kind(&here.accelerator) {
        let (machine, saved, here) = both(kind(&facts.accelerator), kind(&here.accelerator));
        return Err(Incompatible::Accelerator { machine, saved, here });
    }
    let (machine, saved, present) = both(&facts.qemu, &here.qemu);
    match (version(&saved), version(&present)) {
        (Some(older), Some(newer)) if older.0 != newer.0 => {
            // Of an older major it matters more that it is older.
            return Err(if newer < older {
                Incompatible::OlderQemu { machine, saved, here: present }
            } else {
                Incompatible::OtherMajor { machine, saved, here: present }
            });
        }
        (Some(older), Some(newer)) if newer < older => {
            return Err(Incompatible::OlderQemu { machine, saved, here: present });
        }
        (Some(_), Some(_)) => {}
        _ => return Err(Incompatible::UnknownVersion { machine, saved, here: present }),
    }
    if !here.machine_types.contains(&facts.machine_type) {
        let types = if here.machine_types.is_empty() { "none".into() } else { here.machine_types.join(", ") };
        let (machine, saved, here) = both(&facts.machine_type, &types);
        return Err(Incompatible::MachineType { machine, saved, here });
    }
    if facts.cpu_model != here.cpu_model {
        let (machine, saved, here) = both(&facts.cpu_model, &here.cpu_model);
        return Err(Incompatible::CpuModel { machine, saved, here });
    }
    Ok(())
}

/// `tcg` of `tcg,thread=multi`: how it runs does not matter.
fn kind(accelerator: &str) -> &str {
    accelerator.split(',').next().unwrap_or(accelerator)
}

/// The numbers of `10.0.2 (Debian 1:10.0.2+ds-2)`; at least two, `10.0` is `10.0.0`.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let mut parts = text[..end].trim_end_matches('.').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    let micro = parts.next().map_or(Some(0), |micro| micro.parse().ok())?;
    Some((major, minor, micro))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn saved_by(qemu: &str) -> MemoryFacts {
        MemoryFacts {
            qemu: qemu.into(),
            machine_type: "pc-i440fx-8.0".into(),
            accelerator: "tcg".into(),
            cpu_model: "max".into(),
            cpus: 2,
            memory_bytes: 256 << 20,
            created: "2026-11-20T16:16:30Z".into(),
            machine: "web".into(),
        }
    }

    fn here(qemu: &str) -> Here {
        Here {
            qemu: qemu.into(),
            machine_types: vec!["pc-i440fx-9.0".into(), "pc-i440fx-8.0".into()],
            accelerator: "tcg".into(),
            cpu_model: "max".into(),
        }
    }

    #[test]
    fn state_goes_forward_within_a_major_version() {
        for newer in ["10.0.2", "10.0.3", "10.1.0", "10.0.10 (Debian 1:10.0.10+ds-1)", "10.1"] {
            assert_eq!(compatible(&saved_by("10.0.2"), &here(newer)), Ok(()), "{newer}");
        }
    }

    #[test]
    fn state_does_not_go_back_and_both_versions_are_named() {
        let error = compatible(&saved_by("10.1.0"), &here("10.0.2")).unwrap_err();
        assert!(matches!(error, Incompatible::OlderQemu { .. }));
        assert!(error.to_string().contains("web was saved by QEMU 10.1.0, here is 10.0.2"), "{error}");
        assert!(error.hint().contains("upgrade QEMU to 10.1.0") && error.hint().contains("disks only"));
        let error = compatible(&saved_by("10.0.2"), &here("9.2.4")).unwrap_err();
        assert!(matches!(error, Incompatible::OlderQemu { .. }));
    }

    #[test]
    fn state_does_not_cross_a_major_version() {
        let error = compatible(&saved_by("10.0.2"), &here("11.0.0")).unwrap_err();
        assert!(matches!(error, Incompatible::OtherMajor { .. }));
        assert!(error.to_string().contains("10.0.2, here is 11.0.0"), "{error}");
        assert!(error.hint().contains("QEMU 10,"), "{}", error.hint());
    }

    #[test]
    fn a_version_that_is_none_is_refused_and_quoted() {
        for text in ["", "10", "ten.zero", "10.x", "99999999999.1", "10.0.99999999999", "-1.0"] {
            let error = compatible(&saved_by(text), &here("10.0.2")).unwrap_err();
            assert!(matches!(error, Incompatible::UnknownVersion { .. }), "{text}");
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn machine_type_accelerator_and_processor_must_be_the_same() {
        let facts = saved_by("10.0.2");
        let mut other = here("10.0.2");
        other.machine_types = vec!["pc-q35-8.0".into(), "pc-q35-9.0".into()];
        let error = compatible(&facts, &other).unwrap_err();
        assert!(error.to_string().contains("pc-i440fx-8.0, and here there is pc-q35-8.0, pc-q35-9.0"), "{error}");

        let error = compatible(&facts, &Here { accelerator: "kvm".into(), ..here("10.0.2") }).unwrap_err();
        assert!(error.to_string().contains("under tcg, and machines run under kvm"), "{error}");
        assert!(error.hint().contains("host with tcg"));

        let error = compatible(&facts, &Here { cpu_model: "host".into(), ..here("10.0.2") }).unwrap_err();
        assert!(error.to_string().contains("model max, and machines get host"), "{error}");

        let threads = Here { accelerator: "tcg,thread=multi".into(), ..here("10.0.2") };
        assert_eq!(compatible(&facts, &threads), Ok(()));
    }

    proptest! {
        #[test]
        fn of_two_versions_of_a_major_exactly_the_newer_takes_over(a in (0..9u32, 0..9u32), b in (0..9u32, 0..9u32)) {
            let text = |(minor, micro): (u32, u32)| format!("10.{minor}.{micro}");
            let result = compatible(&saved_by(&text(a)), &here(&text(b)));
            prop_assert_eq!(result.is_ok(), a <= b);
        }

        #[test]
        fn no_text_makes_it_panic(qemu in ".{0,20}", here_is in "[0-9.]{0,12}") {
            let _ = compatible(&saved_by(&qemu), &here(&here_is)).map_err(|error| error.hint());
        }
    }
}
