//! Windows with more facts than are held in memory at once: one actor may read secrets two hundred
//! thousand times in an hour.
//!
//! Their facts are read twice. First, of each fact only what windows count is kept. Then the
//! evidence of the windows that fire is read again, and reduced to what an alert shows. The alerts
//! are those of windows whose facts are all in memory.

use std::{collections::hash_map::Entry, sync::Arc};

use ahash::{HashMap, HashSet};

use super::{
    Pipeline,
    alerts::{AlertTimes, AlertsById},
    pending_alerts::TouchedWindow,
};
use crate::{
    actor::common::CommonTraits,
    alert::{Alert, AlertId, EvidenceTotals, WindowMatch, reduced},
    copies::{Standing, standing},
    digest::short_digest,
    evidence::Evidence,
    fact::{Fact, WindowRange},
    ids::SharedStr,
    rule::WindowRule,
    rule_meta::RuleMeta,
    state::{StateError, StateStore},
    window,
};

/// Evidence that is collected before it is reduced.
const REDUCED: usize = 4_096;

impl Pipeline<'_> {
    /// Evaluates windows of one rule, and adds an alert for each match.
    pub(super) async fn evaluate_large<S: StateStore>(
        &self,
        store: &S,
        touched: &[&TouchedWindow],
        alerts: &mut AlertsById,
    ) -> Result<(), StateError> {
        let window = touched.first().map(|touch| touch.window);
        let Some(window) = window.and_then(|window| self.rules.windows.get(window)) else {
            return Ok(());
        };
        let mut counted: Vec<CountedFacts> = Vec::new();
        counted.resize_with(touched.len(), CountedFacts::default);
        let ranges: Vec<WindowRange> = touched.iter().map(|touch| touch.range.clone()).collect();
        store
            .facts_in_parts(&ranges, &mut |index, fact| {
                if let Some(counted) = counted.get_mut(index) {
                    counted.add(&fact);
                }
            })
            .await?;
        let mut matches = LargeMatches::default();
        for (touch, counted) in touched.iter().zip(counted) {
            matches.add(window, touch, counted);
        }
        let ranges = std::mem::take(&mut matches.ranges);
        store
            .facts_in_parts(&ranges, &mut |index, fact| matches.collect(index, fact))
            .await?;
        for large in matches.into_matches() {
            let alert = large.alert(window);
            alerts.insert(alert.id.clone(), alert);
        }
        Ok(())
    }
}

/// Identity of a fact in its group.
fn identity(fact: &Fact) -> u64 {
    let numbers = format!("{} {}", fact.time.0, fact.slot);
    let value = fact.value.as_deref();
    let is_given = if value.is_some() { "=" } else { "" };
    let value = value.unwrap_or_default();
    short_digest(&[&numbers, &fact.key, is_given, value])
}

/// Identity of the event behind a fact.
fn event_of(evidence: &Evidence) -> u64 {
    short_digest(&[&evidence.head.event_key()])
}

/// Which of several pieces of evidence for one fact is kept, but for those of equal records.
type EvidenceRank = (bool, Standing);

fn rank(evidence: &Evidence) -> EvidenceRank {
    (evidence.is_finalized(), standing(&evidence.head, 0))
}

/// The facts of one group, with as much of each as windows count.
#[derive(Default)]
pub(super) struct CountedFacts {
    /// Each once. All have the evidence of the first, which is not looked at.
    pub(super) facts: Vec<Fact>,
    /// By identity, the rank of the best evidence, and the position of the fact.
    best: HashMap<u64, (EvidenceRank, usize)>,
    /// Values, each of which many facts may have.
    values: HashSet<SharedStr>,
    /// Events of which an access is final.
    finalized: HashSet<u64>,
}

impl CountedFacts {
    pub(super) fn add(&mut self, fact: &Fact) {
        if fact.evidence.is_finalized() {
            self.finalized.insert(event_of(&fact.evidence));
        }
        let rank = rank(&fact.evidence);
        match self.best.entry(identity(fact)) {
            Entry::Occupied(mut known) => {
                let (best, index) = known.get_mut();
                // What is usual may be known only when the event is final.
                if rank > *best
                    && let Some(counted) = self.facts.get_mut(*index)
                {
                    *best = rank;
                    counted.least = fact.least;
                }
            }
            Entry::Vacant(place) => {
                place.insert((rank, self.facts.len()));
                let counted = self.counted(fact);
                self.facts.push(counted);
            }
        }
    }

    /// The fact without its evidence.
    fn counted(&mut self, fact: &Fact) -> Fact {
        let first = self.facts.first();
        let head = first.map_or(&fact.evidence.head, |first| &first.evidence.head);
        let value = fact.value.as_ref().map(|value| {
            let known = self.values.get(value).cloned();
            known.unwrap_or_else(|| {
                self.values.insert(value.clone());
                value.clone()
            })
        });
        Fact {
            key: fact.key.clone(),
            value,
            evidence: Evidence::event(head.clone(), None),
            ..*fact
        }
    }
}

/// The matches of some groups, and what is read again for them.
#[derive(Default)]
pub(super) struct LargeMatches {
    pub(super) ranges: Vec<WindowRange>,
    of_ranges: Vec<RangeMatches>,
}

