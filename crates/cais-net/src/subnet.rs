//! IPv4 subnets: parsing, choice of a free one, and the addresses of one in an order that depends on a seed. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::error::Error;

/// An IPv4 network; the bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    base: Ipv4Addr,
    prefix: u8,
}

/// The subnet of the default network, unless the host uses it otherwise.
pub const DEFAULT_SUBNET: Subnet = Subnet { base: Ipv4Addr::new(10, 88, 0, 0), prefix: 16 };

impl Subnet {
    /// The subnet of `prefix` bits that `address` is in; `None` when `prefix` is above 32.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { base: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }

    /// The first address, which stands for the subnet itself.
    pub fn base(&self) -> Ipv4Addr {
        self.base
    }

    /// How many bits are fixed, 0 to 32.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The last address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | !mask(self.prefix))
    }

    /// The address that the bridge takes by default: the first behind the base.
    pub fn first_host(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits().saturating_add(1))
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.base.to_bits()
    }

    /// Whether any address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// Every address that a container can have, each once, from a place given by `seed` onwards and then around.
    ///
    /// Leaves out the subnet's first and last address and `gateway`. A caller that takes the first one that is free
    /// needs no list of used addresses in order, and with a seed from the container's id seldom meets another one.
    pub fn candidates(&self, gateway: Ipv4Addr, seed: u64) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let hosts = (1u64 << (32 - self.prefix)).saturating_sub(2);
        let first = u64::from(self.base.to_bits()) + 1;
        let start = seed.checked_rem(hosts).unwrap_or(0);
        (0..hosts)
            .map(move |step| Ipv4Addr::from_bits((first + (start + step) % hosts) as u32))
            .filter(move |address| *address != gateway)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    /// Reads `10.88.0.0/16`; bits behind the prefix are an error, since one of the two numbers must be a mistake.
    fn from_str(text: &str) -> Result<Self, Error> {
        let syntax =
            || Error::Syntax { text: text.to_owned(), expected: "an IPv4 subnet such as 10.88.0.0/16" };
        let (base, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let base: Ipv4Addr = base.parse().map_err(|_| syntax())?;
        let prefix = prefix.parse().map_err(|_| syntax())?;
        Self::containing(base, prefix).filter(|subnet| subnet.base == base).ok_or_else(syntax)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Routes as short as this cover a good part of the Internet: default routes, and the halves that VPNs use for one.
const SHORTEST_LOCAL_PREFIX: u8 = 5;

/// The first subnet that overlaps none of `taken`: [`DEFAULT_SUBNET`], then 10.89/16 to 10.255/16, 172.16/16 to
/// 172.31/16, 192.168.0/20 to 192.168.240/20; `None` when the host uses all private addresses.
///
/// `taken` is the host's routes and addresses ([`crate::host::subnets_in_use`]) and whatever else must stay
/// reachable, such as name servers; default routes in it do not count.
pub fn choose_subnet(taken: &[Subnet]) -> Option<Subnet> {
    let tens = (88..=255).map(|second| Subnet { base: Ipv4Addr::new(10, second, 0, 0), prefix: 16 });
    let seventeens = (16..=31).map(|second| Subnet { base: Ipv4Addr::new(172, second, 0, 0), prefix: 16 });
    let nineteens = (0..16).map(|part| Subnet { base: Ipv4Addr::new(192, 168, part * 16, 0), prefix: 20 });
    tens.chain(seventeens).chain(nineteens).find(|candidate| {
        !taken.iter().any(|route| route.prefix >= SHORTEST_LOCAL_PREFIX && route.overlaps(candidate))
    })
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect(text)
    }

    #[test]
    fn parses_what_it_prints_and_refuses_the_rest() {
        for good in ["10.88.0.0/16", "0.0.0.0/0", "192.168.1.7/32", "172.16.0.0/12"] {
            assert_eq!(subnet(good).to_string(), good);
        }
        for bad in
            ["", "10.88.0.0", "10.88.0.0/33", "10.88.0.1/16", "10.88/16", "10.88.0.0/-1", "fd00::/8", "a/b"]
        {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ends_and_overlaps() {
        let net = subnet("10.88.0.0/16");
        assert_eq!(net, DEFAULT_SUBNET);
        assert_eq!(
            (net.first_host(), net.broadcast()),
            (Ipv4Addr::new(10, 88, 0, 1), Ipv4Addr::new(10, 88, 255, 255))
        );
        for (other, expected) in
            [("10.88.4.0/24", true), ("10.0.0.0/8", true), ("10.89.0.0/16", false), ("0.0.0.0/0", true)]
        {
            assert_eq!(net.overlaps(&subnet(other)), expected, "{other}");
            assert_eq!(subnet(other).overlaps(&net), expected, "{other}");
        }
    }

    #[test]
    fn candidates_are_every_host_but_the_gateway_once() {
        for (text, count) in
            [("10.0.0.0/24", 253), ("10.0.0.0/30", 1), ("10.0.0.0/31", 0), ("10.0.0.0/32", 0)]
        {
            let net = subnet(text);
            for seed in [0, 1, 2, 252, 253, 254, u64::MAX] {
                let all: Vec<_> = net.candidates(net.first_host(), seed).collect();
                assert_eq!(all.len(), count, "{text} from {seed}");
                assert_eq!(all.iter().collect::<HashSet<_>>().len(), count);
                assert!(
                    all.iter().all(|ip| net.contains(*ip) && *ip != net.base() && *ip != net.broadcast())
                );
                assert!(!all.contains(&net.first_host()));
            }
        }
        let net = subnet("10.0.0.0/24");
        assert_eq!(net.candidates(net.first_host(), 9).next(), Some(Ipv4Addr::new(10, 0, 0, 10)));
        assert_eq!(net.candidates(net.first_host(), 253).nth(1), Some(Ipv4Addr::new(10, 0, 0, 2)));
        let largest = subnet("0.0.0.0/0");
        assert_eq!(largest.candidates(largest.first_host(), u64::MAX).take(3).count(), 3);
    }

    #[test]
    fn the_chosen_subnet_collides_with_nothing() {
        let chosen = |taken: &[&str]| {
            let taken: Vec<_> = taken.iter().map(|text| subnet(text)).collect();
            choose_subnet(&taken).map(|subnet| subnet.to_string())
        };
        assert_eq!(chosen(&[]).as_deref(), Some("10.88.0.0/16"));
        assert_eq!(chosen(&["0.0.0.0/0", "0.0.0.0/1", "127.0.0.0/8"]).as_deref(), Some("10.88.0.0/16"));
        assert_eq!(chosen(&["10.88.7.9/32"]).as_deref(), Some("10.89.0.0/16"));
        assert_eq!(chosen(&["10.88.0.0/15", "10.90.0.0/16"]).as_deref(), Some("10.91.0.0/16"));
        assert_eq!(chosen(&["10.0.0.0/8"]).as_deref(), Some("172.16.0.0/16"));
        assert_eq!(chosen(&["10.0.0.0/8", "172.16.0.0/12"]).as_deref(), Some("192.168.0.0/20"));
        assert_eq!(chosen(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]), None);
    }
}
