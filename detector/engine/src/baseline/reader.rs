//! What each reader did over the history: where from, with which program, in which region, with
//! which key, and which secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    access::Access,
    baseline::pairs::{SecretTarget, Uses, usable},
    client::ClientProgram,
    document::JsonNode,
    ids::{ArnParts, SharedStr, is_long_term_key},
    network::{NetworkLists, SourceClass, network_of},
    observation::CallSource,
    principal::PrincipalKind,
    time::EventTime,
};

/// The raw field with the owner of the VPC endpoint of a call.
const ENDPOINT_ACCOUNT: &str = "vpcEndpointAccountId";

/// Days with a new secret from which on a reader may be one that takes one after the other.
const TURNS: usize = 7;

/// What a read shows of its reader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReaderTrait {
    /// The reader itself. First, so that it is asked for before the others.
    Reader,
    Secret(SecretTarget),
    /// A VPC endpoint, a public /24, or a private /16.
    Network(SharedStr),
    /// A VPC endpoint, a public address, or a private /24.
    Host(SharedStr),
    Region(SharedStr),
    /// The family of the program.
    Client(SharedStr),
    /// ARN of the KMS key, with the secret.
    Key(SecretTarget, SharedStr),
    /// The name of a session, or nothing if it has digits: software numbers its sessions.
    Session(SharedStr),
    /// Id of a long-term access key.
    AccessKey(SharedStr),
    /// Another account that owns the KMS key.
    KeyAccount(SharedStr),
    /// A VPC endpoint, and another account that owns it.
    EndpointAccount(SharedStr, SharedStr),
}

impl ReaderTrait {
    /// Its name; nothing for the reader itself, and for sessions that are numbered.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Reader => "",
            Self::Secret(target) => &target.name,
            Self::Network(name)
            | Self::Host(name)
            | Self::Region(name)
            | Self::Client(name)
            | Self::Session(name)
            | Self::AccessKey(name)
            | Self::Key(_, name)
            | Self::KeyAccount(name)
            | Self::EndpointAccount(name, _) => name,
        }
    }

    /// The traits of a read. Networks of a reader whose addresses never repeat are none.
    pub(super) fn of(
        access: &Access,
        target: &SecretTarget,
        roams: bool,
        networks: &NetworkLists,
    ) -> Vec<Self> {
        let head = &access.head;
        let mut found = vec![
            Self::Reader,
            Self::Secret(target.clone()),
            Self::Region(head.region.clone()),
        ];
        // An address in a list stands for all of the list.
        let is_listed =
            SourceClass::of(&head.source, networks) == Some(SourceClass::HostedCi) || roams;
        if !is_listed && let Some((network, host)) = places(&head.source) {
            found.extend([Self::Network(network.into()), Self::Host(host.into())]);
        }
        if let Some(key) = &access.decrypt.key_arn {
            found.push(Self::Key(target.clone(), key.clone()));
            let owner = ArnParts::parse(key).map(|arn| arn.account);
            let other = owner.filter(|owner| !owner.is_empty() && **owner != *target.account);
            found.extend(other.map(|other| Self::KeyAccount(other.into())));
        }
        found.extend(foreign_endpoint(access, target));
        found.extend(of_caller(access));
        found
    }
}

/// An endpoint that belongs neither to the account of the caller nor to that of the secret.
fn foreign_endpoint(access: &Access, target: &SecretTarget) -> Option<ReaderTrait> {
    let head = &access.head;
    let endpoint = head.source.vpc_endpoint.clone()?;
    let JsonNode::Str(owner) = head.kept.get(ENDPOINT_ACCOUNT)? else {
        return None;
    };
    let ours = [head.principal.account.as_ref(), Some(&target.account)];
    let is_ours = ours.into_iter().flatten().any(|ours| **ours == **owner);
    (!is_ours).then(|| ReaderTrait::EndpointAccount(endpoint, (&**owner).into()))
}

