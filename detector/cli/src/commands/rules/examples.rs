//! `rules test`: runs the examples in rules through the whole pipeline.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use secretrail_engine::{
    authoring::{
        examples::{self, ExampleFault},
        explain::{EventTrace, Explanation, explain, is_named},
    },
    policy::AccessPolicy,
    rule::{RuleSet, example::RuleExample},
    rule_meta::RuleMeta,
    sanitize,
};
use secretrail_pack::RulePack;

use super::list::metas;
use crate::{
    args::RulesTestArgs,
    exit,
    host::{ProcessHost, RunFailure, print},
    input::rules_and_policy,
    output::target,
    text::plural,
};

pub(super) fn run(args: &RulesTestArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let loaded = rules_and_policy::rules_with_examples(&args.files, host)?;
    let metas = asked_for(&loaded, &args.rule)?;
    let tried = try_all(&loaded, &metas);
    let mut text = String::new();
    for one in &tried {
        if !args.show_failures_only || one.result.is_err() {
            push_example(one, &mut text);
        }
    }
    let failed = tried.iter().filter(|one| one.result.is_err()).count();
    push_bare(&loaded, &metas, &mut text);
    push_total(&tried, failed, &mut text);
    print(host, &text)?;
    if let Some(path) = &args.junit {
        target::write_file(path, junit(&tried)?.as_bytes())?;
    }
    Ok(if failed > 0 {
        exit::FINDINGS
    } else {
        exit::DONE
    })
}

/// The rules of `--rule`, or all rules.
fn asked_for<'r>(loaded: &'r RulePack, names: &[String]) -> Result<Vec<&'r RuleMeta>, RunFailure> {
    let mut metas = metas(loaded);
    // Otherwise a wrong name would pass without running any example.
    for name in names {
        if !metas.iter().any(|meta| is_named(meta, name)) {
            return Err(RunFailure::Usage(format!(
                "there is no rule `{name}`; `secretrail rules list` shows them"
            )));
        }
    }
    if !names.is_empty() {
        metas.retain(|meta| names.iter().any(|name| is_named(meta, name)));
    }
    Ok(metas)
}

/// The result of an example.
struct ExampleResult<'e> {
    example: &'e RuleExample,
    /// Title of the rule.
    title: String,
    result: Result<(), ExampleFault>,
    /// The deciding count or selections, as text.
    decided: String,
}

/// Runs the examples of these rules, in the order in which they were loaded.
fn try_all<'e>(loaded: &'e RulePack, metas: &[&RuleMeta]) -> Vec<ExampleResult<'e>> {
    let of_rules = loaded.examples.iter().filter_map(|example| {
        let meta = metas.iter().find(|meta| meta.id == example.rule)?;
        Some(try_example(&loaded.set, meta, example))
    });
    of_rules.collect()
}

fn try_example<'e>(
    rules: &RuleSet,
    meta: &RuleMeta,
    example: &'e RuleExample,
) -> ExampleResult<'e> {
    // The pipeline decides; the explanation only says why.
    let result = pollster::block_on(examples::run(rules, example));
    // An invalid policy is an error of the example, which the run has reported.
    let policy: Option<AccessPolicy> = example.policy.as_ref().and_then(|text| text.parse().ok());
    let events = format!("[{}]", example.events.join(","));
    let rules = example.rules(rules);
    let reported = pollster::block_on(explain(
        &rules,
        &meta.id,
        events.as_bytes(),
        policy.as_ref(),
    ));
    let decided = reported
        .map(|explanation| decided(&explanation))
        .unwrap_or_default();
    ExampleResult {
        example,
        title: meta.title.clone(),
        result,
        decided,
    }
}

/// What decided: the count of the group that fired, or else of the first group; for rules about
/// single events, the selections of the first event that matched.
fn decided(explanation: &Explanation) -> String {
    let (events, groups) = (&explanation.events, &explanation.groups);
    // A rule about single events has groups only for `suppress`.
    let single = events.iter().any(|event| event.rule.is_empty());
    let group = groups.iter().find(|group| group.fired);
    if let Some(group) = group.or(groups.first()).filter(|_| !single) {
        return format!("{}: {}", group.group, group.count);
    }
    let event = events.iter().find(|event| event.matched);
    event.or(events.first()).map_or_else(
        || "no event matches the logsource of the rule".to_owned(),
        EventTrace::decided,
    )
}

fn push_example(one: &ExampleResult<'_>, out: &mut String) {
    let mark = if one.result.is_ok() {
        "[PASS]"
    } else {
        "[FAIL]"
    };
    let verb = if one.example.fires {
        "fires"
    } else {
        "stays quiet"
    };
    let (title, name) = (
        sanitize::line(&one.title),
        sanitize::line(&one.example.name),
    );
    writeln!(out, "{mark} {title}: {name} ({verb})").ok();
    if let Err(fault) = &one.result {
        writeln!(out, "       {}", sanitize::line(&fault.to_string())).ok();
    }
    writeln!(out, "       {}", sanitize::line(&one.decided)).ok();
}

