//! Proposes an access policy from accesses: who read what, generalised to patterns only where the
//! history supports it.
//!
//! What looks like an attack is omitted and reported: denied reads, direct decrypts, KMS Decrypts
//! without a read, the root user, bulk reads on one day only, what alerts name, and what is new
//! near the end. What a reader does beside its habits is granted with a remark. The result is for
//! review: nothing is granted automatically.

mod proposal;

mod bulk;
mod held;
mod iam;
mod pairs;
mod roaming;

mod reader;

mod news;

mod convention;
mod groups;
mod names;
mod networks;

mod hours;

mod habits;

mod doubts;
mod evidence;
mod fold;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::{
    bulk::bulk_reads,
    habits::Habits,
    held::HeldBack,
    news::{Hold, News},
    pairs::{ReadPair, ReadPairs, SecretTarget, usable},
    reader::ReaderTrait,
    roaming::roaming,
};
use crate::{
    access::Access,
    alert::Alert,
    ids::SharedStr,
    policy::{AccessPolicy, PolicyVerdict},
    time::EventTime,
};

pub use self::{
    proposal::{
        BaselineOptions, ItemEvidence, Omission, OmissionReason, PolicyProposal, ProposedGrant,
    },
    text::{MergeError, ProposalText},
};

/// Proposes grants for accesses. With an earlier policy, only for accesses that it does not expect.
#[must_use]
pub fn propose(
    accesses: &[Arc<Access>],
    earlier: Option<&AccessPolicy>,
    options: BaselineOptions<'_>,
) -> PolicyProposal {
    propose_beside(&[], accesses, earlier, options)
}

/// Like [`propose`]; what an alert of medium level or higher names is held back.
#[must_use]
pub fn propose_beside(
    alerts: &[Alert],
    accesses: &[Arc<Access>],
    earlier: Option<&AccessPolicy>,
    options: BaselineOptions<'_>,
) -> PolicyProposal {
    let review = History::of(alerts, accesses, options);
    // Searched in all accesses: the earlier policy may expect some reads of a bulk read.
    let bulk = bulk_reads(accesses);
    let refused = earlier.map(|policy| review.refused(policy, accesses, options));
    let refused = refused.unwrap_or_default();
    let mut omissions = Omissions::default();
    let (mut expected, mut new) = (0, Vec::new());
    for (access, hold) in accesses.iter().map(|access| &**access).zip(&review.holds) {
        if earlier.is_some_and(|policy| is_expected(policy, access)) {
            expected += 1;
            continue;
        }
        let named = || {
            let mut own = review.deviations(earlier?, access, options).into_iter();
            own.find_map(|one| refused.get(&one).cloned())
        };
        match hold.clone().or_else(named) {
            Some(hold) => omissions.add_held(access, &hold),
            None => new.push(access),
        }
    }
    let pairs = learn(&new, &bulk, options, &mut omissions);
    let left_out = omissions.into_sorted();
    let grants = review.grants(&pairs, &left_out, options);
    PolicyProposal {
        grants,
        left_out,
        learned: pairs
            .values()
            .flatten()
            .map(|(_, pair)| pair.uses.reads)
            .sum(),
        iam: options.drafts_iam.then(|| iam::drafts(&pairs)),
        expected,
        span: span(accesses),
    }
}

/// What the whole history shows, whatever the earlier policy expects of it.
struct History<'a> {
    roaming: BTreeSet<SharedStr>,
    /// Why each access is held back.
    holds: Vec<Option<Hold<'a>>>,
    habits: Habits,
}

impl<'a> History<'a> {
    fn of(alerts: &'a [Alert], accesses: &[Arc<Access>], options: BaselineOptions<'_>) -> Self {
        let networks = options.networks;
        let held = HeldBack::of(alerts);
        let roaming = roaming(accesses, networks);
        let all: Vec<&Access> = accesses.iter().map(|access| &**access).collect();
        let news = News::of(&all, &held, &roaming, networks);
        let holds = all.iter();
        let holds: Vec<Option<Hold<'a>>> = holds
            .map(|access| news.hold(access, &held, &roaming, networks))
            .collect();
        // What is held back is no habit.
        let kept = all.into_iter().zip(&holds);
        let kept = kept.filter(|(_, hold)| hold.is_none());
        let kept = kept.map(|(access, _)| access);
        Self {
            habits: Habits::of(kept, news.moved, &roaming, networks),
            holds,
            roaming,
        }
    }

