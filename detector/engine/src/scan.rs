//! Bytes of an object to a harvest: observations, hits of rules about records, and coverage marks.
//!
//! Only what can matter is parsed. Each unit is searched for its `eventSource` first; a record of a service that no part
//! of the engine and no loaded rule asks for costs no more than that.

mod unparsed;

use std::io::Read;
use std::sync::Arc;

use ahash::HashSet;
use memchr::memmem::Finder;

use self::unparsed::{Front, LastMark, Marks, after, values_of};
use crate::coverage::CoverageMark;
use crate::document::Document;
use crate::evidence::Evidence;
use crate::extract::{self, NotOurs, RawFields, Role};
use crate::gunzip::{self, ReadError, Room, Scratch};
use crate::loose_end::LooseEnd;
use crate::object::Origin;
use crate::observation::Interner;
use crate::report::{Report, SkippedRecord};
use crate::rule::event::RecordEvent;
use crate::rule::needs::NeededCalls;
use crate::rule::{Ask, Hits, RuleSet, Target};
use crate::selection::Selection;
use crate::split::{BadPiece, Piece, Splitter};
use crate::time::EventTime;
use crate::wire::{LookupEvent, Presence, Record};

/// What was found in one object or in many.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Reads, key uses and changes.
    pub observations: Vec<Arc<LooseEnd>>,
    /// Hits of rules about records.
    pub hits: Hits,
    /// Where and when KMS events were seen.
    pub coverage: HashSet<CoverageMark>,
    /// Records that concern us, as they were, with their event times; only of a scanner that keeps them.
    pub kept: Vec<(EventTime, String)>,
    /// Counts.
    pub report: Report,
}

impl Harvest {
    /// Takes over what another has.
    pub fn append(&mut self, mut other: Self) {
        self.observations.append(&mut other.observations);
        self.hits.append(other.hits);
        self.coverage.extend(other.coverage);
        self.kept.append(&mut other.kept);
        self.report.add(&other.report);
    }
}

/// Where the bytes of an object are.
pub enum Input<'a> {
    /// All in memory, as they are stored.
    Bytes(&'a [u8]),
    /// To be read; for large objects and standard input.
    Stream(&'a mut dyn Read),
}

/// Reads objects, one after the other, with buffers that are kept. One for each thread.
pub struct Scanner<'r> {
    scratch: Scratch,
    sieve: Sieve<'r>,
}

/// The scanner without its decoder, so that both can be used at once.
struct Sieve<'r> {
    rules: &'r RuleSet,
    selection: &'r Selection,
    /// Calls that rules about records ask for; `None` for any.
    calls: Option<Vec<NeededCalls>>,
    /// Whether rules ask for records themselves.
    matches_records: bool,
    /// Whether rules ask for changes; those of trails and keys are read for them alone.
    matches_changes: bool,
    /// Whether records that concern us are kept as they are.
    keeps: bool,
    interner: Interner,
    event_source: Finder<'static>,
    event_name: Finder<'static>,
    marks: Marks,
    /// The last coverage mark of this object.
    last_mark: Option<LastMark>,
}

/// What the splitter's units are given to.
struct Sink<'s, 'r> {
    scanner: &'s mut Sieve<'r>,
    origin: &'s Origin,
    in_tree: bool,
    harvest: &'s mut Harvest,
}

/// What the services of a unit's `eventSource` fields call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Interest {
    /// It has no such field: it may be a lookup event.
    Unnamed,
    None,
    /// A KMS event: at least a coverage mark.
    Kms,
    Full,
}

impl<'r> Scanner<'r> {
    /// A scanner for these rules and this part of the logs.
    #[must_use]
    pub fn new(rules: &'r RuleSet, selection: &'r Selection) -> Self {
        let sieve = Sieve {
            rules,
            selection,
            calls: rules.record_calls(),
            matches_records: rules.sees(Target::Record),
            matches_changes: rules.sees(Target::Change),
            keeps: false,
            interner: Interner::default(),
            event_source: Finder::new(b"\"eventSource\""),
            event_name: Finder::new(b"\"eventName\""),
            marks: Marks::new(),
            last_mark: None,
        };
        Self {
            scratch: Scratch::default(),
            sieve,
        }
    }

