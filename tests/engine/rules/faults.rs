//! Rule files that are refused, and in which words; what the linter adds.

use secretrail_engine::authoring::lint::{Severity, lint};
use secretrail_engine::rule::load::load;
use secretrail_engine::rule::vars;

use super::{access, correlation, rule};

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
    check_fault(
        &correlation("  type: event_count\n  group-by: [principal.arn]\n  timespan: 5m\n"),
        "r.yml:",
    );
    check_fault(
        &correlation(
            "  type: event_count\n  group-by: [principal.arn]\n  timespan: 5m\n  condition: {lt: 3}\n",
        ),
        "r.yml:19: correlation.condition: `lt`, `lte`, `eq` and `neq` could take an alert back",
    );
    check_fault(
        &correlation(
            "  type: value_count\n  group-by: [principal.arn]\n  timespan: 5m\n  condition: {gte: 3}\n",
        ),
        "r.yml:19: correlation.condition: `value_count` needs `field:`",
    );
    check_fault(
        &correlation(
            "  type: value_sum\n  group-by: [principal.arn]\n  timespan: 5m\n  condition: {gte: 3, field: x}\n",
        ),
        "r.yml:16: correlation.type: `value_sum` is not supported",
    );
    check_fault(
        &correlation(
            "  type: value_summ\n  group-by: [principal.arn]\n  timespan: 5m\n  condition: {gte: 3}\n",
        ),
        "r.yml:16: correlation: ",
    );
    check_fault(
        &correlation("  type: event_count\n  timespan: 5m\n  condition: {gte: 3}\n"),
        "r.yml:14: correlation.group-by: is missing",
    );
    check_fault(
        &correlation(
            "  type: event_count\n  group-by: [principal.arnn]\n  timespan: 5m\n  condition: {gte: 3}\n",
        ),
        "r.yml:17: principal.arnn: `base` has no such field; did you mean `principal.arn`?",
    );
    check_fault(
        &correlation("  type: event_count\n  group-by: [principal.arn]\n  timespan: 5m\n  condition: {gte: 3}\n")
            .replace("[base]", "[nobody]"),
        "r.yml:15: correlation.rules: `nobody` is not exactly one loaded rule",
    );
    check_fault(
        &correlation("  type: event_count\n  group-by: [principal.arn]\n  timespan: 5m\n  condition: {gte: 3}\n")
            .replace("[base]", "[c]"),
        "r.yml:",
    );
    check_fault(
        &format!(
            "{}secretrail:\n  suppres: 1h\n",
            access("access.outcome: denied")
        ),
        "r.yml:11: secretrail: unknown field `suppres`",
    );
    check_fault(
        &format!(
            "{}secretrail:\n  suppress: soon\n",
            access("access.outcome: denied")
        ),
        "r.yml:11: secretrail.suppress: `soon` is not a timespan",
    );
    check_fault(
        &format!(
            "{}secretrail:\n  times_usual: 5\n",
            access("access.outcome: denied")
        ),
        "r.yml:11: secretrail.times_usual: works on an event_count only; write a correlation",
    );
    let spike = |group: &str| {
        let body = format!(
            "  type: event_count\n  group-by: [{group}]\n  timespan: 5m\n  condition: {{gte: 3}}\n"
        );
        correlation(&body) + "secretrail:\n  times_usual: 5\n"
    };
    check_fault(
        &spike("principal.arn"),
        "r.yml:21: secretrail.times_usual: compares the reads of one secret by one principal",
    );
    check_fault(
        &spike("principal.arn, secret.name").replace("times_usual: 5", "times_usual: -1"),
        "r.yml:21: secretrail.times_usual: is not a number of times",
    );
    check_fault(
        &access("source.ip|expand: '%networks%'"),
        "r.yml:8: detection: `|expand` asks for `%networks%`, which has no value",
    );
    let cycle = "---\ntitle: d\nid: d\ncorrelation:\n  type: temporal\n  rules: [c, base]\n  group-by: [principal.arn]\n  timespan: 5m\n";
    check_fault(
        &(correlation("  type: temporal\n  group-by: [principal.arn]\n  timespan: 5m\n")
            .replace("[base]", "[base, d]")
            + cycle),
        "r.yml:13: correlation.rules: `d` is a correlation; correlations of correlations are not supported",
    );
    check_fault(
        &format!(
            "{}---\n{}",
            access("access.outcome: denied"),
            access("access.outcome: failed")
        ),
        "r.yml:2: id: `a` is also the id of a rule in r.yml",
    );
    check_fault(
        &access("access.outcome: denied").replace("condition: selection", "condition: selektion"),
        "r.yml:",
    );
}

#[test]
fn lint_names_what_the_loader_lets_pass() {
    let check = |text: &str, severity: Severity, check: &str, words: &str| {
        let found = lint(&[("r.yml", text)], &vars::Vars::new());
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
        Severity::Warning,
        "no_such_field",
        "did you mean `eventName`?",
    );
    check(
        &record("secret.name: x"),
        Severity::Warning,
        "no_such_field",
        "use `category: secret_access`",
    );
    let spare = access("access.outcome: success")
        .replace("  condition", "  spare:\n    secret.name: x\n  condition");
    check(
        &spare,
        Severity::Warning,
        "unreachable_selection",
        "`spare`",
    );
    check(
        &access("access.outcome: success"),
        Severity::Info,
        "no_example",
        "one that fires and one that stays quiet",
    );
    check(
        &access("access.outcom: success"),
        Severity::Error,
        "load",
        "did you mean `access.outcome`?",
    );
    check(
        &access("access.outcome: success").replace("id: a", "id: a\nlevel: urgent"),
        Severity::Error,
        "invalid_level",
        "urgent",
    );
}
