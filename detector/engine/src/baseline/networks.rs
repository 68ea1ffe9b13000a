//! Aggregates addresses to networks, as a policy lists them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::baseline::{names::SIBLINGS, pairs::ReadOrigin};

/// Networks of addresses: a /24 with two addresses seen, a private /16 with three of its /24s seen,
/// a /64 for IPv6. Names of endpoints and services stay as they are.
pub(super) fn networks<'o>(origins: impl Iterator<Item = &'o ReadOrigin>) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut nets: BTreeMap<IpNet, BTreeSet<IpAddr>> = BTreeMap::new();
    for origin in origins {
        match origin {
            ReadOrigin::Name(name) => drop(names.insert(name.to_string())),
            ReadOrigin::Address(address) => {
                nets.entry(subnet(*address)).or_default().insert(*address);
            }
        }
    }
    let wide = wide_networks(nets.keys());
    for (net, addresses) in &nets {
        let around = private_16(net).filter(|net| wide.contains(net));
        names.insert(around.map_or_else(|| narrowest(net, addresses), |wide| wide.to_string()));
    }
    names.into_iter().collect()
}

/// A network or name, as [`networks`] gives it.
pub(super) struct ListedSource<'g> {
    pub(super) item: &'g str,
    /// `None` for a name.
    net: Option<IpNet>,
}

/// An entry of the list of sources.
pub(super) fn listed(item: &str) -> ListedSource<'_> {
    ListedSource {
        item,
        net: item.parse().ok(),
    }
}

impl ListedSource<'_> {
    pub(super) fn has(&self, origin: &ReadOrigin) -> bool {
        match origin {
            ReadOrigin::Name(name) => **name == *self.item,
            ReadOrigin::Address(address) => self.net.is_some_and(|net| net.contains(address)),
        }
    }
}

/// Private /16s with at least [`SIBLINGS`] subnets seen.
fn wide_networks<'n>(nets: impl Iterator<Item = &'n IpNet>) -> BTreeSet<Ipv4Net> {
    let mut subnets: BTreeMap<Ipv4Net, usize> = BTreeMap::new();
    // Counts subnets, not addresses: many hosts in one subnet say nothing about the 255 others.
    for wide in nets.filter_map(private_16) {
        *subnets.entry(wide).or_default() += 1;
    }
    subnets.retain(|_, count| *count >= SIBLINGS);
    subnets.into_keys().collect()
}

/// The /24 of an address, or the /64 for IPv6: the size of one subnet, within which hosts change
/// their addresses.
fn subnet(address: IpAddr) -> IpNet {
    let net = match address {
        IpAddr::V4(v4) => Ipv4Net::new(v4, 24).map(IpNet::V4),
        IpAddr::V6(v6) => Ipv6Net::new(v6, 64).map(IpNet::V6),
    };
    net.map_or_else(|_| IpNet::from(address), |net| net.trunc())
}

/// The /16 around a private network; `None` for public ones, whose neighbours are unrelated.
fn private_16(net: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V4(v4) = net else { return None };
    let wide = Ipv4Net::new(v4.network(), 16).ok()?.trunc();
    v4.network().is_private().then_some(wide)
}

/// A single IPv4 address as a /32, otherwise the network.
fn narrowest(net: &IpNet, addresses: &BTreeSet<IpAddr>) -> String {
    // Not so for IPv6: hosts change their address within the /64 every day (RFC 8981).
    match (addresses.first(), addresses.len()) {
        (Some(IpAddr::V4(one)), 1) => format!("{one}/32"),
        _ => net.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str], expected: &[&str]) {
        let origins = addresses.iter().map(|text| match text.parse() {
            Ok(address) => ReadOrigin::Address(address),
            Err(_) => ReadOrigin::Name((*text).into()),
        });
        let origins: Vec<ReadOrigin> = origins.collect();
        assert_eq!(networks(origins.iter()), expected);
    }

    #[test]
    fn two_neighbours_make_a_network() {
        check(&["192.0.2.7"], &["192.0.2.7/32"]);
        check(&["192.0.2.7", "192.0.2.9"], &["192.0.2.0/24"]);
        check(&["192.0.2.7", "192.0.2.7"], &["192.0.2.7/32"]);
        check(&["2001:db8::1"], &["2001:db8::/64"]);
    }

    #[test]
    fn three_private_networks_make_a_wide_one() {
        check(&["10.1.1.1", "10.1.2.1", "10.1.3.1"], &["10.1.0.0/16"]);
        check(&["10.1.1.1", "10.2.2.1"], &["10.1.1.1/32", "10.2.2.1/32"]);
        let public = ["52.1.1.1", "52.1.2.1", "52.1.3.1"];
        check(
            &public,
            &public
                .map(|address| format!("{address}/32"))
                .each_ref()
                .map(|a| &**a),
        );
    }

    #[test]
    fn endpoints_and_services_keep_their_names() {
        let names = ["cloudformation.amazonaws.com", "vpce-1"];
        check(
            &["vpce-1", "cloudformation.amazonaws.com", "vpce-1"],
            &names,
        );
    }
}
