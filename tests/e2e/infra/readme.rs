//! What `infra/README.md` tells people to copy: filter policies, policies of buckets and keys, and
//! the change of a notification configuration.

use std::io::Write;

use e2e::{direct_decrypt, pack, run};
use secretrail_aws::sns::{MessageFormat, SnsMessage};
use secretrail_engine::{
    incident::{
        IncidentPeriods, announced::AnnouncedIncident, grouping::IncidentGrouping,
        message::IncidentMessage,
    },
    time::EventTime,
};

use super::{
    rendering::{of_role, property, rendered, statements},
    *,
};

fn readme() -> String {
    std::fs::read_to_string(root().join("infra/README.md")).unwrap()
}

/// The blocks of code in a language, without their indentation.
fn blocks(language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<Vec<String>> = None;
    for line in readme().lines().map(str::trim_start) {
        match block.take() {
            None if line == format!("```{language}") => block = Some(Vec::new()),
            None => {}
            Some(lines) if line == "```" => found.push(lines.join("\n")),
            Some(mut lines) => {
                lines.push(line.to_owned());
                block = Some(lines);
            }
        }
    }
    found
}

/// Whether a subscription with a filter policy gets a message.
fn gets(policy: &Value, message: &SnsMessage) -> bool {
    policy.as_object().unwrap().iter().all(|(name, values)| {
        let attribute = message.attributes.get(name.as_str());
        let values = values.as_array().unwrap();
        attribute.is_some_and(|attribute| values.iter().any(|value| value == attribute.as_str()))
    })
}

#[test]
fn filter_policies_get_what_the_table_says() {
    let theft = direct_decrypt("e1", "thief", 0, "prod/db");
    let alerts = run(&[theft], &pack(), None).alerts;
    let grouped = IncidentGrouping::all(IncidentPeriods::default(), alerts.clone());
    let now = EventTime(1);
    let incidents = grouped.incidents.into_iter().map(|incident| {
        let announced = AnnouncedIncident::opened(&incident, now);
        IncidentMessage::new(announced, Some(incident), now)
    });
    let format = MessageFormat::Standard;
    let of_alerts: Vec<SnsMessage> = alerts
        .iter()
        .map(|alert| SnsMessage::of(alert, format))
        .collect();
    let of_incidents: Vec<SnsMessage> = incidents
        .map(|incident| SnsMessage::of_incident(&incident, format))
        .collect();
    assert!(!of_alerts.is_empty() && !of_incidents.is_empty());
    let readme = readme();
    let rows = readme.lines().filter(|line| line.contains("| `{\""));
    let rows: Vec<(&str, Value)> = rows
        .map(|line| {
            let (what, _) = line.trim_start_matches("| ").split_once(" |").unwrap();
            let (_, policy) = line.split_once("| `{").unwrap();
            let (policy, _) = policy.split_once('`').unwrap();
            let policy = serde_json::from_str(&format!("{{{policy}")).unwrap();
            (what, policy)
        })
        .collect();
    assert!(rows.len() >= 4, "{rows:?}");
    for (what, policy) in rows {
        let alerts = of_alerts.iter().any(|message| gets(&policy, message));
        let incidents = of_incidents.iter().any(|message| gets(&policy, message));
        // A thief of a database password is critical, and in the account of the example.
        let expected = match policy["schema"][0].as_str() {
            Some("secretrail.alert/1") => (true, false),
            Some(_) => (false, true),
            None => (true, true),
        };
        assert_eq!((alerts, incidents), expected, "{what}: {policy}");
    }
}

#[test]
fn policies_of_other_accounts_allow_what_the_role_may_do() {
    let json: Vec<Value> = blocks("json")
        .iter()
        .map(|block| serde_json::from_str(block).unwrap())
        .collect();
    let [bucket, key, own_key] = json.as_slice() else {
        panic!("{json:?}");
    };
    let given = statements(&json!({"Statement": bucket}));
    let key_arn = "arn:aws:kms:eu-west-1:444455556666:key/trail";
    let set = json!({"TrailBucket": "my-trail-logs", "AlertEmail": "security@example.com",
        "TrailAccount": "444455556666", "TrailKeyArn": key_arn});
    let found = rendered("template.yaml", &[set]).remove(0);
    let role = of_role(&found, "Role");
    let (reads, lists) = (&given["SecretrailReads"], &given["SecretrailLists"]);
    assert_eq!(reads["Action"], role["ReadFiles"]["Action"]);
    let resource = reads["Resource"].as_str().unwrap().trim_end_matches('*');
    let of_role = role["ReadFiles"]["Resource"].as_str().unwrap();
    assert!(of_role.starts_with(resource), "{of_role}");
    for name in ["Action", "Resource", "Condition"] {
        assert_eq!(lists[name], role["ListFiles"][name], "{name}");
    }
    assert_eq!(key["Action"], role["DecryptFiles"]["Action"]);
    // The log of the stack is one of those that the key is for.
    let log = property(&found, "Log", "LogGroupName").as_str().unwrap();
    let named = own_key[1]["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"].as_str();
    let (_, named) = named.unwrap().split_once(":log-group:").unwrap();
    assert!(log.starts_with(named.trim_end_matches('*')), "{log}");
}

#[test]
fn a_notification_configuration_keeps_what_it_has() {
    let commands = blocks("sh").join("\n");
    let line = commands
        .lines()
        .find(|line| line.starts_with("jq ") && line.contains("EventBridgeConfiguration"))
        .unwrap();
    if Command::new("jq").arg("--version").output().is_err() {
        return;
    }
    let others = json!({"QueueConfigurations": [{"Id": "other", "QueueArn": "arn:aws:sqs:eu-west-1:111122223333:other",
        "Events": ["s3:ObjectCreated:*"]}]});
    // `get` prints nothing when there is no configuration.
    for (before, mut expected) in [(String::new(), json!({})), (others.to_string(), others)] {
        let folder = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(folder.path().join("before.json")).unwrap();
        file.write_all(before.as_bytes()).unwrap();
        let mut bash = Command::new("bash");
        let status = bash.args(["-c", line]).current_dir(folder.path()).status();
        assert!(status.unwrap().success(), "{line}");
        let after = std::fs::read(folder.path().join("after.json")).unwrap();
        let after: Value = serde_json::from_slice(&after).unwrap();
        expected["EventBridgeConfiguration"] = json!({});
        assert_eq!(after, expected);
    }
}
