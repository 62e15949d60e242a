//! `wardian expose`: a port of a machine that the outside may reach, or of several that share it.

use wardian_api::wire::{ExposeRequest, Exposure, UnexposeQuery};

use super::{Session, args, failure::Failure, table::table};

pub(crate) async fn run(session: &Session, arguments: args::Expose) -> Result<(), Failure> {
    let target = arguments.target;
    let (client, environment) = (session.client().await?, target.environment.as_str());
    let (machine, port, protocol) = (target.who.clone(), target.port.get(), target.protocol);
    if arguments.remove {
        let query = UnexposeQuery { machine, port, protocol: protocol.into() };
        client.unexpose(environment, &query).await?;
        session.output.message(format_args!("{environment}/{}: port {port}/{protocol} is closed", target.who));
        return Ok(());
    }
    let request = ExposeRequest { machine, port, protocol: protocol.into(), at: arguments.at.map(Into::into) };
    let exposure = client.expose(environment, &request).await?;
    if session.output.json { session.output.json(&exposure) } else { session.output.data(render(&exposure)) }
}

fn render(exposure: &Exposure) -> String {
    table(
        ["MACHINE", "PORT", "OUTSIDE", "HOST PORT"],
        [[
            std::iter::once(&exposure.machine).chain(&exposure.with).map(String::as_str).collect::<Vec<_>>().join("+"),
            format!("{}/{}", exposure.port, exposure.protocol.word()),
            // Each has an address of its own, and `wardian addresses` tells them all.
            if exposure.with.is_empty() { format!("{}:{}", exposure.address, exposure.port) } else { "-".to_owned() },
            exposure.at.to_string(),
        ]],
    )
}

#[cfg(test)]
mod tests {
    use wardian_api::wire::Protocol;

    use super::*;
    use crate::cli::fixtures::exposure;

    #[test]
    fn an_exposed_port_says_how_it_is_reached() {
        insta::assert_snapshot!(render(&exposure(53, Protocol::Udp, 5353)), @r"
        MACHINE  PORT    OUTSIDE       HOST PORT
        web      53/udp  10.86.0.1:53  5353
        ");
        let shared = Exposure { with: vec!["web-2".into()], ..exposure(80, Protocol::Tcp, 8080) };
        insta::assert_snapshot!(render(&shared), @r"
        MACHINE    PORT    OUTSIDE  HOST PORT
        web+web-2  80/tcp  -        8080
        ");
    }
}
