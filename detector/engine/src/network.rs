//! Where a call comes from: its network, and the class of it. Classes beyond the shape of the
//! address come from lists of networks that the user names; nothing is downloaded.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{IpNet, IpSubnets, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use serde_json::Value;

use crate::{
    geo::is_private,
    observation::{CallSource, SourceKind},
};

/// Class of the network that a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceClass {
    /// A private address (RFC 1918, shared, link-local, unique local), without a VPC endpoint.
    Private,
    /// Through a VPC endpoint (`vpcEndpointId`), whatever the address.
    VpcEndpoint,
    /// An AWS service or `AWS Internal`.
    AwsService,
    /// An address in a list with the label `aws`.
    AwsPublic,
    /// An address in a list with the label `hosted_ci`.
    HostedCi,
    /// An address in a list with the label `anonymizer`.
    Anonymizer,
    /// An address in a list with the label `own`.
    Own,
    /// Any other public address.
    Public,
}

impl SourceClass {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::Private,
        Self::VpcEndpoint,
        Self::AwsService,
        Self::AwsPublic,
        Self::HostedCi,
        Self::Anonymizer,
        Self::Own,
        Self::Public,
    ];

    /// The name in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::VpcEndpoint => "vpc_endpoint",
            Self::AwsService => "aws_service",
            Self::AwsPublic => "aws_public",
            Self::HostedCi => "hosted_ci",
            Self::Anonymizer => "anonymizer",
            Self::Own => "own",
            Self::Public => "public",
        }
    }

    /// The label of the lists that make this class; `None` for a class that the address itself
    /// shows.
    #[must_use]
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::AwsPublic => Some("aws"),
            Self::HostedCi => Some("hosted_ci"),
            Self::Anonymizer => Some("anonymizer"),
            Self::Own => Some("own"),
            Self::Private | Self::VpcEndpoint | Self::AwsService | Self::Public => None,
        }
    }

    /// The class of a source by its shape, without lists; `None` if it is no address and no
    /// service.
    #[must_use]
    pub fn by_shape(source: &CallSource) -> Option<Self> {
        if source.vpc_endpoint.is_some() {
            return Some(Self::VpcEndpoint);
        }
        match source.kind {
            SourceKind::Service | SourceKind::Internal => Some(Self::AwsService),
            SourceKind::Ip if is_private(address(source)?) => Some(Self::Private),
            SourceKind::Ip => Some(Self::Public),
            SourceKind::Unknown => None,
        }
    }

    /// The class of a source; `None` if it is no address and no service.
    #[must_use]
    pub fn of(source: &CallSource, lists: &NetworkLists) -> Option<Self> {
        let by_shape = Self::by_shape(source)?;
        if matches!(by_shape, Self::VpcEndpoint | Self::AwsService) {
            return Some(by_shape);
        }
        let address = address(source)?;
        // Who hides counts first, then what is ours.
        let listed = [Self::Anonymizer, Self::Own, Self::HostedCi, Self::AwsPublic];
        let mut listed = listed.into_iter().filter(|class| {
            let list = class.label().and_then(|label| lists.0.get(label));
            list.is_some_and(|list| list.contains(address))
        });
        Some(listed.next().unwrap_or(by_shape))
    }
}

/// Whether the address of a source is a private one, through whatever endpoint.
#[must_use]
pub fn is_from_private(source: &CallSource) -> bool {
    source.kind == SourceKind::Ip && address(source).is_some_and(is_private)
}

/// The network of a source: the id of its VPC endpoint, or the /24 (IPv6: /48) around its address.
/// `None` for services and what is no address.
#[must_use]
pub fn network_of(source: &CallSource) -> Option<String> {
    if let Some(endpoint) = &source.vpc_endpoint {
        return Some(endpoint.to_string());
    }
    let net = match address(source)? {
        IpAddr::V4(v4) => Ipv4Net::new(v4, 24).ok()?.trunc().to_string(),
        IpAddr::V6(v6) => Ipv6Net::new(v6, 48).ok()?.trunc().to_string(),
    };
    Some(net)
}

