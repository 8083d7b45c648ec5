//! nf_tables messages: batches, tables, chains, rules, sets, elements (nft(8), `linux/netfilter/nf_tables.h`).
//!
//! A batch is one transaction: the kernel takes all of it or nothing. Only its last real message asks for an
//! acknowledgement, because kernels before 6.10 give none for the end of a batch. Pure: writes into a [`Request`].
//! Knows the nf_tables language, not what our rules say in it: that is `ruleset`.

use crate::uapi::*;
use crate::wire::{Attributes, Request};

/// Size of `struct nfgenmsg`.
pub(crate) const NF_HEADER_SIZE: usize = 4;

/// `struct nfgenmsg`.
pub(crate) fn header(family: u8, resource: u16) -> [u8; NF_HEADER_SIZE] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// A transaction on one table of family inet.
#[derive(Debug)]
pub(crate) struct Batch {
    request: Request,
    table: &'static str,
}

impl Batch {
    /// Begins a transaction; with `generation` the kernel refuses it (`ERESTART`) if anything changed since.
    pub(crate) fn new(table: &'static str, generation: Option<u32>) -> Self {
        let mut request = Request::default();
        request.message(NFNL_MSG_BATCH_BEGIN, 0, &header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES), |a| {
            if let Some(generation) = generation {
                a.be32(NFNL_BATCH_GENID, generation);
            }
        });
        Self { request, table }
    }

    /// Appends message `kind`; every kind names its table in attribute 1.
    fn message(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Attributes<'_>)) -> usize {
        let table = self.table;
        self.request.message(kind | NFNL_SUBSYS_NFTABLES << 8, flags, &header(NFPROTO_INET, 0), |a| {
            a.text(NFTA_TABLE_NAME, table);
            body(a);
        })
    }

    /// Creates the table, which must not be there.
    pub(crate) fn create_table(&mut self) -> usize {
        self.message(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |_| {})
    }

    /// Deletes the table with all that is in it.
    pub(crate) fn delete_table(&mut self, flags: u16) -> usize {
        self.message(NFT_MSG_DELTABLE, flags, |_| {})
    }

    /// Creates a chain that must not be there: called by the kernel if it has a hook, else only a name.
    pub(crate) fn create_chain(&mut self, name: &str, hook: Option<&Hook>, flags: u16) -> usize {
        self.message(NFT_MSG_NEWCHAIN, flags | NLM_F_CREATE | NLM_F_EXCL, |a| {
            a.text(NFTA_CHAIN_NAME, name);
            let Some(hook) = hook else { return };
            a.nest(NFTA_CHAIN_HOOK, |a| {
                a.be32(NFTA_HOOK_HOOKNUM, hook.number);
                a.be32(NFTA_HOOK_PRIORITY, hook.priority as u32);
            });
            a.be32(NFTA_CHAIN_POLICY, NF_ACCEPT as u32);
            a.text(NFTA_CHAIN_TYPE, hook.kind);
        })
    }

    /// Creates a set or map; `id` is its number within the transaction.
    pub(crate) fn create_set(&mut self, set: &Set, id: u32) -> usize {
        self.message(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, |a| {
            a.text(NFTA_SET_NAME, set.name);
            let map = if set.data.is_some() { NFT_SET_MAP } else { 0 };
            a.be32(NFTA_SET_FLAGS, map | if set.interval { NFT_SET_INTERVAL } else { 0 });
            a.be32(NFTA_SET_KEY_TYPE, set.key.kind);
            a.be32(NFTA_SET_KEY_LEN, set.key.size);
            if let Some(data) = &set.data {
                a.be32(NFTA_SET_DATA_TYPE, data.kind);
                a.be32(NFTA_SET_DATA_LEN, data.size);
            }
            a.be32(NFTA_SET_ID, id);
            if set.key.kind == TYPE_IFNAME {
                // For `nft` alone: one entry that says that keys are in the machine's byte order.
                a.bytes(NFTA_SET_USERDATA, &[&[0, 4][..], &1u32.to_ne_bytes()].concat());
            }
        })
    }

    /// Appends a rule to a chain; `flags` is `NLM_F_ACK` on the last message of a batch.
    pub(crate) fn add_rule(
        &mut self,
        chain: &str,
        flags: u16,
        body: impl FnOnce(&mut Rule<'_, '_>),
    ) -> usize {
        self.message(NFT_MSG_NEWRULE, flags | NLM_F_CREATE | NLM_F_APPEND, |a| {
            a.text(NFTA_RULE_CHAIN, chain);
            a.nest(NFTA_RULE_EXPRESSIONS, |a| body(&mut Rule(a)));
        })
    }

    /// Adds one element; with `NLM_F_EXCL` in `flags` it must not be there, else it must not be there differently.
    pub(crate) fn add_element(&mut self, set: &str, element: &Element<'_>, flags: u16) -> usize {
        self.message(NFT_MSG_NEWSETELEM, flags | NLM_F_CREATE, |a| write_element(a, set, element))
    }

    /// Removes one element, which must be there; its data plays no part.
    pub(crate) fn remove_element(&mut self, set: &str, element: &Element<'_>, flags: u16) -> usize {
        self.message(NFT_MSG_DELSETELEM, flags, |a| write_element(a, set, element))
    }

    /// Ends the transaction. The last message before must have asked for an acknowledgement.
    pub(crate) fn finish(mut self) -> Request {
        self.request.message(NFNL_MSG_BATCH_END, 0, &header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES), |_| {});
        self.request
    }
}

