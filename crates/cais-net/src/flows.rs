//! Makes the kernel forget UDP flows that were tracked before their port was published or taken back.
//!
//! A tracked flow keeps its way as long as packets come, without looking at the rules again. A client that sends a
//! datagram each second would therefore never reach a container that has just taken over, nor stop sending to one
//! that is gone. TCP needs none of it: its connections end. Flows between others are left alone.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::error::Error;
use crate::host;
use crate::nft::{NF_HEADER_SIZE, header};
use crate::ports::{PortMapping, Protocol};
use crate::socket::Netlink;
use crate::uapi::*;
use crate::wire::{Answer, Request, attribute};

/// Deletions per round trip: their refusals must fit into a socket's buffer.
const DELETED_AT_ONCE: usize = 64;

/// What matters about a tracked flow.
#[derive(Debug, PartialEq, Eq)]
struct Flow {
    /// Where the first packet was sent.
    to: Ipv4Addr,
    port: u16,
    /// Who answers: the same, unless the flow is translated.
    answered_by: Ipv4Addr,
    /// `CTA_TUPLE_ORIG` and `CTA_ID` as the kernel wrote them, which name the flow.
    tuple: Vec<u8>,
    id: Option<Vec<u8>>,
}

/// Forgets the UDP flows that lead through `unpublished` to its containers, and those to ports in `published` that
/// ended at the host itself. Does nothing where the kernel has no connection tracking over netlink.
pub(crate) fn forget(
    netfilter: &Netlink,
    unpublished: &[PortMapping],
    published: &[PortMapping],
) -> Result<(), Error> {
    let udp = |port: &&PortMapping| port.protocol == Protocol::Udp;
    let (unpublished, published): (Vec<_>, Vec<_>) =
        (unpublished.iter().filter(udp).collect(), published.iter().filter(udp).collect());
    if unpublished.is_empty() && published.is_empty() {
        return Ok(());
    }
    let own = if published.is_empty() { Vec::new() } else { host::addresses()? };
    let to_host =
        |flow: &Flow| flow.answered_by == flow.to && (flow.to.is_loopback() || own.contains(&flow.to));
    let stale = |flow: &Flow| {
        let same = |port: &PortMapping| {
            port.host_port == flow.port
                && port.host_ip.filter(|ip| !ip.is_unspecified()).is_none_or(|ip| ip == flow.to)
        };
        unpublished.iter().any(|port| same(port) && flow.answered_by == port.container_ip)
            || (to_host(flow) && published.iter().any(|port| same(port)))
    };
    let flows = find(netfilter, stale)?;
    for chunk in flows.chunks(DELETED_AT_ONCE) {
        delete(netfilter, chunk)?;
    }
    Ok(())
}

fn find(netfilter: &Netlink, wanted: impl Fn(&Flow) -> bool) -> Result<Vec<Flow>, Error> {
    let mut request = Request::default();
    let kind = IPCTNL_MSG_CT_GET | NFNL_SUBSYS_CTNETLINK << 8;
    request.message(kind, NLM_F_DUMP, &header(AF_INET, 0), |_| {});
    let mut flows = Vec::new();
    let outcome = netfilter.exchange(&request, |_, answer| {
        flows.extend(read(&answer).filter(|flow| wanted(flow)));
    })?;
    match outcome.rejections.into_iter().next() {
        // The subsystem is not in this kernel.
        Some(rejection) if matches!(rejection.errno, Errno::INVAL | Errno::OPNOTSUPP) => Ok(Vec::new()),
        Some(rejection) => Err(rejection.into_error(|_| "list tracked flows".to_owned())),
        None => Ok(flows),
    }
}

fn delete(netfilter: &Netlink, flows: &[Flow]) -> Result<(), Error> {
    let mut request = Request::default();
    for (place, flow) in (1..).zip(flows) {
        let flags = if place == flows.len() { NLM_F_ACK } else { 0 };
        let kind = IPCTNL_MSG_CT_DELETE | NFNL_SUBSYS_CTNETLINK << 8;
        request.message(kind, flags, &header(AF_INET, 0), |a| {
            a.bytes(CTA_TUPLE_ORIG | NLA_F_NESTED, &flow.tuple);
            if let Some(id) = &flow.id {
                a.bytes(CTA_ID, id);
            }
        });
    }
    let rejections = netfilter.exchange(&request, |_, _| {})?.rejections;
    match rejections.into_iter().find(|rejection| rejection.errno != Errno::NOENT) {
        Some(rejection) => Err(rejection.into_error(|_| "delete a tracked flow".to_owned())),
        None => Ok(()),
    }
}

/// A UDP flow in an answer to the dump.
fn read(answer: &Answer<'_>) -> Option<Flow> {
    if answer.kind != IPCTNL_MSG_CT_NEW | NFNL_SUBSYS_CTNETLINK << 8 {
        return None;
    }
    let body = answer.payload.get(NF_HEADER_SIZE..)?;
    let tuple = attribute(body, CTA_TUPLE_ORIG)?;
    let protocol = attribute(tuple, CTA_TUPLE_PROTO)?;
    if attribute(protocol, CTA_PROTO_NUM)? != [Protocol::Udp.number()] {
        return None;
    }
    let ip = |tuple, kind| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = attribute(attribute(tuple, CTA_TUPLE_IP)?, kind)?.try_into().ok()?;
        Some(octets.into())
    };
    Some(Flow {
        to: ip(tuple, CTA_IP_V4_DST)?,
        port: u16::from_be_bytes(attribute(protocol, CTA_PROTO_DST_PORT)?.try_into().ok()?),
        answered_by: ip(attribute(body, CTA_TUPLE_REPLY)?, CTA_IP_V4_SRC)?,
        tuple: tuple.to_vec(),
        id: attribute(body, CTA_ID).map(<[u8]>::to_vec),
    })
}