/// The address of a source: `::ffff:10.0.0.1` is 10.0.0.1.
fn address(source: &CallSource) -> Option<IpAddr> {
    let address: IpAddr = source.ip.as_deref()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Lists of networks by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLists(BTreeMap<String, NetworkList>);

static NONE: NetworkLists = NetworkLists(BTreeMap::new());

impl NetworkLists {
    /// No lists.
    #[must_use]
    pub fn none() -> &'static Self {
        &NONE
    }

    /// Adds a list under a label; several lists with one label are one.
    ///
    /// # Errors
    ///
    /// [`NetworkListFault`]: the label or the text is none.
    pub fn add(&mut self, label: &str, text: &str) -> Result<(), NetworkListFault> {
        if label.is_empty() || !label.chars().all(is_of_label) {
            return Err(NetworkListFault::Label(label.to_owned()));
        }
        let ranges = NetworkList::read(text)?;
        let list = self.0.entry(label.to_owned()).or_default();
        list.ranges.extend(ranges.ranges);
        list.merge();
        Ok(())
    }

    /// Whether there is a list with this label.
    #[must_use]
    pub fn has(&self, label: &str) -> bool {
        self.0.contains_key(label)
    }

    /// The lists by their labels, as short as they can be written: one network on each line.
    /// [`Self::add`] reads them again as the same lists.
    pub fn texts(&self) -> impl Iterator<Item = (&str, String)> {
        let lists = self.0.iter();
        lists.map(|(label, list)| (label.as_str(), list.to_string()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels of the lists that contain the address of a source.
    pub fn containing(&self, source: &CallSource) -> impl Iterator<Item = &str> {
        let address = address(source);
        let lists = self.0.iter();
        let found = lists.filter(move |(_, list)| address.is_some_and(|ip| list.contains(ip)));
        found.map(|(label, _)| label.as_str())
    }
}

/// Why a list of networks cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkListFault {
    /// The label.
    #[error("`{0}` is no label; use lower-case letters, digits, `_` and `-`")]
    Label(String),
    /// A line.
    #[error("line {line}: `{text}` is no network; write one on each line, as 192.0.2.0/24")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// An entry of a JSON document.
    #[error("`{0}` is no network; mend this entry, or get the document again")]
    Entry(String),
    /// JSON without networks.
    #[error(
        "is JSON without networks; use ip-ranges.json of AWS, the meta document of GitHub, or one \
         network on each line"
    )]
    Json,
    /// Nothing.
    #[error("holds no network")]
    Empty,
}

/// Networks as ranges of addresses, sorted and without overlaps. IPv4 addresses are written as
/// IPv4-mapped ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct NetworkList {
    ranges: Vec<(u128, u128)>,
}

impl NetworkList {
    fn read(text: &str) -> Result<Self, NetworkListFault> {
        let text = text.trim_start_matches('\u{feff}').trim();
        let mut list = Self::default();
        if text.starts_with('{') || text.starts_with('[') {
            let json: Value = serde_json::from_str(text).map_err(|_| NetworkListFault::Json)?;
            list.add_json(&json, false)?;
            if list.ranges.is_empty() {
                return Err(NetworkListFault::Json);
            }
        } else {
            list.add_lines(text)?;
        }
        if list.ranges.is_empty() {
            return Err(NetworkListFault::Empty);
        }
        list.merge();
        Ok(list)
    }

    fn add_lines(&mut self, text: &str) -> Result<(), NetworkListFault> {
        for (index, line) in text.lines().enumerate() {
            let network = line.split('#').next().unwrap_or_default().trim();
            if network.is_empty() {
                continue;
            }
            let Some(net) = net(network) else {
                return Err(NetworkListFault::Line {
                    line: index + 1,
                    text: network.to_owned(),
                });
            };
            self.ranges.push(range(net));
        }
        Ok(())
    }

