//! What one principal did with one secret, gathered over the whole history.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::access::{Access, Method};
use crate::baseline::proposal::LeftOut;
use crate::ids::{Store, Text};
use crate::observation::{Outcome, Source, SourceKind};
use crate::principal::PrincipalKind;
use crate::time::EventTime;

/// Reads without which nothing is said of sources and keys: too few to call anything unusual.
pub(super) const ENOUGH_READS: u64 = 10;

/// Percentile of the busy hours that counts as the usual rate.
const USUAL_PERCENT: usize = 99;

/// Pairs by principal and secret.
pub(super) type Pairs = BTreeMap<Text, BTreeMap<Target, Pair>>;

/// What one principal did with one secret.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) reads: u64,
    /// Days since 1970 with reads.
    pub(super) days: BTreeSet<i64>,
    /// Reads by hour since 1970; hours without reads are not listed.
    pub(super) hours: BTreeMap<i64, u64>,
    /// Event time of the last read; `None` before the first was added.
    pub(super) last: Option<EventTime>,
    pub(super) regions: BTreeSet<Text>,
    pub(super) origins: BTreeSet<Origin>,
    pub(super) keys: BTreeSet<Text>,
}

/// Where a read came from, as far as a policy can say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Address(IpAddr),
    Name(Text),
}

/// A secret whatever its region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) partition: Text,
    pub(super) account: Text,
    pub(super) store: Store,
    pub(super) name: Text,
}

impl Pair {
    pub(super) fn add(&mut self, access: &Access) {
        let head = &access.head;
        self.reads += 1;
        self.days.insert(head.time.0.div_euclid(86_400));
        *self.hours.entry(head.time.0.div_euclid(3_600)).or_default() += 1;
        self.last = self.last.max(Some(head.time));
        self.regions.insert(head.region.clone());
        self.keys.extend(access.decrypt.key_arn.clone());
        self.origins.extend(Origin::of(&head.source));
    }

