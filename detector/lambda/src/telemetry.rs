//! Logs and metrics of the function: one JSON line for each log message, and one line of metrics
//! for each invocation, in CloudWatch's embedded metric format. Only names of objects, ids and
//! counts: nothing from the content of a request or record.
//!
//! Source: Amazon CloudWatch user guide, "Specification: Embedded metric format", checked 2026-11.

use std::{collections::BTreeMap, io::Write};

use secretrail_engine::{access::DecryptStatus, report::ReadReport};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// CloudWatch namespace of the metrics.
pub const NAMESPACE: &str = "Secretrail";

/// Most values of one metric in one line.
const VALUES: usize = 100;

/// Severity of a log line: key `level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSeverity {
    /// Normal operation.
    Info,
    /// Needs attention, but nothing failed.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a log line to standard output: `level`, `message`, and the fields.
pub fn log(severity: LogSeverity, message: &str, fields: Value) {
    let mut line = Map::new();
    line.insert("level".to_owned(), json!(severity));
    line.insert("message".to_owned(), json!(message));
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    print(&Value::Object(line));
}

/// Writes a line. An error is ignored: there is no other place to report it.
fn print(line: &Value) {
    let mut text = line.to_string();
    text.push('\n');
    std::io::stdout().lock().write_all(text.as_bytes()).ok();
}

/// Names and units of the metrics: what alarms watch, and what people look at first. Each of them
/// is billed. The template and the README must use these names.
pub const METRICS: [(&str, &str); 10] = [
    ("Alerts", "Count"),
    ("PublishFailures", "Count"),
    ("OutboxAge", "Seconds"),
    ("DueAge", "Seconds"),
    ("ItemsSetAside", "Count"),
    ("RecordsSkipped", "Count"),
    ("RulesRejected", "Count"),
    ("DeliveryLag", "Seconds"),
    ("MinutesSinceLastObject", "None"),
    ("OpenExposureHours", "None"),
];

/// What the same line has besides: no metrics, found with CloudWatch Logs Insights.
pub const FIGURES: [&str; 29] = [
    "Objects",
    "ObjectsSkipped",
    "ObjectsFailed",
    "ObjectsDuplicate",
    "DigestsCompared",
    "FilesFetched",
    "FilesMissing",
    "Records",
    "RecordsRepaired",
    "Observations",
    "Reads",
    "Pairs",
    "LatePairings",
    "ConflictingCopies",
    "AlertsPublished",
    "AlertsWithdrawn",
    "NotesDropped",
    "MessagesRetried",
    "MessagesUnparseable",
    "DynamoDBRequests",
    "Duration",
    "DirectEvents",
    "LogPayloads",
    "LatencyOfFilesP50",
    "LatencyOfFilesP95",
    "LatencyOfLogsP50",
    "LatencyOfLogsP95",
    "LatencyOfEventsP50",
    "LatencyOfEventsP95",
];

/// The metrics and figures of one invocation.
#[derive(Debug, Default)]
pub struct FunctionMetrics {
    values: BTreeMap<&'static str, Vec<f64>>,
    /// Skipped objects and records by reason, written as `SkippedByReason` beside the metrics.
    skipped: BTreeMap<&'static str, u64>,
}

