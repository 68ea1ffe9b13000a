//! The doors beside the files of a trail, end to end: direct events of EventBridge, and the log of
//! the trail through a subscription, a stream and Firehose. The stand-ins for AWS have no
//! subscriptions, streams or Firehose that deliver: the documented payloads go in through the
//! runtime, and the file of Firehose through the bucket.

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The records of the example logs, by file.
fn records() -> Vec<Vec<Value>> {
    let files = cases::files(Path::new(LOGS));
    let records = files.iter().filter_map(|path| {
        let mut text = String::new();
        let file = std::fs::File::open(path).unwrap();
        MultiGzDecoder::new(file).read_to_string(&mut text).ok()?;
        let log: Value = serde_json::from_str(&text).ok()?;
        log["Records"].as_array().cloned()
    });
    records.collect()
}

/// What CloudWatch Logs sends of some records.
fn payload(records: &[Value]) -> Vec<u8> {
    let event = |(index, record): (usize, &Value)| {
        json!({"id": index.to_string(), "timestamp": 1_772_445_600_000_i64,
            "message": record.to_string()})
    };
    let events: Vec<Value> = records.iter().enumerate().map(event).collect();
    let message = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333",
        "logGroup": "trail", "logStream": "111122223333_CloudTrail_eu-west-1",
        "subscriptionFilters": ["secretrail"], "logEvents": events});
    gzip(message.to_string().as_bytes())
}

fn stream_record(id: &str, data: &[u8]) -> Value {
    json!({"eventSource": "aws:kinesis", "eventID": format!("shardId-000000000000:{id}"),
        "kinesis": {"sequenceNumber": id, "partitionKey": "p", "data": STANDARD.encode(data)}})
}

fn direct_event(index: usize, record: &Value) -> Value {
    json!({"version": "0", "id": format!("b{index}"), "source": "aws.secretsmanager",
        "detail-type": "AWS API Call via CloudTrail", "account": "111122223333",
        "region": "eu-west-1", "detail": record})
}

fn queued(id: &str, body: &Value) -> Value {
    json!({"eventSource": "aws:sqs", "messageId": id, "body": body.to_string()})
}

/// A function for the example logs, with its deployment.
fn example(cloud: &Cloud) -> (Deployment, Function) {
    let deployment = cloud.deploy();
    let mut settings = deployment.settings(&cloud.stack.url);
    settings.retain(|(name, _)| *name != "SECRETRAIL_TOPICS");
    let both = format!("{}?deliver=both", deployment.topic);
    settings.push(("SECRETRAIL_TOPICS", both));
    settings.push(("AWS_ENDPOINT_URL_DYNAMODB", cloud.dynamodb.url.clone()));
    settings.push(("SECRETRAIL_POLICY", POLICY.to_owned()));
    let function = Function::start(BOOTSTRAP, &settings).unwrap();
    (deployment, function)
}

/// Sweeps, and compares alerts and incidents with the replay of the files.
fn is_the_replay(deployment: &Deployment, function: &Function, door: &str) {
    sweep(function);
    sweep(function);
    let (logs, policy) = (Path::new(LOGS), Some(Path::new(POLICY)));
    let published = deployment.published();
    let alerts = Deployment::of_schema(&published, "secretrail.alert/1");
    same_alerts(&alerts, &replayed(logs, policy), false, door);
    let incidents = replayed_incidents(logs, policy);
    assert_eq!(Deployment::standing(&published), incidents, "{door}");
}

#[test]
fn the_example_stories_are_those_of_the_replay_through_a_subscription() {
    let cloud = Cloud::start();
    let (deployment, function) = example(&cloud);
    let mut records = records();
    records.reverse();
    for records in &records {
        for records in records.chunks(500) {
            let data = STANDARD.encode(payload(records));
            let answer = answered(&function, &json!({"awslogs": {"data": data}}));
            assert_eq!(answer, Value::Null);
        }
    }
    is_the_replay(&deployment, &function, "subscription");
}

#[test]
fn the_example_stories_are_those_of_the_replay_through_a_stream() {
    let cloud = Cloud::start();
    let (deployment, function) = example(&cloud);
    let payloads: Vec<Vec<u8>> = records().iter().map(|records| payload(records)).collect();
    for (chunk, payloads) in payloads.chunks(8).enumerate() {
        let records = payloads.iter().enumerate();
        let records = records.map(|(i, data)| stream_record(&format!("{chunk}-{i}"), data));
        let answer = answered(&function, &batch(records.collect()));
        assert_eq!(back(&answer), Vec::<&str>::new());
    }
    is_the_replay(&deployment, &function, "stream");
}

#[test]
fn the_example_stories_are_those_of_the_replay_through_firehose() {
    let cloud = Cloud::start();
    let (deployment, function) = example(&cloud);
    let payloads: Vec<Vec<u8>> = records().iter().map(|records| payload(records)).collect();
    for (index, payloads) in payloads.chunks(5).enumerate() {
        // Firehose puts the messages behind each other, and compresses them again.
        let key = format!("firehose/2026/03/02/10/trail-1-2026-03-02-10-00-00-{index}");
        deployment.put(&key, &gzip(&payloads.concat()));
        let message = deployment.message("m", &[&key]);
        let answer = answered(&function, &batch(vec![message]));
        assert_eq!(back(&answer), Vec::<&str>::new());
    }
    is_the_replay(&deployment, &function, "firehose");
}