fn push_total(tried: &[ExampleResult<'_>], failed: usize, out: &mut String) {
    let mut rules: Vec<&str> = tried.iter().map(|one| &*one.example.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    writeln!(
        out,
        "\n{} of {}: {} passed, {failed} failed",
        plural(tried.len() as u64, "example"),
        plural(rules.len() as u64, "rule"),
        tried.len() - failed
    )
    .ok();
}

/// Rules without examples do not fail the run, but are listed.
fn push_bare(loaded: &RulePack, metas: &[&RuleMeta], out: &mut String) {
    for meta in metas {
        if !loaded.examples.iter().any(|e| e.rule == meta.id) {
            let (title, file) = (sanitize::line(&meta.title), sanitize::line(&meta.file));
            writeln!(out, "no examples: {title} ({file})").ok();
        }
    }
}

/// The results as JUnit XML: a suite for each rule, a case for each of its examples.
fn junit(tried: &[ExampleResult<'_>]) -> Result<String, RunFailure> {
    // By rule id, since titles need not be unique; in the order of the examples.
    let mut suites: Vec<(&str, TestSuite)> = Vec::new();
    for one in tried {
        let known = suites
            .iter_mut()
            .find(|(rule, _)| *rule == one.example.rule);
        if let Some((_, suite)) = known {
            suite.add_test_case(case(one));
        } else {
            let mut suite = TestSuite::new(one.title.as_str());
            suite.add_test_case(case(one));
            suites.push((&one.example.rule, suite));
        }
    }
    let mut report = Report::new("secretrail rules test");
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    report
        .to_string()
        .map_err(|error| RunFailure::Internal(error.to_string()))
}

fn case(one: &ExampleResult<'_>) -> TestCase {
    let status = match &one.result {
        Ok(()) => TestCaseStatus::success(),
        Err(fault) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_message(fault.to_string())
                .set_description(one.decided.as_str());
            status
        }
    };
    let mut case = TestCase::new(one.example.name.as_str(), status);
    case.set_classname(one.title.as_str());
    case
}

#[cfg(test)]
mod tests {
    use secretrail_engine::{authoring::explain::GroupTrace, network::NetworkLists};

    use super::*;
    use crate::commands::tests::{ran, rule};

    fn event(rule: &str, matched: bool) -> EventTrace {
        EventTrace {
            rule: rule.to_owned(),
            event: "GetSecretValue".to_owned(),
            matched,
            lines: Vec::new(),
        }
    }

    fn group(name: &str, fired: bool) -> GroupTrace {
        GroupTrace {
            group: name.to_owned(),
            fired,
            count: "3 of 20".to_owned(),
        }
    }

    fn of(events: Vec<EventTrace>, groups: Vec<GroupTrace>) -> Explanation {
        Explanation {
            rule: rule("r", "R"),
            fires: false,
            events,
            groups,
        }
    }

    #[test]
    fn a_window_is_decided_by_its_group_and_a_single_event_by_itself() {
        let groups = vec![group("a", false), group("b", true)];
        let window = of(vec![event("Reads", true)], groups.clone());
        assert_eq!(decided(&window), "b: 3 of 20");
        let single = of(vec![event("", true)], groups);
        assert_eq!(decided(&single), "");
        let none = of(Vec::new(), Vec::new());
        assert_eq!(decided(&none), "no event matches the logsource of the rule");
    }

    #[test]
    fn a_failure_is_reported_to_people_and_to_ci() {
        let example = |fires| RuleExample {
            rule: "r".to_owned(),
            name: "twenty at once".to_owned(),
            fires,
            policy: None,
            networks: NetworkLists::default(),
            geo: secretrail_engine::geo::GeoDatabases::default(),
            events: Vec::new(),
        };
        let (fires, quiet) = (example(true), example(false));
        let tried = |example, result| ExampleResult {
            example,
            title: "Bulk".to_owned(),
            result,
            decided: "a: 3 of 20".to_owned(),
        };
        let tried = [
            tried(&fires, Err(ExampleFault::Quiet)),
            tried(&quiet, Ok(())),
        ];
        let mut text = String::new();
        push_example(&tried[0], &mut text);
        push_total(&tried, 1, &mut text);
        assert_eq!(
            text,
            "[FAIL] Bulk: twenty at once (fires)\n       the rule should fire, and does not\n\
             \x20      a: 3 of 20\n\n2 examples of 1 rule: 1 passed, 1 failed\n"
        );
        let xml = junit(&tried).unwrap();
        assert!(xml.contains(r#"<testsuite name="Bulk" tests="2""#), "{xml}");
        assert!(xml.contains(r#"<failure message="the rule should fire, and does not""#));
    }

    #[test]
    fn a_rule_is_tried_by_any_of_its_names_and_must_exist() {
        let one = ran(&["rules", "test", "--rule", "direct-decrypt"]);
        assert_eq!(one.code, exit::DONE, "{}", one.out);
        assert!(one.out.contains(" of 1 rule: "), "{}", one.out);
        let quiet = ran(&[
            "rules",
            "test",
            "--rule",
            "direct-decrypt",
            "--show-failures-only",
        ]);
        assert!(!quiet.out.contains("[PASS]"));
        let none = ran(&["rules", "test", "--rule", "no-such-rule"]);
        assert_eq!(none.code, exit::USAGE);
    }
}
