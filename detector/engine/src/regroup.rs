//! Incidents online: new alerts are grouped with what the store has of their neighbourhood, and
//! what has changed is announced.
//!
//! Every writer stores its alerts first and looks at the neighbourhood afterwards, so that whoever
//! comes last sees all of them. An incident is changed by comparing versions; a writer that was
//! outrun, or has announced a new incident, looks again, until nothing is left to change. All of it
//! may be repeated.

mod exposed;
mod neighbourhood;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::neighbourhood::{ActorSpans, Neighbourhood, widen};
use crate::{
    actor::{Actor, ActorKey, ActorKind},
    alert::{Alert, AlertId, IncidentId},
    exposure::changes::SecretName,
    incident::{
        Incident, IncidentPeriods,
        announced::{AnnouncedIncident, IncidentEnd},
        grouping::IncidentGrouping,
    },
    state::{ActorRange, IncidentStore, StateError},
    time::EventTime,
};

/// How often a writer looks again.
const ROUNDS: usize = 12;

/// What became of alerts that were grouped.
#[derive(Debug, Default)]
pub struct RegroupedAlerts {
    /// The incidents of the alerts; one that was withdrawn has that in which it was announced.
    pub incidents: HashMap<AlertId, IncidentId>,
    /// Incidents that this call has changed, in all the forms that it has announced.
    pub changed: Vec<ChangedIncident>,
}

/// An incident that was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedIncident {
    /// What the store has of it.
    pub announced: AnnouncedIncident,
    /// Its content; `None` for one that has ended.
    pub incident: Option<Incident>,
}

/// Groups alerts that are in the store, or were withdrawn, and announces the incidents that they
/// change.
///
/// # Errors
///
/// The store failed, or others were faster again and again. A repetition completes the work.
pub async fn regroup<S: IncidentStore>(
    store: &S,
    alerts: &[Alert],
    periods: IncidentPeriods,
    now: EventTime,
) -> Result<RegroupedAlerts, StateError> {
    let mut regrouped = RegroupedAlerts::default();
    let left = covered(store, alerts, periods, now, &mut regrouped).await?;
    if left.is_empty() {
        return Ok(regrouped);
    }
    for _ in 0..ROUNDS {
        let picture = Picture::exposed(store, spans(&left, periods), periods).await?;
        for alert in &left {
            let id = picture.incident_of(&alert.id);
            regrouped
                .incidents
                .extend(id.map(|id| (alert.id.clone(), id)));
        }
        if picture.announce(store, now, &mut regrouped.changed).await? {
            return Ok(regrouped);
        }
    }
    Err(StateError::new(format!(
        "{} alerts were not grouped into incidents: others changed these again and again",
        left.len()
    )))
}

/// Announces incidents that revealed these secrets, and whose exposure the changes of these have
/// closed or opened again. Returns those that this call has changed.
///
/// # Errors
///
/// The store failed, or others were faster again and again. A repetition completes the work.
pub async fn reexposed<S: IncidentStore>(
    store: &S,
    secrets: &[SecretName],
    periods: IncidentPeriods,
    now: EventTime,
) -> Result<Vec<ChangedIncident>, StateError> {
    let mut changed = Vec::new();
    let spans = exposed::exposing(store, secrets, periods).await?;
    if spans.is_empty() {
        return Ok(changed);
    }
    for _ in 0..ROUNDS {
        let picture = Picture::exposed(store, spans.clone(), periods).await?;
        if picture.announce(store, now, &mut changed).await? {
            return Ok(changed);
        }
    }
    Err(StateError::new(format!(
        "the exposure of {} secrets was not looked at again: others changed the incidents again \
         and again",
        secrets.len()
    )))
}

/// Writes changes, and adds those that were written; returns whether all of them were.
async fn announce<S: IncidentStore>(
    store: &S,
    changes: Vec<ChangedIncident>,
    changed: &mut Vec<ChangedIncident>,
) -> Result<bool, StateError> {
    // What stands before what has ended: after a crash between the two, it is found again.
    let (standing, over): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|change| change.incident.is_some());
    let mut all = true;
    for changes in [standing, over] {
        let announced = changes.iter().map(|change| change.announced.clone());
        let announced: Vec<AnnouncedIncident> = announced.collect();
        if announced.is_empty() {
            continue;
        }
        let written = store.announce(&announced).await?;
        for (mut change, is_written) in changes.into_iter().zip(written) {
            all &= is_written;
            if is_written {
                change.announced.version += 1;
                changed.push(change);
            }
        }
    }
    Ok(all)
}

