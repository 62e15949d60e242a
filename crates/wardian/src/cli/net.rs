//! `wardian net`: what crosses between hosts.

use std::fmt::Write as _;

use comfy_table::Cell;
use wardian_api::wire::{NetworkState, SubnetKind, SubnetTraffic, Underlay};

use super::{
    Session, args,
    failure::Failure,
    table::{size, table},
};

pub(crate) async fn run(session: &Session, command: args::Net) -> Result<(), Failure> {
    match command {
        args::Net::Show => show(session).await,
    }
}

async fn show(session: &Session) -> Result<(), Failure> {
    let state = session.client().await?.network().await?;
    if session.output.json {
        return session.output.json(&state);
    }
    match &state.underlay {
        Some(underlay) => session.output.data(render(underlay, &state)),
        None => {
            session.output.message("this host is alone: nothing goes from it to others");
            Ok(())
        }
    }
}

fn render(underlay: &Underlay, state: &NetworkState) -> String {
    let Underlay { device, provider_address, encapsulation, mtu } = underlay;
    let mut text =
        format!("by {device}, as {provider_address}, in {encapsulation}, packets of {mtu} bytes at most\n\n");
    text += &table(
        ["VSID", "SUBNET", "PACKETS OUT", "BYTES OUT", "PACKETS IN", "BYTES IN"],
        state.subnets.iter().map(subnet),
    );
    let dropped: Vec<_> = state.dropped.iter().filter(|dropped| dropped.frames > 0).collect();
    if dropped.is_empty() {
        let _ = writeln!(text, "\nnothing was dropped");
        return text;
    }
    text.push('\n');
    text += &table(
        ["DROPPED", "REASON", "WHY"],
        dropped.into_iter().map(|dropped| [dropped.frames.to_string(), dropped.reason.clone(), dropped.why.clone()]),
    );
    text
}

fn subnet(subnet: &SubnetTraffic) -> [Cell; 6] {
    let what = match (subnet.kind, &subnet.environment) {
        (SubnetKind::LabNetwork, _) => "lab network",
        (SubnetKind::Environment, Some(name)) => name,
        (SubnetKind::Environment | SubnetKind::Gone, _) => "of an environment that is gone",
    };
    [
        subnet.vsid.to_string().into(),
        what.into(),
        subnet.out_packets.to_string().into(),
        size(subnet.out_bytes).into(),
        subnet.in_packets.to_string().into(),
        size(subnet.in_bytes).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::network;

    #[test]
    fn subnets_are_a_table_and_so_is_what_was_dropped() {
        let state = network();
        insta::assert_snapshot!(render(state.underlay.as_ref().unwrap(), &state), @r"
        by eth1, as 10.1.0.1, in nvgre, packets of 1458 bytes at most

        VSID  SUBNET                          PACKETS OUT  BYTES OUT  PACKETS IN  BYTES IN
        4096  lab network                     12345        10.6 MiB   6172        398 KiB
        4097  store                           80           70.3 KiB   40          2.6 KiB
        4099  of an environment that is gone  2            1.8 KiB    1           66 B

        DROPPED  REASON   WHY
        3        too-big  they don't fit into a frame of the physical network
        ");
    }

    #[test]
    fn where_nothing_was_dropped_that_is_said() {
        let mut state = network();
        state.dropped.iter_mut().for_each(|dropped| dropped.frames = 0);
        assert!(render(state.underlay.as_ref().unwrap(), &state).ends_with("\n\nnothing was dropped\n"));
    }
}