#[test]
fn the_example_stories_are_those_of_the_replay_when_events_come_directly_too() {
    let cloud = Cloud::start();
    let (deployment, function) = example(&cloud);
    let all = records().concat();
    let send = |records: &[(usize, &Value)]| {
        let messages = records
            .iter()
            .map(|(i, record)| queued(&format!("m{i}"), &direct_event(*i, record)));
        let answer = answered(&function, &batch(messages.collect()));
        assert_eq!(back(&answer), Vec::<&str>::new());
    };
    let numbered: Vec<(usize, &Value)> = all.iter().enumerate().collect();
    // Some before the files, some of them again, some after.
    let half = numbered.len() / 2;
    numbered[..half].chunks(100).for_each(send);
    numbered[..half.min(100)].chunks(100).for_each(send);
    for (index, key) in upload(&deployment, Path::new(LOGS)).iter().enumerate() {
        let message = deployment.message(&format!("f{index}"), &[key]);
        let answer = answered(&function, &batch(vec![message]));
        assert_eq!(back(&answer), Vec::<&str>::new());
    }
    numbered[half..].chunks(100).for_each(send);
    is_the_replay(&deployment, &function, "eventbridge");
}

#[test]
fn a_direct_event_is_an_alert_before_its_file_and_nothing_more_after_it() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    let theft_record = direct_decrypt("e1", "thief", 0, "prod/db");
    let event = direct_event(7, &theft_record);
    // Through a queue, by a topic and without a queue: one event, one alert.
    let by_topic = json!({"Type": "Notification", "Message": event.to_string()});
    let messages = vec![queued("m1", &event), queued("m2", &by_topic)];
    let answer = answered(&function, &batch(messages));
    assert_eq!(back(&answer), Vec::<&str>::new());
    assert_eq!(answered(&function, &event), Value::Null);
    let published = shop.deployment.published();
    let [alert] = published.values().flatten().collect::<Vec<_>>()[..] else {
        panic!("one alert: {published:#?}")
    };
    assert_eq!(alert["events"][0]["object"], "via:eventbridge/b7");
    assert_eq!(alert["accesses"][0]["event_id"], "e1");
    let log = function.log();
    assert!(has(&log, "alert created", "eventbridge"), "{log:?}");
    assert!(metric(&log, "DirectEvents") >= 3.0);
    assert!(metric(&log, "LatencyOfEventsP50") > 0.0);
    // The file brings what the event brought.
    let message = shop.put(KEY, &theft("e1"));
    let answer = answered(&function, &batch(vec![message]));
    assert_eq!(back(&answer), Vec::<&str>::new());
    sweep(&function);
    assert_eq!(shop.deployment.published(), BTreeMap::new());
}

#[test]
fn of_a_stream_what_follows_the_first_bad_record_comes_again() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    let good = |id: &str| payload(&[direct_decrypt(id, "thief", 0, "prod/db")]);
    let cut = &good("e2")[..60];
    let records = vec![
        stream_record("1", &good("e1")),
        stream_record("2", cut),
        stream_record("3", &good("e3")),
    ];
    let answer = answered(&function, &batch(records));
    assert_eq!(back(&answer), ["2"]);
    let published = shop.deployment.published();
    let events: BTreeSet<&str> = published
        .values()
        .flatten()
        .flat_map(|alert| alert["events"].as_array().unwrap())
        .map(|event| text(&event["event_id"]))
        .collect();
    assert!(events.contains("e1") && events.contains("e3"), "{events:?}");
    let object = published.values().flatten().next().unwrap();
    let object = text(&object["events"][0]["object"]);
    let named = "via:cloudwatch-logs/trail/111122223333_CloudTrail_eu-west-1#";
    assert!(object.starts_with(named), "{object}");
    // What is no base64 stands for itself.
    let broken = json!({"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": "9",
        "data": "?"}});
    let answer = answered(&function, &batch(vec![broken]));
    assert_eq!(back(&answer), ["9"]);
    // A damaged payload without a stream fails the invocation, which Lambda repeats.
    let data = STANDARD.encode(cut);
    let ended = function.invoke(&json!({"awslogs": {"data": data}}), ENOUGH);
    assert!(matches!(ended, Ended::Error(_)), "{ended:?}");
}

#[test]
fn a_lake_gives_the_alerts_of_its_replay() {
    let folder = tempfile::tempdir().unwrap();
    let key = "aws/CLOUD_TRAIL_MGMT/2.0/region=eu-west-1/accountId=111122223333/\
        eventDay=20260302/part-0.zstd.parquet";
    let (source, file) = (
        folder.path().join("events.jsonl"),
        folder.path().join("lake").join(key),
    );
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let lines: Vec<String> = test_support::lakes::examples()
        .iter()
        .map(|record| test_support::lakes::ocsf(record, "1.1.0").to_string())
        .collect();
    std::fs::write(&source, lines.join("\n")).unwrap();
    let output = std::process::Command::new(e2e::local::duckdb())
        .args(["-c", crate::lakes::SCRIPT])
        .args([&source, &file])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let expected = replayed(&folder.path().join("lake"), None);
    assert!(!expected.is_empty());
    let shop = Shop::open();
    let function = shop.start(&[]);
    shop.deployment.put(key, &std::fs::read(&file).unwrap());
    // As Security Lake sends it to the queue of a subscriber.
    let notification = json!({"source": "aws.s3", "detail-type": "Object Created", "detail":
        {"bucket": {"name": shop.deployment.bucket}, "object": {"key": key, "etag": "e1"}}});
    let answer = answered(&function, &batch(vec![queued("m", &notification)]));
    assert_eq!(back(&answer), Vec::<&str>::new());
    sweep(&function);
    sweep(&function);
    let published = shop.deployment.published();
    let alerts = Deployment::of_schema(&published, "secretrail.alert/1");
    same_alerts(&alerts, &expected, false, "lake");
}
