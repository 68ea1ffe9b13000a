//! The state table: its mode, its keys, and what protects and cleans it.

use secretrail_aws::names::{PK, SK, TTL};
use serde_json::{Value, json};

use super::Checkup;
use crate::aws_api::DYNAMODB;

const PART: &str = "table";

pub(super) fn check(checkup: &mut Checkup<'_>) {
    let name = checkup.table.name.to_owned();
    let Some(description) = described(checkup, "DescribeTable", &name, "Table") else {
        return;
    };
    let status = description.get("TableStatus").and_then(Value::as_str);
    let status = status.unwrap_or("in an unknown state");
    let billing = description.get("BillingModeSummary");
    let billing = billing.and_then(|summary| summary.get("BillingMode")?.as_str());
    let is_protected = description.get("DeletionProtectionEnabled");
    let is_protected = is_protected.and_then(Value::as_bool).unwrap_or_default();
    let findings = &mut checkup.findings;
    if keys(&description) != [PK, SK] {
        let what = format!("{name} has other keys than {PK} and {SK}");
        findings.fail(PART, what, "deploy the stack with a table of its own");
    } else if !["ACTIVE", "UPDATING"].contains(&status) {
        let remedy = "see the table in the DynamoDB console; restore it from point-in-time \
                      recovery if its key was lost";
        findings.fail(PART, format!("{name} is {status}"), remedy);
    } else if billing == Some("PAY_PER_REQUEST") {
        findings.ok(PART, format!("{name} is {status}, on demand"));
    } else {
        findings.warn(
            PART,
            format!("{name} has provisioned capacity: bursts are throttled, and alerts are late"),
            format!("aws dynamodb update-table --table-name {name} --billing-mode PAY_PER_REQUEST"),
        );
    }
    if !is_protected {
        findings.warn(
            PART,
            "anybody with dynamodb:DeleteTable can delete it at once",
            format!("aws dynamodb update-table --table-name {name} --deletion-protection-enabled"),
        );
    }
    expiry(checkup, &name);
    recovery(checkup, &name);
}

/// The answer of an operation about the table, from a field of it on.
fn described(checkup: &mut Checkup<'_>, operation: &str, name: &str, field: &str) -> Option<Value> {
    let input = json!({"TableName": name});
    let answer = checkup.api.json(&DYNAMODB, operation, &input);
    let what = format!("table {name}");
    let found = checkup.findings.known(PART, &what, answer)?;
    found.get(field).cloned()
}

/// The names of the keys, the partition key first.
fn keys(description: &Value) -> Vec<&str> {
    let schema = description.get("KeySchema").and_then(Value::as_array);
    let names = schema.into_iter().flatten();
    names
        .filter_map(|key| key.get("AttributeName")?.as_str())
        .collect()
}

fn expiry(checkup: &mut Checkup<'_>, name: &str) {
    let Some(found) = described(checkup, "DescribeTimeToLive", name, "TimeToLiveDescription")
    else {
        return;
    };
    let status = found.get("TimeToLiveStatus").and_then(Value::as_str);
    let attribute = found.get("AttributeName").and_then(Value::as_str);
    let is_on = status.is_some_and(|status| status.starts_with("ENABL"));
    let findings = &mut checkup.findings;
    if is_on && attribute == Some(TTL) {
        findings.ok(PART, "items expire");
        return;
    }
    findings.warn(
        PART,
        "items do not expire: the table grows, and costs more each day",
        format!(
            "aws dynamodb update-time-to-live --table-name {name} --time-to-live-specification \
             Enabled=true,AttributeName={TTL}"
        ),
    );
}

fn recovery(checkup: &mut Checkup<'_>, name: &str) {
    let field = "ContinuousBackupsDescription";
    let Some(found) = described(checkup, "DescribeContinuousBackups", name, field) else {
        return;
    };
    let point = found.get("PointInTimeRecoveryDescription");
    let status = point.and_then(|point| point.get("PointInTimeRecoveryStatus")?.as_str());
    let findings = &mut checkup.findings;
    if status == Some("ENABLED") {
        findings.ok(PART, "point-in-time recovery is on");
        return;
    }
    findings.warn(
        PART,
        "point-in-time recovery is off: what was seen cannot be restored",
        format!(
            "aws dynamodb update-continuous-backups --table-name {name} \
             --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        ),
    );
}