/// Asks whether a chain is there.
pub(crate) fn ask_chain(request: &mut Request, table: &str, chain: &str, flags: u16) -> usize {
    ask(request, NFT_MSG_GETCHAIN, flags, |a| {
        a.text(NFTA_CHAIN_TABLE, table);
        a.text(NFTA_CHAIN_NAME, chain);
    })
}

/// Asks for one element of a set by its key.
pub(crate) fn ask_element(request: &mut Request, table: &str, set: &str, key: &[u8], flags: u16) -> usize {
    ask(request, NFT_MSG_GETSETELEM, flags, |a| {
        a.text(NFTA_SET_ELEM_LIST_TABLE, table);
        write_element(a, set, &Element { key, data: None, interval_end: false });
    })
}

/// Asks for all elements of a set.
pub(crate) fn ask_elements(request: &mut Request, table: &str, set: &str) -> usize {
    ask(request, NFT_MSG_GETSETELEM, NLM_F_DUMP, |a| {
        a.text(NFTA_SET_ELEM_LIST_TABLE, table);
        a.text(NFTA_SET_ELEM_LIST_SET, set);
    })
}

/// Asks for the number of the current generation of all rules.
pub(crate) fn ask_generation(request: &mut Request) -> usize {
    ask(request, NFT_MSG_GETGEN, 0, |_| {})
}

fn ask(request: &mut Request, kind: u16, flags: u16, body: impl FnOnce(&mut Attributes<'_>)) -> usize {
    request.message(kind | NFNL_SUBSYS_NFTABLES << 8, flags, &header(NFPROTO_INET, 0), body)
}

/// Where a chain is called.
#[derive(Debug)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// A set, or a map if it has data.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) key: Field,
    pub(crate) data: Option<Field>,
    /// Keys are ranges: an element opens one, an element with `interval_end` closes it.
    pub(crate) interval: bool,
}

/// Type and size in bytes of a key or of data; each part of a concatenation fills whole 4-byte registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) kind: u32,
    pub(crate) size: u32,
}

/// The type of a concatenation, six bits each, as `nft` prints it.
pub(crate) const fn concatenation(parts: &[u32]) -> u32 {
    let (mut kind, mut i) = (0, 0);
    while i < parts.len() {
        kind = kind << 6 | parts[i];
        i += 1;
    }
    kind
}