/// The matches of one group.
struct RangeMatches {
    matches: Vec<LargeMatch>,
    best: HashMap<u64, (EvidenceRank, usize)>,
    finalized: HashSet<u64>,
}

/// A window that fires, and the evidence of it.
pub(super) struct LargeMatch {
    window_match: WindowMatch,
    lasts: AlertTimes,
    /// Identities of its facts whose evidence is not collected yet.
    missing: HashSet<u64>,
    evidence: CollectedEvidence,
}

/// Evidence that is reduced while it is collected, to what an alert shows of it.
#[derive(Default)]
pub(super) struct CollectedEvidence {
    evidence: Vec<Evidence>,
    /// The number at which the evidence is reduced, if it is more than [`REDUCED`].
    reduced_at: usize,
    accesses: HashSet<u64>,
    calls: HashSet<u64>,
}

impl LargeMatches {
    /// Adds the windows of a group that fire.
    fn add(&mut self, window: &WindowRule, touch: &TouchedWindow, counted: CountedFacts) {
        let CountedFacts {
            facts,
            best,
            finalized,
            ..
        } = counted;
        let found = window::evaluate(window, &touch.range.key.group, &facts, touch.ends);
        let matches = found.into_iter();
        let matches: Vec<LargeMatch> = matches
            .map(|(window_match, facts)| LargeMatch::new(window, window_match, &facts))
            .collect();
        if !matches.is_empty() {
            self.ranges.push(touch.range.clone());
            self.of_ranges.push(RangeMatches {
                matches,
                best,
                finalized,
            });
        }
    }

    /// Adds windows of rules that a correlation covers, whose facts were [`cover::as_own`].
    ///
    /// [`cover::as_own`]: window::cover::as_own
    pub(super) fn add_own(
        &mut self,
        range: WindowRange,
        counted: CountedFacts,
        matches: Vec<LargeMatch>,
    ) {
        let CountedFacts {
            facts,
            best,
            finalized,
            ..
        } = counted;
        let best = best.into_values().filter_map(|(rank, index)| {
            let own = window::cover::as_own(facts.get(index)?.clone());
            Some((identity(&own), (rank, index)))
        });
        self.of_ranges.push(RangeMatches {
            matches,
            best: best.collect(),
            finalized,
        });
        self.ranges.push(range);
    }

    /// The windows that fire, with the evidence that was collected.
    pub(super) fn into_matches(self) -> impl Iterator<Item = LargeMatch> {
        self.of_ranges.into_iter().flat_map(|range| range.matches)
    }

    /// Takes a fact that is read again.
    pub(super) fn collect(&mut self, index: usize, fact: Fact) {
        let Some(range) = self.of_ranges.get_mut(index) else {
            return;
        };
        let id = identity(&fact);
        let evidence = fact.evidence;
        let best = range.best.get(&id).map(|(best, _)| *best);
        if best != Some(rank(&evidence)) {
            return;
        }
        // Its final evidence is at another fact, as in `most_telling`.
        let is_refined = evidence.access.is_some()
            && !evidence.is_finalized()
            && range.finalized.contains(&event_of(&evidence));
        for large in &mut range.matches {
            if large.missing.remove(&id) && !is_refined {
                large.evidence.add(evidence.clone());
            }
        }
    }
}

impl LargeMatch {
    pub(super) fn new(window: &WindowRule, window_match: WindowMatch, facts: &[&Fact]) -> Self {
        Self {
            lasts: AlertTimes::of(window, &window_match, facts),
            window_match,
            missing: facts.iter().map(|fact| identity(fact)).collect(),
            evidence: CollectedEvidence::default(),
        }
    }

    pub(super) fn alert(self, window: &WindowRule) -> Alert {
        let (group, bucket) = (&self.window_match.group, self.window_match.bucket);
        let id = Alert::window_id(&window.meta, group, bucket);
        let rule = window.meta.clone();
        let common = window.holds_back();
        let common = common.then(|| CommonTraits::of(&self.evidence.evidence));
        let alert = self.evidence.alert(id, rule, self.window_match);
        self.lasts.apply(Alert { common, ..alert })
    }
}

impl CollectedEvidence {
    /// Whether there is evidence of the event.
    pub(super) fn has(&self, evidence: &Evidence) -> bool {
        self.calls.contains(&event_of(evidence))
    }

    /// Number of events.
    pub(super) fn events(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn add(&mut self, evidence: Evidence) {
        self.calls.insert(event_of(&evidence));
        if evidence.access.is_some() {
            self.accesses.insert(evidence.order_digest());
        }
        self.evidence.push(evidence);
        if self.evidence.len() >= self.reduced_at.max(REDUCED) {
            self.evidence = reduced(std::mem::take(&mut self.evidence));
            // At most half of the work is repeated, whatever is left.
            self.reduced_at = 2 * self.evidence.len();
        }
    }

    /// The alert of a window with this evidence.
    pub(super) fn alert(
        self,
        id: AlertId,
        rule: Arc<RuleMeta>,
        window_match: WindowMatch,
    ) -> Alert {
        let totals = EvidenceTotals {
            accesses: self.accesses.len(),
            calls: self.calls.len(),
        };
        Alert::of_reduced(id, rule, Some(window_match), self.evidence, totals)
    }
}
