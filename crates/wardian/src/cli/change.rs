//! `wardian down`, `suspend`, `start` and `rm`: one operation for each environment named, all at once.

use wardian_api::wire::{Operation, OperationList};
use wardian_client::{Client, ClientError};
use wardian_model::name::EnvironmentName;

use super::{Session, args, failure::Failure, progress};

/// What shall become of the environments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verb {
    Down,
    Suspend,
    Start,
    Remove,
}

impl Verb {
    async fn ask(self, client: &Client, environment: &EnvironmentName) -> Result<Operation, ClientError> {
        let name = environment.as_str();
        match self {
            Self::Down => client.stop(name).await,
            Self::Suspend => client.suspend(name).await,
            Self::Start => client.start(name).await,
            Self::Remove => client.remove(name).await,
        }
    }
}

/// An environment that can't be changed doesn't keep the others from being so.
pub(crate) async fn run(session: &Session, verb: Verb, arguments: args::Change) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut operations = Vec::new();
    let mut refused = Vec::new();
    for environment in &arguments.environments {
        match verb.ask(&client, environment).await {
            Ok(operation) => operations.push(operation),
            Err(error @ ClientError::Refused(_)) => refused.push(error.into()),
            Err(error) => return Err(error.into()),
        }
    }
    if arguments.no_wait {
        for operation in &operations {
            session.output.message(format_args!("{} of {} goes on", operation.kind.word(), operation.environment));
        }
    } else {
        operations = progress::follow(session, &client, operations).await?;
    }
    let list = OperationList { operations };
    if session.output.json {
        session.output.json(&list)?;
    }
    for problem in &refused {
        session.output.problem(problem);
    }
    progress::verdict(session.output, &list.operations)?;
    if refused.is_empty() { Ok(()) } else { Err(Failure::Exit(1)) }
}
