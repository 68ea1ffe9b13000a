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
