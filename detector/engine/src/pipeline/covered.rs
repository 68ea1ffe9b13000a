//! Alerts of rules that a correlation covers: raised about facts outside its matches, and withdrawn
//! when later facts complete a match around them.

use std::{mem, slice};

use super::{
    BatchOutcome, Pipeline,
    alerts::{AlertsById, window_alert},
    history::over,
    large_windows::{CountedFacts, LargeMatch, LargeMatches},
    pending_alerts::TouchedTimes,
};
use crate::{
    alert::{Alert, AlertId},
    fact::{Fact, WindowKey, WindowRange},
    rule::{RuleSet, WindowRule, cover::CoveredRule},
    state::{StateError, StateStore},
    time::EventTime,
    window::{self, cover::SplitFacts},
};

/// Number of groups of a correlation that are read at a time.
const GROUPS: usize = 64;

/// A rule that a correlation covers.
#[derive(Clone, Copy)]
struct Cover<'r> {
    /// The window that raises the alerts of the rule.
    rule: &'r WindowRule,
    correlation: &'r WindowRule,
    /// How they belong together.
    link: &'r CoveredRule,
}

/// Whole buckets of a covered rule in one group of its correlation.
pub(super) struct CoverRange<'r> {
    cover: Cover<'r>,
    /// The group of the correlation.
    key: WindowKey,
    /// First and last time, both inclusive.
    times: (EventTime, EventTime),
}

/// Which alerts of covered rules there are, in some ranges.
#[derive(Default)]
pub(super) struct CoverVerdict {
    /// The alerts that are raised.
    pub(super) raised: AlertsById,
    /// Those that are not, although the rule has facts.
    covered: Vec<AlertId>,
}

impl CoverVerdict {
    /// Adds what the facts of a range say; see [`CoverRange::facts`].
    fn add(&mut self, range: &CoverRange<'_>, facts: &[Fact]) {
        let rule = range.cover.rule;
        let split = range.split(facts);
        let mut raised = AlertsById::new();
        for (group, facts) in &split.alone {
            let matches = window::evaluate(rule, group, facts, range.times).into_iter();
            let alerts = matches.map(|(found, facts)| window_alert(rule, found, facts));
            raised.extend(alerts.map(|alert| (alert.id.clone(), alert)));
        }
        self.add_covered(range, &split, raised);
    }

    /// Adds alerts of a range, and those that are covered in it.
    fn add_covered(&mut self, range: &CoverRange<'_>, split: &SplitFacts, mut raised: AlertsById) {
        let rule = range.cover.rule;
        let first = range.times.0.0.div_euclid(rule.suppress_secs);
        let buckets = split.covered.iter().filter(|(_, at)| *at >= first);
        let ids = buckets.map(|(group, at)| Alert::window_id(&rule.meta, group, *at));
        self.covered
            .extend(ids.filter(|id| !raised.contains_key(id)));
        self.raised.append(&mut raised);
    }

    fn equals(&self, other: &Self) -> bool {
        self.raised.keys().eq(other.raised.keys()) && self.covered == other.covered
    }
}

impl Pipeline<'_> {
    /// Creates and withdraws alerts of covered rules, after those of a verdict were created, until
    /// they are those of the facts that the store has. Another writer may add facts at any time:
    /// whoever acts last has read them all.
    pub(super) async fn keep_uncovered<S: StateStore>(
        &self,
        store: &S,
        ranges: &[CoverRange<'_>],
        mut verdict: CoverVerdict,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        loop {
            let withdrawn = store.retract_alerts(&verdict.covered, now).await?;
            outcome.report.alerts_withdrawn += withdrawn.len() as u64;
            outcome.withdrawn.extend(withdrawn);
            let again = self.uncovered(store, ranges).await?;
            if again.equals(&verdict) {
                return Ok(());
            }
            verdict = again;
            let alerts: Vec<Alert> = verdict.raised.values().cloned().collect();
            let created = store.create_alerts(alerts.clone(), now).await?;
            outcome.list_created(alerts, &created);
        }
    }

    /// The buckets in which touched facts, or facts around them, may be.
    pub(super) fn ranges_around(&self, touched: TouchedTimes) -> Vec<CoverRange<'_>> {
        let ranges = touched
            .into_entries()
            .filter_map(|((window, key), (first, last))| {
                let cover = Cover::of(self.rules, window)?;
                let (bucket, span) = (cover.rule.suppress_secs, cover.correlation.span_secs);
                let from = first.plus(-span).start_of(bucket);
                let to = last.plus(span).start_of(bucket).plus(bucket - 1);
                let times = (from, to);
                Some(CoverRange { cover, key, times })
            });
        ranges.collect()
    }

    /// The verdict on some ranges by the facts that a store has.
    pub(super) async fn uncovered<S: StateStore>(
        &self,
        store: &S,
        ranges: &[CoverRange<'_>],
    ) -> Result<CoverVerdict, StateError> {
        let mut verdict = CoverVerdict::default();
        for ranges in ranges.chunks(GROUPS) {
            let asked: Vec<WindowRange> = ranges.iter().map(CoverRange::facts).collect();
            let found = store.facts_up_to(&asked, self.facts_at_once).await?;
            for (range, facts) in ranges.iter().zip(found) {
                match facts {
                    Some(facts) => verdict.add(range, &facts),
                    None => large(store, range, &mut verdict).await?,
                }
            }
        }
        verdict.covered.sort();
        verdict.covered.dedup();
        Ok(verdict)
    }

    /// Takes out the ranges whose buckets, and the windows around them, are over before a time. The
    /// rest stays touched.
    pub(super) fn complete_covers(
        &self,
        touched: &mut TouchedTimes,
        before: EventTime,
    ) -> Vec<CoverRange<'_>> {
        let mut complete = Vec::new();
        touched.retain(|(window, key), (first, last)| {
            let Some(cover) = Cover::of(self.rules, *window) else {
                return false;
            };
            let bucket = cover.rule.suppress_secs;
            let over = over(decided(cover.correlation, before), bucket);
            if *first < over {
                let times = (first.start_of(bucket), over.plus(-1).min(*last));
                let key = key.clone();
                complete.push(CoverRange { cover, key, times });
                *first = over;
            }
            *last >= over
        });
        complete
    }
}

