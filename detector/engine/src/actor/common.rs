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

/// Most different values that are kept: as many forms of one principal occur.
const FORMS: usize = 4;

/// A value that some events may have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Common {
    /// There are no such events.
    #[default]
    NoEvents,
    /// What they have, sorted: one value, or few. Several with one ARN are forms of one principal:
    /// a record may lack the unique id, and a role that is made again has another one.
    Forms(Vec<CommonForm>),
    /// They differ, or some have none.
    Differs,
}

/// A value of events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommonForm {
    /// What is compared.
    pub key: SharedStr,
    /// How it is shown.
    pub name: SharedStr,
}

impl Common {
    /// What two parts of the events have in common. An ARN says more than another name.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (mut all, more) = match (self, other) {
            (Self::NoEvents, known) | (known, Self::NoEvents) => return known.clone(),
            (Self::Forms(all), Self::Forms(more)) => (all.clone(), more),
            (Self::Differs, _) | (_, Self::Differs) => return Self::Differs,
        };
        more.iter().for_each(|form| keep_form(&mut all, form));
        Self::limited(all)
    }

    /// Adds an event, with its value.
    fn add(&mut self, value: impl FnOnce() -> Option<(SharedStr, SharedStr)>) {
        if *self == Self::Differs {
            return;
        }
        let Some((key, name)) = value() else {
            *self = Self::Differs;
            return;
        };
        let mut all = match std::mem::take(self) {
            Self::Forms(all) => all,
            Self::NoEvents | Self::Differs => Vec::new(),
        };
        keep_form(&mut all, &CommonForm { key, name });
        *self = Self::limited(all);
    }

    /// How many they are does not depend on the order in which they came.
    fn limited(all: Vec<CommonForm>) -> Self {
        if all.len() > FORMS {
            Self::Differs
        } else {
            Self::Forms(all)
        }
    }

    /// The one value that all have; the first key of its forms.
    fn one(&self) -> Option<&CommonForm> {
        let Self::Forms(all) = self else {
            return None;
        };
        let (first, others) = all.split_first()?;
        let is_one =
            first.name.starts_with("arn:") && others.iter().all(|other| other.name == first.name);
        (others.is_empty() || is_one).then_some(first)
    }

    fn as_actor(&self, kind: ActorKind) -> Option<Actor> {
        let CommonForm { key, name } = self.one()?;
        Some(Actor::new(kind, key.clone(), name.clone()))
    }

    fn key(&self) -> Option<&str> {
        self.one().map(|form| &*form.key)
    }
}

/// Adds a form to sorted ones. Of two names of one key, an ARN is kept, and otherwise the first.
fn keep_form(all: &mut Vec<CommonForm>, form: &CommonForm) {
    match all.binary_search_by(|known| known.key.cmp(&form.key)) {
        Ok(at) => {
            if let Some(known) = all.get_mut(at) {
                let rank = |name: &SharedStr| (!name.starts_with("arn:"), name.clone());
                if known.name != form.name && rank(&form.name) < rank(&known.name) {
                    known.name = form.name.clone();
                }
            }
        }
        Err(at) => all.insert(at, form.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:iam::111122223333:role/app";

    fn common(forms: &[(&str, &str)]) -> Common {
        let mut common = Common::default();
        for (key, name) in forms {
            common.add(|| Some(((*key).into(), (*name).into())));
        }
        common
    }

    #[test]
    fn forms_of_one_arn_are_one_principal_in_any_order_and_in_parts() {
        let forms = [
            (ARN, ARN),
            ("111122223333:AROAOLD", ARN),
            ("111122223333:AROANEW", "app"),
            ("111122223333:AROANEW", ARN),
        ];
        let name = |common: &Common| {
            let one = common.one();
            one.map(|form| (form.key.to_string(), form.name.to_string()))
        };
        let expected = Some(("111122223333:AROANEW".to_owned(), ARN.to_owned()));
        for turn in 0..forms.len() {
            let mut turned = forms;
            turned.rotate_left(turn);
            assert_eq!(name(&common(&turned)), expected);
            for at in 0..=turned.len() {
                let (one, other) = turned.split_at(at);
                assert_eq!(name(&common(one).and(&common(other))), expected);
            }
        }
    }

    #[test]
    fn equal_names_without_an_arn_are_of_different_values() {
        let two = common(&[
            ("111122223333 eu-west-1 db", "db"),
            ("111122223333 us-east-1 db", "db"),
        ]);
        assert_eq!(two.one(), None);
        let many: Vec<String> = (0..=FORMS).map(|index| format!("key{index}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), ARN)).collect();
        assert_eq!(common(&many), Common::Differs);
        let mut none = common(&[("k", ARN)]);
        none.add(|| None);
        assert_eq!(none.one(), None);
    }
}
