//! An invocation, from its event to its answer. The order of work is in `detector/README.md`:
//! objects are read, state is written, alerts are created, published and taken out of the outbox,
//! and only then are messages acknowledged.

mod deadline;
mod object_reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt};
use secretrail_aws::dynamodb::{Clock, DynamoStore, ObjectEntry, ObjectState};
use secretrail_aws::retry::RetryPolicy;
use secretrail_aws::s3::S3Source;
use secretrail_aws::sns::{PublishError, SnsSink};
use secretrail_engine::alert::Alert;
use secretrail_engine::pipeline::{BatchOutcome, Pipeline};
use secretrail_engine::scan::ScanResult;
use secretrail_engine::selection::Selection;
use secretrail_engine::state::{StateError, StateStore};
use serde_json::{Value, json};

use self::deadline::{has_time, last_moment};
use self::object_reader::{ObjectReading, ObjectResult};
use crate::config::FunctionConfig;
use crate::notification::{
    self, DeliveredObject, FunctionInvocation, QueueMessage, UnparseableMessage,
};
use crate::rules::{ActiveRules, RuleSource, RulesError};
use crate::telemetry::{FunctionMetrics, LogSeverity, log};

/// Loose ends that a sweep settles at a time, and alerts that it publishes at a time.
const AT_A_TIME: usize = 2_000;
const ALERTS_AT_A_TIME: usize = 100;

/// Why an invocation that cannot be handed back in part is to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Nobody knows what the event is.
    #[error(transparent)]
    NotUnderstood(#[from] UnparseableMessage),
    /// There are no rules to look at it with.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The table could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Some of the objects are not done.
    #[error("{count} of the objects are not done, among them {key}: {why}")]
    Objects {
        /// How many.
        count: usize,
        /// The key of one of them.
        key: String,
        /// Why that one is not.
        why: String,
    },
}

/// Objects that are not done, and why.
type UnfinishedObjects = BTreeMap<DeliveredObject, String>;

/// What outlives an invocation.
pub struct FunctionContext {
    config: FunctionConfig,
    s3: S3Source,
    store: DynamoStore,
    sink: SnsSink,
    rules: RuleSource,
    clock: Clock,
    function: String,
}

impl FunctionContext {
    /// Clients for these settings. Nothing is called yet.
    #[must_use]
    pub fn new(
        config: FunctionConfig,
        aws: &SdkConfig,
        retry: RetryPolicy,
        clock: Clock,
        function: String,
    ) -> Self {
        let s3_config = aws_sdk_s3::config::Builder::from(aws).force_path_style(config.path_style);
        let s3 = S3Source::new(s3_config, retry, config.max_object_bytes);
        let table = aws_sdk_dynamodb::Client::new(aws);
        let store = DynamoStore::new(
            table,
            config.table.clone(),
            config.retention(),
            retry,
            clock.clone(),
        );
        let sink = SnsSink::new(
            aws_sdk_sns::Client::new(aws),
            retry,
            config.destinations.clone(),
        );
        let rules = RuleSource::new(&config, s3.clone());
        Self {
            config,
            s3,
            store,
            sink,
            rules,
            clock,
            function,
        }
    }

    /// Handles an event. `until` is when the invocation ends, whether it is done or not.
    ///
    /// # Errors
    ///
    /// The event cannot be handed back in part, and something in it was not done: the caller tries
    /// all of it again.
    pub async fn handle(&self, event: &Value, until: Instant) -> Result<Value, HandleError> {
        let started = Instant::now();
        let calls = self.store.calls();
        let mut metrics = FunctionMetrics::default();
        let answer = Box::pin(self.answer(event, until, &mut metrics)).await;
        if let Err(why) = &answer {
            let why = why.to_string();
            log(LogSeverity::Error, "invocation failed", json!({"why": why}));
        }
        // After a failure as well: that is when they are looked at.
        metrics.add("DynamoDBRequests", self.store.calls() - calls);
        metrics.record("Duration", started.elapsed().as_secs_f64() * 1_000.0);
        metrics.print(&self.function, (self.clock)().0.saturating_mul(1_000));
        answer
    }

