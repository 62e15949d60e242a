//! `wardian addresses`: what a machine knows of itself, and how the outside knows it.

use wardian_api::wire::{AddressList, Addresses, Exposure, Outside, Protocol};
use wardian_model::name::MachineName;

use super::{Session, args, failure::Failure, table::table};

pub(crate) async fn run(session: &Session, arguments: args::Addresses) -> Result<(), Failure> {
    let machine = arguments.machine.as_ref().map(MachineName::as_str);
    let list = session.client().await?.addresses(arguments.environment.as_str(), machine).await?;
    match &*list.addresses {
        _ if session.output.json => session.output.json(&list),
        [only] if machine.is_some() => session.output.data(line(only)),
        _ => session.output.data(render(&list)),
    }
}

/// How one machine is reached: its name first, and what else there is to know.
fn line(addresses: &Addresses) -> String {
    let Addresses { machine, inside, outside, provider_address, alias, opaque_alias, exposed: ports } = addresses;
    let mut text = alias.as_ref().map_or_else(String::new, |alias| format!("{alias} is "));
    text += &outside.as_ref().map_or_else(|| format!("{machine} has no outside"), |outside| outside.address.clone());
    if let Some(opaque) = opaque_alias {
        text += &format!(", also {opaque}");
    }
    if !ports.is_empty() {
        text += &format!("; port {} of this host", exposed(ports));
    }
    if let Some(provider) = provider_address {
        text += &format!("; between hosts it is {provider}");
    }
    text + &format!("; inside it is {}, {}\n", inside.hostname, inside.address)
}

fn render(list: &AddressList) -> String {
    let name = |alias: &Option<String>| alias.clone().unwrap_or_else(|| "-".to_owned());
    table(
        ["MACHINE", "HOSTNAME", "INSIDE", "INSIDE MAC", "OUTSIDE", "OUTSIDE MAC", "ALIAS", "OPAQUE ALIAS", "EXPOSED"],
        list.addresses.iter().map(|addresses| {
            [
                addresses.machine.clone(),
                addresses.inside.hostname.clone(),
                addresses.inside.address.clone(),
                addresses.inside.mac.clone(),
                outside(addresses.outside.as_ref()),
                addresses.outside.as_ref().map_or_else(|| "-".to_owned(), |outside| outside.mac.clone()),
                name(&addresses.alias),
                name(&addresses.opaque_alias),
                exposed(&addresses.exposed),
            ]
        }),
    )
}

/// The address at which the outside knows a machine; `none` where it has no outside.
pub(crate) fn outside(outside: Option<&Outside>) -> String {
    outside.map_or_else(|| "none".to_owned(), |outside| outside.address.clone())
}

/// `80 at 20000, 53/udp at 20001`, `80 at 8080 with web-2 (out)`; `-` for none.
pub(crate) fn exposed(exposures: &[Exposure]) -> String {
    if exposures.is_empty() {
        return "-".to_owned();
    }
    let port = |exposure: &Exposure| {
        let mut text = match exposure.protocol {
            Protocol::Tcp => format!("{} at {}", exposure.port, exposure.at),
            Protocol::Udp => format!("{}/udp at {}", exposure.port, exposure.at),
        };
        if !exposure.with.is_empty() {
            text += &format!(" with {}", exposure.with.join("+"));
        }
        text + if exposure.out.is_some() { " (out)" } else { "" }
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
        MACHINE  HOSTNAME    INSIDE        INSIDE MAC         OUTSIDE    OUTSIDE MAC        ALIAS                       OPAQUE ALIAS                         EXPOSED
        web      web-server  192.168.23.1  52:57:00:00:00:01  10.86.0.1  52:57:01:00:00:07  web.store.wardian.internal  m-0000000000000001.wardian.internal  80 at 20000, 53/udp at 5353
        db       db-server   192.168.23.2  52:57:00:00:00:02  10.86.0.2  52:57:01:00:00:07  db.store.wardian.internal   m-0000000000000002.wardian.internal  -
        ");
    }

    #[test]
    fn how_to_reach_one_machine_is_one_line() {
        let [web, db] = <[Addresses; 2]>::try_from(addresses().addresses).unwrap();
        assert_eq!(
            line(&web),
            "web.store.wardian.internal is 10.86.0.1, also m-0000000000000001.wardian.internal; \
             port 80 at 20000, 53/udp at 5353 of this host; inside it is web-server, 192.168.23.1\n"
        );
        let gone = Addresses { alias: None, opaque_alias: None, ..db };
        assert_eq!(line(&gone), "10.86.0.2; inside it is db-server, 192.168.23.2\n");
        let rewritten = Addresses { provider_address: Some("10.9.1.1".to_owned()), ..gone.clone() };
        assert!(line(&rewritten).contains("; between hosts it is 10.9.1.1; inside it is db-server"));
        let controller = Addresses { outside: None, ..gone };
        assert_eq!(line(&controller), "db has no outside; inside it is db-server, 192.168.23.2\n");
    }

    #[test]
    fn a_machine_without_an_outside_is_said_to_have_none() {
        let mut list = addresses();
        list.addresses[1] = Addresses { outside: None, alias: None, opaque_alias: None, ..list.addresses[1].clone() };
        assert!(render(&list).lines().nth(2).unwrap().contains("  none "));
    }
}