    /// The same scanner, which also keeps every record that concerns us: reads, key uses, all changes, and these calls, or
    /// all of them.
    #[must_use]
    pub fn keeping(mut self, calls: Option<Vec<NeededCalls>>) -> Self {
        self.sieve.keeps = true;
        self.sieve.matches_changes = true;
        self.sieve.matches_records |= calls.is_none();
        self.sieve.calls = calls;
        self
    }

    /// The same scanner, which inflates into this memory.
    #[must_use]
    pub fn inflating_into(mut self, room: Room) -> Self {
        self.scratch = Scratch::with_room(room);
        self
    }

    /// Reads one record of an object, as it was kept.
    pub fn record(&mut self, text: &str, origin: &Origin, in_tree: bool, harvest: &mut Harvest) {
        // Where KMS events were seen was kept with the object, and so were its counts.
        let before = std::mem::take(&mut harvest.report);
        Sink {
            scanner: &mut self.sieve,
            origin,
            in_tree,
            harvest,
        }
        .record(text, Interest::Full);
        harvest.report = before;
    }

    /// Reads one object to its end and adds what it holds to the harvest. `in_tree` says that its place in an `AWSLogs`
    /// tree has already decided on account and region.
    ///
    /// # Errors
    ///
    /// [`ReadError`] says why the rest could not be read; what came before it is in the harvest.
    pub fn read(
        &mut self,
        input: Input<'_>,
        origin: &Origin,
        in_tree: bool,
        harvest: &mut Harvest,
    ) -> Result<(), ReadError> {
        // The marks before are in whatever harvest they were made for.
        self.sieve.last_mark = None;
        let mut sink = Sink {
            scanner: &mut self.sieve,
            origin,
            in_tree,
            harvest,
        };
        let mut splitter = Splitter::default();
        let mut feed = |bytes: &[u8]| {
            sink.harvest.report.bytes += bytes.len() as u64;
            splitter.feed(bytes, &mut |piece| sink.piece(piece));
        };
        let read = match input {
            Input::Bytes(bytes) => gunzip::inflate(bytes, &mut self.scratch, &mut feed),
            Input::Stream(reader) => gunzip::inflate_stream(reader, &mut feed),
        };
        splitter.finish(&mut |piece| sink.piece(piece));
        read
    }
}

