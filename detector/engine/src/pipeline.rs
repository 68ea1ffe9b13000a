//! The one path of both faces: a batch of what was harvested, a store, and the time, to alerts and accesses.
//!
//! Order of work: write facts and loose ends, settle what is due, read the windows that were touched, create alerts. Every
//! step may be repeated. A rule is asked twice about a read: at sight, so that an alert need not wait for the key use, and
//! when its key use is settled, with everything known. Alerts of both are one, because their id is.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::{HashMap, HashSet};

use crate::access::{Access, Decrypt, DecryptStatus, Method};
use crate::alert::{Alert, AlertId, Evidence};
use crate::correlate::{self, Row, Scene};
use crate::ids::Text;
use crate::limits::{COVERAGE_BUCKET_SECS, HORIZON_SECS, SETTLE_MARGIN_SECS};
use crate::observation::{self, Observation, SecretRead};
use crate::parallel;
use crate::policy::Policy;
use crate::report::Report;
use crate::rule::event::OwnEvent;
use crate::rule::{Ask, Hits, RuleSet, Target};
use crate::scan::{Harvest, Selection};
use crate::seen::{self, Memory, Seen, Span};
use crate::state::{
    CoverageMark, Fact, LooseEnd, LooseEndId, SceneKey, StateError, StateStore, WindowKey, WindowRange,
};
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

/// Facts that are gathered before they are written.
const FACTS: usize = 16_384;

/// Windows that are read at a time.
const WINDOWS: usize = 256;

/// Alerts on their way: evidence by rule and event, facts that are not written yet, and what facts have touched.
#[derive(Default)]
struct Drafts {
    singles: BTreeMap<AlertId, (usize, Vec<Evidence>)>,
    facts: Vec<(WindowKey, Fact)>,
    touched: HashMap<(usize, WindowKey), (EventTime, EventTime)>,
}

impl<'a> Pipeline<'a> {
    /// A path with the default horizon.
    #[must_use]
    pub fn new(rules: &'a RuleSet, policy: Option<&'a Policy>, selection: &'a Selection) -> Self {
        Self { rules, policy, selection, horizon_secs: HORIZON_SECS, memory: Memory::default(), threads: 1 }
    }

    /// Takes a batch, which may be empty, and does everything that is due at `now`.
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn run<S: StateStore>(&self, store: &S, harvest: Harvest, now: EventTime) -> Result<Outcome, StateError> {
        let mut outcome = Outcome::default();
        let mut drafts = Drafts::default();
        let observations = distinct(harvest.observations, &mut outcome.report);
        drafts.add(self.rules, harvest.hits);
        for observation in observations.iter().filter(|_| !self.rules.is_empty()) {
            self.at_sight(&observation.observation, &mut drafts);
            drafts.write(store, FACTS).await?;
        }
        if self.rules.asks_for_seen() {
            store.put_seen(since(&observations, &harvest.coverage)).await?;
        }
        store.mark_coverage(harvest.coverage.into_iter().collect()).await?;
        store.put_loose_ends(observations.into_iter().filter(may_pair).map(Arc::new).collect()).await?;
        let due = store.due_loose_ends(now.plus(-self.horizon_secs)).await?;
        outcome.accesses = self.settle(store, &due, true, &mut outcome.report).await?;
        let mut seen = self.seen_before(store, &outcome.accesses).await?;
        for access in &outcome.accesses {
            let ask = Ask { target: Target::Access, settled: true, counts: true };
            // What is not asked for is remembered all the same.
            self.judge(access, ask, seen.as_mut().map(|judge| judge.judge(access)), &mut drafts);
            drafts.write(store, FACTS).await?;
        }
        outcome.accesses.retain(|access| self.selection.takes(access));
        outcome.accesses.iter().for_each(|access| outcome.report.count_access(access));
        outcome.alerts = self.create(store, drafts).await?;
        outcome.alerts.iter().for_each(|alert| outcome.report.count_alert(alert));
        // Only now: what is remembered earlier would no longer be new to the retry after a crash.
        if let Some(judge) = seen {
            store.put_seen(judge.into_added()).await?;
        }
        // Only now: a crash before this line settles the same ends again, with the same result.
        store.close_loose_ends(&due.iter().map(|end| end.id.clone()).collect::<Vec<_>>()).await?;
        Ok(outcome)
    }

