//! Stored items that cannot be read: the sweep sets them aside, and does everything else.

use e2e::cloud::{config, runtime};

use super::*;

/// Makes the content of an item unreadable: of the first in a partition of this kind, among those
/// that hold `part` in their key.
fn spoil(shop: &Shop, kind: &str) -> Vec<u8> {
    use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
    let client = aws_sdk_dynamodb::Client::new(&config(&shop.cloud.dynamodb.url));
    let table = &shop.deployment.table;
    runtime().block_on(async {
        let scan = client.scan().table_name(table).send().await.unwrap();
        let is_kind = |item: &&std::collections::HashMap<String, AttributeValue>| {
            item["pk"].as_s().unwrap().starts_with(kind) && item.contains_key("content")
        };
        let mut item = scan.items().iter().find(is_kind).unwrap().clone();
        let whole = item["content"].as_b().unwrap().clone().into_inner();
        let content = AttributeValue::B(Blob::new(b"not ours".to_vec()));
        item.insert("content".to_owned(), content);
        let put = client.put_item().table_name(table).set_item(Some(item));
        put.send().await.unwrap();
        whole
    })
}

/// Reads by some principals, each a pending event of its own, and a rule that counts them.
fn reads(shop: &Shop, function: &Function, who: std::ops::Range<usize>) {
    let records = who.map(|n| read(&format!("r{n}"), &format!("app{n}"), 0, "prod/db"));
    let text = json!({"Records": records.collect::<Vec<_>>()}).to_string();
    let message = shop.put("reads.json.gz", &packed(text.as_bytes()));
    assert_eq!(back(&answered(function, &batch(vec![message]))), [""; 0]);
}

#[test]
fn a_pending_event_that_cannot_be_read_stops_no_sweep() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    reads(&shop, &function, 0..30);
    spoil(&shop, "pending#");
    sweep(&function);
    let log = function.log();
    assert_eq!(metric(&log, "ItemsSetAside"), 1.0, "{log:?}");
    assert!(
        has(
            &log,
            "stored item cannot be read, and is set aside",
            "pending#"
        ),
        "{log:?}"
    );
    assert_eq!(metric(&log, "DueAge"), 0.0, "the others are final");
    let before = log.len();
    sweep(&function);
    let log = function.log().split_off(before);
    assert_eq!(
        metric(&log, "ItemsSetAside"),
        0.0,
        "not each minute: {log:?}"
    );
    assert_eq!(metric(&log, "DueAge"), 0.0);
}

#[test]
fn a_fact_that_cannot_be_read_sets_aside_only_the_events_that_need_it() {
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let rule = "title: Many\nid: many\nlogsource: {product: aws, category: secret_access}\n\
        detection:\n  lone:\n    decrypt.status: unknown\n  condition: lone\nlevel: high\nname: one\n---\n\
        title: Two\nid: two\ncorrelation:\n  type: event_count\n  rules: [one]\n  group-by: [principal.arn]\n  \
        timespan: 1h\n  condition: {gte: 2}\nlevel: high\n";
    std::fs::write(folder.path().join("many.yml"), rule).unwrap();
    let function = shop.start(&[("SECRETRAIL_RULES", folder.path().to_str().unwrap())]);
    // First facts of all principals are stored by a sweep.
    reads(&shop, &function, 0..20);
    sweep(&function);
    assert_eq!(metric(&function.log(), "ItemsSetAside"), 0.0);
    spoil(&shop, "window#");
    // A second read by each completes a window, and one of the windows cannot be read.
    let records = (0..20).map(|n| read(&format!("s{n}"), &format!("app{n}"), 60, "prod/db"));
    let text = json!({"Records": records.collect::<Vec<_>>()}).to_string();
    let message = shop.put("more.json.gz", &packed(text.as_bytes()));
    assert_eq!(back(&answered(&function, &batch(vec![message]))), [""; 0]);
    drop(shop.deployment.published());
    let before = function.log().len();
    sweep(&function);
    let log = function.log().split_off(before);
    assert_eq!(metric(&log, "ItemsSetAside"), 1.0, "{log:?}");
    let titles = shop.deployment.published().into_values().flatten();
    let two = titles.filter(|body| body["rule"]["title"] == "Two").count();
    assert_eq!(two, 19, "the others are evaluated");
    assert_eq!(metric(&log, "DueAge"), 0.0);
}

#[test]
fn an_alert_that_cannot_be_read_keeps_no_other_from_being_published() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    shop.proxy.plan(|call| match call.operation.as_str() {
        "PublishBatch" => Fault::Refused(503),
        _ => Fault::None,
    });
    let thefts =
        (0..5).map(|n| direct_decrypt(&format!("e{n}"), &format!("thief{n}"), 0, "prod/db"));
    let text = json!({"Records": thefts.collect::<Vec<_>>()}).to_string();
    let message = shop.put(KEY, &packed(text.as_bytes()));
    assert_eq!(back(&answered(&function, &batch(vec![message]))), [""; 0]);
    spoil(&shop, "alert#");
    shop.proxy.plan(|_| Fault::None);
    sweep(&function);
    let log = function.log();
    assert_eq!(metric(&log, "ItemsSetAside"), 1.0, "{log:?}");
    let published = shop.deployment.published().len();
    assert!(published >= 4, "{published}");
    sweep(&function);
    assert_eq!(metric(&function.log(), "ItemsSetAside"), 1.0, "put off");
}

#[test]
fn only_files_with_events_show_that_the_trail_is_alive() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    let digest = KEY.replace("/CloudTrail/", "/CloudTrail-Digest/");
    let messages = vec![
        shop.deployment.message("digest", &[&digest]),
        shop.put("note.txt", b"hello"),
    ];
    assert_eq!(back(&answered(&function, &batch(messages))), [""; 0]);
    answered(&function, &json!({"secretrail": "sweep"}));
    let seen = |log: &[Value]| {
        log.iter()
            .any(|line| line.get("MinutesSinceLastObject").is_some())
    };
    assert!(!seen(&function.log()), "nothing with events has arrived");
    reads(&shop, &function, 0..1);
    answered(&function, &json!({"secretrail": "sweep"}));
    assert!(seen(&function.log()));
}
