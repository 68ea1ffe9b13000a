//! Reads one object: from its notification to its observations, or to the reason why there are
//! none.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use secretrail_aws::{
    dynamodb::ObjectState,
    s3::{ObjectRef, S3Source},
};
use secretrail_engine::{
    object::{self, ObjectKind, origin},
    parquet_rows,
    report::{self, ReadReport, SkippedObject},
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    time::EventTime,
};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc::Sender};

use crate::{
    handler::{deadline::has_time, digests::ReadDigest},
    notification::DeliveredObject,
    rules::ActiveRules,
    telemetry::{FunctionMetrics, LogSeverity, log, skipped},
};

/// Reason why an object was not started.
pub(super) const NO_TIME: &str = "not started: too little time left in the invocation";

/// Result of an object in this invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ObjectResult {
    /// It was skipped, or read: done when the batch is.
    Done { state: ObjectState, details: String },
    /// It could not be read, or not to its end: its messages are returned for retry. `lasting` when
    /// the reason lies in the object, so that a retry alone does not help.
    Failed { reason: String, lasting: bool },
    /// It was not started for lack of time: its messages are returned for retry.
    Retried,
}

/// An object with its result, and those of its observations that were not passed on before.
pub(super) struct ObjectReading {
    pub(super) delivered: DeliveredObject,
    pub(super) scan_result: ScanResult,
    pub(super) object_result: ObjectResult,
    /// Number of its observations.
    pub(super) observations: u64,
    /// The digest that it is.
    pub(super) digest: Option<ReadDigest>,
}

/// What reading objects gives, in order for each object.
pub(super) enum ReadPart {
    /// Some observations and matches of an object that is not read to its end yet.
    Part(Box<ScanResult>),
    /// An object that is read.
    End(Box<ObjectReading>),
}

/// What all readings of a batch share.
pub(super) struct ObjectReader<'a> {
    pub(super) s3: &'a S3Source,
    pub(super) active: &'a Arc<ActiveRules>,
    /// Whether digests are read, for the completeness check.
    pub(super) digests: bool,
    /// When the invocation ends.
    pub(super) until: Instant,
    /// Memory for the bytes of objects, in KiB.
    pub(super) room: &'a Semaphore,
    pub(super) room_kib: u32,
    /// Takes what is read. It holds back readers that are faster than the table.
    pub(super) parts: &'a Sender<ReadPart>,
}

impl ObjectReader<'_> {
    /// Reads an object and passes on what it holds. An unreadable object does not fail the batch:
    /// the others are processed, and its message is retried.
    pub(super) async fn read(&self, delivered: DeliveredObject) {
        let reading = self.reading(delivered).await;
        // Nobody takes it when the batch has failed: then all of its messages are retried.
        self.parts.send(ReadPart::End(Box::new(reading))).await.ok();
    }

    async fn reading(&self, delivered: DeliveredObject) -> ObjectReading {
        let is_digest = self.digests && is_digest(&delivered);
        if let Some(reason) = to_be_skipped(&delivered).filter(|_| !is_digest) {
            let mut reading = ObjectReading::unread(delivered, skip_result(reason));
            reading.scan_result.report.skip_object(reason);
            return reading;
        }
        let known = delivered.size.map(|size| size.div_ceil(1_024));
        let known = known.map(|kib| u32::try_from(kib).unwrap_or(u32::MAX));
        // Notifications of a trail have no sizes. Its files are far smaller than a quarter.
        let kib = known.map_or(self.room_kib / 4, |kib| kib.min(self.room_kib));
        // Held until its bytes are dropped. The semaphore is never closed.
        let _room = self.room.acquire_many(kib).await;
        // Started now, it would be cancelled at the end of the invocation: its message is retried
        // in any case.
        if !has_time(self.until) {
            return ObjectReading::unread(delivered, ObjectResult::Retried);
        }
        match self.s3.fetch(place(&delivered)).await {
            Ok(bytes) if is_digest => digest(&bytes, delivered),
            Ok(bytes) => self.scan_aside(bytes, delivered).await,
            Err(error) => ObjectReading::failed(delivered, error.to_string(), error.is_of_object()),
        }
    }

    /// Scans on a blocking thread: it is CPU-bound, and other downloads go on meanwhile.
    async fn scan_aside(&self, bytes: Vec<u8>, delivered: DeliveredObject) -> ObjectReading {
        let (active, parts) = (self.active.clone(), self.parts.clone());
        let name = delivered.key.key.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            let mut observations = 0;
            let (scan_result, object_result) = scan(bytes, &name, &active, &mut |part| {
                observations += part.observations.len() as u64;
                // As above.
                parts.blocking_send(ReadPart::Part(Box::new(part))).ok();
            });
            (scan_result, object_result, observations)
        });
        // A panic fails this object alone.
        let (scan_result, object_result, passed_on) = scanned.await.unwrap_or_else(|error| {
            let reason = format!("internal error (a bug in Secretrail) while reading: {error}");
            let failed = ObjectResult::Failed {
                reason,
                lasting: true,
            };
            (ScanResult::default(), failed, 0)
        });
        ObjectReading {
            delivered,
            observations: passed_on + scan_result.observations.len() as u64,
            scan_result,
            object_result,
            digest: None,
        }
    }
}

