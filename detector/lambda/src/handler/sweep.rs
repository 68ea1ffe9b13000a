//! The sweep: finalises what is due, publishes what waits, and looks for logs that stay away.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use secretrail_aws::dynamodb::PendingReceipt;
use secretrail_engine::{
    alert::{Alert, IncidentId},
    incident::decision::decided_about,
    pipeline::{OpenSweep, Pipeline},
    selection::Selection,
    silence,
    state::{IncidentStore, SetAside, StateError, StateStore},
    time::EventTime,
};

use serde_json::json;
use tokio::time::timeout_at;

use super::{
    FunctionContext,
    deadline::{has_time, share_of, third_of},
    seconds, tell_set_aside,
};
use crate::{
    rules::ActiveRules,
    telemetry::{FunctionMetrics, LogSeverity, log},
};

/// Most incidents with an open exposure that are looked at, the oldest.
const EXPOSURES: usize = 100;

/// Seconds after which a process looks again for places whose logs stay away.
const SILENCE_SECS: i64 = 600;

/// How long pending events are set aside that cannot be finalised, in seconds.
const SET_ASIDE_SECS: i64 = 3_600;

impl FunctionContext {
    /// Finalises pending events that are due, and publishes alerts that are left in the outbox, as
    /// long as there is time.
    pub(super) async fn sweep(
        &self,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let share = share_of(until);
        let finalized = timeout_at(share.into(), self.finalize(active, share, metrics)).await;
        let finalized = finalized.unwrap_or_else(|_| {
            self.take_smaller_rounds();
            Ok(())
        });
        // Whatever became of that: what waits in the outbox does not depend on it.
        self.delivery().sweep(until, metrics).await?;
        finalized?;
        self.now_and_then(metrics).await?;
        self.check_digests(active, share_of(until), metrics).await?;
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        let overdue = pipeline.overdue_secs(&self.store, (self.clock)()).await?;
        metrics.record("DueAge", seconds(overdue));
        if let Some(last) = self.store.last_object().await? {
            let minutes = (self.clock)().0.saturating_sub(last.0).max(0) / 60;
            let minutes = i32::try_from(minutes).unwrap_or(i32::MAX);
            metrics.record("MinutesSinceLastObject", minutes.into());
        }
        Ok(())
    }

    /// Raises alerts about accounts and regions whose logs stay away, and measures how long
    /// exposures have been open, now and then.
    async fn now_and_then(&self, metrics: &mut FunctionMetrics) -> Result<(), StateError> {
        let now = (self.clock)();
        let last = self.silences_at.swap(now.0, Ordering::Relaxed);
        if now.0.saturating_sub(last) < SILENCE_SECS {
            self.silences_at.store(last, Ordering::Relaxed);
            return Ok(());
        }
        let places = self.store.deliveries().await?;
        self.raise(silence::silences(&places), metrics).await?;
        let hours = self.open_exposure_hours(now).await?;
        metrics.record("OpenExposureHours", hours.into());
        Ok(())
    }

    /// Creates alerts that are not about events, and publishes those that are new.
    pub(super) async fn raise(
        &self,
        alerts: Vec<Alert>,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        if alerts.is_empty() {
            return Ok(());
        }
        let now = (self.clock)();
        let created = self.store.create_alerts(alerts.clone(), now).await?;
        let created = alerts.into_iter().zip(created).filter(|(_, new)| *new);
        let alerts: Vec<Alert> = created.map(|(alert, _)| alert).collect();
        metrics.add("Alerts", alerts.len() as u64);
        self.delivery().publish_created(alerts, now, metrics).await;
        Ok(())
    }

    /// For how many hours a version has been out that nothing has superseded, of incidents that no
    /// person has closed; 0 without any.
    async fn open_exposure_hours(&self, now: EventTime) -> Result<i32, StateError> {
        let ids = self.store.open_exposures(now, EXPOSURES).await?;
        let ids: Vec<&IncidentId> = ids.iter().collect();
        let incidents = self.store.incidents(&ids).await?;
        let decisions = self.delivery().decisions(incidents.iter()).await?;
        let open = incidents.iter().filter(|incident| {
            let decision = decided_about(&decisions, incident);
            !decision.is_some_and(|decision| decision.is_closed(incident))
        });
        let since = open.filter_map(|incident| incident.open_since()).min();
        let secs = since.map_or(0, |since| now.0.saturating_sub(since.0).max(0));
        Ok(i32::try_from(secs / 3_600).unwrap_or(i32::MAX))
    }

