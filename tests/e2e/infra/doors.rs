//! The templates of the other doors.

use secretrail_engine::policy::pattern::event_pattern;

use super::{
    rendering::{parameters, property, rendered, statements},
    *,
};

const BUS: &str = "arn:aws:events:eu-west-1:111122223333:event-bus/secretrail-bus";

#[test]
fn the_rule_sends_what_the_command_prints() {
    let roles = ["batch-*", "app"].map(|name| format!("arn:aws:iam::111122223333:role/{name}"));
    let sets = [
        json!({"BusArn": BUS, "Workloads": roles.join(",")}),
        json!({"BusArn": BUS, "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/b"}),
    ];
    let all = rendered("direct.yaml", &sets);
    let pattern = |made: &Value| property(made, "SecretEvents", "EventPattern").clone();
    assert_eq!(pattern(&all[0]), event_pattern(&roles));
    // Without roles, the first kind of read is all of them; the two others only repeat some.
    let kinds = |pattern: &Value| pattern["detail"]["$or"].as_array().unwrap().clone();
    let (made, printed) = (kinds(&pattern(&all[1])), kinds(&event_pattern(&[])));
    assert_eq!(made[0], printed[0]);
    assert_eq!(made[3..], printed[1..]);
    for made in &all {
        let state = property(made, "SecretEvents", "State");
        assert_eq!(state, "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS");
    }
    assert!(all[1]["resources"]["Role"].to_string().contains("policy/b"));
    assert_eq!(parameters("direct.yaml").len(), 3, "each of them is tried");
}

#[test]
fn the_bus_takes_events_of_the_organisation_and_the_queue_those_of_the_bus() {
    let key = "arn:aws:kms:eu-west-1:111122223333:key/0f";
    let sets = [
        json!({"OrganizationId": "o-abcdefghij", "RoleName": "role"}),
        json!({"OrganizationId": "o-abcdefghij", "RoleName": "role", "KeyArn": key}),
    ];
    let all = rendered("direct-hub.yaml", &sets);
    let bus = property(&all[0], "FromOrganization", "Statement").to_string();
    assert!(
        bus.contains("aws:PrincipalOrgID") && bus.contains("o-abcdefghij"),
        "{bus}"
    );
    let source = property(&all[0], "ToQueue", "EventPattern");
    assert_eq!(
        source["source"],
        json!([{"prefix": "aws."}]),
        "nobody makes up events"
    );
    for (made, key) in all.iter().zip([None, Some(key)]) {
        for queue in ["Events", "DeadLetters"] {
            let own = property(made, queue, "KmsMasterKeyId").as_str();
            assert_eq!(own, key, "{queue}");
        }
    }
    let document = property(&all[0], "QueuePolicy", "PolicyDocument");
    let statements = statements(document);
    let from = statements["FromTheBus"].to_string();
    assert!(from.contains("aws:SourceArn"), "{from}");
    assert!(statements.contains_key("OnlyEncrypted"));
}
