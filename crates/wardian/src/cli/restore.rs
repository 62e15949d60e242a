//! `wardian restore`: back to a snapshot, of this environment or of one with the same inside.

use wardian_api::wire::RestoreRequest;

use super::{Session, args, failure::Failure, progress};

pub(crate) async fn run(session: &Session, arguments: args::Restore) -> Result<(), Failure> {
    let client = session.client().await?;
    let environment = arguments.environment.as_str();
    let request = RestoreRequest {
        snapshot: arguments.snapshot.name.to_string(),
        of: arguments.snapshot.of.map(|of| of.to_string()),
    };
    let mut operation = client.restore(environment, &request).await?;
    if arguments.no_wait {
        session.output.message(format_args!(
            "{environment} goes back to {}; `wardian status {environment}` shows how far it is",
            request.snapshot
        ));
    } else {
        let ended = progress::follow(session, &client, vec![operation.clone()]).await?;
        operation = ended.into_iter().next().unwrap_or(operation);
    }
    if session.output.json {
        session.output.json(&operation)?;
    }
    progress::verdict(session.output, &[operation])
}
