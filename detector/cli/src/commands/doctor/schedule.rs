//! Rules of EventBridge: the sweep each minute, and what other rules share with it.

use serde_json::{Value, json};

use super::{Checkup, function::KnownFunction};
use crate::{aws_api::EVENTBRIDGE, deployment::logical};

const SWEEP: &str = "sweep";

/// A rule of EventBridge.
pub(super) struct EventRule {
    pub(super) name: String,
    pub(super) is_enabled: bool,
    /// The event pattern as JSON; `Null` for a rule with a schedule.
    pub(super) pattern: Value,
    /// ARNs of its targets; `None` if they may not be listed.
    pub(super) targets: Option<Vec<String>>,
}

/// Looks up a rule of the stack and its targets.
pub(super) fn rule(
    checkup: &mut Checkup<'_>,
    part: &'static str,
    logical: &str,
) -> Option<EventRule> {
    let name = checkup.stack.physical(logical)?.to_owned();
    let what = format!("EventBridge rule {name}");
    let answer = checkup
        .api
        .json(&EVENTBRIDGE, "DescribeRule", &json!({"Name": name}));
    let found = checkup.findings.known(part, &what, answer)?;
    let what = format!("targets of the EventBridge rule {name}");
    let answer = checkup
        .api
        .json(&EVENTBRIDGE, "ListTargetsByRule", &json!({"Rule": name}));
    let listed = checkup.findings.known(part, &what, answer);
    let targets = listed.map(|listed| {
        let targets = listed.get("Targets").and_then(Value::as_array);
        let arns = targets.into_iter().flatten();
        let arns = arns.filter_map(|target| target.get("Arn")?.as_str().map(str::to_owned));
        arns.collect()
    });
    let pattern = found.get("EventPattern").and_then(Value::as_str);
    let pattern = pattern.and_then(|text| serde_json::from_str(text).ok());
    // There is also ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS.
    let state = found.get("State").and_then(Value::as_str);
    Some(EventRule {
        is_enabled: state.is_some_and(|state| state.starts_with("ENABLED")),
        name,
        pattern: pattern.unwrap_or_default(),
        targets,
    })
}

pub(super) fn check(checkup: &mut Checkup<'_>, function: &KnownFunction) {
    if checkup.stack.physical(logical::EVERY_MINUTE).is_none() {
        let remedy = "deploy the stack again";
        checkup
            .findings
            .fail(SWEEP, "nothing starts the sweep", remedy);
        return;
    }
    let Some(rule) = rule(checkup, SWEEP, logical::EVERY_MINUTE) else {
        return;
    };
    let findings = &mut checkup.findings;
    let name = &rule.name;
    if !rule.is_enabled {
        findings.fail(
            SWEEP,
            "disabled: rules about absence and novelty are silent, and failed alerts wait",
            format!("aws events enable-rule --name {name}"),
        );
        return;
    }
    let starts = rule.targets.as_ref().zip(function.arn.as_ref());
    match starts.map(|(targets, arn)| targets.iter().any(|target| target.starts_with(arn))) {
        Some(false) => findings.fail(
            SWEEP,
            format!("the rule {name} does not start the function"),
            "deploy the stack again",
        ),
        _ => findings.ok(SWEEP, "enabled, once a minute"),
    }
}
