//! The one path of both faces: a batch of what was harvested, a store, and the time, to alerts and accesses.
//!
//! Order of work: write facts and loose ends, settle what is due, read the windows that were touched, create alerts. A
//! replay does all of it at once ([`Pipeline::run`]); online, each batch does the first part ([`Pipeline::ingest`]) and a
//! sweep the rest ([`Pipeline::sweep`]). Every step may be repeated. A rule is asked twice about a read: at sight, so that an alert need not wait for the key use, and
//! when its key use is settled, with everything known. Alerts of both are one, because their id is.

mod drafts;
pub mod history;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::{HashMap, HashSet};

use self::drafts::{Drafts, Singles, Touched, most_telling, touched};
use crate::access::{Access, Method};
use crate::alert::{Alert, AlertId};
use crate::correlate;
use crate::coverage::CoverageMark;
use crate::evidence::Evidence;
use crate::fact::{RuleRange, WindowRange};
use crate::ids::Text;
use crate::limits::{COVERAGE_BUCKET_SECS, HORIZON_SECS};
use crate::loose_end::LooseEnd;
use crate::observation::{self, Observation, SecretRead};
use crate::parallel;
use crate::policy::Policy;
use crate::report::Report;
use crate::rule::event::OwnEvent;
use crate::rule::{Ask, Hits, RuleSet, Target, Window};
use crate::scan::Harvest;
use crate::seen::{self, Memory, Seen, Sighting};
use crate::selection::Selection;
use crate::state::memory::MemoryStore;
use crate::state::{Due, StateError, StateStore};
use crate::time::EventTime;
use crate::window;

/// What the path is set to.
pub struct Pipeline<'a> {
    /// Rules.
    pub rules: &'a RuleSet,
    /// Access policy; without one, rules about `expected.*` match nothing.
    pub policy: Option<&'a Policy>,
    /// Accesses, changes and records outside of it raise no alerts and are not listed.
    pub selection: &'a Selection,
    /// Seconds after the delivery of a loose end during which its other half may still arrive.
    pub horizon_secs: i64,
    /// How long to remember who read what.
    pub memory: Memory,
    /// Threads to work on; the result is the same for any number.
    pub threads: usize,
}

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Alerts that were created now, by time and id.
    pub alerts: Vec<Alert>,
    /// Accesses that were settled now, in the order of the ledger.
    pub accesses: Vec<Arc<Access>>,
    /// Counts, on top of those of the harvest.
    pub report: Report,
}

/// Events that rules are asked about on several threads, before what hits is taken over in order.
const ASKED: usize = 4_096;

/// Facts that are gathered before they are written.
const FACTS: usize = 16_384;

/// Windows that are read at a time.
const WINDOWS: usize = 256;

impl<'a> Pipeline<'a> {
    /// A path with the default horizon.
    #[must_use]
    pub fn new(rules: &'a RuleSet, policy: Option<&'a Policy>, selection: &'a Selection) -> Self {
        Self {
            rules,
            policy,
            selection,
            horizon_secs: HORIZON_SECS,
            memory: Memory::default(),
            threads: 1,
        }
    }

    /// The time to settle at, by the clock and the latest delivery. Logs from the future come from a wrong clock: then they
    /// are the only clock there is.
    #[must_use]
    pub fn time(&self, clock: EventTime, newest: Option<EventTime>) -> EventTime {
        newest
            .filter(|newest| *newest > clock)
            .map_or(clock, |newest| newest.plus(self.horizon_secs))
    }

    /// Takes a whole history in one go: everything that was delivered up to the horizon before `now` is settled.
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn run<S: StateStore>(
        &self,
        store: &S,
        harvest: Harvest,
        now: EventTime,
    ) -> Result<Outcome, StateError> {
        let mut outcome = Outcome::default();
        let mut drafts = Drafts::default();
        let ends = self
            .look_at(store, harvest, None, &mut drafts, &mut outcome.report)
            .await?;
        store.put_loose_ends(ends, EventTime(i64::MIN)).await?;
        self.settle_due(store, now, usize::MAX, drafts, &mut outcome)
            .await?;
        Ok(outcome)
    }

