//! Accesses to a proposed access policy: who read what, folded to patterns only where the history supports it.
//!
//! What looks like an attack is left out and told: denied reads, direct decrypts, key uses without a read, the root user,
//! and bulk reads that happened once. The result is a text for a person to review; nothing here decides for them.

mod fold;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::access::{Access, Method};
use crate::glob::Glob;
use crate::ids::{Store, Text};
use crate::observation::{Outcome, SourceKind};
use crate::policy::{Policy, Verdict};
use crate::principal::PrincipalKind;
use crate::time::EventTime;

/// Secrets that one principal must have read within [`BULK_SECS`] for that to be a bulk read; as in the rule of the pack.
const BULK_SECRETS: usize = 20;
/// Length of that window in seconds.
const BULK_SECS: i64 = 600;
/// Reads without which nothing is said of sources and keys: too few to call anything unusual.
const ENOUGH_READS: u64 = 10;
/// Percentile of the busy hours that counts as the usual rate.
const USUAL_PERCENT: usize = 99;

/// What to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Pairs of principal and secret with fewer reads are left out.
    pub min_reads: u64,
    /// Pairs that were read on fewer days are left out.
    pub min_days: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_reads: 1,
            min_days: 1,
        }
    }
}

/// Why accesses were not learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// The read was denied.
    Denied,
    /// KMS was called directly.
    DirectDecrypt,
    /// Many secrets at once, on one day only.
    BulkRead,
    /// The root user.
    Root,
    /// A key use without a read.
    NoRead,
    /// Fewer reads or days than asked for.
    Rare,
    /// The principal or the secret has no name, or one that a pattern cannot hold.
    Unnamed,
    /// The read failed.
    Failed,
}

impl LeftOut {
    /// Words for the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::DirectDecrypt => "decrypted by calling KMS directly",
            Self::BulkRead => "read in bulk, once",
            Self::Root => "read by the root user",
            Self::NoRead => "decrypted without a read in the log",
            Self::Rare => "read too rarely",
            Self::Unnamed => "without a usable name",
            Self::Failed => "failed",
        }
    }
}

/// One line of what was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// Why.
    pub why: LeftOut,
    /// Whose.
    pub principal: Text,
    /// How many accesses.
    pub accesses: u64,
    /// How many distinct secrets.
    pub secrets: usize,
    /// The first one.
    pub first: EventTime,
}

/// A proposed grant and the evidence for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Patterns of principals.
    pub principals: Vec<String>,
    /// Patterns of secrets and parameters.
    pub secrets: Vec<String>,
    /// Regions.
    pub regions: Vec<String>,
    /// Networks, endpoints and services; empty when the history is too thin or too mixed to say.
    pub sources: Vec<String>,
    /// Patterns of keys; empty when no key use was seen.
    pub keys: Vec<String>,
    /// The most reads of one secret by one principal in an hour, but for one busy hour in a hundred.
    pub usual_per_hour: u64,
    /// Reads behind it.
    pub reads: u64,
    /// Days on which there were reads.
    pub days: usize,
    /// The last one.
    pub last: EventTime,
    /// Principals that were seen.
    pub seen_principals: usize,
    /// Secrets that were seen.
    pub seen_secrets: usize,
    /// Why to look twice at it.
    pub doubts: Vec<String>,
}

/// A proposed policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proposal {
    /// Grants, by account and principal.
    pub grants: Vec<Grant>,
    /// What was left out, by reason, most accesses first.
    pub left_out: Vec<Omission>,
    /// Accesses that were learned from.
    pub learned: u64,
    /// Accesses that an earlier policy already expects.
    pub expected: u64,
    /// First and last event time.
    pub span: Option<(EventTime, EventTime)>,
}

/// What one principal did with one secret.
#[derive(Debug, Default)]
struct Pair {
    reads: u64,
    days: BTreeSet<i64>,
    hours: BTreeMap<i64, u64>,
    last: Option<EventTime>,
    regions: BTreeSet<Text>,
    sources: BTreeSet<Origin>,
    keys: BTreeSet<Text>,
}

/// Where a read came from, as far as a policy can say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Address(IpAddr),
    Name(Text),
}

/// A secret whatever its region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    partition: Text,
    account: Text,
    store: Store,
    name: Text,
}