impl Sink<'_, '_> {
    fn piece(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Unit { bytes, after_first } => self.unit(bytes, after_first),
            Piece::Bad(bad) => self.harvest.report.skip_record(match bad {
                BadPiece::NotAnObject => SkippedRecord::Malformed,
                BadPiece::TooLarge => SkippedRecord::TooLarge,
                BadPiece::Truncated => SkippedRecord::Truncated,
            }),
        }
    }

    fn unit(&mut self, unit: &[u8], after_first: usize) {
        match self.scanner.interest(unit, after_first) {
            Interest::None => self.harvest.report.records += 1,
            Interest::Unnamed => self.lookup_event(unit),
            Interest::Kms
                if self
                    .scanner
                    .last_mark
                    .as_ref()
                    .is_some_and(|mark| mark.is_on(unit, after_first)) =>
            {
                self.harvest.report.records += 1;
            }
            interest => {
                self.harvest.report.records += 1;
                match simdutf8::basic::from_utf8(unit) {
                    Ok(text) => self.record(text, interest),
                    Err(_) => {
                        self.harvest.report.records_repaired += 1;
                        self.record(&String::from_utf8_lossy(unit), interest);
                    }
                }
            }
        }
    }

    /// A record in a string, as `aws cloudtrail lookup-events` prints it.
    fn lookup_event(&mut self, unit: &[u8]) {
        let Some(record) = looked_up(unit) else {
            return self.harvest.report.skip_record(SkippedRecord::Malformed);
        };
        self.harvest.report.records += 1;
        match self.scanner.interest(record.as_bytes(), 0) {
            Interest::None => {}
            Interest::Unnamed => self.harvest.report.skip_record(SkippedRecord::Malformed),
            interest => self.record(&record, interest),
        }
    }

    fn record(&mut self, text: &str, interest: Interest) {
        if interest == Interest::Kms {
            return self.presence(text);
        }
        let Ok(record) = serde_json::from_str::<Record<'_>>(text) else {
            return self.harvest.report.skip_record(SkippedRecord::Malformed);
        };
        if !self.is_selected(&record) {
            return;
        }
        if record
            .event_source
            .get()
            .is_some_and(|s| s.starts_with("kms."))
        {
            self.mark(
                record.recipient_account_id.get(),
                record.aws_region.get(),
                record.event_time.get(),
            );
        }
        let scanner = &mut *self.scanner;
        let is_asked_for = scanner.is_asked_for_by(&record);
        let mut is_kept = scanner.keeps && is_asked_for;
        let document = Document::new(text);
        match extract::extract(
            &record,
            &document,
            self.origin,
            scanner.rules.wanted(),
            &mut scanner.interner,
        ) {
            Ok(observation) if scanner.selection.is_near(observation.head().time) => {
                self.harvest
                    .observations
                    .push(Arc::new(LooseEnd::new(observation)));
                is_kept = scanner.keeps;
            }
            Ok(_) | Err(NotOurs::Other) => {}
            Err(NotOurs::KeyValidation) => self.harvest.report.key_validations += 1,
            Err(NotOurs::NoTime) => self.harvest.report.skip_record(SkippedRecord::NoTime),
        }
        if is_kept && let Some(time) = record.event_time.get().and_then(EventTime::parse) {
            self.harvest.kept.push((time, text.to_owned()));
        }
        if scanner.matches_records && is_asked_for {
            self.match_record(&record, &document);
        }
    }

    fn match_record(&mut self, record: &Record<'_>, document: &Document<'_>) {
        let scanner = &mut *self.scanner;
        let event = RecordEvent(document);
        let ask = Ask {
            target: Target::Record,
            settled: true,
            counts: true,
        };
        if !scanner.rules.any_hit(ask, &event) {
            return;
        }
        // The head is built only for records that a rule hits; one without a time was counted above.
        let none = RawFields::default();
        let Ok(head) = extract::head(record, document, self.origin, &none, &mut scanner.interner)
        else {
            return;
        };
        if scanner.selection.takes_other(&head, None) {
            let evidence = Evidence {
                head: head.into(),
                secret: None,
                access: None,
            };
            self.harvest
                .hits
                .append(scanner.rules.hits(ask, &event, &evidence));
        }
    }

    /// A KMS record that is not a key use for a secret proves at least that KMS events are logged.
    fn presence(&mut self, text: &str) {
        match serde_json::from_str::<Presence<'_>>(text) {
            Ok(seen)
                if seen
                    .event_source
                    .get()
                    .is_some_and(|s| s.starts_with("kms.")) =>
            {
                self.mark(
                    seen.recipient_account_id.get(),
                    seen.aws_region.get(),
                    seen.event_time.get(),
                );
            }
            Ok(_) => {}
            Err(_) => self.harvest.report.skip_record(SkippedRecord::Malformed),
        }
    }

    fn mark(&mut self, account: Option<&str>, region: Option<&str>, time: Option<&str>) {
        if self
            .scanner
            .last_mark
            .as_ref()
            .is_some_and(|last| last.is_at(account, region, time))
        {
            return;
        }
        if let (Some(account), Some(region), Some(time)) =
            (account, region, time.and_then(EventTime::parse))
        {
            let interner = &mut self.scanner.interner;
            let mark = CoverageMark::at(interner.text(account), interner.text(region), time);
            if self
                .scanner
                .last_mark
                .as_ref()
                .is_none_or(|last| last.mark != mark)
            {
                self.scanner.last_mark = Some(LastMark::new(mark.clone(), time));
                self.harvest.coverage.insert(mark);
            }
        }
    }

    fn is_selected(&self, record: &Record<'_>) -> bool {
        let Selection {
            accounts, regions, ..
        } = self.scanner.selection;
        let listed = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|v| list.iter().any(|l| l == v))
        };
        self.in_tree
            || (listed(accounts, record.recipient_account_id.get())
                && listed(regions, record.aws_region.get()))
    }
}

