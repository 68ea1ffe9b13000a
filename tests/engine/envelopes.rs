//! Whatever wraps or compresses records changes nothing, and damage to one document nothing in the
//! others.

use std::{collections::BTreeSet, io::Write};

use proptest::prelude::*;
use proptest::{
    collection::vec,
    sample::{Index, select},
};
use secretrail_engine::{
    object::origin,
    report::SkippedRecord,
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
};
use serde_json::{Value, json};
use test_support::{
    alert_ids, any_record, ledger, pack, packed, read, run, run_scanned, scan_result,
};

fn scanned(bytes: &[u8], rules: &RuleSet) -> ScanResult {
    let selection = Selection::default();
    let mut found = ScanResult::default();
    ObjectScanner::new(rules, &selection)
        .read(
            ScanInput::Bytes(bytes),
            &origin("test.json"),
            false,
            &mut found,
        )
        .expect("the bytes are read");
    let mut streamed = ScanResult::default();
    ObjectScanner::new(rules, &selection)
        .read(
            ScanInput::Stream(&mut { bytes }),
            &origin("test.json"),
            false,
            &mut streamed,
        )
        .expect("the stream is read");
    assert_eq!(found.report, streamed.report, "both ways are one");
    found
}

/// A way to wrap records.
type Wrap = fn(&[Value]) -> String;

fn lines(records: &[Value], wrap: impl Fn(&Value) -> Value) -> String {
    records
        .iter()
        .map(|record| wrap(record).to_string() + "\n")
        .collect()
}

const WRAPS: [(&str, Wrap); 18] = [
    ("Records", |r| json!({"Records": r}).to_string()),
    ("records, pretty", |r| {
        serde_json::to_string_pretty(&json!({"records": r})).unwrap()
    }),
    ("lines", |r| lines(r, Value::clone)),
    ("array", |r| json!(r).to_string()),
    ("texts", |r| {
        json!(r.iter().map(Value::to_string).collect::<Vec<_>>()).to_string()
    }),
    ("data", |r| {
        json!({"meta": {"a": [1]}, "data": r}).to_string()
    }),
    ("EventBridge", |r| {
        lines(
            r,
            |r| json!({"detail-type": "AWS API Call via CloudTrail", "resources": [], "detail": r}),
        )
    }),
    ("EventBridge without breaks", |r| {
        lines(
            r,
            |r| json!({"detail-type": "AWS API Call via CloudTrail", "detail": r}),
        )
        .replace('\n', "")
    }),
    ("search response", |r| {
        let hits: Vec<Value> = r
            .iter()
            .map(|r| json!({"_index": "i", "_source": r}))
            .collect();
        json!({"took": 3, "_shards": {"total": 1}, "hits": {"total": {"value": 9}, "hits": hits}})
            .to_string()
    }),
    ("shipper", |r| {
        lines(
            r,
            |r| json!({"@timestamp": "t", "message": r.to_string(), "event": {"original": r.to_string()}}),
        )
    }),
    ("HEC", |r| lines(r, |r| json!({"time": 1, "event": r}))),
    ("Splunk", |r| {
        lines(
            r,
            |r| json!({"preview": false, "result": {"_raw": r.to_string()}}),
        )
    }),
    ("Datadog", |r| {
        let logs: Vec<Value> = r
            .iter()
            .map(|r| json!({"content": {"attributes": r}}))
            .collect();
        json!({"data": logs}).to_string()
    }),
    ("Wazuh", |r| {
        lines(r, |r| json!({"rule": {"level": 3}, "data": {"aws": r}}))
    }),
    ("subscription", |r| {
        let events: Vec<Value> = r
            .iter()
            .map(|r| json!({"id": "1", "timestamp": 1, "message": r.to_string()}))
            .collect();
        json!({"messageType": "DATA_MESSAGE", "owner": "111122223333", "logEvents": events})
            .to_string()
    }),
    ("lookup-events", |r| {
        let events: Vec<Value> = r
            .iter()
            .map(|r| json!({"Resources": [], "CloudTrailEvent": r.to_string()}))
            .collect();
        json!({"Events": events, "NextToken": "x"}).to_string()
    }),
    ("Lake", |r| {
        let rows: Vec<Value> = r
            .iter()
            .map(|r| json!([{"eventJson": r.to_string()}]))
            .collect();
        json!({"QueryStatus": "FINISHED", "QueryResultRows": rows}).to_string()
    }),
    ("four envelopes", |r| {
        let event = json!({"detail-type": "AWS API Call via CloudTrail", "detail": {"Records": r}});
        let notification = json!({"Type": "Notification", "Message": event.to_string()});
        json!({"MessageId": "m", "Body": notification.to_string()}).to_string()
    }),
];

