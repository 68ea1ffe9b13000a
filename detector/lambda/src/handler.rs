//! Handles an invocation. The order of work is in `detector/README.md`: objects are read, state is
//! written, alerts are created, published and removed from the outbox, and only then are messages
//! acknowledged.

mod batch;
mod deadline;
mod delivery;
mod digests;
mod doors;
mod object_reader;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize},
    },
    time::Instant,
};

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt};
use secretrail_aws::{
    dynamodb::{Clock, DynamoStore},
    retry::RetryPolicy,
    s3::S3Source,
    sink::AlertSink,
};
use secretrail_engine::{
    exposure::changes::SecretName,
    pipeline::{BatchOutcome, Pipeline},
    selection::Selection,
    state::StateError,
    time::EventTime,
};
use serde_json::{Value, json};
use tokio::sync::{
    Semaphore,
    mpsc::{self, Sender},
};

use self::{
    batch::{Batch, BatchProgress},
    deadline::last_moment,
    delivery::Delivery,
    object_reader::{ObjectReader, ReadPart},
};
use crate::{
    config::FunctionConfig,
    notification::{self, DeliveredObject, FunctionInvocation, QueueMessage, UnparseableMessage},
    rules::{ActiveRules, RuleSource, RulesError},
    telemetry::{FunctionMetrics, LogSeverity, log},
};

/// Why an invocation without partial batch responses must be retried.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The event cannot be parsed.
    #[error(transparent)]
    NotUnderstood(#[from] UnparseableMessage),
    /// There are no usable rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The table could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A sweep was cancelled at the end of the invocation.
    #[error("the invocation ran out of time; the next sweep goes on")]
    OutOfTime,
    /// Log events were not processed.
    #[error("the log events of the invocation were not processed: {0}")]
    Logs(String),
    /// Some objects were not processed.
    #[error("{count} of the objects were not processed, among them {key}: {why}")]
    Objects {
        /// Number of these objects.
        count: usize,
        /// The key of one of them.
        key: String,
        /// Why that one was not processed.
        why: String,
    },
}

/// Objects that were not processed, and why.
type UnfinishedObjects = BTreeMap<DeliveredObject, String>;

/// What all invocations of a process share.
pub struct FunctionContext {
    config: FunctionConfig,
    s3: S3Source,
    store: DynamoStore,
    sink: AlertSink,
    rules: RuleSource,
    clock: Clock,
    function: String,
    /// When places whose logs stay away were last looked for, in seconds since 1970.
    silences_at: AtomicI64,
    /// Into how many parts the sweep divides its budget; more than one after it ran out of time.
    rounds: AtomicUsize,
}

