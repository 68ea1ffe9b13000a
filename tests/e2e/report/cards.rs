//! The incident cards of the report, used in a browser as a person would: by a link, by filters,
//! by the keyboard alone, on paper, and with text that an attacker wrote.

use std::path::Path;

use e2e::{LOGS, POLICY, local, secretrail};
use serde_json::{Value, json};

use super::{HARMFUL, hostile, report};

/// Height of A4 without margins of 12 mm, in CSS pixels.
const PAPER: u64 = 1032;

/// What was seen of a report whose card of an incident is used.
fn used(page: &Path, incident: &str) -> Value {
    let axe = local::axe();
    let args = [axe.as_os_str(), page.as_ref(), incident.as_ref()];
    local::in_browser("cards.py", &args)
}

/// The incidents of a replay, the most suspicious first.
fn incidents(args: &[&str]) -> Vec<Value> {
    let form = ["-f", "jsonl", "--incidents", "-q"];
    let written = secretrail(&[&["replay"], args, &form].concat()).stdout;
    let lines = written.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ids(incidents: &[Value]) -> Vec<&str> {
    let ids = incidents.iter().map(|incident| incident["id"].as_str());
    ids.map(Option::unwrap).collect()
}

fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn a_card_is_opened_copied_filtered_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let args = [LOGS, "--policy", POLICY];
    let page = report(LOGS, &["--policy", POLICY], folder.path());
    let incidents = incidents(&args);
    let incident = &incidents[2];
    let id = incident["id"].as_str().unwrap();
    let seen = used(&page, id);
    assert_eq!(
        (&seen["errors"], seen["requests"][0].as_str()),
        (&json!([]), Some("report.html"))
    );
    let requests = texts(&seen["requests"]);
    assert!(requests.iter().all(|name| name == "report.html"));
    opened_by_its_link(&seen, &incidents, incident);
    copied(&seen, incident, id);
    filtered(&seen, &incidents);
    by_keyboard(&seen);
    on_paper(&seen, incidents.len());
    harmless(&seen);
}

fn opened_by_its_link(seen: &Value, incidents: &[Value], incident: &Value) {
    let id = incident["id"].as_str().unwrap();
    assert_eq!(
        texts(&seen["all"][0]),
        ids(incidents),
        "in the order of the score"
    );
    assert_eq!(seen["open"], json!([id]));
    let below = seen["linked"][0].as_i64().unwrap();
    assert!((0..60).contains(&below), "{below} below the filters");
    assert_eq!(seen["linked"][1], json!(true), "it has the focus");
    assert_eq!(seen["linked_hash"], json!({ "incident": id }));
    // What the card says is the story of the engine.
    let card = seen["card"].as_str().unwrap();
    for key in ["why", "harmless_if"] {
        for text in texts(&incident[key]).iter().take(3) {
            assert!(card.contains(text), "{key}: {text}");
        }
    }
    assert!(card.contains(incident["checks"][0].as_str().unwrap()));
    for action in incident["actions"].as_array().unwrap() {
        for key in ["text", "command"] {
            assert!(action[key].as_str().is_none_or(|text| card.contains(text)));
        }
    }
    let pictures = texts(&seen["pictures"]);
    assert!(
        pictures[0].contains("24 of this incident") && pictures[1].contains("24 secrets"),
        "{pictures:?}"
    );
    let unknown = seen["unknown"].as_str().unwrap();
    assert!(
        unknown.starts_with("Not in this report: source “192.0.2.254”, incident “0000"),
        "{unknown}"
    );
    assert_eq!(seen["unknown_shown"][1], seen["all"][2], "it shows all");
}

fn copied(seen: &Value, incident: &Value, id: &str) {
    let actions = incident["actions"].as_array().unwrap();
    let first = actions.iter().find_map(|action| action["command"].as_str());
    assert_eq!(seen["command"].as_str(), first);
    assert_eq!(seen["copied"], seen["command"]);
    assert!(
        seen["copied_said"]
            .as_str()
            .unwrap()
            .starts_with("Copied: ")
    );
    let link = seen["copied_link"].as_str().unwrap();
    assert!(link.ends_with(&format!("/report.html#incident={id}")));
    assert_eq!(
        (&seen["before_evidence"], &seen["evidence"]),
        (&json!(0), &incident["alerts_total"])
    );
    let raw: Value = serde_json::from_str(seen["raw"].as_str().unwrap()).unwrap();
    assert!(raw["eventSource"].is_string(), "{raw}");
}

