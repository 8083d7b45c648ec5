//! What the host's own network looks like: its IPv4 addresses, the subnets it uses, the MTU towards the world.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::error::Error;
use crate::link;
use crate::socket::{Family, Netlink, Outcome};
use crate::subnet::Subnet;
use crate::uapi::{
    IFA_ADDRESS, IFA_LOCAL, IFLA_MTU, NLM_F_ACK, RTA_DST, RTA_OIF, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE,
};
use crate::wire::{Answer, Request, attribute, u32_at};

/// How often a dump is asked for again because it met a change.
const ATTEMPTS: usize = 16;

/// The IPv4 addresses of all interfaces, `lo` too.
pub fn addresses() -> Result<Vec<Ipv4Addr>, Error> {
    let route = Netlink::open(Family::Route)?;
    dump(
        &route,
        "list addresses",
        |request| link::ask_addresses(request, 0),
        |answer| {
            let body = answer.payload.get(link::ADDRESS_HEADER_SIZE..)?;
            let local = attribute(body, IFA_LOCAL).or_else(|| attribute(body, IFA_ADDRESS))?;
            (answer.kind == RTM_NEWADDR).then_some(ipv4(local)?)
        },
    )
}

/// The IPv4 subnets that the host has routes to, default routes (`0.0.0.0/0`) among them, for
/// [`crate::subnet::choose_subnet`]. Routes through `except`, our own bridge, do not count.
pub fn subnets_in_use(except: Option<&str>) -> Result<Vec<Subnet>, Error> {
    let route = Netlink::open(Family::Route)?;
    let except = except.map(|name| route.find_interface(name)).transpose()?.flatten();
    let routes = dump(&route, "list routes", link::ask_routes, read_route)?;
    let mut subnets: Vec<_> = routes
        .into_iter()
        .filter(|(_, index)| index.is_none() || *index != except)
        .map(|(subnet, _)| subnet)
        .collect();
    subnets.sort_unstable();
    subnets.dedup();
    Ok(subnets)
}

/// The MTU in bytes of the interface that the default route leaves by; `None` without a default route. Containers
/// should have no larger one.
pub fn default_route_mtu() -> Result<Option<u32>, Error> {
    let route = Netlink::open(Family::Route)?;
    let routes = dump(&route, "list routes", link::ask_routes, read_route)?;
    let Some(index) =
        routes.into_iter().filter(|(subnet, _)| subnet.prefix() == 0).find_map(|(_, index)| index)
    else {
        return Ok(None);
    };
    let mut request = Request::default();
    link::ask(&mut request, index, NLM_F_ACK);
    let mut mtu = None;
    let outcome = route.exchange(&request, |_, answer| {
        if answer.kind == RTM_NEWLINK {
            let mut attributes = answer.attributes(link::LINK_HEADER_SIZE);
            mtu = attributes.find(|(kind, _)| *kind == IFLA_MTU).and_then(|(_, value)| u32_at(value, 0));
        }
    })?;
    check(outcome, "look at the default route's interface")?;
    Ok(mtu)
}

/// Destination and interface of a route.
fn read_route(answer: &Answer<'_>) -> Option<(Subnet, Option<u32>)> {
    if answer.kind != RTM_NEWROUTE {
        return None;
    }
    let body = answer.payload.get(link::ROUTE_HEADER_SIZE..)?;
    let base = attribute(body, RTA_DST).map_or(Some(Ipv4Addr::UNSPECIFIED), ipv4)?;
    let subnet = Subnet::containing(base, *answer.payload.get(1)?)?;
    Some((subnet, attribute(body, RTA_OIF).and_then(|index| u32_at(index, 0))))
}

/// Dumps until no change came in between; the last of many attempts is taken as it is, since a busy host changes its
/// routes all the time and none of the callers needs more than a good guess.
fn dump<T>(
    route: &Netlink,
    operation: &str,
    ask: impl Fn(&mut Request) -> usize,
    read: impl Fn(&Answer<'_>) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let mut attempt = 1;
    loop {
        let mut request = Request::default();
        ask(&mut request);
        let mut found = Vec::new();
        let outcome = route.exchange(&request, |_, answer| found.extend(read(&answer)))?;
        if !outcome.interrupted || attempt == ATTEMPTS {
            check(outcome, operation)?;
            return Ok(found);
        }
        attempt += 1;
    }
}

fn check(outcome: Outcome, operation: &str) -> Result<(), Error> {
    match outcome.rejections.into_iter().find(|rejection| rejection.errno != Errno::INTR) {
        Some(rejection) => Err(rejection.into_error(|_| operation.to_owned())),
        None => Ok(()),
    }
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?))
}