    /// Accesses whose horizon is not over, as they look now. Nothing is written and no rule is asked.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn pending<S: StateStore>(&self, store: &S) -> Result<Outcome, StateError> {
        let mut outcome = Outcome::default();
        let open = store.due_loose_ends(EventTime(i64::MAX)).await?;
        let mut ignored = Report::default();
        outcome.accesses = self.settle(store, &open, false, &mut ignored).await?;
        outcome.accesses.retain(|access| access.method != Method::DecryptOnly && self.selection.takes(access));
        outcome.accesses.iter().for_each(|access| outcome.report.count_access(access));
        Ok(outcome)
    }

    fn at_sight(&self, observation: &Observation, drafts: &mut Drafts) {
        match observation {
            // A batch is known for one only when it is settled; who asks for methods waits for that.
            Observation::Read(_) if !self.selection.filter.methods.is_empty() => {}
            Observation::Read(read) => {
                let counts = matches!(read.ask, observation::Ask::Named(_));
                for access in seen(read) {
                    self.judge(&Arc::new(access), Ask { target: Target::Access, settled: false, counts }, None, drafts);
                }
            }
            Observation::KeyUse(key_use) if key_use.direct => {
                if let Some(secret) = &key_use.secret {
                    let row = correlate::alone(key_use, secret, Method::DirectDecrypt);
                    let ask = Ask { target: Target::Access, settled: true, counts: true };
                    self.judge(&Arc::new(row.access), ask, None, drafts);
                }
            }
            Observation::KeyUse(_) => {}
            Observation::Change(change) if self.selection.takes_other(&change.head, change.secret.as_ref()) => {
                let event = OwnEvent::change(&change.head, change.secret.as_ref());
                let evidence = Evidence { head: change.head.clone(), secret: change.secret.clone(), access: None };
                let ask = Ask { target: Target::Change, settled: true, counts: true };
                drafts.add(self.rules, self.rules.hits(ask, &event, &evidence));
            }
            Observation::Change(_) => {}
        }
    }

    /// What was seen before these accesses; `None` when no rule asks.
    async fn seen_before<S: StateStore>(
        &self,
        store: &S,
        accesses: &[Arc<Access>],
    ) -> Result<Option<seen::Judge>, StateError> {
        if !self.rules.asks_for_seen() {
            return Ok(None);
        }
        let keys = seen::needed(accesses.iter().map(|access| &**access));
        let known = store.seen(&keys).await?;
        let known = keys.into_iter().zip(known).filter_map(|(key, span)| Some((key, span?)));
        Ok(Some(seen::Judge::new(self.memory, known)))
    }

    fn judge(&self, access: &Arc<Access>, ask: Ask, seen: Option<Seen>, drafts: &mut Drafts) {
        if self.rules.is_empty() || !self.selection.takes(access) {
            return;
        }
        let expected = self.policy.map(|policy| policy.judge(access));
        let event = OwnEvent::access(access, expected, seen);
        let evidence = Evidence::access(access.clone());
        drafts.add(self.rules, self.rules.hits(ask, &event, &evidence));
    }

    /// Joins the loose ends with everything around them, to accesses in the order of the ledger. With `finally`, what is
    /// missing is absent or unknown; without, it is pending.
    async fn settle<S: StateStore>(
        &self,
        store: &S,
        due: &[Arc<LooseEnd>],
        finally: bool,
        report: &mut Report,
    ) -> Result<Vec<Arc<Access>>, StateError> {
        let around = store.loose_ends_in(&scenes_of(due)).await?;
        // What is due is part of what is around it; in a replay it is all of it, and need not be looked for.
        let all_due = around.iter().map(Vec::len).sum::<usize>() == due.len();
        let due_ids: HashSet<LooseEndId> = due.iter().filter(|_| !all_due).map(|end| end.id.clone()).collect();
        let is_due = |id: LooseEndId| all_due || due_ids.contains(&id);
        let copied = parallel::map(self.threads, &around, |ends| Copied::of(ends));
        let shared: Vec<Text> = copied.iter().flat_map(|copied| copied.shared.iter().cloned()).collect();
        let twins = store.loose_ends_sharing(&shared).await?;
        let has_copies = !twins.is_empty() || copied.iter().any(|copied| copied.any);
        let best = has_copies.then(|| best_copies(&around, &twins));
        let is_best = |end: &LooseEnd| best.as_ref().is_none_or(|best| best.get(&copy_key(end)) == Some(&end.id));
        report.duplicates += due.iter().filter(|end| !is_best(end)).count() as u64;
        for end in due.iter().filter(|end| is_best(end)) {
            match &end.observation {
                Observation::Read(_) => report.reads += 1,
                Observation::KeyUse(_) => report.key_uses += 1,
                Observation::Change(_) => report.changes += 1,
            }
        }
        let scenes = parallel::map(self.threads, &around, |ends| {
            let paired = correlate::correlate(scene(ends.iter().map(|end| &**end).filter(|end| is_best(end))));
            let explained = paired.explained.iter().filter(|h| is_due(LooseEndId::key_use(h))).count() as u64;
            let mut rows = paired.rows;
            rows.retain(|row| {
                let ids = [row.read.as_deref().map(LooseEndId::read), row.key_use.as_deref().map(LooseEndId::key_use)];
                let mut ids = ids.into_iter().flatten();
                // A row of which one half was settled before has been told, and is told again only to be completed.
                all_due || if finally { ids.any(is_due) } else { ids.all(is_due) }
            });
            let asked = |row: &&Row| self.selection.takes(&row.access);
            let late = rows.iter().filter(asked).filter(|row| self.is_late(row)).count() as u64;
            (rows, explained, late)
        });
        let mut rows: Vec<Row> = Vec::with_capacity(due.len());
        for (of_scene, explained, late) in scenes {
            report.explained += explained;
            report.late += late;
            rows.extend(of_scene);
        }
        if finally {
            self.decide_absence(store, &mut rows).await?;
        }
        let mut accesses: Vec<_> = rows.into_iter().map(|row| (row.access.head.time, Arc::new(row.access))).collect();
        accesses.sort_unstable_by(|(a_time, a), (b_time, b)| {
            a_time.cmp(b_time).then_with(|| a.ledger_order().cmp(&b.ledger_order()))
        });
        Ok(accesses.into_iter().map(|(_, access)| access).collect())
    }

    fn is_late(&self, row: &Row) -> bool {
        let halves = row.read.as_ref().zip(row.key_use.as_ref());
        halves.is_some_and(|(read, key_use)| read.delivered.distance(key_use.delivered) > self.horizon_secs)
    }

    async fn decide_absence<S: StateStore>(&self, store: &S, rows: &mut [Row]) -> Result<(), StateError> {
        let open: Vec<&mut Row> =
            rows.iter_mut().filter(|row| row.access.decrypt.status == DecryptStatus::Pending).collect();
        let head = |row: &Row| row.access.head.clone();
        let marks: Vec<CoverageMark> = open
            .iter()
            .flat_map(|row| {
                let head = head(row);
                CoverageMark::at(head.account.clone(), head.region.clone(), head.time).around()
            })
            .collect();
        let covered = store.covered(&marks).await?;
        for (row, covered) in open.into_iter().zip(covered.chunks(3)) {
            let proven = row.absence_proves && covered.contains(&true);
            row.access.decrypt = Decrypt::only(if proven { DecryptStatus::Absent } else { DecryptStatus::Unknown });
        }
        Ok(())
    }

    /// Writes the last facts, reads the windows that facts have touched, and creates what fires.
    async fn create<S: StateStore>(&self, store: &S, mut drafts: Drafts) -> Result<Vec<Alert>, StateError> {
        drafts.write(store, 0).await?;
        let touched = touched(drafts.touched, self.rules);
        let mut alerts: BTreeMap<AlertId, Alert> = BTreeMap::new();
        for (id, (rule, evidence)) in drafts.singles {
            if let Some(detection) = self.rules.detections.get(rule) {
                alerts.insert(id.clone(), Alert::new(id, detection.meta.clone(), None, most_telling(evidence)));
            }
        }
        for touched in touched.chunks(WINDOWS) {
            let ranges: Vec<WindowRange> = touched.iter().map(|t| t.range.clone()).collect();
            for (touch, facts) in touched.iter().zip(store.facts(&ranges).await?) {
                let Some(window) = self.rules.windows.get(touch.window) else { continue };
                for (firing, facts) in window::evaluate(window, &touch.range.key.group, &facts, touch.ends) {
                    let id = Alert::window_id(&window.meta, &firing.group, firing.bucket);
                    let evidence = facts.into_iter().map(|fact| fact.evidence.clone()).collect();
                    let evidence = most_telling(evidence);
                    alerts.insert(id.clone(), Alert::new(id, window.meta.clone(), Some(firing), evidence));
                }
            }
        }
        let mut alerts: Vec<Alert> = alerts.into_values().collect();
        alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let created = store.create_alerts(alerts.clone()).await?;
        Ok(alerts.into_iter().zip(created).filter(|(_, created)| *created).map(|(alert, _)| alert).collect())
    }
}

