//! What each topic gets, and in which form.

use super::*;

#[test]
fn topics_get_their_own_form_and_levels_and_fifo_topics_their_ids() {
    let shop = Shop::open();
    let (chat, ocsf, fifo) = (
        shop.cloud.deploy(),
        shop.cloud.deploy(),
        shop.cloud.deploy_fifo(),
    );
    let quiet = shop.cloud.deploy();
    let topics = format!(
        "{}?format=chat {}?format=ocsf&min-level=medium&deliver=both {} {}?min-level=critical {}",
        chat.topic, ocsf.topic, fifo.topic, quiet.topic, shop.deployment.topic
    );
    let function = shop.start(&[("SECRETRAIL_TOPICS", &topics)]);
    let denied = json!({"Records": [denied("n1", "app", 1, "prod/db")]}).to_string();
    let messages = vec![
        shop.put(KEY, &theft("e1")),
        shop.put("denied.json.gz", &packed(denied.as_bytes())),
    ];
    assert_eq!(
        back(&answered(&function, &batch(messages))),
        Vec::<&str>::new()
    );
    let standard = shop.deployment.published();
    assert!(
        standard
            .values()
            .all(|bodies| bodies[0]["schema"] == "secretrail.alert/1")
    );
    let levels: BTreeMap<&str, &String> = standard
        .iter()
        .map(|(id, bodies)| (bodies[0]["rule"]["level"].as_str().unwrap(), id))
        .collect();
    assert_eq!(levels.keys().collect::<Vec<_>>(), [&"critical", &"low"]);
    let id = levels["critical"];
    // A chat gets incidents, each as a thread.
    let reported = chat.published();
    let threads: BTreeSet<&str> = reported
        .values()
        .flatten()
        .map(|body| text(&body["metadata"]["threadId"]))
        .collect();
    assert_eq!(threads.len(), 2, "{reported:?}");
    let high = reported.values().flatten().find(|body| {
        let title = text(&body["content"]["title"]);
        title.starts_with("critical incident: ")
    });
    let high = high.unwrap();
    assert_eq!(
        (&high["source"], &high["version"]),
        (&json!("custom"), &json!("1.0"))
    );
    assert!(text(&high["content"]["description"]).contains("prod/db"));
    assert!(!high["content"]["nextSteps"].as_array().unwrap().is_empty());
    let findings = ocsf.published();
    assert_eq!(findings.len(), 2, "low is below medium");
    let kinds = ["class_uid", "type_uid"].map(|key| findings[id][0][key].clone());
    assert_eq!(kinds, [json!(2004), json!(200_401)]);
    let whole = findings.values().flatten();
    let mut whole = whole.filter(|finding| {
        let related = &finding["finding_info"]["related_events"];
        related.as_array().is_some_and(|all| all[0]["uid"] == **id)
    });
    let incident = &whole.next().unwrap()["finding_info"]["uid"];
    assert!(threads.contains(text(incident)));
    assert_eq!(findings[id][0]["metadata"]["correlation_uid"], *incident);
    assert_eq!(fifo.published().len(), 2);
    assert_eq!(quiet.published().keys().collect::<Vec<_>>(), [id]);
}

#[test]
fn a_message_says_what_is_usual_for_the_principal_beside_what_it_does_now() {
    const DAY: i64 = 86_400;
    let shop = Shop::open();
    let topic = format!("{}?deliver=incidents", shop.deployment.topic);
    let function = shop.start(&[("SECRETRAIL_TOPICS", &topic)]);
    let usual = [
        read("r1", "thief", -30 * DAY, "prod/search"),
        read("r2", "thief", -20 * DAY, "prod/search"),
    ];
    let before = json!({ "Records": usual }).to_string();
    for object in [
        shop.put("before.json.gz", &packed(before.as_bytes())),
        shop.put(KEY, &theft("e1")),
    ] {
        assert_eq!(
            back(&answered(&function, &batch(vec![object]))),
            Vec::<&str>::new()
        );
    }
    let published = shop.deployment.published();
    let incidents = Deployment::of_schema(&published, "secretrail.incident/1");
    let mut incidents = incidents.values().flatten();
    let incident = incidents.find(|incident| incident["level"] == "critical");
    let incident = incident.unwrap();
    let usual = &incident["usual"];
    assert_eq!(usual["days"], json!(2), "{incident}");
    let habits = usual["habits"].as_array().unwrap();
    let now = |kind: &str| {
        let habits = habits.iter().find(|habits| habits["kind"] == kind);
        habits.unwrap()["now"].clone()
    };
    assert_eq!(
        now("source"),
        json!([{"value": "198.51.100.0/24", "new": true}])
    );
    assert_eq!(now("secret"), json!([{"value": "prod/db", "new": true}]));
    assert_eq!(now("region")[0]["new"], json!(false));
}

