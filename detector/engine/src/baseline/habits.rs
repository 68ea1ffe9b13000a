//! What a reader does beside what it does mostly: somebody else may be using its credentials, and
//! may have done so through all of the history. Marked for the reviewer.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    access::Access,
    baseline::{
        convention::topic,
        hours::odd_hours,
        pairs::{ENOUGH_READS, SecretTarget, Uses},
        reader::{ReaderHistory, ReaderTrait, Readers, are_near},
    },
    ids::{ArnParts, SharedStr},
    incident::story::first_and_rest,
    limits::SEEN_WARM_UP_SECS,
    network::NetworkLists,
};

/// Most names in one remark.
const NAMED: usize = 3;

/// Less than one read in so many is seldom.
const SELDOM: u64 = 4;

/// So many others that use a network or a region mostly show that it is the organisation's.
const OTHERS: usize = 2;

/// The remarks about readers.
#[derive(Debug, Default)]
pub(super) struct Habits {
    /// Reader and remark, sorted.
    remarks: Vec<(SharedStr, String)>,
}

/// How many readers use something, and of which applications the secrets are.
#[derive(Default)]
struct Community<'h> {
    readers: usize,
    /// Readers that use a host or region more than any other.
    mostly: BTreeMap<&'h ReaderTrait, usize>,
    /// Readers with at least a quarter of their reads there.
    often: BTreeMap<&'h ReaderTrait, usize>,
    /// Readers of an account whose secrets are mostly of this application.
    applications: BTreeMap<(&'h SharedStr, &'h str), usize>,
}

/// Uses of one kind of trait, most reads first.
type Ranked<'h> = Vec<(&'h ReaderTrait, &'h Uses)>;

impl Habits {
    /// Compares the reads of each reader, with further remarks.
    pub(super) fn of<'a>(
        accesses: impl Iterator<Item = &'a Access>,
        further: Vec<(SharedStr, String)>,
        roaming: &BTreeSet<SharedStr>,
        networks: &NetworkLists,
    ) -> Self {
        let readers = Readers::of(accesses, roaming, networks);
        let community = Community::of(&readers);
        let mut remarks = further;
        for (reader, history) in &readers.0 {
            let found = community.remarks(history).into_iter();
            remarks.extend(found.map(|remark| (reader.clone(), remark)));
        }
        remarks.sort();
        remarks.dedup();
        Self { remarks }
    }

    /// The remarks about the principals of a grant that have a literal beginning; `is_granted` says
    /// which they are.
    pub(super) fn about(&self, literal: &str, is_granted: impl Fn(&str) -> bool) -> Vec<String> {
        let start = self
            .remarks
            .partition_point(|(reader, _)| **reader < *literal);
        let rest = self.remarks.get(start..).unwrap_or_default().iter();
        let near = rest.take_while(|(reader, _)| reader.starts_with(literal));
        let granted = near.filter(|(reader, _)| is_granted(reader));
        let texts = granted.map(|(reader, remark)| {
            if **reader == *literal {
                remark.clone()
            } else {
                format!("{}: {remark}", reader.rsplit(':').next().unwrap_or(reader))
            }
        });
        texts.collect()
    }
}

impl<'h> Community<'h> {
    fn of(readers: &'h Readers) -> Self {
        let mut found = Self {
            readers: readers.0.len(),
            ..Self::default()
        };
        for history in readers.0.values() {
            for ranked in [hosts(history), regions(history)] {
                found.count(&ranked, history);
            }
            if let Some(application) = application(history) {
                *found.applications.entry(application).or_default() += 1;
            }
        }
        found
    }

    fn count(&mut self, ranked: &Ranked<'h>, history: &ReaderHistory) {
        if let Some((most, _)) = ranked.first() {
            *self.mostly.entry(most).or_default() += 1;
        }
        for (one, _) in ranked.iter().filter(|(_, uses)| !is_seldom(uses, history)) {
            *self.often.entry(one).or_default() += 1;
        }
    }

    /// Whether a place is the organisation's: some use it mostly, or half of all often.
    fn is_common(&self, place: &ReaderTrait) -> bool {
        let (mostly, often) = (self.mostly.get(place), self.often.get(place));
        mostly.is_some_and(|readers| *readers >= OTHERS)
            || (self.readers > OTHERS && often.is_some_and(|often| often * 2 >= self.readers))
    }

