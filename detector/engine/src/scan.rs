//! Scans the bytes of an object: observations, matches of rules about records, and coverage marks.
//!
//! Only relevant records are parsed. Each unit is first searched for its `eventSource`; a record of
//! a service that neither the engine nor a loaded rule needs is not parsed.

mod prefilter;
mod records;
mod selected;
mod table;
mod units;
mod unparsed;
mod unreadable;

use std::{io::Read, sync::Arc};

use ahash::HashSet;

use self::{
    prefilter::Prefilter,
    table::PieceReader,
    unparsed::{FrontFields, LastMark},
};
pub use self::{
    records::{records, records_with},
    unreadable::UnreadableRecord,
};
use crate::{
    coverage::CoverageMark,
    document::LazyDocument,
    evidence::Evidence,
    extract::{self, NotRelevant, RawFields},
    inflate::{self, InflateBuffer, InflateError, InflateScratch},
    lineage::issue::CredentialIssue,
    object::RecordOrigin,
    observation::Interner,
    pending_event::PendingEvent,
    record_shape::RecordShape,
    report::{ReadReport, SkippedRecord},
    rule::{
        EvalScope, Matches, RuleSet, RuleTarget, event::RecordEvent, judged::JudgedAt,
        needs::NeededCalls,
    },
    selection::{Selection, SelectionTally},
    time::EventTime,
    wire::CloudTrailRecord,
};

/// Result of scanning one object, or several.
#[derive(Debug, Default)]
pub struct ScanResult {
    /// Reads, KMS Decrypts and changes.
    pub observations: Vec<Arc<PendingEvent>>,
    /// Matches of rules about records.
    pub matches: Matches,
    /// Calls that issued temporary credentials, with copies; only with rules that keep them
    /// ([`RuleSet::with_issues`]).
    pub issues: Vec<CredentialIssue>,
    /// Where and when KMS events were seen.
    pub coverage: HashSet<CoverageMark>,
    /// Relevant records as in the log; only from a scanner with [`ObjectScanner::keeping`].
    pub kept: Vec<KeptRecord>,
    /// A record of the object that could not be read and names one of our services; only from a
    /// scanner with [`ObjectScanner::keeping`].
    pub unreadable: Option<UnreadableRecord>,
    /// Counts of what was read and what was skipped.
    pub report: ReadReport,
    /// What a selection by time, account and region took and left out.
    pub selected: SelectionTally,
}

impl ScanResult {
    /// Whether it has as many observations, matches and issues as are passed on at a time.
    #[must_use]
    pub fn is_part(&self) -> bool {
        let matches = self.matches.singles.len() + self.matches.facts.len();
        self.observations.len() + matches + self.issues.len() >= PART
    }

    /// Takes out the observations and matches so far.
    #[must_use]
    pub fn take_part(&mut self) -> Self {
        Self {
            observations: std::mem::take(&mut self.observations),
            matches: std::mem::take(&mut self.matches),
            ..Self::default()
        }
    }

    /// Adds the results of another scan.
    pub fn append(&mut self, mut other: Self) {
        self.observations.append(&mut other.observations);
        self.matches.append(other.matches);
        self.issues.append(&mut other.issues);
        self.coverage.extend(other.coverage);
        self.kept.append(&mut other.kept);
        self.unreadable = self.unreadable.take().or(other.unreadable);
        self.report.add(&other.report);
        self.selected.add(&other.selected);
    }
}

/// A record as in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its event time.
    pub time: EventTime,
    /// Delivery time from the name of its object, or of the member of an archive; `None` when the
    /// name has none.
    pub delivered: Option<EventTime>,
    /// Its JSON.
    pub text: String,
}

impl KeptRecord {
    /// A record without a delivery of its own.
    #[must_use]
    pub fn new(time: EventTime, text: String) -> Self {
        Self {
            time,
            delivered: None,
            text,
        }
    }
}

/// The bytes of an object.
pub enum ScanInput<'a> {
    /// In memory, as stored: compressed or not.
    Bytes(&'a [u8]),
    /// A stream, for large objects and standard input.
    Stream(&'a mut dyn Read),
}

/// Scans objects, one after the other, and reuses its buffers. Use one per thread.
pub struct ObjectScanner<'r> {
    scratch: InflateScratch,
    records: RecordScanner<'r>,
}

/// The scanner without its decoder, so that both can be borrowed at once.
struct RecordScanner<'r> {
    rules: &'r RuleSet,
    selection: &'r Selection,
    /// The selection whose records are counted.
    counted: &'r Selection,
    prefilter: Prefilter,
    /// Whether relevant records are kept as they are.
    keeps: bool,
    interner: Interner,
    /// The last coverage mark of the current object.
    last_mark: Option<LastMark>,
}

