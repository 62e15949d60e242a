//! `wardian addresses`: what a machine knows of itself, and how the outside knows it.

use wardian_api::wire::{AddressList, Exposure, Protocol};

use wardian_model::name::MachineName;

use super::{Session, args, failure::Failure, table::table};

pub(crate) async fn run(session: &Session, arguments: args::Addresses) -> Result<(), Failure> {
    let machine = arguments.machine.as_ref().map(MachineName::as_str);
    let list = session.client().await?.addresses(arguments.environment.as_str(), machine).await?;
    if session.output.json { session.output.json(&list) } else { session.output.data(render(&list)) }
}

fn render(list: &AddressList) -> String {
    table(
        ["MACHINE", "HOSTNAME", "INSIDE", "INSIDE MAC", "OUTSIDE", "OUTSIDE MAC", "EXPOSED"],
        list.addresses.iter().map(|addresses| {
            [
                addresses.machine.clone(),
                addresses.inside.hostname.clone(),
                addresses.inside.address.clone(),
                addresses.inside.mac.clone(),
                addresses.outside.address.clone(),
                addresses.outside.mac.clone(),
                exposed(&addresses.exposed),
            ]
        }),
    )
}

/// `80 at 20000, 53/udp at 20001`; `-` for none.
pub(crate) fn exposed(exposures: &[Exposure]) -> String {
    if exposures.is_empty() {
        return "-".to_owned();
    }
    let port = |exposure: &Exposure| match exposure.protocol {
        Protocol::Tcp => format!("{} at {}", exposure.port, exposure.at),
        Protocol::Udp => format!("{}/udp at {}", exposure.port, exposure.at),
    };
    exposures.iter().map(port).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::addresses;

    #[test]
    fn both_identities_are_a_table() {
        insta::assert_snapshot!(render(&addresses()), @r"
        MACHINE  HOSTNAME    INSIDE        INSIDE MAC         OUTSIDE    OUTSIDE MAC        EXPOSED
        web      web-server  192.168.23.1  52:57:00:00:00:01  10.86.0.1  52:57:01:00:00:07  80 at 20000, 53/udp at 5353
        db       db-server   192.168.23.2  52:57:00:00:00:02  10.86.0.2  52:57:01:00:00:07  -
        ");
    }
}
