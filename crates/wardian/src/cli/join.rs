//! `wardian join` and `wardian part`: with whom an environment's machines are in one routing domain.

use wardian_api::wire::JoinState;

use super::{Session, args, failure::Failure};

pub(crate) async fn run(session: &Session, args::Join { environment, other }: args::Join) -> Result<(), Failure> {
    let state = session.client().await?.join_environments(environment.as_str(), other.as_str()).await?;
    show(session, &state)
}

pub(crate) async fn part(session: &Session, args::Part { environment, other }: args::Part) -> Result<(), Failure> {
    let state = session.client().await?.part_environments(environment.as_str(), other.as_str()).await?;
    show(session, &state)
}

fn show(session: &Session, state: &JoinState) -> Result<(), Failure> {
    if session.output.json { session.output.json(state) } else { session.output.data(meaning(state) + "\n") }
}

/// What it means, in one line.
fn meaning(JoinState { environment, joined }: &JoinState) -> String {
    match joined.as_slice() {
        [] => format!("{environment} is joined with nobody"),
        joined => format!("{environment} is joined with {}", joined.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_whom_an_environment_is_joined_is_one_line() {
        let said = |joined: &[&str]| {
            let joined = joined.iter().map(|name| (*name).to_owned()).collect();
            meaning(&JoinState { environment: "shop".into(), joined })
        };
        assert_eq!(said(&[]), "shop is joined with nobody");
        assert_eq!(said(&["a", "b"]), "shop is joined with a, b");
    }
}
