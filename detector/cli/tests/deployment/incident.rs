//! `incident list`, `close` and `reopen` against the items that the function writes.

use chrono::Utc;
use secretrail_engine::{
    actor::{Actor, ActorKind},
    alert::IncidentId,
    incident::{
        announced::{
            AnnouncedExposure, AnnouncedIncident, AnnouncedValues, IncidentEnd, IncidentNews,
            NewsKind,
        },
        decision::{Decided, DecidedStatus, IncidentDecision},
    },
    rule_meta::RuleLevel,
    state::item_v1::pack_incident,
    time::EventTime,
};
use serde_json::{Value, json};

use crate::{
    healthy::healthy,
    stand_in::{Answer, Cloud},
};

const ANA: &str = "arn:aws:sts::111122223333:assumed-role/oncall/ana";
const TRANSACTION: &str = "dynamodb TransactWriteItems";

/// An incident that began and ended so many minutes ago.
fn incident(id: &str, first: i64, last: i64) -> AnnouncedIncident {
    let now = Utc::now().timestamp();
    AnnouncedIncident {
        id: IncidentId(id.into()),
        actor: Actor {
            kind: ActorKind::Principal,
            key: "111122223333:AROA".into(),
            name: "arn:aws:iam::111122223333:role/deploy\u{1b}[31m".into(),
        },
        thread: IncidentId(id.into()),
        first: EventTime(now - first * 60),
        last: EventTime(now - last * 60),
        level: RuleLevel::High,
        highest: RuleLevel::High,
        score: 50,
        values: AnnouncedValues {
            rules: ["rule-1".into()].into(),
            secrets: ["prod/db".into()].into(),
            ..AnnouncedValues::default()
        },
        exposure: Some(AnnouncedExposure {
            since: EventTime(1_772_445_600),
            is_open: id != "b2",
        }),
        alert_ids: Vec::new(),
        alerts_total: 17,
        news: IncidentNews::of(NewsKind::Opened),
        due: EventTime(now - last * 60),
        earlier: Vec::new(),
        due_before: None,
        replaces: None,
        messages: 3,
        merged: Vec::new(),
        end: None,
        version: 4,
    }
}

fn item(incident: &AnnouncedIncident) -> Value {
    use base64::Engine;
    let content = pack_incident(incident).bytes;
    let content = base64::engine::general_purpose::STANDARD.encode(content);
    json!({
        "pk": {"S": format!("incident#{}", incident.id.0)}, "sk": {"S": "-"},
        "content": {"B": content}, "version": {"N": incident.version.to_string()},
        "ttl": {"N": "1790000000"},
    })
}

/// A decision about an incident as it was then.
fn decision(about: &AnnouncedIncident, status: DecidedStatus) -> Value {
    let decided = Decided {
        status,
        reason: "a drill".to_owned(),
        by: ANA.to_owned(),
        at: 1_772_445_600,
    };
    let decision = IncidentDecision::new(decided, about, None);
    json!({
        "pk": {"S": format!("incident#{}", about.id.0)}, "sk": {"S": "decision"},
        "decided": {"S": serde_json::to_string(&decision).expect("JSON")},
        "version": {"N": "1"}, "ttl": {"N": "1790000000"},
    })
}

/// A healthy deployment with these items about incidents.
fn with(incidents: &[AnnouncedIncident], decisions: &[Value]) -> Cloud {
    let cloud = healthy();
    let references: Vec<Value> = incidents
        .iter()
        .map(|one| {
            let key = format!("{:012}#{}", one.first.0, one.id.0);
            json!({"pk": {"S": "incidents"}, "sk": {"S": key}})
        })
        .collect();
    let items = incidents.iter().map(item).chain(decisions.iter().cloned());
    let items: Vec<Value> = items.collect();
    let found = json!({"Responses": {"secretrail-Table-1": items}, "UnprocessedKeys": {}});
    let who = format!("<Arn>{ANA}</Arn><UserId>AROA:ana</UserId><Account>111122223333</Account>");
    cloud
        .answer(
            "dynamodb Query",
            "\"incidents\"",
            Answer::json(&json!({"Items": references})),
        )
        .answer("dynamodb BatchGetItem", "", Answer::json(&found))
        .answer("dynamodb GetItem", "incident#", Answer::json(&json!({})))
        .answer(
            "sts GetCallerIdentity",
            "",
            Answer::xml("GetCallerIdentity", &who),
        );
    for one in incidents {
        let found = json!({"Item": item(one)});
        let key = format!("\"incident#{}\"", one.id.0);
        cloud.answer("dynamodb GetItem", &key, Answer::json(&found));
    }
    cloud
}