    async fn answer(
        &self,
        event: &Value,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<Value, HandleError> {
        let invocation =
            notification::read(event).inspect_err(|_| metrics.add("MessagesUnparseable", 1))?;
        let active = self.active(metrics).await?;
        match invocation {
            FunctionInvocation::Queue(messages) => {
                let back = self.queue(messages, &active, until, metrics).await;
                metrics.add("MessagesRetried", back.len() as u64);
                Ok(handed_back(&back))
            }
            FunctionInvocation::Direct(objects) => {
                let not_done = self.objects(objects, &active, until, metrics).await;
                all_done(not_done).map(|()| Value::Null)
            }
            FunctionInvocation::Sweep => {
                self.sweep(&active, until, metrics).await?;
                Ok(Value::Null)
            }
        }
    }

    /// The rules in force.
    async fn active(&self, metrics: &mut FunctionMetrics) -> Result<Arc<ActiveRules>, RulesError> {
        let (active, refused) = self.rules.current(&self.store, (self.clock)()).await?;
        // Before any fact is written: a rule that was just loaded may look further back than those
        // before it.
        self.store
            .keep_facts_for(self.config.facts_secs(&active.rules));
        metrics.add("RulesRejected", u64::from(refused));
        Ok(active)
    }

    /// Handles messages together and gives the ids of those that are to come again.
    async fn queue(
        &self,
        messages: Vec<QueueMessage>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> BTreeSet<String> {
        for message in &messages {
            if let Err(why) = &message.objects {
                let why = why.to_string();
                let reported = json!({"message_id": message.id, "why": why});
                log(LogSeverity::Error, "message not understood", reported);
                metrics.add("MessagesUnparseable", 1);
            }
        }
        let objects = messages.iter().flat_map(|message| &message.objects);
        let objects = objects.flatten().cloned().collect();
        // Together and not one by one: what they have in common is written to the table once.
        let not_done = self.objects(objects, active, until, metrics).await;
        let messages = messages.into_iter();
        messages
            .filter(|message| comes_again(message, &not_done))
            .map(|message| message.id)
            .collect()
    }

    /// Takes objects through the whole path and gives those that are not done, with the reason.
    async fn objects(
        &self,
        mut objects: Vec<DeliveredObject>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> UnfinishedObjects {
        // Two messages of one batch may name the same object.
        objects.sort();
        objects.dedup();
        let all = objects.clone();
        let work = Box::pin(self.work(objects, active, until, metrics));
        // Cut off in the middle, the work leaves nothing half done that doing it again would not
        // complete.
        let why = match tokio::time::timeout_at(last_moment(until).into(), work).await {
            Ok(Ok(not_done)) => return not_done,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the time of the invocation is over".to_owned(),
        };
        let reported = json!({"objects": all.len(), "why": why});
        log(LogSeverity::Error, "batch not done", reported);
        all.into_iter()
            .map(|object| (object, why.clone()))
            .collect()
    }

    async fn work(
        &self,
        objects: Vec<DeliveredObject>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<UnfinishedObjects, StateError> {
        let wanted = self.not_done_yet(objects, metrics).await?;
        let mut batch = BatchOfObjects::default();
        for reading in self.read_all(wanted, active, until).await {
            reading.tell((self.clock)(), metrics);
            batch.add(reading, metrics);
        }
        metrics.add("Observations", batch.scan_result.observations.len() as u64);
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        let now = (self.clock)();
        let outcome = pipeline.ingest(&self.store, batch.scan_result, now).await?;
        self.finish(outcome, metrics).await;
        // The objects themselves last: whoever finds them noted need not look at them again.
        self.store.note_objects(&batch.entries).await?;
        Ok(batch.not_done)
    }

    async fn read_all(
        &self,
        objects: Vec<DeliveredObject>,
        active: &Arc<ActiveRules>,
        until: Instant,
    ) -> Vec<ObjectReading> {
        stream::iter(objects)
            .map(|object| object_reader::read(&self.s3, object, active, until))
            // In any order: what comes of them does not depend on it.
            .buffer_unordered(self.config.parallel)
            .collect()
            .await
    }

    /// The objects that the ledger does not know as done: S3 and SQS deliver at least once.
    async fn not_done_yet(
        &self,
        objects: Vec<DeliveredObject>,
        metrics: &mut FunctionMetrics,
    ) -> Result<Vec<DeliveredObject>, StateError> {
        let keys: Vec<_> = objects.iter().map(|object| &object.key).collect();
        let done = self.store.are_done(&keys).await?;
        let known = done.iter().filter(|done| **done).count();
        metrics.add("ObjectsDuplicate", known as u64);
        Ok(objects
            .into_iter()
            .zip(done)
            .filter(|(_, done)| !done)
            .map(|(object, _)| object)
            .collect())
    }

    fn pipeline<'a>(&self, active: &'a ActiveRules, selection: &'a Selection) -> Pipeline<'a> {
        Pipeline {
            allowed_lateness_secs: self.config.allowed_lateness_secs,
            lookback: self.config.lookback,
            ..Pipeline::new(&active.rules, active.policy.as_ref(), selection)
        }
    }

    /// Counts what came of a batch and publishes its alerts. What cannot be published stays in the
    /// outbox.
    async fn finish(&self, outcome: BatchOutcome, metrics: &mut FunctionMetrics) {
        metrics.count(&outcome.report);
        self.publish(&outcome.alerts, metrics).await;
    }

    /// Publishes alerts and takes them out of the outbox; gives how many went through.
    async fn publish(&self, alerts: &[Alert], metrics: &mut FunctionMetrics) -> usize {
        if alerts.is_empty() {
            return 0;
        }
        let results = self.sink.publish(alerts).await;
        let mut published = Vec::new();
        for (alert, result) in alerts.iter().zip(results) {
            match result {
                Ok(()) => published.push(alert.id.clone()),
                Err(_) => metrics.add("PublishFailures", 1),
            }
            tell_published(alert, result);
        }
        metrics.add("AlertsPublished", published.len() as u64);
        // After publishing and not before: a crash between the two publishes once more, and never
        // not at all.
        if let Err(error) = self.store.mark_published(&published).await {
            log(
                LogSeverity::Error,
                "alerts published but still in the outbox",
                json!({"why": error.to_string()}),
            );
        }
        published.len()
    }

    /// Settles what has waited long enough, and publishes what nobody else has, for as long as
    /// there is time.
    async fn sweep(
        &self,
        active: &ActiveRules,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        self.finalize(active, until, metrics).await?;
        self.publish_waiting(until, metrics).await?;
        if let Some(last) = self.store.last_object().await? {
            let minutes = (self.clock)().0.saturating_sub(last.0).max(0) / 60;
            let minutes = i32::try_from(minutes).unwrap_or(i32::MAX);
            metrics.record("MinutesSinceLastObject", minutes.into());
        }
        Ok(())
    }

    async fn finalize(
        &self,
        active: &ActiveRules,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        // Some at a time, so that what is settled is kept when the time is over.
        while has_time(until) {
            let (outcome, some) = pipeline
                .sweep(&self.store, (self.clock)(), AT_A_TIME)
                .await?;
            self.finish(outcome, metrics).await;
            if !some {
                break;
            }
        }
        Ok(())
    }

    /// Publishes what whoever created it has not published, because it crashed or a topic failed.
    async fn publish_waiting(
        &self,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        while has_time(until) {
            // Younger ones may be on their way just now.
            let before = (self.clock)().plus(-self.config.lease_secs);
            let waiting = self.store.unpublished(before, ALERTS_AT_A_TIME).await?;
            // When none of them goes through, the next would not either: the topic is down, and the
            // next sweep tries.
            if waiting.is_empty() || self.publish(&waiting, metrics).await == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// What the readings of a batch come to.
#[derive(Default)]
struct BatchOfObjects {
    scan_result: ScanResult,
    /// For the ledger, when everything else is done.
    entries: Vec<ObjectEntry>,
    not_done: UnfinishedObjects,
}

impl BatchOfObjects {
    fn add(&mut self, mut reading: ObjectReading, metrics: &mut FunctionMetrics) {
        if let Some(why) = reading.why_not_done() {
            let why = why.to_owned();
            self.not_done.insert(reading.delivered.clone(), why);
        }
        metrics.count(&std::mem::take(&mut reading.scan_result.report));
        self.scan_result.append(reading.scan_result);
        let (state, details) = match reading.object_result {
            ObjectResult::Done { state, details } => (state, details),
            ObjectResult::Failed { reason } => (ObjectState::Failed, reason),
            // Nothing has been done with it that could be noted.
            ObjectResult::HandedBack => return,
        };
        self.entries.push(ObjectEntry {
            object: reading.delivered.key,
            state,
            details,
        });
    }
}

/// The answer to a queue: what is not in it is deleted from the queue.
fn handed_back(ids: &BTreeSet<String>) -> Value {
    let items: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
    json!({"batchItemFailures": items})
}

fn all_done(not_done: UnfinishedObjects) -> Result<(), HandleError> {
    let count = not_done.len();
    match not_done.into_iter().next() {
        None => Ok(()),
        Some((object, why)) => Err(HandleError::Objects {
            count,
            key: object.key.key,
            why,
        }),
    }
}

/// Whether a message is handed back: it is not understood, or one of its objects is not done.
fn comes_again(message: &QueueMessage, not_done: &UnfinishedObjects) -> bool {
    match &message.objects {
        Ok(objects) => objects.iter().any(|object| not_done.contains_key(object)),
        Err(_) => true,
    }
}

fn tell_published(alert: &Alert, result: Result<(), PublishError>) {
    let (id, rule, level) = (&*alert.id.0, &*alert.rule.id, alert.rule.level.as_str());
    match result {
        Ok(()) => log(
            LogSeverity::Info,
            "alert published",
            json!({"alert_id": id, "rule_id": rule, "severity": level}),
        ),
        Err(why) => log(
            LogSeverity::Error,
            "alert not published, it stays in the outbox",
            json!({"alert_id": id, "rule_id": rule, "severity": level, "why": why.to_string()}),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> DeliveredObject {
        DeliveredObject::new("b", key.to_owned())
    }

    fn message(
        id: &str,
        objects: Result<Vec<DeliveredObject>, UnparseableMessage>,
    ) -> QueueMessage {
        QueueMessage {
            id: id.to_owned(),
            objects,
        }
    }

    #[test]
    fn a_message_comes_again_when_any_of_its_objects_is_not_done() {
        let not_done: UnfinishedObjects = [(object("bad"), "why".to_owned())].into();
        let again = |objects| comes_again(&message("m", objects), &not_done);
        assert!(again(Ok(vec![object("good"), object("bad")])));
        assert!(!again(Ok(vec![object("good")])));
        assert!(!again(Ok(Vec::new())), "a test event");
        assert!(again(Err(UnparseableMessage::NoBody)));
    }

    #[test]
    fn what_has_no_queue_fails_as_a_whole_and_names_an_object() {
        assert!(all_done(UnfinishedObjects::new()).is_ok());
        let not_done = [
            (object("b"), "no".to_owned()),
            (object("a"), "late".to_owned()),
        ];
        let error = all_done(not_done.into()).unwrap_err();
        let reported = "2 of the objects are not done, among them a: late";
        assert_eq!(error.to_string(), reported);
    }

    #[test]
    fn a_queue_is_told_only_what_to_send_again() {
        assert_eq!(
            handed_back(&BTreeSet::new()),
            json!({"batchItemFailures": []})
        );
        let ids = ["m2".to_owned(), "m1".to_owned()].into();
        let items = json!([{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]);
        assert_eq!(handed_back(&ids), json!({"batchItemFailures": items}));
    }

    #[test]
    fn what_there_was_no_time_for_is_not_noted() {
        let mut batch = BatchOfObjects::default();
        let mut metrics = FunctionMetrics::default();
        for (key, object_result) in [
            ("late", ObjectResult::HandedBack),
            (
                "bad",
                ObjectResult::Failed {
                    reason: "cut".to_owned(),
                },
            ),
        ] {
            let reading = ObjectReading {
                delivered: object(key),
                scan_result: ScanResult::default(),
                object_result,
            };
            batch.add(reading, &mut metrics);
        }
        let noted: Vec<_> = batch
            .entries
            .iter()
            .map(|entry| (&*entry.object.key, entry.state, &*entry.details))
            .collect();
        assert_eq!(noted, [("bad", ObjectState::Failed, "cut")]);
        assert_eq!(batch.not_done.len(), 2, "both go back");
    }
}