fn is_digest(delivered: &DeliveredObject) -> bool {
    object::parse(&delivered.key.key).kind == ObjectKind::Digest
}

/// Reads a digest. It holds no events, and does not show that the trail is alive.
fn digest(bytes: &[u8], delivered: DeliveredObject) -> ObjectReading {
    match ReadDigest::of(&delivered, bytes) {
        Ok(digest) => {
            let done = ObjectResult::Done {
                state: ObjectState::Skipped,
                details: format!("digest of {} log files", digest.len()),
            };
            ObjectReading {
                digest: Some(digest),
                ..ObjectReading::unread(delivered, done)
            }
        }
        Err(error) => ObjectReading::failed(delivered, error.to_string(), true),
    }
}

fn place(delivered: &DeliveredObject) -> ObjectRef<'_> {
    ObjectRef {
        bucket: &delivered.key.bucket,
        key: &delivered.key.key,
        version_id: delivered.version_id.as_deref(),
        etag: delivered.etag.as_deref(),
        size: delivered.size,
    }
}

/// Why an object is skipped, by its key and size alone.
fn to_be_skipped(delivered: &DeliveredObject) -> Option<SkippedObject> {
    let key = &delivered.key.key;
    // By name first, so that an empty digest or Config file is counted as what it is.
    SkippedObject::by_name(&object::parse(key), key)
        .or_else(|| (delivered.size == Some(0)).then_some(SkippedObject::Empty))
}

fn skip_result(reason: SkippedObject) -> ObjectResult {
    ObjectResult::Done {
        state: ObjectState::Skipped,
        details: reason.as_str().to_owned(),
    }
}

/// Reads the records of an object. Of one with many observations, parts are passed on; the rest is
/// returned with the counts of all.
fn scan(
    bytes: Vec<u8>,
    name: &str,
    active: &ActiveRules,
    pass_on: &mut dyn FnMut(ScanResult),
) -> (ScanResult, ObjectResult) {
    let selection = Selection::default();
    let mut scan_result = ScanResult::default();
    let mut scanner = ObjectScanner::new(&active.rules, &selection);
    // In a tree of CloudTrail's own an object without records is damaged; elsewhere it may be
    // anything.
    let in_tree = object::parse(name).account.is_some();
    let mut read = |input: ScanInput<'_>| {
        let read = scanner.read_in_parts(
            input,
            &origin(name),
            in_tree,
            &mut scan_result,
            &mut |scan_result| {
                if scan_result.is_part() {
                    pass_on(scan_result.take_part());
                }
            },
        );
        read.map_err(|error| error.to_string())
    };
    // The content is the same as that of a log, row by row.
    let read = if parquet_rows::is_parquet(&bytes) {
        parquet_rows::rows(Bytes::from(bytes))
            .map_err(|error| error.to_string())
            .and_then(|mut rows| read(ScanInput::Stream(&mut rows)))
    } else {
        read(ScanInput::Bytes(&bytes))
    };
    let object_result = match scan_result.report.finalize(read, in_tree, false) {
        report::ObjectStatus::Failed(reason) => ObjectResult::Failed {
            reason,
            lasting: true,
        },
        report::ObjectStatus::Read => processed(&scan_result.report),
        report::ObjectStatus::Skipped(reason) => skip_result(reason),
    };
    (scan_result, object_result)
}