/// Before this time, it is known which facts a correlation covers.
fn decided(correlation: &WindowRule, before: EventTime) -> EventTime {
    if before.0 == i64::MAX {
        return before;
    }
    before.plus(-correlation.span_secs)
}

/// The verdict on a range with more facts than are held in memory at once: as in
/// [`large_windows`](super::large_windows), they are read twice.
async fn large<S: StateStore>(
    store: &S,
    range: &CoverRange<'_>,
    verdict: &mut CoverVerdict,
) -> Result<(), StateError> {
    let Cover { rule, link, .. } = range.cover;
    let asked = range.facts();
    let mut counted = CountedFacts::default();
    store
        .facts_in_parts(slice::from_ref(&asked), &mut |_, fact| counted.add(&fact))
        .await?;
    let split = range.split(&counted.facts);
    let mut matches = Vec::new();
    for (group, facts) in &split.alone {
        let found = window::evaluate(rule, group, facts, range.times).into_iter();
        matches.extend(found.map(|(found, facts)| LargeMatch::new(rule, found, &facts)));
    }
    let mut again = LargeMatches::default();
    if !matches.is_empty() {
        again.add_own(asked, counted, matches);
    }
    let ranges = mem::take(&mut again.ranges);
    store
        .facts_in_parts(&ranges, &mut |index, fact| {
            if fact.slot == link.slot {
                again.collect(index, window::cover::as_own(fact));
            }
        })
        .await?;
    let alerts = again.into_matches().map(|large| large.alert(rule));
    let raised = alerts.map(|alert| (alert.id.clone(), alert)).collect();
    verdict.add_covered(range, &split, raised);
    Ok(())
}

/// The time of the earliest fact of a correlation that alerts of the rules that it covers may need.
pub(super) fn needed_for_covered(
    rules: &RuleSet,
    correlation: &WindowRule,
    before: EventTime,
) -> Option<EventTime> {
    let covers = correlation.cover.covers.iter();
    let windows = covers.filter_map(|covered| rules.windows.get(covered.window));
    let needed = windows.map(|rule| {
        let open = over(decided(correlation, before), rule.suppress_secs);
        open.plus(-rule.span_secs - correlation.span_secs)
    });
    needed.min()
}

impl<'r> Cover<'r> {
    /// The rule whose alerts this window raises; `None` if no correlation covers it.
    fn of(rules: &'r RuleSet, window: usize) -> Option<Self> {
        let rule = rules.windows.get(window)?;
        let correlation = rules.windows.get(rule.cover.by?)?;
        let mut links = correlation.cover.covers.iter();
        Some(Self {
            rule,
            correlation,
            link: links.find(|link| link.window == window)?,
        })
    }
}

impl CoverRange<'_> {
    /// Which of its facts a correlation covers.
    fn split(&self, facts: &[Fact]) -> SplitFacts {
        let Cover {
            rule,
            correlation,
            link,
        } = self.cover;
        // Those before it are in the windows of its alerts.
        let times = (EventTime(i64::MIN), self.times.1);
        window::cover::split(correlation, (link, rule), (&self.key, facts), times)
    }

    /// The facts that decide: alerts say what is in their window, which begins before the bucket.
    fn facts(&self) -> WindowRange {
        let (window, span) = (self.cover.rule.span_secs, self.cover.correlation.span_secs);
        WindowRange {
            key: self.key.clone(),
            from: self.times.0.plus(-window - span),
            to: self.times.1.plus(span),
        }
    }
}