fn filtered(seen: &Value, incidents: &[Value]) {
    let of = |keep: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let kept = incidents.iter().filter(|incident| keep(incident));
        ids(&kept.cloned().collect::<Vec<_>>())
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(seen["first"], incidents[0]["id"]);
    let critical = of(&|incident| incident["level"] == "critical");
    assert_eq!(texts(&seen["critical"][0]), critical);
    let from_there = of(&|incident| {
        let source = incident["sources"][0].as_str().unwrap();
        source.starts_with("198.51.100.")
    });
    assert_eq!(texts(&seen["filtered"][0]), from_there);
    let hash = &seen["filtered_hash"];
    assert_eq!(
        [&hash["search"], &hash["outcome"], &hash["from"]],
        [
            &json!("198.51.100"),
            &json!("success"),
            &json!("2026-03-02T11:05:00Z")
        ]
    );
    assert_eq!(seen["again"], seen["filtered"], "the address holds it all");
    let fields = texts(&seen["again_fields"]);
    assert_eq!(fields[..2], ["198.51.100", "2026-03-02T11:05:00Z"]);
    let dates: Vec<(String, Vec<String>, bool, bool)> =
        serde_json::from_value(seen["dates"].clone()).unwrap();
    for (said, invalid, unchanged, afterwards) in &dates {
        assert!(
            !said.is_empty() && !invalid.is_empty() && *unchanged && !afterwards,
            "{dates:?}"
        );
    }
    assert!(dates[0].0.starts_with("“2026-02-30” is not a date"));
    let nothing = seen["nothing_then"].as_str().unwrap();
    assert!(nothing.starts_with("Nothing happened then"), "{nothing}");
    assert_eq!(seen["reset"], json!([seen["all"], {}]));
}

fn by_keyboard(seen: &Value) {
    let below = seen["skipped"][0].as_i64().unwrap();
    assert!((0..60).contains(&below), "{below} below the filters");
    assert_eq!(seen["skipped"][1], json!(true));
    assert_eq!(seen["opened_by_key"], json!(true));
    let keyboard = &seen["keyboard"];
    assert!(keyboard["wanted"].as_u64() > Some(100), "{keyboard}");
    assert_eq!(keyboard["reached"], keyboard["wanted"]);
    assert_eq!(keyboard["hidden"], json!([]), "behind the filters");
}

fn on_paper(seen: &Value, incidents: usize) {
    let cards: Vec<(bool, u64, String, bool)> =
        serde_json::from_value(seen["paper"].clone()).unwrap();
    assert_eq!(cards.len(), incidents);
    for (index, (open, height, before, fits)) in cards.iter().enumerate() {
        assert!(open & fits && *height <= PAPER, "{cards:?}");
        assert!(index == 0 || before == "page", "{cards:?}");
    }
    assert!(seen["pages"].as_u64() > Some(incidents as u64));
    assert_eq!(seen["printed_hash"], json!({}), "nobody asked for a card");
}

/// Nothing in the page executes, links or loads, and axe finds nothing.
fn harmless(seen: &Value) {
    for (name, found) in seen["axe"].as_object().unwrap() {
        assert_eq!(found, &json!([]), "{name}");
    }
    assert_eq!(seen["axe"].as_object().unwrap().len(), 4);
    for (name, width) in seen["overflow"].as_object().unwrap() {
        assert!(name.starts_with(&width.to_string()), "{name}: {width}");
    }
    assert_eq!(
        (&seen["pwned"], &seen["foreign"], &seen["errors"]),
        (&json!("undefined"), &json!([]), &json!([]))
    );
    for link in texts(&seen["links"]) {
        let inside = link.starts_with("file://") && link.contains("/report.html#");
        // The console, and the references of rules.
        let hosts = ["amazon.com/", "attack.mitre.org/", "github.com/"];
        let host = link.strip_prefix("https://").and_then(|rest| {
            let end = rest.find('/')? + 1;
            rest.get(..end)
        });
        let known = host.is_some_and(|host| hosts.iter().any(|known| host.ends_with(known)));
        assert!(inside || known, "{link}");
    }
    assert!(!seen["text"].as_str().unwrap().contains(HARMFUL));
}

#[test]
fn hostile_text_in_the_cards_is_text() {
    let folder = tempfile::tempdir().unwrap();
    let logs = hostile(folder.path());
    let page = report(&logs, &[], folder.path());
    let incidents = incidents(&[&logs]);
    let seen = used(&page, incidents[2]["id"].as_str().unwrap());
    assert_eq!(texts(&seen["all"][0]), ids(&incidents));
    harmless(&seen);
    let cards = seen["cards"].as_str().unwrap();
    for text in [
        "<script>window.pwned=1</script>",
        "<img src=x onerror=window.pwned=1>",
        "javascript:window.pwned=1",
        "https://pwned.example/",
        "' onmouseover='window.pwned=1",
        "abc\\u{202e}gpj.exe",
    ] {
        assert!(cards.contains(text), "{text} is shown as text");
    }
}