    /// Takes a batch that arrived `now`: alerts at sight, and loose ends that a later [`Self::sweep`] settles.
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn ingest<S: StateStore>(
        &self,
        store: &S,
        harvest: Harvest,
        now: EventTime,
    ) -> Result<Outcome, StateError> {
        let mut outcome = Outcome::default();
        let mut drafts = Drafts::default();
        let ends = self
            .look_at(store, harvest, Some(now), &mut drafts, &mut outcome.report)
            .await?;
        store.put_loose_ends(ends, now).await?;
        self.create(store, drafts, now, &mut outcome).await?;
        Ok(outcome)
    }

    /// Settles about `most` of the loose ends whose horizon is over at `now`, those that have waited longest, and says
    /// whether there was anything to settle.
    ///
    /// # Errors
    ///
    /// The store failed. The next sweep does the work again and changes nothing twice.
    pub async fn sweep<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        most: usize,
    ) -> Result<(Outcome, bool), StateError> {
        let mut outcome = Outcome::default();
        let some = self
            .settle_due(store, now, most, Drafts::default(), &mut outcome)
            .await?;
        Ok((outcome, some))
    }

    /// Writes down what a batch holds, except its loose ends, which are given, and asks the rules that need no settling. Without
    /// a time of arrival, everything is here, and is settled next.
    async fn look_at<S: StateStore>(
        &self,
        store: &S,
        harvest: Harvest,
        arrived: Option<EventTime>,
        drafts: &mut Drafts,
        report: &mut Report,
    ) -> Result<Vec<Arc<LooseEnd>>, StateError> {
        let mut observations = distinct(harvest.observations, report);
        drafts.add(self.rules, harvest.hits);
        self.ask(store, &observations, drafts, |end| {
            self.at_sight(&end.observation)
        })
        .await?;
        if self.rules.asks_for_seen() {
            let mut times = since(&observations, &harvest.coverage);
            if arrived.is_some() {
                times.extend(remembered_at_sight(&observations));
            }
            store
                .put_seen(seen::condensed(times, self.memory), self.memory)
                .await?;
        }
        store
            .mark_coverage(harvest.coverage.into_iter().collect())
            .await?;
        observations.retain(may_pair);
        Ok(observations)
    }

    /// Settles what is due, asks the rules about it, and creates the alerts of this and of the drafts.
    async fn settle_due<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        most: usize,
        mut drafts: Drafts,
        outcome: &mut Outcome,
    ) -> Result<bool, StateError> {
        let Due { ends, receipt } = store
            .due_loose_ends(now.plus(-self.horizon_secs), most)
            .await?;
        let settled = self.settle(store, &ends, true, &mut outcome.report).await?;
        self.judge_settled(store, settled, &mut drafts, outcome)
            .await?;
        self.create(store, drafts, now, outcome).await?;
        // Only now: a crash before this line settles the same ends again, with the same result.
        store.close_loose_ends(receipt).await?;
        Ok(!ends.is_empty())
    }

    /// Asks the rules about accesses that are settled, and lists those that are asked for.
    async fn judge_settled<S: StateStore>(
        &self,
        store: &S,
        mut accesses: Vec<Arc<Access>>,
        drafts: &mut Drafts,
        outcome: &mut Outcome,
    ) -> Result<(), StateError> {
        let seen = self.seen_before(store, &accesses).await?;
        let ask = Ask {
            target: Target::Access,
            settled: true,
            counts: true,
        };
        let judge = |access: &Arc<Access>| {
            self.judge(access, ask, seen.as_ref().map(|judge| judge.judge(access)))
        };
        self.ask(store, &accesses, drafts, judge).await?;
        accesses.retain(|access| self.selection.takes(access));
        accesses
            .iter()
            .for_each(|access| outcome.report.count_access(access));
        outcome.accesses = accesses;
        Ok(())
    }

    /// Accesses whose horizon is not over, as they look now. Nothing is written and no rule is asked.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn pending<S: StateStore>(&self, store: &S) -> Result<Outcome, StateError> {
        let mut outcome = Outcome::default();
        let open = store
            .due_loose_ends(EventTime(i64::MAX), usize::MAX)
            .await?;
        let mut ignored = Report::default();
        outcome.accesses = self.settle(store, &open.ends, false, &mut ignored).await?;
        outcome
            .accesses
            .retain(|access| access.method != Method::DecryptOnly && self.selection.takes(access));
        outcome
            .accesses
            .iter()
            .for_each(|access| outcome.report.count_access(access));
        Ok(outcome)
    }

    /// Asks the rules about many things, on several threads, and takes over what hits in their order.
    async fn ask<S: StateStore, T: Sync>(
        &self,
        store: &S,
        things: &[T],
        drafts: &mut Drafts,
        hits: impl Fn(&T) -> Hits + Sync,
    ) -> Result<(), StateError> {
        if self.rules.is_empty() {
            return Ok(());
        }
        for things in things.chunks(ASKED) {
            for hits in parallel::map(self.threads, things, &hits) {
                drafts.add(self.rules, hits);
            }
            drafts.write(store, FACTS).await?;
        }
        Ok(())
    }

    fn at_sight(&self, observation: &Observation) -> Hits {
        match observation {
            // A batch is known for one only when it is settled; who asks for methods waits for that.
            Observation::Read(_) if !self.selection.filter.methods.is_empty() => Hits::default(),
            Observation::Read(read) => {
                let counts = matches!(read.ask, observation::Ask::Named(_));
                let ask = Ask {
                    target: Target::Access,
                    settled: false,
                    counts,
                };
                let mut hits = Hits::default();
                seen(read)
                    .iter()
                    .for_each(|access| hits.append(self.judge(access, ask, None)));
                hits
            }
            Observation::KeyUse(key_use) => {
                let Some(secret) = key_use.secret.as_ref().filter(|_| key_use.direct) else {
                    return Hits::default();
                };
                let row = correlate::alone(key_use, secret, Method::DirectDecrypt);
                let ask = Ask {
                    target: Target::Access,
                    settled: true,
                    counts: true,
                };
                self.judge(&row.access, ask, None)
            }
            Observation::Change(change)
                if self
                    .selection
                    .takes_other(&change.head, change.secret.as_ref()) =>
            {
                let event = OwnEvent::change(&change.head, change.secret.as_ref());
                let evidence = Evidence {
                    head: change.head.clone(),
                    secret: change.secret.clone(),
                    access: None,
                };
                self.rules.hits(
                    Ask {
                        target: Target::Change,
                        settled: true,
                        counts: true,
                    },
                    &event,
                    &evidence,
                )
            }
            Observation::Change(_) => Hits::default(),
        }
    }

    /// Remembers these accesses, whether or not they are asked for, and gives all that is known of their kind; `None`
    /// when no rule asks. What is remembered before it is judged is not known by that: only what was earlier counts.
    async fn seen_before<S: StateStore>(
        &self,
        store: &S,
        accesses: &[Arc<Access>],
    ) -> Result<Option<seen::Judge>, StateError> {
        if !self.rules.asks_for_seen() {
            return Ok(None);
        }
        let times = accesses.iter().flat_map(|access| seen::remembered(access));
        store
            .put_seen(seen::condensed(times, self.memory), self.memory)
            .await?;
        let keys = seen::needed(accesses.iter().map(|access| &**access));
        let known = store.seen(&keys).await?;
        Ok(Some(seen::Judge::new(
            self.memory,
            keys.into_iter().zip(known),
        )))
    }

    fn judge(&self, access: &Arc<Access>, ask: Ask, seen: Option<Seen>) -> Hits {
        if !self.selection.takes(access) {
            return Hits::default();
        }
        let expected = self.policy.map(|policy| policy.judge(access));
        let event = OwnEvent::access(access, expected, seen);
        let evidence = Evidence::access(access.clone());
        self.rules.hits(ask, &event, &evidence)
    }

    /// Writes the last facts, reads the windows that facts have touched, and creates what fires.
    async fn create<S: StateStore>(
        &self,
        store: &S,
        mut drafts: Drafts,
        now: EventTime,
        outcome: &mut Outcome,
    ) -> Result<(), StateError> {
        drafts.write(store, 0).await?;
        let mut alerts: BTreeMap<AlertId, Alert> = BTreeMap::new();
        self.single_alerts(drafts.singles, &mut alerts);
        self.window_alerts(
            store,
            &drafts.lone,
            touched(drafts.touched, self.rules),
            &mut alerts,
        )
        .await?;
        let mut alerts: Vec<Alert> = alerts.into_values().collect();
        alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let created = store.create_alerts(alerts.clone(), now).await?;
        outcome.alerts = alerts
            .into_iter()
            .zip(created)
            .filter(|(_, created)| *created)
            .map(|(alert, _)| alert)
            .collect();
        outcome
            .alerts
            .iter()
            .for_each(|alert| outcome.report.count_alert(alert));
        Ok(())
    }

    /// Alerts about single events.
    fn single_alerts(&self, singles: Singles, alerts: &mut BTreeMap<AlertId, Alert>) {
        for (id, (rule, evidence)) in singles {
            if let Some(detection) = self.rules.detections.get(rule) {
                alerts.insert(
                    id.clone(),
                    Alert::new(id, detection.meta.clone(), None, most_telling(evidence)),
                );
            }
        }
    }

    /// Alerts of windows: those that one fact fills from their own store, and the others.
    async fn window_alerts<S: StateStore>(
        &self,
        store: &S,
        own: &MemoryStore,
        touched: Vec<Touched>,
        alerts: &mut BTreeMap<AlertId, Alert>,
    ) -> Result<(), StateError> {
        let (lone, shared): (Vec<_>, Vec<_>) = touched.into_iter().partition(|touched| {
            self.rules
                .windows
                .get(touched.window)
                .is_some_and(Window::is_filled_by_one)
        });
        for touched in lone.chunks(WINDOWS) {
            self.evaluate(own, touched, alerts).await?;
        }
        let shared = self.that_may_fire(store, shared).await?;
        for touched in shared.chunks(WINDOWS) {
            self.evaluate(store, touched, alerts).await?;
        }
        Ok(())
    }

    /// Leaves out the windows that need facts of several rules, one of which has none at all. Facts are written before, by
    /// this batch and by others: whoever comes last sees that all are there.
    async fn that_may_fire<S: StateStore>(
        &self,
        store: &S,
        mut touched: Vec<Touched>,
    ) -> Result<Vec<Touched>, StateError> {
        let mut spans: BTreeMap<usize, RuleRange> = BTreeMap::new();
        for touch in &touched {
            let needs_many = |window: &Window| !window::may_fire(window, &BTreeSet::from([0]));
            if self.rules.windows.get(touch.window).is_some_and(needs_many) {
                let Touched { range, .. } = touch;
                let span = spans.entry(touch.window).or_insert_with(|| RuleRange {
                    rule: range.key.rule.clone(),
                    from: range.from,
                    to: range.to,
                });
                span.from = span.from.min(range.from);
                span.to = span.to.max(range.to);
            }
        }
        let asked: Vec<_> = spans.values().cloned().collect();
        let slots: BTreeMap<usize, BTreeSet<usize>> =
            spans.into_keys().zip(store.slots(&asked).await?).collect();
        let may_fire = |touch: &Touched| match (
            slots.get(&touch.window),
            self.rules.windows.get(touch.window),
        ) {
            (Some(slots), Some(window)) => window::may_fire(window, slots),
            _ => true,
        };
        touched.retain(may_fire);
        Ok(touched)
    }

    /// Reads windows, and adds the alerts of those that fire.
    async fn evaluate<S: StateStore>(
        &self,
        store: &S,
        touched: &[Touched],
        alerts: &mut BTreeMap<AlertId, Alert>,
    ) -> Result<(), StateError> {
        let ranges: Vec<WindowRange> = touched.iter().map(|t| t.range.clone()).collect();
        for (touch, facts) in touched.iter().zip(store.facts(&ranges).await?) {
            let Some(window) = self.rules.windows.get(touch.window) else {
                continue;
            };
            for (firing, facts) in
                window::evaluate(window, &touch.range.key.group, &facts, touch.ends)
            {
                let id = Alert::window_id(&window.meta, &firing.group, firing.bucket);
                let evidence = facts
                    .into_iter()
                    .map(|fact| fact.evidence.clone())
                    .collect();
                let evidence = most_telling(evidence);
                alerts.insert(
                    id.clone(),
                    Alert::new(id, window.meta.clone(), Some(firing), evidence),
                );
            }
        }
        Ok(())
    }
}

