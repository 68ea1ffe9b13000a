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
    submit(url, "CreateStack", &failing, &[]);
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
    let retaining = failing.replace("RetainExceptOnCreate", "Retain");
    submit(url, "CreateStack", &retaining, &[]);
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

#[test]
fn a_table_that_was_kept_is_imported_into_a_new_stack() {
    let first = Stack::deploy(Server::stack(), &template(), &[]);
    let (url, table) = (&first.server.url, &first.outputs["StateTable"]);
    let heard = first.listen();
    s3(url, "PUT", &format!("/logs/{}", key("a")), theft("e1"));
    let alerts = first.receive(&heard, 1, Duration::from_secs(30));
    assert_eq!(alerts.len(), 1, "{}", first.server.log());
    delete(url);

    let import = std::fs::read_to_string(root().join("infra/import.yaml")).unwrap();
    let resource = "&ResourcesToImport.member.1";
    let form = format!(
        "Action=CreateChangeSet&StackName=secretrail&ChangeSetName=import&ChangeSetType=IMPORT\
         &TemplateBody={}{resource}.ResourceType=AWS::DynamoDB::Table\
         {resource}.LogicalResourceId=Table{resource}.ResourceIdentifier.entry.1.key=TableName\
         {resource}.ResourceIdentifier.entry.1.value={table}",
        percent(&import)
    );
    cloudformation(url, &form);
    let change = "&StackName=secretrail&ChangeSetName=import";
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let described = cloudformation(url, &format!("Action=DescribeChangeSet{change}"));
        if described.contains("<Status>CREATE_COMPLETE") {
            break;
        }
        assert!(Instant::now() < until, "{described}");
        std::thread::sleep(Duration::from_millis(100));
    }
    cloudformation(url, &format!("Action=ExecuteChangeSet{change}"));
    stack_is(url, "IMPORT_COMPLETE");
    submit(url, "UpdateStack", &template(), &[]);
    let outputs = outputs(&stack_is(url, "UPDATE_COMPLETE"));
    assert_eq!(&outputs["StateTable"], table);
    assert_eq!(tables(url), [table.as_str()]);

    // It is the state of before: the same event is known.
    let again = Stack {
        server: first.server,
        outputs,
    };
    let heard = again.listen();
    s3(
        &again.server.url,
        "PUT",
        &format!("/logs/{}", key("b")),
        theft("e1"),
    );
    let alerts = again.receive(&heard, 1, Duration::from_secs(5));
    assert_eq!(alerts.len(), 0, "{}", again.server.log());
}