/// The contents of incidents as they are now, by their ids; without those that no alert has.
///
/// # Errors
///
/// The store failed.
pub async fn contents<S: IncidentStore>(
    store: &S,
    announced: &[&AnnouncedIncident],
    periods: IncidentPeriods,
) -> Result<BTreeMap<IncidentId, Incident>, StateError> {
    let mut spans = ActorSpans::new();
    for known in announced {
        widen(
            &mut spans,
            known.actor.identity(),
            (known.first, known.last),
        );
    }
    if spans.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut picture = Picture::of(store, spans, periods).await?;
    picture.look_at_versions(store).await?;
    Ok(picture.computed)
}

/// The incidents of alerts as they are now; changes nothing.
///
/// # Errors
///
/// The store failed.
pub async fn incidents_of<S: IncidentStore>(
    store: &S,
    alerts: &[Alert],
    periods: IncidentPeriods,
) -> Result<HashMap<AlertId, IncidentId>, StateError> {
    let alerts: Vec<&Alert> = alerts.iter().collect();
    if alerts.is_empty() {
        return Ok(HashMap::new());
    }
    let picture = Picture::of(store, spans(&alerts, periods), periods).await?;
    let known = alerts.into_iter().filter_map(|alert| {
        let id = picture.incident_of(&alert.id)?;
        Some((alert.id.clone(), id))
    });
    Ok(known.collect())
}

/// Finds the incidents of alerts that are no more than more of the same; returns the others.
async fn covered<'a, S: IncidentStore>(
    store: &S,
    alerts: &'a [Alert],
    periods: IncidentPeriods,
    now: EventTime,
    regrouped: &mut RegroupedAlerts,
) -> Result<Vec<&'a Alert>, StateError> {
    let known = around(store, alerts, periods).await?;
    let mut left = Vec::new();
    for alert in alerts {
        match covering(&known, alert, periods, now) {
            Some(known) => {
                regrouped
                    .incidents
                    .insert(alert.id.clone(), known.id.clone());
            }
            None => left.push(alert),
        }
    }
    Ok(left)
}

/// The incidents that were announced and stand around alerts: those of their actors, and of the
/// addresses that may take them in.
async fn around<S: IncidentStore>(
    store: &S,
    alerts: &[Alert],
    periods: IncidentPeriods,
) -> Result<Vec<AnnouncedIncident>, StateError> {
    let mut spans = ActorSpans::new();
    for alert in alerts.iter().filter(|alert| !alert.withdrawn) {
        let span = (periods.begin(alert), alert.time);
        widen(&mut spans, alert.actor.identity(), span);
        for place in alert.origin.places() {
            widen(&mut spans, (ActorKind::Address, place.clone()), span);
        }
    }
    let ranges = spans.into_iter().map(|(actor, (from, to))| ActorRange {
        actor,
        from: from.plus(-periods.max_secs),
        to: to.plus(periods.gap_secs.max(periods.reach_secs)),
    });
    let ranges: Vec<ActorRange> = ranges.collect();
    let known = store.announced(&ranges).await?.into_iter().flatten();
    Ok(known.filter(|known| known.end.is_none()).collect())
}

/// The incident that has an alert, which is no more than more of the same. None where the alert may
/// join it to another one, or an address takes it in.
fn covering<'k>(
    known: &'k [AnnouncedIncident],
    alert: &Alert,
    periods: IncidentPeriods,
    now: EventTime,
) -> Option<&'k AnnouncedIncident> {
    let (from, to) = (periods.begin(alert), alert.time);
    let own = known
        .iter()
        .filter(|known| known.actor.identity() == alert.actor.identity());
    let mut near = own.filter(|known| {
        known.first <= to.plus(periods.gap_secs) && from <= known.last.plus(periods.gap_secs)
    });
    let one = near.next()?;
    let takes_in = |known: &AnnouncedIncident| {
        let mut places = alert.origin.places();
        known.id != one.id
            && known.actor.kind == ActorKind::Address
            && places.any(|place| *place == known.actor.key)
            && known.first <= to.plus(periods.reach_secs)
            && from <= known.last.plus(periods.reach_secs)
    };
    let is_alone = near.next().is_none() && !known.iter().any(takes_in);
    (is_alone && !alert.withdrawn && alert.former.is_empty() && one.covers(alert, periods, now))
        .then_some(one)
}