/// The accesses of a read as far as its own record tells. A batch tells through the reads that it causes.
fn seen(read: &SecretRead) -> Vec<Arc<Access>> {
    let (method, secrets) = match &read.ask {
        observation::Ask::Named(secrets) => (Method::Api, secrets.as_slice()),
        observation::Ask::Path { path, .. } => (Method::ByPath, std::slice::from_ref(path)),
        observation::Ask::History(secret) => (Method::History, std::slice::from_ref(secret)),
        observation::Ask::Batch(_) | observation::Ask::BatchFilters => return Vec::new(),
    };
    secrets
        .iter()
        .map(|secret| correlate::row(read, method, secret.clone(), secret.key(), None).access)
        .collect()
}

/// What can be remembered of reads before their key uses are known, so that whatever is settled first is judged by it. Of an
/// event that may have copies, the best one tells who it was.
fn remembered_at_sight(observations: &[Arc<LooseEnd>]) -> impl Iterator<Item = Sighting> {
    let named = observations
        .iter()
        .filter_map(|end| match &end.observation {
            Observation::Read(read) if matches!(read.ask, observation::Ask::Named(_)) => Some(read),
            _ => None,
        });
    let named = named.filter(|read| read.head.shared_id.is_none() && !read.head.updated);
    named
        .flat_map(|read| seen(read))
        .flat_map(|access| seen::remembered(&access))
}

