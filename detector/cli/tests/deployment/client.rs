//! The signed client: retries, endpoints, sessions and errors.

use crate::{
    healthy::{healthy, stack, version},
    stand_in::{Answer, Cloud, output},
};

const STACKS: &str = "cloudformation DescribeStacks";

#[test]
fn what_may_pass_is_tried_again_and_what_stays_is_not() {
    let cloud = healthy();
    let throttled = Answer::xml_error(400, "Throttling", "Rate exceeded");
    cloud
        .answer_times(STACKS, throttled, 2)
        .answer_times(STACKS, Answer(503, "<html>".to_owned()), 1)
        .answer_times(
            "dynamodb DescribeTable",
            Answer::json_error(400, "ProvisionedThroughputExceededException", "slow down"),
            1,
        );
    let (code, _, stderr) = cloud.run("doctor");
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(cloud.asked(STACKS).len(), 4);
    assert_eq!(cloud.asked("dynamodb DescribeTable").len(), 2);
    let cloud = Cloud::new();
    cloud.answer(STACKS, "", Answer::xml_error(403, "AccessDenied", "no"));
    let (code, _, stderr) = cloud.run("doctor");
    assert_eq!(cloud.requests().len(), 1);
    let expected = "stack `secretrail`: access denied: cloudformation:DescribeStacks: AccessDenied: \
        no; allow cloudformation:DescribeStacks in the policy";
    assert!(code == 2 && stderr.contains(expected), "{stderr}");
}

#[test]
fn a_service_that_stays_down_ends_the_run_with_its_name() {
    let cloud = Cloud::new();
    cloud.answer(STACKS, "", Answer(500, String::new()));
    let (code, _, stderr) = cloud.run("doctor");
    assert_eq!((code, cloud.requests().len()), (2, 5));
    assert!(
        stderr.contains("cloudformation:DescribeStacks: HTTP status 500"),
        "{stderr}"
    );
    // Nobody listens there.
    let mut command = cloud.secretrail("doctor --endpoint-url http://127.0.0.1:1");
    let (code, _, stderr) = output(&mut command);
    assert!(
        code == 2 && stderr.contains("AWS could not be reached"),
        "{stderr}"
    );
}

#[test]
fn a_service_has_its_own_endpoint_and_what_is_typed_counts_more() {
    let (cloud, other) = (healthy(), Cloud::new());
    other.answer(STACKS, "", stack(&[], version()));
    let mut command = cloud.secretrail("doctor -q");
    command.env("AWS_ENDPOINT_URL_CLOUDFORMATION", other.url());
    output(&mut command);
    let seen = (other.requests().len(), cloud.asked(STACKS).len());
    assert_eq!(
        seen,
        (2, 0),
        "the stack, and the list of resources, which is not answered"
    );
    let mut command = cloud.secretrail(&format!("doctor -q --endpoint-url {}", cloud.url()));
    command.env("AWS_ENDPOINT_URL_CLOUDFORMATION", other.url());
    let (code, ..) = output(&mut command);
    assert_eq!(
        (code, other.requests().len(), cloud.asked(STACKS).len()),
        (0, 2, 1)
    );
}

#[test]
fn a_session_has_its_token_in_every_request() {
    let cloud = healthy();
    let mut command = cloud.secretrail("doctor -q");
    command.env("AWS_SESSION_TOKEN", "token/of+a==session");
    let (code, ..) = output(&mut command);
    assert_eq!(code, 0);
    let requests = cloud.requests();
    assert!(requests.len() > 20);
    for request in requests {
        assert_eq!(
            request.header("x-amz-security-token"),
            "token/of+a==session"
        );
        assert_eq!(request.scope(1), "eu-west-1");
    }
    // Checked for signatures too.
    cloud.run("doctor -q");
}
