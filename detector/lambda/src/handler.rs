//! An invocation, from its event to its answer. The order of work is in `detector/README.md`: objects are read, state is
//! written, alerts are created, published and taken out of the outbox, and only then are messages acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt};
use secretrail_aws::dynamodb::{Clock, DynamoStore, ObjectEntry, ObjectState};
use secretrail_aws::retry::Retry;
use secretrail_aws::s3::{ObjectRef, S3Source};
use secretrail_aws::sns::SnsSink;
use secretrail_engine::alert::Alert;
use secretrail_engine::object;
use secretrail_engine::object::origin;
use secretrail_engine::pipeline::{Outcome, Pipeline};
use secretrail_engine::report::{self, Report, SkippedObject};
use secretrail_engine::scan::{Harvest, Input, Scanner};
use secretrail_engine::selection::Selection;
use secretrail_engine::state::StateStore;
use serde_json::{Value, json};

use crate::config::Config;
use crate::notification::{self, Delivered, Invocation, Message};
use crate::rules::{Active, RuleSource};
use crate::telemetry::{Metrics, Severity, log, skipped};

/// Before the end of an invocation: nothing new is begun.
const RESERVE: Duration = Duration::from_secs(5);

/// Before the end of an invocation: what is under way is given up and handed back.
const LAST_MOMENT: Duration = Duration::from_millis(1_500);

/// Loose ends that a sweep settles at a time, and alerts that it publishes at a time.
const AT_A_TIME: usize = 2_000;
const ALERTS_AT_A_TIME: usize = 100;

/// What outlives an invocation.
pub struct Context {
    config: Config,
    s3: S3Source,
    store: DynamoStore,
    sink: SnsSink,
    rules: RuleSource,
    clock: Clock,
    function: String,
}

/// What became of an object in this invocation.
enum Fate {
    /// It needs no work, or its work is done when the batch is.
    Done { state: ObjectState, details: String },
    /// It could not be read, or not to its end: its messages go back.
    Poison { reason: String },
    /// There was no time for it: its messages go back.
    HandedBack,
}

/// An object that was read.
struct Reading {
    delivered: Delivered,
    harvest: Harvest,
    fate: Fate,
}

