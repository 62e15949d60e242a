//! `wardian gateway`: through whom an environment's machines reach the outside.

use wardian_api::wire::GatewayState;

use super::{Session, args, failure::Failure};

pub(crate) async fn run(session: &Session, arguments: args::Gateway) -> Result<(), Failure> {
    let (client, environment) = (session.client().await?, arguments.environment.as_str());
    let state = match arguments.by {
        Some(by) => client.set_gateway(environment, by.to_string()).await?,
        None => client.gateway(environment).await?,
    };
    if session.output.json { session.output.json(&state) } else { session.output.data(meaning(&state) + "\n") }
}

/// What it means, in one line.
fn meaning(state: &GatewayState) -> String {
    let what = match state.gateway.as_str() {
        "per-machine" => "each machine has a public address of its own".to_owned(),
        "host" => "the machines share an address, and are reached at exposed ports of the host only".to_owned(),
        machine => format!("what the other machines send outwards goes to {machine}, which must forward it"),
    };
    format!("{}: {}: {what}", state.environment, state.gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_says_in_one_line_what_it_means() {
        let of = |gateway: &str| meaning(&GatewayState { environment: "store".into(), gateway: gateway.into() });
        insta::assert_snapshot!(["per-machine", "host", "web"].map(of).join("\n"), @r"
        store: per-machine: each machine has a public address of its own
        store: host: the machines share an address, and are reached at exposed ports of the host only
        store: web: what the other machines send outwards goes to web, which must forward it
        ");
    }
}
