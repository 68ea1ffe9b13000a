//! Provisional alerts: raised early by what was seen so far, so that nobody waits for them, and
//! withdrawn when the final evaluation does not confirm them, because a record that came late shows
//! that it was no news.
//!
//! An alert goes through these steps:
//!
//! 1. Its event arrives. The rule matches by the sightings that the store has by then: the alert
//!    is created as a provisional one, and published like any other.
//! 2. The allowed lateness passes, and the event is finalised. If the rule matches again, or
//!    another event of the same group and bucket does, the alert is confirmed, and nothing is
//!    published.
//! 3. If nothing is due any more and the alert is not confirmed, it is withdrawn, and published
//!    once more.
//! 4. If a later event of the group and bucket matches finally, the withdrawn alert is raised
//!    again.
//!
//! What is left are the alerts of a replay, which knows all events from the beginning.

use std::sync::Arc;

use super::{
    BatchOutcome, Pipeline,
    alerts::{AlertsById, by_time},
    early::{early_accesses, is_final_copy},
    pending_alerts::PendingAlerts,
};
use crate::{
    access::Access,
    alert::Alert,
    observation::Observation,
    pending_event::PendingEvent,
    rule::{EvalScope, RuleTarget, event::DerivedEvent, judged::JudgedAt},
    seen::Sighting,
    state::{StateError, StateStore},
    time::EventTime,
};

impl Pipeline<'_> {
    /// The matches of rules that are judged early by what was seen, for the reads of a batch. The
    /// sightings of the batch must have been recorded, or are in `own`.
    pub(super) async fn provisional<S: StateStore>(
        &self,
        store: &S,
        observations: &[Arc<PendingEvent>],
        own: Vec<Sighting>,
    ) -> Result<PendingAlerts, StateError> {
        let mut pending_alerts = PendingAlerts::default();
        let accesses = self.worth_looking_up(observations);
        if accesses.is_empty() {
            return Ok(pending_alerts);
        }
        let accesses = self.keyed(&accesses);
        let seen = self.novelty(store, &accesses, own).await?;
        let scope = EvalScope {
            target: RuleTarget::Access,
            at: JudgedAt::Provisional,
            counts: true,
        };
        for (access, keys) in &accesses {
            let matches = self.judge(access, scope, Some(seen.judge_by(access, keys)));
            pending_alerts.add(self.rules, matches);
        }
        Ok(pending_alerts)
    }

    /// The accesses about which such a rule may have something to say. Of most accesses the store
    /// is asked nothing.
    fn worth_looking_up(&self, observations: &[Arc<PendingEvent>]) -> Vec<Arc<Access>> {
        if !self.rules.has_provisional() || !self.selection.filter.methods.is_empty() {
            return Vec::new();
        }
        let reads = observations
            .iter()
            .filter_map(|end| match &end.observation {
                Observation::Read(read) if is_final_copy(end) => Some(read),
                _ => None,
            });
        let mut accesses: Vec<_> = reads.flat_map(|read| early_accesses(read)).collect();
        accesses.retain(|access| {
            let expected = self.policy.map(|policy| policy.judge(access));
            let event = DerivedEvent::access(access, expected, None, self.rules.networks());
            self.rules.may_match_by_seen(&event)
        });
        accesses
    }

    /// Creates provisional alerts at `now`, of events that wait to be finalised from `arrived` on.
    pub(super) async fn create_provisional<S: StateStore>(
        &self,
        store: &S,
        alerts: AlertsById,
        arrived: EventTime,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        let alerts = by_time(alerts);
        if alerts.is_empty() {
            return Ok(());
        }
        let waiting = alerts
            .iter()
            .map(|alert| (alert.clone(), waiting_since(alert, arrived)));
        let created = store
            .create_provisional_alerts(waiting.collect(), now)
            .await?;
        outcome.list_created(alerts, &created);
        Ok(())
    }

    /// Withdraws the provisional alerts whose events were finalised without confirming them. Right
    /// only when nothing is due any more.
    pub(super) async fn withdraw_unconfirmed<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        if !self.rules.has_provisional() {
            return Ok(());
        }
        let finalized = now.plus(-self.allowed_lateness_secs);
        let unconfirmed = store.provisional_alerts(finalized).await?;
        let withdrawn = store.withdraw_alerts(&unconfirmed, now).await?;
        outcome.report.alerts_withdrawn += withdrawn.len() as u64;
        outcome.withdrawn.extend(withdrawn);
        Ok(())
    }
}

/// Since when the events of an alert wait to be finalised, as in
/// [`StateStore::put_pending_events`].
fn waiting_since(alert: &Alert, arrived: EventTime) -> EventTime {
    let delivered = alert.accesses.iter().map(|access| access.head.delivered);
    // What is dated ahead, by a broken clock or on purpose, waits from its arrival on.
    let plausible = delivered.filter(|delivered| !delivered.is_ahead_of(arrived));
    plausible.fold(arrived, EventTime::max)
}
