//! What evidence has in common: from it follows who or what an alert is about, also of evidence
//! that nobody has in one place.

use super::{Actor, ActorKind, address_of, callers, log_of, principal_key};
use crate::{evidence::Evidence, ids::SharedStr, network::network_of};

/// What all of some evidence has in common. Of two parts of it, what both have in common is known
/// from that of each ([`CommonTraits::and`]), in any order and with repetitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommonTraits {
    /// The principal of all events.
    pub principal: Common,
    /// The principal of those that are accesses.
    pub reader: Common,
    /// The address of the callers.
    pub address: Common,
    /// Their network, or VPC endpoint.
    pub network: Common,
    /// The secret.
    pub secret: Common,
    /// `recipientAccountId`.
    pub account: Common,
    /// `awsRegion`.
    pub region: Common,
}

/// A value that some events may have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Common {
    /// There are no such events.
    #[default]
    NoEvents,
    /// All have this one.
    One {
        /// What is compared.
        key: SharedStr,
        /// How it is shown.
        name: SharedStr,
    },
    /// They differ, or some have none.
    Differs,
}

impl Common {
    /// What two parts of the events have in common. An ARN says more than another name.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::NoEvents, known) | (known, Self::NoEvents) => known.clone(),
            (
                Self::One { key, name },
                Self::One {
                    key: same,
                    name: or,
                },
            ) if key == same => {
                let names = [name, or].into_iter();
                let best = names.min_by_key(|name| (!name.starts_with("arn:"), (*name).clone()));
                let name = best.unwrap_or(name);
                Self::one(key.clone(), name.clone())
            }
            _ => Self::Differs,
        }
    }

    fn one(key: impl Into<SharedStr>, name: impl Into<SharedStr>) -> Self {
        Self::One {
            key: key.into(),
            name: name.into(),
        }
    }

    /// Adds an event, with its value.
    fn add(&mut self, value: impl FnOnce() -> Option<(SharedStr, SharedStr)>) {
        if *self != Self::Differs {
            let value = value().map_or(Self::Differs, |(key, name)| Self::one(key, name));
            *self = self.and(&value);
        }
    }

    fn as_actor(&self, kind: ActorKind) -> Option<Actor> {
        match self {
            Self::One { key, name } => Some(Actor::new(kind, key.clone(), name.clone())),
            Self::NoEvents | Self::Differs => None,
        }
    }

    fn key(&self) -> Option<&str> {
        match self {
            Self::One { key, .. } => Some(key),
            Self::NoEvents | Self::Differs => None,
        }
    }
}

impl CommonTraits {
    /// What evidence has in common, in any order of it.
    #[must_use]
    pub fn of(evidence: &[Evidence]) -> Self {
        let mut common = Self::default();
        for one in evidence {
            let head = &*one.head;
            let principal = || {
                let key = principal_key(&head.principal)?;
                Some((key.into(), head.principal.id.clone()?))
            };
            common.principal.add(principal);
            if one.access.is_some() {
                common.reader.add(principal);
            }
            common.secret.add(|| secret_of(one));
            common.account.add(|| named(&head.account));
            common.region.add(|| named(&head.region));
        }
        for head in callers(evidence) {
            common.address.add(|| address_of(&head.source).map(as_text));
            common.network.add(|| network_of(&head.source).map(as_text));
        }
        common
    }

    /// What this evidence and some other, or more of the same, have in common.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            principal: self.principal.and(&other.principal),
            reader: self.reader.and(&other.reader),
            address: self.address.and(&other.address),
            network: self.network.and(&other.network),
            secret: self.secret.and(&other.secret),
            account: self.account.and(&other.account),
            region: self.region.and(&other.region),
        }
    }

    /// Who or what the evidence is about: the principal that all of it shares; where some prepared
    /// what another did, the one that accessed the secrets; else the address or network; else the
    /// secret, if there is only one; else account and region.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let principal = self.principal.as_actor(ActorKind::Principal);
        principal
            .or_else(|| self.reader.as_actor(ActorKind::Principal))
            .or_else(|| self.address.as_actor(ActorKind::Address))
            .or_else(|| self.network.as_actor(ActorKind::Address))
            .or_else(|| self.secret.as_actor(ActorKind::Secret))
            .unwrap_or_else(|| log_of(self.account.key(), self.region.key()))
    }
}

/// The secret of an event: its account, region and name, and its ARN where known.
fn secret_of(evidence: &Evidence) -> Option<(SharedStr, SharedStr)> {
    let secret = evidence.secret.as_ref()?;
    let name = secret.name.as_ref()?;
    let key = format!("{} {} {name}", secret.account, secret.region);
    Some((key.into(), secret.arn.as_ref().unwrap_or(name).clone()))
}

fn named(value: &SharedStr) -> Option<(SharedStr, SharedStr)> {
    Some((value.clone(), value.clone()))
}

fn as_text(value: String) -> (SharedStr, SharedStr) {
    let value = SharedStr::from(value);
    (value.clone(), value)
}