impl Context {
    /// Clients for these settings. Nothing is called yet.
    #[must_use]
    pub fn new(
        config: Config,
        aws: &SdkConfig,
        retry: Retry,
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
    /// The event cannot be handed back in part, and something in it was not done: the caller tries all of it again.
    pub async fn handle(&self, event: &Value, until: Instant) -> Result<Value, String> {
        let started = Instant::now();
        let calls = self.store.calls();
        let mut metrics = Metrics::default();
        let answer = Box::pin(self.answer(event, until, &mut metrics)).await;
        if let Err(why) = &answer {
            log(Severity::Error, "invocation failed", json!({"why": why}));
        }
        metrics.add("StateCalls", self.store.calls() - calls);
        metrics.record("Duration", started.elapsed().as_secs_f64() * 1_000.0);
        metrics.print(&self.function, (self.clock)().0.saturating_mul(1_000));
        answer
    }

    async fn answer(
        &self,
        event: &Value,
        until: Instant,
        metrics: &mut Metrics,
    ) -> Result<Value, String> {
        let invocation =
            notification::read(event).inspect_err(|_| metrics.add("MessagesNotUnderstood", 1))?;
        let (active, refused) = self.rules.current(&self.store, (self.clock)()).await?;
        self.store
            .keep_facts_for(self.config.facts_secs(&active.rules));
        metrics.add("RulesRejected", u64::from(refused));
        match invocation {
            Invocation::Queue(messages) => {
                let back = self.queue(messages, &active, until, metrics).await;
                let items: Vec<Value> = back
                    .iter()
                    .map(|id| json!({"itemIdentifier": id}))
                    .collect();
                metrics.add("MessagesHandedBack", back.len() as u64);
                Ok(json!({"batchItemFailures": items}))
            }
            Invocation::Direct(objects) => {
                let failed = self.objects(objects, &active, until, metrics).await;
                match failed.iter().next() {
                    None => Ok(Value::Null),
                    Some((object, why)) => Err(format!(
                        "{} of the objects are not done, among them {}: {why}",
                        failed.len(),
                        object.key.key
                    )),
                }
            }
            Invocation::Sweep => self
                .sweep(&active, until, metrics)
                .await
                .map(|()| Value::Null),
        }
    }

    /// Handles messages together and gives the ids of those that are to come again.
    async fn queue(
        &self,
        messages: Vec<Message>,
        active: &Arc<Active>,
        until: Instant,
        metrics: &mut Metrics,
    ) -> BTreeSet<String> {
        let mut back = BTreeSet::new();
        let mut wanted = Vec::new();
        for message in &messages {
            match &message.objects {
                Ok(objects) => wanted.extend(objects.iter().cloned()),
                Err(why) => {
                    log(
                        Severity::Error,
                        "message not understood",
                        json!({"message_id": message.id, "why": why}),
                    );
                    metrics.add("MessagesNotUnderstood", 1);
                    back.insert(message.id.clone());
                }
            }
        }
        let failed = self.objects(wanted, active, until, metrics).await;
        for message in messages {
            if message
                .objects
                .iter()
                .flatten()
                .any(|object| failed.contains_key(object))
            {
                back.insert(message.id);
            }
        }
        back
    }

    /// Takes objects through the whole path and gives those that are not done, with the reason.
    async fn objects(
        &self,
        mut objects: Vec<Delivered>,
        active: &Arc<Active>,
        until: Instant,
        metrics: &mut Metrics,
    ) -> BTreeMap<Delivered, String> {
        objects.sort();
        objects.dedup();
        let all = objects.clone();
        let work = Box::pin(self.work(objects, active, until, metrics));
        match tokio::time::timeout_at(
            (until - LAST_MOMENT.min(until - Instant::now())).into(),
            work,
        )
        .await
        {
            Ok(Ok(failed)) => failed,
            Ok(Err(why)) => {
                log(
                    Severity::Error,
                    "batch not done",
                    json!({"objects": all.len(), "why": why}),
                );
                all.into_iter()
                    .map(|object| (object, why.clone()))
                    .collect()
            }
            Err(_) => {
                let why = "the time of the invocation is over";
                log(
                    Severity::Error,
                    "batch not done",
                    json!({"objects": all.len(), "why": why}),
                );
                all.into_iter()
                    .map(|object| (object, why.to_owned()))
                    .collect()
            }
        }
    }

    async fn work(
        &self,
        objects: Vec<Delivered>,
        active: &Arc<Active>,
        until: Instant,
        metrics: &mut Metrics,
    ) -> Result<BTreeMap<Delivered, String>, String> {
        let mut failed = BTreeMap::new();
        let keys: Vec<_> = objects.iter().map(|object| &object.key).collect();
        let done = self
            .store
            .are_done(&keys)
            .await
            .map_err(|error| error.to_string())?;
        metrics.add(
            "ObjectsKnown",
            done.iter().filter(|done| **done).count() as u64,
        );
        let wanted: Vec<Delivered> = objects
            .into_iter()
            .zip(done)
            .filter(|(_, done)| !done)
            .map(|(object, _)| object)
            .collect();
        let readings: Vec<Reading> = stream::iter(wanted)
            .map(|object| self.read(object, active, until))
            .buffer_unordered(self.config.parallel)
            .collect()
            .await;
        let mut harvest = Harvest::default();
        let mut notes = Vec::new();
        for mut reading in readings {
            let why = match &reading.fate {
                Fate::Done { state, details } => {
                    notes.push(ObjectEntry {
                        object: reading.delivered.key.clone(),
                        state: *state,
                        details: details.clone(),
                    });
                    None
                }
                Fate::Poison { reason } => {
                    notes.push(ObjectEntry {
                        object: reading.delivered.key.clone(),
                        state: ObjectState::Failed,
                        details: reason.clone(),
                    });
                    Some(reason.clone())
                }
                Fate::HandedBack => Some("there was no time for it".to_owned()),
            };
            if let Some(why) = why {
                failed.insert(reading.delivered.clone(), why);
            }
            self.tell(&reading, metrics);
            metrics.count(&std::mem::take(&mut reading.harvest.report));
            harvest.append(reading.harvest);
        }
        metrics.add("Observations", harvest.observations.len() as u64);
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        let now = (self.clock)();
        let outcome = pipeline
            .ingest(&self.store, harvest, now)
            .await
            .map_err(|error| error.to_string())?;
        self.finish(outcome, metrics).await;
        // The objects themselves last: whoever finds them noted need not look at them again.
        self.store
            .note_objects(&notes)
            .await
            .map_err(|error| error.to_string())?;
        Ok(failed)
    }

    fn pipeline<'a>(&self, active: &'a Active, selection: &'a Selection) -> Pipeline<'a> {
        Pipeline {
            horizon_secs: self.config.horizon_secs,
            memory: self.config.memory,
            ..Pipeline::new(&active.rules, active.policy.as_ref(), selection)
        }
    }

    async fn read(&self, delivered: Delivered, active: &Arc<Active>, until: Instant) -> Reading {
        let mut harvest = Harvest::default();
        let key = &delivered.key.key;
        let skip = match SkippedObject::by_name(&object::parse(key), key) {
            None if delivered.size == Some(0) => Some(SkippedObject::Empty),
            reason => reason,
        };
        if let Some(reason) = skip {
            harvest.report.skip_object(reason);
            let fate = Fate::Done {
                state: ObjectState::Skipped,
                details: reason.as_str().to_owned(),
            };
            return Reading {
                delivered,
                harvest,
                fate,
            };
        }
        if until.saturating_duration_since(Instant::now()) < RESERVE {
            return Reading {
                delivered,
                harvest,
                fate: Fate::HandedBack,
            };
        }
        let place = ObjectRef {
            bucket: &delivered.key.bucket,
            key,
            version_id: delivered.version_id.as_deref(),
            etag: delivered.etag.as_deref(),
            size: delivered.size,
        };
        let bytes = match self.s3.fetch(place).await {
            Ok(bytes) => bytes,
            Err(error) => {
                harvest.report.objects_failed += 1;
                return Reading {
                    delivered,
                    harvest,
                    fate: Fate::Poison {
                        reason: error.to_string(),
                    },
                };
            }
        };
        let (active, name) = (active.clone(), key.clone());
        let scanned = tokio::task::spawn_blocking(move || scan(&bytes, &name, &active)).await;
        let (harvest, fate) = scanned.unwrap_or_else(|error| {
            (
                Harvest::default(),
                Fate::Poison {
                    reason: format!("it broke the reader: {error}"),
                },
            )
        });
        Reading {
            delivered,
            harvest,
            fate,
        }
    }

    /// One line for each object.
    fn tell(&self, reading: &Reading, metrics: &mut Metrics) {
        let Reading {
            delivered,
            harvest,
            fate,
        } = reading;
        let lag = object::parse(&delivered.key.key)
            .delivered
            .map(|at| (self.clock)().0.saturating_sub(at.0));
        if let Some(lag) = lag.and_then(|lag| i32::try_from(lag).ok()) {
            metrics.record("DeliveryLag", lag.into());
        }
        let (severity, state, why) = match fate {
            Fate::Done { state, .. } => (Severity::Info, state.as_str(), None),
            Fate::Poison { reason } => (Severity::Error, "failed", Some(reason.as_str())),
            Fate::HandedBack => (
                Severity::Warn,
                "handed back",
                Some("there was no time for it"),
            ),
        };
        let Report { records, bytes, .. } = harvest.report;
        log(
            severity,
            "object",
            json!({"bucket": delivered.key.bucket, "key": delivered.key.key, "version": delivered.key.version,
                "state": state, "why": why, "records": records, "bytes": bytes, "lag_secs": lag,
                "observations": harvest.observations.len(), "skipped": skipped(&harvest.report)}),
        );
    }

    /// Counts what came of a batch and publishes its alerts. What cannot be published stays in the outbox.
    async fn finish(&self, outcome: Outcome, metrics: &mut Metrics) {
        metrics.count(&outcome.report);
        self.publish(&outcome.alerts, metrics).await;
    }

    /// Publishes alerts and takes them out of the outbox; gives how many went through.
    async fn publish(&self, alerts: &[Alert], metrics: &mut Metrics) -> usize {
        if alerts.is_empty() {
            return 0;
        }
        let results = self.sink.publish(alerts).await;
        let mut published = Vec::new();
        for (alert, result) in alerts.iter().zip(results) {
            let (id, level) = (&*alert.id.0, alert.rule.level.as_str());
            match result {
                Ok(()) => {
                    let told = json!({"alert_id": id, "rule_id": alert.rule.id, "severity": level});
                    log(Severity::Info, "alert published", told);
                    published.push(alert.id.clone());
                }
                Err(why) => {
                    let why = why.to_string();
                    let told = json!({"alert_id": id, "rule_id": alert.rule.id, "severity": level, "why": why});
                    log(
                        Severity::Error,
                        "alert not published, it stays in the outbox",
                        told,
                    );
                    metrics.add("PublishFailures", 1);
                }
            }
        }
        metrics.add("AlertsPublished", published.len() as u64);
        if let Err(error) = self.store.mark_published(&published).await {
            log(
                Severity::Error,
                "alerts published but still in the outbox",
                json!({"why": error.to_string()}),
            );
        }
        published.len()
    }

    /// Settles what has waited long enough, and publishes what nobody else has, for as long as there is time.
    async fn sweep(
        &self,
        active: &Active,
        until: Instant,
        metrics: &mut Metrics,
    ) -> Result<(), String> {
        let selection = Selection::default();
        let pipeline = self.pipeline(active, &selection);
        let is_time = || until.saturating_duration_since(Instant::now()) >= RESERVE;
        let fault = |error: secretrail_engine::state::StateError| error.to_string();
        while is_time() {
            let (outcome, some) = pipeline
                .sweep(&self.store, (self.clock)(), AT_A_TIME)
                .await
                .map_err(fault)?;
            self.finish(outcome, metrics).await;
            if !some {
                break;
            }
        }
        while is_time() {
            let before = (self.clock)().plus(-self.config.lease_secs);
            let waiting = self
                .store
                .unpublished(before, ALERTS_AT_A_TIME)
                .await
                .map_err(fault)?;
            if waiting.is_empty() || self.publish(&waiting, metrics).await == 0 {
                break;
            }
        }
        if let Some(last) = self.store.last_object().await.map_err(fault)? {
            let minutes = (self.clock)().0.saturating_sub(last.0).max(0) / 60;
            metrics.record(
                "MinutesSinceLastObject",
                i32::try_from(minutes).unwrap_or(i32::MAX).into(),
            );
        }
        Ok(())
    }
}

/// Reads the records of an object.
fn scan(bytes: &[u8], name: &str, active: &Active) -> (Harvest, Fate) {
    let selection = Selection::default();
    let mut harvest = Harvest::default();
    let mut scanner = Scanner::new(&active.rules, &selection);
    let in_tree = object::parse(name).account.is_some();
    let read = scanner.read(Input::Bytes(bytes), &origin(name), in_tree, &mut harvest);
    let report = &mut harvest.report;
    let fate = match report.settle(read.map_err(|error| error.to_string()), in_tree, false) {
        report::Fate::Failed(reason) => Fate::Poison { reason },
        report::Fate::Read => {
            let skipped: u64 = report.records_skipped.values().sum();
            let details = format!("{} records, {skipped} skipped", report.records);
            Fate::Done {
                state: ObjectState::Processed,
                details,
            }
        }
        report::Fate::PassedOver(reason) => Fate::Done {
            state: ObjectState::Skipped,
            details: reason.as_str().to_owned(),
        },
    };
    (harvest, fate)
}
