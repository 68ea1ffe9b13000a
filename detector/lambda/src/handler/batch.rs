//! Processes the objects of a batch in parts that fit into memory. An object is done when all its
//! parts are stored, and the windows that they have touched were read.

use std::collections::BTreeSet;

use secretrail_aws::dynamodb::{ObjectEntry, ObjectState};
use secretrail_engine::{
    exposure::changes::SecretName,
    object::{self, ObjectKind},
    pipeline::{BatchOutcome, OpenWindows, Pipeline},
    scan::ScanResult,
    silence::{DeliveringPlace, DeliveryHours},
    state::StateError,
    time::EventTime,
};
use tokio::sync::mpsc::Receiver;

use super::{
    FunctionContext, UnfinishedObjects,
    digests::ReadDigest,
    doors::{Door, count_latency},
    object_reader::{ObjectReading, ObjectResult, ReadPart},
};
use crate::{notification::DeliveredObject, telemetry::FunctionMetrics};

/// What is known of the objects of a batch, also when it is cancelled.
#[derive(Debug, Default)]
pub(super) struct BatchProgress {
    /// Objects that need no more work.
    pub(super) done: BTreeSet<DeliveredObject>,
    /// Objects that were not processed, and why.
    pub(super) not_done: UnfinishedObjects,
    /// Those of them that a retry alone will not read.
    pub(super) lasting: BTreeSet<DeliveredObject>,
}

/// A batch of objects that is being processed.
pub(super) struct Batch<'a> {
    context: &'a FunctionContext,
    pipeline: Pipeline<'a>,
    open: OpenWindows,
    /// What is read and not stored.
    part: ScanResult,
    /// Objects that are read to their end, for the object ledger, after everything else.
    entries: Vec<ObjectEntry>,
    read: Vec<DeliveredObject>,
    deliveries: Vec<DeliveringPlace>,
    /// Digests, which are compared when the files of the batch are noted.
    digests: Vec<(ReadDigest, ObjectEntry, DeliveredObject)>,
    /// Secrets whose versions have changed.
    changed_secrets: BTreeSet<SecretName>,
    metrics: &'a mut FunctionMetrics,
    progress: &'a mut BatchProgress,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        context: &'a FunctionContext,
        pipeline: Pipeline<'a>,
        metrics: &'a mut FunctionMetrics,
        progress: &'a mut BatchProgress,
    ) -> Self {
        Self {
            context,
            pipeline,
            open: OpenWindows::default(),
            part: ScanResult::default(),
            entries: Vec::new(),
            read: Vec::new(),
            deliveries: Vec::new(),
            digests: Vec::new(),
            changed_secrets: BTreeSet::new(),
            metrics,
            progress,
        }
    }

    /// Processes what is read, until there is no more.
    pub(super) async fn process(
        mut self,
        mut incoming: Receiver<ReadPart>,
    ) -> Result<(), StateError> {
        let budget = self.context.config.memory;
        while let Some(part) = incoming.recv().await {
            match part {
                ReadPart::Part(part) => self.part.append(*part),
                ReadPart::End(reading) => self.end(*reading),
            }
            let matches = &self.part.matches;
            let found = self.part.observations.len() + matches.singles.len() + matches.facts.len();
            if found >= budget.observations {
                let now = self.now();
                let outcome = self.store_part(now).await?;
                // An object that is read to its end is done as soon as it can be.
                if !self.read.is_empty() || self.open.len() >= budget.open {
                    self.close(outcome, now).await?;
                } else {
                    self.finish(outcome, now).await;
                }
            }
        }
        let now = self.now();
        let outcome = self.store_part(now).await?;
        self.close(outcome, now).await
    }

    /// Takes an object that was read.
    fn end(&mut self, mut reading: ObjectReading) {
        reading.tell(self.now(), self.metrics);
        self.metrics.add("Observations", reading.observations);
        self.metrics
            .count(&std::mem::take(&mut reading.scan_result.report));
        self.part.append(std::mem::take(&mut reading.scan_result));
        if let Some(digest) = reading.digest.take() {
            let object = reading.delivered.clone();
            let entry = entry(reading).map(|entry| (digest, entry, object));
            return self.digests.extend(entry);
        }
        if reading.is_lasting() {
            self.progress.lasting.insert(reading.delivered.clone());
        }
        match reading.why_not_done() {
            Some(why) => {
                let why = why.to_owned();
                self.progress
                    .not_done
                    .insert(reading.delivered.clone(), why);
            }
            None => self.read.push(reading.delivered.clone()),
        }
        let entry = entry(reading);
        let delivered = entry.as_ref().and_then(|entry| delivery(entry, self.now()));
        self.deliveries.extend(delivered);
        self.entries.extend(entry);
    }

    /// Stores and judges what is read.
    async fn store_part(&mut self, now: EventTime) -> Result<BatchOutcome, StateError> {
        let part = std::mem::take(&mut self.part);
        let store = &self.context.store;
        self.pipeline
            .ingest_part(store, part, now, &mut self.open)
            .await
    }

    /// Publishes alerts, which were all created at `now`: their notes in the outbox are named by
    /// that time, and removed by it.
    async fn finish(&mut self, mut outcome: BatchOutcome, now: EventTime) {
        self.changed_secrets.append(&mut outcome.changed_secrets);
        count_latency(Door::Files, &outcome.alerts, now, self.metrics);
        self.context.finish(outcome, now, self.metrics).await;
    }

    /// Reads the windows that were touched, publishes their alerts together with others, and notes
    /// the objects that were read to their end.
    async fn close(&mut self, mut outcome: BatchOutcome, now: EventTime) -> Result<(), StateError> {
        let open = std::mem::take(&mut self.open);
        let store = &self.context.store;
        outcome.append(self.pipeline.close_windows(store, open, now).await?);
        self.finish(outcome, now).await;
        let secrets = std::mem::take(&mut self.changed_secrets);
        self.context
            .look_at_exposures(secrets, self.metrics)
            .await?;
        let deliveries = std::mem::take(&mut self.deliveries);
        store.note_deliveries(deliveries).await?;
        // The objects themselves last: an object that is recorded is not processed again.
        store.note_objects(&self.entries).await?;
        self.entries.clear();
        self.progress.done.extend(self.read.drain(..));
        self.compare_digests().await
    }

    /// Compares digests with the files that are noted, also with those of this batch.
    async fn compare_digests(&mut self) -> Result<(), StateError> {
        for (digest, entry, object) in std::mem::take(&mut self.digests) {
            self.context.compare_digest(&digest, self.metrics).await?;
            let store = &self.context.store;
            store.note_objects(std::slice::from_ref(&entry)).await?;
            self.progress.done.insert(object);
        }
        Ok(())
    }

    fn now(&self) -> EventTime {
        (self.context.clock)()
    }
}