impl Sieve<'_> {
    /// What a unit is worth. In the order of AWS, `eventTime`, `eventSource` and `eventName` follow the first object,
    /// `userIdentity`. In any other order every `"eventSource": "…"` is looked at: nested ones only make the unit more
    /// interesting, never less.
    fn interest(&self, unit: &[u8], after_first: usize) -> Interest {
        if let Some(Front {
            service,
            name,
            rest,
            ..
        }) = Front::of(unit, after_first)
        {
            // What matters stands before the response.
            return self.service(service, &[name], || self.marks.are_asked_for(rest));
        }
        let names: Vec<&[u8]> = values_of(unit, &self.event_name).collect();
        let services = values_of(unit, &self.event_source);
        services
            .map(|service| self.service(service, &names, || self.marks.are_in(unit)))
            .max()
            .unwrap_or(Interest::Unnamed)
    }

    /// What a record of a service is worth whose call may be any of these.
    fn service(&self, service: &[u8], names: &[&[u8]], is_marked: impl Fn() -> bool) -> Interest {
        if self.is_asked_for(service, names) {
            return Interest::Full;
        }
        // Nine records of ten end here, so the names are compared as bytes.
        let is_kms = after(service, b"kms.").is_some();
        let is_ours = is_kms
            || after(service, b"ssm.").is_some()
            || after(service, b"secretsmanager.").is_some()
            || after(service, b"cloudtrail.").is_some();
        if !is_ours {
            return Interest::None;
        }
        let least = if is_kms {
            Interest::Kms
        } else {
            Interest::None
        };
        let Ok(service) = std::str::from_utf8(service) else {
            return Interest::None;
        };
        names
            .iter()
            .map(|name| self.called(service, name, &is_marked))
            .max()
            .unwrap_or(least)
            .max(least)
    }

    /// Whether a rule about records asks for the call of a record.
    fn is_asked_for_by(&self, record: &Record<'_>) -> bool {
        let source = record.event_source.get().unwrap_or_default();
        let name = record.event_name.get().unwrap_or_default();
        self.is_asked_for(source.as_bytes(), &[name.as_bytes()])
    }

    /// Whether a rule about records asks for such a call.
    fn is_asked_for(&self, service: &[u8], names: &[&[u8]]) -> bool {
        let Some(calls) = &self.calls else {
            return self.matches_records;
        };
        let named = |wanted: &String| {
            names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(wanted.as_bytes()))
        };
        calls.iter().any(|calls| {
            service.eq_ignore_ascii_case(calls.source.as_bytes())
                && calls
                    .names
                    .as_ref()
                    .is_none_or(|wanted| wanted.iter().any(named))
        })
    }

    /// What a call is worth. `is_marked` says whether a record may be a key use for a secret.
    fn called(&self, service: &str, name: &[u8], is_marked: impl Fn() -> bool) -> Interest {
        match std::str::from_utf8(name)
            .ok()
            .and_then(|name| extract::role(service, name))
        {
            Some(Role::Read(_)) => Interest::Full,
            Some(Role::Change { decrypts }) if decrypts || self.matches_changes => Interest::Full,
            Some(Role::KeyUse) if is_marked() => Interest::Full,
            _ => Interest::None,
        }
    }
}

/// The record that `aws cloudtrail lookup-events` puts into a string; `None` for anything else.
fn looked_up(unit: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(unit);
    let event = serde_json::from_str::<LookupEvent<'_>>(&text).ok()?;
    event.cloud_trail_event.get().map(ToOwned::to_owned)
}

/// Every record of an object as it is, in any form that [`Scanner::read`] takes.
///
/// # Errors
///
/// See [`Scanner::read`].
pub fn records(bytes: &[u8]) -> Result<Vec<String>, ReadError> {
    let (records, read) = records_with(bytes, |_| true);
    read.map(|()| records)
}

/// The records of an object whose bytes are wanted, as they are, up to where it cannot be read further, and why not: see
/// [`Scanner::read`].
pub fn records_with(
    bytes: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> (Vec<String>, Result<(), ReadError>) {
    let mut records = Vec::new();
    let mut keep = |piece: Piece<'_>| {
        if let Piece::Unit { bytes, .. } = piece
            && wanted(bytes)
        {
            records.push(
                looked_up(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned()),
            );
        }
    };
    let mut splitter = Splitter::default();
    let read = gunzip::inflate(bytes, &mut Scratch::default(), &mut |bytes| {
        splitter.feed(bytes, &mut keep)
    });
    splitter.finish(&mut keep);
    (records, read)
}