#[test]
fn security_hub_gets_each_incident_as_one_finding_and_keeps_no_topic_waiting() {
    const PRODUCT: &str = "arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default";
    let shop = Shop::open();
    let topics = format!("{PRODUCT}?min-level=medium {}", shop.deployment.topic);
    let function = shop.start(&[("SECRETRAIL_TOPICS", &topics)]);
    // It is not enabled in the account.
    shop.proxy.plan(|call| match call.service {
        "securityhub" => Fault::Failed(401, "InvalidAccessException"),
        _ => Fault::None,
    });
    let denied = json!({"Records": [denied("n1", "app", 1, "prod/db")]}).to_string();
    let messages = vec![
        shop.put(KEY, &theft("e1")),
        shop.put("denied.json.gz", &packed(denied.as_bytes())),
    ];
    assert_eq!(
        back(&answered(&function, &batch(messages))),
        Vec::<&str>::new()
    );
    let published = shop.deployment.published();
    assert_eq!(
        published.len(),
        2,
        "the topic has both alerts: {published:?}"
    );
    assert_eq!(shop.proxy.take_findings(), Vec::<Value>::new());
    let log = function.log();
    assert!(has(
        &log,
        "destination failed, its alerts are kept in the outbox",
        PRODUCT
    ));
    // Enabled, and an answer is lost: the same finding is imported twice.
    let lost = AtomicBool::new(false);
    shop.proxy.plan(move |call| match call.service {
        "securityhub" if !lost.swap(true, Ordering::Relaxed) => Fault::AnswerLost,
        _ => Fault::None,
    });
    let mut findings = Vec::new();
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(1_100));
        answered(&function, &json!({"secretrail": "sweep"}));
        findings.extend(shop.proxy.take_findings());
        if findings.len() > 1 {
            break;
        }
    }
    let ids: BTreeSet<&str> = findings
        .iter()
        .map(|finding| text(&finding["Id"]))
        .collect();
    assert_eq!(
        (findings.len(), ids.len()),
        (2, 1),
        "low is below medium: {findings:?}"
    );
    let first = findings[0].clone();
    assert_eq!(
        first["FindingProviderFields"]["Severity"]["Label"],
        "CRITICAL"
    );
    assert_eq!(first["AwsAccountId"], "111122223333");
    // News of the incident are the same finding, at a later time.
    let more = json!({"Records": [direct_decrypt("e2", "thief", 7_400, "prod/other")]}).to_string();
    let more = shop.put("more.json.gz", &packed(more.as_bytes()));
    assert_eq!(
        back(&answered(&function, &batch(vec![more]))),
        Vec::<&str>::new()
    );
    let mut updates = shop.proxy.take_findings();
    // News wait for a minute after the message before.
    for _ in 0..70 {
        if !updates.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
        answered(&function, &json!({"secretrail": "sweep"}));
        updates = shop.proxy.take_findings();
    }
    assert_eq!(updates.len(), 1, "{updates:?}");
    assert_eq!(updates[0]["Id"], first["Id"]);
    assert!(text(&updates[0]["UpdatedAt"]) > text(&first["UpdatedAt"]));
    assert!(
        text(&updates[0]["Description"]).contains("prod/other"),
        "{updates:?}"
    );
}
