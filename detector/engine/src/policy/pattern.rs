//! Patterns for EventBridge: which events are worth sending directly, ahead of their files.
//!
//! An organisation reads its secrets millions of times a day, nearly all of them by workloads that
//! the policy knows and expects to be busy. A direct event costs money and gains minutes, so these
//! reads are left to the files: who else reads, what is denied, and what changes is sent.
//!
//! Source: Amazon EventBridge user guide, "Creating Amazon EventBridge event patterns"; checked
//! 2026-11.

use serde_json::{Value, json};

use super::AccessPolicy;

/// Longest pattern in characters that a rule of EventBridge takes, unless the quota was raised.
pub const MAX_PATTERN: usize = 2_048;

/// Roles that a policy expects to read often, as patterns of their ARNs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusyWorkloads {
    /// Those that a pattern of EventBridge can name, the busiest first.
    pub roles: Vec<String>,
    /// Those that it cannot, or that would hide people: their reads are sent. In the order of the
    /// policy.
    pub left_out: Vec<String>,
}

impl AccessPolicy {
    /// The roles that grants expect to read a secret at least so many times an hour
    /// (`baseline_per_hour`).
    #[must_use]
    pub fn busy_workloads(&self, least_per_hour: f64) -> BusyWorkloads {
        let mut busy = BusyWorkloads::default();
        let mut rated: Vec<(f64, String)> = Vec::new();
        for grant in &self.grants {
            let Some(rate) = grant.baseline_per_hour.filter(|r| *r >= least_per_hour) else {
                continue;
            };
            for principal in &grant.principals {
                match expressed(principal.as_str()) {
                    Some(role) => rated.push((rate, role)),
                    None => busy.left_out.push(principal.as_str().to_owned()),
                }
            }
        }
        rated.sort_by(|(a_rate, a), (b_rate, b)| b_rate.total_cmp(a_rate).then_with(|| a.cmp(b)));
        for (_, role) in rated {
            if !busy.roles.contains(&role) {
                busy.roles.push(role);
            }
        }
        busy.left_out.dedup();
        busy
    }
}

/// The pattern of a role in the words of EventBridge, whose only wildcard is the asterisk; `None`
/// where it has none, or would match more than roles of workloads.
fn expressed(principal: &str) -> Option<String> {
    let (_, name) = principal.split_once(":role/")?;
    // A mark for one character cannot be said, and more than the grant names must not be left out.
    let is_exact = !principal.contains('?') && !principal.contains("**");
    // Every role, and with it that of each person.
    let is_narrow = name.trim_matches(['*', '/']).len() > 2;
    let is_person = name.contains("AWSReservedSSO") || name.starts_with("aws-reserved");
    (is_exact && is_narrow && !is_person).then(|| principal.to_owned())
}

/// Changes by service: which value is current, who may read it, and whether anybody sees it.
const CHANGES: [(&str, &[&str]); 4] = [
    (
        "secretsmanager.amazonaws.com",
        &[
            "PutSecretValue",
            "UpdateSecret",
            "UpdateSecretVersionStage",
            "PutResourcePolicy",
            "DeleteResourcePolicy",
            "ReplicateSecretToRegions",
            "AssociateCrossAccountReplica",
            "RotateSecret",
            "CancelRotateSecret",
            "DeleteSecret",
        ],
    ),
    (
        "ssm.amazonaws.com",
        &["PutParameter", "DeleteParameter", "DeleteParameters"],
    ),
    (
        "kms.amazonaws.com",
        &["PutKeyPolicy", "DisableKey", "ScheduleKeyDeletion"],
    ),
    (
        "cloudtrail.amazonaws.com",
        &[
            "StopLogging",
            "DeleteTrail",
            "UpdateTrail",
            "PutEventSelectors",
        ],
    ),
];

