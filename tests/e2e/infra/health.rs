//! `doctor` and `send-test` on a deployment of the template: healthy, and broken in ways that happen.

use e2e::{
    Printed,
    deployment::{json_call, rest},
};

use super::*;

/// A deployment that the commands look at.
struct Deployed {
    stack: Stack,
    resources: BTreeMap<String, String>,
}

impl Deployed {
    fn new() -> Self {
        let server = Server::stack();
        // A file of before the deployment, which announces nothing.
        s3(&server.url, "PUT", "/logs", Vec::new());
        let path = format!("/logs/{}", key("a"));
        s3(&server.url, "PUT", &path, theft("e1"));
        let stack = Stack::deploy(server, &template(), &[]);
        stack.listen();
        let url = &stack.server.url;
        let listed = cloudformation(url, "Action=ListStackResources&StackName=secretrail");
        let value = |member: &str, name: &str| {
            let (_, rest) = member.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        let members = listed.split("<member>").skip(1);
        let resources = members.filter_map(|member| {
            let logical = value(member, "LogicalResourceId")?;
            Some((logical, value(member, "PhysicalResourceId")?))
        });
        let resources = resources.collect();
        Self { stack, resources }
    }

    fn url(&self) -> &str {
        &self.stack.server.url
    }

    fn run(&self, args: &[&str]) -> Printed {
        crate::with_endpoint(self.url(), args)
    }

    /// The parts that fail, with what is wrong and the remedy; and the exit code.
    fn failing(&self) -> (BTreeMap<String, String>, u8) {
        let printed = self.run(&["doctor", "-f", "jsonl", "-q"]);
        let lines = printed.stdout.lines();
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        let failing = lines.filter(|line| line["verdict"] == "fail").map(|line| {
            let what = format!("{}; {}", text(&line, "what"), text(&line, "remedy"));
            (text(&line, "part"), what)
        });
        let failing: BTreeMap<String, String> = failing.collect();
        assert!(!printed.stdout.is_empty(), "{}", printed.stderr);
        (failing, printed.code)
    }

    fn events(&self, operation: &str, rule: &str) {
        let target = format!("AWSEvents.{operation}");
        json_call(
            self.url(),
            "events",
            &target,
            &json!({"Name": self.resources[rule]}),
        );
    }

    fn lambda(&self, method: &str, path: &str, input: &Value) -> Value {
        rest(self.url(), "lambda", method, path, input)
    }

    fn notify(&self, by: &str) {
        s3(
            self.url(),
            "PUT",
            "/logs?notification",
            by.as_bytes().to_vec(),
        );
    }

    fn variables(&self, change: impl Fn(&mut Value)) -> Value {
        let path = format!(
            "/2015-03-31/functions/{}/configuration",
            self.resources["Detector"]
        );
        let known = self.lambda("GET", &path, &Value::Null);
        let before = known["Environment"]["Variables"].clone();
        let mut after = before.clone();
        change(&mut after);
        self.lambda("PUT", &path, &json!({"Environment": {"Variables": after}}));
        before
    }

    /// What people do to a deployment, and undo.
    fn change(&self, fault: Fault, is_broken: bool) {
        let (function, mapping) = (&self.resources["Detector"], &self.resources["FromQueue"]);
        let rule = if is_broken {
            "DisableRule"
        } else {
            "EnableRule"
        };
        match fault {
            Fault::NoNotifications if is_broken => self.notify(NOTHING),
            Fault::NoNotifications => self.notify(BY_EVENTBRIDGE),
            Fault::NewFilesOff => self.events(rule, "NewFiles"),
            Fault::SweepOff => self.events(rule, "EveryMinute"),
            Fault::MappingOff => {
                let path = format!("/2015-03-31/event-source-mappings/{mapping}");
                self.lambda("PUT", &path, &json!({"Enabled": !is_broken}));
            }
            Fault::Stopped => {
                let path = format!("/2017-10-31/functions/{function}/concurrency");
                let method = if is_broken { "PUT" } else { "DELETE" };
                self.lambda(method, &path, &json!({"ReservedConcurrentExecutions": 0}));
            }
            Fault::OtherTable => {
                let table = if is_broken {
                    "other"
                } else {
                    &self.resources["Table"]
                };
                self.variables(|all| all["SECRETRAIL_TABLE"] = json!(table));
            }
            Fault::DeadLetters => {
                let queue = &self.resources["DeadLetters"];
                let input = json!({"QueueUrl": queue, "MessageBody": "x"});
                let operation = if is_broken {
                    "SendMessage"
                } else {
                    "PurgeQueue"
                };
                sqs(self.url(), operation, &input);
            }
            Fault::NobodyListens => self.forget_subscribers(),
        }
    }

    fn forget_subscribers(&self) {
        let topic = &self.stack.outputs["AlertTopic"];
        let listed = sns(
            self.url(),
            &format!("Action=ListSubscriptionsByTopic&TopicArn={topic}"),
        );
        for rest in listed.split("<SubscriptionArn>").skip(1) {
            let arn = rest.split('<').next().unwrap();
            sns(
                self.url(),
                &format!("Action=Unsubscribe&SubscriptionArn={arn}"),
            );
        }
    }
}

const NOTHING: &str =
    "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>";

/// What breaks a deployment.
#[derive(Debug, Clone, Copy)]
enum Fault {
    NoNotifications,
    NewFilesOff,
    SweepOff,
    MappingOff,
    Stopped,
    OtherTable,
    DeadLetters,
    /// The last one: it is not undone.
    NobodyListens,
}

/// Each fault, the part that fails, what is said of it, and of the remedy.
const FAULTS: [(Fault, &str, &str, &str); 8] = [
    (
        Fault::NoNotifications,
        "bucket",
        "does not send its events",
        "switch on Amazon EventBridge",
    ),
    (
        Fault::NewFilesOff,
        "new files",
        "is disabled: no new file is announced",
        "aws events enable-rule --name",
    ),
    (
        Fault::SweepOff,
        "sweep",
        "disabled: rules about absence and novelty are silent",
        "aws events enable-rule --name",
    ),
    (
        Fault::MappingOff,
        "mapping",
        "no file is read",
        "aws lambda update-event-source-mapping --uuid",
    ),
    (
        Fault::Stopped,
        "function",
        "it is stopped: its reserved concurrency is 0",
        "aws lambda delete-function-concurrency --function-name secretrail-detector",
    ),
    (
        Fault::OtherTable,
        "settings",
        "SECRETRAIL_TABLE is `other`",
        "deploy the stack again",
    ),
    (
        Fault::DeadLetters,
        "dead letters",
        "1 notification of new files failed again and again",
        "aws sqs start-message-move-task",
    ),
    (
        Fault::NobodyListens,
        "subscribers",
        "nobody gets what is sent to",
        "aws sns subscribe --topic-arn",
    ),
];

#[test]
fn doctor_names_each_fault_of_a_deployment_and_its_remedy() {
    let deployed = Deployed::new();
    let usual = deployed.failing().0;
    let healthy: Vec<&str> = FAULTS.iter().map(|(_, part, ..)| *part).collect();
    assert!(
        usual.keys().all(|part| !healthy.contains(&part.as_str())),
        "{usual:#?}"
    );
    for (fault, part, what, remedy) in FAULTS {
        deployed.change(fault, true);
        let (mut failing, code) = deployed.failing();
        failing.retain(|part, _| !usual.contains_key(part));
        let parts: Vec<&str> = failing.keys().map(String::as_str).collect();
        assert_eq!((code, parts), (1, vec![part]), "{fault:?}: {failing:#?}");
        let said = &failing[part];
        assert!(
            said.contains(what) && said.contains(remedy),
            "{fault:?}: {said}"
        );
        if !matches!(fault, Fault::NobodyListens) {
            deployed.change(fault, false);
            let (failing, _) = deployed.failing();
            assert!(
                failing.keys().eq(usual.keys()),
                "{fault:?} is mended: {failing:#?}"
            );
        }
    }
    // And where there is nothing to look at.
    let printed = deployed.run(&["doctor", "--stack", "other"]);
    assert_eq!(printed.code, 2);
    assert!(
        printed.stderr.contains("there is no stack `other`"),
        "{}",
        printed.stderr
    );
}

#[test]
fn a_test_goes_the_whole_way_and_leaves_nothing_behind() {
    let deployed = Deployed::new();
    let url = deployed.url();
    let topic = &deployed.stack.outputs["AlertTopic"];
    let left = || {
        let objects = s3(url, "GET", "/logs?list-type=2", Vec::new()).text();
        let queues = sqs(url, "ListQueues", &json!({})).to_string();
        let form = format!("Action=ListSubscriptionsByTopic&TopicArn={topic}");
        let subscriptions = sns(url, &form).matches("<SubscriptionArn>").count();
        (
            objects.matches("<Key>").count(),
            queues.contains("send-test"),
            subscriptions,
        )
    };
    let before = left();
    let printed = deployed.run(&["send-test", "--wait", "2m"]);
    assert_eq!(printed.code, 0, "{}{}", printed.stdout, printed.stderr);
    assert!(
        printed.stdout.contains(topic.rsplit(':').next().unwrap()),
        "{}",
        printed.stdout
    );
    assert_eq!(left(), before);
    // Nobody announces the object: the alert does not come, and the command says so.
    deployed.change(Fault::NewFilesOff, true);
    let printed = deployed.run(&["send-test", "--wait", "3s"]);
    assert_eq!(printed.code, 1, "{}{}", printed.stdout, printed.stderr);
    assert_eq!(left(), before);
}