    /// All remarks about a reader.
    fn remarks(&self, history: &'h ReaderHistory) -> Vec<String> {
        let mut found = foreign(history);
        let others = [
            ("from another network", self.other_hosts(history)),
            ("in another region", self.other_regions(history)),
            ("with another program", in_turn(clients(history))),
            ("with another access key", in_turn(access_keys(history))),
            ("with another KMS key", other_keys(history)),
            ("by another session", other_sessions(history)),
            (
                "of another application's secrets",
                self.other_applications(history),
            ),
        ];
        let others = others.into_iter();
        found.extend(others.filter_map(|(what, others)| remark(what, &others, history)));
        found.extend(odd_hours(history));
        found.extend(one_by_one(history));
        found
    }

    fn other_hosts(&self, history: &'h ReaderHistory) -> Ranked<'h> {
        let mut ranked = hosts(history);
        let all = ranked.len();
        let Some((ReaderTrait::Host(main), _)) = ranked.first().copied() else {
            return Vec::new();
        };
        ranked.retain(|(one, uses)| {
            let ReaderTrait::Host(host) = one else {
                return false;
            };
            // One of many neighbours is one of many machines; one that is seldom beside a single
            // other may be somebody else's.
            let is_neighbour = are_near(main, host) && (all > 2 || !is_seldom(uses, history));
            host != main && !is_neighbour && !self.is_common(one)
        });
        ranked
    }

    fn other_regions(&self, history: &'h ReaderHistory) -> Ranked<'h> {
        let ranked = regions(history).into_iter().skip(1);
        ranked.filter(|(one, _)| !self.is_common(one)).collect()
    }

    /// Seldom reads of secrets that others read mostly.
    fn other_applications(&self, history: &'h ReaderHistory) -> Ranked<'h> {
        let own = application(history);
        if own.is_none() {
            return Vec::new();
        }
        let mut by_application: BTreeMap<_, (Option<&'h ReaderTrait>, u64)> = BTreeMap::new();
        for (one, target, uses) in secrets(history) {
            let place = by_application.entry(application_of(target)).or_default();
            place.0 = Some(one);
            place.1 += uses.reads;
        }
        let foreign = by_application
            .into_iter()
            .filter(|(application, (_, reads))| {
                Some(*application) != own
                    && reads * SELDOM < history.reads()
                    && self.applications.contains_key(application)
            });
        let foreign: BTreeSet<_> = foreign.map(|(application, _)| application).collect();
        let all = secrets(history);
        all.filter(|(_, target, _)| foreign.contains(&application_of(target)))
            .map(|(one, _, uses)| (one, uses))
            .collect()
    }
}

fn is_seldom(uses: &Uses, history: &ReaderHistory) -> bool {
    uses.reads * SELDOM < history.reads()
}

/// `12 of 84 reads from another network: 203.0.113.77`; `None` without others.
fn remark(what: &str, others: &Ranked<'_>, history: &ReaderHistory) -> Option<String> {
    let names: BTreeSet<&str> = others.iter().map(|(one, _)| shown(one)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let named = first_and_rest(&names, NAMED, 0)?;
    let reads: u64 = others.iter().map(|(_, uses)| uses.reads).sum();
    let all = history.reads();
    Some(format!("{reads} of {all} reads {what}: {named}"))
}

/// How a remark names a trait.
fn shown(one: &ReaderTrait) -> &str {
    match one {
        ReaderTrait::Session(name) if name.is_empty() => "numbered ones",
        other => other.name(),
    }
}

fn ranked(history: &ReaderHistory, is_kind: impl Fn(&ReaderTrait) -> bool) -> Ranked<'_> {
    let mut found: Ranked<'_> = history
        .traits
        .iter()
        .filter(|(one, _)| is_kind(one))
        .collect();
    // Stable: of equal ones the first by name.
    found.sort_by_key(|(_, uses)| std::cmp::Reverse(uses.reads));
    found
}

fn hosts(history: &ReaderHistory) -> Ranked<'_> {
    ranked(history, |one| matches!(one, ReaderTrait::Host(_)))
}

fn regions(history: &ReaderHistory) -> Ranked<'_> {
    ranked(history, |one| matches!(one, ReaderTrait::Region(_)))
}

fn clients(history: &ReaderHistory) -> Ranked<'_> {
    ranked(history, |one| matches!(one, ReaderTrait::Client(_)))
}

fn access_keys(history: &ReaderHistory) -> Ranked<'_> {
    ranked(history, |one| matches!(one, ReaderTrait::AccessKey(_)))
}

