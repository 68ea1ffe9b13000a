//! What one principal did with one secret, over the whole history.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    access::{Access, AccessMethod},
    baseline::proposal::{BaselineOptions, OmissionReason},
    geo::is_private,
    ids::{SecretStore, SharedStr},
    network::{NetworkLists, SourceClass},
    observation::{CallOutcome, CallSource, SourceKind},
    principal::PrincipalKind,
    time::EventTime,
};

/// Reads below which a grant does not restrict sources and keys: too few to know what is usual.
pub(super) const ENOUGH_READS: u64 = 10;

/// Percentile of the reads per hour, over hours with reads, that becomes `baseline_per_hour`.
const USUAL_PERCENT: usize = 99;

/// Pairs by principal and secret.
pub(super) type ReadPairs = BTreeMap<SharedStr, BTreeMap<SecretTarget, ReadPair>>;

/// When something was read, or read with.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) reads: u64,
    /// Days since 1970 with reads.
    pub(super) days: BTreeSet<i64>,
    /// Event times of the first and the last read; `None` before the first was added.
    pub(super) span: Option<(EventTime, EventTime)>,
}

impl Uses {
    pub(super) fn add(&mut self, time: EventTime) {
        self.reads += 1;
        self.days.insert(time.0.div_euclid(86_400));
        self.widen((time, time));
    }

    fn are_enough(&self, options: BaselineOptions<'_>) -> bool {
        self.reads >= options.min_reads && self.days.len() >= options.min_days
    }

    /// Adds what another has.
    pub(super) fn merge(&mut self, other: &Self) {
        self.reads += other.reads;
        self.days.extend(&other.days);
        if let Some(span) = other.span {
            self.widen(span);
        }
    }

    fn widen(&mut self, (first, last): (EventTime, EventTime)) {
        self.span = Some(
            self.span
                .map_or((first, last), |(from, to)| (from.min(first), to.max(last))),
        );
    }
}

/// What one principal did with one secret.
#[derive(Debug, Default)]
pub(super) struct ReadPair {
    pub(super) uses: Uses,
    /// Whether a person read it.
    pub(super) by_person: bool,
    /// Reads by hour since 1970; hours without reads are not listed.
    pub(super) hours: BTreeMap<i64, u64>,
    pub(super) regions: BTreeMap<SharedStr, Uses>,
    pub(super) origins: BTreeMap<ReadOrigin, Uses>,
    pub(super) keys: BTreeMap<SharedStr, Uses>,
    pub(super) methods: BTreeSet<AccessMethod>,
    /// The role or user behind the principal; a person has the role that they use.
    pub(super) identity: Option<SharedStr>,
}

/// The source of a read, in a form that a policy can list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReadOrigin {
    Address(IpAddr),
    Name(SharedStr),
}

/// A secret without its region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SecretTarget {
    pub(super) partition: SharedStr,
    pub(super) account: SharedStr,
    pub(super) store: SecretStore,
    pub(super) name: SharedStr,
}

impl ReadPair {
    pub(super) fn add(&mut self, access: &Access, networks: &NetworkLists) {
        let head = &access.head;
        let time = head.time;
        self.uses.add(time);
        self.by_person |= head.principal.kind == PrincipalKind::Human;
        *self.hours.entry(time.0.div_euclid(3_600)).or_default() += 1;
        self.methods.insert(access.method);
        let role = head.principal.role_of_person().map(Into::into);
        self.identity = role.or_else(|| head.principal.id.clone());
        let regions = &mut self.regions;
        regions.entry(head.region.clone()).or_default().add(time);
        if let Some(key) = access.decrypt.key_arn.clone() {
            self.keys.entry(key).or_default().add(time);
        }
        if let Some(origin) = ReadOrigin::of(&head.source, networks) {
            self.origins.entry(origin).or_default().add(time);
        }
    }

