//! What our nftables table says, and how it comes to be there exactly once.
//!
//! ```text
//! table inet cais
//!   chain rules_v1            empty; its name tells which rules these are
//!   set bridges, set subnets  one element each per network
//!   map ports_address         address . protocol . port -> container address . port
//!   map ports_any             protocol . port           -> container address . port
//!   chain guard        prerouting, raw   from a bridge, to or from 127.0.0.0/8: drop
//!   chain prerouting   dstnat            to this machine, but not to 127.0.0.0/8: translate by the two maps
//!   chain output       dstnat            to this machine: the same
//!   chain forward      filter            into a bridge from outside, unless published or answering: drop
//!   chain postrouting  srcnat            masquerade: out of a network; from 127.0.0.0/8 into a bridge;
//!                                        translated from a container to one in a network
//! ```
//!
//! The rules never change while containers come and go: a network or a published port is an element. They are written
//! in one transaction, so a reader sees all or nothing. Another table's drop still drops: a host firewall with a
//! forward policy of its own must allow the bridges. Frames from the wire to 127.0.0.0/8 are left alone here since
//! the kernel drops them, provided that nothing translates them first; hence the exception in `prerouting`.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::error::Error;
use crate::nft::{Batch, Element, Field, Hook, Rule, Set, ask_chain, ask_element, concatenation};
use crate::socket::{Netlink, Rejection};
use crate::subnet::Subnet;
use crate::uapi::*;
use crate::wire::Request;

/// Name of the table, of family inet.
pub(crate) const TABLE: &str = "cais";
/// Changes whenever the rules change, so that a newer program replaces what an older one wrote.
pub(crate) const VERSION: &str = "rules_v1";
/// Map of ports that are published on one address.
pub(crate) const PORTS_ADDRESS: &str = "ports_address";
/// Map of ports that are published on all addresses.
pub(crate) const PORTS_ANY: &str = "ports_any";
const BRIDGES: &str = "bridges";
const SUBNETS: &str = "subnets";

/// How often the rules may change under one request before it gives up.
const ATTEMPTS: usize = 32;

/// Whether the rules had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// They were there, and so are the ports published in them.
    Kept,
    /// They were missing, flushed or of another version and are new now: no port is published.
    Written,
}

const DATA: Field = Field { kind: concatenation(&[TYPE_IPV4_ADDR, TYPE_INET_SERVICE]), size: 8 };

const SETS: [Set; 4] = [
    Set { name: BRIDGES, key: Field { kind: TYPE_IFNAME, size: 16 }, data: None, interval: false },
    Set { name: SUBNETS, key: Field { kind: TYPE_IPV4_ADDR, size: 4 }, data: None, interval: true },
    Set {
        name: PORTS_ADDRESS,
        key: Field { kind: concatenation(&[TYPE_IPV4_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE]), size: 12 },
        data: Some(DATA),
        interval: false,
    },
    Set {
        name: PORTS_ANY,
        key: Field { kind: concatenation(&[TYPE_INET_PROTO, TYPE_INET_SERVICE]), size: 8 },
        data: Some(DATA),
        interval: false,
    },
];

const CHAINS: [(&str, Hook); 5] = [
    ("guard", Hook { kind: "filter", number: NF_INET_PRE_ROUTING, priority: NF_IP_PRI_RAW }),
    ("prerouting", Hook { kind: "nat", number: NF_INET_PRE_ROUTING, priority: NF_IP_PRI_NAT_DST }),
    ("output", Hook { kind: "nat", number: NF_INET_LOCAL_OUT, priority: NF_IP_PRI_NAT_DST }),
    ("forward", Hook { kind: "filter", number: NF_INET_FORWARD, priority: NF_IP_PRI_FILTER }),
    ("postrouting", Hook { kind: "nat", number: NF_INET_POST_ROUTING, priority: NF_IP_PRI_NAT_SRC }),
];