    /// The reads of a busy hour, but for one in a hundred.
    pub(super) fn usual_per_hour(&self) -> u64 {
        // Quiet hours do not count: a job that runs once a night would otherwise be usual at zero.
        let mut counts: Vec<u64> = self.hours.values().copied().collect();
        counts.sort_unstable();
        let rank = (counts.len() * USUAL_PERCENT).div_ceil(100);
        counts.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

impl Origin {
    /// `None` where the record says nothing that a policy could hold.
    fn of(source: &Source) -> Option<Self> {
        // The address of a call through an endpoint is a private one of that VPC, and any VPC may
        // have the same; the endpoint is one of a kind.
        if let Some(endpoint) = &source.vpc_endpoint {
            return Some(Self::Name(endpoint.clone()));
        }
        let ip = source.ip.as_ref()?;
        match (source.kind, ip.parse()) {
            (_, Ok(address)) => Some(Self::Address(address)),
            (SourceKind::Service | SourceKind::Internal, Err(_)) => Some(Self::Name(ip.clone())),
            _ => None,
        }
    }
}

impl Target {
    /// `None` while only the place of the secret is known.
    pub(super) fn of(access: &Access) -> Option<Self> {
        let secret = &access.secret;
        Some(Self {
            partition: secret.partition.clone(),
            account: secret.account.clone(),
            store: secret.store,
            name: secret.name.clone()?,
        })
    }
}

/// Principal and secret of an access that may be learned from.
pub(super) fn usable(access: &Access) -> Result<(Text, Target), LeftOut> {
    // A denied Decrypt is told as denied: that nobody was let in says more than how it was tried.
    match (access.head.outcome, access.method) {
        (Outcome::Denied, _) => return Err(LeftOut::Denied),
        (_, Method::DirectDecrypt) => return Err(LeftOut::DirectDecrypt),
        (Outcome::Failed, _) => return Err(LeftOut::Failed),
        (_, Method::DecryptOnly) => return Err(LeftOut::NoRead),
        _ => {}
    }
    if access.head.principal.kind == PrincipalKind::Root {
        return Err(LeftOut::Root);
    }
    let principal = access.head.principal.id.clone().filter(is_plain);
    principal
        .zip(Target::of(access).filter(|target| is_plain(&target.name)))
        .ok_or(LeftOut::Unnamed)
}

/// Whether a name means only itself where a pattern is expected.
fn is_plain(name: &Text) -> bool {
    // Whoever calls chooses the text of the name: `*` must not become a grant for everything.
    !name.is_empty() && !name.contains(['*', '?'])
}

/// A read with success, for the tests of these modules.
#[cfg(test)]
pub(super) fn read_by(principal: &str, secret: &str, secs: i64) -> Access {
    use crate::access::{Decrypt, DecryptStatus};
    use crate::ids::{Home, SecretRef};
    use crate::observation::{Head, Kept};
    use crate::principal::Principal;

    let home = Home {
        partition: "aws",
        account: "1",
        region: "eu-west-1",
    };
    let principal = Principal {
        id: Some(principal.into()),
        actor: None,
        identity_type: None,
        kind: PrincipalKind::Workload,
        account: Some("1".into()),
        name: None,
        session: None,
        via: None,
        console: false,
        principal_id: None,
    };
    let source = Source {
        ip: Some("192.0.2.1".into()),
        kind: SourceKind::Ip,
        user_agent: None,
        vpc_endpoint: None,
    };
    let head = Head {
        event_id: format!("{secret}@{secs}").into(),
        shared_id: None,
        updated: false,
        time: EventTime(secs),
        api: "GetSecretValue".into(),
        account: "1".into(),
        region: "eu-west-1".into(),
        principal: principal.into(),
        access_key_id: None,
        source: source.into(),
        outcome: Outcome::Success,
        denied_by: None,
        error_code: None,
        object: "object".into(),
        delivered: EventTime(secs),
        kept: Kept::default(),
    };
    let secret = SecretRef::secret(secret, home);
    Access {
        head: head.into(),
        method: Method::Api,
        asked: secret.key(),
        secret,
        decrypt: Decrypt::only(DecryptStatus::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observation::Head;

    fn with_head(mut access: Access, change: impl FnOnce(&mut Head)) -> Access {
        change(Arc::make_mut(&mut access.head));
        access
    }

    #[test]
    fn what_looks_like_an_attack_is_not_learned_from() {
        let read = || read_by("role", "db", 0);
        let by = |method| Access { method, ..read() };
        let denied = |access| with_head(access, |head| head.outcome = Outcome::Denied);
        let failed = |access| with_head(access, |head| head.outcome = Outcome::Failed);
        let root = with_head(read(), |head| {
            Arc::make_mut(&mut head.principal).kind = PrincipalKind::Root;
        });
        for (access, why) in [
            (denied(by(Method::DirectDecrypt)), LeftOut::Denied),
            (failed(by(Method::DirectDecrypt)), LeftOut::DirectDecrypt),
            (failed(read()), LeftOut::Failed),
            (by(Method::DecryptOnly), LeftOut::NoRead),
            (root, LeftOut::Root),
            (read_by("", "db", 0), LeftOut::Unnamed),
            (read_by("role", "*", 0), LeftOut::Unnamed),
            (read_by("role/?", "db", 0), LeftOut::Unnamed),
        ] {
            assert_eq!(usable(&access).unwrap_err(), why);
        }
        let (principal, target) = usable(&by(Method::Batch)).unwrap();
        assert_eq!((&*principal, &*target.name), ("role", "db"));
    }

    #[test]
    fn the_usual_rate_is_that_of_a_busy_hour_but_for_one_in_a_hundred() {
        let mut pair = Pair::default();
        assert_eq!(pair.usual_per_hour(), 0);
        for hour in 0..99 {
            pair.add(&read_by("role", "db", hour * 3_600));
        }
        let burst = 200 * 3_600;
        (0..50).for_each(|n| pair.add(&read_by("role", "db", burst + n)));
        assert_eq!(
            pair.usual_per_hour(),
            1,
            "one busy hour of a hundred is not usual"
        );
        (0..40).for_each(|n| pair.add(&read_by("role", "db", burst + 3_600 + n)));
        assert_eq!(pair.usual_per_hour(), 40, "two are");
        assert_eq!((pair.reads, pair.days.len()), (189, 6));
    }

    #[test]
    fn an_endpoint_says_more_than_the_address_behind_it() {
        let source = |ip: &str, kind, endpoint: Option<&str>| Source {
            ip: Some(ip.into()),
            kind,
            user_agent: None,
            vpc_endpoint: endpoint.map(Into::into),
        };
        let name = |text: &str| Some(Origin::Name(text.into()));
        let private = source("10.0.0.1", SourceKind::Ip, None);
        let address = Some(Origin::Address(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(Origin::of(&private), address);
        let through = source("10.0.0.1", SourceKind::Ip, Some("vpce-1"));
        assert_eq!(Origin::of(&through), name("vpce-1"));
        let service = source("rds.amazonaws.com", SourceKind::Service, None);
        assert_eq!(Origin::of(&service), name("rds.amazonaws.com"));
        let odd = source("not an address", SourceKind::Unknown, None);
        assert_eq!(Origin::of(&odd), None);
    }
}
