//! Groups alerts into incidents, and makes messages of what waits in the outbox.
//!
//! A note that says that an alert is to be grouped is written with the alert, and removed when its
//! incident is announced: what a crash interrupts is completed by the sweep.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use secretrail_aws::sns::TopicDestination;
use secretrail_engine::{
    actor::ActorKey,
    alert::{Alert, AlertId, IncidentId},
    incident::{
        Incident, IncidentPeriods,
        announced::AnnouncedIncident,
        decision::{IncidentDecision, decided_about},
        message::IncidentMessage,
    },
    outbox::{GROUPING, NoteTopic, OutboxNote, WaitingContent, WaitingMessage},
    regroup::{ChangedIncident, contents, incidents_of, regroup},
    state::{OutboxStore, StateError},
    time::EventTime,
};
use serde_json::json;

use super::{Delivery, Outgoing, PAGE, has_time};
use crate::telemetry::{FunctionMetrics, LogSeverity, log};

/// How long new alerts wait for their incidents, before they are published without.
const PATIENCE: Duration = Duration::from_secs(5);

/// What people have decided, by the ids of incidents.
pub(in crate::handler) type Decisions = HashMap<IncidentId, IncidentDecision>;

/// Incidents that have changed and are published, and what people had decided about them.
pub(super) struct SentIncidents {
    changed: Vec<ChangedIncident>,
    decisions: Decisions,
}

impl SentIncidents {
    /// Whether nothing is published.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }
}

