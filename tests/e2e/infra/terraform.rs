//! Terraform makes what the template makes.

use super::*;

/// `AlarmDeadLetters` as `alarm_dead_letters`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[test]
fn terraform_makes_the_same_things() {
    let folder = root().join("infra/terraform");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let terraform = [read("main.tf"), read("alarms.tf")].concat();
    let template = template();
    let kinds = BTreeMap::from([
        ("AWS::DynamoDB::Table", "aws_dynamodb_table"),
        ("AWS::SQS::Queue", "aws_sqs_queue"),
        ("AWS::SQS::QueuePolicy", "aws_sqs_queue_policy"),
        ("AWS::Events::Rule", "aws_cloudwatch_event_rule"),
        ("AWS::SNS::Subscription", "aws_sns_topic_subscription"),
        ("AWS::SNS::Topic", "aws_sns_topic"),
        ("AWS::Logs::LogGroup", "aws_cloudwatch_log_group"),
        ("AWS::IAM::Role", "aws_iam_role"),
        ("AWS::Serverless::Function", "aws_lambda_function"),
        (
            "AWS::Lambda::EventSourceMapping",
            "aws_lambda_event_source_mapping",
        ),
        ("AWS::Lambda::Permission", "aws_lambda_permission"),
        (
            "AWS::Lambda::EventInvokeConfig",
            "aws_lambda_function_event_invoke_config",
        ),
        ("AWS::CloudWatch::Alarm", "aws_cloudwatch_metric_alarm"),
        ("AWS::CloudWatch::Dashboard", "aws_cloudwatch_dashboard"),
    ]);
    let resources = template
        .split_once("\nResources:\n")
        .unwrap()
        .1
        .split_once("\nOutputs:\n")
        .unwrap()
        .0;
    let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
    let mut name = "";
    for line in resources.lines() {
        if let Some(found) = line
            .strip_prefix("  ")
            .and_then(|l| l.strip_suffix(':'))
            .filter(|l| !l.starts_with([' ', '#']))
        {
            name = found;
        } else if let Some(kind) = line.strip_prefix("    Type: ") {
            expected.insert((kinds[kind].to_owned(), snake(name)));
        }
    }
    let made: BTreeSet<(String, String)> = terraform
        .lines()
        .filter_map(|line| line.strip_prefix("resource \"")?.split_once("\" \""))
        .map(|(kind, rest)| (kind.to_owned(), rest.split('"').next().unwrap().to_owned()))
        // What CloudFormation writes inside of a rule or a role.
        .filter(|(kind, _)| kind != "aws_cloudwatch_event_target" && kind != "aws_iam_role_policy")
        .collect();
    assert_eq!(made, expected);

    // Where there is a terraform, it may say whether this is its language. Without the provider it
    // cannot say more.
    if let Ok(output) = Command::new("terraform")
        .args(["fmt", "-check", "-diff"])
        .current_dir(&folder)
        .output()
    {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn terraform_allows_and_sets_the_same() {
    let folder = root().join("infra/terraform");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (terraform, template) = (read("main.tf"), template());
    let words = |text: &str, before: &str| -> BTreeSet<String> {
        let word = |rest: &str| {
            rest.trim_start_matches([' ', '=', '"'])
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap()
                .to_owned()
        };
        text.split(before).skip(1).map(word).collect()
    };
    let sids = |text: &str| -> BTreeSet<String> {
        words(text, "Sid:")
            .union(&words(text, "Sid "))
            .cloned()
            .collect()
    };
    assert_eq!(sids(&terraform), sids(&template));
    let variables = |text: &str| words(text, " SECRETRAIL_");
    assert_eq!(variables(&terraform), variables(&template));
    let actions = |text: &str| -> BTreeSet<String> {
        let service = |word: &&str| {
            [
                "s3:",
                "sqs:",
                "sns:",
                "dynamodb:",
                "logs:",
                "kms:",
                "lambda:",
            ]
            .iter()
            .any(|s| word.starts_with(s) && !word.starts_with("kms:ViaService"))
        };
        let split = |c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '*';
        let known = |word: &&str| {
            word.split_once(':').is_some_and(|(_, action)| {
                action.starts_with(|c: char| c.is_ascii_uppercase() || c == '*')
            })
        };
        text.split(split)
            .filter(service)
            .filter(known)
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(actions(&terraform), actions(&template));
    assert_eq!(
        words(&read("alarms.tf"), "metric_name"),
        words(&template, "MetricName:")
    );
    let parameters = template
        .split_once("\nParameters:\n")
        .unwrap()
        .1
        .split_once("\nRules:\n")
        .unwrap()
        .0;
    let parameters: BTreeSet<String> = parameters
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|line| !line.starts_with(' '))
        .map(snake)
        .collect();
    let mut inputs = words(&read("variables.tf"), "variable \"");
    assert!(
        inputs.remove("name") && inputs.remove("package"),
        "CloudFormation names the stack, and SAM uploads the package"
    );
    assert_eq!(inputs, parameters);
    for (ours, theirs) in [
        (
            "\"1\": { Seconds: 361 }",
            "visibility_timeout_seconds = 6 * 60 + var.batch_window_seconds",
        ),
        ("Timeout: 60", "timeout          = 60"),
        ("BatchSize: 10", "batch_size                         = 10"),
        ("maxReceiveCount: 5", "maxReceiveCount = 5"),
        (
            "MessageRetentionPeriod: 1209600",
            "message_retention_seconds = 1209600",
        ),
        (
            "MessageRetentionPeriod: 345600",
            "message_retention_seconds  = 345600",
        ),
        ("rate(1 minute)", "rate(1 minute)"),
    ] {
        assert!(
            template.contains(ours) && terraform.contains(theirs),
            "{ours}"
        );
    }
}