/// A way to compress text.
type Compress = fn(&[u8]) -> Vec<u8>;

const PACKS: [(&str, Compress); 6] = [
    ("plain", <[u8]>::to_vec),
    ("gzip", packed),
    ("gzip in gzip", |text| packed(&packed(text))),
    ("zstd", |text| zstd::stream::encode_all(text, 1).unwrap()),
    ("gzip in zstd", |text| {
        zstd::stream::encode_all(packed(text).as_slice(), 1).unwrap()
    }),
    ("bzip2", |text| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }),
];

/// Event ids of what was observed.
fn ids(found: &ScanResult) -> BTreeSet<String> {
    let ends = found.observations.iter();
    ends.map(|end| end.observation.head().event_id.to_string())
        .collect()
}

fn observed(text: &str) -> BTreeSet<String> {
    ids(&scanned(text.as_bytes(), &RuleSet::default()))
}

/// What happens to a document on its way.
#[derive(Debug, Clone)]
enum Damage {
    CutAt(Index),
    Without(Index),
    With(Index, u8),
}

impl Damage {
    fn to(&self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        match self {
            Self::CutAt(at) => bytes.truncate(at.index(bytes.len())),
            Self::Without(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::With(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
        }
        bytes
    }
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let odd = select(b"{}[]\",:\\\n\t x0\x00\xff".to_vec());
    prop_oneof![
        any::<Index>().prop_map(Damage::CutAt),
        any::<Index>().prop_map(Damage::Without),
        (any::<Index>(), odd).prop_map(|(at, byte)| Damage::With(at, byte)),
    ]
}

proptest! {
    #![proptest_config(crate::worlds(64))]

    #[test]
    fn every_envelope_and_compression_gives_the_ledger_of_the_plain_form(
        records in vec(any_record(), 1..12),
    ) {
        let rules = pack();
        let plain = run(&records, &rules, None);
        let expected = scan_result(&records, &rules);
        for (wrap_name, wrap) in WRAPS {
            for (pack_name, pack) in PACKS {
                let found = scanned(&pack(wrap(&records).as_bytes()), &rules);
                prop_assert_eq!(found.report.records, expected.report.records, "{} {}", wrap_name, pack_name);
                prop_assert!(found.report.records_skipped.is_empty(), "{wrap_name} {pack_name}");
                if pack_name == "plain" || wrap_name == "Records" {
                    let outcome = run_scanned(found, &rules);
                    prop_assert_eq!(ledger(&outcome.accesses), ledger(&plain.accesses), "{}", wrap_name);
                    prop_assert_eq!(
                        alert_ids(&[outcome]),
                        alert_ids(std::slice::from_ref(&plain)),
                        "{}", wrap_name
                    );
                } else {
                    prop_assert_eq!(ids(&found), ids(&expected), "{} {}", wrap_name, pack_name);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::worlds(2_000))]

    #[test]
    fn damage_to_one_document_changes_nothing_in_the_others(
        documents in vec((select(vec![0, 2, 3, 6, 9, 14]), vec(any_record(), 1..3)), 2..5),
        damaged in any::<Index>(),
        damage in any_damage(),
    ) {
        let texts: Vec<String> = documents
            .iter()
            .map(|(wrap, records)| {
                let text = WRAPS[*wrap].1(if WRAPS[*wrap].0 == "Records" { records } else { &records[..1] });
                text.trim_end().to_owned()
            })
            .collect();
        let damaged = damaged.index(texts.len());
        let mut all = Vec::new();
        let mut others = String::new();
        for (index, text) in texts.iter().enumerate() {
            if index == damaged {
                all.extend(damage.to(text));
            } else {
                all.extend_from_slice(text.as_bytes());
                others += &format!("{text}\n");
            }
            all.push(b'\n');
        }
        let found = ids(&scanned(&all, &RuleSet::default()));
        let expected = observed(&others);
        prop_assert!(
            found.is_superset(&expected),
            "{:?} of {:?}\n{}",
            found, expected, String::from_utf8_lossy(&all)
        );
    }
}

#[test]
fn an_unreadable_read_is_an_alert_with_every_rule_set_and_one_for_each_object() {
    let broken = read("e1", "app", 0, "db")
        .to_string()
        .replace("\"eventName\":", "\"eventName\"");
    let text = format!("{broken}\n{broken}\n");
    let found = scanned(text.as_bytes(), &RuleSet::default());
    assert_eq!(
        found.report.records_skipped,
        [(SkippedRecord::Malformed, 2)].into()
    );
    let outcome = run_scanned(found, &RuleSet::default());
    let [alert] = outcome.alerts.as_slice() else {
        panic!("{:?}", outcome.alerts)
    };
    assert_eq!(
        (&*alert.rule.title, alert.rule.level.as_str()),
        ("Record Could Not Be Read", "medium")
    );
    assert_eq!(alert.time, test_support::at(0));
}

#[test]
fn one_quote_too_many_and_one_field_too_few_hide_no_record_in_silence() {
    let titles = |text: &str| -> Vec<String> {
        let outcome = run_scanned(
            scanned(text.as_bytes(), &RuleSet::default()),
            &RuleSet::default(),
        );
        let titles = outcome.alerts.iter().map(|alert| alert.rule.title.clone());
        titles.collect()
    };
    let record = read("e1", "app", 0, "db");
    let log = json!({"Records": [record, record, record]}).to_string();
    let unreadable = ["Record Could Not Be Read"];
    // In a file of one line, a quote takes all of it for one string.
    for (right, wrong) in [
        ("\"secretId\":\"db\"", "\"secretId\":\"db\"\""),
        ("\"secretId\":\"db\"", "\"secretId\":\"db\\\""),
    ] {
        assert!(log.contains(right), "{log}");
        let damaged = log.replacen(right, wrong, 1);
        assert_eq!(titles(&damaged), unreadable, "{damaged}");
        assert_eq!(titles(&format!("{damaged}\n")), unreadable, "{damaged}");
    }
    // A download that broke off is no finding, wherever it did.
    let whole = titles(&log);
    for end in (log.len() / 2)..(log.len() - 2) {
        if !log[..end].ends_with('}') {
            assert_eq!(titles(&log[..end]), whole, "{}", &log[..end]);
        }
    }
    for field in ["eventName", "eventTime"] {
        let mut record = record.clone();
        record.as_object_mut().unwrap().remove(field);
        assert_eq!(titles(&record.to_string()), unreadable, "{field}");
        record[field] = Value::Null;
        assert_eq!(titles(&record.to_string()), unreadable, "{field}");
    }
    let other = json!({"eventVersion": "1.11", "eventSource": "s3.amazonaws.com"});
    assert_eq!(titles(&other.to_string()), Vec::<String>::new());
}

/// Puts nested fields at the top, each under its path.
fn flattened(path: &str, value: &Value, flat: &mut serde_json::Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let separator = if path.is_empty() { "" } else { "." };
                flattened(&format!("{path}{separator}{name}"), value, flat);
            }
        }
        value => drop(flat.insert(path.to_owned(), value.clone())),
    }
}

#[test]
fn a_record_whose_fields_stand_under_their_paths_is_the_record() {
    let records = [
        read("e1", "app", 0, "db"),
        test_support::decrypt_secret("k1", "app", 0, "db"),
        test_support::direct_decrypt("k2", "thief", 5, "other"),
    ];
    let flat = records.iter().map(|record| {
        let mut flat = serde_json::Map::new();
        flattened("", record, &mut flat);
        Value::Object(flat)
    });
    let flat: Vec<Value> = flat.collect();
    assert!(flat[0].get("userIdentity.arn").is_some(), "{}", flat[0]);
    let lines = |records: &[Value]| -> String {
        records.iter().map(|record| format!("{record}\n")).collect()
    };
    let exported = flat.iter().map(|record| json!({"result": record}));
    let exported: Vec<Value> = exported.collect();
    let expected = observed(&lines(&records));
    assert_eq!(expected.len(), 3);
    for wrapped in [lines(&flat), lines(&exported)] {
        let found = scanned(wrapped.as_bytes(), &pack());
        assert_eq!(ids(&found), expected, "{wrapped}");
        assert_eq!(found.report.records_skipped, [].into());
    }
}