/// A network as the rules know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkElements<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) subnet: Subnet,
}

/// Sees to it that the rules are there, in this program's version, and know `network`.
///
/// One round trip when nothing is to be done; `tell` says that `network` is to be made known even if its bridge is,
/// since its subnet may be another. Many processes may do this at once: one of them writes.
pub(crate) fn ensure(netfilter: &Netlink, network: NetworkElements<'_>, tell: bool) -> Result<Rules, Error> {
    let mut table_exists = false;
    for _ in 0..ATTEMPTS {
        let (request, done) = match inspect(netfilter, network.bridge)? {
            Found { version: true, bridge: true } if !tell => return Ok(Rules::Kept),
            Found { version: true, .. } => (add_network(network), Rules::Kept),
            Found { version: false, .. } => (write_rules(network, table_exists), Rules::Written),
        };
        let labels = request.1;
        match netfilter.exchange(&request.0, |_, _| {})?.rejections.into_iter().next() {
            None => return Ok(done),
            // Somebody was faster, or has just deleted the table; look again.
            Some(Rejection { errno: Errno::EXIST, index, .. }) if index == labels.race => table_exists = true,
            Some(Rejection { errno: Errno::NOENT, index, .. }) if index == labels.race => {
                table_exists = false
            }
            Some(rejection) => return Err(labels.explain(rejection)),
        }
    }
    Err(Error::Contended { operation: "write the nftables rules" })
}

/// Forgets a network; what is not there is fine.
pub(crate) fn remove_network(netfilter: &Netlink, network: NetworkElements<'_>) -> Result<(), Error> {
    let mut bridge = Batch::new(TABLE, None);
    bridge.remove_element(BRIDGES, &bridge_element(&interface_key(network.bridge)), NLM_F_ACK);
    let mut subnet = Batch::new(TABLE, None);
    let [start, end] = subnet_keys(network.subnet);
    subnet.remove_element(SUBNETS, &range_start(&start), 0);
    subnet.remove_element(SUBNETS, &range_end(&end), NLM_F_ACK);
    for batch in [bridge, subnet] {
        absent_is_fine(netfilter, &batch.finish(), || {
            format!("remove network {} from the rules", network.bridge)
        })?;
    }
    Ok(())
}

/// Deletes the table with all rules and published ports; that it is not there is fine.
pub(crate) fn remove_table(netfilter: &Netlink) -> Result<(), Error> {
    let mut batch = Batch::new(TABLE, None);
    batch.delete_table(NLM_F_ACK);
    absent_is_fine(netfilter, &batch.finish(), || format!("delete the nftables table {TABLE}"))
}