/// Receives the units of the splitter.
struct UnitSink<'s, 'r> {
    scanner: &'s mut RecordScanner<'r>,
    origin: &'s RecordOrigin,
    in_tree: bool,
    /// Whether the bytes of the object are no text.
    is_binary: bool,
    is_begun: bool,
    /// Whether the current record is written from a row.
    is_row: bool,
    /// Whether the last text between units was a key of records: a record lies in pieces.
    is_fragment: bool,
    scan_result: &'s mut ScanResult,
    /// Takes what was found out of the scan result whenever it is a part.
    take_part: &'s mut dyn FnMut(&mut ScanResult),
}

/// Observations, matches and issues after which [`ObjectScanner::read_in_parts`] passes on what it
/// has: one object may hold any number.
const PART: usize = 1_024;

impl<'r> ObjectScanner<'r> {
    /// A scanner for these rules and this selection.
    #[must_use]
    pub fn new(rules: &'r RuleSet, selection: &'r Selection) -> Self {
        Self {
            scratch: InflateScratch::default(),
            records: RecordScanner {
                rules,
                selection,
                counted: selection,
                prefilter: Prefilter::new(rules),
                keeps: false,
                interner: Interner::with_geo(rules.geo()),
                last_mark: None,
            },
        }
    }

    /// The same scanner, which also keeps relevant records: reads, KMS Decrypts, all changes, and
    /// records of these calls; with `None`, every record.
    #[must_use]
    pub fn keeping(mut self, calls: Option<Vec<NeededCalls>>) -> Self {
        self.records.keeps = true;
        self.records.prefilter.let_through(calls);
        self
    }

    /// The same scanner, which counts the records of this selection: for a run that reads more than
    /// was asked for.
    #[must_use]
    pub fn counting(mut self, asked: &'r Selection) -> Self {
        self.records.counted = asked;
        self
    }

    /// The same scanner, which inflates into this buffer.
    #[must_use]
    pub fn inflating_into(mut self, room: InflateBuffer) -> Self {
        self.scratch = InflateScratch::with_room(room);
        self
    }

    /// Scans one record that an earlier scan has kept.
    pub fn record(
        &mut self,
        text: &str,
        origin: &RecordOrigin,
        in_tree: bool,
        scan_result: &mut ScanResult,
    ) {
        // The entry of its object already has the counts.
        let before = std::mem::take(&mut scan_result.report);
        let mut sink = UnitSink {
            scanner: &mut self.records,
            origin,
            in_tree,
            is_binary: false,
            is_begun: false,
            is_row: false,
            is_fragment: false,
            scan_result,
            take_part: &mut |_| {},
        };
        sink.select(text.as_bytes());
        sink.record(text.as_bytes(), RecordShape::Plain);
        scan_result.report = before;
    }

    /// Scans one object to its end and adds the results to `scan_result`. `in_tree` means that the
    /// object's path in an `AWSLogs` tree has already selected account and region.
    ///
    /// # Errors
    ///
    /// [`InflateError`] is why the rest could not be read; `scan_result` has what came before it.
    pub fn read(
        &mut self,
        input: ScanInput<'_>,
        origin: &RecordOrigin,
        in_tree: bool,
        scan_result: &mut ScanResult,
    ) -> Result<(), InflateError> {
        self.read_in_parts(input, origin, in_tree, scan_result, &mut |_| {})
    }

    /// Like [`Self::read`], and calls `take_part` whenever the scan result has many observations
    /// and matches, so that it can take them out. The last of them stay in the scan result.
    ///
    /// # Errors
    ///
    /// See [`Self::read`].
    pub fn read_in_parts(
        &mut self,
        input: ScanInput<'_>,
        origin: &RecordOrigin,
        in_tree: bool,
        scan_result: &mut ScanResult,
        take_part: &mut dyn FnMut(&mut ScanResult),
    ) -> Result<(), InflateError> {
        // Earlier marks are in the results of earlier objects, which may be other results.
        self.records.last_mark = None;
        let mut sink = UnitSink {
            scanner: &mut self.records,
            origin,
            in_tree,
            is_binary: false,
            is_begun: false,
            is_row: false,
            is_fragment: false,
            scan_result,
            take_part,
        };
        let mut pieces = PieceReader::default();
        let read = match input {
            ScanInput::Bytes(bytes) => inflate::inflate(bytes, &mut self.scratch, &mut |bytes| {
                sink.feed(&mut pieces, bytes);
            }),
            ScanInput::Stream(reader) => inflate::inflate_stream(reader, &mut |bytes| {
                sink.feed(&mut pieces, bytes);
            }),
        };
        // Also after an error: in a truncated object, the record that was begun is counted.
        pieces.finish(&mut |piece| sink.object_piece(piece));
        read
    }
}