    /// What an alert names of what the earlier policy refuses to readers that it expects: other
    /// reads of the same are not proposed either, though no alert may list them.
    fn refused(
        &self,
        earlier: &AccessPolicy,
        accesses: &[Arc<Access>],
        options: BaselineOptions<'_>,
    ) -> BTreeMap<(SharedStr, ReaderTrait), Hold<'a>> {
        let mut refused = BTreeMap::new();
        for (access, hold) in accesses.iter().zip(&self.holds) {
            if let Some(hold @ Hold::Alerted(_)) = hold {
                let own = self.deviations(earlier, access, options).into_iter();
                refused.extend(own.map(|one| (one, hold.clone())));
            }
        }
        refused
    }

    /// The network, region and key of an access that a policy does not expect of its reader.
    fn deviations(
        &self,
        policy: &AccessPolicy,
        access: &Access,
        options: BaselineOptions<'_>,
    ) -> Vec<(SharedStr, ReaderTrait)> {
        let expected = policy.judge(access);
        let Ok((reader, target)) = usable(access) else {
            return Vec::new();
        };
        let roams = self.roaming.contains(&reader);
        let traits = ReaderTrait::of(access, &target, roams, options.networks).into_iter();
        let deviating = traits.filter(|one| {
            let verdict = match one {
                ReaderTrait::Network(_) => expected.source,
                ReaderTrait::Region(_) => expected.region,
                ReaderTrait::Key(..) => expected.key,
                _ => return false,
            };
            verdict == PolicyVerdict::No
        });
        deviating.map(|one| (reader.clone(), one)).collect()
    }

    /// The grants, those that need a look first, and then the quiet mass.
    fn grants(
        &self,
        pairs: &ReadPairs,
        left_out: &[Omission],
        options: BaselineOptions<'_>,
    ) -> Vec<ProposedGrant> {
        // That a reader did something new lately says nothing about what it did before; a reader
        // that is new itself must not hide under a pattern.
        let telling = left_out.iter().filter(|omission| {
            omission.why != OmissionReason::Recent || !pairs.contains_key(&omission.principal)
        });
        let mut by_principal: Vec<&Omission> = telling.collect();
        by_principal.sort_by(|a, b| a.principal.cmp(&b.principal));
        let mut grants = fold::grants(pairs, &self.roaming, options.max_fold);
        for grant in &mut grants {
            let more = doubts::doubts(grant, &by_principal, &self.habits);
            grant.doubts.extend(more);
        }
        grants.sort_by_key(|grant| grant.doubts.is_empty());
        grants
    }
}

/// First and last event time; `None` without accesses.
fn span(accesses: &[Arc<Access>]) -> Option<(EventTime, EventTime)> {
    let times = accesses.iter().map(|access| access.head.time);
    times.clone().min().zip(times.max())
}

fn is_expected(policy: &AccessPolicy, access: &Access) -> bool {
    let expected = policy.judge(access);
    // A granted principal that reads in another region, from another source or with another key is
    // not expected: a grant for that may be needed.
    let refused = [expected.region, expected.source, expected.key].contains(&PolicyVerdict::No);
    expected.principal == PolicyVerdict::Yes && !refused
}

/// Groups usable accesses by principal and secret; adds the others to the omissions.
fn learn(
    accesses: &[&Access],
    bulk: &BTreeSet<SharedStr>,
    options: BaselineOptions<'_>,
    omissions: &mut Omissions,
) -> ReadPairs {
    let mut by_pair: BTreeMap<(SharedStr, SecretTarget), Vec<&Access>> = BTreeMap::new();
    for access in accesses {
        match usable(access) {
            Err(why) => omissions.add(why, access),
            Ok(pair) => by_pair.entry(pair).or_default().push(access),
        }
    }
    let mut pairs = ReadPairs::new();
    for ((principal, target), reads) in by_pair {
        if let Some(pair) = learn_pair(&reads, bulk, options, omissions) {
            pairs.entry(principal).or_default().insert(target, pair);
        }
    }
    pairs
}

/// What the reads of a secret by a principal show; `None` when all of them are omitted.
fn learn_pair(
    reads: &[&Access],
    bulk: &BTreeSet<SharedStr>,
    options: BaselineOptions<'_>,
    omissions: &mut Omissions,
) -> Option<ReadPair> {
    let (in_bulk, others): (Vec<&Access>, Vec<&Access>) = reads
        .iter()
        .copied()
        .partition(|access| bulk.contains(&access.head.event_key()));
    let mut pair = ReadPair::default();
    others
        .iter()
        .for_each(|access| pair.add(access, options.networks));
    if others.is_empty() {
        omissions.add_all(OmissionReason::BulkRead, reads);
        return None;
    }
    if !pair.keep_frequent(options) {
        omissions.add_all(OmissionReason::Rare, reads);
        return None;
    }
    // A principal that reads the secret every day may also have read it once in bulk: that read
    // does not count towards the baseline.
    omissions.add_all(OmissionReason::BulkRead, &in_bulk);
    Some(pair)
}

/// Omitted accesses by reason and principal.
#[derive(Default)]
struct Omissions(BTreeMap<(OmissionReason, SharedStr), LeftOutReads>);

/// Omitted accesses of one principal for one reason.
struct LeftOutReads {
    accesses: u64,
    secrets: BTreeSet<SecretTarget>,
    first: EventTime,
    alerts: BTreeSet<String>,
}

impl Omissions {
    fn add_held(&mut self, access: &Access, hold: &Hold<'_>) {
        // What is omitted anyway has a reason of its own.
        let (why, title) = match (usable(access), hold) {
            (Err(why), _) => (why, None),
            (Ok(_), Hold::Alerted(title)) => (OmissionReason::Alerted, Some(*title)),
            (Ok(_), Hold::Recent) => (OmissionReason::Recent, None),
        };
        self.add(why, access);
        let principal = access.head.principal.id.clone().unwrap_or_default();
        if let Some(reads) = self.0.get_mut(&(why, principal)) {
            reads.alerts.extend(title.map(str::to_owned));
        }
    }

