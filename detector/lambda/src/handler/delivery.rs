//! Publishes alerts and incidents from the outbox: each destination for itself, so that one that
//! fails, or takes few messages, is in nobody's way.
//!
//! The invocation that creates an alert groups it into its incident, and publishes both to the
//! destinations that do not fail; what is left is done by sweeps. A sweep reserves a destination
//! while it publishes to it, and asks a failing one less and less often. All of this is in the
//! table, so that all invocations agree.

mod grouping;
mod plan;
mod report;
mod usual;

use std::{collections::BTreeSet, time::Instant};

use futures_util::future::{join, join_all};
use secretrail_aws::{
    dynamodb::{Clock, DynamoStore},
    retry::RetryPolicy,
    sink::AlertSink,
    sns::TopicDestination,
};
use secretrail_engine::{
    alert::Alert,
    exposure::changes::SecretName,
    incident::IncidentPeriods,
    outbox::{DestinationState, GROUPING, OutboxNote},
    regroup::{ChangedIncident, reexposed},
    state::{OutboxStore, StateError},
    time::EventTime,
};
use serde_json::json;

use self::{
    plan::{Outgoing, PlannedMessage},
    report::DeliveryReport,
};
use crate::{
    handler::{deadline::has_time, seconds},
    telemetry::{FunctionMetrics, LogSeverity, log},
};

/// Alerts that a sweep reads at a time for a destination without, and with, a limit of messages.
const PAGE: usize = 100;
const PAGE_FOR_DIGESTS: usize = 1_000;

/// Messages that are published before their notes are removed: those of two calls of SNS.
const MESSAGES_AT_A_TIME: usize = 20;

/// Notes that are dropped, or replaced, at a time.
const NOTES_AT_A_TIME: usize = 500;

/// How often a destination is changed that others change too, and how long to wait in between.
const CHANGES: RetryPolicy = RetryPolicy {
    attempts: 12,
    base: std::time::Duration::from_millis(10),
    cap: std::time::Duration::from_millis(500),
};

/// Leases after which the notes of a destination are dropped that is missing in the settings: until
/// then, an invocation with other settings may still run.
const LEASES_UNTIL_DROPPED: i64 = 3;

/// What publishes alerts.
pub(super) struct Delivery<'a> {
    pub(super) store: &'a DynamoStore,
    pub(super) sink: &'a AlertSink,
    pub(super) topics: &'a [TopicDestination],
    pub(super) clock: &'a Clock,
    /// Seconds for which a new alert is left to its creator, and a destination to a sweep; also the
    /// wait after the first failure.
    pub(super) lease_secs: i64,
    /// How far back something is usual, in seconds.
    pub(super) lookback_secs: i64,
}

