//! KMS keys: whether they work, and whether their policies admit those who need them, as far as
//! the policies can be read.

use secretrail_engine::ids::ArnParts;
use serde_json::{Value, json};

use super::Checkup;
use crate::{
    aws_api::{AwsApi, KMS},
    deployment::{Deployment, logical},
};

const PART: &str = "key";

pub(super) fn check(checkup: &mut Checkup<'_>) {
    let stack = checkup.stack;
    let trail = stack.parameter("TrailKeyArn");
    if !trail.is_empty() {
        let policy = usable(checkup, "TrailKeyArn", trail);
        if let Some(policy) = policy {
            role(checkup, trail, &policy);
        }
    }
    let own = stack.parameter("KeyArn");
    if !own.is_empty() {
        let policy = usable(checkup, "KeyArn", own);
        if let Some(policy) = policy {
            role(checkup, own, &policy);
            services(checkup, own, &policy);
        }
    }
    if trail.is_empty() && own.is_empty() {
        let what = "no customer managed keys are used";
        checkup.findings.ok(PART, what);
    }
}

/// Checks the state of a key; returns its policy if that can be read.
fn usable(checkup: &mut Checkup<'_>, parameter: &str, arn: &str) -> Option<Value> {
    let parts = ArnParts::parse(arn);
    let there: AwsApi = checkup
        .api
        .in_region(parts.as_ref().map_or("", |parts| parts.region));
    let what = format!("{parameter} {arn}");
    let answer = there.json(&KMS, "DescribeKey", &json!({"KeyId": arn}));
    let described = checkup.findings.known(PART, &what, answer)?;
    let state = described.get("KeyMetadata");
    let state = state.and_then(|data| data.get("KeyState")?.as_str());
    let state = state.unwrap_or("in an unknown state");
    let findings = &mut checkup.findings;
    match state {
        "Enabled" => findings.ok(PART, format!("{what} is Enabled")),
        "PendingDeletion" => findings.fail(
            PART,
            format!("{what} will be deleted: nothing that it encrypts can be read"),
            format!("aws kms cancel-key-deletion --key-id {arn}, then aws kms enable-key"),
        ),
        _ => findings.fail(
            PART,
            format!("{what} is {state}: nothing that it encrypts can be read"),
            format!("aws kms enable-key --key-id {arn}"),
        ),
    }
    // An alias has no policy; only its key has.
    let data = described.get("KeyMetadata");
    let key = data
        .and_then(|data| data.get("Arn")?.as_str())
        .unwrap_or(arn);
    let input = json!({"KeyId": key, "PolicyName": "default"});
    let answer = there.json(&KMS, "GetKeyPolicy", &input);
    let found = checkup
        .findings
        .known(PART, &format!("policy of {arn}"), answer)?;
    let text = found.get("Policy").and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok())
}

/// Whether the policy lets the role of the function decrypt, itself or through IAM.
fn role(checkup: &mut Checkup<'_>, arn: &str, policy: &Value) {
    let Some(name) = checkup.stack.physical(logical::ROLE) else {
        return;
    };
    let Deployment {
        partition, account, ..
    } = checkup.stack;
    let admitted = [
        format!("arn:{partition}:iam::{account}:role/{name}"),
        format!("arn:{partition}:iam::{account}:root"),
        account.clone(),
        "*".to_owned(),
    ];
    let is_allowed = statements(policy).any(|statement| {
        let principal = statement.get("Principal");
        let aws = principal.map(|all| all.get("AWS").unwrap_or(all));
        allows(statement, "Decrypt") && names(aws).any(|name| admitted.iter().any(|a| a == name))
    });
    if is_allowed {
        let what = format!("the policy of {arn} admits the role of the function");
        checkup.findings.ok(PART, what);
        return;
    }
    checkup.findings.fail(
        PART,
        format!("the policy of {arn} does not let the role {name} decrypt"),
        format!("allow kms:Decrypt to arn:{partition}:iam::{account}:role/{name} in it"),
    );
}

/// Whether the policy lets the services use the key that write to encrypted queues, topics and
/// logs.
fn services(checkup: &mut Checkup<'_>, arn: &str, policy: &Value) {
    let sender = match checkup.stack.parameter("Trigger") {
        "SNS" => Some((
            "sns.amazonaws.com".to_owned(),
            "no new file reaches the queue",
        )),
        "Queue" => None,
        _ => Some((
            "events.amazonaws.com".to_owned(),
            "no new file reaches the queue",
        )),
    };
    let region = &checkup.stack.region;
    let suffix = match checkup.stack.partition.as_str() {
        "aws-cn" => "amazonaws.com.cn",
        _ => "amazonaws.com",
    };
    let others = [
        (
            "cloudwatch.amazonaws.com".to_owned(),
            "no alarm reaches anybody",
        ),
        (
            format!("logs.{region}.{suffix}"),
            "the function cannot write its log",
        ),
    ];
    for (service, lost) in sender.into_iter().chain(others) {
        let is_allowed = statements(policy).any(|statement| {
            let named = statement.get("Principal");
            let named = named.and_then(|all| all.get("Service"));
            allows(statement, "Decrypt") && names(named).any(|name| name == service)
        });
        if !is_allowed {
            checkup.findings.fail(
                PART,
                format!("the policy of {arn} does not admit {service}: {lost}"),
                format!(
                    "allow kms:Decrypt and kms:GenerateDataKey* to the service {service} in it"
                ),
            );
        }
    }
}

/// The statements of a policy; a single one need not be in a list.
fn statements(policy: &Value) -> impl Iterator<Item = &Value> {
    let all = policy.get("Statement");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    many.chain(all.filter(|one| one.is_object()))
}

/// Whether a statement allows an action of KMS, on conditions or not.
fn allows(statement: &Value, action: &str) -> bool {
    let is_allowed = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
    is_allowed
        && names(statement.get("Action")).any(|name| {
            let name = name.trim_start_matches("kms:");
            match name.strip_suffix('*') {
                Some(prefix) => action.starts_with(prefix),
                None => name == action,
            }
        })
}

/// A text, or the texts of a list.
fn names(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let many = value.and_then(Value::as_array).into_iter().flatten();
    many.chain(value).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_many_statements_actions_and_principals_are_read() {
        let policy = json!({"Statement": {
            "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "kms:*",
        }});
        assert!(statements(&policy).all(|one| allows(one, "Decrypt")));
        assert_eq!(statements(&policy).count(), 1);
        let policy = json!({"Statement": [
            {"Effect": "Deny", "Action": "kms:Decrypt"},
            {"Effect": "Allow", "Action": ["kms:GenerateDataKey*", "kms:DescribeKey"]},
            {"Effect": "Allow", "Action": ["kms:De*"]},
        ]});
        let allowed: Vec<bool> = statements(&policy)
            .map(|one| allows(one, "Decrypt"))
            .collect();
        assert_eq!(allowed, [false, false, true]);
    }
}
