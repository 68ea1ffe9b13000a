//! Rule files that are refused, and in which words; what the linter adds.

use secretrail_engine::{
    authoring::lint::{LintSeverity, lint},
    rule::{load::load, vars},
};

use super::{access, correlation, counting, rule};

/// The file has exactly this error.
fn check_fault(text: &str, expected: &str) {
    check_faults(text, &[expected]);
}

/// The file has exactly these errors.
fn check_faults(text: &str, expected: &[&str]) {
    let errors = load([("r.yml", text)]).err().unwrap_or_default();
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(all, expected, "for\n{text}");
}

#[test]
fn faults_name_file_line_field_and_remedy() {
    check_fault(
        &access("secret.nam: x"),
        "r.yml:8: \"t\": secret.nam: there is no such field; did you mean `secret.name`?",
    );
    check_fault(
        &access("secret.name|containz: x"),
        "r.yml:8: \"t\": detection: Unknown modifier 'containz'; the specification \
lists the modifiers (contains, startswith, re, cidr, exists …)",
    );
    check_fault(
        &rule("category: process_creation", "  selection: {a: b}"),
        "r.yml:3: \"t\": logsource: is not supported; use `product: aws` with \
`category: secret_access`, `category: secret_change` or `service: \
cloudtrail`",
    );
    check_fault(
        &rule(
            "category: secret_change",
            "  selection: {access.method: api}",
        ),
        "r.yml:7: \"t\": access.method: there is no such field; secret changes do \
not have it; use `category: secret_access`",
    );
    check_fault(
        "title: t\n\tid: a\n",
        "r.yml:2: \"t\": yaml: YAML parse error: found a tab character that violates \
indentation at line 2 column 1, while scanning a plain scalar at line 1 \
column 8; indent with spaces, and quote text that holds `: ` or begins with \
a special character",
    );
    check_fault(
        "title: t\n",
        "r.yml:1: \"t\": detection: Missing required field 'detection'; add it",
    );
    check_fault(
        "",
        "r.yml:1: file: holds no Sigma rule; write one, or remove the file",
    );
    check_fault(
        "# nothing\n",
        "r.yml:1: file: holds no Sigma rule; write one, or remove the file",
    );
    check_fault(
        &access("secret.name|re: '('"),
        "r.yml:8: \"t\": detection: invalid regex pattern `(`: unclosed group; write a regular \
         expression as RE2 and Rust know it, without look-around",
    );
}

