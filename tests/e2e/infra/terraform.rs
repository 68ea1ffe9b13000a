//! Terraform makes what the template makes.

use super::{
    rendering::{
        backfills, forwards, of_role, parameters, property, refusals, rendered, setups, statements,
        with,
    },
    *,
};

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

/// Each template with its folder.
const CONFIGURATIONS: [(&str, &str); 3] = [
    ("template.yaml", "terraform"),
    ("backfill.yaml", "terraform/backfill"),
    ("forward.yaml", "terraform/forward"),
];

/// The resources of a template, by the kinds that Terraform has for them.
fn resources(template: &str) -> BTreeSet<(String, String)> {
    let kinds = BTreeMap::from([
        ("AWS::DynamoDB::Table", "aws_dynamodb_table"),
        ("AWS::SQS::Queue", "aws_sqs_queue"),
        ("AWS::SQS::QueuePolicy", "aws_sqs_queue_policy"),
        ("AWS::Events::Rule", "aws_cloudwatch_event_rule"),
        (
            "AWS::Events::EventBusPolicy",
            "aws_cloudwatch_event_permission",
        ),
        ("AWS::SNS::Subscription", "aws_sns_topic_subscription"),
        ("AWS::SNS::Topic", "aws_sns_topic"),
        ("AWS::Logs::LogGroup", "aws_cloudwatch_log_group"),
        ("AWS::IAM::Role", "aws_iam_role"),
        ("AWS::Serverless::Function", "aws_lambda_function"),
        ("AWS::StepFunctions::StateMachine", "aws_sfn_state_machine"),
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
    let text = std::fs::read_to_string(root().join("infra").join(template)).unwrap();
    let (_, rest) = text.split_once("\nResources:\n").unwrap();
    let (resources, _) = rest.split_once("\nOutputs:\n").unwrap();
    let mut found = BTreeSet::new();
    let mut name = "";
    for line in resources.lines() {
        let own = line
            .strip_prefix("  ")
            .and_then(|line| line.strip_suffix(':'));
        if let Some(own) = own.filter(|own| !own.starts_with([' ', '#'])) {
            name = own;
        } else if let Some(kind) = line.strip_prefix("    Type: ") {
            found.insert((kinds[kind].to_owned(), snake(name)));
        }
    }
    found
}

/// All of a configuration of Terraform.
fn configuration(folder: &str) -> String {
    let files = std::fs::read_dir(root().join("infra").join(folder)).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let texts = paths
        .filter(|path| path.extension().is_some_and(|end| end == "tf"))
        .map(|path| std::fs::read_to_string(path).unwrap());
    texts.collect()
}

#[test]
fn terraform_makes_the_same_things() {
    for (template, folder) in CONFIGURATIONS {
        let text = configuration(folder);
        let made: BTreeSet<(String, String)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("resource \"")?.split_once("\" \""))
            .map(|(kind, rest)| (kind.to_owned(), rest.split('"').next().unwrap().to_owned()))
            // What CloudFormation writes inside of a rule, a role or its rules.
            .filter(|(kind, _)| {
                ![
                    "aws_cloudwatch_event_target",
                    "aws_iam_role_policy",
                    "terraform_data",
                ]
                .contains(&kind.as_str())
            })
            .collect();
        assert_eq!(made, resources(template), "{folder}");
        // What provider 6 deprecates.
        assert!(text.contains("version = \">= 6.0\""), "{folder}");
        for old in ["aws_region.here.name", "aws_region.here.id"] {
            assert!(!text.contains(old), "{folder}: {old}");
        }
        // The documents that are compared are those that are used.
        for (kind, name) in &made {
            let (_, rest) = text
                .split_once(&format!("resource \"{kind}\" \"{name}\" {{\n"))
                .unwrap();
            let (block, _) = rest.split_once("\n}\n").unwrap();
            let taggable = ![
                "aws_sqs_queue_policy",
                "aws_sns_topic_subscription",
                "aws_cloudwatch_event_permission",
                "aws_lambda_permission",
                "aws_lambda_function_event_invoke_config",
                "aws_cloudwatch_dashboard",
            ]
            .contains(&kind.as_str());
            let has_tags = block.contains("= var.tags");
            assert_eq!(has_tags, taggable, "{folder}: {kind} {name}");
        }
    }
    let text = configuration("terraform");
    for used in [
        " = local.role_policy\n",
        " = local.files_policy\n",
        " = local.dead_letters_policy\n",
        " = local.event_pattern\n",
        " = local.environment\n",
    ] {
        assert!(text.contains(used), "{used}");
    }
    if terraform_is_here() {
        let mut terraform = Command::new("terraform");
        let folder = root().join("infra/terraform");
        terraform
            .args(["fmt", "-check", "-diff", "-recursive"])
            .current_dir(folder);
        let output = terraform.output().unwrap();
        let diff = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{diff}");
    }
}

/// The names on the left of a map in an output, as in `      Table = …`.
fn described(outputs: &str, map: &str) -> BTreeSet<String> {
    let (_, rest) = outputs.split_once(&format!("    {map} = {{\n")).unwrap();
    let (entries, _) = rest.split_once("\n    }\n").unwrap();
    let names = entries
        .lines()
        .map(|line| line.trim_start().split(' ').next().unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn what_terraform_says_of_a_deployment_has_the_names_of_the_template() {
    let outputs = std::fs::read_to_string(root().join("infra/terraform/outputs.tf")).unwrap();
    let template = std::fs::read_to_string(root().join("infra/template.yaml")).unwrap();
    let ids = |kind: &str| -> BTreeSet<String> {
        let kind = format!(":\n    Type: {kind}");
        let parts: Vec<&str> = template.split(&kind).collect();
        let before = &parts[..parts.len() - 1];
        let names = before
            .iter()
            .map(|part| part.rsplit("\n  ").next().unwrap());
        names.map(str::to_owned).collect()
    };
    assert_eq!(described(&outputs, "alarms"), ids("AWS::CloudWatch::Alarm"));
    for name in described(&outputs, "parameters") {
        assert!(
            template.contains(&format!("\n  {name}:\n    Type: ")),
            "{name}"
        );
        assert!(outputs.contains(&format!("var.{}", snake(&name))), "{name}");
    }
    // What the command looks for.
    let command = root().join("detector/cli/src/deployment.rs");
    let command = std::fs::read_to_string(command).unwrap();
    let consts = command.lines().filter_map(|line| {
        let (_, value) = line
            .strip_prefix("    pub const ")?
            .split_once(": &str = \"")?;
        value.strip_suffix("\";")
    });
    let looked_for: BTreeSet<String> = consts.map(str::to_owned).collect();
    assert!(looked_for.len() > 8, "{looked_for:?}");
    assert_eq!(described(&outputs, "resources"), looked_for);
}

/// Whether there is a Terraform, which CI must have. Without it, the configurations are compared as
/// texts only.
fn terraform_is_here() -> bool {
    let found = Command::new("terraform").arg("version").output().is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "CI needs terraform on its PATH"
    );
    found
}

/// What a configuration makes of each set of parameters, without its resources: the values of
/// these names, or why it refuses them. The resources need the provider, which is not here.
fn evaluated(
    folder: &str,
    known: &str,
    names: &[&str],
    sets: &[Value],
) -> Vec<Result<Value, String>> {
    let place = tempfile::tempdir().unwrap();
    for file in ["variables.tf", "policies.tf", "combinations.tf"] {
        let path = root().join("infra").join(folder).join(file);
        if path.exists() {
            std::fs::copy(path, place.path().join(file)).unwrap();
        }
    }
    let values: String = names
        .iter()
        .map(|name| format!("    {name} = local.{name}\n"))
        .collect();
    let known = format!("{known}\noutput \"found\" {{\n  value = {{\n{values}  }}\n}}\n");
    std::fs::write(place.path().join("known.tf"), known).unwrap();
    let terraform = |args: &[&str]| {
        let mut terraform = Command::new("terraform");
        terraform.args(args).current_dir(place.path()).envs([
            ("TF_CLI_CONFIG_FILE", "/dev/null"),
            ("CHECKPOINT_DISABLE", "1"),
        ]);
        terraform.output().unwrap()
    };
    assert!(terraform(&["init", "-input=false"]).status.success());
    let evaluate = |set: &Value| {
        let variables = set.as_object().unwrap().iter();
        let variables = variables.map(|(name, value)| (snake(name), value.clone()));
        let variables = Value::Object(variables.collect());
        std::fs::write(place.path().join("set.json"), variables.to_string()).unwrap();
        std::fs::remove_file(place.path().join("terraform.tfstate")).ok();
        let apply = [
            "apply",
            "-auto-approve",
            "-input=false",
            "-no-color",
            "-var-file=set.json",
        ];
        let applied = terraform(&apply);
        if !applied.status.success() {
            return Err(String::from_utf8_lossy(&applied.stderr).into_owned());
        }
        let printed = terraform(&["output", "-json", "found"]);
        Ok(serde_json::from_slice(&printed.stdout).unwrap())
    };
    sets.iter().map(evaluate).collect()
}

/// A document that Terraform gives as a text.
fn document(values: &Value, name: &str) -> Value {
    serde_json::from_str(values[name].as_str().unwrap()).unwrap()
}

/// What `main.tf` knows, with the names that rendered templates have.
const KNOWN: &str = r#"
locals {
  partition = "aws"
  suffix    = "amazonaws.com"
  region    = "eu-west-1"
  account   = "111122223333"
  table     = var.existing_table == "" ? "secretrail-table" : var.existing_table
  arns = {
    alerts       = "arn:aws:sns:eu-west-1:111122223333:secretrail-alerts${var.alert_fifo ? ".fifo" : ""}"
    dead_letters = "arn:aws:sqs:eu-west-1:111122223333:secretrail-dead-letters"
    files        = "arn:aws:sqs:eu-west-1:111122223333:secretrail-files"
    log          = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/secretrail-detector-0a1b2c3d4e5f"
    rule         = "arn:aws:events:eu-west-1:111122223333:rule/secretrail-new-files"
    table        = "arn:aws:dynamodb:eu-west-1:111122223333:table/secretrail-table"
  }
}
"#;

/// The same for the backfill.
const KNOWN_OF_BACKFILL: &str = r#"
locals {
  partition = "aws"
  suffix    = "amazonaws.com"
  region    = "eu-west-1"
  account   = "111122223333"
  arns = {
    log      = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/secretrail-extractor-0a1b2c3d4e5f"
    function = "arn:aws:lambda:eu-west-1:111122223333:function:secretrail-extractor"
  }
}
"#;

#[test]
fn terraform_evaluates_to_the_documents_of_the_template() {
    if !terraform_is_here() {
        return;
    }
    let (names, sets): (Vec<_>, Vec<_>) = setups().into_iter().unzip();
    let values = [
        "role_policy",
        "files_policy",
        "dead_letters_policy",
        "event_pattern",
        "environment",
        "alarm_email",
        "topic_region",
        "subnets",
        "groups",
    ];
    let theirs = evaluated("terraform", KNOWN, &values, &sets);
    for ((name, ours), theirs) in names
        .iter()
        .zip(rendered("template.yaml", &sets))
        .zip(theirs)
    {
        let theirs = theirs.unwrap_or_else(|why| panic!("{name}: {why}"));
        let role = statements(&document(&theirs, "role_policy"));
        assert_eq!(role, of_role(&ours, "Role"), "{name}");
        let queues = [
            ("FilesPolicy", "files_policy"),
            ("DeadLettersPolicy", "dead_letters_policy"),
        ];
        // Without a queue or a rule of its own, nothing uses the document.
        for (resource, value) in queues {
            let policy = property(&ours, resource, "PolicyDocument");
            if policy.is_object() {
                let found = statements(&document(&theirs, value));
                assert_eq!(found, statements(policy), "{name}: {resource}");
            }
        }
        let pattern = property(&ours, "NewFiles", "EventPattern");
        if pattern.is_object() {
            assert_eq!(&document(&theirs, "event_pattern"), pattern, "{name}");
        }
        let environment = property(&ours, "Detector", "Environment");
        assert_eq!(theirs["environment"], environment["Variables"], "{name}");
        let address = property(&ours, "AlarmsByEmail", "Endpoint");
        assert_eq!(&theirs["alarm_email"], address, "{name}");
        let region = property(&ours, "Notifications", "Region");
        assert_eq!(&theirs["topic_region"], region, "{name}");
        let network = property(&ours, "Detector", "VpcConfig");
        let none = json!([]);
        let subnets = network.get("SubnetIds").unwrap_or(&none);
        assert_eq!(&theirs["subnets"], subnets, "{name}");
        let groups = network.get("SecurityGroupIds").unwrap_or(&none);
        assert_eq!(&theirs["groups"], groups, "{name}");
    }
}

#[test]
fn terraform_refuses_what_the_template_refuses() {
    if !terraform_is_here() {
        return;
    }
    let (sets, reasons): (Vec<_>, Vec<_>) = refusals().into_iter().unzip();
    let found = evaluated("terraform", KNOWN, &["function"], &sets);
    for ((set, why), found) in sets.iter().zip(reasons).zip(found) {
        let Err(refused) = found else {
            panic!("{why}: accepted {set}");
        };
        let by_rule = refused.contains("Resource precondition failed");
        let by_constraint = refused.contains("Invalid value for variable");
        assert_eq!(by_constraint, why.contains(": "), "{why}: {refused}");
        assert_ne!(by_rule, by_constraint, "{why}: {refused}");
    }
    // What the template cannot compare.
    let usual = json!({"TrailBucket": "logs", "AlertEmail": "security@example.com"});
    let topic = json!({"MoreTopics": "arn:aws:sns:us-east-1:111122223333:siem"});
    let queue = json!({"Trigger": "Queue",
        "TriggerQueueArn": "arn:aws:sqs:us-east-1:111122223333:new-logs"});
    let elsewhere = [with(&usual, &topic), with(&usual, &queue)];
    for found in evaluated("terraform", KNOWN, &["function"], &elsewhere) {
        let refused = found.expect_err("it is in another region");
        assert!(
            refused.contains("in the region of this deployment"),
            "{refused}"
        );
    }
    let wrong = [
        json!({"LogsBucket": "logs", "JobBucket": "logs"}),
        json!({"LogsBucket": "logs", "JobBucket": "jobs", "SubnetIds": "subnet-0a"}),
        json!({"LogsBucket": "logs", "JobBucket": "jobs", "SecurityGroupIds": "sg-0a"}),
    ];
    let found = evaluated(
        "terraform/backfill",
        KNOWN_OF_BACKFILL,
        &["function"],
        &wrong,
    );
    assert!(found.iter().all(Result::is_err), "{found:?}");
}

#[test]
fn terraform_evaluates_to_the_documents_of_backfill_and_forwarding() {
    if !terraform_is_here() {
        return;
    }
    let (names, sets): (Vec<_>, Vec<_>) = backfills().into_iter().unzip();
    let values = ["role_policy", "machine_policy", "definition", "environment"];
    let theirs = evaluated("terraform/backfill", KNOWN_OF_BACKFILL, &values, &sets);
    for ((name, ours), theirs) in names
        .iter()
        .zip(rendered("backfill.yaml", &sets))
        .zip(theirs)
    {
        let theirs = theirs.unwrap_or_else(|why| panic!("{name}: {why}"));
        for (role, value) in [("Role", "role_policy"), ("MachineRole", "machine_policy")] {
            let found = statements(&document(&theirs, value));
            assert_eq!(found, of_role(&ours, role), "{name}: {role}");
        }
        let definition = property(&ours, "Machine", "DefinitionString");
        let definition: Value = serde_json::from_str(definition.as_str().unwrap()).unwrap();
        assert_eq!(document(&theirs, "definition"), definition, "{name}");
        let environment = property(&ours, "Extractor", "Environment");
        assert_eq!(theirs["environment"], environment["Variables"], "{name}");
    }
    let (names, sets): (Vec<_>, Vec<_>) = forwards().into_iter().unzip();
    let values = ["role_policy", "event_pattern", "trust"];
    let known = "locals {\n  account = \"111122223333\"\n}\n";
    let theirs = evaluated("terraform/forward", known, &values, &sets);
    for ((name, ours), theirs) in names
        .iter()
        .zip(rendered("forward.yaml", &sets))
        .zip(theirs)
    {
        let theirs = theirs.unwrap_or_else(|why| panic!("{name}: {why}"));
        let role = statements(&document(&theirs, "role_policy"));
        assert_eq!(role, of_role(&ours, "Role"), "{name}");
        let pattern = property(&ours, "NewFiles", "EventPattern");
        assert_eq!(&document(&theirs, "event_pattern"), pattern, "{name}");
        let trust = property(&ours, "Role", "AssumeRolePolicyDocument");
        assert_eq!(&document(&theirs, "trust"), trust, "{name}");
    }
}

#[test]
fn terraform_allows_and_sets_the_same() {
    let folder = root().join("infra/terraform");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let terraform = [read("main.tf"), read("policies.tf")].concat();
    let template = template();
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
                "ec2:",
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
            .map(|word| word.trim_end_matches(':').to_owned())
            .collect()
    };
    assert_eq!(actions(&terraform), actions(&template));
    assert_eq!(
        words(&read("alarms.tf"), "metric_name"),
        words(&template, "MetricName:")
    );
    for (template, folder) in CONFIGURATIONS {
        let parameters: BTreeSet<String> = parameters(template)
            .iter()
            .map(|name| snake(name))
            .collect();
        let variables = root().join("infra").join(folder).join("variables.tf");
        let variables = std::fs::read_to_string(variables).unwrap();
        let mut inputs = words(&variables, "variable \"");
        // CloudFormation names the stack and tags what is in it, and SAM uploads the package.
        assert!(inputs.remove("name") && inputs.remove("tags"), "{folder}");
        assert_eq!(inputs.remove("package"), folder != "terraform/forward");
        assert_eq!(inputs, parameters, "{folder}");
    }
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
