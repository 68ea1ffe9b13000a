//! Everything that is published or stored, as it was when its version was frozen: `tests/golden/`. A file that is missing is
//! written, to be read by a person before it is committed.

use std::path::Path;

use e2e::{decrypt_secret, denied, direct_decrypt, harvest, read, run, secret_arn};
use secretrail_aws::sns::{Format, Message};
use secretrail_engine::alert::{Alert, chat, json_v1, ocsf, text};
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule::load::load;
use secretrail_engine::state::item_v1;
use serde_json::{Value, json};

fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    match std::fs::read_to_string(&path) {
        Ok(expected) => assert_eq!(found, expected, "{}", path.display()),
        Err(_) => {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, found).unwrap();
            panic!(
                "{} did not exist; it has been written: read it",
                path.display()
            );
        }
    }
}

/// JSON as people read it.
fn pretty(text: &str) -> String {
    format!("{:#}\n", serde_json::from_str::<Value>(text).unwrap())
}

fn rules() -> RuleSet {
    let files = secretrail_pack::files();
    load(
        files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    )
    .unwrap()
    .0
}

/// An alert about one event, and one about many.
fn alerts() -> Vec<Alert> {
    let mut records = vec![direct_decrypt("e1", "thief", 0, "prod/db")];
    records
        .extend((0..6).map(|i| denied(&format!("n{i}"), "prober", 60 + i, &format!("prod/s{i}"))));
    let mut alerts = run(&records, &rules(), None).alerts;
    alerts.retain(|alert| {
        ["Decrypted", "Denied"]
            .iter()
            .any(|word| alert.rule.title.contains(word))
            || alert.accesses_total >= 5
    });
    alerts.sort_by(|a, b| (a.rule.level, &a.id).cmp(&(b.rule.level, &b.id)));
    alerts
}

#[test]
fn alerts_are_told_as_they_were() {
    let alerts = alerts();
    assert!(
        alerts.iter().any(|a| a.accesses_total == 1) && alerts.iter().any(|a| a.accesses_total > 1)
    );
    let all =
        |tell: &dyn Fn(&Alert) -> String| alerts.iter().map(tell).collect::<Vec<_>>().join("\n");
    golden(
        "alerts.v1.json",
        &all(&|alert| pretty(&json_v1::within(alert, usize::MAX))),
    );
    golden(
        "alerts.ocsf.json",
        &all(&|alert| pretty(&ocsf::detection_finding(alert))),
    );
    golden(
        "alerts.chat.json",
        &all(&|alert| pretty(&chat::notification(alert))),
    );
    golden(
        "alerts.txt",
        &all(&|alert| format!("Subject: {}\n\n{}", text::subject(alert), text::body(alert))),
    );
}

#[test]
fn stored_items_are_read_as_they_were_written() {
    let mut first = read("r1", "app", 0, "prod/db");
    // A field that a rule of the pack asks for.
    first["userIdentity"]["sessionContext"]["ec2RoleDelivery"] = json!("2.0");
    let records = [
        first,
        decrypt_secret("d1", "app", 0, "prod/db"),
        denied("n1", "app", 1, &secret_arn("prod/x")),
    ];
    let ends: Vec<_> = harvest(&records, &rules()).observations;
    let text =
        |bytes: &[u8]| pretty(&String::from_utf8(item_v1::unsqueezed(bytes).unwrap()).unwrap());
    let packed = item_v1::pack_ends(&ends);
    golden("loose-ends.v1.json", &text(&packed[0].bytes));
    let alert = &alerts()[0];
    golden(
        "alert-item.v1.json",
        &text(&item_v1::pack_alert(alert).bytes),
    );
    // What an earlier process wrote is read by this one.
    let stored = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("golden")
            .join(name);
        item_v1::squeezed(std::fs::read_to_string(path).unwrap().as_bytes())
    };
    let mut back = item_v1::unpack_ends(&stored("loose-ends.v1.json")).unwrap();
    back.sort_by_key(|end| ends.iter().position(|known| known.id == end.id));
    assert_eq!(back, ends);
    assert_eq!(
        &item_v1::unpack_alert(&stored("alert-item.v1.json")).unwrap(),
        alert
    );
    // An item from before `events` was there.
    let bytes = item_v1::unsqueezed(&stored("alert-item.v1.json")).unwrap();
    let mut before: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(
        before["alert"]
            .as_object_mut()
            .unwrap()
            .remove("events")
            .is_some()
    );
    let before = item_v1::unpack_alert(&item_v1::squeezed(before.to_string().as_bytes())).unwrap();
    assert_eq!((before.id, before.events), (alert.id.clone(), Vec::new()));
}

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
    let alerts = run(&[theft], &rules(), None).alerts;
    assert!(!alerts.is_empty());
    for alert in &alerts {
        for format in Format::ALL {
            let message = Message::of(alert, format);
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
            if format == Format::Chat {
                let told = body["content"].to_string();
                assert!(
                    !told.contains("<!channel>") && !told.contains("@here") && !told.contains('`'),
                    "{told}"
                );
            }
            if format == Format::Standard {
                assert_eq!(
                    body["cut"], true,
                    "half a megabyte of user agent is cut, and says so"
                );
            }
        }
    }
}

#[test]
fn ocsf_findings_are_those_of_the_schema() {
    let logs = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/logs");
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/access-policy.yaml");
    let printed = e2e::secretrail(&["replay", logs, "--policy", policy, "-f", "ocsf", "-q"]);
    let validated = |findings: &str| -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/support/ocsf.py");
        let mut python = std::process::Command::new(e2e::local::ocsf());
        let (input, output) = (std::process::Stdio::piped(), std::process::Stdio::piped());
        let mut child = python
            .arg(script)
            .stdin(input)
            .stdout(output)
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), findings.as_bytes()).unwrap();
        serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
    };
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
