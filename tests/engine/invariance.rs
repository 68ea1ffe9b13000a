//! The law: shuffling, repeating, delaying or splitting the input changes neither the ledger nor
//! the set of alert ids.

use std::{collections::BTreeSet, sync::LazyLock};

use proptest::prelude::*;
use proptest::{collection::vec, sample::Index};
use secretrail_engine::{
    access::json_v1::AccessV1,
    alert::Alert,
    extract_file::{self, ExtractFileReader, ExtractHeader, ExtractedObject},
    object::origin,
    pipeline::{BatchOutcome, Pipeline, history::HistoryPipeline},
    policy::AccessPolicy,
    report::ReadReport,
    rule::{RuleSet, load::load},
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    state::memory::MemoryStore,
    time::EventTime,
};
use serde_json::{Value, json};
use test_support::{
    LOOKBACK, afterwards, alert_ids, any_record, at, decrypt_secret, ledger, read, run, run_on,
    scan_result,
};

/// The pack, with thresholds that small inputs reach, and rules about order, records and changes.
/// Loaded once, because that takes longer than most inputs do.
pub(crate) static RULES: LazyLock<RuleSet> = LazyLock::new(|| rules_with(|_| true));

/// The same without rules about what is new.
pub(crate) static RULES_WITHOUT_SEEN: LazyLock<RuleSet> =
    LazyLock::new(|| rules_with(|text| !NOVELTY.iter().any(|word| text.contains(word))));

/// Words of rules that need what was seen before, or a base rule that does.
const NOVELTY: [&str; 9] = [
    " seen.",
    " profile.",
    "secret.fresh",
    "access.at_log_start",
    "secret.rotated",
    "secret_denied_that_is_new",
    "secret_new_to_reader",
    "secret_read_for_the_first_time_in_lookback",
    "secret_read_with_long_term_key",
];

fn rules_with(takes: impl Fn(&str) -> bool) -> RuleSet {
    let small = |text: &str| {
        text.replace("gte: 100", "gte: 3")
            .replace("gte: 20", "gte: 3")
            .replace("gte: 5", "gte: 3")
    };
    // So that some single alerts are covered, and some are not.
    let narrow = |text: String| match text.contains("part_of_log_missing") {
        true => text
            .replace("suppress: 1h", "suppress: 7s")
            .replace("timespan: 10m", "timespan: 4s")
            .replace("gte: 3", "gte: 2"),
        false => text,
    };
    // Where the logs begin is a novelty too, and no reason to leave out the rest of a rule.
    let at_start = "  at_start:\n    access.at_log_start: 'true'\n";
    let anywhere = |text: String| match takes(&text) {
        true => text,
        false => text.replace(at_start, "").replace(" and not at_start", ""),
    };
    let mut files: Vec<(String, String)> = secretrail_pack::rules()
        .into_iter()
        .map(|(name, text)| (name, anywhere(narrow(small(&text)))))
        .collect();
    files.extend(
        OWN.split("---\n")
            .enumerate()
            .map(|(index, text)| (format!("own-{index}.yml"), text.to_owned())),
    );
    files.retain(|(_, text)| takes(text));
    load(
        files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    )
    .expect("the rules load")
    .0
}

const OWN: &str = "
title: Denied Then Read
id: own-1
correlation:
  type: temporal_ordered
  rules: [secret_access_denied, secret_read]
  group-by: [principal.arn]
  timespan: 10s
generate: true
---
title: Read By Key
id: own-2
logsource: {product: aws, category: secret_access}
detection:
  selection:
    decrypt.key_arn|contains: key
    access.method|contains: a
  condition: selection
---
title: Put
id: own-3
logsource: {product: aws, category: secret_change}
detection:
  selection: {eventName: PutSecretValue}
  condition: selection
---
title: Any Read Call
id: own-4
name: own_record
logsource: {product: aws, service: cloudtrail}
detection:
  selection:
    eventSource: [secretsmanager.amazonaws.com, ssm.amazonaws.com]
    eventName|startswith: Get
  condition: selection