fn processed(report: &ReadReport) -> ObjectResult {
    let skipped: u64 = report.records_skipped.values().sum();
    ObjectResult::Done {
        state: ObjectState::Processed,
        details: format!("{} records, {skipped} skipped", report.records),
    }
}

impl ObjectReading {
    /// An object of which nothing was read.
    pub(super) fn unread(delivered: DeliveredObject, object_result: ObjectResult) -> Self {
        Self {
            delivered,
            scan_result: ScanResult::default(),
            object_result,
            observations: 0,
            digest: None,
        }
    }

    /// An object that could not be read.
    fn failed(delivered: DeliveredObject, reason: String, lasting: bool) -> Self {
        let mut reading = Self::unread(delivered, ObjectResult::Failed { reason, lasting });
        reading.scan_result.report.objects_failed += 1;
        reading
    }

    /// Whether a retry alone will not read it.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(
            self.object_result,
            ObjectResult::Failed { lasting: true, .. }
        )
    }

    /// Why its messages are returned for retry; `None` when they are not.
    pub(super) fn why_not_done(&self) -> Option<&str> {
        match &self.object_result {
            ObjectResult::Done { .. } => None,
            ObjectResult::Failed { reason, .. } => Some(reason),
            ObjectResult::Retried => Some(NO_TIME),
        }
    }

    /// Seconds from its delivery until now; `None` when its key has no delivery time.
    fn lag_secs(&self, now: EventTime) -> Option<i64> {
        let delivered = object::parse(&self.delivered.key.key).delivered?;
        Some(now.0.saturating_sub(delivered.0))
    }

    /// Logs the result, and records the metric `DeliveryLag`.
    pub(super) fn tell(&self, now: EventTime, metrics: &mut FunctionMetrics) {
        let key = &self.delivered.key;
        let lag = self.lag_secs(now);
        if let Some(lag) = lag.and_then(|lag| i32::try_from(lag).ok()) {
            metrics.record("DeliveryLag", lag.into());
        }
        let (severity, state) = match &self.object_result {
            ObjectResult::Done { state, .. } => (LogSeverity::Info, state.as_str()),
            ObjectResult::Failed { .. } => (LogSeverity::Error, "failed"),
            ObjectResult::Retried => (LogSeverity::Warn, "returned for retry"),
        };
        let ReadReport { records, bytes, .. } = self.scan_result.report;
        log(
            severity,
            "object result",
            json!({"bucket": key.bucket, "key": key.key, "version": key.version,
                "state": state, "why": self.why_not_done(), "records": records, "bytes": bytes,
                "lag_secs": lag, "observations": self.observations,
                "skipped": skipped(&self.scan_result.report)}),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_TREE: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/\
        111122223333_CloudTrail_eu-west-1_20260302T1000Z_abcdefghijklmnop.json.gz";

    const LAKE: &str = "aws/CLOUD_TRAIL_MGMT/2.0/region=eu-west-1/accountId=111122223333/\
        eventDay=20260302/part-0.zstd.parquet";

    fn delivered(key: &str, size: Option<u64>) -> DeliveredObject {
        DeliveredObject {
            size,
            ..DeliveredObject::new("b", key.to_owned())
        }
    }

    fn object_result(bytes: &[u8], name: &str) -> ObjectResult {
        scan(bytes.to_vec(), name, &ActiveRules::default(), &mut |_| {}).1
    }

    #[test]
    fn what_is_no_log_is_not_downloaded() {
        let skip = |key: &str, size| to_be_skipped(&delivered(key, size));
        assert_eq!(skip(IN_TREE, Some(900)), None);
        assert_eq!(
            skip(IN_TREE, None),
            None,
            "a trail's notification has no sizes"
        );
        assert_eq!(skip(IN_TREE, Some(0)), Some(SkippedObject::Empty));
        let digest = IN_TREE.replace("CloudTrail", "CloudTrail-Digest");
        let by_name = skip(&digest, Some(900));
        assert!(by_name.is_some());
        assert_eq!(skip(&digest, Some(0)), by_name);
    }

    #[test]
    fn what_is_damaged_goes_back_and_what_is_foreign_does_not() {
        let processed = ObjectResult::Done {
            state: ObjectState::Processed,
            details: "0 records, 0 skipped".to_owned(),
        };
        assert_eq!(object_result(br#"{"Records":[]}"#, IN_TREE), processed);
        assert!(matches!(
            object_result(br#"{"a":1}"#, IN_TREE),
            ObjectResult::Failed { .. }
        ));
        // Damaged Parquet is named as what it is.
        let ObjectResult::Failed { reason, .. } = object_result(b"PAR1 and no more", LAKE) else {
            panic!("it is damaged")
        };
        assert!(reason.contains("Parquet"), "{reason}");
        let ObjectResult::Done { state, .. } = object_result(br#"{"a":1}"#, "notes.json") else {
            panic!("it is not a CloudTrail log")
        };
        assert_eq!(state, ObjectState::Skipped);
    }

    #[test]
    fn a_digest_is_read_and_holds_no_events() {
        let key = IN_TREE.replace("CloudTrail", "CloudTrail-Digest");
        let object = delivered(&key, Some(900));
        assert!(is_digest(&object) && !is_digest(&delivered(IN_TREE, None)));
        let text = format!(
            r#"{{"awsAccountId":"111122223333","digestStartTime":"2026-03-02T10:00:00Z",
            "digestEndTime":"2026-03-02T11:00:00Z","digestS3Bucket":"b","digestS3Object":"{key}",
            "digestPublicKeyFingerprint":"f","digestSignatureAlgorithm":"SHA256withRSA",
            "previousDigestS3Object":null,"previousDigestHashValue":null,
            "previousDigestSignature":null,
            "logFiles":[{{"s3Bucket":"b","s3Object":"{IN_TREE}","hashValue":"00"}}]}}"#
        );
        let reading = digest(text.as_bytes(), object.clone());
        let done = ObjectResult::Done {
            state: ObjectState::Skipped,
            details: "digest of 1 log files".to_owned(),
        };
        assert_eq!(reading.object_result, done);
        assert!(reading.digest.is_some() && !reading.is_lasting());
        let damaged = digest(b"{}", object);
        assert!(damaged.is_lasting() && damaged.digest.is_none());
    }

    #[test]
    fn only_what_is_done_does_not_go_back() {
        let why = |object_result| {
            let reading = ObjectReading::unread(delivered(IN_TREE, None), object_result);
            reading.why_not_done().map(str::to_owned)
        };
        assert_eq!(why(skip_result(SkippedObject::Empty)), None);
        assert_eq!(why(ObjectResult::Retried).as_deref(), Some(NO_TIME));
        let reason = "it has 9 bytes".to_owned();
        assert_eq!(
            why(ObjectResult::Failed {
                reason: reason.clone(),
                lasting: false,
            }),
            Some(reason)
        );
    }
}
