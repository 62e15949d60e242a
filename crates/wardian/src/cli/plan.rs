//! `wardian plan`: what would be decided, and why; nothing is changed.

use wardian_api::wire::UpRequest;

use super::{Session, args, failure::Failure, up};

pub(crate) async fn run(session: &Session, command: args::Plan) -> Result<(), Failure> {
    match command {
        args::Plan::Place(arguments) => place(session, arguments).await,
    }
}

async fn place(session: &Session, arguments: args::Place) -> Result<(), Failure> {
    let (text, name) = up::read(&arguments.file).await?;
    let request = UpRequest {
        file: text,
        file_name: Some(name),
        name: arguments.name.map(|name| name.to_string()),
        stopped: false,
        owner: None,
        expire_after_ms: None,
    };
    let placement = session.client().await?.place(&request).await?;
    if session.output.json {
        return session.output.json(&placement);
    }
    let mut lines = match &placement.host {
        Some(host) => format!("{} would go to {host}\n", placement.environment),
        None => format!("{} would go to this host, which is alone\n", placement.environment),
    };
    if arguments.explain {
        lines.extend(placement.why.iter().map(|line| format!("  {line}\n")));
    }
    session.output.data(lines)
}
