//! The alarms of the stack.

use std::collections::BTreeMap;

use super::{Checkup, findings::first_of};
use crate::{
    aws_api::{CLOUDWATCH, xml::XmlElement},
    deployment::ALARM,
    text::plural,
};

const PART: &str = "alarm";

/// Most names in a line.
const NAMED: usize = 5;

/// Most names of one call.
const BATCH: usize = 100;

pub(super) fn check(checkup: &mut Checkup<'_>) {
    // By name: the logical id, which infra/README.md explains.
    let resources = checkup.stack.resources.iter();
    let alarms = resources.filter(|(_, resource)| resource.kind == ALARM);
    let alarms: BTreeMap<String, String> = alarms
        .map(|(id, resource)| (resource.physical.clone(), id.clone()))
        .collect();
    let Some(found) = described(checkup, &alarms) else {
        return;
    };
    let (mut quiet, mut without_data) = (0, Vec::new());
    for (name, id) in &alarms {
        match one(checkup, id, found.get(name)) {
            AlarmState::Quiet => quiet += 1,
            AlarmState::WithoutData => without_data.push(id.clone()),
            AlarmState::Reported => {}
        }
    }
    let findings = &mut checkup.findings;
    if !without_data.is_empty() {
        let count = plural(without_data.len() as u64, "alarm");
        findings.warn(
            PART,
            format!(
                "{count} with too little data: {}",
                first_of(&without_data, NAMED)
            ),
            "right in the first minutes of a deployment; otherwise see whether the function runs",
        );
    }
    if quiet > 0 {
        findings.ok(PART, format!("{} OK", plural(quiet, "alarm")));
    }
}

/// The alarms of these names that are there, by their names; `None` if they cannot be looked at.
fn described(
    checkup: &mut Checkup<'_>,
    alarms: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, XmlElement>> {
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
        let pages = checkup.findings.known(PART, "alarms", answer)?;
        let pages = pages.into_iter();
        let pages = pages.flat_map(|page| page.members("MetricAlarms").to_vec());
        found.extend(pages.map(|alarm| (alarm.text_or_empty("AlarmName"), alarm)));
    }
    Some(found)
}

/// How an alarm is.
enum AlarmState {
    Quiet,
    WithoutData,
    /// It is missing, or in the state ALARM.
    Reported,
}

/// Looks at an alarm, and reports one that needs somebody.
fn one(checkup: &mut Checkup<'_>, id: &str, alarm: Option<&XmlElement>) -> AlarmState {
    let findings = &mut checkup.findings;
    let Some(alarm) = alarm else {
        findings.fail(
            PART,
            format!("{id} does not exist"),
            "deploy the stack again",
        );
        return AlarmState::Reported;
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
        Some("INSUFFICIENT_DATA") => return AlarmState::WithoutData,
        _ => return AlarmState::Quiet,
    }
    AlarmState::Reported
}