    /// Every text in a document that is a network. Of GitHub's, only the addresses of its runners:
    /// others receive calls and make none. What the document calls a network must be one.
    fn add_json(&mut self, json: &Value, is_named: bool) -> Result<(), NetworkListFault> {
        match json {
            Value::String(text) => self.add_text(text, is_named),
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.add_json(item, is_named)),
            Value::Object(fields) => {
                let has_runners = fields.keys().any(|name| is_of_runners(name));
                let mut read = fields
                    .iter()
                    .filter(|(name, _)| !has_runners || is_of_runners(name));
                read.try_for_each(|(name, value)| {
                    self.add_json(value, has_runners || name.ends_with("prefix"))
                })
            }
            _ => Ok(()),
        }
    }

    /// Other texts than networks stand in documents, too: regions, services, times.
    fn add_text(&mut self, text: &str, is_named: bool) -> Result<(), NetworkListFault> {
        let is_of_network = |c: char| c.is_ascii_hexdigit() || ".:/".contains(c);
        let looks_like_one = text.contains('/') && text.chars().all(is_of_network);
        match net(text) {
            Some(net) => self.ranges.push(range(net)),
            None if is_named || looks_like_one => {
                return Err(NetworkListFault::Entry(text.to_owned()));
            }
            None => {}
        }
        Ok(())
    }

    fn merge(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match merged.last_mut() {
                // Networks side by side are one range too.
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    fn contains(&self, address: IpAddr) -> bool {
        let number = number(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= number);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        range.is_some_and(|(_, last)| number <= *last)
    }
}

impl fmt::Display for NetworkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (first, last) in &self.ranges {
            for net in subnets(*first, *last) {
                writeln!(f, "{net}")?;
            }
        }
        Ok(())
    }
}

/// The fewest networks that make a range.
fn subnets(first: u128, last: u128) -> IpSubnets {
    let [first, last] = [first, last].map(Ipv6Addr::from_bits);
    // A range of both families can only come from one as wide as `::/0`.
    match (first.to_ipv4_mapped(), last.to_ipv4_mapped()) {
        (Some(first), Some(last)) => Ipv4Subnets::new(first, last, 0).into(),
        _ => Ipv6Subnets::new(first, last, 0).into(),
    }
}

/// Whether a field of GitHub's document holds the addresses of its runners.
fn is_of_runners(field: &str) -> bool {
    field.starts_with("actions") && !field.contains("domain")
}

fn is_of_label(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c)
}