impl UnitSink<'_, '_> {
    /// Adds the observation of a record, if it has one within the selection or near it. Returns
    /// whether it has; `None` when it lacks the time that an observation needs.
    fn observe(
        &mut self,
        record: &CloudTrailRecord<'_>,
        document: &LazyDocument<'_>,
    ) -> Option<bool> {
        let scanner = &mut *self.scanner;
        let wanted = scanner.rules.wanted();
        match extract::extract(record, document, self.origin, wanted, &mut scanner.interner) {
            // An event just outside the selection may be the other half of one inside.
            Ok(observation) if scanner.selection.is_near(observation.head().time) => {
                let time = observation.head().time;
                let delivered = self.origin.delivered;
                let is_ahead = delivered.is_some_and(|delivered| time.is_ahead_of(delivered));
                self.scan_result.report.times_ahead += u64::from(is_ahead);
                let observation = Arc::new(PendingEvent::new(observation));
                self.scan_result.observations.push(observation);
                return Some(true);
            }
            Ok(_) | Err(NotRelevant::Other) => {}
            Err(NotRelevant::KeyValidation) => self.scan_result.report.key_validations += 1,
            Err(NotRelevant::NoTime) => {
                self.scan_result.report.skip_record(SkippedRecord::NoTime);
                return None;
            }
        }
        Some(false)
    }

    /// Adds the credentials that the call of a record has issued. Returns whether it has issued
    /// any.
    fn issue(&mut self, record: &CloudTrailRecord<'_>, document: &LazyDocument<'_>) -> bool {
        let scanner = &mut *self.scanner;
        let issue = CredentialIssue::of(record, document, self.origin, &mut scanner.interner);
        let is_some = issue.is_some();
        self.scan_result.issues.extend(issue);
        is_some
    }

    /// Keeps a record as it is. A record without a time has no place in the order, and is not kept.
    fn keep(&mut self, record: &CloudTrailRecord<'_>, text: &str) {
        if let Some(time) = record.event_time.get().and_then(EventTime::parse) {
            self.scan_result.kept.push(KeptRecord {
                time,
                delivered: self.origin.delivered,
                text: text.to_owned(),
            });
        }
    }

    fn match_record(&mut self, record: &CloudTrailRecord<'_>, document: &LazyDocument<'_>) {
        let scanner = &mut *self.scanner;
        let event = RecordEvent(document);
        let ask = EvalScope {
            target: RuleTarget::Record,
            at: JudgedAt::Final,
            counts: true,
        };
        let matching = scanner.rules.matching(ask, &event);
        if matching.is_empty() {
            return;
        }
        // The header is built only for records that a rule matches. The rule has already seen the
        // raw fields, and the evidence needs none of them.
        let none = RawFields::default();
        let head = extract::head(record, document, self.origin, &none, &mut scanner.interner);
        let Some(head) = head else {
            return;
        };
        if scanner.selection.takes_other(&head, None) {
            let evidence = Evidence {
                head: head.into(),
                secret: None,
                access: None,
            };
            let matches = scanner.rules.matches_of(&matching, ask, &event, &evidence);
            self.scan_result.matches.append(matches);
        }
    }

    /// Notes that a KMS event was logged at this place and time.
    fn mark(&mut self, account: Option<&str>, region: Option<&str>, time: Option<&str>) {
        let last = self.scanner.last_mark.as_ref();
        if last.is_some_and(|last| last.is_at(account, region, time)) {
            return;
        }
        let time = time.and_then(EventTime::parse);
        let (Some(account), Some(region), Some(time)) = (account, region, time) else {
            return;
        };
        let interner = &mut self.scanner.interner;
        let mark = CoverageMark::at(interner.text(account), interner.text(region), time);
        // The hour may be the same in another time format.
        if last.is_none_or(|last| last.mark != mark) {
            self.scanner.last_mark = Some(LastMark::new(mark.clone(), time));
            self.scan_result.coverage.insert(mark);
        }
    }

    fn is_selected(&self, record: &CloudTrailRecord<'_>) -> bool {
        let (account, region) = (record.recipient_account_id.get(), record.aws_region.get());
        self.in_tree || self.scanner.selection.holds(account, region)
    }
}

