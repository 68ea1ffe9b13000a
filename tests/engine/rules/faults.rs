//! Rule files that are refused, and in which words; what the linter adds.

use secretrail_engine::authoring::lint::{LintSeverity, lint};
use secretrail_engine::rule::load::load;
use secretrail_engine::rule::vars;

use super::{access, correlation, counting, rule};

/// A fault of that text begins with these words.
fn check_fault(text: &str, expected: &str) {
    let errors = load([("r.yml", text)]).err().unwrap_or_default();
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        all.iter().any(|e| e.starts_with(expected)),
        "{all:?}\nfor\n{text}"
    );
}

#[test]
fn faults_name_file_line_field_and_remedy() {
    check_fault(
        &access("secret.nam: x"),
        "r.yml:8: secret.nam: there is no such field; did you mean `secret.name`?",
    );
    check_fault(
        &access("secret.name|containz: x"),
        "r.yml:8: detection: Unknown modifier 'containz'; the specification",
    );
    check_fault(
        &rule("category: process_creation", "  selection: {a: b}"),
        "r.yml:3: logsource: is not one that this engine reads",
    );
    check_fault(
        &rule(
            "category: secret_change",
            "  selection: {access.method: api}",
        ),
        "r.yml:7: access.method: there is no such field; secret changes do not have it",
    );
    check_fault("title: t\n\tid: a\n", "r.yml:2: ");
    check_fault("title: t\n", "r.yml:1: ");
    check_fault("", "r.yml:1: ");
    check_fault("# nothing\n", "r.yml:1: ");
    check_fault(&access("secret.name|re: '('"), "r.yml:");
}

#[test]
fn faults_of_correlations_name_them_too() {
    let counted = |kind, group, condition| counting(kind, group, "5m", condition);
    let sound = counted("event_count", "principal.arn", "gte: 3");
    for (text, expected) in [
        (sound.replace("  condition: {gte: 3}\n", ""), "r.yml:"),
        (
            counted("event_count", "principal.arn", "lt: 3"),
            "r.yml:19: correlation.condition: `lt`, `lte`, `eq` and `neq` could take an alert back",
        ),
        (
            counted("value_count", "principal.arn", "gte: 3"),
            "r.yml:19: correlation.condition: `value_count` needs `field:`",
        ),
        (
            counted("value_sum", "principal.arn", "gte: 3, field: x"),
            "r.yml:16: correlation.type: `value_sum` is not supported",
        ),
        (
            counted("value_summ", "principal.arn", "gte: 3"),
            "r.yml:16: correlation: ",
        ),
        (
            sound.replace("  group-by: [principal.arn]\n", ""),
            "r.yml:14: correlation.group-by: is missing",
        ),
        (
            counted("event_count", "principal.arnn", "gte: 3"),
            "r.yml:17: principal.arnn: `base` has no such field; did you mean `principal.arn`?",
        ),
        (
            sound.replace("[base]", "[nobody]"),
            "r.yml:15: correlation.rules: `nobody` is not exactly one loaded rule",
        ),
        (sound.replace("[base]", "[c]"), "r.yml:"),
    ] {
        check_fault(&text, expected);
    }
}

#[test]
fn faults_of_our_own_block_name_them_too() {
    let own = |line: &str| access("access.outcome: denied") + "secretrail:\n  " + line + "\n";
    let spike = |group: &str, times: &str| {
        counting("event_count", group, "5m", "gte: 3")
            + "secretrail:\n  rate_multiplier: "
            + times
            + "\n"
    };
    for (text, expected) in [
        (
            own("suppres: 1h"),
            "r.yml:11: secretrail: unknown field `suppres`",
        ),
        (
            own("suppress: soon"),
            "r.yml:11: secretrail.suppress: `soon` is not a timespan",
        ),
        (
            own("rate_multiplier: 5"),
            "r.yml:11: secretrail.rate_multiplier: works on an event_count only; write a correlation",
        ),
        (
            spike("principal.arn", "5"),
            "r.yml:21: secretrail.rate_multiplier: compares the reads of one secret by one principal",
        ),
        (
            spike("principal.arn, secret.name", "-1"),
            "r.yml:21: secretrail.rate_multiplier: is not a number of times",
        ),
    ] {
        check_fault(&text, expected);
    }
}

#[test]
fn faults_between_rules_name_the_other() {
    let denied = access("access.outcome: denied");
    check_fault(
        &access("source.ip|expand: '%networks%'"),
        "r.yml:8: detection: `|expand` asks for `%networks%`, which has no value",
    );
    let other = "---
title: d
id: d
correlation:
  type: temporal
  rules: [c, base]
  group-by: [principal.arn]
  timespan: 5m
";
    let one = correlation("  type: temporal\n  group-by: [principal.arn]\n  timespan: 5m\n");
    check_fault(
        &(one.replace("[base]", "[base, d]") + other),
        "r.yml:13: correlation.rules: `d` is a correlation; \
         correlations of correlations are not supported",
    );
    check_fault(
        &format!("{denied}---\n{}", access("access.outcome: failed")),
        "r.yml:2: id: `a` is also the id of a rule in r.yml",
    );
    check_fault(
        &denied.replace("condition: selection", "condition: selektion"),
        "r.yml:",
    );
}

#[test]
fn lint_names_what_the_loader_lets_pass() {
    let check = |text: &str, severity: LintSeverity, check: &str, words: &str| {
        let found = lint(&[("r.yml", text)], &vars::Placeholders::new());
        let hit = found
            .iter()
            .any(|f| f.severity == severity && f.check == check && f.message.contains(words));
        assert!(hit, "{check}: {found:?}");
    };
    let record = |selection: &str| {
        rule(
            "service: cloudtrail",
            &format!("  selection:\n    {selection}"),
        )
    };
    check(
        &record("evntName: x"),
        LintSeverity::Warning,
        "no_such_field",
        "did you mean `eventName`?",
    );
    check(
        &record("secret.name: x"),
        LintSeverity::Warning,
        "no_such_field",
        "use `category: secret_access`",
    );
    let spare = access("access.outcome: success")
        .replace("  condition", "  spare:\n    secret.name: x\n  condition");
    check(
        &spare,
        LintSeverity::Warning,
        "unreachable_selection",
        "`spare`",
    );
    check(
        &access("access.outcome: success"),
        LintSeverity::Info,
        "no_example",
        "one that fires and one that stays quiet",
    );
    check(
        &access("access.outcom: success"),
        LintSeverity::Error,
        "load",
        "did you mean `access.outcome`?",
    );
    check(
        &access("access.outcome: success").replace("id: a", "id: a\nlevel: urgent"),
        LintSeverity::Error,
        "invalid_level",
        "urgent",
    );
}