impl Delivery<'_> {
    fn now(&self) -> EventTime {
        (self.clock)()
    }

    /// Groups alerts that were created, or withdrawn, at a time by this invocation, and publishes
    /// them and their incidents. Whatever fails is left to the sweep.
    pub(super) async fn publish_created(
        &self,
        mut alerts: Vec<Alert>,
        created: EventTime,
        metrics: &mut FunctionMetrics,
    ) {
        if alerts.is_empty() {
            return;
        }
        let changed = self.group_in_time(&mut alerts, created).await;
        self.publish_now(&alerts, created, &changed, metrics).await;
    }

    /// Publishes the incidents whose exposure the changes of secrets have closed or opened again.
    pub(super) async fn publish_exposed(
        &self,
        secrets: &[SecretName],
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let periods = IncidentPeriods::default();
        let changed = reexposed(self.store, secrets, periods, self.now()).await?;
        if !changed.is_empty() {
            self.publish_now(&[], self.now(), &changed, metrics).await;
        }
        Ok(())
    }

    /// Publishes what was created, or has changed, to the destinations that do not fail.
    async fn publish_now(
        &self,
        alerts: &[Alert],
        created: EventTime,
        changed: &[ChangedIncident],
        metrics: &mut FunctionMetrics,
    ) {
        let states = match self.store.destinations().await {
            Ok(states) => states,
            Err(error) => return tell_left(&error),
        };
        let changed = match self.unsilenced(changed).await {
            Ok(changed) => changed,
            Err(error) => return tell_left(&error),
        };
        let topics = self.topics.iter().filter_map(|topic| {
            let state = states.iter().find(|state| state.id == topic.id)?;
            // One that has failed is tried by the sweep, and not by everybody.
            (state.failures == 0).then_some((topic, state))
        });
        let changed = &changed;
        let published = topics.map(|(topic, state)| async move {
            let mut waiting = created_for(topic, alerts, created);
            let is_behind = !changed.is_empty() && self.age(&topic.id).await? > self.lease_secs;
            waiting.extend(self.changed_for(topic, changed, is_behind));
            let report = self.deliver(topic, &waiting).await?;
            self.conclude(topic, state, report, false).await
        });
        for result in join_all(published).await {
            match result {
                Ok(report) => report.count(metrics),
                Err(error) => tell_left(&error),
            }
        }
    }

    /// Publishes what waits in the outbox, as long as there is time.
    pub(super) async fn sweep(
        &self,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        while has_time(until) {
            let before = self.now().plus(-self.lease_secs);
            if self.store.split_notes(before, NOTES_AT_A_TIME).await? == 0 {
                break;
            }
        }
        let states = self.store.destinations().await?;
        self.drop_removed(&states, until, metrics).await?;
        let drained = self.topics.iter().filter_map(|topic| {
            let state = states.iter().find(|state| state.id == topic.id)?;
            Some(self.drain(topic, state, until))
        });
        // Beside each other: a backlog of one destination does not keep incidents from the others.
        let (drained, grouped) = join(join_all(drained), self.group_left(until, metrics)).await;
        let (mut oldest, mut result) = (0, Ok(()));
        for drained in drained {
            match drained {
                Ok((report, age_secs)) => {
                    report.count(metrics);
                    oldest = oldest.max(age_secs);
                }
                // The others are done all the same.
                Err(error) => result = Err(error),
            }
        }
        oldest = oldest.max(self.age(GROUPING).await?);
        metrics.record("OutboxAge", seconds(oldest));
        result.and(grouped)
    }

    /// Publishes what waits for a destination. Returns also the age of its oldest note in seconds.
    async fn drain(
        &self,
        topic: &TopicDestination,
        state: &DestinationState,
        until: Instant,
    ) -> Result<(DeliveryReport, i64), StateError> {
        let mut report = DeliveryReport::default();
        if state.removed.is_some() {
            // It is in the settings again.
            self.change(&topic.id, |state| state.removed = None).await?;
        }
        let oldest = self.store.oldest_note(&topic.id).await?;
        if oldest.is_some() && self.reserve(&topic.id, topic.max_per_minute).await? {
            report = self.drain_reserved(topic, until).await?;
            report = self.conclude(topic, state, report, true).await?;
        }
        Ok((report, self.age(&topic.id).await?))
    }

    /// Age in seconds of the oldest note of a destination; 0 without notes.
    async fn age(&self, destination: &str) -> Result<i64, StateError> {
        let oldest = self.store.oldest_note(destination).await?;
        Ok(oldest.map_or(0, |created| self.now().0.saturating_sub(created.0).max(0)))
    }

    /// Reserves a destination for this sweep, unless nothing may be sent to it now; returns whether
    /// it was reserved.
    async fn reserve(
        &self,
        destination: &str,
        max_per_minute: Option<usize>,
    ) -> Result<bool, StateError> {
        let reserved = self.change(destination, |state| {
            let now = self.now();
            let has_room = max_per_minute.is_none_or(|most| state.room(most, now) > 0);
            let is_free = has_room && !state.is_busy(now) && state.may_be_tried(now);
            if is_free {
                state.busy_until = Some(now.plus(self.lease_secs));
            }
            is_free
        });
        Ok(reserved.await?.unwrap_or(false))
    }

    async fn drain_reserved(
        &self,
        topic: &TopicDestination,
        until: Instant,
    ) -> Result<DeliveryReport, StateError> {
        let is_paced = topic.max_per_minute.is_some();
        let has_digests = is_paced || topic.digest_below.is_some();
        let page = if has_digests { PAGE_FOR_DIGESTS } else { PAGE };
        let mut all = DeliveryReport::default();
        while has_time(until) && all.why.is_none() {
            // Younger ones may be published by their own invocation right now.
            let before = self.now().plus(-self.lease_secs);
            let waiting = self.store.outbox(&topic.id, before, page).await?;
            let waiting = self.resolved(topic, waiting).await?;
            let report = self.deliver(topic, &waiting).await?;
            let is_last = report.accepted.is_empty() && report.refused.is_empty();
            all.append(report);
            // Nothing is left, or nothing more may be sent in this minute.
            if is_last || is_paced {
                break;
            }
        }
        Ok(all)
    }

    /// Publishes to a destination. Notes of what it accepted are removed; what it refused is put
    /// off.
    async fn deliver(
        &self,
        topic: &TopicDestination,
        waiting: &[Outgoing],
    ) -> Result<DeliveryReport, StateError> {
        let granted = match topic.max_per_minute {
            None => None,
            _ if waiting.is_empty() => None,
            Some(most) => {
                let wanted = plan::of(&topic.destination(), waiting, Some(most)).len();
                let granted = self.change(&topic.id, |state| state.take(most, wanted, self.now()));
                Some(granted.await?.unwrap_or(0))
            }
        };
        let mut planned = plan::of(&topic.destination(), waiting, granted);
        let mut all = DeliveryReport::default();
        // A few at a time: what was sent is sent again when the invocation ends before it is noted.
        while !planned.is_empty() && all.why.is_none() {
            let rest = planned.split_off(planned.len().min(MESSAGES_AT_A_TIME));
            all.append(self.deliver_some(topic, planned).await?);
            planned = rest;
        }
        // After a failure, the others are not tried.
        all.failed += planned
            .iter()
            .map(|message| message.parts.len())
            .sum::<usize>();
        Ok(all)
    }

    async fn deliver_some(
        &self,
        topic: &TopicDestination,
        planned: Vec<PlannedMessage<'_>>,
    ) -> Result<DeliveryReport, StateError> {
        let publications: Vec<_> = planned.iter().map(PlannedMessage::publication).collect();
        let results = self.sink.publish(topic, &publications).await;
        let mut report = DeliveryReport::default();
        for (message, result) in planned.into_iter().zip(results) {
            report.add(topic, message, result);
        }
        // After publishing, not before: after a crash between the two, an alert is published twice,
        // but never lost.
        let now = self.now();
        let reported = report.accepted.iter().chain(&report.reported);
        let notes: Vec<OutboxNote> = reported.cloned().collect();
        self.store.remove_notes(&notes).await?;
        let refused = report.refused.iter();
        let put_off = refused.map(|note| (note.clone(), note.put_off(now, self.lease_secs)));
        self.store.replace_notes(put_off.collect()).await?;
        Ok(report)
    }

    /// Notes whether a destination failed, and releases it when it was reserved.
    async fn conclude(
        &self,
        topic: &TopicDestination,
        before: &DestinationState,
        report: DeliveryReport,
        reserved: bool,
    ) -> Result<DeliveryReport, StateError> {
        let has_failed = report.why.is_some();
        let recovered = before.failures > 0 && !report.accepted.is_empty();
        if has_failed || recovered || reserved {
            self.change(&topic.id, |state| {
                if has_failed {
                    state.fail(self.now(), self.lease_secs);
                } else if recovered {
                    state.succeed();
                }
                if reserved {
                    state.busy_until = None;
                }
            })
            .await?;
        }
        report.tell_failure(topic);
        Ok(report)
    }

    /// Changes the state of a destination, however many others do. `None` when all tries were used
    /// up, or the destination is not known.
    async fn change<T>(
        &self,
        destination: &str,
        change: impl Fn(&mut DestinationState) -> T,
    ) -> Result<Option<T>, StateError> {
        for attempt in 1..=CHANGES.attempts {
            let states = self.store.destinations().await?;
            let known = states.into_iter().find(|state| *state.id == *destination);
            let Some(before) = known else {
                break;
            };
            let mut after = before.clone();
            let result = change(&mut after);
            if after == before || self.store.change_destination(&after).await? {
                return Ok(Some(result));
            }
            CHANGES.wait(attempt).await;
        }
        Ok(None)
    }

    /// Drops the notes of destinations that are no longer in the settings.
    async fn drop_removed(
        &self,
        states: &[DestinationState],
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let known = self.topics.iter().map(|topic| &*topic.id);
        let known: BTreeSet<&str> = known.chain([GROUPING]).collect();
        for state in states.iter().filter(|state| !known.contains(&*state.id)) {
            let Some(since) = state.removed else {
                let removed = Some(self.now());
                let state = DestinationState {
                    removed,
                    ..state.clone()
                };
                // Where it was changed meanwhile, the next sweep sees to it.
                self.store.change_destination(&state).await?;
                continue;
            };
            if since.plus(LEASES_UNTIL_DROPPED * self.lease_secs) <= self.now() {
                self.drop_notes(&state.id, until, metrics).await?;
            }
        }
        Ok(())
    }

    async fn drop_notes(
        &self,
        destination: &str,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let mut dropped = 0;
        while has_time(until) {
            let some = self.store.drop_notes(destination, NOTES_AT_A_TIME).await?;
            dropped += some as u64;
            if some == 0 {
                break;
            }
        }
        if dropped > 0 {
            metrics.add("NotesDropped", dropped);
            log(
                LogSeverity::Warn,
                "alerts dropped: their destination is no longer in the settings",
                json!({"destination": destination, "alerts": dropped}),
            );
        }
        Ok(())
    }
}

/// The alerts that a destination takes, with the notes that were written with them.
fn created_for(topic: &TopicDestination, alerts: &[Alert], created: EventTime) -> Vec<Outgoing> {
    let destination = topic.destination();
    let waiting = alerts.iter().filter_map(|alert| {
        let note = destination.note_of_alert(alert, created)?;
        // The others wait for the digest of the day.
        let is_due = note.due <= created;
        is_due.then(|| Outgoing::alert(note, alert.clone()))
    });
    waiting.collect()
}

/// What was not published, or not removed from the outbox, is left to the sweep.
fn tell_left(error: &StateError) {
    log(
        LogSeverity::Error,
        "alerts left in the outbox",
        json!({"why": error.to_string()}),
    );
}