impl Drafts {
    fn add(&mut self, rules: &RuleSet, hits: Hits) {
        for (rule, evidence) in hits.singles {
            if let Some(detection) = rules.detections.get(rule) {
                let id = Alert::single_id(&detection.meta, evidence.head.event_key());
                self.singles.entry(id).or_insert_with(|| (rule, Vec::new())).1.push(evidence);
            }
        }
        for (window, key, fact) in hits.facts {
            if rules.windows.get(window).is_some_and(|w| w.alerts) {
                let place = (window, key);
                match self.touched.get_mut(&place) {
                    Some(span) => *span = (span.0.min(fact.time), span.1.max(fact.time)),
                    None => drop(self.touched.insert(place.clone(), (fact.time, fact.time))),
                }
                self.facts.push((place.1, fact));
            }
        }
    }

    /// Writes the facts when there are more than so many. What is said of a read at sight gives way in the store to what is
    /// said of it once it is settled, so that both need not be held.
    async fn write<S: StateStore>(&mut self, store: &S, more_than: usize) -> Result<(), StateError> {
        if self.facts.len() > more_than {
            store.put_facts(std::mem::take(&mut self.facts)).await?;
        }
        Ok(())
    }
}

/// A group and the times that facts have touched in it.
struct Touched {
    window: usize,
    range: WindowRange,
    ends: (EventTime, EventTime),
}

