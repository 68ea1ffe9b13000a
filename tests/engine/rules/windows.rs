//! Groups and windows: what they count, and how often they tell.

use serde_json::{Value, json};
use test_support::{at, read, run};

use super::{access, counting, fires, rules};

#[test]
fn windows_are_half_open_and_one_alert_a_bucket() {
    let text = counting("event_count", "principal.arn", "10s", "gte: 3");
    let reads = |times: &[i64]| -> Vec<Value> {
        times
            .iter()
            .enumerate()
            .map(|(i, t)| read(&format!("r{i}"), "app", *t, "x"))
            .collect()
    };
    assert_eq!(fires(&text, &reads(&[0, 4, 9])), 1);
    assert_eq!(
        fires(&text, &reads(&[0, 4, 10])),
        0,
        "(t - 10 s, t] leaves out what is ten seconds old"
    );
    assert_eq!(fires(&text, &reads(&[0, 1, 2, 3, 4, 5])), 1);
    assert_eq!(fires(&text, &reads(&[0, 1, 2, 12, 13, 14])), 2);
    assert_eq!(fires(&text, &reads(&[0, 1])), 0);
    let suppressed = format!("{text}secretrail:\n  suppress: 1h\n");
    let outcome = run(
        &reads(&[0, 1, 2, 12, 13, 14, 15]),
        &rules(&suppressed),
        None,
    );
    let [alert] = outcome.alerts.as_slice() else {
        panic!("{:?}", outcome.alerts)
    };
    let window_match = alert.window_match.as_ref().unwrap();
    assert_eq!(
        (window_match.count, window_match.start, window_match.end),
        (4, at(5), at(15)),
        "the fullest window of the bucket is told"
    );
}

#[test]
fn what_lacks_a_field_of_the_group_does_not_count() {
    let text = counting("event_count", "source.vpc_endpoint", "10s", "gte: 1");
    assert_eq!(fires(&text, &[read("r", "app", 0, "x")]), 0);
    let mut inside = read("r", "app", 0, "x");
    inside["vpcEndpointId"] = json!("vpce-1");
    assert_eq!(fires(&text, &[inside]), 1);
}

#[test]
fn order_matters_only_where_the_rule_says_so() {
    let text = |kind: &str| {
        let base = |id: &str, name: &str| {
            access(&format!("secret.name: {name}")).replace("id: a", &format!("id: {id}"))
        };
        format!(
            "{}---\n{}---
title: c
id: c
correlation:
  type: {kind}
  rules: [first, second]
  group-by: [principal.arn]
  timespan: 10s
",
            base("first", "x"),
            base("second", "y")
        )
    };
    let reads = |x: i64, y: i64| [read("r1", "app", x, "x"), read("r2", "app", y, "y")];
    assert_eq!(fires(&text("temporal"), &reads(5, 0)), 1);
    assert_eq!(fires(&text("temporal"), &reads(0, 11)), 0);
    assert_eq!(fires(&text("temporal_ordered"), &reads(5, 0)), 0);
    assert_eq!(fires(&text("temporal_ordered"), &reads(0, 5)), 1);
    assert_eq!(
        fires(&text("temporal_ordered"), &reads(5, 5)),
        1,
        "events of one second have any order"
    );
}
