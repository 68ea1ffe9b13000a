//! What is published: hostile text breaks no message, and findings are those of the schema of OCSF.

use e2e::{LOGS, POLICY, decrypt_secret, local, pack, run, secretrail};
use secretrail_aws::sns::{MessageFormat, SnsMessage};
use secretrail_engine::{
    incident::{
        IncidentPeriods, announced::AnnouncedIncident, grouping::IncidentGrouping,
        message::IncidentMessage,
    },
    time::EventTime,
};
use serde_json::{Value, json};

#[test]
fn hostile_text_in_every_field_breaks_no_message() {
    let hostile = "\u{1b}[31m=cmd()<script>alert(1)</script>\u{202e}\r\nBcc: x@example.com *_~`<!channel> @here \u{0}";
    let long = hostile.repeat(4_000);
    let mut theft = decrypt_secret("e1", "thief", 0, hostile);
    theft["userIdentity"]
        .as_object_mut()
        .unwrap()
        .remove("invokedBy");
    for field in [
        "userAgent",
        "sourceIPAddress",
        "awsRegion",
        "recipientAccountId",
        "eventID",
    ] {
        theft[field] = json!(hostile);
    }
    theft["userAgent"] = json!(long);
    theft["userIdentity"]["arn"] = json!(format!(
        "arn:aws:sts::111122223333:assumed-role/{hostile}/s"
    ));
    theft["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] = json!(long);
    let alerts = run(&[theft], &pack(), None).alerts;
    assert!(!alerts.is_empty());
    let periods = IncidentPeriods::default();
    let grouped = IncidentGrouping::all(periods, alerts.clone());
    let now = EventTime(1);
    let incidents = grouped.incidents.into_iter().map(|incident| {
        let announced = AnnouncedIncident::opened(&incident, now);
        IncidentMessage::new(announced, Some(incident), now)
    });
    let incidents: Vec<IncidentMessage> = incidents.collect();
    assert!(!incidents.is_empty());
    for format in MessageFormat::ALL {
        let of_alerts = alerts.iter().map(|alert| SnsMessage::of(alert, format));
        let of_incidents = incidents.iter();
        let of_incidents = of_incidents.map(|one| SnsMessage::of_incident(one, format));
        for message in of_alerts.chain(of_incidents) {
            assert!(
                message.body.len() < 250 * 1024,
                "{} bytes",
                message.body.len()
            );
            assert!(
                message.subject.len() < 100
                    && message.subject.chars().all(|c| (' '..='~').contains(&c))
            );
            assert!(
                message
                    .attributes
                    .values()
                    .all(|value| !value.is_empty() && value.is_ascii())
            );
            let bodies: Value = serde_json::from_str(&message.body).unwrap();
            let email = bodies["email"].as_str().unwrap();
            assert!(
                !email.contains(['\u{1b}', '\u{202e}', '\r', '\0']),
                "{email}"
            );
            let body: Value = serde_json::from_str(bodies["default"].as_str().unwrap()).unwrap();
            if format == MessageFormat::Chat {
                let reported = body["content"].to_string();
                assert!(
                    !reported.contains("<!channel>") && !reported.contains("@here"),
                    "{reported}"
                );
                // Only commands have it, which hold no text that a chat would interpret.
                let description = body["content"]["description"].to_string();
                assert!(!description.contains('`'), "{description}");
            }
            if body["schema"] == "secretrail.alert/1" {
                assert_eq!(
                    body["truncated"], true,
                    "half a megabyte of user agent is cut, and says so"
                );
            }
        }
    }
}

#[test]
fn ocsf_findings_are_those_of_the_schema() {
    let printed = secretrail(&["replay", LOGS, "--policy", POLICY, "-f", "ocsf", "-q"]);
    let validated = |findings: &str| validated(&local::ocsf(), "ocsf.py", findings);
    let result = validated(&printed.stdout);
    assert_eq!(
        (&result["wrong"], &result["count"]),
        (&json!([]), &json!(printed.stdout.lines().count()))
    );
    assert!(result["users"].as_u64() > Some(10));
    // The check can fail: a level that is none, and a field that is none.
    for (right, wrong) in [
        ("\"severity_id\":4", "\"severity_id\":44"),
        ("\"first_seen_time\"", "\"first_time\""),
    ] {
        assert!(printed.stdout.contains(right));
        let result = validated(&printed.stdout.replace(right, wrong));
        assert_ne!(result["wrong"], json!([]), "{wrong}");
    }
}

#[test]
fn findings_of_security_hub_are_those_of_the_model_of_its_api() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/incidents.asff.json");
    let golden = std::fs::read_to_string(golden).unwrap();
    let read = serde_json::Deserializer::from_str(&golden).into_iter::<Value>();
    let findings: Vec<Value> = read.map(Result::unwrap).collect();
    let lines = |findings: &[Value]| -> String {
        findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect()
    };
    let validated = |findings: &str| validated(&local::boto(), "asff.py", findings);
    let result = validated(&lines(&findings));
    assert_eq!(
        (&result["wrong"], &result["count"]),
        (&json!([]), &json!(findings.len()))
    );
    // The check can fail: a field that is none, one that is missing, a value that is none.
    let mut wrong = vec![findings[0].clone(); 3];
    wrong[0]["Tittle"] = json!("x");
    wrong[1].as_object_mut().unwrap().remove("Resources");
    wrong[2]["RecordState"] = json!("CLOSED");
    let result = validated(&lines(&wrong));
    assert_eq!(result["wrong"].as_array().unwrap().len(), 3, "{result}");
}

/// What a script of the models of others says of findings, one on each line.
fn validated(python: &std::path::Path, script: &str, findings: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/support");
    let mut child = std::process::Command::new(python)
        .arg(format!("{folder}/{script}"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), findings.as_bytes()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}