---
title: Calls
id: own-5
correlation:
  type: event_count
  rules: [own_record]
  group-by: [userIdentity.arn]
  timespan: 20s
  condition: {gte: 4}
---
title: New
id: own-6
logsource: {product: aws, category: secret_access}
detection:
  selection:
    seen.principal_secret: first
  other:
    seen.principal: [first, known]
    seen.region: unknown
  condition: selection or other
---
title: Above The Usual
id: own-7
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [principal.arn, secret.name]
  timespan: 20s
  condition: {gte: 2}
secretrail:
  rate_multiplier: 600
---
title: New At Once
id: own-8
logsource: {product: aws, category: secret_access}
detection:
  selection: {access.outcome: success}
  new: { seen.principal_secret: first }
  condition: selection and new
secretrail: {judge: early}
---
title: New At Once, Once
id: own-9
logsource: {product: aws, category: secret_access}
detection:
  selection: {access.api|startswith: Get}
  new: { seen.source: first }
  known: { seen.principal: known }
  condition: selection and new and known
secretrail: {judge: early, suppress: 10s, group-by: [principal.arn]}
";

pub(crate) static POLICY: LazyLock<AccessPolicy> = LazyLock::new(|| {
    let text = "
version: 1
grants:
  - secrets: ['arn:aws:secretsmanager:*:111122223333:secret:s0']
    principals: ['arn:aws:iam::111122223333:role/app0']
    regions: [eu-central-1]
    keys: ['arn:aws:kms:*:111122223333:key/other']
    baseline_per_hour: 1
";
    text.parse().expect("it is a policy")
});

/// Runs batches against one store, each delivered twice, and settles at the end, so many at a time.
fn in_batches(
    batches: &[Vec<Value>],
    rules: &RuleSet,
    policy: &AccessPolicy,
    at_a_time: usize,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let selection = Selection::default();
    let pipeline = pipeline(rules, Some(policy), &selection);
    let store = MemoryStore::default();
    let mut outcomes: Vec<BatchOutcome> = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        for _ in 0..2 {
            let now = at(100 + i64::try_from(index).unwrap());
            outcomes.push(
                pollster::block_on(pipeline.ingest(&store, scan_result(batch, rules), now))
                    .unwrap(),
            );
        }
    }
    loop {
        let (outcome, some) =
            pollster::block_on(pipeline.sweep(&store, afterwards(), at_a_time)).unwrap();
        outcomes.push(outcome);
        if !some {
            break;
        }
    }
    let accesses: Vec<_> = outcomes.iter().flat_map(|o| o.accesses.clone()).collect();
    (ledger(&accesses), alert_ids(&outcomes))
}

/// The pipeline of these tests.
fn pipeline<'a>(
    rules: &'a RuleSet,
    policy: Option<&'a AccessPolicy>,
    selection: &'a Selection,
) -> Pipeline<'a> {
    Pipeline {
        lookback: LOOKBACK,
        ..Pipeline::new(rules, policy, selection)
    }
}

/// Every record once in a new order, and some of them again.
pub(crate) fn mixed(records: &[Value], order: &[Index]) -> Vec<Value> {
    let mut mixed = records.to_vec();
    for (index, swap) in order.iter().take(records.len()).enumerate() {
        mixed.swap(index, swap.index(records.len()));
    }
    let again = order.iter().skip(records.len());
    mixed.extend(again.map(|index| index.get(records).clone()));
    mixed
}

/// The same records in deliveries that end here and there.
fn deliveries(records: &[Value], cuts: &[Index]) -> Vec<Vec<Value>> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(records.len())).collect();
    ends.extend([0, records.len()]);
    ends.sort_unstable();
    ends.windows(2)
        .map(|ends| records[ends[0]..ends[1]].to_vec())
        .collect()
}

/// Every record in some object, some of them in two.
fn objects(records: &[Value], places: &[(Index, Index)]) -> Vec<Vec<Value>> {
    let mut objects = vec![Vec::new(); 5];
    for (index, (object, again)) in places.iter().enumerate() {
        let record = records.get(index).unwrap_or_else(|| again.get(records));
        objects[object.index(5)].push(record.clone());
    }
    objects
}