/// First and last time of the alerts of each actor.
fn spans(alerts: &[&Alert], periods: IncidentPeriods) -> ActorSpans {
    let mut spans = ActorSpans::new();
    for alert in alerts {
        let span = (periods.begin(alert), alert.time);
        widen(&mut spans, alert.actor.identity(), span);
        // An incident there may list it, and does so no more.
        for former in &alert.former {
            widen(
                &mut spans,
                former.actor.identity(),
                (former.time, former.time),
            );
        }
    }
    spans
}

/// Incidents as they are, and as they were announced.
struct Picture {
    /// Incidents of the actors whose alerts are all known.
    computed: BTreeMap<IncidentId, Incident>,
    /// Incidents of alerts, whoever they are about.
    members: HashMap<AlertId, IncidentId>,
    /// Incidents that were announced and of which all alerts are known, if any of them is left.
    announced: BTreeMap<IncidentId, AnnouncedIncident>,
    /// Addresses whose incidents may lack alerts.
    crowded: BTreeSet<ActorKey>,
}

impl Picture {
    async fn of<S: IncidentStore>(
        store: &S,
        spans: ActorSpans,
        periods: IncidentPeriods,
    ) -> Result<Self, StateError> {
        let mut neighbourhood = Neighbourhood::of(store, spans.clone(), periods).await?;
        let ranges: Vec<ActorRange> = neighbourhood.ranges().collect();
        let announced = store.announced(&ranges).await?.into_iter().flatten();
        let announced: BTreeMap<_, _> = announced.map(|known| (known.id.clone(), known)).collect();
        let mut standing = announced.values().filter(|known| known.end.is_none());
        if standing.any(|known| !neighbourhood.has(&known.alert_ids)) {
            // Alerts were withdrawn, or were created after the others were looked up: an incident
            // is announced after its alerts are.
            neighbourhood = Neighbourhood::of(store, spans, periods).await?;
        }
        let complete = ranges
            .into_iter()
            .map(|range| (range.actor.clone(), range))
            .collect();
        Ok(Self::grouped(neighbourhood, announced, &complete, periods))
    }

    /// With what became of the versions that the incidents revealed. Their secrets are marked
    /// first: of this writer and one who stores a change of them, the last to write sees both.
    async fn exposed<S: IncidentStore>(
        store: &S,
        spans: ActorSpans,
        periods: IncidentPeriods,
    ) -> Result<Self, StateError> {
        let mut picture = Self::of(store, spans, periods).await?;
        let marks = picture.marks();
        if !marks.is_empty() {
            store.mark_exposed(marks).await?;
        }
        picture.look_at_versions(store).await?;
        Ok(picture)
    }

    /// Announces what is to be changed; returns whether nothing is left to change.
    async fn announce<S: IncidentStore>(
        &self,
        store: &S,
        now: EventTime,
        changed: &mut Vec<ChangedIncident>,
    ) -> Result<bool, StateError> {
        let changes = self.changes(now);
        let is_last = changes.iter().all(|change| change.announced.version > 0);
        let is_outrun = !announce(store, changes, changed).await?;
        Ok(is_last && !is_outrun)
    }

