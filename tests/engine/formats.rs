//! Everything that is published or stored, as it was when its version was frozen:
//! `tests/golden/`. A file that is missing is written, to be read by a person before it is
//! committed.

use std::path::Path;

use secretrail_engine::{
    alert::{Alert, chat, json_v1, ocsf, text},
    ids::SharedStr,
    incident::{
        self, Incident, IncidentPeriods,
        announced::AnnouncedIncident,
        asff, finding,
        grouping::IncidentGrouping,
        message::IncidentMessage,
        usual::{CurrentTraits, UsualFacts},
    },
    limits::{DAY_SECS, SEEN_LOOKBACK_SECS},
    lineage::{
        issue::{CallerStanding, CredentialIssue, IssueCaller},
        origin::{KeyUse, SessionOrigins},
        search::LineageSearch,
    },
    principal::PrincipalKind,
    seen::{SeenTimes, usual::UsualQuery},
    state::item_v1,
    time::EventTime,
};
use serde_json::{Value, json};
use test_support::{
    decrypt_secret, denied, direct_decrypt, pack, read, run, scan_result, secret_arn,
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../golden");

fn golden(name: &str, found: &str) {
    let path = Path::new(GOLDEN).join(name);
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

/// An alert about one event, and one about many.
fn alerts() -> Vec<Alert> {
    let mut records = vec![direct_decrypt("e1", "thief", 0, "prod/db")];
    records
        .extend((0..6).map(|i| denied(&format!("n{i}"), "prober", 60 + i, &format!("prod/s{i}"))));
    let mut alerts = run(&records, &pack(), None).alerts;
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

/// A user with a second factor behind these keys.
fn origins(keys: &[SharedStr]) -> SessionOrigins {
    let mut search = LineageSearch::new(keys.iter().cloned());
    for key in keys {
        search.add(CredentialIssue {
            key: key.clone(),
            secs: 1_772_445_000,
            event_id: "i1".into(),
            api: "AssumeRole".into(),
            role: Some("arn:aws:iam::111122223333:role/thief".into()),
            session: Some("arn:aws:sts::111122223333:assumed-role/thief/s".into()),
            caller: IssueCaller {
                standing: CallerStanding::First,
                kind: PrincipalKind::Human,
                principal: Some("arn:aws:iam::111122223333:user/ann".into()),
                session: Some("arn:aws:iam::111122223333:user/ann".into()),
                access_key: Some("AKIAEXAMPLEANN".into()),
                source: Some("203.0.113.9".into()),
                mfa: Some(true),
                source_identity: Some("ann".into()),
            },
        });
    }
    let keys = keys.iter().cloned();
    let uses: Vec<KeyUse> = keys
        .map(|key| KeyUse {
            key,
            principal: None,
        })
        .collect();
    SessionOrigins::of(&uses, &search)
}

/// What is usual for the actor of an incident: ten days of reads from another network.
fn usual(incident: &Incident) -> UsualFacts {
    let current = CurrentTraits::of_incident(incident).unwrap();
    let query = UsualQuery::new(&current);
    let days: Vec<SeenTimes> = query
        .keys()
        .iter()
        .map(|key| {
            let is_usual = ["principal\n", "\tkprivate", "\tcboto3", "\tzeu-west-1"];
            let mut times = SeenTimes::default();
            if is_usual.iter().any(|part| key.contains(part)) {
                let before = (1..=10).map(|day| current.since().plus(-day * DAY_SECS));
                before.for_each(|time| times.add(time, DAY_SECS));
            }
            times
        })
        .collect();
    query.facts(&days, SEEN_LOOKBACK_SECS)
}

/// The first message about each incident, and one about news in the first.
fn incident_messages() -> Vec<IncidentMessage> {
    let mut alerts = alerts();
    let periods = IncidentPeriods::default();
    let of = |alerts: &[Alert]| {
        let mut incidents = IncidentGrouping::all(periods, alerts.to_vec()).incidents;
        incidents.sort_by_cached_key(Incident::order);
        let worst = incidents.iter_mut().take(1);
        worst.for_each(|incident| {
            incident.origins = origins(&incident.access_keys.first);
            incident.usual = Some(usual(incident));
        });
        incidents
    };
    let now = EventTime(1_772_449_200);
    let incidents = of(&alerts);
    let opened = incidents.iter().map(|incident| {
        let announced = AnnouncedIncident::opened(incident, now);
        IncidentMessage::new(announced, Some(incident.clone()), now)
    });
    let mut messages: Vec<IncidentMessage> = opened.collect();
    let before = of(&alerts[..1]).remove(0);
    let announced = AnnouncedIncident::opened(&before, now.plus(-600));
    alerts.truncate(2);
    let after = of(&alerts)
        .into_iter()
        .find(|after| after.actor == before.actor);
    let after = after.unwrap();
    let announced = announced.updated(&after, &[], now).unwrap();
    messages.push(IncidentMessage::new(announced, Some(after), now));
    messages
}

#[test]
fn incidents_are_reported_as_they_were() {
    let messages = incident_messages();
    assert!(messages.len() >= 3);
    let all = |report: &dyn Fn(&IncidentMessage) -> String| {
        messages.iter().map(report).collect::<Vec<_>>().join("\n")
    };
    golden(
        "incidents.v1.json",
        &all(&|message| pretty(&message.json(usize::MAX))),
    );
    golden(
        "incidents.ocsf.json",
        &all(&|message| pretty(&finding::detection_finding(message))),
    );
    let product = "arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default";
    golden(
        "incidents.asff.json",
        &all(&|message| pretty(&asff::security_finding(message, product))),
    );
    golden(
        "incidents.chat.json",
        &all(&|message| pretty(&incident::chat::notification(message))),
    );
    golden(
        "incidents.txt",
        &all(&|message| format!("Subject: {}\n\n{}", message.subject(), message.body())),
    );
    for message in &messages {
        assert!(message.body().lines().count() <= 40, "{}", message.body());
        assert!(message.subject().len() < 100);
    }
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
    let ends: Vec<_> = scan_result(&records, &pack()).observations;
    let text =
        |bytes: &[u8]| pretty(&String::from_utf8(item_v1::unsqueezed(bytes).unwrap()).unwrap());
    let packed = item_v1::pack_pending(&ends);
    golden("pending-events.v1.json", &text(&packed[0].bytes));
    let alert = &alerts()[0];
    golden(
        "alert-item.v1.json",
        &text(&item_v1::pack_alert(alert).bytes),
    );
    // What an earlier process wrote is read by this one.
    let stored = |name: &str| {
        let text = std::fs::read_to_string(Path::new(GOLDEN).join(name)).unwrap();
        item_v1::squeezed(text.as_bytes())
    };
    let mut back = item_v1::unpack_pending(&stored("pending-events.v1.json")).unwrap();
    back.sort_by_key(|end| ends.iter().position(|known| known.id == end.id));
    assert_eq!(back, ends);
    // Fields of the record that only rules need are not kept in it.
    let alert_back = item_v1::unpack_alert(&stored("alert-item.v1.json")).unwrap();
    let whole = |alert: &Alert| json_v1::within(alert, usize::MAX);
    assert_eq!(whole(&alert_back), whole(alert));
    assert_eq!(alert_back.events, alert.events);
    // An item that names events by their ids only.
    let bytes = item_v1::unsqueezed(&stored("alert-item.v1.json")).unwrap();
    let mut older: Value = serde_json::from_slice(&bytes).unwrap();
    older["alert"]["events"] = json!(["e1"]);
    let older = item_v1::unpack_alert(&item_v1::squeezed(older.to_string().as_bytes())).unwrap();
    assert_eq!(
        (&*older.events[0].id, older.events[0].time),
        ("e1", alert.time)
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