/// Every object in some part, and one part twice.
fn parts(
    objects: &[Vec<Value>],
    places: &[(Index, Index)],
    header: &ExtractHeader,
) -> Vec<Vec<u8>> {
    let (none, selection) = (RuleSet::default(), Selection::default());
    let mut scanner = ObjectScanner::new(&none, &selection).keeping(header.calls.clone());
    let mut parts: Vec<Vec<ExtractedObject>> = vec![Vec::new(); 3];
    for (index, records) in objects.iter().enumerate() {
        let (mut found, origin) = (ScanResult::default(), origin(&format!("{index}.json")));
        let text = json!({"Records": records}).to_string();
        scanner
            .read(
                ScanInput::Bytes(text.as_bytes()),
                &origin,
                false,
                &mut found,
            )
            .unwrap();
        let object_status = found.report.finalize(Ok::<(), String>(()), false, false);
        let extracted =
            ExtractedObject::of(&origin, String::new(), false, &object_status, &mut found);
        parts[places[index].1.index(3)].push(extracted);
    }
    let mut bytes: Vec<_> = parts
        .into_iter()
        .map(|part| extract_file::write(header, part))
        .collect();
    bytes.push(bytes[0].clone());
    bytes.rotate_left(places[0].0.index(4));
    bytes
}

/// What a part holds.
fn unpacked(bytes: &[u8], scanner: &mut ObjectScanner<'_>, scan_result: &mut ScanResult) {
    let source = std::io::BufReader::new(flate2::bufread::MultiGzDecoder::new(bytes));
    let mut part = ExtractFileReader::new(source).unwrap().unwrap();
    let origins: Vec<_> = part
        .entries
        .iter()
        .map(|entry| origin(&entry.name))
        .collect();
    part.entries
        .iter()
        .for_each(|entry| scan_result.coverage.extend(entry.marks()));
    while let Some(record) = part.next_record().unwrap() {
        let origin = record.origin(&origins[record.object]);
        scanner.record(record.text, &origin, false, scan_result);
    }
}

/// The record so many times as far from the beginning.
fn stretched(record: &Value, by: i64) -> Value {
    let mut record = record.clone();
    record["eventTime"] = json!(at((time(&record).0 - at(0).0) * by).to_string());
    record
}

fn time(record: &Value) -> EventTime {
    EventTime::parse(record["eventTime"].as_str().unwrap()).unwrap()
}

/// The alerts that records raise while none of them is old enough to be settled.
fn early(records: &[Value]) -> BTreeSet<String> {
    let selection = Selection::default();
    let (pipeline, store) = (
        Pipeline::new(&RULES, None, &selection),
        MemoryStore::default(),
    );
    let outcome = pipeline.run(&store, scan_result(records, &RULES), at(0));
    alert_ids(&[pollster::block_on(outcome).unwrap()])
}

