//! A stack that could not be made, or that was deleted, is deployed again.

use e2e::{deployment::json_call, direct_decrypt, packed};

use super::*;

/// Waits for what nobody sends, so that CloudFormation takes back what it has made.
const NEVER: &str = "
  Handle:
    Type: AWS::CloudFormation::WaitConditionHandle
  Never:
    Type: AWS::CloudFormation::WaitCondition
    DependsOn: [Log, Table]
    Properties: { Handle: !Ref Handle, Timeout: \"1\" }

Outputs:
";

/// The names of all tables.
fn tables(url: &str) -> Vec<String> {
    let all = json_call(url, "dynamodb", "DynamoDB_20120810.ListTables", &json!({}));
    let names = all["TableNames"].as_array().unwrap().iter();
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// The names of all log groups.
fn logs(url: &str) -> Vec<String> {
    let all = json_call(url, "logs", "Logs_20140328.DescribeLogGroups", &json!({}));
    let groups = all["logGroups"].as_array().unwrap().iter();
    let names = groups.map(|group| group["logGroupName"].as_str().unwrap().to_owned());
    names
        .filter(|name| name.contains("secretrail-detector"))
        .collect()
}

#[test]
fn a_first_deployment_that_failed_leaves_nothing_in_the_way() {
    let server = Server::stack();
    let url = &server.url;
    let failing = template().replace("\nOutputs:\n", NEVER);
    create(url, &failing, &[]);
    stack_is(url, "ROLLBACK_COMPLETE");
    assert_eq!(tables(url), [] as [String; 0]);
    assert_eq!(logs(url), [] as [String; 0]);
    delete(url);
    let stack = Stack::deploy(server, &template(), &[]);
    assert_eq!(
        tables(&stack.server.url),
        [stack.outputs["StateTable"].as_str()]
    );

    // Without the exception for creation, both would be left.
    let server = Server::stack();
    let url = &server.url;
    create(url, &failing.replace("RetainExceptOnCreate", "Retain"), &[]);
    stack_is(url, "ROLLBACK_COMPLETE");
    assert_eq!((tables(url).len(), logs(url).len()), (1, 1));
}

#[test]
fn a_deleted_stack_is_deployed_again_and_goes_on_with_its_state() {
    let first = Stack::deploy(Server::stack(), &template(), &[]);
    let put = |stack: &Stack, name: &str, bytes: Vec<u8>| {
        s3(
            &stack.server.url,
            "PUT",
            &format!("/logs/{}", key(name)),
            bytes,
        );
    };
    let heard = first.listen();
    put(&first, "a", theft("e1"));
    let alerts = first.receive(&heard, 1, Duration::from_secs(30));
    assert_eq!(alerts.len(), 1, "{}", first.server.log());
    delete(&first.server.url);
    let (table, log) = (&first.outputs["StateTable"], &first.outputs["LogGroup"]);
    assert_eq!(tables(&first.server.url), [table.as_str()]);
    assert_eq!(logs(&first.server.url), [log.as_str()]);

    let Stack { server, outputs } = first;
    let (table, log) = (&outputs["StateTable"], &outputs["LogGroup"]);
    let again = Stack::deploy(server, &template(), &[("ExistingTable", table.as_str())]);
    assert_eq!(&again.outputs["StateTable"], table);
    assert_ne!(
        &again.outputs["LogGroup"], log,
        "the name of the old log is taken"
    );
    let heard = again.listen();
    // The same event in another file, and then another event: only that is new.
    put(&again, "b", theft("e1"));
    let records = json!({"Records": [direct_decrypt("e2", "other", 0, "prod/other")]});
    put(&again, "c", packed(records.to_string().as_bytes()));
    let alerts = again.receive(&heard, 2, Duration::from_secs(8));
    assert_eq!(alerts.len(), 1, "{}", again.server.log());
    let alert = alerts[0].to_string();
    assert!(alert.contains("prod/other"), "{alert}");

    // The table is not the stack's: it stays when that is deleted, too.
    delete(&again.server.url);
    assert_eq!(tables(&again.server.url), [table.as_str()]);
}