/// Times from which on there are logs of each account.
pub(crate) fn since(
    observations: &[Arc<LooseEnd>],
    coverage: &HashSet<CoverageMark>,
) -> Vec<Sighting> {
    let heads = observations.iter().map(|end| end.observation.head());
    let times = heads.map(|head| (&head.account, head.time));
    let hours = coverage.iter().map(|mark| {
        (
            &mark.account,
            EventTime(mark.bucket.saturating_mul(COVERAGE_BUCKET_SECS)),
        )
    });
    let mut earliest: HashMap<&Text, EventTime> = HashMap::default();
    for (account, time) in times.chain(hours) {
        let known = earliest.entry(account).or_insert(time);
        *known = (*known).min(time);
    }
    earliest
        .into_iter()
        .map(|(account, time)| Sighting {
            key: seen::since_key(account),
            time,
        })
        .collect()
}

/// One of each event; copies for other accounts and updates stay beside it.
fn distinct(observations: Vec<Arc<LooseEnd>>, report: &mut Report) -> Vec<Arc<LooseEnd>> {
    let before = observations.len();
    // What decides nearly always stands beside the pointer.
    let mut observations: Vec<_> = observations
        .into_iter()
        .map(|end| (end.id.fingerprint(), end))
        .collect();
    let preferred = |a: &LooseEnd, b: &LooseEnd| {
        b.observation
            .head()
            .preference()
            .cmp(&a.observation.head().preference())
    };
    observations.sort_unstable_by(|(a_print, a), (b_print, b)| {
        a_print
            .cmp(b_print)
            .then_with(|| a.id.cmp(&b.id))
            .then_with(|| preferred(a, b))
    });
    observations.dedup_by(|(later_print, later), (kept_print, kept)| {
        later_print == kept_print && later.id == kept.id
    });
    report.duplicates += (before - observations.len()) as u64;
    observations.into_iter().map(|(_, end)| end).collect()
}

/// Whether anything else may need the observation to be understood.
fn may_pair(end: &Arc<LooseEnd>) -> bool {
    match &end.observation {
        Observation::Change(change) => {
            change.decrypts && change.head.outcome == observation::Outcome::Success
        }
        Observation::Read(_) | Observation::KeyUse(_) => true,
    }
}
