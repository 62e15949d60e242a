//! `wardian clone`: the same inside, a new outside, once or many times.

use wardian_api::wire::CloneRequest;

use super::{
    Session, args,
    failure::{Failure, Problem},
    progress,
};

/// A clone that can't be made doesn't keep the others from being so.
pub(crate) async fn run(session: &Session, arguments: args::CloneEnvironment) -> Result<(), Failure> {
    let client = session.client().await?;
    let count = (arguments.count > 1).then_some(arguments.count);
    let request = CloneRequest { name: arguments.name.to_string(), count };
    let mut result = client.clone_environment(arguments.source.as_str(), &request).await?;
    if !arguments.no_wait {
        let asked = result.clones.iter().filter_map(|clone| clone.operation.clone()).collect();
        let mut ended = progress::follow(session, &client, asked).await?.into_iter();
        for clone in result.clones.iter_mut().filter(|clone| clone.operation.is_some()) {
            clone.operation = ended.next();
        }
    }
    if session.output.json {
        session.output.json(&result)?;
    }
    let mut refused = false;
    let mut operations = Vec::new();
    for clone in result.clones {
        if let Some(problem) = clone.problem {
            refused = true;
            session.output.problem(&Problem::from(problem));
        }
        operations.extend(clone.operation);
    }
    progress::verdict(session.output, &operations)?;
    if refused { Err(Failure::Exit(1)) } else { Ok(()) }
}
