//! Which machines are in service at the ports they share: those that are ready, and whose probe still succeeds.

use wardian_model::{environment::Out, machine::MachinePhase, spec::Probe};

/// Why a machine is out, by the phase it has if it runs, what its probe says if that is known, and why it was out.
#[must_use]
pub fn judge(
    phase: Option<&MachinePhase>,
    probe: Option<&Probe>,
    answers: Option<bool>,
    before: Option<&Out>,
) -> Option<Out> {
    let probe = probe.filter(|probe| **probe != Probe::Agent);
    let silent = probe.map(|probe| Out::Silent { probe: probe.to_string() });
    match (phase, answers) {
        (None | Some(MachinePhase::Stopped { .. } | MachinePhase::Failed { .. }), _) => Some(Out::Stopped),
        (Some(MachinePhase::Booting { .. }), _) => Some(Out::Booting),
        (Some(MachinePhase::Stopping { .. }), _) => Some(Out::Stopping),
        (Some(MachinePhase::Paused { .. }), _) => Some(Out::Paused),
        (Some(MachinePhase::Ready { .. } | MachinePhase::Unready { .. }), Some(true)) => None,
        (Some(MachinePhase::Ready { .. }), Some(false)) | (Some(MachinePhase::Unready { .. }), Some(false) | None) => {
            silent
        }
        // As it did, until it is known. Who has just become ready has answered.
        (Some(MachinePhase::Ready { .. }), None) => silent.filter(|silent| before == Some(silent)),
    }
}

#[cfg(test)]
mod tests {
    use wardian_model::{Timestamp, environment::Problem, machine::Process};

    use super::*;

    #[test]
    fn a_machine_is_in_service_while_it_runs_and_serves() {
        let (process, since) = (Process { pid: 1, start_time: 1 }, Timestamp::UNIX_EPOCH);
        let problem = || Problem::new("something");
        let ready = MachinePhase::Ready { process, since, after_ms: 1 };
        let unready = MachinePhase::Unready { process, since, problem: problem() };
        let (booting, stopping) = (MachinePhase::Booting { process, since }, MachinePhase::Stopping { process, since });
        let paused = MachinePhase::Paused { process, since, problem: problem() };
        let failed = MachinePhase::Failed { problem: problem() };
        let tcp = Probe::Tcp(std::num::NonZeroU16::MIN);
        let silent = Out::Silent { probe: "tcp 1".into() };

        for probe in [&tcp, &Probe::Agent] {
            for answers in [None, Some(true), Some(false)] {
                let out = |phase| judge(phase, Some(probe), answers, None);
                assert_eq!((out(None), out(Some(&failed))), (Some(Out::Stopped), Some(Out::Stopped)));
                assert_eq!((out(Some(&booting)), out(Some(&stopping))), (Some(Out::Booting), Some(Out::Stopping)));
                assert_eq!(out(Some(&paused)), Some(Out::Paused));
            }
        }
        let out = |phase, answers, before: Option<&Out>| judge(Some(phase), Some(&tcp), answers, before);
        assert_eq!((out(&ready, Some(true), Some(&silent)), out(&unready, Some(true), Some(&silent))), (None, None));
        assert_eq!(out(&ready, Some(false), None), Some(silent.clone()));
        assert_eq!(out(&unready, Some(false), None), Some(silent.clone()));
        // Not known: who is ready has just answered, unless it was out before this daemon was there.
        assert_eq!((out(&ready, None, None), out(&ready, None, Some(&Out::Booting))), (None, None));
        assert_eq!(out(&ready, None, Some(&silent)), Some(silent.clone()));
        assert_eq!(out(&unready, None, None), Some(silent));
        // An agent is asked nothing.
        for phase in [&ready, &unready] {
            assert_eq!(judge(Some(phase), Some(&Probe::Agent), None, None), None);
        }
    }
}