/// A late fact re-opens every window that holds it: those that end up to one span after it.
fn touched(spans: HashMap<(usize, WindowKey), (EventTime, EventTime)>, rules: &RuleSet) -> Vec<Touched> {
    let mut touched: Vec<Touched> = spans
        .into_iter()
        .filter_map(|((window, key), (first, last))| {
            let span_secs = rules.windows.get(window)?.span_secs;
            let ends = (first, last.plus(span_secs));
            let range = WindowRange { key, from: first.plus(-span_secs), to: ends.1 };
            Some(Touched { window, range, ends })
        })
        .collect();
    touched.sort_by(|a, b| (a.window, &a.range.key).cmp(&(b.window, &b.range.key)));
    touched
}

/// Of what was said of one event at sight and once it was settled, the settled one is told.
fn most_telling(evidence: Vec<Evidence>) -> Vec<Evidence> {
    let settled: HashSet<Text> =
        evidence.iter().filter(|e| e.is_settled()).map(|e| e.head.event_key().clone()).collect();
    evidence
        .into_iter()
        .filter(|e| e.access.is_none() || e.is_settled() || !settled.contains(e.head.event_key()))
        .collect()
}

/// The accesses of a read as far as its own record tells. A batch tells through the reads that it causes.
fn seen(read: &SecretRead) -> Vec<Access> {
    let (method, secrets) = match &read.ask {
        observation::Ask::Named(secrets) => (Method::Api, secrets.as_slice()),
        observation::Ask::Path { path, .. } => (Method::ByPath, std::slice::from_ref(path)),
        observation::Ask::History(secret) => (Method::History, std::slice::from_ref(secret)),
        observation::Ask::Batch(_) | observation::Ask::BatchFilters => return Vec::new(),
    };
    secrets.iter().map(|secret| correlate::row(read, method, secret.clone(), secret.key(), None).access).collect()
}