/// Program, session and access key.
fn of_caller(access: &Access) -> Vec<ReaderTrait> {
    let head = &access.head;
    let mut found = Vec::new();
    let long_term = head.access_key_id.as_ref();
    let long_term = long_term.filter(|key| is_long_term_key(key));
    found.extend(long_term.cloned().map(ReaderTrait::AccessKey));
    // People change programs and name their sessions as they like.
    if head.principal.kind != PrincipalKind::Workload {
        return found;
    }
    let agent = head.source.user_agent.as_deref();
    let client = agent.and_then(ClientProgram::of);
    found.extend(client.map(|client| ReaderTrait::Client((&*client.family).into())));
    let session = head.principal.session.as_ref().map(|name| {
        let is_numbered = name.contains(|c: char| c.is_ascii_digit());
        ReaderTrait::Session(if is_numbered { "".into() } else { name.clone() })
    });
    found.extend(session);
    found
}

/// The network around a source, and the smaller one that stands for its host; `None` for services
/// and what is no address.
fn places(source: &CallSource) -> Option<(String, String)> {
    let around = network_of(source)?;
    if source.vpc_endpoint.is_some() {
        return Some((around.clone(), around));
    }
    let address: IpAddr = source.ip.as_deref()?.parse().ok()?;
    let is_private = SourceClass::by_shape(source) == Some(SourceClass::Private);
    Some(match address.to_canonical() {
        IpAddr::V4(v4) if is_private => (Ipv4Net::new(v4, 16).ok()?.trunc().to_string(), around),
        IpAddr::V4(v4) => (around, v4.to_string()),
        IpAddr::V6(v6) => (around, Ipv6Net::new(v6, 64).ok()?.trunc().to_string()),
    })
}

/// The network in which hosts are neighbours; `None` for an endpoint.
fn around(host: &str) -> Option<IpNet> {
    let net: IpNet = host.parse().ok().or_else(|| {
        let address: IpAddr = host.parse().ok()?;
        Some(IpNet::from(address))
    })?;
    let bits = match (net, net.prefix_len()) {
        // A private host stands for its /24.
        (IpNet::V4(_), 24) => 16,
        (IpNet::V4(_), _) => 24,
        (IpNet::V6(_), _) => 48,
    };
    IpNet::new(net.addr(), bits).ok().map(|net| net.trunc())
}

/// Whether two hosts are neighbours: in one private /16, or in one public /24 (IPv6: /48).
pub(super) fn are_near(one: &str, other: &str) -> bool {
    around(one).is_some_and(|net| around(other) == Some(net))
}

/// What one reader did.
#[derive(Debug, Default)]
pub(super) struct ReaderHistory {
    /// The account whose log has it.
    pub(super) account: SharedStr,
    pub(super) traits: BTreeMap<ReaderTrait, Uses>,
    /// By hour of the day, UTC.
    pub(super) hours: BTreeMap<i64, Uses>,
    /// Whether software reads, and no person.
    pub(super) is_workload: bool,
    /// Whether it reads a new secret on most days, as a job that rotates one after the other.
    pub(super) takes_turns: bool,
    /// Times of all reads, in ascending order.
    times: Vec<EventTime>,
}

impl ReaderHistory {
    /// All reads.
    pub(super) fn reads(&self) -> u64 {
        self.times.len() as u64
    }

    /// Number of reads since a time.
    pub(super) fn reads_since(&self, time: EventTime) -> u64 {
        let before = self.times.partition_point(|read| *read < time);
        (self.times.len() - before) as u64
    }

    fn finish(&mut self) {
        self.times.sort_unstable();
        let secrets = self.traits.iter();
        let secrets = secrets.filter(|(one, _)| matches!(one, ReaderTrait::Secret(_)));
        let begins: BTreeSet<&i64> = secrets.filter_map(|(_, uses)| uses.days.first()).collect();
        let all = self.traits.get(&ReaderTrait::Reader);
        let days = all.map_or(0, |uses| uses.days.len());
        self.takes_turns = begins.len() >= TURNS && begins.len() * 4 >= days * 3;
    }