/// A network, or an address, which is a network of one.
fn net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok();
    net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn range(net: IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

fn number(address: IpAddr) -> u128 {
    let mapped: Ipv6Addr = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    mapped.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(ip: &str, endpoint: Option<&str>) -> CallSource {
        CallSource {
            ip: Some(ip.into()),
            kind: SourceKind::of(Some(ip)),
            user_agent: None,
            vpc_endpoint: endpoint.map(Into::into),
            geo: crate::geo::SourceGeo::default(),
        }
    }

    #[test]
    fn lists_are_written_as_few_networks_and_read_back() {
        let mut lists = NetworkLists::default();
        let text = "192.0.2.0/25\n192.0.2.128/25 # the other half\n198.51.100.7\n2001:db8::/32";
        lists.add("own", text).unwrap();
        lists.add("vpn", "203.0.113.0/24\n").unwrap();
        let mut again = NetworkLists::default();
        for (label, text) in lists.texts() {
            again.add(label, &text).unwrap();
        }
        assert_eq!(again, lists);
        let written: Vec<_> = lists.texts().collect();
        let own = "192.0.2.0/24\n198.51.100.7/32\n2001:db8::/32\n";
        assert_eq!(written[0], ("own", own.to_owned()));
    }

    #[test]
    fn the_address_alone_shows_some_classes() {
        for (ip, endpoint, class, network) in [
            ("10.20.3.4", None, Some("private"), Some("10.20.3.0/24")),
            (
                "::ffff:10.0.0.1",
                None,
                Some("private"),
                Some("10.0.0.0/24"),
            ),
            ("100.64.0.1", None, Some("private"), Some("100.64.0.0/24")),
            ("100.128.0.1", None, Some("public"), Some("100.128.0.0/24")),
            ("fd00::1", None, Some("private"), Some("fd00::/48")),
            (
                "2001:db8:1:2::3",
                None,
                Some("public"),
                Some("2001:db8:1::/48"),
            ),
            (
                "10.0.0.1",
                Some("vpce-1"),
                Some("vpc_endpoint"),
                Some("vpce-1"),
            ),
            ("AWS Internal", None, Some("aws_service"), None),
            (
                "cloudformation.amazonaws.com",
                None,
                Some("aws_service"),
                None,
            ),
            ("somewhere", None, None, None),
        ] {
            let source = source(ip, endpoint);
            let found = SourceClass::of(&source, &NetworkLists::default());
            assert_eq!(found.map(SourceClass::as_str), class, "{ip}");
            assert_eq!(network_of(&source).as_deref(), network, "{ip}");
        }
    }

    #[test]
    fn lists_name_what_the_address_does_not_show() {
        let mut lists = NetworkLists::default();
        let own = "# offices\n198.51.100.0/24 # main\n\n10.1.0.0/16\n";
        lists.add("own", own).unwrap();
        lists.add("own", "2001:db8::/32").unwrap();
        lists.add("anonymizer", "198.51.100.7").unwrap();
        let runners = r#"{"hooks":["192.0.2.0/24"],"actions":["203.0.113.0/25"]}"#;
        lists.add("hosted_ci", runners).unwrap();
        let aws = r#"{"prefixes":[{"ip_prefix":"203.0.113.128/25","region":"eu-west-1"}],
            "ipv6_prefixes":[{"ipv6_prefix":"2a05:d000::/25"}]}"#;
        lists.add("aws", aws).unwrap();
        lists.add("vpn", "203.0.113.0/24").unwrap();
        for (ip, class, labels) in [
            ("198.51.100.1", "own", &["own"][..]),
            ("198.51.100.7", "anonymizer", &["anonymizer", "own"]),
            ("::ffff:10.1.2.3", "own", &["own"]),
            ("10.2.2.3", "private", &[]),
            ("203.0.113.1", "hosted_ci", &["hosted_ci", "vpn"]),
            ("203.0.113.200", "aws_public", &["aws", "vpn"]),
            ("2a05:d000::1", "aws_public", &["aws"]),
            ("192.0.2.1", "public", &[]),
        ] {
            let source = source(ip, None);
            let found = SourceClass::of(&source, &lists).unwrap();
            assert_eq!(found.as_str(), class, "{ip}");
            assert_eq!(lists.containing(&source).collect::<Vec<_>>(), labels);
        }
        // An endpoint is compared by its id, whatever address comes through it.
        let through = source("10.1.2.3", Some("vpce-foreign"));
        let class = SourceClass::of(&through, &lists);
        assert_eq!(class, Some(SourceClass::VpcEndpoint));
    }

    #[test]
    fn what_is_no_list_is_refused_by_its_line() {
        let fault = |label: &str, text: &str| {
            let fault = NetworkLists::default().add(label, text).unwrap_err();
            fault.to_string()
        };
        assert!(fault("Own", "10.0.0.0/8").starts_with("`Own` is no label"));
        let line = fault("own", "10.0.0.0/8\nten\n");
        assert!(line.starts_with("line 2: `ten` is no network"), "{line}");
        assert!(fault("own", "{}").starts_with("is JSON without networks"));
        assert_eq!(fault("own", "# none\n"), "holds no network");
        for document in [
            r#"["10.0.0.0/8","192.0.2.0/99"]"#,
            r#"{"prefixes":[{"ip_prefix":"192.0.2.0/24"},{"ip_prefix":"192.0.2.0/99"}]}"#,
            r#"{"actions":["192.0.2.0/24","192.0.2.0/99"]}"#,
        ] {
            assert!(fault("own", document).starts_with("`192.0.2.0/99` is no network"));
        }
        let named = r#"{"prefixes":[{"ip_prefix":"192.0.2.0/24"},{"ip_prefix":"all"}]}"#;
        assert!(fault("own", named).starts_with("`all` is no network"));
    }

    #[test]
    fn overlapping_networks_are_one_range() {
        let list = NetworkList::read("10.0.0.0/8\n10.1.0.0/16\n11.0.0.0/8\n9.0.0.1\n").unwrap();
        for (ip, is_in) in [
            ("9.0.0.1", true),
            ("9.0.0.2", false),
            ("10.255.0.1", true),
            ("11.1.1.1", true),
            ("12.0.0.0", false),
        ] {
            assert_eq!(list.contains(ip.parse().unwrap()), is_in, "{ip}");
        }
    }
}