proptest! {
    #![proptest_config(crate::worlds(200))]

    #[test]
    fn order_repetition_and_split_change_nothing(
        records in vec(any_record(), 1..25),
        order in vec(any::<Index>(), 40),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let whole = run(&records, &RULES, Some(&POLICY));
        let rows = ledger(&whole.accesses);
        let ids = alert_ids(std::slice::from_ref(&whole));
        prop_assert_eq!(whole.accesses.len(), rows.len(), "no row is told twice");

        let mixed = mixed(&records, &order);
        let again = run_on(3, &mixed, &RULES, Some(&POLICY));
        prop_assert_eq!(&ledger(&again.accesses), &rows);
        prop_assert_eq!(&alert_ids(std::slice::from_ref(&again)), &ids);

        // In several deliveries, some of them late, each of them twice.
        let batches = deliveries(&mixed, &cuts);
        let (split_rows, split_ids) = in_batches(&batches, &RULES, &POLICY, usize::MAX);
        prop_assert_eq!(&split_rows, &rows);
        prop_assert_eq!(split_ids, ids);

        // Settled a few at a time. What only key uses tell of is then judged by what was settled
        // before it, so that rules about what is new are left out.
        let whole = run(&records, &RULES_WITHOUT_SEEN, Some(&POLICY));
        // Of equal copies, the fields that rules ask for decide which is kept.
        let rows = ledger(&whole.accesses);
        let whole = alert_ids(&[whole]);
        let (few_rows, few_ids) = in_batches(&batches, &RULES_WITHOUT_SEEN, &POLICY, 3);
        prop_assert_eq!(few_rows, rows);
        prop_assert_eq!(few_ids, whole);
    }

    #[test]
    fn a_detour_through_parts_changes_nothing(
        records in vec(any_record(), 1..25),
        places in vec((any::<Index>(), any::<Index>()), 40),
    ) {
        let whole = run(&records, &RULES, Some(&POLICY));
        let selection = Selection::default();
        let header = ExtractHeader::new(&RULES, &selection);
        let mut scan_result = ScanResult::default();
        let mut scanner = ObjectScanner::new(&RULES, &selection);
        for part in parts(&objects(&records, &places), &places, &header) {
            unpacked(&part, &mut scanner, &mut scan_result);
        }
        let pipeline = pipeline(&RULES, Some(&POLICY), &selection);
        let store = MemoryStore::default();
        let again = pollster::block_on(pipeline.run(&store, scan_result, afterwards())).unwrap();
        prop_assert_eq!(ledger(&again.accesses), ledger(&whole.accesses));
        prop_assert_eq!(alert_ids(&[again]), alert_ids(&[whole]));
    }

    #[test]
    fn a_history_in_slices_is_the_history(
        records in vec(any_record(), 1..40),
        cuts in vec(0_i64..45, 0..8),
        stretch in prop_oneof![Just(1_i64), Just(3), Just(40)],
        pause in 0_i64..60,
    ) {
        let selection = Selection::default();
        let pipeline = Pipeline { threads: 2, ..pipeline(&RULES, Some(&POLICY), &selection) };
        // Longer than what is joined as one, at times; and at times so recent that some of it is
        // pending.
        let records: Vec<Value> = records.iter().map(|one| stretched(one, stretch)).collect();
        let now = at(pause * stretch).plus(pipeline.allowed_lateness_secs);
        let whole = in_one(&pipeline, scan_result(&records, &RULES), now);
        let mut cuts: Vec<EventTime> = cuts.into_iter().map(|cut| at(cut * stretch)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(in_slices(&pipeline, &records, &cuts, now), whole);
    }

    #[test]
    fn more_facts_never_take_an_alert_of_sight_away(
        records in vec(any_record(), 2..25),
        cut in any::<Index>(),
    ) {
        // Without absence, which is decided once: what a part of the input raises at sight, the
        // whole raises too.
        let part = early(&records[..cut.index(records.len())]);
        prop_assert!(part.is_subset(&early(&records)));
    }
}

/// Accesses, alerts and counts, in order.
type Told = (Vec<String>, Vec<Alert>, ReadReport);

fn reported(outcome: &mut BatchOutcome) -> Told {
    // Beside a row there may be others that differ in nothing that is told.
    let line =
        |access: &std::sync::Arc<_>| serde_json::to_string(&AccessV1::from(&**access)).unwrap();
    let accesses = outcome.accesses.iter().map(line).collect();
    (
        accesses,
        std::mem::take(&mut outcome.alerts),
        std::mem::take(&mut outcome.report),
    )
}

/// With everything held, as a replay of logs does.
fn in_one(pipeline: &Pipeline<'_>, scan_result: ScanResult, now: EventTime) -> Told {
    let store = MemoryStore::default();
    let mut outcome = pollster::block_on(pipeline.run(&store, scan_result, now)).unwrap();
    let mut pending = pollster::block_on(pipeline.pending(&store)).unwrap();
    outcome.report.add(&pending.report);
    outcome.accesses.append(&mut pending.accesses);
    outcome
        .accesses
        .sort_by(|a, b| a.ledger_order().cmp(&b.ledger_order()));
    reported(&mut outcome)
}

/// In slices that end before these times, each record in its own.
fn in_slices(
    pipeline: &Pipeline<'_>,
    records: &[Value],
    cuts: &[EventTime],
    now: EventTime,
) -> Told {
    let mut history = HistoryPipeline::new(pipeline, now);
    let coverage = scan_result(records, pipeline.rules).coverage;
    pollster::block_on(history.mark(coverage, None)).unwrap();
    let mut all = Told::default();
    let mut add = |mut outcome: BatchOutcome| {
        let (mut accesses, mut alerts, report) = reported(&mut outcome);
        all.0.append(&mut accesses);
        all.1.append(&mut alerts);
        all.2.add(&report);
    };
    let mut from = EventTime(i64::MIN);
    for upto in cuts.iter().copied().chain([EventTime(i64::MAX - 1)]) {
        let slice: Vec<Value> = records
            .iter()
            .filter(|record| time(record) >= from && time(record) < upto)
            .cloned()
            .collect();
        let mut slice = scan_result(&slice, pipeline.rules);
        // What the reader counts is not told again.
        slice.report = ReadReport::default();
        add(pollster::block_on(history.advance(slice, upto)).unwrap());
        from = upto;
    }
    add(pollster::block_on(history.finish()).unwrap());
    all
}

#[test]
fn what_never_pauses_is_cut_and_nothing_is_lost_or_told_twice() {
    let selection = Selection::default();
    let pipeline = pipeline(&RULES, None, &selection);
    let mut records = Vec::new();
    for secs in 0..2_000 {
        let name = format!("s{}", secs % 3);
        records.push(read(&format!("r{secs}"), "app", secs, &name));
        // Some come later, some never.
        if secs % 5 != 0 {
            records.push(decrypt_secret(
                &format!("d{secs}"),
                "app",
                secs + i64::from(secs % 7 == 0),
                &name,
            ));
        }
    }
    let whole = in_one(&pipeline, scan_result(&records, &RULES), afterwards());
    let cuts: Vec<EventTime> = (1..50).map(|cut| at(cut * 41)).collect();
    let slices = in_slices(&pipeline, &records, &cuts, afterwards());
    assert_eq!(slices.0.len(), 2_000);
    assert_eq!(slices, whole);
}

#[test]
fn a_chain_of_equally_near_events_has_one_answer_wherever_it_is_cut() {
    let selection = Selection::default();
    let pipeline = pipeline(&RULES_WITHOUT_SEEN, Some(&POLICY), &selection);
    // Each Decrypt lies in the middle between two reads. The first has no read before it and goes to
    // the one after it, so that all others do too, for half an hour.
    let mut records = vec![decrypt_secret("d000", "app", -2, "s")];
    for link in 0..450 {
        records.push(read(&format!("r{link:03}"), "app", 4 * link, "s"));
        records.push(decrypt_secret(
            &format!("e{link:03}"),
            "app",
            4 * link + 2,
            "s",
        ));
    }
    let whole = in_one(
        &pipeline,
        scan_result(&records, &RULES_WITHOUT_SEEN),
        afterwards(),
    );
    let shifted = whole
        .0
        .iter()
        .filter(|line| line.contains("\"delta_secs\":-2"));
    assert_eq!(shifted.count(), 450);
    for step in [7, 40, 333] {
        let cuts: Vec<EventTime> = (0..1_800 / step).map(|cut| at(cut * step)).collect();
        let slices = in_slices(&pipeline, &records, &cuts, afterwards());
        assert_eq!(slices, whole, "slices of {step} s");
    }
    let expected = run(&records, &RULES_WITHOUT_SEEN, Some(&POLICY));
    let batches: Vec<Vec<Value>> = records.chunks(97).map(<[Value]>::to_vec).collect();
    for at_a_time in [5, usize::MAX] {
        let (rows, ids) = in_batches(&batches, &RULES_WITHOUT_SEEN, &POLICY, at_a_time);
        assert_eq!(rows, ledger(&expected.accesses), "{at_a_time} at a time");
        assert_eq!(ids, alert_ids(std::slice::from_ref(&expected)));
    }
}