    /// Event time of the first read.
    pub(super) fn first(&self) -> Option<EventTime> {
        self.times.first().copied()
    }
}

/// The readers of a history.
#[derive(Debug, Default)]
pub(super) struct Readers(pub(super) BTreeMap<SharedStr, ReaderHistory>);

impl Readers {
    pub(super) fn of<'a>(
        accesses: impl Iterator<Item = &'a Access>,
        roaming: &BTreeSet<SharedStr>,
        networks: &NetworkLists,
    ) -> Self {
        let mut found = Self::default();
        for access in accesses {
            let Ok((reader, target)) = usable(access) else {
                continue;
            };
            let traits = ReaderTrait::of(access, &target, roaming.contains(&reader), networks);
            let head = &access.head;
            let history = found.0.entry(reader).or_default();
            history.account = head.account.clone();
            history.is_workload = head.principal.kind == PrincipalKind::Workload;
            history.times.push(head.time);
            let hour = head.time.0.div_euclid(3_600).rem_euclid(24);
            history.hours.entry(hour).or_default().add(head.time);
            for one in traits {
                history.traits.entry(one).or_default().add(head.time);
            }
        }
        for history in found.0.values_mut() {
            history.finish();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{baseline::pairs::read_by, observation::SourceKind};

    #[test]
    fn hosts_of_one_private_16_or_public_24_are_near() {
        for (one, other, near) in [
            ("10.20.0.0/24", "10.20.9.0/24", true),
            ("10.20.0.0/24", "10.21.0.0/24", false),
            ("198.51.100.7", "198.51.100.99", true),
            ("198.51.100.7", "198.51.101.7", false),
            ("2001:db8:1:1::/64", "2001:db8:1:2::/64", true),
            ("2001:db8:1:1::/64", "2001:db8:2:1::/64", false),
            ("vpce-1", "vpce-1", false),
            ("10.20.0.0/24", "vpce-1", false),
        ] {
            assert_eq!(are_near(one, other), near, "{one} {other}");
        }
    }

    #[test]
    fn a_source_has_a_network_and_a_host() {
        let source = |ip: &str, endpoint: Option<&str>| CallSource {
            ip: Some(ip.into()),
            kind: SourceKind::Ip,
            user_agent: None,
            vpc_endpoint: endpoint.map(Into::into),
            geo: crate::geo::SourceGeo::default(),
        };
        let places = |ip, endpoint| super::places(&source(ip, endpoint)).unwrap_or_default();
        let named = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(
            places("10.2.3.4", None),
            named("10.2.0.0/16", "10.2.3.0/24")
        );
        assert_eq!(places("::ffff:10.2.3.4", None), places("10.2.3.4", None));
        assert_eq!(places("11.2.3.4", None), named("11.2.3.0/24", "11.2.3.4"));
        assert_eq!(
            places("10.2.3.4", Some("vpce-1")),
            named("vpce-1", "vpce-1")
        );
        assert_eq!(places("rds.amazonaws.com", None), named("", ""));
    }

    #[test]
    fn who_reads_another_secret_each_day_takes_turns() {
        let takes_turns = |secret: &dyn Fn(i64) -> String| {
            let reads: Vec<Access> = (0..14)
                .map(|day| read_by("role", &secret(day), day * 86_400))
                .collect();
            let readers = Readers::of(reads.iter(), &BTreeSet::new(), NetworkLists::none());
            readers.0.get("role").map(|history| history.takes_turns)
        };
        assert_eq!(takes_turns(&|day| format!("s{day}")), Some(true));
        assert_eq!(takes_turns(&|day| format!("s{}", day / 2)), Some(false));
        assert_eq!(takes_turns(&|_| "s".to_owned()), Some(false));
    }
}