type Pairs = BTreeMap<Text, BTreeMap<Target, Pair>>;

/// Proposes grants for accesses. With an earlier policy, only what that does not expect is learned.
#[must_use]
pub fn propose(accesses: &[Arc<Access>], earlier: Option<&Policy>, options: Options) -> Proposal {
    let mut proposal = Proposal::default();
    let mut omissions: BTreeMap<(LeftOut, Text), (u64, BTreeSet<Target>, EventTime)> =
        BTreeMap::new();
    let times = accesses.iter().map(|a| a.head.time);
    proposal.span = times.clone().min().zip(times.max());
    let mut leave = |why, access: &Access| {
        let principal = access
            .head
            .principal
            .id
            .clone()
            .unwrap_or_else(|| "an unnamed principal".into());
        let entry =
            omissions
                .entry((why, principal))
                .or_insert((0, BTreeSet::new(), access.head.time));
        entry.0 += 1;
        entry.1.extend(target(access));
        entry.2 = entry.2.min(access.head.time);
    };
    let bulk = bulk_reads(accesses);
    let mut pairs = Pairs::new();
    let mut of_pair: BTreeMap<(Text, Target), Vec<&Access>> = BTreeMap::new();
    for access in accesses {
        if earlier.is_some_and(|policy| is_expected(policy, access)) {
            proposal.expected += 1;
            continue;
        }
        match usable(access) {
            Err(why) => leave(why, access),
            Ok(key) => of_pair.entry(key).or_default().push(access),
        }
    }
    for ((principal, target), reads) in of_pair {
        let in_bulk = |a: &&&Access| bulk.contains(&a.head.event_id);
        if reads.iter().filter(in_bulk).count() == reads.len() {
            reads.iter().for_each(|a| leave(LeftOut::BulkRead, a));
            continue;
        }
        let mut pair = Pair::default();
        reads
            .iter()
            .filter(|a| !in_bulk(a))
            .for_each(|a| pair.add(a));
        if pair.reads < options.min_reads || pair.days.len() < options.min_days {
            reads.iter().for_each(|a| leave(LeftOut::Rare, a));
            continue;
        }
        reads
            .iter()
            .filter(in_bulk)
            .for_each(|a| leave(LeftOut::BulkRead, a));
        proposal.learned += pair.reads;
        pairs.entry(principal).or_default().insert(target, pair);
    }
    proposal.grants = fold::grants(&pairs);
    let omission = |((why, principal), (accesses, secrets, first))| {
        let secrets: BTreeSet<Target> = secrets;
        Omission {
            why,
            principal,
            accesses,
            secrets: secrets.len(),
            first,
        }
    };
    proposal.left_out = omissions.into_iter().map(omission).collect();
    proposal
        .left_out
        .sort_by(|a, b| (a.why, b.accesses, &a.principal).cmp(&(b.why, a.accesses, &b.principal)));
    for grant in &mut proposal.grants {
        grant.doubts = doubts(grant, &proposal.left_out);
    }
    proposal
}

/// What a reviewer should know before granting.
fn doubts(grant: &Grant, left_out: &[Omission]) -> Vec<String> {
    let patterns: Vec<Glob> = grant.principals.iter().map(|p| Glob::new(p)).collect();
    let meant = |omission: &&Omission| patterns.iter().any(|p| p.matches(&omission.principal));
    let reasons: BTreeSet<&str> = left_out
        .iter()
        .filter(meant)
        .map(|o| o.why.as_str())
        .collect();
    let account = |arn: &String| arn.split(':').nth(4).unwrap_or_default().to_owned();
    let owner = grant.secrets.first().map(account);
    let mut doubts = Vec::new();
    if grant
        .principals
        .iter()
        .any(|p| p.starts_with("arn:") && Some(account(p)) != owner)
    {
        doubts.push("reads from another account".to_owned());
    }
    if grant.days == 1 {
        doubts.push("on one day only".to_owned());
    }
    doubts.extend(
        reasons
            .iter()
            .map(|why| format!("other accesses of its principals were left out: {why}")),
    );
    doubts
}

