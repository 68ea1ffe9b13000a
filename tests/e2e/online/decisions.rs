//! What people decide about incidents with the command, and what the function then sends.

use std::process::Command;

use e2e::{Printed, cloud::LOCAL_REGION};

use super::*;

/// Runs `incident …` on the table of a deployment.
fn incident(cloud: &Cloud, deployment: &Deployment, args: &[&str]) -> Printed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretrail-under-test"));
    command.env_clear().envs([
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", LOCAL_REGION),
        ("AWS_ENDPOINT_URL", &cloud.stack.url),
        ("AWS_ENDPOINT_URL_DYNAMODB", &cloud.dynamodb.url),
    ]);
    command.arg("incident").args(args);
    let output = command
        .args(["--table", &deployment.table])
        .output()
        .unwrap();
    Printed {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: u8::try_from(output.status.code().unwrap()).unwrap(),
    }
}

/// The incidents that are listed.
fn listed(cloud: &Cloud, deployment: &Deployment, more: &[&str]) -> Vec<Value> {
    // The records of the tests are old.
    let args = ["list", "-f", "jsonl", "-q", "--since", "4000d"];
    let printed = incident(cloud, deployment, &[&args, more].concat());
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let lines = printed.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A read with a tool of attackers, from an address.
fn attack(id: &str, secs: i64, from: &str) -> Vec<u8> {
    let mut read = read(id, "scanner", secs, "prod/db");
    read["userAgent"] = json!("pacu/1.0");
    read["sourceIPAddress"] = json!(from);
    logs(&[read])
}

pub(super) fn logs(records: &[Value]) -> Vec<u8> {
    packed(json!({"Records": records}).to_string().as_bytes())
}

/// A deployment whose topic takes incidents, and its function.
pub(super) fn open(cloud: &Cloud) -> (Deployment, Function) {
    let deployment = cloud.deploy();
    let mut settings = deployment.settings(&cloud.stack.url);
    settings.retain(|(name, _)| *name != "SECRETRAIL_TOPICS");
    let topic = format!("{}?deliver=incidents", deployment.topic);
    settings.push(("SECRETRAIL_TOPICS", topic));
    settings.push(("AWS_ENDPOINT_URL_DYNAMODB", cloud.dynamodb.url.clone()));
    let function = Function::start(BOOTSTRAP, &settings).unwrap();
    (deployment, function)
}

pub(super) fn send(deployment: &Deployment, function: &Function, key: &str, bytes: &[u8]) {
    deployment.put(key, bytes);
    let message = deployment.message(key, &[key]);
    let answer = answered(function, &batch(vec![message]));
    assert_eq!(back(&answer), Vec::<&str>::new());
}

/// The messages of the only incident since the last time, in their order.
pub(super) fn messages(deployment: &Deployment) -> Vec<Value> {
    let mut bodies: Vec<Value> = deployment.published().into_values().flatten().collect();
    bodies.sort_by_key(|body| body["news"]["message"].as_u64());
    bodies
}

#[test]
fn a_closed_incident_is_silent_until_news_open_it_and_these_say_who_closed_it() {
    let cloud = Cloud::start();
    let (closed, function) = open(&cloud);
    let (other, other_function) = open(&cloud);
    for (deployment, function) in [(&closed, &function), (&other, &other_function)] {
        send(
            deployment,
            function,
            "a.json.gz",
            &attack("r1", 0, "198.51.100.7"),
        );
        assert_eq!(messages(deployment).len(), 1);
    }
    let open_ones = listed(&cloud, &closed, &[]);
    let [one] = open_ones.as_slice() else {
        panic!("{open_ones:#?}")
    };
    assert_eq!(
        (&one["status"], &one["decision"]),
        (&json!("ended"), &Value::Null)
    );
    let id = text(&one["id"]).to_owned();
    let close = ["close", &id, "--reason", "a drill, CHG-1204"];
    let printed = incident(&cloud, &closed, &close);
    assert_eq!(
        printed.stdout,
        format!("incident {id} is closed\n"),
        "{}",
        printed.stderr
    );
    assert_eq!(listed(&cloud, &closed, &[]), [] as [Value; 0]);
    let decision = &listed(&cloud, &closed, &["--all"])[0]["decision"];
    assert_eq!(decision["reason"], "a drill, CHG-1204");
    let by = text(&decision["by"]).to_owned();
    assert!(by.starts_with("arn:aws:"), "{by}");

    // More of the same from another address is published a minute later, unless it is closed.
    for (deployment, function) in [(&closed, &function), (&other, &other_function)] {
        send(
            deployment,
            function,
            "b.json.gz",
            &attack("r2", 3_700, "198.51.100.8"),
        );
        assert_eq!(messages(deployment), [] as [Value; 0]);
    }
    std::thread::sleep(Duration::from_secs(62));
    for (deployment, function, count) in [(&closed, &function, 0), (&other, &other_function, 1)] {
        sweep(function);
        assert_eq!(messages(deployment).len(), count);
    }
    assert_eq!(
        listed(&cloud, &closed, &[]),
        [] as [Value; 0],
        "it is closed still"
    );

    // A higher level opens it, at once.
    let stolen = logs(&[direct_decrypt("k3", "scanner", 7_400, "prod/db")]);
    send(&closed, &function, "c.json.gz", &stolen);
    let published = messages(&closed);
    let [opened] = published.as_slice() else {
        panic!("{published:#?}")
    };
    assert_eq!(
        (&opened["level"], &opened["news"]["kind"]),
        (&json!("critical"), &json!("updated"))
    );
    let said = &opened["news"]["decisions"][0];
    assert_eq!(
        (&said["status"], &said["by"], &said["reason"]),
        (&json!("closed"), &json!(by), &json!("a drill, CHG-1204"))
    );
    assert_eq!(listed(&cloud, &closed, &[])[0]["status"], "ended");

    // Closed again, and opened by a person: the next message says who did.
    let again = incident(&cloud, &closed, &["close", &id, "--reason", "contained"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let reopened = incident(
        &cloud,
        &closed,
        &["reopen", &id, "--reason", "not contained"],
    );
    assert_eq!(reopened.stdout, format!("incident {id} is reopened\n"));
    let moved = logs(&[direct_decrypt("k4", "scanner", 11_100, "prod/other")]);
    send(&closed, &function, "d.json.gz", &moved);
    std::thread::sleep(Duration::from_secs(62));
    sweep(&function);
    let published = messages(&closed);
    let [last] = published.as_slice() else {
        panic!("{published:#?}")
    };
    let decisions = last["news"]["decisions"].as_array().unwrap();
    let said: Vec<_> = decisions
        .iter()
        .map(|one| (text(&one["status"]), text(&one["reason"])))
        .collect();
    assert_eq!(
        said,
        [("reopened", "not contained"), ("closed", "contained")]
    );
}
