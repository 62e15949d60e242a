//! Which machines get new connections at ports they share: those that are ready, and whose probe still succeeds.
//!
//! Each host sees to the machines that it has, and writes down who is out in the environment's record: there the host
//! with the edge finds it, and so does this one after a restart. Until somebody has asked anew, a machine counts as it
//! did.
//!
//! A machine's phase is not touched: "ready" goes on to mean "was ready once since its start". A machine whose
//! readiness is its guest agent's (the default) is in service while it runs: an agent says nothing of a service.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};
use wardian_model::{
    environment::{Desired, EnvironmentRecord, Out},
    machine::{MachinePhase, MachineRecord, Process},
    name::MachineName,
    record::Record,
    spec::Probe,
};
use wardian_plan::service;

use super::{Controller, Done, observe::Observed, stop::process_of};

/// Between two questions. A machine that fails is out within three of these, and a probe every two seconds is nothing
/// to a guest.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// How many failures in a row put a machine out: one may be a segment that was lost. One success puts it in again: who
/// answers, serves.
pub(super) const FAILURES: u32 = 2;

/// Machines that are being asked.
pub(super) type Asked = HashMap<MachineName, Asking>;

/// One that is.
pub(super) struct Asking {
    process: Process,
    /// Whether its probe succeeds; nothing as long as that isn't known.
    answers: watch::Receiver<Option<bool>>,
    abort: AbortHandle,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Controller {
    /// Asks who has to be asked, and writes down who is out.
    pub(super) async fn see_to_shares(&mut self, observed: &Observed) -> wardian_store::Result<()> {
        let environment = &observed.environment;
        // Machines change processes in a cut, which is not the end of any.
        if self.cutting {
            return Ok(());
        }
        let is_shared = environment.shares().iter().any(|share| share.len() > 1);
        if environment.desired == Desired::Removed || !is_shared && environment.out.is_empty() {
            self.asked.clear();
            return Ok(());
        }
        let mut changes = Vec::new();
        let shared = self.shared.clone();
        for (name, record) in observed.machines.iter().filter(|(name, _)| shared.has(environment, name)) {
            let out = if environment.is_sharing(name) {
                self.ask(environment, name, record);
                self.out(environment, name, record)
            } else {
                self.asked.remove(name);
                None
            };
            if environment.out.get(name) != out.as_ref() {
                changes.push((name.clone(), out));
            }
        }
        if changes.is_empty() { Ok(()) } else { self.write_down(environment, changes).await }
    }

    /// Begins to ask a machine that has come so far, and leaves one alone that has gone.
    fn ask(&mut self, environment: &EnvironmentRecord, name: &MachineName, record: &MachineRecord) {
        let may_answer = matches!(record.phase, MachinePhase::Ready { .. } | MachinePhase::Unready { .. });
        let has_probe = probe(environment, name).is_some_and(|probe| *probe != Probe::Agent);
        let Some(process) = self.living(name).map(process_of).filter(|_| may_answer && has_probe) else {
            self.asked.remove(name);
            return;
        };
        if self.asked.get(name).is_some_and(|asking| asking.process == process) {
            return;
        }
        let (say, answers) = watch::channel(None);
        let task = self.task(environment, record);
        let wake: Arc<Notify> = self.wake.clone();
        let abort = self.tasks.spawn(async move {
            task.keep_asking(&say, &wake).await;
            Done::Look
        });
        self.asked.insert(name.clone(), Asking { process, answers, abort });
    }

    /// Why a machine here is out, if it is.
    fn out(&self, environment: &EnvironmentRecord, name: &MachineName, record: &MachineRecord) -> Option<Out> {
        let phase = Some(&record.phase).filter(|_| self.living(name).is_some());
        let answers = self.asked.get(name).and_then(|asking| *asking.answers.borrow());
        service::judge(phase, probe(environment, name), answers, environment.out.get(name))
    }

    async fn write_down(
        &self,
        environment: &EnvironmentRecord,
        changes: Vec<(MachineName, Option<Out>)>,
    ) -> wardian_store::Result<()> {
        let records = &self.shared.records;
        let change = |now: &mut EnvironmentRecord| {
            let before = now.out.clone();
            if now.id == self.id {
                for (name, out) in &changes {
                    match out {
                        Some(out) if now.is_sharing(name) => drop(now.out.insert(name.clone(), out.clone())),
                        _ => drop(now.out.remove(name)),
                    }
                }
            }
            now.out != before
        };
        records.update::<EnvironmentRecord>(&environment.key(), change).await?;
        // What comes of starts and stops needs no word of its own.
        for (name, out) in changes {
            let was = environment.out.get(&name);
            match (was, &out) {
                (_, Some(out @ Out::Silent { .. })) => {
                    let message = format!("gets no new connections at ports it shares: {out}");
                    records.say(&self.name, Some(&name), message).await;
                }
                (Some(Out::Silent { .. }), None) => {
                    records.say(&self.name, Some(&name), "gets new connections at ports it shares again").await;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn probe<'a>(environment: &'a EnvironmentRecord, name: &MachineName) -> Option<&'a Probe> {
    environment.spec.machines.get(name).map(|machine| &machine.ready.probe)
}