fn listed(cloud: &Cloud, words: &str) -> Vec<Value> {
    let (code, stdout, stderr) = cloud.run(&format!("incident list -f jsonl -q {words}"));
    assert_eq!(code, 0, "{stderr}");
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn open_incidents_are_listed_with_what_was_sent_of_them() {
    let mut merged = incident("c3", 900, 800);
    merged.end = Some(IncidentEnd::MergedInto(IncidentId("a1".into())));
    let closed = incident("d4", 2_000, 1_900);
    let decided = decision(&closed, DecidedStatus::Closed);
    // Another secret was read since it was closed.
    let mut reopened = incident("e5", 3_000, 2_900);
    let again = decision(&reopened, DecidedStatus::Closed);
    reopened.values.secrets.insert("prod/api".into());
    let all = [
        incident("a1", 90, 30),
        incident("b2", 600, 500),
        merged,
        closed,
        reopened,
    ];
    let cloud = with(&all, &[decided, again]);
    let status = |words: &str| -> Vec<String> {
        let listed = listed(&cloud, words).into_iter();
        listed
            .map(|one| format!("{} {}", one["id"], one["status"]).replace('"', ""))
            .collect()
    };
    assert_eq!(status(""), ["a1 active", "b2 ended", "e5 ended"]);
    let every = [
        "a1 active",
        "b2 ended",
        "c3 merged",
        "d4 closed",
        "e5 ended",
    ];
    assert_eq!(status("--all"), every);
    let first = &listed(&cloud, "")[0];
    assert_eq!(
        (&first["schema"], &first["alerts"]),
        (&json!("secretrail.incident_status/1"), &json!(17))
    );
    assert_eq!(
        (&first["messages"], &first["decision"]),
        (&json!(3), &Value::Null)
    );
    let closed = &listed(&cloud, "--all")[3]["decision"];
    let expected = json!({"status": "closed", "reason": "a drill", "by": ANA,
        "at": "2026-03-02T10:00:00Z", "holds": true});
    assert_eq!(closed, &expected);
    assert_eq!(listed(&cloud, "")[2]["decision"]["holds"], false);
    // What it revealed is closed when all of it is superseded, or a person says so.
    let exposures: Vec<Value> = listed(&cloud, "--all")
        .iter()
        .map(|one| one["exposure_status"].clone())
        .collect();
    assert_eq!(exposures, ["open", "closed", "open", "closed", "open"]);
    assert_eq!(first["exposed_since"], "2026-03-02T10:00:00Z");
    let (_, text, closing) = cloud.run("incident list");
    assert!(
        text.contains("exposure open since 2026-03-02T10:00:00Z"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(
        text.contains("17 alerts, 3 messages, the last at 20"),
        "{text}"
    );
    assert!(
        text.contains("open again by news, closed before 2026-03-02T10:00:00Z by"),
        "{text}"
    );
    assert_eq!(
        closing,
        "3 incidents of table secretrail-Table-1, 2 more with --all\n"
    );
    let csv = cloud.run("incident list -f csv -q").1;
    assert!(csv.starts_with("id,level,status,actor,first,last,alerts,messages,last_message,"));
}

#[test]
fn a_decision_is_written_beside_the_incident_on_its_version() {
    let one = incident("a1b2c3", 90, 30);
    let cloud = with(std::slice::from_ref(&one), &[]);
    cloud.answer(TRANSACTION, "", Answer::json(&json!({})));
    let (code, stdout, _) = cloud.run("incident close a1b2 --reason drill --stack secretrail");
    assert_eq!((code, stdout.as_str()), (0, "incident a1b2c3 is closed\n"));
    let asked = cloud.asked(TRANSACTION);
    let written: Value = serde_json::from_str(&asked[0].body).expect("JSON");
    let check = &written["TransactItems"][0]["ConditionCheck"];
    assert_eq!(
        check["Key"],
        json!({"pk": {"S": "incident#a1b2c3"}, "sk": {"S": "-"}})
    );
    assert_eq!(
        check["ExpressionAttributeValues"],
        json!({":version": {"N": "4"}})
    );
    let put = &written["TransactItems"][1]["Put"];
    assert_eq!(put["ConditionExpression"], "attribute_not_exists(#pk)");
    assert_eq!(
        put["Item"]["sk"],
        json!({"S": "decision"}),
        "never the item of the function"
    );
    assert_eq!(put["Item"]["version"], json!({"N": "1"}));
    let text = put["Item"]["decided"]["S"].as_str().expect("text");
    let decision: IncidentDecision = serde_json::from_str(text).expect("a decision");
    assert!(decision.is_closed(&one));
    assert_eq!((&*decision.last.by, &*decision.last.reason), (ANA, "drill"));
}

#[test]
fn a_closed_incident_sends_no_more_of_the_same() {
    let mut one = incident("a1b2c3", 90, 30);
    let item = decision(&one, DecidedStatus::Closed);
    let text = item["decided"]["S"].as_str().expect("text");
    let decision: IncidentDecision = serde_json::from_str(text).expect("a decision");
    assert!(!decision.silences(&one), "it was never published");
    one.news = IncidentNews::of(NewsKind::Updated);
    (one.alerts_total, one.last) = (90, EventTime(one.last.0 + 60));
    one.values.sources.insert("192.0.2.9".into());
    assert!(decision.silences(&one), "more of the same");
    one.news.merged.push(IncidentId("another".into()));
    assert!(!decision.silences(&one), "it took in another one");
    one.news.merged.clear();
    let changes: [fn(&mut AnnouncedIncident); 3] = [
        |one| one.level = RuleLevel::Critical,
        |one| one.values.rules.extend(["rule-2".into()]),
        |one| one.values.secrets.extend(["prod/api".into()]),
    ];
    for change in changes {
        let mut later = one.clone();
        change(&mut later);
        assert!(!decision.silences(&later) && !decision.is_closed(&later));
    }
    for kind in [NewsKind::Merged, NewsKind::Withdrawn] {
        one.news = IncidentNews::of(kind);
        assert!(!decision.silences(&one), "{kind:?}");
    }
}

#[test]
fn who_was_outrun_looks_again() {
    let one = incident("a1b2c3", 90, 30);
    let decided = decision(&one, DecidedStatus::Closed);
    let cloud = with(&[one], &[decided]);
    let cancelled = Answer::json_error(
        400,
        "TransactionCanceledException",
        "[ConditionalCheckFailed]",
    );
    cloud
        .answer(TRANSACTION, "", Answer::json(&json!({})))
        .answer_times(TRANSACTION, cancelled.clone(), 1);
    let (code, stdout, _) = cloud.run("incident reopen a1b2c3 --reason seen-again");
    assert_eq!(
        (code, stdout.as_str()),
        (0, "incident a1b2c3 is reopened\n")
    );
    let asked = cloud.asked(TRANSACTION);
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].body.contains("\"#version = :known\""),
        "{}",
        asked[1].body
    );
    cloud.answer(TRANSACTION, "", cancelled);
    let (code, _, stderr) = cloud.run("incident reopen a1b2c3 --reason seen-again");
    assert!(
        code == 3 && stderr.contains("changes all the time"),
        "{stderr}"
    );
}

#[test]
fn what_is_decided_already_or_cannot_be_writes_nothing() {
    let open = incident("aaaa1", 90, 30);
    let closed = incident("bbbb1", 90, 30);
    let mut merged = incident("cccc1", 90, 30);
    merged.end = Some(IncidentEnd::MergedInto(IncidentId("aaaa1".into())));
    let mut similar = incident("aaaa2", 90, 30);
    similar.end = Some(IncidentEnd::Withdrawn);
    let decided = decision(&closed, DecidedStatus::Closed);
    for (about, words, expected, says) in [
        (
            &open,
            "reopen aaaa1 --reason x",
            0,
            "incident aaaa1 is open already",
        ),
        (
            &closed,
            "close bbbb1 --reason x",
            0,
            "incident bbbb1 is closed already",
        ),
        (
            &merged,
            "close cccc1 --reason x",
            3,
            "is a part of incident aaaa1; use that id",
        ),
        (&similar, "close aaaa2 --reason x", 3, "was withdrawn"),
    ] {
        let cloud = with(std::slice::from_ref(about), std::slice::from_ref(&decided));
        let (code, stdout, stderr) = cloud.run(&format!("incident {words}"));
        assert_eq!(code, expected, "{stderr}");
        assert!((stdout + &stderr).contains(says), "{says}: {stderr}");
        assert!(cloud.asked(TRANSACTION).is_empty());
    }
    let cloud = with(&[open, similar], &[]);
    for (words, expected, says) in [
        (
            "close aaaa --reason x",
            3,
            "beginning of several incidents: aaaa1, aaaa2",
        ),
        ("close ffff --reason x", 3, "there is no incident `ffff`"),
        ("close aaaa1 --reason=", 64, "write why"),
        (
            "list --table other --stack secretrail",
            64,
            "cannot be used with",
        ),
    ] {
        let (code, _, stderr) = cloud.run(&format!("incident {words}"));
        assert!(code == expected && stderr.contains(says), "{stderr}");
    }
}

#[test]
fn a_table_alone_needs_no_stack() {
    let one = incident("a1b2c3", 90, 30);
    let cloud = with(&[one], &[]);
    let found = listed(&cloud, "--table secretrail-Table-1");
    assert_eq!(found.len(), 1);
    assert!(cloud.asked("cloudformation DescribeStacks").is_empty());
    let unreadable = json!({"Responses": {"secretrail-Table-1": [{
        "pk": {"S": "incident#a1b2c3"}, "sk": {"S": "-"}, "content": {"B": "AAAA"}}]}});
    cloud.answer("dynamodb BatchGetItem", "", Answer::json(&unreadable));
    let (code, _, stderr) = cloud.run("incident list --table secretrail-Table-1");
    assert!(
        code == 3 && stderr.contains("incident a1b2c3: a stored item"),
        "{stderr}"
    );
}