fn absent_is_fine(
    netfilter: &Netlink,
    request: &Request,
    operation: impl Fn() -> String,
) -> Result<(), Error> {
    match netfilter.exchange(request, |_, _| {})?.rejections.into_iter().next() {
        Some(rejection) if rejection.errno != Errno::NOENT => Err(rejection.into_error(|_| operation())),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Found {
    version: bool,
    bridge: bool,
}

fn inspect(netfilter: &Netlink, bridge: &str) -> Result<Found, Error> {
    let mut request = Request::default();
    let version = ask_chain(&mut request, TABLE, VERSION, 0);
    ask_element(&mut request, TABLE, BRIDGES, &interface_key(bridge), NLM_F_ACK);
    let mut found = Found::default();
    let outcome = netfilter.exchange(&request, |index, _| {
        if index == version {
            found.version = true;
        } else {
            found.bridge = true;
        }
    })?;
    match outcome.rejections.into_iter().find(|rejection| rejection.errno != Errno::NOENT) {
        Some(Rejection { errno: errno @ (Errno::INVAL | Errno::OPNOTSUPP), hint, .. }) => {
            Err(Error::Unsupported { operation: "use nftables".to_owned(), hint, source: errno })
        }
        Some(rejection) => Err(rejection.into_error(|_| "read the nftables rules".to_owned())),
        None => Ok(found),
    }
}

/// What the messages of a batch do, for errors.
#[derive(Debug, Default)]
struct Labels {
    /// The message whose refusal as existing or missing only tells that another process was faster.
    race: usize,
    names: Vec<(usize, String)>,
}

impl Labels {
    fn push(&mut self, index: usize, name: String) {
        self.names.push((index, name));
    }

    /// A refusal while writing our own rules means, unless it is about rights or memory, that the kernel is too old
    /// or built without something.
    fn explain(self, rejection: Rejection) -> Error {
        let name = self.names.into_iter().find(|(index, _)| *index == rejection.index).map(|(_, name)| name);
        let operation = name.unwrap_or_else(|| "write the nftables rules".to_owned());
        match rejection.errno {
            errno @ (Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::AFNOSUPPORT) => {
                Error::Unsupported { operation, hint: rejection.hint, source: errno }
            }
            _ => rejection.into_error(|_| operation.clone()),
        }
    }
}

/// The transaction that writes everything; with `replace` it takes the place of another version's table.
fn write_rules(network: NetworkElements<'_>, replace: bool) -> (Request, Labels) {
    let mut batch = Batch::new(TABLE, None);
    let mut labels = Labels::default();
    if replace {
        // Refused as existing when another process has replaced the table meanwhile, as missing when it is gone.
        labels.race = batch.create_chain(VERSION, None, 0);
        batch.delete_table(0);
        batch.create_table();
    } else {
        labels.race = batch.create_table();
    }
    for (set, id) in SETS.iter().zip(1..) {
        let index = batch.create_set(set, id);
        labels.push(index, format!("create nftables set {}", set.name));
    }
    for (name, hook) in &CHAINS {
        let index = batch.create_chain(name, Some(hook), 0);
        labels.push(index, format!("create nftables chain {name} of type {}", hook.kind));
    }
    let mut rule = |chain: &str, body: &dyn Fn(&mut Rule<'_, '_>)| {
        let index = batch.add_rule(chain, 0, |rule| body(rule));
        labels.push(index, format!("add a rule to nftables chain {chain}"));
    };
    guard_rules(&mut rule);
    translation_rules(&mut rule);
    masquerade_rules(&mut rule);
    add_elements(&mut batch, network, 0);
    // Last, so that the one acknowledgement is that of the version.
    batch.create_chain(VERSION, None, NLM_F_ACK);
    (batch.finish(), labels)
}

type AddRule<'a> = dyn FnMut(&str, &dyn Fn(&mut Rule<'_, '_>)) + 'a;

fn guard_rules(add: &mut AddRule<'_>) {
    for loopback in [to_loopback, from_loopback] {
        add("guard", &|rule| {
            from_bridge(rule);
            rule.ipv4();
            loopback(rule);
            rule.verdict(NF_DROP);
        });
    }
    add("forward", &|rule| {
        into_bridge(rule);
        rule.meta(NFT_META_IIFNAME, NFT_REG_1);
        rule.not_in_set(BRIDGES);
        rule.connection(NFT_CT_STATE, CT_STATE_ESTABLISHED_RELATED, false);
        rule.connection(NFT_CT_STATUS, CT_STATUS_DNAT, false);
        rule.verdict(NF_DROP);
    });
}

fn translation_rules(add: &mut AddRule<'_>) {
    add("prerouting", &|rule| {
        rule.ipv4();
        to_loopback(rule);
        rule.verdict(NFT_RETURN);
    });
    for chain in ["prerouting", "output"] {
        add(chain, &|rule| {
            rule.ipv4();
            rule.for_this_machine();
            rule.payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4, NFT_REG_1);
            rule.meta(NFT_META_L4PROTO, NFT_REG32_01);
            rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG32_02);
            rule.translate(PORTS_ADDRESS);
            rule.redirect();
        });
        add(chain, &|rule| {
            rule.ipv4();
            rule.for_this_machine();
            rule.meta(NFT_META_L4PROTO, NFT_REG_1);
            rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG32_01);
            rule.translate(PORTS_ANY);
            rule.redirect();
        });
    }
}

