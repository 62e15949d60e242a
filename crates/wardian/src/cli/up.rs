//! `wardian up`: checks a file here, where its lines can be shown without a daemon, then has it brought up.

use std::{io, path::Path};

use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use wardian_api::wire::{CheckResult, UpAccepted, UpRequest};
use wardian_client::{Client, ClientError};
use wardian_model::file::{self, EnvironmentFile};

use super::{
    Session, args,
    failure::{Failure, Problem, diagnostic},
    output::file_failure,
    progress,
    steps::milliseconds,
};

pub(crate) async fn run(session: &Session, arguments: args::Up) -> Result<(), Failure> {
    let (text, name) = read(&arguments.file).await?;
    let environment = file::read(&text, &name).map_err(Problem::from)?;
    for warning in &environment.warnings {
        session.output.say(diagnostic(warning, session.output.message_style));
    }
    let request = UpRequest {
        file: text,
        file_name: Some(name),
        name: arguments.name.map(|name| name.to_string()),
        stopped: arguments.no_start,
        owner: arguments.owner,
        expire_after_ms: arguments.expire.map(|span| milliseconds(span.duration())),
    };
    if arguments.check {
        return check(session, &environment, &request).await;
    }
    let client = session.client().await?;
    let mut accepted = client.up(&request).await?;
    warn(session, &environment, &accepted.warnings);
    if arguments.no_wait {
        let name = &accepted.operation.environment;
        session.output.message(format_args!("{name} is being brought up; `wardian status {name}` shows how far it is"));
    } else {
        accepted = follow(session, &client, accepted).await?;
    }
    if session.output.json {
        session.output.json(&accepted)?;
    }
    progress::verdict(session.output, &[accepted.operation])
}

async fn follow(session: &Session, client: &Client, accepted: UpAccepted) -> Result<UpAccepted, Failure> {
    let UpAccepted { operation, warnings } = accepted;
    let ended = progress::follow(session, client, vec![operation.clone()]).await?;
    Ok(UpAccepted { operation: ended.into_iter().next().unwrap_or(operation), warnings })
}

/// `up --check --json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Checked {
    #[serde(flatten)]
    result: CheckResult,
    /// Whether a daemon said that the file fits its host; otherwise only its form was checked.
    host_checked: bool,
}

async fn check(session: &Session, environment: &EnvironmentFile, request: &UpRequest) -> Result<(), Failure> {
    let answer = match Client::connect(&session.host.socket).await {
        Ok(client) => Ok(client.check(request).await?),
        Err(error @ (ClientError::NoDaemon { .. } | ClientError::NotAllowed { .. })) => Err(error),
        Err(error) => return Err(error.into()),
    };
    let host_checked = answer.is_ok();
    let result = match answer {
        Ok(result) => {
            warn(session, environment, &result.warnings);
            result
        }
        Err(error) => {
            session.output.message(format_args!("{error}, so whether the file fits the host was not checked"));
            let spec = &environment.spec;
            CheckResult {
                name: request.name.clone().unwrap_or_else(|| spec.name.to_string()),
                machines: spec.machines.keys().map(ToString::to_string).collect(),
                warnings: environment.warnings.iter().map(|warning| warning.message.clone()).collect(),
            }
        }
    };
    if session.output.json {
        return session.output.json(&Checked { result, host_checked });
    }
    let machines = result.machines.join(", ");
    session.output.message(format_args!("{}: the file is right; machines: {machines}", result.name));
    Ok(())
}

/// Prints the daemon's warnings, without those that the file's own check has shown already.
fn warn(session: &Session, environment: &EnvironmentFile, warnings: &[String]) {
    for warning in warnings {
        if !environment.warnings.iter().any(|shown| warning.contains(&shown.message)) {
            session.output.warning(warning);
        }
    }
}

/// The text, and what messages call it.
pub(super) async fn read(path: &Path) -> Result<(String, String), Failure> {
    // One byte more than allowed shows that the file is too long, without reading all of it.
    let limit = file::MAX_LENGTH as u64 + 1;
    let mut bytes = Vec::new();
    let (outcome, name) = if path == Path::new("-") {
        (tokio::io::stdin().take(limit).read_to_end(&mut bytes).await, "standard input".to_owned())
    } else {
        let read = async {
            let file = tokio::fs::File::open(path).await?;
            file.take(limit).read_to_end(&mut bytes).await
        };
        (read.await, path.display().to_string())
    };
    outcome.map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map(|text| (text, name.clone())).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::new(format!("{name} is not text: byte {at} is not UTF-8"))
            .hint("an environment file is YAML in UTF-8")
            .into()
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    file_failure("read", path, error)
}
