//! The example logs through the forms of lakes and query results, and back: the same accesses and
//! alerts, but for what a form cannot hold.

use secretrail_engine::{
    object::origin,
    pipeline::BatchOutcome,
    record_shape::RecordShape,
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
};
use serde_json::{Value, json};
use test_support::{
    alert_ids,
    lakes::{examples, ocsf},
    ledger, pack, run_scanned,
};

fn scanned(text: &[u8], rules: &RuleSet) -> ScanResult {
    let (selection, mut found) = (Selection::default(), ScanResult::default());
    let mut scanner = ObjectScanner::new(rules, &selection);
    let input = ScanInput::Bytes(text);
    scanner
        .read(input, &origin("a.json"), false, &mut found)
        .unwrap();
    found
}

/// A value as Presto prints it.
fn presto(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(presto).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields: Vec<String> = fields
                .map(|(name, value)| format!("{}={}", name.to_lowercase(), presto(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn csv(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")))
            .collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Columns of Athena's table, without those of no interest.
const ATHENA: [&str; 19] = [
    "eventVersion",
    "userIdentity",
    "eventTime",
    "eventSource",
    "eventName",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "errorCode",
    "errorMessage",
    "requestParameters",
    "requestID",
    "eventID",
    "resources",
    "eventType",
    "readOnly",
    "recipientAccountId",
    "sharedEventID",
    "vpcEndpointId",
];

fn athena(records: &[Value]) -> String {
    let header = ATHENA.iter().map(|name| name.to_lowercase()).collect();
    let rows = records.iter().map(|record| {
        let cells = ATHENA.iter().map(|name| match (*name, &record[name]) {
            (_, Value::Null) => String::new(),
            ("userIdentity" | "resources", value) => presto(value),
            (_, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        });
        cells.collect()
    });
    csv([header].into_iter().chain(rows))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Columns of Sentinel, and where their values are.
const SENTINEL: [(&str, &str); 27] = [
    ("TimeGenerated [UTC]", "/eventTime"),
    ("AwsEventId", "/eventID"),
    ("EventVersion", "/eventVersion"),
    ("EventSource", "/eventSource"),
    ("EventTypeName", "/eventType"),
    ("EventName", "/eventName"),
    ("UserIdentityType", "/userIdentity/type"),
    ("UserIdentityPrincipalid", "/userIdentity/principalId"),
    ("UserIdentityArn", "/userIdentity/arn"),
    ("UserIdentityAccountId", "/userIdentity/accountId"),
    ("UserIdentityInvokedBy", "/userIdentity/invokedBy"),
    ("UserIdentityAccessKeyId", "/userIdentity/accessKeyId"),
    ("UserIdentityUserName", "/userIdentity/userName"),
    (
        "SessionIssuerArn",
        "/userIdentity/sessionContext/sessionIssuer/arn",
    ),
    (
        "SessionIssuerUserName",
        "/userIdentity/sessionContext/sessionIssuer/userName",
    ),
    (
        "EC2RoleDelivery",
        "/userIdentity/sessionContext/ec2RoleDelivery",
    ),
    ("AWSRegion", "/awsRegion"),
    ("SourceIpAddress", "/sourceIPAddress"),
    ("UserAgent", "/userAgent"),
    ("ErrorCode", "/errorCode"),
    ("ErrorMessage", "/errorMessage"),
    ("RequestParameters", "/requestParameters"),
    ("Resources", "/resources"),
    ("RecipientAccountId", "/recipientAccountId"),
    ("SharedEventId", "/sharedEventID"),
    ("VpcEndpointId", "/vpcEndpointId"),
    ("Type", "/none"),
];

fn sentinel(records: &[Value]) -> String {
    let header = SENTINEL
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let rows = records.iter().map(|record| {
        let cells = SENTINEL.iter();
        cells
            .map(|(_, path)| record.pointer(path).map(text).unwrap_or_default())
            .collect()
    });
    csv([header].into_iter().chain(rows))
}

fn sentinel_table(records: &[Value]) -> String {
    let columns: Vec<Value> = SENTINEL
        .iter()
        .map(|(name, _)| json!({"name": name, "type": "string"}))
        .collect();
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let cells = SENTINEL.iter();
            cells
                .map(|(_, path)| record.pointer(path).map(text).unwrap_or_default())
                .collect()
        })
        .collect();
    json!({"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]}).to_string()
}

/// A result of CloudTrail Lake: a list of columns for each row.
fn lake(records: &[Value]) -> String {
    let rows: Vec<Value> = records
        .iter()
        .map(|record| {
            let columns = ATHENA.iter().filter(|name| !record[**name].is_null());
            columns
                .map(|name| match (*name, &record[name]) {
                    ("userIdentity" | "resources", value) => json!({*name: presto(value)}),
                    ("eventTime", value) => {
                        let time = text(value).replace('T', " ").replace('Z', ".000");
                        json!({"eventtime": time})
                    }
                    (_, value) => json!({name.to_lowercase(): text(value)}),
                })
                .collect()
        })
        .collect();
    json!({"QueryStatus": "FINISHED", "QueryResultRows": rows}).to_string()
}

fn summary(outcome: &BatchOutcome) -> (usize, Vec<String>) {
    let ids = alert_ids(std::slice::from_ref(outcome))
        .into_iter()
        .collect();
    (outcome.accesses.len(), ids)
}

#[test]
fn the_example_logs_are_the_same_through_every_form() {
    let (records, rules) = (examples(), pack());
    let plain = run_scanned(
        scanned(json!({"Records": records}).to_string().as_bytes(), &rules),
        &rules,
    );
    assert!(plain.accesses.len() > 100 && plain.alerts.len() > 5);
    let jsonl = |version: &str| {
        let lines = records
            .iter()
            .map(|record| ocsf(record, version).to_string());
        lines.collect::<Vec<_>>().join("\n")
    };
    let forms = [
        (RecordShape::Ocsf, jsonl("1.0.0-rc.2")),
        (RecordShape::Ocsf, jsonl("1.1.0")),
        (RecordShape::Ocsf, jsonl("1.5.0")),
        (RecordShape::QueryResult, athena(&records)),
        (
            RecordShape::QueryResult,
            format!("# Execution Time: t\n{}", athena(&records)),
        ),
        (RecordShape::QueryResult, lake(&records)),
        (RecordShape::Sentinel, sentinel(&records)),
        (RecordShape::Sentinel, sentinel_table(&records[..200])),
    ];
    for (index, (shape, text)) in forms.iter().enumerate() {
        let found = scanned(text.as_bytes(), &rules);
        assert_eq!(found.report.records_skipped, [].into(), "{index}");
        let shapes: Vec<_> = found.report.shapes.iter().collect();
        let taken = if text.starts_with("{\"tables") {
            200
        } else {
            records.len()
        };
        assert_eq!(shapes, [(*shape, taken as u64)], "{index}");
        assert_eq!(found.report.form_fields.lacking(), [], "{index}");
        if taken < records.len() {
            continue;
        }
        let outcome = run_scanned(found, &rules);
        assert_eq!(
            ledger(&outcome.accesses),
            ledger(&plain.accesses),
            "{index}"
        );
        assert_eq!(summary(&outcome), summary(&plain), "{index}");
    }
}

#[test]
fn what_a_form_cannot_tell_is_unknown_and_said() {
    // The console's event history has neither parameters nor the caller's ARN.
    let records: Vec<Value> = examples();
    let columns = [
        ("User name", "/userIdentity/userName"),
        ("AWS access key", "/userIdentity/accessKeyId"),
        ("Event time", "/eventTime"),
        ("Event source", "/eventSource"),
        ("Event name", "/eventName"),
        ("AWS region", "/awsRegion"),
        ("Source IP address", "/sourceIPAddress"),
        ("User agent", "/userAgent"),
        ("Error code", "/errorCode"),
        ("Event ID", "/eventID"),
        ("Recipient Account Id", "/recipientAccountId"),
    ];
    let header = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let rows = records.iter().map(|record| {
        let cells = columns.iter();
        cells
            .map(|(_, path)| record.pointer(path).map(text).unwrap_or_default())
            .collect()
    });
    let text = csv([header].into_iter().chain(rows));
    let rules = RuleSet::default();
    let found = scanned(text.as_bytes(), &rules);
    let lacking = vec!["userIdentity.arn", "requestParameters", "errorMessage"];
    assert_eq!(
        found.report.form_fields.lacking(),
        [(RecordShape::EventHistory, lacking)]
    );
    let outcome = run_scanned(found, &rules);
    assert!(outcome.accesses.len() > 50);
    // Decrypts without an encryption context do not prove that one would have been seen.
    let absent = outcome
        .accesses
        .iter()
        .filter(|access| access.decrypt.status.as_str() == "absent");
    assert_eq!(absent.count(), 0);
}
