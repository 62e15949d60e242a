//! A command in a guest, whichever process its machine is while it runs.
//!
//! The agent's numbers of processes live in the guest, so a command that was started is asked for with the successor's agent.

use std::time::Duration;

use tokio::time::timeout;
use wardian_machine::{
    AgentError,
    agent::{Exec, ExecOutput, ExecWait, GuestProcess},
};

use super::{agent, life::Life};
use crate::Refusal;

/// How much earlier than its end a process may give up its connections.
const LAST: Duration = Duration::from_millis(500);

/// Runs it and waits for what it leaves.
pub(super) async fn run(life: &mut Life, exec: &Exec) -> Result<ExecOutput, Refusal> {
    let mut wait = ExecWait::new(exec);
    let process = begin(life, exec).await?;
    let mut unanswered = false;
    loop {
        let asked = answer(life, life.now().agent().exec_outcome(process)).await;
        let Some(outcome) = asked.map_err(|refusal| if unanswered { cut(life, exec, "had ended") } else { refusal })?
        else {
            life.next().await.map_err(|refusal| unknown(refusal, exec))?;
            // Told once, an agent forgets it.
            unanswered = true;
            continue;
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
    life.moving().await?;
    let started = answer(life, life.now().agent().exec_begin(exec)).await?;
    // Not tried again: it may have been started.
    started.ok_or_else(|| cut(life, exec, "was to be started"))
}

/// The agent's answer to a call; nothing when the process that was asked has ended.
async fn answer<T>(life: &Life, call: impl Future<Output = Result<T, AgentError>>) -> Result<Option<T>, Refusal> {
    let machine = life.now();
    let answer = tokio::select! {
        answer = call => answer,
        _ = machine.wait_exit() => return Ok(None),
    };
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_absence() && timeout(LAST, machine.wait_exit()).await.is_ok() => Ok(None),
        Err(error) => Err(agent(&life.environment, &life.name, &error)),
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

fn unknown(mut refusal: Refusal, exec: &Exec) -> Refusal {
    let program = exec.argv.first().map_or("the command", String::as_str);
    refusal.problem.message = format!("{}, and what {program} would have left is unknown", refusal.problem.message);
    refusal
}