impl FunctionContext {
    /// Makes the AWS clients for these settings; calls nothing yet.
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
            config.outbox(),
        );
        let sink = AlertSink::new(aws, retry, config.call_timeout);
        let rules = RuleSource::new(&config, s3.clone());
        Self {
            config,
            s3,
            store,
            sink,
            rules,
            clock,
            function,
            silences_at: AtomicI64::new(0),
            rounds: AtomicUsize::new(1),
        }
    }

    /// Handles an event. `until` is when the invocation ends, whether it is finished or not.
    ///
    /// # Errors
    ///
    /// Something was not processed, and the event has no partial batch response: the caller retries
    /// all of it.
    pub async fn handle(&self, event: &Value, until: Instant) -> Result<Value, HandleError> {
        let started = Instant::now();
        let calls = self.store.calls();
        let mut metrics = FunctionMetrics::default();
        let answer = Box::pin(self.answer(event, until, &mut metrics)).await;
        if let Err(why) = &answer {
            let why = why.to_string();
            log(LogSeverity::Error, "invocation failed", json!({"why": why}));
        }
        for error in self.store.take_set_aside() {
            tell_set_aside(&error, 1, &mut metrics);
        }
        // After a failure as well: that is when metrics matter.
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
        // Boxed, because rustc lays out futures only to a certain depth.
        match invocation {
            FunctionInvocation::Queue(messages) => {
                let back = Box::pin(self.queue(messages, &active, until, metrics)).await;
                metrics.add("MessagesRetried", back.len() as u64);
                Ok(returned_for_retry(&back))
            }
            FunctionInvocation::Direct(objects) => {
                let not_done = Box::pin(self.objects(objects, &active, until, metrics)).await;
                all_done(not_done).map(|()| Value::Null)
            }
            FunctionInvocation::Sweep => {
                // May be cancelled at any point: the next sweep completes whatever was partly done.
                let sweep = Box::pin(self.sweep(&active, until, metrics));
                let swept = tokio::time::timeout_at(last_moment(until).into(), sweep).await;
                swept.map_err(|_| HandleError::OutOfTime)??;
                Ok(Value::Null)
            }
            records => Box::pin(self.through(records, &active, until, metrics)).await,
        }
    }

    /// The active rules.
    async fn active(&self, metrics: &mut FunctionMetrics) -> Result<Arc<ActiveRules>, RulesError> {
        let (active, refused) = self.rules.current(&self.store, (self.clock)()).await?;
        // Before any fact is written: rules that were just loaded may look further back than those
        // before.
        self.store
            .keep_facts_for(self.config.facts_kept(&active.rules));
        metrics.add("RulesRejected", u64::from(refused));
        Ok(active)
    }

    /// Handles messages together and returns the ids of those to retry.
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
                log(
                    LogSeverity::Error,
                    "unparseable message returned for retry",
                    reported,
                );
                metrics.add("MessagesUnparseable", 1);
            }
        }
        let objects = messages.iter().flat_map(|message| &message.objects);
        let objects: Vec<_> = objects.flatten().cloned().collect();
        // Together, not one by one: what they have in common is written to the table once.
        let not_done = self.objects(objects, active, until, metrics).await;
        let direct_done = self.direct_of(&messages, active, until, metrics).await;
        let messages = messages.into_iter();
        messages
            .filter(|message| {
                is_retried(message, &not_done) || (!direct_done && message.direct.is_some())
            })
            .map(|message| message.id)
            .collect()
    }

    /// Processes objects and returns those that were not processed, with the reason.
    async fn objects(
        &self,
        objects: Vec<DeliveredObject>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> UnfinishedObjects {
        let mut progress = BatchProgress::default();
        self.process(objects, active, until, metrics, &mut progress)
            .await
    }

    /// The same, and adds to the progress what is known of each.
    async fn process(
        &self,
        mut objects: Vec<DeliveredObject>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
        progress: &mut BatchProgress,
    ) -> UnfinishedObjects {
        if objects.is_empty() {
            return UnfinishedObjects::new();
        }
        // Two messages of one batch may name the same object.
        objects.sort();
        objects.dedup();
        let all = objects.clone();
        let work = Box::pin(self.work(objects, active, until, metrics, progress));
        // May be cancelled at any point: a retry completes whatever was partly done.
        let why = match tokio::time::timeout_at(last_moment(until).into(), work).await {
            Ok(Ok(())) => return std::mem::take(&mut progress.not_done),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the invocation ran out of time".to_owned(),
        };
        let reported = json!({"objects": all.len(), "done": progress.done.len(), "why": why});
        log(LogSeverity::Error, "batch failed", reported);
        all.into_iter()
            .filter(|object| !progress.done.contains(object))
            .map(|object| (object, why.clone()))
            .collect()
    }

    async fn work(
        &self,
        objects: Vec<DeliveredObject>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
        progress: &mut BatchProgress,
    ) -> Result<(), StateError> {
        let wanted = self.not_done_yet(objects, metrics, progress).await?;
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        let (parts, incoming) = mpsc::channel(1);
        let reading = self.read_all(wanted, active, until, parts);
        let processing = Batch::new(self, pipeline, metrics, progress).process(incoming);
        tokio::try_join!(reading, processing).map(drop)
    }

    /// Reads objects, and passes on what they hold.
    async fn read_all(
        &self,
        objects: Vec<DeliveredObject>,
        active: &Arc<ActiveRules>,
        until: Instant,
        parts: Sender<ReadPart>,
    ) -> Result<(), StateError> {
        let room_kib = self.config.memory.objects_kib;
        let room = Semaphore::new(room_kib as usize);
        let reader = ObjectReader {
            s3: &self.s3,
            active,
            digests: self.config.checks_digests,
            until,
            room: &room,
            room_kib,
            parts: &parts,
        };
        stream::iter(objects)
            // In any order: the result does not depend on it.
            .for_each_concurrent(self.config.parallel, |object| reader.read(object))
            .await;
        Ok(())
    }

    /// The objects that the ledger does not have as done: S3 and SQS deliver at least once.
    async fn not_done_yet(
        &self,
        objects: Vec<DeliveredObject>,
        metrics: &mut FunctionMetrics,
        progress: &mut BatchProgress,
    ) -> Result<Vec<DeliveredObject>, StateError> {
        let keys: Vec<_> = objects.iter().map(|object| &object.key).collect();
        let done = self.store.are_done(&keys).await?;
        let (done, wanted): (Vec<_>, Vec<_>) =
            objects.into_iter().zip(done).partition(|(_, done)| *done);
        metrics.add("ObjectsDuplicate", done.len() as u64);
        progress
            .done
            .extend(done.into_iter().map(|(object, _)| object));
        Ok(wanted.into_iter().map(|(object, _)| object).collect())
    }

    fn pipeline<'a>(&self, active: &'a ActiveRules, selection: &'a Selection) -> Pipeline<'a> {
        Pipeline {
            allowed_lateness_secs: self.config.allowed_lateness_secs,
            lookback: self.config.lookback,
            checks_direct: self.config.checks_direct,
            waits_for_digests: self.config.checks_digests,
            facts_at_once: self.config.memory.facts,
            ..Pipeline::new(&active.rules, active.policy.as_ref(), selection)
        }
    }

    /// Counts the results of a batch that was evaluated at `now`, and publishes its alerts. Alerts
    /// that cannot be published stay in the outbox.
    async fn finish(&self, outcome: BatchOutcome, now: EventTime, metrics: &mut FunctionMetrics) {
        metrics.count(&outcome.report);
        let mut alerts = outcome.alerts;
        alerts.extend(outcome.withdrawn);
        self.delivery().publish_created(alerts, now, metrics).await;
    }

    /// Looks again at the incidents that revealed secrets whose versions have changed. Before what
    /// changed them is acknowledged: no sweep looks for it.
    async fn look_at_exposures(
        &self,
        secrets: BTreeSet<SecretName>,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        if secrets.is_empty() {
            return Ok(());
        }
        let secrets: Vec<SecretName> = secrets.into_iter().collect();
        self.delivery().publish_exposed(&secrets, metrics).await
    }

    fn delivery(&self) -> Delivery<'_> {
        Delivery {
            store: &self.store,
            sink: &self.sink,
            topics: &self.config.destinations,
            clock: &self.clock,
            lease_secs: self.config.lease_secs,
            lookback_secs: self.config.lookback.lookback_secs,
        }
    }
}