impl Delivery<'_> {
    /// Groups alerts, if that does not take long: they are not to wait for it.
    pub(super) async fn group_in_time(
        &self,
        alerts: &mut [Alert],
        created: EventTime,
    ) -> Vec<ChangedIncident> {
        // May be cancelled at any point: the sweep completes whatever was partly done.
        let grouped = tokio::time::timeout(PATIENCE, self.group(alerts, created));
        match grouped.await {
            Ok(Ok(changed)) => changed,
            Ok(Err(error)) => {
                tell_ungrouped(&error.to_string());
                Vec::new()
            }
            Err(_) => {
                tell_ungrouped("it takes too long");
                Vec::new()
            }
        }
    }

    /// Groups alerts that were created, or withdrawn, at a time; they get the ids of their
    /// incidents. Returns the incidents that have changed.
    pub(super) async fn group(
        &self,
        alerts: &mut [Alert],
        created: EventTime,
    ) -> Result<Vec<ChangedIncident>, StateError> {
        let periods = IncidentPeriods::default();
        let regrouped = regroup(self.store, alerts, periods, self.now()).await?;
        name_incidents(alerts, &regrouped.incidents);
        let notes = alerts.iter().map(|alert| {
            let about = NoteTopic::Alert(alert.id.clone());
            OutboxNote::new(GROUPING.into(), about, created)
        });
        let notes: Vec<OutboxNote> = notes.collect();
        self.store.remove_notes(&notes).await?;
        Ok(regrouped.changed)
    }

    /// Groups the alerts that were left ungrouped, as long as there is time.
    pub(super) async fn group_left(
        &self,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        // Sweeps that group the same alerts at once are in each other's way.
        let is_due = self.age(GROUPING).await? >= self.lease_secs;
        if !is_due || !self.reserve(GROUPING, None).await? {
            return Ok(());
        }
        let grouped = self.group_waiting(until, metrics).await;
        self.change(GROUPING, |state| state.busy_until = None)
            .await?;
        grouped
    }

    async fn group_waiting(
        &self,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        while has_time(until) {
            // Younger ones may be grouped by their own invocation right now.
            let before = self.now().plus(-self.lease_secs);
            let waiting = self.store.outbox(GROUPING, before, PAGE).await?;
            if waiting.is_empty() {
                break;
            }
            match self.group_together(&waiting, until).await {
                Ok(changed) => self.publish_now(&[], self.now(), &changed, metrics).await,
                // One that cannot be grouped is not in the way of others.
                Err(_) if waiting.len() > 1 => self.group_apart(waiting, until, metrics).await?,
                Err(error) => self.put_off(waiting, &error).await?,
            }
        }
        Ok(())
    }

    /// Groups waiting alerts, the alerts of each actor for themselves; those that fail are put off.
    async fn group_apart(
        &self,
        waiting: Vec<WaitingMessage>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let mut actors: BTreeMap<Option<ActorKey>, Vec<WaitingMessage>> = BTreeMap::new();
        for waiting in waiting {
            let actor = waiting.alert().map(|alert| alert.actor.identity());
            actors.entry(actor).or_default().push(waiting);
        }
        for own in actors.into_values() {
            if !has_time(until) {
                break;
            }
            match self.group_together(&own, until).await {
                Ok(changed) => self.publish_now(&[], self.now(), &changed, metrics).await,
                Err(error) => self.put_off(own, &error).await?,
            }
        }
        Ok(())
    }

    /// Groups waiting alerts and removes their notes; returns the incidents that have changed.
    async fn group_together(
        &self,
        waiting: &[WaitingMessage],
        until: Instant,
    ) -> Result<Vec<ChangedIncident>, StateError> {
        let alerts = waiting.iter().filter_map(WaitingMessage::alert).cloned();
        let alerts: Vec<Alert> = alerts.collect();
        let periods = IncidentPeriods::default();
        let regrouped = regroup(self.store, &alerts, periods, self.now());
        // May be cancelled at any point: it is repeated.
        let regrouped = tokio::time::timeout_at(until.into(), regrouped).await;
        let too_long = |_| StateError::new("there was not enough time".to_owned());
        let regrouped = regrouped.map_err(too_long)??;
        let notes = waiting.iter().map(|waiting| waiting.note.clone());
        self.store.remove_notes(&notes.collect::<Vec<_>>()).await?;
        Ok(regrouped.changed)
    }

    /// Tries again later to group alerts.
    async fn put_off(
        &self,
        waiting: Vec<WaitingMessage>,
        why: &StateError,
    ) -> Result<(), StateError> {
        tell_ungrouped(&why.to_string());
        let now = self.now();
        let later = waiting.into_iter().map(|waiting| {
            let later = waiting.note.put_off(now, self.lease_secs);
            (waiting.note, later)
        });
        self.store.replace_notes(later.collect()).await
    }

    /// The incidents that a destination takes of those that have changed and are due. Where it is
    /// behind, only those that are new to it: the sweep reports what happened in the order of time.
    pub(super) fn changed_for(
        &self,
        topic: &TopicDestination,
        changed: &SentIncidents,
        is_behind: bool,
    ) -> Vec<Outgoing> {
        let (destination, now) = (topic.destination(), self.now());
        let decisions = &changed.decisions;
        let waiting = changed.changed.iter().filter_map(|changed| {
            let announced = &changed.announced;
            // The others wait for their time, or for the digest of the day.
            let waits = announced.is_pending(now) || destination.digests(announced.level);
            if waits || (is_behind && announced.messages > 1) {
                return None;
            }
            let note = destination.note_of_incident(announced)?;
            let content = changed.incident.clone();
            let decision = decided_about(decisions, announced);
            Some(self.about_incident(note, announced, content, decision))
        });
        waiting.collect()
    }

    /// The incidents whose next message is sent: a person has not closed them, or it reports more
    /// than more of the same.
    pub(super) async fn unsilenced(
        &self,
        changed: &[ChangedIncident],
    ) -> Result<SentIncidents, StateError> {
        // The first message about an incident is always sent, and nobody has decided anything yet.
        let known = changed.iter().map(|changed| &changed.announced);
        let known = known.filter(|announced| announced.messages > 1);
        let decisions = self.decisions(known).await?;
        let is_sent = |changed: &&ChangedIncident| {
            let decision = decided_about(&decisions, &changed.announced);
            !decision.is_some_and(|decision| decision.silences(&changed.announced))
        };
        let mut changed: Vec<ChangedIncident> = changed.iter().filter(is_sent).cloned().collect();
        let now = self.now();
        let sent_now = changed
            .iter_mut()
            .filter(|changed| !changed.announced.is_pending(now));
        let incidents = sent_now.filter_map(|changed| changed.incident.as_mut());
        self.add_usual(incidents.collect()).await;
        Ok(SentIncidents { changed, decisions })
    }

    /// What is published of an incident because of a note.
    fn about_incident(
        &self,
        note: OutboxNote,
        announced: &AnnouncedIncident,
        incident: Option<Incident>,
        decision: Option<&IncidentDecision>,
    ) -> Outgoing {
        let now = self.now();
        let reported = note.reported(announced, now);
        let named = decision.map(|decision| decision.named_in(&reported));
        let message = IncidentMessage::new(reported, incident, now);
        Outgoing::incident(note, message.naming(named.unwrap_or_default()))
    }

    /// What waits in the outbox, with the incidents of alerts and the content of incidents. Of
    /// several notes about one incident, which has one content, the others are removed; so are
    /// those about more of the same in an incident that a person has closed.
    pub(super) async fn resolved(
        &self,
        topic: &TopicDestination,
        waiting: Vec<WaitingMessage>,
    ) -> Result<Vec<Outgoing>, StateError> {
        let destination = topic.destination();
        let decided = waiting.iter().filter_map(WaitingMessage::incident);
        let decisions = self.decisions(decided).await?;
        let silenced = self.silenced(&waiting, &decisions);
        let mut met: HashSet<NoteTopic> = HashSet::new();
        let (waiting, spare): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiting| {
            let was_published = waiting
                .incident()
                .is_some_and(|incident| destination.was_published(&waiting.note, incident));
            let WaitingMessage { note, .. } = waiting;
            let is_silenced = silenced.contains(&(note.topic.clone(), note.created.0));
            !was_published && !is_silenced && met.insert(waiting.note.topic.clone())
        });
        let spare = spare.into_iter().map(|spare: WaitingMessage| spare.note);
        let spare: Vec<OutboxNote> = spare.collect();
        self.store.remove_notes(&spare).await?;
        self.contents(waiting, &decisions).await
    }

    /// What people have decided about incidents, under their ids and those of their threads.
    pub(in crate::handler) async fn decisions<'i>(
        &self,
        incidents: impl Iterator<Item = &'i AnnouncedIncident>,
    ) -> Result<Decisions, StateError> {
        let ids = incidents.flat_map(|announced| [&announced.id, &announced.thread]);
        let ids: HashSet<&IncidentId> = ids.collect();
        let ids: Vec<&IncidentId> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(Decisions::new());
        }
        self.store.decisions(&ids).await
    }

    /// The notes whose messages are not sent, because a person has closed their incidents: what
    /// they are about, and since when the destination lacks news.
    fn silenced(
        &self,
        waiting: &[WaitingMessage],
        decisions: &Decisions,
    ) -> HashSet<(NoteTopic, i64)> {
        let now = self.now();
        let silenced = waiting
            .iter()
            .filter_map(|WaitingMessage { note, content }| {
                let WaitingContent::Incident(incident) = content else {
                    return None;
                };
                let decision = decided_about(decisions, incident)?;
                let is_silenced = decision.silences(&note.reported(incident, now));
                is_silenced.then(|| (note.topic.clone(), note.created.0))
            });
        silenced.collect()
    }

    async fn contents(
        &self,
        waiting: Vec<WaitingMessage>,
        decisions: &Decisions,
    ) -> Result<Vec<Outgoing>, StateError> {
        let periods = IncidentPeriods::default();
        let alerts = waiting.iter().filter_map(WaitingMessage::alert).cloned();
        let alerts: Vec<Alert> = alerts.collect();
        let incidents = incidents_of(self.store, &alerts, periods).await?;
        let mut known = self.contents_of_incidents(&waiting).await?;
        let mut resolved = Vec::with_capacity(waiting.len());
        for WaitingMessage {
            note,
            content: what,
        } in waiting
        {
            resolved.push(match what {
                WaitingContent::Alert(alert) => {
                    let mut alert = *alert;
                    name_incidents(std::slice::from_mut(&mut alert), &incidents);
                    Outgoing::alert(note, alert)
                }
                WaitingContent::Incident(announced) => {
                    let incident = known.remove(&announced.id);
                    let decision = decided_about(decisions, &announced);
                    self.about_incident(note, &announced, incident, decision)
                }
            });
        }
        Ok(resolved)
    }

    /// The incidents that wait as they are now, with what is usual for their principals.
    async fn contents_of_incidents(
        &self,
        waiting: &[WaitingMessage],
    ) -> Result<BTreeMap<IncidentId, Incident>, StateError> {
        let announced = waiting.iter().filter_map(WaitingMessage::incident);
        let announced: Vec<_> = announced.collect();
        let mut known = contents(self.store, &announced, IncidentPeriods::default()).await?;
        let ids: HashSet<&IncidentId> = announced.iter().map(|known| &known.id).collect();
        let sent = known.iter_mut().filter(|(id, _)| ids.contains(id));
        let sent = sent.map(|(_, incident)| incident).collect();
        self.add_usual(sent).await;
        Ok(known)
    }
}

/// The alerts are grouped by the next sweep.
fn tell_ungrouped(why: &str) {
    let about = json!({"why": why});
    log(
        LogSeverity::Warn,
        "alerts not grouped into incidents yet",
        about,
    );
}

fn name_incidents(alerts: &mut [Alert], incidents: &HashMap<AlertId, IncidentId>) {
    for alert in alerts {
        alert.incident = incidents.get(&alert.id).cloned();
    }
}