#[test]
fn faults_of_correlations_name_them_too() {
    let counted = |kind, group, condition| counting(kind, group, "5m", condition);
    let sound = counted("event_count", "principal.arn", "gte: 3");
    for (text, expected) in [
        (
            sound.replace("  condition: {gte: 3}\n", ""),
            "r.yml:14: \"c\": correlation: Non-temporal correlation rule requires a condition; use \
             type, rules, group-by, timespan and condition as in the Sigma correlation specification",
        ),
        (
            counted("event_count", "principal.arn", "lt: 3"),
            "r.yml:19: \"c\": correlation.condition: `lt`, `lte`, `eq` and `neq` would \
withdraw alerts when a late record arrives; use `gte` or `gt`",
        ),
        (
            counted("value_count", "principal.arn", "gte: 3"),
            "r.yml:19: \"c\": correlation.condition: `value_count` needs `field:`, whose \
values it counts",
        ),
        (
            counted("value_sum", "principal.arn", "gte: 3, field: x"),
            "r.yml:16: \"c\": correlation.type: `value_sum` is not supported; use \
event_count, value_count, temporal or temporal_ordered",
        ),
        (
            counted("value_summ", "principal.arn", "gte: 3"),
            "r.yml:16: \"c\": correlation.type: Unknown correlation type: value_summ; \
use event_count, value_count, temporal or temporal_ordered",
        ),
        (
            counted("event_count", "principal.arnn", "gte: 3"),
            "r.yml:17: \"c\": principal.arnn: `base` has no such field; did you mean \
`principal.arn`?",
        ),
        (
            sound.replace("[base]", "[nobody]"),
            "r.yml:15: \"c\": correlation.rules: `nobody` does not name exactly one \
loaded rule; use the id or name of one, and load its file",
        ),
        (
            sound.replace("[base]", "[c]"),
            "r.yml:12: \"c\": correlation.rules: `c` is a correlation; correlations of \
correlations are not supported, name rules about single events",
        ),
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
            "r.yml:11: \"t\": secretrail: unknown field `suppres`, expected one of `next_steps`, \
             `suppress`, `group-by`, `covered-by`, `rate_multiplier`, `judge`, `examples`",
        ),
        (
            own("suppress: soon"),
            "r.yml:11: \"t\": secretrail.suppress: `soon` is not a timespan; write a \
number and s, m, h or d, as in `1h`",
        ),
        (
            own("rate_multiplier: 5"),
            "r.yml:11: \"t\": secretrail.rate_multiplier: works on an event_count or a \
value_count only; \
write a correlation",
        ),
        (
            spike("principal.arn", "5"),
            "r.yml:21: \"c\": secretrail.rate_multiplier: needs reads of one secret by \
one principal, or different secrets of one; use `type: event_count` and `group-by: [principal.arn, \
secret.name]`, or `type: value_count`, `field: secret.id` and `group-by: [principal.arn]`",
        ),
        (
            spike("principal.arn, secret.name", "-1"),
            "r.yml:21: \"c\": secretrail.rate_multiplier: is not a positive number; \
write how many times `baseline_per_hour` is too much, as in \
`rate_multiplier: 5`",
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
        "r.yml:8: \"t\": detection: the placeholder `%networks%` has no value; set it in the file \
         given by --vars",
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
    check_faults(
        &(one.replace("[base]", "[base, d]") + other),
        &[
            "r.yml:13: \"c\": correlation.rules: `d` is a correlation; correlations of \
             correlations are not supported, name rules about single events",
            "r.yml:22: \"d\": correlation.rules: `c` is a correlation; correlations of \
             correlations are not supported, name rules about single events",
        ],
    );
    check_fault(
        &format!("{denied}---\n{}", access("access.outcome: failed")),
        "r.yml:12: \"t\": id: `a` is also the id of a rule in r.yml; every rule \
needs its own, a new UUID",
    );
    check_fault(
        &denied.replace("condition: selection", "condition: selektion"),
        "r.yml:9: \"t\": detection.condition: unknown detection identifier: selektion; combine \
         names of selections with and, or, not, `1 of x*`, `all of x*`",
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
        "load",
        "level: invalid level: 'urgent'",
    );
}

/// A rule of three lines, a rule of the fourth, and so on: none hides or takes the error of another.
#[test]
fn an_error_names_the_rule_that_has_it_once() {
    let sound = access("access.outcome: denied");
    let lines = sound.lines().count();
    let without = |key: &str, title: &str| {
        let text = sound.replace("title: t", &format!("title: {title}"));
        let id = format!("id: {title}");
        match key {
            "condition" => text
                .replace("id: a", &id)
                .replace("  condition: selection\n", ""),
            _ => text
                .replace("id: a", &id)
                .split_inclusive("detection:")
                .next()
                .unwrap()
                .replace("detection:", ""),
        }
    };
    let (b, c) = (without("condition", "B"), without("detection", "C"));
    let text = format!("\u{feff}{sound}---\n{b}---\n{c}");
    let first = lines + 2;
    let second = first + b.lines().count() + 1;
    let expected = [
        format!(
            "r.yml:{}: \"B\": detection.condition: Missing required field 'condition'; combine \
             names of selections with and, or, not, `1 of x*`, `all of x*`",
            first + b.lines().position(|line| line == "detection:").unwrap()
        ),
        format!("r.yml:{second}: \"C\": detection: Missing required field 'detection'; add it"),
    ];
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check_faults(&text, &expected);
    let found = lint(&[("r.yml", &*text)], &vars::Placeholders::new());
    let errors = found.iter().filter(|f| f.severity == LintSeverity::Error);
    let errors: Vec<String> = errors
        .filter(|f| f.check != "invalid_id")
        .map(|f| format!("{}:{}: {}", f.file, f.line, f.message))
        .collect();
    assert_eq!(errors, expected);
}