impl FunctionMetrics {
    /// Adds to the count of a metric.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn add(&mut self, name: &'static str, count: u64) {
        let values = self.values.entry(name).or_default();
        match values.first_mut() {
            Some(sum) => *sum += count as f64,
            None => values.push(count as f64),
        }
    }

    /// Adds a single value of a metric, such as a duration.
    pub fn record(&mut self, name: &'static str, value: f64) {
        let values = self.values.entry(name).or_default();
        // The format allows no more: further values are dropped.
        if values.len() < VALUES {
            values.push(value);
        }
    }

    /// The count, or first value, of a metric; `None` when it was not recorded.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values
            .get(name)
            .and_then(|values| values.first())
            .copied()
    }

    /// Adds the counts of a report of the engine.
    pub fn count(&mut self, report: &ReadReport) {
        let skipped: u64 = report.records_skipped.values().sum();
        // Read, but not all of it: a name may be missing that a rule looks for.
        let altered = report.records_altered + report.fields_mistyped;
        for (reason, count) in reasons(report) {
            *self.skipped.entry(reason).or_default() += count;
        }
        let paired = report
            .accesses
            .get(&DecryptStatus::Paired)
            .copied()
            .unwrap_or(0);
        for (name, count) in [
            ("Objects", report.objects),
            ("ObjectsSkipped", report.objects_skipped.values().sum()),
            ("ObjectsFailed", report.objects_failed),
            ("Records", report.records),
            ("RecordsSkipped", skipped + altered),
            ("RecordsRepaired", report.records_repaired),
            ("Reads", report.reads),
            ("Pairs", paired),
            ("LatePairings", report.late),
            ("ConflictingCopies", report.conflicting_copies),
            ("Alerts", report.alerts.values().sum()),
            ("AlertsWithdrawn", report.alerts_withdrawn),
        ] {
            if count > 0 {
                self.add(name, count);
            }
        }
    }

    /// The line of metrics. `timestamp` is in milliseconds since 1970.
    #[must_use]
    pub fn line(&self, function: &str, timestamp: i64) -> Value {
        let directive = json!({"Namespace": NAMESPACE, "Dimensions": [["FunctionName"]],
            "Metrics": self.declarations()});
        let about = json!({"Timestamp": timestamp, "CloudWatchMetrics": [directive]});
        let mut line = Map::new();
        line.insert("_aws".to_owned(), about);
        line.insert("FunctionName".to_owned(), json!(function));
        if !self.skipped.is_empty() {
            line.insert("SkippedByReason".to_owned(), json!(self.skipped));
        }
        for (name, values) in &self.values {
            line.insert((*name).to_owned(), target(values));
        }
        Value::Object(line)
    }

    /// Names and units of the metrics in the line: the format requires a value for each declared
    /// one.
    fn declarations(&self) -> Vec<Value> {
        METRICS
            .iter()
            .filter(|(name, _)| self.values.contains_key(name))
            .map(|(name, unit)| json!({"Name": name, "Unit": unit}))
            .collect()
    }

    /// Writes the line of metrics.
    pub fn print(&self, function: &str, timestamp: i64) {
        print(&self.line(function, timestamp));
    }
}

/// The values of a metric: a number if there is only one, otherwise a list.
fn target(values: &[f64]) -> Value {
    match values {
        [one] => json!(one),
        several => json!(several),
    }
}

/// Skipped objects and records, by reason.
#[must_use]
pub fn skipped(report: &ReadReport) -> Value {
    json!(reasons(report).collect::<BTreeMap<_, _>>())
}

fn reasons(report: &ReadReport) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    let objects = report
        .objects_skipped
        .iter()
        .map(|(reason, count)| (reason.as_str(), *count));
    let records = report
        .records_skipped
        .iter()
        .map(|(reason, count)| (reason.as_str(), *count));
    let altered = [
        ("repaired, with loss of text", report.records_altered),
        ("field of an undocumented type", report.fields_mistyped),
    ];
    let altered = altered.into_iter().filter(|(_, count)| *count > 0);
    objects.chain(records).chain(altered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_in_the_embedded_format() {
        let mut metrics = FunctionMetrics::default();
        metrics.add("Objects", 2);
        metrics.add("Objects", 1);
        metrics.record("DeliveryLag", 10.0);
        metrics.record("DeliveryLag", 20.5);
        assert_eq!(
            metrics.line("f", 7),
            json!({
                "_aws": {"Timestamp": 7, "CloudWatchMetrics": [{
                    "Namespace": "Secretrail",
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [
                        {"Name": "DeliveryLag", "Unit": "Seconds"},
                    ],
                }]},
                "FunctionName": "f", "Objects": 3.0, "DeliveryLag": [10.0, 20.5]})
        );
    }

    #[test]
    fn what_was_lost_in_a_record_is_an_alarm_and_what_was_only_repaired_is_not() {
        let skipped = |report: &ReadReport| {
            let mut metrics = FunctionMetrics::default();
            metrics.count(report);
            let line = metrics.line("f", 7);
            (
                metrics.get("RecordsSkipped"),
                line["SkippedByReason"].clone(),
            )
        };
        let mut report = ReadReport::default();
        report.count_repaired(false);
        assert_eq!(skipped(&report), (None, Value::Null));
        report.count_repaired(true);
        report.fields_mistyped = 2;
        let reasons = json!({"repaired, with loss of text": 1, "field of an undocumented type": 2});
        assert_eq!(skipped(&report), (Some(3.0), reasons));
    }

    #[test]
    fn every_metric_and_figure_that_is_used_is_declared() {
        let source = [
            include_str!("handler.rs"),
            include_str!("handler/batch.rs"),
            include_str!("handler/delivery.rs"),
            include_str!("handler/doors.rs"),
            include_str!("handler/object_reader.rs"),
            include_str!("handler/sweep.rs"),
            include_str!("telemetry.rs"),
        ]
        .concat();
        for call in ["metrics.add(\"", "metrics.record(\""] {
            for used in source
                .split(call)
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
            {
                let is_metric = METRICS.iter().any(|(name, _)| *name == used);
                assert!(is_metric || FIGURES.contains(&used), "{used}");
            }
        }
    }
}
