//! `wardian clone`: the same inside, a new outside, once or many times.

use wardian_api::wire::{CloneRequest, EnvironmentDetail, Fence, OperationState};

use super::{
    Session,
    addresses::exposed,
    args,
    failure::{Failure, Problem},
    progress,
    steps::milliseconds,
};

/// A clone that can't be made doesn't keep the others from being so.
pub(crate) async fn run(session: &Session, arguments: args::CloneEnvironment) -> Result<(), Failure> {
    let client = session.client().await?;
    let count = (arguments.count > 1).then_some(arguments.count);
    let request = CloneRequest {
        name: arguments.name.to_string(),
        count,
        snapshot: arguments.source.snapshot.map(|snapshot| snapshot.to_string()),
        boot: arguments.boot,
        customize: arguments.customize,
        owner: arguments.owner,
        expire_after_ms: arguments.expire.map(|span| milliseconds(span.duration())),
    };
    let mut result = client.clone_environment(arguments.source.environment.as_str(), &request).await?;
    for warning in &result.warnings {
        session.output.warning(warning);
    }
    if arguments.no_wait {
        for clone in result.clones.iter().filter(|clone| clone.operation.is_some()) {
            let name = &clone.name;
            session.output.message(format_args!("{name} is being made; `wardian status {name}` shows how far it is"));
        }
    } else {
        let asked = result.clones.iter().filter_map(|clone| clone.operation.clone()).collect();
        let mut ended = progress::follow(session, &client, asked).await?.into_iter();
        for clone in result.clones.iter_mut().filter(|clone| clone.operation.is_some()) {
            clone.operation = ended.next();
        }
    }
    if session.output.json {
        session.output.json(&result)?;
    } else {
        let made = result.clones.iter().filter_map(|clone| clone.operation.as_ref());
        for operation in made.filter(|operation| operation.state == OperationState::Done) {
            match client.environment(&operation.environment).await {
                Ok(detail) => session.output.data(reached(&detail) + "\n")?,
                Err(error) => session.output.problem(&Problem::from(error)),
            }
        }
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

/// How the machines of a clone that can be reached are, in one line.
fn reached(detail: &EnvironmentDetail) -> String {
    let machine = |machine: &wardian_api::wire::MachineDetail| {
        let address = machine.outside.as_ref().map(|outside| format!(" {}", outside.address));
        Some(match (address, machine.exposed.as_slice()) {
            (None, []) => return None,
            (Some(address), []) => format!("{}{address}", machine.name),
            (address, ports) => {
                format!("{}{} (port {} of this host)", machine.name, address.unwrap_or_default(), exposed(ports))
            }
        })
    };
    let machines = detail.machines.iter().filter_map(machine).collect::<Vec<_>>().join(", ");
    let fence = match detail.summary.fence {
        Fence::Open => "",
        Fence::OutOnly => "; from outside exposed ports only",
        Fence::Sealed => "; sealed, so from outside nothing",
    };
    format!("{}: {machines}{fence}", detail.summary.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::detail;

    #[test]
    fn a_clone_says_in_one_line_how_it_is_reached() {
        let mut detail = detail();
        insta::assert_snapshot!(reached(&detail), @"store: web 10.86.0.1 (port 80 at 20000 of this host), db 10.86.0.2; from outside exposed ports only");
        detail.machines[0].outside = None;
        insta::assert_snapshot!(reached(&detail), @"store: web (port 80 at 20000 of this host), db 10.86.0.2; from outside exposed ports only");
        let mut detail = super::super::fixtures::detail();
        detail.summary.fence = Fence::Open;
        detail.machines[0].exposed.clear();
        insta::assert_snapshot!(reached(&detail), @"store: web 10.86.0.1, db 10.86.0.2");
        detail.summary.fence = Fence::Sealed;
        insta::assert_snapshot!(reached(&detail), @"store: web 10.86.0.1, db 10.86.0.2; sealed, so from outside nothing");
    }
}