/// An item that cannot be read is read again later; an operator should know.
fn tell_set_aside(error: &StateError, count: u64, metrics: &mut FunctionMetrics) {
    metrics.add("ItemsSetAside", count);
    log(
        LogSeverity::Error,
        "stored item cannot be read, and is set aside",
        json!({"why": error.to_string(), "items": count}),
    );
}

/// A number of seconds as the value of a metric.
fn seconds(secs: i64) -> f64 {
    i32::try_from(secs).unwrap_or(i32::MAX).into()
}

/// The partial batch response: SQS deletes the messages that it does not list.
fn returned_for_retry(ids: &BTreeSet<String>) -> Value {
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

/// Whether a message is returned for retry: it is unparseable, or one of its objects was not
/// processed.
fn is_retried(message: &QueueMessage, not_done: &UnfinishedObjects) -> bool {
    match &message.objects {
        Ok(objects) => objects.iter().any(|object| not_done.contains_key(object)),
        Err(_) => true,
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
            direct: None,
        }
    }

    #[test]
    fn a_message_is_retried_when_any_of_its_objects_is_not_done() {
        let not_done: UnfinishedObjects = [(object("bad"), "why".to_owned())].into();
        let again = |objects| is_retried(&message("m", objects), &not_done);
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
        let reported = "2 of the objects were not processed, among them a: late";
        assert_eq!(error.to_string(), reported);
    }

    #[test]
    fn a_queue_gets_only_the_messages_to_retry() {
        assert_eq!(
            returned_for_retry(&BTreeSet::new()),
            json!({"batchItemFailures": []})
        );
        let ids = ["m2".to_owned(), "m1".to_owned()].into();
        let items = json!([{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]);
        assert_eq!(
            returned_for_retry(&ids),
            json!({"batchItemFailures": items})
        );
    }
}
