//! The doors that bring records themselves: events of EventBridge, and payloads of log
//! subscriptions and streams. What comes through them goes the way of an object's content, except
//! that an event of EventBridge is judged early and no further.

use std::{future::Future, sync::Arc, time::Instant};

use secretrail_engine::{
    alert::Alert,
    object::{RecordOrigin, direct_origin, payload_origin},
    report::ObjectStatus,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    state::StateError,
    time::EventTime,
};
use serde_json::{Value, json};

use super::{FunctionContext, HandleError, deadline::last_moment, returned_for_retry};
use crate::{
    notification::{DirectEvent, FunctionInvocation, LogPayload, QueueMessage, StreamRecord},
    rules::ActiveRules,
    telemetry::{FunctionMetrics, LogSeverity, log},
};

/// Where records come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Objects of a bucket: of a trail, of Firehose, of Security Lake.
    Files,
    /// Payloads of CloudWatch Logs, through a stream or not.
    Logs,
    /// Events of EventBridge.
    Direct,
}

impl Door {
    /// The name in logs.
    fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Logs => "logs",
            Self::Direct => "eventbridge",
        }
    }

    /// The figures of its latency: median, and 95th percentile.
    fn figures(self) -> [&'static str; 2] {
        match self {
            Self::Files => ["LatencyOfFilesP50", "LatencyOfFilesP95"],
            Self::Logs => ["LatencyOfLogsP50", "LatencyOfLogsP95"],
            Self::Direct => ["LatencyOfEventsP50", "LatencyOfEventsP95"],
        }
    }
}

/// Records how long after their events alerts were created, in seconds: one log line for each
/// alert, from which Logs Insights can make exact percentiles, and those of the invocation.
pub(super) fn count_latency(
    door: Door,
    alerts: &[Alert],
    now: EventTime,
    metrics: &mut FunctionMetrics,
) {
    let mut seconds: Vec<i64> = Vec::new();
    for alert in alerts {
        let latency = now.0.saturating_sub(alert.time.0);
        log(
            LogSeverity::Info,
            "alert created",
            json!({"alert": &*alert.id.0, "rule": alert.rule.id, "door": door.as_str(),
                "latency_secs": latency}),
        );
        seconds.push(latency);
    }
    seconds.sort_unstable();
    for (name, percent) in door.figures().into_iter().zip([50, 95]) {
        let value = percentile(&seconds, percent).and_then(|secs| i32::try_from(secs).ok());
        if let Some(value) = value {
            metrics.record(name, value.into());
        }
    }
}

/// The value that so many percent of the sorted values do not exceed; `None` without values.
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.checked_sub(1)?).copied()
}

/// Texts or payloads, each with its origin.
type Sources = Vec<(RecordOrigin, Vec<u8>)>;

/// What was found in each of the sources, or why it could not be read to its end.
type Readings = Vec<(ScanResult, Result<(), String>)>;