    fn add(&mut self, why: OmissionReason, access: &Access) {
        let head = &access.head;
        let principal = head.principal.id.clone();
        let principal = principal.unwrap_or_else(|| "an unnamed principal".into());
        let reads = self.0.entry((why, principal)).or_insert(LeftOutReads {
            accesses: 0,
            secrets: BTreeSet::new(),
            first: head.time,
            alerts: BTreeSet::new(),
        });
        reads.accesses += 1;
        reads.secrets.extend(SecretTarget::of(access));
        reads.first = reads.first.min(head.time);
    }

    fn add_all(&mut self, why: OmissionReason, accesses: &[&Access]) {
        accesses.iter().for_each(|access| self.add(why, access));
    }

    /// By reason, most accesses first.
    fn into_sorted(self) -> Vec<Omission> {
        let mut list: Vec<Omission> = self
            .0
            .into_iter()
            .map(|((why, principal), reads)| Omission {
                why,
                principal,
                accesses: reads.accesses,
                secrets: reads.secrets.len(),
                first: reads.first,
                alerts: reads.alerts.into_iter().collect(),
            })
            .collect();
        list.sort_by(|a, b| {
            (a.why, b.accesses, &a.principal).cmp(&(b.why, a.accesses, &b.principal))
        });
        list
    }
}

#[cfg(test)]
mod tests {
    use super::pairs::read_by;
    use super::*;

    fn burst(start: i64) -> Vec<Access> {
        let read = |n| read_by("role", &format!("secret{n:02}"), start + n);
        (0..20).map(read).collect()
    }

    fn proposed(accesses: Vec<Access>, earlier: Option<&AccessPolicy>) -> PolicyProposal {
        let accesses: Vec<Arc<Access>> = accesses.into_iter().map(Arc::new).collect();
        let options = BaselineOptions {
            min_reads: 2,
            ..BaselineOptions::default()
        };
        propose(&accesses, earlier, options)
    }

    fn left_out(proposal: &PolicyProposal) -> Vec<(OmissionReason, u64, usize)> {
        let list = proposal.left_out.iter();
        list.map(|o| (o.why, o.accesses, o.secrets)).collect()
    }

    #[test]
    fn every_access_is_learned_expected_or_omitted() {
        let mut accesses = burst(1_000);
        // One secret has ordinary reads too, another has a single one.
        accesses.extend((1..4).map(|day| read_by("role", "secret00", day * 86_400)));
        accesses.push(read_by("role", "secret01", 90_000));
        let proposal = proposed(accesses, None);
        assert_eq!((proposal.learned, proposal.expected), (3, 0));
        let left = left_out(&proposal);
        assert_eq!(
            left,
            [
                (OmissionReason::BulkRead, 19, 19),
                (OmissionReason::Rare, 2, 1)
            ]
        );
        assert_eq!(proposal.grants[0].reads, 3);
        let doubt = "other accesses of its principals were omitted: bulk read on one day only";
        assert!(proposal.grants[0].doubts.contains(&doubt.to_owned()));
    }

    #[test]
    fn what_is_expected_by_now_still_is_half_of_a_bulk_read() {
        let earlier = concat!(
            "version: 1\ngrants:\n",
            "  - secrets: [\"arn:aws:secretsmanager:*:1:secret:secret0*\"]\n",
            "    principals: [role]\n",
        );
        let earlier: AccessPolicy = earlier.parse().unwrap();
        let twice = [burst(1_000), burst(2_000)].concat();
        let proposal = proposed(twice, Some(&earlier));
        assert_eq!((proposal.learned, proposal.expected), (0, 20));
        assert_eq!(left_out(&proposal), [(OmissionReason::BulkRead, 20, 10)]);
    }

    #[test]
    fn the_most_accesses_of_a_reason_come_first() {
        let mut accesses = vec![read_by("b", "x", 0), read_by("a", "x", 0)];
        accesses.extend(["x", "y"].map(|secret| read_by("c", secret, 7)));
        let proposal = proposed(accesses, None);
        let who: Vec<&str> = proposal.left_out.iter().map(|o| &*o.principal).collect();
        assert_eq!(who, ["c", "a", "b"]);
        assert_eq!(proposal.span, Some((EventTime(0), EventTime(7))));
    }

    #[test]
    fn a_grant_across_accounts_is_doubted() {
        let reads = |principal: &str| (0..2).map(|n| read_by(principal, "db", n)).collect();
        let doubts = |principal| proposed(reads(principal), None).grants[0].doubts.clone();
        let elsewhere = "reads from another account: 2";
        assert_eq!(doubts("arn:aws:iam::1:role/app"), ["on one day only"]);
        assert_eq!(
            doubts("arn:aws:iam::2:role/app"),
            [elsewhere, "on one day only"]
        );
        assert_eq!(doubts("rds.amazonaws.com"), ["on one day only"]);
    }
}
