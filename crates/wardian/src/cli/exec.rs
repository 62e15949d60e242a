//! `wardian exec`: a command in a machine, its output here, its exit status ours.

use std::{io::Write as _, time::Duration};

use tokio::io::AsyncReadExt as _;
use wardian_api::wire::{Content, ContentError, ExecRequest, ExecResult};

use super::{Session, args, failure::Failure};

pub(crate) async fn run(session: &Session, arguments: args::Exec) -> Result<(), Failure> {
    let target = &arguments.target;
    let client = session.client().await?;
    let stdin = if arguments.interactive { Some(read_stdin().await?) } else { None };
    let request = ExecRequest {
        command: arguments.command,
        stdin,
        timeout_ms: arguments.timeout.map(|timeout| milliseconds(timeout.duration())),
        ..ExecRequest::default()
    };
    let result = client.exec(target.environment.as_str(), target.machine.as_str(), &request).await?;
    if result.truncated {
        session.output.warning("the guest agent gave only the beginning of the output");
    }
    let code = exit_code(&result);
    if session.output.json {
        session.output.json(&result)?;
    } else {
        let broken = |error: ContentError| Failure::new(format!("can't read the command's output: {error}"));
        // Errors first: who reads output through `| head` still sees them.
        let _ = std::io::stderr().write_all(&result.stderr.into_bytes().map_err(broken)?);
        session.output.data(result.stdout.into_bytes().map_err(broken)?)?;
    }
    if code == 0 { Ok(()) } else { Err(Failure::Exit(code)) }
}

async fn read_stdin() -> Result<Content, Failure> {
    let mut bytes = Vec::new();
    let read = tokio::io::stdin().read_to_end(&mut bytes).await;
    read.map_err(|error| Failure::new(format!("can't read standard input: {error}")))?;
    Ok(bytes.into())
}

fn milliseconds(time: Duration) -> u64 {
    super::steps::milliseconds(time)
}

/// As a shell would have it: the status, or 128 and the signal. A status that has no low byte, as Windows knows
/// them, is still a failure.
fn exit_code(result: &ExecResult) -> u8 {
    let wide = match (result.status, result.signal) {
        (_, Some(signal)) => signal.saturating_add(128),
        (Some(status), None) => status,
        (None, None) => 1,
    };
    match (wide, wide.to_le_bytes()[0]) {
        (0, _) => 0,
        (_, 0) => 1,
        (_, low) => low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_of_the_command_is_passed_on() {
        let ended = |status, signal| {
            exit_code(&ExecResult {
                status,
                signal,
                stdout: Content::empty(),
                stderr: Content::empty(),
                truncated: false,
            })
        };
        assert_eq!(ended(Some(0), None), 0);
        assert_eq!(ended(Some(7), None), 7);
        assert_eq!(ended(None, Some(9)), 137);
        assert_eq!(ended(Some(256), None), 1);
        assert_eq!(ended(Some(-1), None), 255);
        assert_eq!(ended(None, None), 1);
    }
}