impl FunctionContext {
    /// Handles an invocation that brings records without a queue.
    pub(super) async fn through(
        &self,
        invocation: FunctionInvocation,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<Value, HandleError> {
        match invocation {
            FunctionInvocation::DirectEvent(event) => {
                let done = self.direct_events(vec![event], active, until, metrics);
                done.await.map(|()| Value::Null)
            }
            FunctionInvocation::Subscription(payload) => {
                self.subscription(payload, active, until, metrics).await
            }
            FunctionInvocation::Stream(records) => {
                Ok(self.stream(records, active, until, metrics).await)
            }
            // These bring no records themselves, and do not come here.
            FunctionInvocation::Queue(_)
            | FunctionInvocation::Direct(_)
            | FunctionInvocation::Sweep => Ok(Value::Null),
        }
    }

    /// Processes the events of EventBridge among the messages of a queue; returns whether they are
    /// done.
    pub(super) async fn direct_of(
        &self,
        messages: &[QueueMessage],
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> bool {
        let direct = messages.iter().filter_map(|message| message.direct.clone());
        let done = self.direct_events(direct.collect(), active, until, metrics);
        done.await.is_ok()
    }

    /// Processes events of EventBridge together. Each of them is retried when that fails.
    async fn direct_events(
        &self,
        events: Vec<DirectEvent>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), HandleError> {
        if events.is_empty() {
            return Ok(());
        }
        metrics.add("DirectEvents", events.len() as u64);
        let sources = events.into_iter().map(|event| {
            let DirectEvent { id, json } = event;
            (direct_origin(&id), json.into_bytes())
        });
        let sources = sources.collect();
        let work = async {
            let mut all = ScanResult::default();
            for (found, read) in scan_aside(sources, active).await? {
                read?;
                all.append(found);
            }
            self.judge(Door::Direct, all, active, metrics).await
        };
        in_time(until, work).await
    }

    /// A payload of CloudWatch Logs without a stream: Lambda retries the invocation.
    async fn subscription(
        &self,
        payload: LogPayload,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<Value, HandleError> {
        let mut done = self.payloads(vec![payload], active, until, metrics).await?;
        match done.pop() {
            Some(Err(why)) => Err(HandleError::Logs(why)),
            _ => Ok(Value::Null),
        }
    }

    /// Records of a stream. Kinesis delivers again what follows the first record that is returned
    /// for retry, in its order: what was processed behind it changes nothing then.
    async fn stream(
        &self,
        records: Vec<StreamRecord>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Value {
        let (mut ids, mut payloads, mut first_bad) = (Vec::new(), Vec::new(), None);
        for StreamRecord { id, payload } in records {
            match payload {
                Ok(payload) => {
                    ids.push(id);
                    payloads.push(payload);
                }
                Err(why) => {
                    metrics.add("MessagesUnparseable", 1);
                    report(&id, &why.to_string());
                    first_bad = first_bad.or(Some((ids.len(), id)));
                }
            }
        }
        let back = match self.payloads(payloads, active, until, metrics).await {
            // None of them was processed, wherever the one that is no payload stands.
            Err(_) => ids.into_iter().next().or(first_bad.map(|(_, id)| id)),
            Ok(done) => {
                let failed = done.iter().position(Result::is_err);
                let failed = failed.and_then(|at| Some((at, ids.get(at)?.clone())));
                // Of two at one place, the one that is no payload stands before the other.
                let first = [first_bad, failed].into_iter().flatten();
                first.min_by_key(|(at, _)| *at).map(|(_, id)| id)
            }
        };
        metrics.add("MessagesRetried", u64::from(back.is_some()));
        returned_for_retry(&back.into_iter().collect())
    }

    /// Processes payloads together; for each, why it could not be read to its end. What could be
    /// read of it is processed.
    async fn payloads(
        &self,
        payloads: Vec<LogPayload>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<Vec<Result<(), String>>, HandleError> {
        metrics.add("LogPayloads", payloads.len() as u64);
        let sources = payloads.into_iter();
        let sources = sources.map(|payload| (payload_origin(&payload.bytes), payload.bytes));
        let sources = sources.collect();
        let mut done = Vec::new();
        let work = async {
            let mut all = ScanResult::default();
            for (found, read) in scan_aside(sources, active).await? {
                all.append(found);
                done.push(read);
            }
            self.judge(Door::Logs, all, active, metrics).await?;
            // As a file does: the alarm about silence asks when logs arrived last.
            self.store
                .note_logs()
                .await
                .map_err(|error| error.to_string())
        };
        in_time(until, work).await?;
        Ok(done)
    }

    /// Evaluates what came through a door, and publishes its alerts.
    async fn judge(
        &self,
        door: Door,
        mut found: ScanResult,
        active: &ActiveRules,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), String> {
        metrics.count(&std::mem::take(&mut found.report));
        metrics.add("Observations", found.observations.len() as u64);
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        let now = (self.clock)();
        let outcome = match door {
            Door::Direct => pipeline.ingest_direct(&self.store, found, now).await,
            Door::Files | Door::Logs => pipeline.ingest(&self.store, found, now).await,
        };
        let mut outcome = outcome.map_err(|error: StateError| error.to_string())?;
        count_latency(door, &outcome.alerts, now, metrics);
        let secrets = std::mem::take(&mut outcome.changed_secrets);
        self.finish(outcome, now, metrics).await;
        let looked = self.look_at_exposures(secrets, metrics).await;
        looked.map_err(|error| error.to_string())
    }
}

/// Does work until the last moment of the invocation. It may be cancelled at any point: a retry
/// completes whatever was partly done.
async fn in_time(
    until: Instant,
    work: impl Future<Output = Result<(), String>>,
) -> Result<(), HandleError> {
    let done = tokio::time::timeout_at(last_moment(until).into(), Box::pin(work)).await;
    let done = done.unwrap_or_else(|_| Err("the invocation ran out of time".to_owned()));
    done.map_err(|why| {
        report("", &why);
        HandleError::Logs(why)
    })
}

/// Logs why log events are returned for retry; `id` is that of the record of a stream, or empty.
fn report(id: &str, why: &str) {
    log(
        LogSeverity::Error,
        "log events returned for retry",
        json!({"record": id, "why": why}),
    );
}

/// Scans on a blocking thread, because it is CPU-bound.
async fn scan_aside(sources: Sources, active: &Arc<ActiveRules>) -> Result<Readings, String> {
    let active = active.clone();
    let scanned = tokio::task::spawn_blocking(move || scan(&sources, &active)).await;
    scanned.map_err(|error| format!("internal error (a bug in Secretrail) while reading: {error}"))
}

fn scan(sources: &Sources, active: &ActiveRules) -> Readings {
    let selection = Selection::default();
    let mut scanner = ObjectScanner::new(&active.rules, &selection);
    let sources = sources.iter();
    sources
        .map(|(origin, bytes)| {
            let mut found = ScanResult::default();
            let read = scanner.read(ScanInput::Bytes(bytes), origin, false, &mut found);
            let read = match found.report.finalize(read, false, false) {
                ObjectStatus::Failed(why) => Err(why),
                ObjectStatus::Read | ObjectStatus::Skipped(_) => Ok(()),
            };
            (found, read)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<i64> = (1..=20).collect();
        assert_eq!(percentile(&values, 50), Some(10));
        assert_eq!(percentile(&values, 95), Some(19));
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile(&[7, 9], 95), Some(9));
        assert_eq!(percentile(&[], 95), None);
    }

    #[test]
    fn what_is_damaged_is_reported_and_what_holds_nothing_is_not() {
        let active = ActiveRules::default();
        let read = |bytes: &[u8]| {
            let source = (payload_origin(bytes), bytes.to_vec());
            scan(&vec![source], &active).remove(0).1
        };
        let control = br#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#;
        assert!(read(control).is_ok());
        // The header of gzip, and nothing behind it.
        let cut = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
        let why = read(&cut).unwrap_err();
        assert!(why.contains("truncated or damaged"), "{why}");
    }
}
