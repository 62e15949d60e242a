//! The provider addresses that machines of this host may have. The filter alone answers for those that are given out,
//! so none is an address of the host, and no service of it is ever reached at one. What the filter does not take
//! would look for its way on, to the default route perhaps, and from there back: so a route that leads nowhere is
//! behind them all.

use ipnet::Ipv4Net;
use netlink_packet_route::route::RouteType;

use super::{UnderlayError, links};
use crate::{
    error::NetworkError,
    kernel::message::{MAIN_TABLE, Route},
};

/// By which the route is known as ours: behind every other one for the same addresses.
const METRIC: u32 = 4_000_000_001;

/// Makes that route for these addresses, and for no others any more.
pub(super) fn hold(prefix: Option<Ipv4Net>) -> Result<(), UnderlayError> {
    let wanted = prefix.map(route);
    let mut netlink = links::netlink()?;
    let routes = netlink.routes().map_err(NetworkError::kernel("list this host's routes"))?;
    let ours = |route: &&Route| route.metric == METRIC && route.kind == RouteType::Unreachable;
    for old in routes.iter().filter(ours).filter(|old| Some(*old) != wanted.as_ref()) {
        let doing = NetworkError::kernel(format!("remove the last route for {}", old.destination));
        netlink.delete_route(old).map_err(doing)?;
    }
    if let Some(wanted) = wanted.filter(|wanted| !routes.contains(wanted)) {
        let doing = NetworkError::kernel(format!("set the last route for {}", wanted.destination));
        netlink.set_route(&wanted).map_err(doing)?;
    }
    Ok(())
}

fn route(prefix: Ipv4Net) -> Route {
    Route {
        destination: prefix.trunc(),
        gateway: None,
        link: None,
        table: MAIN_TABLE,
        metric: METRIC,
        kind: RouteType::Unreachable,
    }
}