/// Since when there are logs of each account.
pub(crate) fn since(observations: &[LooseEnd], coverage: &HashSet<CoverageMark>) -> Vec<(Text, Span)> {
    let heads = observations.iter().map(|end| end.observation.head());
    let times = heads.map(|head| (&head.account, head.time));
    let hours =
        coverage.iter().map(|mark| (&mark.account, EventTime(mark.bucket.saturating_mul(COVERAGE_BUCKET_SECS))));
    let mut spans: HashMap<&Text, Span> = HashMap::default();
    for (account, time) in times.chain(hours) {
        let span = spans.entry(account).or_insert(Span::at(time));
        *span = span.merged(Span::at(time));
    }
    spans.into_iter().map(|(account, span)| (seen::since_key(account), span)).collect()
}

/// One of each event; copies for other accounts and updates stay beside it.
fn distinct(mut observations: Vec<LooseEnd>, report: &mut Report) -> Vec<LooseEnd> {
    let before = observations.len();
    let preferred =
        |a: &LooseEnd, b: &LooseEnd| b.observation.head().preference().cmp(&a.observation.head().preference());
    observations.sort_unstable_by(|a, b| a.id.cmp(&b.id).then_with(|| preferred(a, b)));
    observations.dedup_by(|later, kept| later.id == kept.id);
    report.duplicates += (before - observations.len()) as u64;
    observations
}

/// Whether anything else may need the observation to be understood.
fn may_pair(end: &LooseEnd) -> bool {
    match &end.observation {
        Observation::Change(change) => change.decrypts && change.head.outcome == observation::Outcome::Success,
        Observation::Read(_) | Observation::KeyUse(_) => true,
    }
}

/// What copies of one event have in common.
fn copy_key(end: &LooseEnd) -> (u8, Text) {
    (end.id.kind(), end.observation.head().event_key().clone())
}

/// What is copied in a scene.
struct Copied {
    /// `sharedEventID`s.
    shared: Vec<Text>,
    /// Whether there are copies of events at all, shared or updated.
    any: bool,
}

impl Copied {
    fn of(ends: &[Arc<LooseEnd>]) -> Self {
        let shared: Vec<Text> = ends.iter().filter_map(|end| end.observation.head().shared_id.clone()).collect();
        let any = !shared.is_empty() || ends.iter().any(|end| end.observation.head().updated);
        Self { shared, any }
    }
}

/// Of the copies of each event, the one to keep.
fn best_copies(around: &[Vec<Arc<LooseEnd>>], twins: &[Arc<LooseEnd>]) -> HashMap<(u8, Text), LooseEndId> {
    let mut best: HashMap<(u8, Text), &LooseEnd> = HashMap::default();
    for end in around.iter().flatten().chain(twins) {
        let known = best.entry(copy_key(end)).or_insert(end);
        if end.observation.head().preference() > known.observation.head().preference() {
            *known = end;
        }
    }
    best.into_iter().map(|(key, end)| (key, end.id.clone())).collect()
}

/// For each scene of the loose ends, the time that could matter for them.
fn scenes_of(due: &[Arc<LooseEnd>]) -> Vec<(SceneKey, EventTime, EventTime)> {
    let mut spans: HashMap<&SceneKey, (EventTime, EventTime)> = HashMap::default();
    for end in due {
        let time = end.observation.head().time;
        let span = spans.entry(&end.scene).or_insert((time, time));
        *span = (span.0.min(time), span.1.max(time));
    }
    let widen = |(key, (from, to)): (&SceneKey, (EventTime, EventTime))| {
        (key.clone(), from.plus(-SETTLE_MARGIN_SECS), to.plus(SETTLE_MARGIN_SECS))
    };
    let mut scenes: Vec<_> = spans.into_iter().map(widen).collect();
    scenes.sort();
    scenes
}

fn scene<'e>(ends: impl Iterator<Item = &'e LooseEnd>) -> Scene {
    let mut scene = Scene::default();
    for end in ends {
        match &end.observation {
            Observation::Read(read) => scene.reads.push(read.clone()),
            Observation::KeyUse(key_use) => scene.key_uses.push(key_use.clone()),
            Observation::Change(change) => scene.changes.push(change.clone()),
        }
    }
    scene
}