/// The pattern of a rule that sends events of CloudTrail directly, without the successful reads of
/// these roles.
#[must_use]
pub fn event_pattern(roles: &[String]) -> Value {
    // Short, because a pattern must be: of these four services no other call has such a name.
    let reads = json!([{"wildcard": "*GetSecretValue"}, {"prefix": "GetParameter"}]);
    let mut kinds = Vec::new();
    if roles.is_empty() {
        kinds.push(json!({"eventName": reads}));
    } else {
        let issuer = |arn: Value| json!({"sessionContext": {"sessionIssuer": {"arn": [arn]}}});
        kinds.extend([
            json!({"eventName": reads,
                "userIdentity": issuer(json!({"anything-but": {"wildcard": roles}}))}),
            // Users, root and services, which have no role.
            json!({"eventName": reads, "userIdentity": issuer(json!({"exists": false}))}),
            json!({"eventName": reads, "errorCode": [{"exists": true}]}),
        ]);
    }
    let changes = CHANGES.iter().flat_map(|(_, calls)| *calls);
    kinds.push(json!({"eventName": changes.collect::<Vec<_>>()}));
    for context in ["SecretARN", "PARAMETER_ARN"] {
        kinds.push(json!({"eventName": ["Decrypt"],
            // By the caller itself, and not by a store for it.
            "userIdentity": {"invokedBy": [{"exists": false}]},
            "requestParameters": {"encryptionContext": {context: [{"exists": true}]}}}));
    }
    json!({
        "source": ["aws.secretsmanager", "aws.ssm", "aws.kms", "aws.cloudtrail"],
        "detail-type": [{"suffix": " via CloudTrail"}],
        "detail": {"$or": kinds},
    })
}

/// The longest pattern that a rule takes, and the roles that it names: the busiest of them, as many
/// as there is room for.
#[must_use]
pub fn longest_pattern(roles: &[String]) -> (Value, &[String]) {
    let fits = |roles: &[String]| event_pattern(roles).to_string().len() <= MAX_PATTERN;
    let mut named = roles;
    while let Some((_, fewer)) = named.split_last().filter(|_| !fits(named)) {
        named = fewer;
    }
    (event_pattern(named), named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::role::{CallRole, role};

    fn policy(grants: &str) -> AccessPolicy {
        format!("version: 1\ngrants:\n{grants}").parse().unwrap()
    }

    fn grant(principal: &str, rate: &str) -> String {
        format!(
            "  - secrets: ['arn:aws:ssm:*:111122223333:parameter/a']\n    principals: \
             ['{principal}']\n{rate}"
        )
    }

    #[test]
    fn only_roles_that_read_often_are_left_to_the_files() {
        let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
        let often = "    baseline_per_hour: 60\n";
        let grants = [
            grant(&role("app-*"), often),
            grant(&role("busiest"), "    baseline_per_hour: 600\n"),
            grant(&role("rare"), "    baseline_per_hour: 1\n"),
            grant(&role("unrated"), ""),
            grant(&role("*"), often),
            grant(&role("app-?"), often),
            grant(
                &role("aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Dev_*"),
                often,
            ),
            grant("arn:aws:iam::111122223333:user/ci", often),
        ];
        let busy = policy(&grants.concat()).busy_workloads(10.0);
        assert_eq!(busy.roles, [role("busiest"), role("app-*")]);
        assert_eq!(busy.left_out.len(), 4, "{:?}", busy.left_out);
    }

    #[test]
    fn every_change_of_the_pattern_is_one_that_the_engine_looks_at() {
        for (service, calls) in CHANGES {
            for api in calls {
                let change = matches!(role(service, api), Some(CallRole::Change { .. }));
                assert!(change, "{service} {api}");
            }
        }
    }

    #[test]
    fn a_pattern_that_would_be_too_long_names_the_busiest() {
        let roles: Vec<String> = (0..100)
            .map(|n| format!("arn:aws:iam::111122223333:role/workload-{n:04}-*"))
            .collect();
        let (pattern, named) = longest_pattern(&roles);
        assert!(pattern.to_string().len() <= MAX_PATTERN);
        assert!((5..100).contains(&named.len()), "{}", named.len());
        assert_eq!(named, &roles[..named.len()]);
        let (all, none) = longest_pattern(&[]);
        assert!(none.is_empty() && !all.to_string().contains("anything-but"));
    }
}
