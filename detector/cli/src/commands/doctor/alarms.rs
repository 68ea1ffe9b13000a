//! The alarms of the stack.

use std::collections::BTreeMap;

use super::Checkup;
use crate::{
    aws_api::{CLOUDWATCH, xml::XmlElement},
    text::plural,
};

const PART: &str = "alarm";

/// Most names of one call.
const BATCH: usize = 100;

pub(super) fn check(checkup: &mut Checkup<'_>) {
    // By name: the logical id, which infra/README.md explains.
    let resources = checkup.stack.resources.iter();
    let alarms = resources.filter(|(_, resource)| resource.kind == "AWS::CloudWatch::Alarm");
    let alarms: BTreeMap<String, String> = alarms
        .map(|(id, resource)| (resource.physical.clone(), id.clone()))
        .collect();
    let names: Vec<&String> = alarms.keys().collect();
    let mut found = BTreeMap::new();
    for names in names.chunks(BATCH) {
        let fields: Vec<String> = (1..=names.len())
            .map(|number| format!("AlarmNames.member.{number}"))
            .collect();
        let input: Vec<(&str, &str)> = fields
            .iter()
            .zip(names)
            .map(|(field, name)| (field.as_str(), name.as_str()))
            .collect();
        let answer = checkup
            .api
            .query_pages(&CLOUDWATCH, "DescribeAlarms", &input);
        let Some(pages) = checkup.findings.known(PART, "alarms", answer) else {
            return;
        };
        let pages = pages.into_iter();
        let pages = pages.flat_map(|page| page.members("MetricAlarms").to_vec());
        found.extend(pages.map(|alarm| (alarm.text_or_empty("AlarmName"), alarm)));
    }
    let mut quiet = 0;
    for (name, id) in &alarms {
        quiet += u64::from(one(checkup, id, found.get(name)));
    }
    if quiet > 0 {
        checkup
            .findings
            .ok(PART, format!("{} OK", plural(quiet, "alarm")));
    }
}

/// Reports an alarm that needs a look; returns whether it is quiet.
fn one(checkup: &mut Checkup<'_>, id: &str, alarm: Option<&XmlElement>) -> bool {
    let findings = &mut checkup.findings;
    let Some(alarm) = alarm else {
        findings.fail(
            PART,
            format!("{id} does not exist"),
            "deploy the stack again",
        );
        return false;
    };
    let description = alarm.text("AlarmDescription").unwrap_or("no description");
    let reason = alarm.text("StateReason").unwrap_or("no reason is given");
    let since = alarm
        .text("StateUpdatedTimestamp")
        .unwrap_or("an unknown time");
    if alarm.text("ActionsEnabled") == Some("false") {
        let name = alarm.text_or_empty("AlarmName");
        let remedy = format!("aws cloudwatch enable-alarm-actions --alarm-names {name}");
        findings.warn(
            PART,
            format!("{id} sends nothing: its actions are off"),
            remedy,
        );
    }
    match alarm.text("StateValue") {
        Some("ALARM") => findings.fail(
            PART,
            format!("{id} since {since}: {description} ({reason})"),
            format!("see {id} under Alarms in infra/README.md"),
        ),
        Some("INSUFFICIENT_DATA") => findings.warn(
            PART,
            format!("{id} has too little data since {since}: {reason}"),
            "right in the first minutes of a deployment; otherwise see whether the function runs",
        ),
        _ => return true,
    }
    false
}
