//! The template itself, deployed to a stand-in: files in, alerts out, and what cannot be read in
//! the dead-letter queue.

mod doors;
mod health;
mod machine;
mod packaging;
mod readme;
mod redeployment;
mod rendering;
mod setups;
mod terraform;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use e2e::{
    cloud::{LOCAL_ACCOUNT, LOCAL_REGION},
    deployment::{s3, sns, sqs},
    local::Server,
    theft,
};
use secretrail_lambda::{
    config::{ALLOWED_LATENESS, LOOKBACK, SETTINGS, SettingSpec, WARM_UP},
    telemetry::{FIGURES, METRICS},
};
use serde_json::{Value, json};

const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap-under-test");

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn template() -> String {
    std::fs::read_to_string(root().join("infra/template.yaml")).unwrap()
}

/// The function, packed as for a deployment.
fn package() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let zip = folder.path().join("bootstrap.zip");
    let packed = Command::new("python3")
        .arg(root().join("infra/zip.py"))
        .arg(BOOTSTRAP)
        .arg(&zip)
        .status()
        .unwrap();
    assert!(packed.success());
    std::fs::read(zip).unwrap()
}

fn percent(text: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| {
            if keep(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

pub(crate) struct Stack {
    pub(crate) server: Server,
    pub(crate) outputs: BTreeMap<String, String>,
}

impl Stack {
    /// Deploys a template with these parameters, on a server with an empty bucket `logs`.
    pub(crate) fn deploy(server: Server, template: &str, parameters: &[(&str, &str)]) -> Self {
        submit(&server.url, "CreateStack", template, parameters);
        let outputs = outputs(&stack_is(&server.url, "CREATE_COMPLETE"));
        Self { server, outputs }
    }

    /// A queue that hears the alerts.
    fn listen(&self) -> String {
        let url = &self.server.url;
        let policy = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]});
        let attributes = json!({"Policy": policy.to_string()});
        let queue = sqs(
            url,
            "CreateQueue",
            &json!({"QueueName": "heard", "Attributes": attributes}),
        );
        sns(
            url,
            &format!(
                "Action=Subscribe&TopicArn={}&Protocol=sqs&Endpoint=arn:aws:sqs:{LOCAL_REGION}:{LOCAL_ACCOUNT}:heard\
                 &Attributes.entry.1.key=RawMessageDelivery&Attributes.entry.1.value=true",
                self.outputs["AlertTopic"]
            ),
        );
        queue["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// The first so many messages of a queue.
    fn receive(&self, queue: &str, count: usize, patience: Duration) -> Vec<Value> {
        let mut found = Vec::new();
        let until = Instant::now() + patience;
        while found.len() < count && Instant::now() < until {
            let answer = sqs(
                &self.server.url,
                "ReceiveMessage",
                &json!({"QueueUrl": queue, "MaxNumberOfMessages": 10}),
            );
            for message in answer["Messages"].as_array().cloned().unwrap_or_default() {
                let receipt = json!({"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]});
                sqs(&self.server.url, "DeleteMessage", &receipt);
                let body: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
                // Each alert makes an incident here, which the topic gets too.
                if body["schema"] != "secretrail.incident/1" {
                    found.push(body);
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        found
    }
}

/// Begins to create or update the stack from a template with these parameters, beside a bucket
/// `logs`.
fn submit(url: &str, action: &str, template: &str, parameters: &[(&str, &str)]) {
    s3(url, "PUT", "/logs", Vec::new());
    let notification = BY_EVENTBRIDGE.as_bytes().to_vec();
    s3(url, "PUT", "/logs?notification", notification);
    s3(url, "PUT", "/artifacts", Vec::new());
    s3(url, "PUT", "/artifacts/bootstrap.zip", package());
    // `sam deploy` uploads the package. The stand-in is addressed by path; takes a number from
    // a parameter for text where it compares; and six minutes are long for a test.
    let body = template
        .replace(
            "CodeUri: ../target/lambda/bootstrap.zip",
            "CodeUri: s3://artifacts/bootstrap.zip",
        )
        .replace(
            "MaximumConcurrency: !Ref MaxConcurrency",
            "MaximumConcurrency: 10",
        )
        // AWS knows no such action: PublishBatch is allowed by Publish.
        .replace(
            "Action: sns:Publish\n",
            "Action: [sns:Publish, sns:PublishBatch]\n",
        )
        .replace(
            "VisibilityTimeout: !FindInMap [VisibilityTimeouts, !Ref BatchWindowSeconds, Seconds]",
            "VisibilityTimeout: 1",
        )
        .replace(
            "        Variables:\n",
            "        Variables:\n          SECRETRAIL_S3_PATH_STYLE: \"true\"\n",
        );
    // Over the 51,200 bytes of a template within a call, as `sam deploy` uploads it too.
    s3(url, "PUT", "/artifacts/template.yaml", body.into_bytes());
    let mut form = format!(
        "Action={action}&StackName=secretrail&TemplateURL={}&Capabilities.member.1=CAPABILITY_IAM\
         &Capabilities.member.2=CAPABILITY_AUTO_EXPAND",
        percent(&format!("{url}/artifacts/template.yaml"))
    );
    let always = [
        ("TrailBucket", "logs"),
        ("BatchWindowSeconds", "0"),
        ("OwnSubscriptions", "true"),
    ];
    let declared = |(name, _): &&(&str, &str)| template.contains(&format!("\n  {name}:\n"));
    for (index, (name, value)) in always.iter().filter(declared).chain(parameters).enumerate() {
        let parameter = format!("&Parameters.member.{}", index + 1);
        form.push_str(&format!(
            "{parameter}.ParameterKey={name}{parameter}.ParameterValue={}",
            percent(value)
        ));
    }
    cloudformation(url, &form);
}

/// The outputs in the description of a stack.
fn outputs(described: &str) -> BTreeMap<String, String> {
    let value = |rest: &str| {
        let (_, rest) = rest.split_once("<OutputValue>")?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let outputs = described.split("<OutputKey>").skip(1);
    outputs
        .filter_map(|rest| Some((rest.split_once('<')?.0.to_owned(), value(rest)?)))
        .collect()
}

/// Deletes the stack, and waits until it is gone.
fn delete(url: &str) {
    cloudformation(url, "Action=DeleteStack&StackName=secretrail");
    let until = Instant::now() + Duration::from_secs(30);
    while cloudformation(url, "Action=ListStacks").contains("<StackStatus>DELETE_IN_PROGRESS")
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn cloudformation(url: &str, form: &str) -> String {
    e2e::deployment::form(url, "cloudformation", form, "2010-05-15")
}

fn key(name: &str) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T1005Z_{name}.json.gz"
    )
}

const BY_EVENTBRIDGE: &str = "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
    <EventBridgeConfiguration></EventBridgeConfiguration></NotificationConfiguration>";

/// Waits until the stack has a status; gives its description.
fn stack_is(url: &str, status: &str) -> String {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let described = cloudformation(url, "Action=DescribeStacks&StackName=secretrail");
        if described.contains(&format!("<StackStatus>{status}")) {
            return described;
        }
        let other = ["ROLLBACK", "_FAILED"]
            .iter()
            .any(|end| described.contains(end) && !status.contains(end));
        assert!(!other && Instant::now() < until, "{described}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn files_become_alerts_by_eventbridge_and_what_cannot_be_read_ends_in_the_dead_letter_queue() {
    let stack = Stack::deploy(Server::stack(), &template(), &[]);
    let (url, heard) = (&stack.server.url, stack.listen());
    let notification = || s3(url, "GET", "/logs?notification", Vec::new()).text();
    let before = notification();
    let started = Instant::now();
    s3(url, "PUT", &format!("/logs/{}", key("a")), theft("e1"));
    let alerts = stack.receive(&heard, 1, Duration::from_secs(30));
    assert_eq!(alerts.len(), 1, "{}", stack.server.log());
    assert_eq!(alerts[0]["schema"], "secretrail.alert/1");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );

    s3(
        url,
        "PUT",
        &format!("/logs/{}", key("damaged")),
        b"neither gzip nor JSON".to_vec(),
    );
    let dead = stack.receive(
        &stack.outputs["DeadLetterQueue"],
        1,
        Duration::from_secs(60),
    );
    assert_eq!(dead.len(), 1, "{}", stack.server.log());
    assert_eq!(dead[0]["detail"]["object"]["key"], key("damaged"));

    // Whoever deletes the stack finds the bucket as it was.
    delete(url);
    assert_eq!(notification(), before);
    assert_eq!(
        s3(url, "GET", &format!("/logs/{}", key("a")), Vec::new()).body,
        theft("e1")
    );
}

#[test]
fn files_become_alerts_by_a_topic_that_is_there_already() {
    let server = Server::stack();
    sns(&server.url, "Action=CreateTopic&Name=trail");
    let topic = format!("arn:aws:sns:{LOCAL_REGION}:{LOCAL_ACCOUNT}:trail");
    let stack = Stack::deploy(
        server,
        &template(),
        &[("Trigger", "SNS"), ("TriggerTopicArn", &topic)],
    );
    let (url, heard) = (&stack.server.url, stack.listen());
    // What a trail itself publishes.
    s3(url, "PUT", &format!("/logs/{}", key("a")), theft("e1"));
    let message = json!({"s3Bucket": "logs", "s3ObjectKey": [key("a")]}).to_string();
    sns(
        url,
        &format!(
            "Action=Publish&TopicArn={topic}&Message={}",
            percent(&message)
        ),
    );
    assert_eq!(
        stack.receive(&heard, 1, Duration::from_secs(30)).len(),
        1,
        "{}",
        stack.server.log()
    );
}

#[test]
fn files_become_alerts_by_a_queue_that_is_there_already() {
    let server = Server::stack();
    let queue = sqs(&server.url, "CreateQueue", &json!({"QueueName": "mine"}))["QueueUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    let arn = format!("arn:aws:sqs:{LOCAL_REGION}:{LOCAL_ACCOUNT}:mine");
    let stack = Stack::deploy(
        server,
        &template(),
        &[("Trigger", "Queue"), ("TriggerQueueArn", &arn)],
    );
    let (url, heard) = (&stack.server.url, stack.listen());
    s3(url, "PUT", &format!("/logs/{}", key("a")), theft("e1"));
    let object = json!({"bucket": {"name": "logs"}, "object": {"key": key("a")}});
    let message =
        json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": object}]}).to_string();
    sqs(
        url,
        "SendMessage",
        &json!({"QueueUrl": queue, "MessageBody": message}),
    );
    assert_eq!(
        stack.receive(&heard, 1, Duration::from_secs(30)).len(),
        1,
        "{}",
        stack.server.log()
    );
}

/// The template with a statement of the role that allows nothing.
fn without(template: &str, sid: &str) -> String {
    let (before, after) = template
        .split_once(&format!("Sid: {sid}\n"))
        .unwrap_or_else(|| panic!("no statement {sid}"));
    let (effect, rest) = after.split_once("Action:").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    format!("{before}Sid: {sid}\n{effect}Action: sts:GetCallerIdentity\n{rest}")
}

#[test]
fn every_statement_of_the_role_is_needed() {
    let rule = "title: Mine\nid: own-1\nlogsource: {product: aws, category: secret_access}\ndetection:\n  \
        stranger:\n    expected.principal: 'no'\n    eventName|expand: '%readers%'\n    source.lists: partners\n  \
        condition: stranger\n";
    let policy = "version: 1\ngrants:\n  - secrets: ['arn:aws:secretsmanager:*:111122223333:secret:prod/*']\n    \
        principals: ['arn:aws:iam::111122223333:role/app']\n";
    let parameters = [
        ("RulesBucket", "config"),
        ("RulesPrefix", "rules/"),
        ("PolicyKey", "access-policy.yaml"),
        ("VarsKey", "vars.yaml"),
        ("NetworksPrefix", "networks/"),
    ];
    let alerts = |template: &str, patience: u64| {
        let server = Server::strict_stack();
        s3(&server.url, "PUT", "/config", Vec::new());
        for (key, text) in [
            ("rules/own.yml", rule),
            ("access-policy.yaml", policy),
            ("networks/partners.txt", "198.51.100.0/24\n"),
            ("vars.yaml", "readers: [GetSecretValue, Decrypt]"),
        ] {
            s3(&server.url, "PUT", &format!("/config/{key}"), text.into());
        }
        let stack = Stack::deploy(server, template, &parameters);
        let heard = stack.listen();
        s3(
            &stack.server.url,
            "PUT",
            &format!("/logs/{}", key("a")),
            theft("e1"),
        );
        let found = stack.receive(&heard, 1, Duration::from_secs(patience));
        (found.len(), stack.server.log())
    };
    let (found, log) = alerts(&template(), 30);
    assert_eq!(found, 1, "{log}");
    let template = template();
    let role = template
        .split_once("  Role:\n")
        .unwrap()
        .1
        .split_once("  Detector:\n")
        .unwrap()
        .0;
    let all: Vec<&str> = role
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("Sid: "))
        .collect();
    // What cannot be shown here, and why; `setups.rs` compares it with what AWS documents. (On AWS, the default policy of a topic lets its own
    // account publish all the same.)
    let beside = BTreeMap::from([
        (
            "PublishMore",
            "as Publish, for topics that this stack does not make",
        ),
        (
            "ReadQueue",
            "the stand-in polls the queue whatever the role says",
        ),
        (
            "WriteLog",
            "the stand-in keeps the log whatever the role says",
        ),
        (
            "ListFiles",
            "the stand-in calls a missing file missing whatever the role says",
        ),
        ("ReadMoreFiles", "the next test shows it"),
        ("ListMoreFiles", "as ListFiles"),
        ("ReadMoreDigests", "this version reads no digests"),
        ("DecryptFiles", "the stand-in asks no key"),
        ("UseKey", "the stand-in asks no key"),
        ("DecryptQueue", "the stand-in asks no key"),
        ("EncryptForTopics", "the stand-in asks no key"),
        ("ImportFindings", "the stand-in has no Security Hub"),
        ("UseTableKey", "the stand-in asks no key"),
        ("DecryptRules", "the stand-in asks no key"),
        ("JoinSubnets", "the stand-in has no networks"),
        ("NotByTheCode", "the stand-in has no networks"),
    ]);
    let shown: Vec<&str> = all
        .iter()
        .copied()
        .filter(|sid| !beside.contains_key(sid))
        .collect();
    assert_eq!(all.len(), shown.len() + beside.len(), "{all:?}");
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(sid) =
                    shown.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    assert_eq!(
                        alerts(&without(&template, sid), 6).0,
                        0,
                        "{sid} is not needed"
                    );
                }
            });
        }
    });
}

#[test]
fn a_further_bucket_is_read_by_a_statement_of_its_own() {
    let alerts = |template: &str, patience: u64| {
        let server = Server::strict_stack();
        let notification = BY_EVENTBRIDGE.as_bytes().to_vec();
        s3(&server.url, "PUT", "/second", Vec::new());
        s3(&server.url, "PUT", "/second?notification", notification);
        let stack = Stack::deploy(server, template, &[("MoreTrailBuckets", "second")]);
        let heard = stack.listen();
        let path = format!("/second/any/prefix/{}", key("a"));
        s3(&stack.server.url, "PUT", &path, theft("e1"));
        let found = stack.receive(&heard, 1, Duration::from_secs(patience));
        (found.len(), stack.server.log())
    };
    let (found, log) = alerts(&template(), 30);
    assert_eq!(found, 1, "{log}");
    let (found, log) = alerts(&without(&template(), "ReadMoreFiles"), 6);
    assert_eq!(found, 0, "{log}");
}

#[test]
fn names_and_numbers_agree() {
    let template = template();
    let number = |name: &str| -> u64 {
        let value = template
            .split_once(&format!(" {name}: "))
            .unwrap_or_else(|| panic!("no {name}"))
            .1;
        value
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let windows = template
        .split_once("  VisibilityTimeouts:\n")
        .unwrap()
        .1
        .lines()
        .map_while(|line| line.strip_prefix("    \"")?.split_once("\": { Seconds: "));
    let windows: Vec<(&str, u64)> = windows
        .map(|(window, rest)| (window, rest.trim_end_matches(" }").parse().unwrap()))
        .collect();
    for (window, visibility) in &windows {
        assert_eq!(
            *visibility,
            6 * number("Timeout") + window.parse::<u64>().unwrap(),
            "as Lambda asks for"
        );
    }
    let windows: Vec<&str> = windows.into_iter().map(|(window, _)| window).collect();
    assert!(
        template.contains(&format!("AllowedValues: [{}]\n", windows.join(", "))),
        "{windows:?}"
    );
    assert_eq!(number("maxReceiveCount"), 5, "as Lambda asks for, at least");
    assert!(
        number("BatchSize") <= 10,
        "beyond ten, a batching window is asked for"
    );
    assert!(template.contains("FunctionResponseTypes: [ReportBatchItemFailures]"));
    let named = |text: &str, prefix: &str| -> BTreeSet<String> {
        let word = |rest: &str| {
            rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .next()
                .unwrap()
                .to_owned()
        };
        text.split(prefix)
            .skip(1)
            .map(|rest| format!("{prefix}{}", word(rest)))
            .filter(|name| name.len() > prefix.len())
            .collect()
    };
    let known: BTreeSet<String> = SETTINGS
        .iter()
        .map(|setting| setting.name.to_owned())
        .collect();
    let set = named(&template, "SECRETRAIL_");
    assert!(set.is_subset(&known), "{set:?}");
    let must: BTreeSet<String> = SETTINGS
        .iter()
        .filter(|s| s.default.is_none())
        .map(|s| s.name.to_owned())
        .collect();
    assert!(must.is_subset(&set), "{must:?}");
    // What a parameter does not say is what the function takes when nothing is said.
    for (parameter, setting) in [
        ("AllowedLateness", ALLOWED_LATENESS),
        ("Lookback", LOOKBACK),
        ("WarmUp", WARM_UP),
    ] {
        let default = SETTINGS
            .iter()
            .find(|s| s.name == setting)
            .and_then(|s| s.default)
            .unwrap();
        assert!(
            template.contains(&format!(
                "  {parameter}:\n    Type: String\n    Default: {default}\n"
            )),
            "{parameter}"
        );
    }
    let readme = std::fs::read_to_string(root().join("infra/README.md")).unwrap();
    for SettingSpec { name, default, .. } in SETTINGS {
        let row = readme
            .lines()
            .find(|line| line.contains(&format!("`{name}`")))
            .unwrap_or_else(|| panic!("README: {name}"));
        let reported = default.filter(|default| !default.is_empty());
        assert!(
            reported.is_none_or(|default| row.contains(&format!("`{default}`"))),
            "README: {row}"
        );
    }
    let metrics: BTreeSet<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    for figure in metrics.iter().chain(&FIGURES) {
        assert!(readme.contains(&format!("`{figure}`")), "README: {figure}");
    }
    assert!(metrics.len() <= 10, "each of them is billed");
    let ours = template.split("Namespace: Secretrail\n").skip(1);
    for name in ours.filter_map(|rest| rest.split_once("MetricName: ")?.1.lines().next()) {
        assert!(metrics.contains(name), "{name}");
    }
    let shown = template.split("[\"Secretrail\", \"").skip(1);
    let shown: Vec<&str> = shown.filter_map(|rest| rest.split('"').next()).collect();
    assert!(
        !shown.is_empty() && shown.iter().all(|name| metrics.contains(name)),
        "{shown:?}"
    );
    let alarms = template
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    for alarm in alarms.filter(|name| {
        name.starts_with("Alarm") && !name.starts_with("Alarms") && *name != "AlarmTopic"
    }) {
        assert!(readme.contains(&format!("`{alarm}`")), "README: {alarm}");
    }
    for parameter in template
        .split_once("\nParameters:\n")
        .unwrap()
        .1
        .split_once("\nRules:\n")
        .unwrap()
        .0
        .lines()
    {
        if let Some(name) = parameter
            .strip_prefix("  ")
            .and_then(|line| line.strip_suffix(':'))
            .filter(|line| !line.starts_with(' '))
        {
            assert!(readme.contains(&format!("`{name}`")), "README: {name}");
        }
    }
}