/// Those that were used between two uses of the first: one that follows the other replaced it.
fn in_turn(ranked: Ranked<'_>) -> Ranked<'_> {
    let mut ranked = ranked.into_iter();
    let Some((main_from, main_to)) = ranked.next().and_then(|(_, uses)| uses.span) else {
        return Vec::new();
    };
    let overlaps = ranked.filter(|(_, uses)| {
        uses.span
            .is_some_and(|(from, to)| from <= main_to && main_from <= to)
    });
    overlaps.collect()
}

/// Keys that one secret had in turn in one region: a replica has its own.
fn other_keys(history: &ReaderHistory) -> Ranked<'_> {
    let mut by_secret: BTreeMap<(&SecretTarget, &str), Ranked<'_>> = BTreeMap::new();
    for (one, uses) in ranked(history, |one| matches!(one, ReaderTrait::Key(..))) {
        if let ReaderTrait::Key(target, key) = one {
            let region = ArnParts::parse(key).map_or("", |arn| arn.region);
            by_secret
                .entry((target, region))
                .or_default()
                .push((one, uses));
        }
    }
    by_secret.into_values().flat_map(in_turn).collect()
}

/// Seldom session names beside those that nearly all others have.
fn other_sessions(history: &ReaderHistory) -> Ranked<'_> {
    let mut ranked = ranked(history, |one| matches!(one, ReaderTrait::Session(_)));
    ranked.retain(|(_, uses)| is_seldom(uses, history));
    ranked
}

/// Keys and endpoints of other accounts.
fn foreign(history: &ReaderHistory) -> Vec<String> {
    let found = history.traits.keys().filter_map(|one| match one {
        ReaderTrait::KeyAccount(account) => Some(format!("KMS key of another account: {account}")),
        ReaderTrait::EndpointAccount(endpoint, account) => Some(format!(
            "VPC endpoint {endpoint} of another account: {account}"
        )),
        _ => None,
    });
    found.collect()
}

fn secrets(
    history: &ReaderHistory,
) -> impl Iterator<Item = (&ReaderTrait, &SecretTarget, &Uses)> + '_ {
    history.traits.iter().filter_map(|(one, uses)| match one {
        ReaderTrait::Secret(target) => Some((one, target, uses)),
        _ => None,
    })
}

fn application_of(target: &SecretTarget) -> (&SharedStr, &str) {
    (&target.account, topic(&target.name))
}

/// The application of at least half of the reads; `None` for a reader of many.
fn application(history: &ReaderHistory) -> Option<(&SharedStr, &str)> {
    let mut reads: BTreeMap<(&SharedStr, &str), u64> = BTreeMap::new();
    for (_, target, uses) in secrets(history) {
        *reads.entry(application_of(target)).or_default() += uses.reads;
    }
    let (application, most) = reads.into_iter().max_by_key(|(_, reads)| *reads)?;
    let is_own = most >= ENOUGH_READS && most * 2 >= history.reads();
    is_own.then_some(application)
}

/// Secrets that the reader began to read after its first week, on different days, or of an
/// application of which it read nothing before.
fn one_by_one(history: &ReaderHistory) -> Option<String> {
    let week = history.first()?.plus(SEEN_WARM_UP_SECS);
    let (mut late, mut days) = (Vec::new(), BTreeSet::new());
    let mut before = BTreeSet::new();
    for (one, target, uses) in secrets(history) {
        let (first, _) = uses.span?;
        if first < week {
            before.insert(application_of(target));
        } else {
            late.push((one, target));
            days.insert(first.0.div_euclid(86_400));
        }
    }
    let is_elsewhere = late
        .iter()
        .any(|(_, target)| !before.contains(&application_of(target)));
    if late.is_empty() || (days.len() < 2 && !is_elsewhere) {
        return None;
    }
    let names: Vec<&str> = late.iter().map(|(one, _)| shown(one)).collect();
    let named = first_and_rest(&names, NAMED, 0)?;
    Some(format!("first read after its first week: {named}"))
}
