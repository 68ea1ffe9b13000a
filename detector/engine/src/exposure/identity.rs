//! Keeps the secrets of one name apart: those of other regions, and those that were deleted and
//! made again.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{ChangeFact, ReadKind, SecretFacts, suffix_in};
use crate::{ids::SharedStr, time::EventTime};

/// One of the secrets that have a name: by the random suffix of its ARN, or without one by its
/// region. Replicas have the suffix of their primary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SecretIdentity {
    Suffix(SharedStr),
    Region(SharedStr),
}

/// Reads of one kind, and their times.
pub(super) type TimedReads<'f> = (&'f ReadKind, Vec<EventTime>);

/// The facts about one secret.
#[derive(Default)]
pub(super) struct OneSecret<'f> {
    pub(super) reads: Vec<TimedReads<'f>>,
    pub(super) changes: Vec<&'f ChangeFact>,
}

/// What is known of a secret with a suffix.
struct KnownSecret<'f> {
    /// Time of its first fact.
    first: EventTime,
    /// Regions of its facts.
    regions: BTreeSet<&'f str>,
    /// Whether the logs have the call that made it: what has its name before is another secret.
    is_created: bool,
}

/// The secrets of one name, by their suffixes.
type KnownSuffixes<'f> = BTreeMap<&'f str, KnownSecret<'f>>;

/// Keeps the secrets of one name apart.
pub(super) fn apart(facts: &SecretFacts) -> BTreeMap<SecretIdentity, OneSecret<'_>> {
    let mut known = KnownSuffixes::new();
    for (kind, times) in &facts.reads {
        if let (Some(suffix), Some((time, _))) = (suffix_in(kind.arn.as_deref()), times.first()) {
            note(&mut known, suffix, *time, &kind.region, false);
        }
    }
    for change in &facts.changes {
        if let Some(suffix) = suffix_in(change.arn.as_deref()) {
            let is_created = &*change.api == "CreateSecret";
            note(&mut known, suffix, change.time, &change.region, is_created);
        }
    }
    let mut all: BTreeMap<SecretIdentity, OneSecret<'_>> = BTreeMap::new();
    for (kind, times) in &facts.reads {
        let mut by_secret: BTreeMap<SecretIdentity, Vec<EventTime>> = BTreeMap::new();
        for (time, _) in times {
            let identity = identity(&known, kind.arn.as_deref(), &kind.region, *time);
            by_secret.entry(identity).or_default().push(*time);
        }
        for (identity, times) in by_secret {
            all.entry(identity).or_default().reads.push((kind, times));
        }
    }
    for change in &facts.changes {
        let identity = identity(&known, change.arn.as_deref(), &change.region, change.time);
        all.entry(identity).or_default().changes.push(change);
    }
    // Maps give them in any order.
    for one in all.values_mut() {
        one.reads.sort();
    }
    all
}

fn note<'f>(
    known: &mut KnownSuffixes<'f>,
    suffix: &'f str,
    time: EventTime,
    region: &'f str,
    is_created: bool,
) {
    let secret = known.entry(suffix).or_insert(KnownSecret {
        first: time,
        regions: BTreeSet::new(),
        is_created: false,
    });
    secret.first = time.min(secret.first);
    secret.regions.insert(region);
    secret.is_created |= is_created;
}

/// The secret that a fact is about. A name without an ARN is the secret that has it at that time,
/// in that region.
fn identity(
    known: &KnownSuffixes<'_>,
    arn: Option<&str>,
    region: &SharedStr,
    time: EventTime,
) -> SecretIdentity {
    if let Some(suffix) = suffix_in(arn) {
        return SecretIdentity::Suffix(suffix.into());
    }
    let here = known
        .iter()
        .filter(|(_, secret)| secret.regions.contains(&**region));
    let begun = here.clone().filter(|(_, secret)| secret.first <= time);
    let latest = begun.max_by_key(|(suffix, secret)| (secret.first, **suffix));
    let known = match latest {
        Some(latest) => Some(latest),
        None => here
            .filter(|(_, secret)| !secret.is_created)
            .min_by_key(|(suffix, secret)| (secret.first, **suffix)),
    };
    match known {
        Some((suffix, _)) => SecretIdentity::Suffix((*suffix).into()),
        None => SecretIdentity::Region(region.clone()),
    }
}