    /// Forgets regions, sources and keys with fewer reads or days than the minimum. Returns whether
    /// the pair itself has them, in one region, from one source and with one key at least: without
    /// those, its grant would allow any.
    pub(super) fn keep_frequent(&mut self, options: BaselineOptions<'_>) -> bool {
        self.regions.retain(|_, uses| uses.are_enough(options));
        let has_key = !self.keys.is_empty();
        self.keys.retain(|_, uses| uses.are_enough(options));
        let has_origin = !self.origins.is_empty();
        self.origins.retain(|_, uses| uses.are_enough(options));
        self.uses.are_enough(options)
            && !self.regions.is_empty()
            && self.origins.is_empty() != has_origin
            && self.keys.is_empty() != has_key
    }

    /// 99th percentile of the reads per hour, over hours with reads.
    pub(super) fn baseline_per_hour(&self) -> u64 {
        // Hours without reads do not count: a nightly job would otherwise have a baseline of 0.
        let mut counts: Vec<u64> = self.hours.values().copied().collect();
        counts.sort_unstable();
        let rank = (counts.len() * USUAL_PERCENT).div_ceil(100);
        counts.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

impl ReadOrigin {
    /// Whether it is a public address.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Address(address) if !is_private(address.to_canonical()))
    }

    /// `None` if the source is no address, service or VPC endpoint.
    pub(super) fn of(source: &CallSource, networks: &NetworkLists) -> Option<Self> {
        // Hosted runners have other addresses at each run; their list says which there are.
        if SourceClass::of(source, networks) == Some(SourceClass::HostedCi) {
            return Some(Self::Name("class:hosted_ci".into()));
        }
        // Behind an endpoint the address is private to that VPC, and other VPCs may use the same;
        // the id of the endpoint is unique.
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

impl SecretTarget {
    /// `None` if the name of the secret is unknown.
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

/// The date of a time, UTC.
pub(super) fn date(time: EventTime) -> String {
    let mut text = time.to_string();
    text.truncate("2026-03-02".len());
    text
}

/// Principal and secret of an access, or why the access is omitted.
pub(super) fn usable(access: &Access) -> Result<(SharedStr, SecretTarget), OmissionReason> {
    // A denied direct Decrypt counts as denied: the outcome matters more than the method.
    match (access.head.outcome, access.method) {
        (CallOutcome::Denied, _) => return Err(OmissionReason::Denied),
        (_, AccessMethod::DirectDecrypt) => return Err(OmissionReason::DirectDecrypt),
        (CallOutcome::Failed, _) => return Err(OmissionReason::Failed),
        (_, AccessMethod::DecryptOnly) => return Err(OmissionReason::NoRead),
        _ => {}
    }
    if access.head.principal.kind == PrincipalKind::Root {
        return Err(OmissionReason::Root);
    }
    let principal = access.head.principal.id.clone().filter(is_plain);
    principal
        .zip(SecretTarget::of(access).filter(|target| is_plain(&target.name)))
        .ok_or(OmissionReason::Unnamed)
}

/// Whether a name is not empty and has no wildcards.
fn is_plain(name: &SharedStr) -> bool {
    // The caller chooses the name: `*` must not become a grant for everything.
    !name.is_empty() && !name.contains(['*', '?'])
}

/// A successful read, for tests.
#[cfg(test)]
pub(super) fn read_by(principal: &str, secret: &str, secs: i64) -> Access {
    use crate::{
        access::{AccessDecrypt, DecryptStatus},
        ids::{RecordHome, SecretRef},
        observation::{EventHeader, KeptFields},
        principal::Principal,
    };

    let home = RecordHome {
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
    let source = CallSource {
        ip: Some("192.0.2.1".into()),
        kind: SourceKind::Ip,
        user_agent: None,
        vpc_endpoint: None,
        geo: crate::geo::SourceGeo::default(),
    };
    let head = EventHeader {
        event_id: format!("{secret}@{secs}").into(),
        event: 0,
        unshared_event: None,
        content: 0,
        shared_id: None,
        updated: false,
        time: EventTime(secs),
        api: "GetSecretValue".into(),
        account: "1".into(),
        region: "eu-west-1".into(),
        principal: principal.into(),
        access_key_id: None,
        source: source.into(),
        outcome: CallOutcome::Success,
        denied_by: None,
        error_code: None,
        object: "object".into(),
        delivered: EventTime(secs),
        kept: KeptFields::default(),
    };
    let secret = SecretRef::secret(secret, home);
    Access {
        head: head.into(),
        method: AccessMethod::Api,
        asked: secret.key(),
        asked_version: false,
        secret,
        decrypt: AccessDecrypt::only(DecryptStatus::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observation::EventHeader;

    fn with_head(mut access: Access, change: impl FnOnce(&mut EventHeader)) -> Access {
        change(Arc::make_mut(&mut access.head));
        access
    }

    #[test]
    fn what_looks_like_an_attack_is_not_learned_from() {
        let read = || read_by("role", "db", 0);
        let by = |method| Access { method, ..read() };
        let denied = |access| with_head(access, |head| head.outcome = CallOutcome::Denied);
        let failed = |access| with_head(access, |head| head.outcome = CallOutcome::Failed);
        let root = with_head(read(), |head| {
            Arc::make_mut(&mut head.principal).kind = PrincipalKind::Root;
        });
        for (access, why) in [
            (
                denied(by(AccessMethod::DirectDecrypt)),
                OmissionReason::Denied,
            ),
            (
                failed(by(AccessMethod::DirectDecrypt)),
                OmissionReason::DirectDecrypt,
            ),
            (failed(read()), OmissionReason::Failed),
            (by(AccessMethod::DecryptOnly), OmissionReason::NoRead),
            (root, OmissionReason::Root),
            (read_by("", "db", 0), OmissionReason::Unnamed),
            (read_by("role", "*", 0), OmissionReason::Unnamed),
            (read_by("role/?", "db", 0), OmissionReason::Unnamed),
        ] {
            assert_eq!(usable(&access).unwrap_err(), why);
        }
        let (principal, target) = usable(&by(AccessMethod::Batch)).unwrap();
        assert_eq!((&*principal, &*target.name), ("role", "db"));
    }

    #[test]
    fn the_usual_rate_is_that_of_a_busy_hour_but_for_one_in_a_hundred() {
        let mut pair = ReadPair::default();
        assert_eq!(pair.baseline_per_hour(), 0);
        for hour in 0..99 {
            pair.add(&read_by("role", "db", hour * 3_600), NetworkLists::none());
        }
        let burst = 200 * 3_600;
        (0..50).for_each(|n| pair.add(&read_by("role", "db", burst + n), NetworkLists::none()));
        assert_eq!(
            pair.baseline_per_hour(),
            1,
            "one busy hour of a hundred does not count"
        );
        (0..40).for_each(|n| {
            pair.add(
                &read_by("role", "db", burst + 3_600 + n),
                NetworkLists::none(),
            )
        });
        assert_eq!(pair.baseline_per_hour(), 40, "two are");
        assert_eq!((pair.uses.reads, pair.uses.days.len()), (189, 6));
    }

    #[test]
    fn an_endpoint_says_more_than_the_address_behind_it() {
        let source = |ip: &str, kind, endpoint: Option<&str>| CallSource {
            ip: Some(ip.into()),
            kind,
            user_agent: None,
            vpc_endpoint: endpoint.map(Into::into),
            geo: crate::geo::SourceGeo::default(),
        };
        let name = |text: &str| Some(ReadOrigin::Name(text.into()));
        let private = source("10.0.0.1", SourceKind::Ip, None);
        let address = Some(ReadOrigin::Address(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(ReadOrigin::of(&private, NetworkLists::none()), address);
        let through = source("10.0.0.1", SourceKind::Ip, Some("vpce-1"));
        assert_eq!(
            ReadOrigin::of(&through, NetworkLists::none()),
            name("vpce-1")
        );
        let service = source("rds.amazonaws.com", SourceKind::Service, None);
        assert_eq!(
            ReadOrigin::of(&service, NetworkLists::none()),
            name("rds.amazonaws.com")
        );
        let odd = source("not an address", SourceKind::Unknown, None);
        let mut runners = NetworkLists::default();
        runners.add("hosted_ci", "10.0.0.0/8").unwrap();
        let class = ReadOrigin::of(&private, &runners);
        assert_eq!(class, name("class:hosted_ci"));
        assert_eq!(ReadOrigin::of(&through, &runners), name("vpce-1"));
        assert_eq!(ReadOrigin::of(&odd, NetworkLists::none()), None);
    }
}
