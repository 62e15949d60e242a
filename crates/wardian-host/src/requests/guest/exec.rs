//! A command in a guest, whichever process its machine is while it runs.
//!
//! The agent's numbers of processes live in the guest, so a command that was started is asked for with the successor's
//! agent. Calls that were held back for a cut go there by themselves; what was under way for too long loses its answer.

use std::{pin::pin, time::Duration};

use tokio::time::timeout;
use wardian_machine::{
    AgentError, Machine,
    agent::{Exec, ExecOutput, ExecWait, GuestProcess},
};

use super::{agent, life::Life};
use crate::Refusal;

/// How much earlier than its end a process may give up its connections.
const LAST: Duration = Duration::from_millis(500);

/// Why there is no answer.
enum Unanswered {
    /// The machine has handed over meanwhile.
    Lost,
    /// The machine has ended meanwhile.
    Ended(Refusal),
    /// The machine runs, and no agent in it.
    Absent(Refusal),
    /// The agent refuses, or can't be asked.
    Refused(Refusal),
}

/// Runs it and waits for what it leaves.
pub(super) async fn run(life: &mut Life, exec: &Exec) -> Result<ExecOutput, Refusal> {
    let mut wait = ExecWait::new(exec);
    let process = begin(life, exec).await?;
    let mut unanswered = false;
    loop {
        let machine = life.now().clone();
        let outcome = match answer(life, &machine, machine.agent().exec_outcome(process)).await {
            Ok(outcome) => outcome,
            Err(Unanswered::Lost) => {
                // Told once, an agent forgets it.
                unanswered = true;
                continue;
            }
            Err(Unanswered::Ended(refusal)) => return Err(unknown(refusal, exec)),
            Err(Unanswered::Refused(_) | Unanswered::Absent(_)) if unanswered => {
                return Err(cut(life, exec, "had ended"));
            }
            Err(Unanswered::Absent(_)) => return Err(gone(life, exec)),
            Err(Unanswered::Refused(refusal)) => return Err(refusal),
        };
        unanswered = false;
        if let Some(output) = outcome {
            return Ok(output);
        }
        wait.again(process).await.map_err(|error| agent(&life.environment, &life.name, &error))?;
    }
}

/// Starts it once.
async fn begin(life: &mut Life, exec: &Exec) -> Result<GuestProcess, Refusal> {
    if exec.argv.is_empty() {
        return Err(Refusal::invalid("no program was named"));
    }
    let machine = life.now().clone();
    answer(life, &machine, machine.agent().exec_begin(exec)).await.map_err(|unanswered| match unanswered {
        // Not tried again: it may have been started.
        Unanswered::Lost => cut(life, exec, "was to be started"),
        Unanswered::Ended(refusal) => unknown(refusal, exec),
        Unanswered::Refused(refusal) | Unanswered::Absent(refusal) => refusal,
    })
}

/// The answer to a call of the agent of `machine`, which is the life's process. Afterwards that is one that lives.
async fn answer<T>(
    life: &mut Life,
    machine: &Machine,
    call: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, Unanswered> {
    let mut call = pin!(call);
    let mut moved = false;
    let answer = tokio::select! {
        answer = &mut call => answer,
        _ = machine.wait_exit() => {
            life.next().await.map_err(Unanswered::Ended)?;
            moved = true;
            // If it was held back, the successor's agent carries it out; if not, it ends with the connection.
            call.await
        }
    };
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) if error.is_absence() && timeout(LAST, machine.wait_exit()).await.is_ok() => {
            if !moved {
                life.next().await.map_err(Unanswered::Ended)?;
            }
            Err(Unanswered::Lost)
        }
        Err(error) => {
            let refusal = agent(&life.environment, &life.name, &error);
            Err(if error.is_absence() { Unanswered::Absent(refusal) } else { Unanswered::Refused(refusal) })
        }
    }
}

/// The process that was asked has handed over with the answer under way, and an agent says nothing twice.
fn cut(life: &Life, exec: &Exec, when: &str) -> Refusal {
    let program = exec.argv.first().map_or("the command", String::as_str);
    let (environment, name) = (&life.environment, &life.name);
    Refusal::unavailable(format!(
        "{environment}/{name} was cut just when {program} {when}, and the agent's answer is lost"
    ))
    .hint("look in the guest whether it has run, and run it again if not")
}

/// Who restarts a guest by a command in it ends the agent that would tell of it.
fn gone(life: &Life, exec: &Exec) -> Refusal {
    let program = exec.argv.first().map_or("the command", String::as_str);
    let (environment, name) = (&life.environment, &life.name);
    Refusal::unavailable(format!(
        "the guest agent of {environment}/{name} went away while {program} ran, and what that would have left is unknown"
    ))
    .hint(format!("the guest may be restarting; look with `wardian console {environment}/{name}`"))
}

fn unknown(mut refusal: Refusal, exec: &Exec) -> Refusal {
    let program = exec.argv.first().map_or("the command", String::as_str);
    refusal.problem.message = format!("{}, and what {program} would have left is unknown", refusal.problem.message);
    refusal
}