/// One element of a set or map.
#[derive(Debug)]
pub(crate) struct Element<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) interval_end: bool,
}

fn write_element(a: &mut Attributes<'_>, set: &str, element: &Element<'_>) {
    a.text(NFTA_SET_ELEM_LIST_SET, set);
    a.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |a| {
        a.nest(NFTA_LIST_ELEM, |a| {
            a.nest(NFTA_SET_ELEM_KEY, |a| a.bytes(NFTA_DATA_VALUE, element.key));
            if let Some(data) = element.data {
                a.nest(NFTA_SET_ELEM_DATA, |a| a.bytes(NFTA_DATA_VALUE, data));
            }
            if element.interval_end {
                a.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            }
        });
    });
}

/// The expressions of a rule: each looks at a packet or at what an earlier one left in a register, and the first that
/// does not match ends the rule.
pub(crate) struct Rule<'a, 'b>(&'a mut Attributes<'b>);

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, body: impl FnOnce(&mut Attributes<'_>)) {
        self.0.nest(NFTA_LIST_ELEM, |a| {
            a.text(NFTA_EXPR_NAME, name);
            a.nest(NFTA_EXPR_DATA, body);
        });
    }

    /// Loads a fact about the packet.
    pub(crate) fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |a| {
            a.be32(NFTA_META_KEY, key);
            a.be32(NFTA_META_DREG, register);
        });
    }

    /// Loads bytes of a header.
    pub(crate) fn payload(&mut self, base: u32, offset: u32, size: u32, register: u32) {
        self.expression("payload", |a| {
            a.be32(NFTA_PAYLOAD_DREG, register);
            a.be32(NFTA_PAYLOAD_BASE, base);
            a.be32(NFTA_PAYLOAD_OFFSET, offset);
            a.be32(NFTA_PAYLOAD_LEN, size);
        });
    }

    /// Compares register 1 with a value.
    pub(crate) fn compare(&mut self, operator: u32, value: &[u8]) {
        self.expression("cmp", |a| {
            a.be32(NFTA_CMP_SREG, NFT_REG_1);
            a.be32(NFTA_CMP_OP, operator);
            a.nest(NFTA_CMP_DATA, |a| a.bytes(NFTA_DATA_VALUE, value));
        });
    }

    /// Matches when the key at register 1 is in the set.
    pub(crate) fn in_set(&mut self, set: &str) {
        self.expression("lookup", |a| {
            a.text(NFTA_LOOKUP_SET, set);
            a.be32(NFTA_LOOKUP_SREG, NFT_REG_1);
        });
    }

    /// Matches when the key at register 1 is not in the set.
    pub(crate) fn not_in_set(&mut self, set: &str) {
        self.expression("lookup", |a| {
            a.text(NFTA_LOOKUP_SET, set);
            a.be32(NFTA_LOOKUP_SREG, NFT_REG_1);
            a.be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
        });
    }

    /// Replaces the key at register 1 by what the map has for it; no match when it has nothing.
    pub(crate) fn translate(&mut self, map: &str) {
        self.expression("lookup", |a| {
            a.text(NFTA_LOOKUP_SET, map);
            a.be32(NFTA_LOOKUP_SREG, NFT_REG_1);
            a.be32(NFTA_LOOKUP_DREG, NFT_REG_1);
        });
    }

    /// Matches packets of IPv4.
    pub(crate) fn ipv4(&mut self) {
        self.meta(NFT_META_NFPROTO, NFT_REG_1);
        self.compare(NFT_CMP_EQ, &[NFPROTO_IPV4]);
    }

    /// Matches packets to an address of this machine.
    pub(crate) fn for_this_machine(&mut self) {
        self.expression("fib", |a| {
            a.be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
            a.be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
            a.be32(NFTA_FIB_DREG, NFT_REG_1);
        });
        self.compare(NFT_CMP_EQ, &RTN_LOCAL.to_ne_bytes());
    }

    /// Matches by bits of what connection tracking knows under `key`: some of `mask` are set, or none.
    pub(crate) fn connection(&mut self, key: u32, mask: u32, some: bool) {
        self.expression("ct", |a| {
            a.be32(NFTA_CT_KEY, key);
            a.be32(NFTA_CT_DREG, NFT_REG_1);
        });
        self.expression("bitwise", |a| {
            a.be32(NFTA_BITWISE_SREG, NFT_REG_1);
            a.be32(NFTA_BITWISE_DREG, NFT_REG_1);
            a.be32(NFTA_BITWISE_LEN, 4);
            a.nest(NFTA_BITWISE_MASK, |a| a.bytes(NFTA_DATA_VALUE, &mask.to_ne_bytes()));
            a.nest(NFTA_BITWISE_XOR, |a| a.bytes(NFTA_DATA_VALUE, &[0; 4]));
        });
        self.compare(if some { NFT_CMP_NEQ } else { NFT_CMP_EQ }, &[0; 4]);
    }

    /// Sends the packet and its connection to the address and port at registers 1 and 32_01.
    pub(crate) fn redirect(&mut self) {
        self.expression("nat", |a| {
            a.be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
            a.be32(NFTA_NAT_FAMILY, u32::from(NFPROTO_IPV4));
            a.be32(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
            a.be32(NFTA_NAT_REG_PROTO_MIN, NFT_REG32_01);
        });
    }

    /// Lets the connection come from the address of the interface that it leaves by.
    pub(crate) fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }

    /// Ends the chain: `NF_DROP`, `NF_ACCEPT`, `NFT_RETURN`.
    pub(crate) fn verdict(&mut self, code: i32) {
        self.expression("immediate", |a| {
            a.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
            a.nest(NFTA_IMMEDIATE_DATA, |a| {
                a.nest(NFTA_DATA_VERDICT, |a| a.be32(NFTA_VERDICT_CODE, code as u32));
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `nft add element inet t m '{ tcp . 80 : … }'` sends, but for the acknowledgement.
    #[cfg(target_endian = "little")]
    #[test]
    fn an_element_is_three_messages() {
        let mut batch = Batch::new("t", Some(7));
        let element =
            Element { key: &[6, 0, 0, 0, 0, 80, 0, 0], data: Some(&[10, 88, 0, 2]), interval_end: false };
        batch.add_element("m", &element, NLM_F_EXCL | NLM_F_ACK);
        #[rustfmt::skip]
        let golden: &[u8] = &[
            28, 0, 0, 0, 0x10, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, /* AF_UNSPEC, nf_tables */ 0, 0, 0, 10,
                8, 0, 1, 0, 0, 0, 0, 7,
            72, 0, 0, 0, 12, 10, 5, 6, 2, 0, 0, 0, 0, 0, 0, 0, /* inet */ 1, 0, 0, 0,
                6, 0, 1, 0, b't', 0, 0, 0,
                6, 0, 2, 0, b'm', 0, 0, 0,
                36, 0, 3, 0x80,
                    32, 0, 1, 0x80,
                        16, 0, 1, 0x80, 12, 0, 1, 0, 6, 0, 0, 0, 0, 80, 0, 0,
                        12, 0, 2, 0x80, 8, 0, 1, 0, 10, 88, 0, 2,
            20, 0, 0, 0, 0x11, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
        ];
        let request = batch.finish();
        assert_eq!(request.bytes(), golden);
        assert_eq!(request.awaited(), 2, "not the end of the batch");
    }

    #[test]
    fn concatenated_types_are_those_that_nft_prints() {
        assert_eq!(concatenation(&[TYPE_INET_PROTO, TYPE_INET_SERVICE]), 0x30d);
        assert_eq!(concatenation(&[TYPE_IPV4_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE]), 0x730d);
    }
}
