//! Actors: who or what an alert is about. Alerts about one actor that follow each other are one
//! incident.

pub mod common;

use std::collections::{BTreeSet, HashSet};

use self::common::CommonTraits;

use crate::{
    access::AccessMethod,
    evidence::Evidence,
    ids::SharedStr,
    limits::ALERT_TRAITS,
    network::network_of,
    observation::{CallSource, EventHeader, SourceKind},
    principal::{Principal, is_mail_address},
};

/// Kind of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorKind {
    /// A principal; people by their own name.
    Principal,
    /// An address or network, for alerts about several principals behind it.
    Address,
    /// A secret, for alerts about several principals and addresses that it alone connects.
    Secret,
    /// An account and region, for alerts about the log.
    Log,
}

impl ActorKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Principal, Self::Address, Self::Secret, Self::Log];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Address => "address",
            Self::Secret => "secret",
            Self::Log => "log",
        }
    }
}

/// Who or what an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// Kind of actor.
    pub kind: ActorKind,
    /// Identity, equal in all forms in which CloudTrail names the actor: for users and roles
    /// `account:unique id`, and for people on a role `account:unique id/session`; where a record
    /// lacks these, [`Principal::id`].
    pub key: SharedStr,
    /// How it is shown: an ARN, an address, a secret, or `account region`.
    pub name: SharedStr,
}

/// Identity of an actor: its kind and key.
pub type ActorKey = (ActorKind, SharedStr);

impl Actor {
    /// Its identity, whatever it is shown as.
    #[must_use]
    pub fn identity(&self) -> ActorKey {
        (self.kind, self.key.clone())
    }

    /// The actor of evidence, in any order of it; see [`CommonTraits::actor`].
    #[must_use]
    pub fn of(evidence: &[Evidence]) -> Self {
        CommonTraits::of(evidence).actor()
    }

    /// The actor of an alert of which only these are known.
    #[must_use]
    pub fn by_names(principal: Option<&str>, account: Option<&str>, region: Option<&str>) -> Self {
        match principal {
            Some(principal) => Self::new(ActorKind::Principal, principal, principal),
            None => log_of(account, region),
        }
    }

    /// The key of a principal in all its forms; `None` where the record identifies nobody.
    #[must_use]
    pub fn key_of(principal: &Principal) -> Option<String> {
        principal_key(principal)
    }

    fn new(kind: ActorKind, key: impl Into<SharedStr>, name: impl Into<SharedStr>) -> Self {
        Self {
            kind,
            key: key.into(),
            name: name.into(),
        }
    }
}

/// Identity of a principal in all its forms; `None` where the record identifies nobody.
fn principal_key(principal: &Principal) -> Option<String> {
    let id = principal.id.as_deref()?;
    let (Some(account), Some((unique, session))) = (
        principal.account.as_deref(),
        principal.principal_id.as_deref().map(unique_and_session),
    ) else {
        return Some(id.to_owned());
    };
    // Users and roles keep their unique id for life; ids of other kinds are names or accounts.
    if !(unique.starts_with("AROA") || unique.starts_with("AIDA")) {
        return Some(id.to_owned());
    }
    let person = match principal.role_of_person() {
        Some(_) => principal.session.as_deref(),
        None => session.filter(|session| principal.actor.is_none() && is_mail_address(session)),
    };
    Some(match person {
        Some(person) => format!("{account}:{unique}/{person}"),
        None => format!("{account}:{unique}"),
    })
}

fn unique_and_session(principal_id: &str) -> (&str, Option<&str>) {
    match principal_id.split_once(':') {
        Some((unique, session)) => (unique, Some(session)),
        None => (principal_id, None),
    }
}

fn log_of(account: Option<&str>, region: Option<&str>) -> Actor {
    let account = account.unwrap_or("several accounts");
    let region = region.unwrap_or("several regions");
    let name = format!("{account} {region}");
    Actor::new(ActorKind::Log, name.as_str(), name.as_str())
}

/// Where the calls of some evidence come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Addresses of the callers, sorted, the first [`ALERT_TRAITS`]; services and callers behind a
    /// VPC endpoint have none.
    pub addresses: Vec<SharedStr>,
    /// Their networks and VPC endpoints, sorted, the first [`ALERT_TRAITS`].
    pub networks: Vec<SharedStr>,
}

impl Origin {
    /// The origin of evidence, in any order of it. The services that call KMS for a caller are left
    /// aside.
    #[must_use]
    pub fn of(evidence: &[Evidence]) -> Self {
        let sources = callers(evidence).map(|head| &*head.source);
        let addresses = sources.clone().filter_map(address_of);
        let networks = sources.filter_map(network_of);
        Self {
            addresses: least_of(addresses.map(SharedStr::from)),
            networks: least_of(networks.map(SharedStr::from)),
        }
    }

    /// The origin of this evidence and some other, or more of the same.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both =
            |own: &[SharedStr], other: &[SharedStr]| least_of(own.iter().chain(other).cloned());
        Self {
            addresses: both(&self.addresses, &other.addresses),
            networks: both(&self.networks, &other.networks),
        }
    }

    /// The addresses, and then the networks.
    pub fn places(&self) -> impl Iterator<Item = &SharedStr> {
        self.addresses.iter().chain(&self.networks)
    }
}

fn address_of(source: &CallSource) -> Option<String> {
    let ip = source.ip.as_deref();
    ip.filter(|_| source.kind == SourceKind::Ip && source.vpc_endpoint.is_none())
        .map(str::to_owned)
}

/// The distinct values, sorted. If there are too many, the least ones: of values that come in
/// parts, those of each part are enough to know them.
fn least_of(values: impl Iterator<Item = SharedStr>) -> Vec<SharedStr> {
    let distinct: BTreeSet<SharedStr> = values.collect();
    distinct.into_iter().take(ALERT_TRAITS).collect()
}

/// The first distinct values.
pub(crate) fn first_of(values: impl Iterator<Item = String>) -> Vec<SharedStr> {
    let mut met = HashSet::new();
    let distinct = values.filter(|value| met.insert(value.clone()));
    distinct.take(ALERT_TRAITS).map(SharedStr::from).collect()
}

/// The events whose source is that of their caller.
pub(crate) fn callers(evidence: &[Evidence]) -> impl Iterator<Item = &EventHeader> + Clone {
    let own = evidence.iter().filter(|e| is_from_caller(e));
    own.map(|e| &*e.head)
}

/// Whether the source of an event is that of its caller: the service that called KMS is no second
/// machine of the reader.
pub(crate) fn is_from_caller(evidence: &Evidence) -> bool {
    let access = evidence.access.as_deref();
    access.is_none_or(|access| access.method != AccessMethod::DecryptOnly)
        && evidence.head.source.kind != SourceKind::Internal
}

/// The value that all share; `None` where they differ or where there is none.
pub(crate) fn shared_by_all<T: PartialEq>(
    mut values: impl Iterator<Item = Option<T>>,
) -> Option<T> {
    let first = values.next()??;
    values
        .all(|value| value.as_ref() == Some(&first))
        .then_some(first)
}
