//! The examples that rules carry, run through the whole path: a rule must fire where it says so and
//! stay quiet elsewhere.

use super::offline;
use crate::{
    inflate::InflateError,
    policy::{AccessPolicy, PolicyError},
    report::SkippedRecord,
    rule::{RuleSet, example::RuleExample},
    scan::ScanResult,
    state::StateError,
};

/// Why an example does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ExampleFault {
    /// The rule stayed quiet.
    #[error("the rule should fire, and does not")]
    Quiet,
    /// The rule fired.
    #[error("the rule should stay quiet, and fires")]
    Fires,
    /// Its access policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Its events cannot be read.
    #[error(transparent)]
    Read(#[from] InflateError),
    /// So many of its events are no records.
    #[error("{count} of its events cannot be read: {}", reason.as_str())]
    Skipped {
        /// Why.
        reason: SkippedRecord,
        /// How many.
        count: u64,
    },
    /// The store in memory failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Runs one example long after its events, so that every evaluation is final.
///
/// # Errors
///
/// Why it does not hold.
pub async fn run(rules: &RuleSet, example: &RuleExample) -> Result<(), ExampleFault> {
    let policy = example
        .policy
        .as_ref()
        .map(|text| text.parse::<AccessPolicy>());
    let policy = policy.transpose()?;
    let rules = &*example.rules(rules);
    let scan_result = read(rules, example)?;
    let outcome = offline::finalize(rules, policy.as_ref(), scan_result).await?;
    let mut alerts = outcome.alerts.iter();
    let fired = alerts.any(|alert| alert.rule.id == example.rule);
    match (example.fires, fired) {
        (true, false) => Err(ExampleFault::Quiet),
        (false, true) => Err(ExampleFault::Fires),
        _ => Ok(()),
    }
}

/// The events of an example. An unreadable one would be skipped, and the rule would stay quiet for
/// the wrong reason, so all of them must be readable.
fn read(rules: &RuleSet, example: &RuleExample) -> Result<ScanResult, ExampleFault> {
    let text = format!("[{}]", example.events.join(","));
    let scan_result = offline::read(rules, text.as_bytes(), &example.name)?;
    match scan_result.report.records_skipped.iter().next() {
        None => Ok(scan_result),
        Some((reason, count)) => Err(ExampleFault::Skipped {
            reason: *reason,
            count: *count,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::load::load;

    fn run_all(events: &str) -> Vec<Result<(), String>> {
        let text = format!(
            "title: T
id: t
logsource: {{product: aws, category: secret_access}}
detection: {{sel: {{access.api: GetSecretValue}}, condition: sel}}
secretrail:
    examples:
        - {{name: fires, fires: true, events: {events}}}
        - {{name: quiet, fires: false, events: {events}}}
"
        );
        let (rules, examples) = load([("t.yml", &*text)]).unwrap();
        let run = |example| pollster::block_on(run(&rules, example)).map_err(|e| e.to_string());
        examples.iter().map(run).collect()
    }

    const READ: &str = "[{eventTime: '2026-03-02T10:00:00Z', eventID: e1, \
        eventSource: secretsmanager.amazonaws.com, eventName: GetSecretValue, \
        awsRegion: eu-west-1, recipientAccountId: '111122223333', \
        userIdentity: {type: IAMUser, arn: 'arn:aws:iam::111122223333:user/ann'}, \
        requestParameters: {secretId: prod/db}}]";

    #[test]
    fn a_rule_must_fire_where_it_says_so_and_nowhere_else() {
        let quiet = "the rule should stay quiet, and fires".to_owned();
        assert_eq!(run_all(READ), [Ok(()), Err(quiet)]);
        let fires = "the rule should fire, and does not".to_owned();
        let other = READ.replace("GetSecretValue", "DescribeSecret");
        assert_eq!(run_all(&other), [Err(fires), Ok(())]);
    }

    #[test]
    fn an_event_that_cannot_be_read_keeps_no_rule_quiet() {
        let broken = READ.replace("2026-03-02T10:00:00Z", "yesterday");
        let reported = run_all(&broken).swap_remove(1).unwrap_err();
        assert!(
            reported.starts_with("1 of its events cannot be read: "),
            "{reported}"
        );
    }
}