impl Proposal {
    /// The policy as YAML with a comment for each grant. With the text of an earlier policy, that text and what is to be
    /// added to it.
    ///
    /// # Errors
    ///
    /// Why nothing can be added to the earlier text, and how to mend it.
    pub fn to_yaml(&self, earlier: Option<&str>) -> Result<String, String> {
        text::yaml(self, earlier)
    }
}

impl Pair {
    fn add(&mut self, access: &Access) {
        let head = &access.head;
        self.reads += 1;
        self.days.insert(head.time.0.div_euclid(86_400));
        *self.hours.entry(head.time.0.div_euclid(3_600)).or_default() += 1;
        self.last = self.last.max(Some(head.time));
        self.regions.insert(head.region.clone());
        self.keys.extend(access.decrypt.key_arn.clone());
        if let Some(endpoint) = &head.source.vpc_endpoint {
            self.sources.insert(Origin::Name(endpoint.clone()));
        } else if let Some(ip) = &head.source.ip {
            match (head.source.kind, ip.parse()) {
                (_, Ok(address)) => drop(self.sources.insert(Origin::Address(address))),
                (SourceKind::Service | SourceKind::Internal, _) => {
                    drop(self.sources.insert(Origin::Name(ip.clone())))
                }
                _ => {}
            }
        }
    }

    /// The reads of a busy hour, but for one in a hundred.
    fn usual_per_hour(&self) -> u64 {
        let mut counts: Vec<u64> = self.hours.values().copied().collect();
        counts.sort_unstable();
        let rank = (counts.len() * USUAL_PERCENT).div_ceil(100);
        counts.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

fn is_expected(policy: &Policy, access: &Access) -> bool {
    let expected = policy.judge(access);
    let refused = [expected.region, expected.source, expected.key].contains(&Verdict::No);
    expected.principal == Verdict::Yes && !refused
}

/// Principal and secret of an access that may be learned from.
fn usable(access: &Access) -> Result<(Text, Target), LeftOut> {
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
    let plain = |text: &Text| !text.contains(['*', '?']) && !text.is_empty();
    let principal = access.head.principal.id.clone().filter(plain);
    principal
        .zip(target(access).filter(|t| plain(&t.name)))
        .ok_or(LeftOut::Unnamed)
}

fn target(access: &Access) -> Option<Target> {
    let secret = &access.secret;
    let name = secret.name.clone()?;
    Some(Target {
        partition: secret.partition.clone(),
        account: secret.account.clone(),
        store: secret.store,
        name,
    })
}

/// Event ids of reads in bulk by principals that did so on one day only. What happens every day is a job.
fn bulk_reads(accesses: &[Arc<Access>]) -> BTreeSet<Text> {
    let mut by_principal: BTreeMap<Text, Vec<(EventTime, Target, Text)>> = BTreeMap::new();
    for access in accesses {
        if let Ok((principal, target)) = usable(access) {
            let read = (access.head.time, target, access.head.event_id.clone());
            by_principal.entry(principal).or_default().push(read);
        }
    }
    let mut bulk = BTreeSet::new();
    for mut reads in by_principal.into_values() {
        reads.sort();
        let mut hit = vec![false; reads.len()];
        let mut start = 0;
        let mut window: BTreeMap<&Target, usize> = BTreeMap::new();
        for (end, (time, target, _)) in reads.iter().enumerate() {
            *window.entry(target).or_default() += 1;
            while let Some((_, old, _)) = reads
                .get(start)
                .filter(|(old, ..)| old.0 <= time.0 - BULK_SECS)
            {
                if let Some(count) = window.get_mut(old) {
                    *count -= 1;
                    if *count == 0 {
                        window.remove(old);
                    }
                }
                start += 1;
            }
            if window.len() >= BULK_SECRETS {
                hit.iter_mut()
                    .take(end + 1)
                    .skip(start)
                    .for_each(|h| *h = true);
            }
        }
        let hits = || {
            reads
                .iter()
                .zip(&hit)
                .filter(|(_, hit)| **hit)
                .map(|(read, _)| read)
        };
        let days: BTreeSet<i64> = hits().map(|(time, ..)| time.0.div_euclid(86_400)).collect();
        if days.len() == 1 {
            bulk.extend(hits().map(|(_, _, event)| event.clone()));
        }
    }
    bulk
}