fn masquerade_rules(add: &mut AddRule<'_>) {
    add("postrouting", &|rule| {
        rule.ipv4();
        from_subnet(rule);
        rule.meta(NFT_META_OIFNAME, NFT_REG_1);
        rule.not_in_set(BRIDGES);
        rule.masquerade();
    });
    add("postrouting", &|rule| {
        rule.ipv4();
        from_loopback(rule);
        into_bridge(rule);
        rule.masquerade();
    });
    add("postrouting", &|rule| {
        rule.ipv4();
        from_subnet(rule);
        into_bridge(rule);
        rule.connection(NFT_CT_STATUS, CT_STATUS_DNAT, true);
        rule.masquerade();
    });
}

fn from_bridge(rule: &mut Rule<'_, '_>) {
    rule.meta(NFT_META_IIFNAME, NFT_REG_1);
    rule.in_set(BRIDGES);
}

fn into_bridge(rule: &mut Rule<'_, '_>) {
    rule.meta(NFT_META_OIFNAME, NFT_REG_1);
    rule.in_set(BRIDGES);
}

fn from_subnet(rule: &mut Rule<'_, '_>) {
    rule.payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4, NFT_REG_1);
    rule.in_set(SUBNETS);
}

fn from_loopback(rule: &mut Rule<'_, '_>) {
    rule.payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 1, NFT_REG_1);
    rule.compare(NFT_CMP_EQ, &[127]);
}

fn to_loopback(rule: &mut Rule<'_, '_>) {
    rule.payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 1, NFT_REG_1);
    rule.compare(NFT_CMP_EQ, &[127]);
}

/// The transaction that makes `network` known to rules that are there.
fn add_network(network: NetworkElements<'_>) -> (Request, Labels) {
    let mut batch = Batch::new(TABLE, None);
    let mut labels = Labels { race: add_elements(&mut batch, network, NLM_F_ACK), names: Vec::new() };
    labels.push(labels.race, format!("add network {} to the rules", network.bridge));
    labels.push(labels.race + 1, format!("add subnet {} to the rules", network.subnet));
    (batch.finish(), labels)
}

fn add_elements(batch: &mut Batch, network: NetworkElements<'_>, flags: u16) -> usize {
    let first = batch.add_element(BRIDGES, &bridge_element(&interface_key(network.bridge)), 0);
    let [start, end] = subnet_keys(network.subnet);
    batch.add_element(SUBNETS, &range_start(&start), 0);
    batch.add_element(SUBNETS, &range_end(&end), flags);
    first
}

fn bridge_element(key: &[u8; INTERFACE_NAME_SIZE]) -> Element<'_> {
    Element { key, data: None, interval_end: false }
}

fn range_start(key: &[u8; 4]) -> Element<'_> {
    Element { key, data: None, interval_end: false }
}

fn range_end(key: &[u8; 4]) -> Element<'_> {
    Element { key, data: None, interval_end: true }
}

/// First address of a subnet and first address behind it.
fn subnet_keys(subnet: Subnet) -> [[u8; 4]; 2] {
    let behind = Ipv4Addr::from_bits(subnet.broadcast().to_bits().wrapping_add(1));
    [subnet.base().octets(), behind.octets()]
}

/// An interface name as the kernel compares it: padded with NULs.
fn interface_key(name: &str) -> [u8; INTERFACE_NAME_SIZE] {
    let mut key = [0; INTERFACE_NAME_SIZE];
    for (to, from) in key.iter_mut().zip(name.bytes().take(INTERFACE_NAME_SIZE - 1)) {
        *to = from;
    }
    key
}
