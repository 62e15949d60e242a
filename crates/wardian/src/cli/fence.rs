//! `wardian fence`: what may cross an environment's edge.

use wardian_api::wire::{Exposure, Fence, FenceState, Protocol};

use super::{Session, args, failure::Failure};

pub(crate) async fn run(session: &Session, arguments: args::Fence) -> Result<(), Failure> {
    let (client, environment) = (session.client().await?, arguments.environment.as_str());
    let state = match arguments.mode {
        Some(mode) => client.set_fence(environment, mode.into()).await?,
        None => client.fence(environment).await?,
    };
    if session.output.json { session.output.json(&state) } else { session.output.data(allowed(&state) + "\n") }
}

/// What is allowed, in one line.
fn allowed(state: &FenceState) -> String {
    let what = match state.fence {
        Fence::Open => "connections go both ways".to_owned(),
        Fence::OutOnly if state.exposed.is_empty() => "connections go out only; no port is exposed".to_owned(),
        Fence::OutOnly => format!("connections go out; from outside only to {}", ports(&state.exposed)),
        Fence::Sealed if state.exposed.is_empty() => "nothing crosses the edge".to_owned(),
        Fence::Sealed => "nothing crosses the edge, not even to exposed ports".to_owned(),
    };
    format!("{}: {}: {what}", state.environment, state.fence.word())
}

fn ports(exposed: &[Exposure]) -> String {
    let port = |exposure: &Exposure| match exposure.protocol {
        Protocol::Tcp => format!("{}:{}", exposure.machine, exposure.port),
        Protocol::Udp => format!("{}:{}/udp", exposure.machine, exposure.port),
    };
    exposed.iter().map(port).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::exposure;

    #[test]
    fn a_fence_says_in_one_line_what_it_allows() {
        let mut lines = Vec::new();
        for fence in [Fence::Open, Fence::OutOnly, Fence::Sealed] {
            for exposed in [Vec::new(), vec![exposure(80, Protocol::Tcp, 20000), exposure(53, Protocol::Udp, 20001)]] {
                lines.push(allowed(&FenceState { environment: "store".into(), fence, exposed }));
            }
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        store: open: connections go both ways
        store: open: connections go both ways
        store: out-only: connections go out only; no port is exposed
        store: out-only: connections go out; from outside only to web:80, web:53/udp
        store: sealed: nothing crosses the edge
        store: sealed: nothing crosses the edge, not even to exposed ports
        ");
    }
}