    /// Incidents of alerts. Alerts about an address may be known because of what they take in, and
    /// others not: incidents outside of the ranges that are complete are left out.
    fn grouped(
        mut neighbourhood: Neighbourhood,
        announced: BTreeMap<IncidentId, AnnouncedIncident>,
        complete: &BTreeMap<ActorKey, ActorRange>,
        periods: IncidentPeriods,
    ) -> Self {
        let crowded = neighbourhood.take_crowded();
        // One that only begins or ends within such a range is not gone because it is not computed.
        let announced = announced.into_iter();
        let announced = announced
            .filter(|(_, known)| is_within(complete, &known.actor, (known.first, known.last)));
        let grouped = IncidentGrouping::all(periods, neighbourhood.into_alerts());
        let members = grouped.alerts.into_iter();
        let members = members.filter_map(|alert| Some((alert.id, alert.incident?)));
        let own = grouped.incidents.into_iter();
        let own = own.filter(|own| is_within(complete, &own.actor, (own.first, own.last)));
        Self {
            computed: own.map(|own| (own.id.clone(), own)).collect(),
            members: members.collect(),
            announced: announced.collect(),
            crowded,
        }
    }

    fn incident_of(&self, alert: &AlertId) -> Option<IncidentId> {
        let announced = self.announced.values();
        let known = self.members.get(alert).or_else(|| {
            let mut having = announced.filter(|known| known.alert_ids.contains(alert));
            having.next().map(|known| &known.id)
        });
        known.cloned()
    }

    /// What is to be written: first the incidents that stand, then those that have ended.
    fn changes(&self, now: EventTime) -> Vec<ChangedIncident> {
        let mut gone = self.gone();
        let (mut changed, mut over) = (Vec::new(), Vec::new());
        for (id, incident) in &self.computed {
            let others = gone.remove(&Some(id)).unwrap_or_default();
            let (after, heir) = self.standing(incident, &others, now);
            changed.extend(after.map(|announced| ChangedIncident {
                announced,
                incident: Some(incident.clone()),
            }));
            over.extend(others.into_iter().map(|other| {
                let is_published = heir != Some(&other.thread);
                other.ended(IncidentEnd::MergedInto(id.clone()), is_published, now)
            }));
        }
        for (into, others) in gone {
            let end = match into {
                Some(id) => IncidentEnd::MergedInto(id.clone()),
                None => IncidentEnd::Withdrawn,
            };
            let others = others.into_iter();
            over.extend(others.map(|other| other.ended(end.clone(), true, now)));
        }
        changed.extend(over.into_iter().map(|announced| ChangedIncident {
            announced,
            incident: None,
        }));
        changed
    }

    /// The incidents that were announced and stand no longer, by where their alerts are now.
    fn gone(&self) -> BTreeMap<Option<&IncidentId>, Vec<&AnnouncedIncident>> {
        let mut gone: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let announced = self.announced.values();
        for known in announced.filter(|known| !self.computed.contains_key(&known.id)) {
            if known.end.is_none() {
                let mut alerts = known.alert_ids.iter();
                let into = alerts.find_map(|alert| self.members.get(alert));
                gone.entry(into).or_default().push(known);
            }
        }
        gone
    }

    /// How an incident is announced now, if that is a change, and the thread that it goes on with.
    fn standing<'a>(
        &self,
        incident: &Incident,
        others: &[&'a AnnouncedIncident],
        now: EventTime,
    ) -> (Option<AnnouncedIncident>, Option<&'a IncidentId>) {
        if let Some(known) = self.announced.get(&incident.id) {
            let has_less = incident.alerts_total <= known.alerts_total && known.end.is_none();
            if has_less && self.crowded.contains(&incident.actor.identity()) {
                // Another writer has looked at other principals of this address.
                return (None, None);
            }
            return (known.updated(incident, others, now), None);
        }
        match others.iter().min_by_key(|other| (other.first, &other.id)) {
            None => (Some(AnnouncedIncident::opened(incident, now)), None),
            Some(earliest) => {
                let renamed = earliest.renamed(incident);
                let after = renamed.updated(incident, others, now);
                (after.or(Some(renamed)), Some(&earliest.thread))
            }
        }
    }
}

/// Whether the alerts of an actor are known in all of a time span.
fn is_within(
    complete: &BTreeMap<ActorKey, ActorRange>,
    actor: &Actor,
    (first, last): (EventTime, EventTime),
) -> bool {
    let range = complete.get(&actor.identity());
    range.is_some_and(|range| range.from <= first && last <= range.to)
}

#[cfg(test)]
mod tests;
