//! A command in a guest, whichever process its machine is while it runs.
//!
//! The agent's numbers of processes live in the guest, so a command that was started is asked for with the successor's agent.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use wardian_machine::{
    AgentError,
    agent::{DEFAULT_TIMEOUT, Exec, ExecOutput},
};

use super::{agent, life::Life};
use crate::Refusal;

/// Pauses between two looks, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// How much earlier than its end a process may give up its connections.
const LAST: Duration = Duration::from_millis(500);

/// Runs it and waits for what it leaves.
pub(super) async fn run(life: &mut Life, exec: &Exec) -> Result<ExecOutput, Refusal> {
    let deadline = Instant::now() + exec.timeout;
    let pid = begin(life, exec).await?;
    let mut pause = PAUSES.0;
    let mut unanswered = false;
    loop {
        let asked = ask(life, "guest-exec-status", json!({ "pid": pid })).await;
        let Some(status) = asked.map_err(|refusal| if unanswered { cut(life, exec, "had ended") } else { refusal })?
        else {
            life.next().await.map_err(|refusal| unknown(refusal, exec))?;
            // Told once, an agent forgets it.
            unanswered = true;
            continue;
        };
        unanswered = false;
        if status["exited"] == true {
            return output(&status).map_err(|error| agent(&life.environment, &life.name, &error));
        }
        let now = Instant::now();
        if now >= deadline {
            let program = exec.argv.first().cloned().unwrap_or_default();
            let error = AgentError::ExecTimedOut { program, pid, limit: exec.timeout };
            return Err(agent(&life.environment, &life.name, &error));
        }
        sleep(pause.min(deadline - now)).await;
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}

/// Starts it once; gives its process id in the guest.
async fn begin(life: &mut Life, exec: &Exec) -> Result<i64, Refusal> {
    let Some((program, rest)) = exec.argv.split_first() else {
        return Err(Refusal::invalid("no program was named"));
    };
    let mut arguments = json!({ "path": program, "arg": rest, "capture-output": true });
    if !exec.environment.is_empty() {
        arguments["env"] = json!(exec.environment);
    }
    if !exec.stdin.is_empty() {
        arguments["input-data"] = json!(BASE64_STANDARD.encode(&exec.stdin));
    }
    life.moving().await?;
    let Some(started) = ask(life, "guest-exec", arguments).await? else {
        // Not tried again: it may have been started.
        return Err(cut(life, exec, "was to be started"));
    };
    let unusable = || AgentError::Answer { command: "guest-exec", what: "no process id".to_owned() };
    started["pid"].as_i64().ok_or_else(|| agent(&life.environment, &life.name, &unusable()))
}

/// The agent's answer; nothing when the process that was asked has ended.
async fn ask(life: &Life, command: &'static str, arguments: Value) -> Result<Option<Value>, Refusal> {
    let machine = life.now();
    let answer = tokio::select! {
        answer = machine.agent().execute(command, Some(arguments), DEFAULT_TIMEOUT) => answer,
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

fn output(status: &Value) -> Result<ExecOutput, AgentError> {
    let number = |member: &str| status[member].as_i64().and_then(|number| i32::try_from(number).ok());
    let bytes = |member: &str| {
        BASE64_STANDARD
            .decode(status[member].as_str().unwrap_or_default())
            .map_err(|error| AgentError::Answer { command: "guest-exec-status", what: error.to_string() })
    };
    Ok(ExecOutput {
        status: number("exitcode"),
        signal: number("signal"),
        stdout: bytes("out-data")?,
        stderr: bytes("err-data")?,
        truncated: status["out-truncated"] == true || status["err-truncated"] == true,
    })
}