/// The hour in which an object with events was delivered; `None` when its key names no account and
/// region, or it was not read.
fn delivery(entry: &ObjectEntry, now: EventTime) -> Option<DeliveringPlace> {
    let path = object::parse(&entry.object.key);
    let is_events = entry.state == ObjectState::Processed && path.kind == ObjectKind::Events;
    // A time that is ahead of the clock would make all others late.
    let delivered = path.delivered.filter(|_| is_events)?.min(now);
    Some(DeliveringPlace {
        account: path.account?.into(),
        region: path.region?.into(),
        hours: DeliveryHours::at(delivered),
    })
}

/// The entry of an object for the ledger; `None` when there is nothing to record.
fn entry(reading: ObjectReading) -> Option<ObjectEntry> {
    let (state, details) = match reading.object_result {
        ObjectResult::Done { state, details } => (state, details),
        ObjectResult::Failed { reason, .. } => (ObjectState::Failed, reason),
        // Not started.
        ObjectResult::Retried => return None,
    };
    Some(ObjectEntry {
        object: reading.delivered.key,
        state,
        details,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_was_no_time_for_is_not_noted() {
        let noted = |object_result| {
            let object = DeliveredObject::new("b", "k".to_owned());
            let entry = entry(ObjectReading::unread(object, object_result))?;
            Some((entry.object.key, entry.state, entry.details))
        };
        assert_eq!(noted(ObjectResult::Retried), None);
        let reason = "cut".to_owned();
        let failed = Some(("k".to_owned(), ObjectState::Failed, reason.clone()));
        let lasting = true;
        assert_eq!(noted(ObjectResult::Failed { reason, lasting }), failed);
    }

    #[test]
    fn only_files_with_events_show_that_a_place_delivers() {
        let now = EventTime(4_000_000_000);
        let place = |kind: &str, state| {
            let key = format!(
                "AWSLogs/111122223333/{kind}/eu-west-1/2026/03/02/\
                 111122223333_{kind}_eu-west-1_20260302T1000Z_abcdefghijklmnop.json.gz"
            );
            let object = DeliveredObject::new("b", key).key;
            let details = String::new();
            let entry = ObjectEntry {
                object,
                state,
                details,
            };
            let place = delivery(&entry, now)?;
            Some(format!("{} {}", place.account, place.region))
        };
        let expected = Some("111122223333 eu-west-1".to_owned());
        assert_eq!(place("CloudTrail", ObjectState::Processed), expected);
        assert_eq!(place("CloudTrail", ObjectState::Failed), None);
        assert_eq!(place("CloudTrail-Digest", ObjectState::Processed), None);
    }
}