    async fn finalize(
        &self,
        active: &ActiveRules,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        let most = self.round_sizes().0;
        let mut at_a_time = most;
        while has_time(until) {
            let now = (self.clock)();
            let (open, round) = self
                .finalize_some(&pipeline, until, now, at_a_time, metrics)
                .await;
            // Also before an error: what was finalised is finished, and not begun again.
            let closed = pipeline.close_sweep(&self.store, open, now).await;
            let round = match closed {
                Ok(outcome) => {
                    self.finish(outcome, now, metrics).await;
                    round
                }
                // Nothing of it is closed, and fewer are tried.
                Err(error) => Err(error),
            };
            match round {
                Ok(true) => at_a_time = (at_a_time * 2).min(most),
                Ok(false) => {
                    // It was done in time, and so will more be.
                    let rounds = self.rounds.load(Ordering::Relaxed);
                    self.rounds.store((rounds / 2).max(1), Ordering::Relaxed);
                    break;
                }
                // Fewer at a time, until the one remains that cannot be read.
                Err(error) if error.unreadable && at_a_time > 1 => {
                    at_a_time = at_a_time.div_ceil(8)
                }
                Err(error) if error.unreadable => {
                    self.set_aside(&pipeline, error, now, metrics).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Finalises as much as fits into memory and into a third of the time that is left, so that
    /// there is time to read the windows, which are read once for all of it. Returns what is to be
    /// closed, and whether more may be due.
    async fn finalize_some(
        &self,
        pipeline: &Pipeline<'_>,
        until: Instant,
        now: EventTime,
        at_a_time: usize,
        metrics: &mut FunctionMetrics,
    ) -> (OpenSweep<PendingReceipt>, Result<bool, StateError>) {
        let enough = third_of(until);
        let (most, most_open) = self.round_sizes();
        let mut open = OpenSweep::default();
        loop {
            let part = pipeline
                .sweep_part(&self.store, now, at_a_time, &mut open)
                .await;
            let some = match part {
                Ok((outcome, some)) => {
                    self.finish(outcome, now, metrics).await;
                    some
                }
                Err(error) => return (open, Err(error)),
            };
            // After an item that cannot be read, the windows need not wait for all the others.
            let is_careful = at_a_time < most;
            let is_full = open.len() >= most_open;
            if !some || is_careful || is_full || Instant::now() >= enough {
                return (open, Ok(some));
            }
        }
    }

    /// How many pending events a round of the sweep finalises together, and with how many it ends.
    fn round_sizes(&self) -> (usize, usize) {
        let (budget, rounds) = (self.config.memory, self.rounds.load(Ordering::Relaxed));
        let rounds = rounds.max(1);
        ((budget.due / rounds).max(1), (budget.open / rounds).max(1))
    }

    /// After a sweep whose round was cancelled before its windows were read: the next sweep, which
    /// begins it again, ends its rounds sooner.
    fn take_smaller_rounds(&self) {
        let rounds = self.rounds.load(Ordering::Relaxed).max(1);
        let rounds = rounds.saturating_mul(4).min(self.config.memory.open.max(1));
        self.rounds.store(rounds, Ordering::Relaxed);
        log(
            LogSeverity::Warn,
            "out of time before the windows were read: the next sweep takes smaller parts",
            json!({"events": self.round_sizes().1}),
        );
    }

    /// Sets aside the pending events that have waited longest, which cannot be finalised.
    async fn set_aside(
        &self,
        pipeline: &Pipeline<'_>,
        error: StateError,
        now: EventTime,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        match pipeline.set_aside(&self.store, now, SET_ASIDE_SECS).await? {
            Some(SetAside::Later(count)) => {
                tell_set_aside(&error, count as u64, metrics);
                Ok(())
            }
            Some(SetAside::Separated) => Ok(()),
            // Something else cannot be read.
            None => Err(error),
        }
    }
}