impl RecordScanner<'_> {
    /// Whether the last coverage mark also stands for this record.
    fn is_last_mark_on(&self, front: &FrontFields<'_>) -> bool {
        let last = self.last_mark.as_ref();
        last.is_some_and(|mark| mark.is_on(front))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(scanner: &mut ObjectScanner<'_>, bytes: &[u8]) -> ScanResult {
        let mut scan_result = ScanResult::default();
        let origin = crate::object::origin("a.json");
        scanner
            .read(ScanInput::Bytes(bytes), &origin, false, &mut scan_result)
            .unwrap();
        scan_result
    }

    fn scan_result(bytes: &[u8]) -> ScanResult {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        scanned(&mut ObjectScanner::new(&rules, &selection), bytes)
    }

    /// A record with its fields in the order of AWS.
    fn record(time: &str, service: &str, api: &str, more: &str) -> String {
        format!(
            r#"{{"eventVersion":"1.11","userIdentity":{{"type":"AWSService"}},"eventTime":"{time}",
            "eventSource":"{service}.amazonaws.com","eventName":"{api}","awsRegion":"eu-west-1",
            {more},"responseElements":null,"eventID":"e1","recipientAccountId":"111122223333"}}"#
        )
        .replace(",\n            ", ",")
    }

    const READ: &str = r#""requestParameters":{"secretId":"db"}"#;

    #[test]
    fn a_kms_event_proves_that_they_are_logged_and_no_more() {
        let other = r#""requestParameters":{"encryptionContext":{"app":"x"}}"#;
        let events: Vec<String> = ["10:00:00Z", "10:59:59Z", "11:00:00Z", "11:00:00+01:00"]
            .into_iter()
            .map(|time| record(&format!("2026-03-02T{time}"), "kms", "Decrypt", other))
            .collect();
        let scan_result = scan_result(events.join("\n").as_bytes());
        assert_eq!(
            (scan_result.observations.len(), scan_result.report.records),
            (0, 4)
        );
        let hour = |text: &str| {
            let time = EventTime::parse(text).unwrap();
            CoverageMark::at("111122223333".into(), "eu-west-1".into(), time)
        };
        let hours = ["2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z"].map(hour);
        assert_eq!(scan_result.coverage, hours.into_iter().collect());
    }

    #[test]
    fn a_mark_of_one_object_does_not_stand_for_the_next() {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let mut scanner = ObjectScanner::new(&rules, &selection);
        let event = record("2026-03-02T10:00:00Z", "kms", "Encrypt", "\"a\":1");
        for _ in 0..2 {
            // Each scan result may be stored elsewhere.
            assert_eq!(scanned(&mut scanner, event.as_bytes()).coverage.len(), 1);
        }
    }

    #[test]
    fn bytes_that_are_no_text_cost_only_themselves() {
        let read = record(
            "2026-03-02T10:00:00Z",
            "secretsmanager",
            "GetSecretValue",
            READ,
        );
        let mut bytes = read.into_bytes();
        let at = bytes.windows(2).position(|pair| pair == b"db").unwrap();
        bytes[at] = 0xff;
        let scan_result = scan_result(&bytes);
        assert_eq!(
            (
                scan_result.observations.len(),
                scan_result.report.records_repaired
            ),
            (1, 1)
        );
    }

    #[test]
    fn a_lookup_event_is_the_record_that_it_carries() {
        let read = record(
            "2026-03-02T10:00:00Z",
            "secretsmanager",
            "GetSecretValue",
            READ,
        );
        let event = serde_json::json!({"EventId": "e1", "CloudTrailEvent": read});
        let found = scan_result(event.to_string().as_bytes());
        assert_eq!((found.observations.len(), found.report.records), (1, 1));
        // Neither a record nor an envelope of one.
        let nothing = scan_result(br#"{"EventId":"e1","CloudTrailEvent":"{}"}"#);
        let skipped = nothing.report.records_skipped;
        assert_eq!(skipped, [(SkippedRecord::NotARecord, 1)].into());
    }

    #[test]
    fn only_a_scanner_that_keeps_has_records_as_they_were() {
        let read = record(
            "2026-03-02T10:00:00Z",
            "secretsmanager",
            "GetSecretValue",
            READ,
        );
        let stop = record(
            "2026-03-02T10:00:01Z",
            "cloudtrail",
            "StopLogging",
            "\"a\":1",
        );
        let put = record("2026-03-02T10:00:02Z", "s3", "PutObject", "\"a\":1");
        let timeless = record("never", "s3", "PutObject", "\"a\":1");
        let all = [&*read, &*stop, &*put, &*timeless].join("\n");
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let kept = |scanner: &mut ObjectScanner<'_>| {
            let scan_result = scanned(scanner, all.as_bytes());
            scan_result
                .kept
                .into_iter()
                .map(|kept| kept.text)
                .collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(kept(&mut ObjectScanner::new(&rules, &selection)), none);
        let mut ours = ObjectScanner::new(&rules, &selection).keeping(Some(Vec::new()));
        assert_eq!(kept(&mut ours), [&*read, &*stop]);
        let mut everything = ObjectScanner::new(&rules, &selection).keeping(None);
        assert_eq!(kept(&mut everything), [&*read, &*stop, &*put]);
    }
}
