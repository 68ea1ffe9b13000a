//! `policy pattern`: which events EventBridge sends directly, by what the policy expects.

use std::fmt::Write as _;

use secretrail_engine::{
    policy::pattern::{MAX_PATTERN, longest_pattern},
    sanitize,
};

use crate::{
    args::policy::{PatternFormat, PolicyPatternArgs},
    exit,
    host::{ProcessHost, RunFailure, print, say},
    input::rules_and_policy,
    output::json,
    text::plural,
};

/// Longest value in bytes of a parameter of CloudFormation.
const MAX_PARAMETER: usize = 4_096;

/// Roles that are named on standard error.
const NAMED: usize = 5;

/// Prints the pattern or the roles; what is not in it is said on standard error.
pub(super) fn run(args: &PolicyPatternArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let (policy, _) = rules_and_policy::policy_text(&args.policy)?;
    let busy = policy.busy_workloads(args.min_per_hour);
    let (pattern, roles) = longest_pattern(&busy.roles);
    let roles = match args.format {
        PatternFormat::Json => roles,
        PatternFormat::Parameter => within(roles, MAX_PARAMETER),
    };
    let text = match args.format {
        PatternFormat::Json => json::pretty(&pattern)?,
        PatternFormat::Parameter => format!("{}\n", sanitize::line(&roles.join(","))),
    };
    print(host, &text)?;
    let mut said = String::new();
    let least = args.min_per_hour;
    if busy.roles.is_empty() {
        writeln!(
            said,
            "no grant has a baseline_per_hour of {least} or more: the successful reads of all \
             principals are sent; see secretrail baseline"
        )
        .ok();
    } else {
        let count = plural(roles.len() as u64, "role");
        writeln!(
            said,
            "left to the log files: successful reads of {count} with {least} or more an hour"
        )
        .ok();
    }
    let too_many = busy.roles.get(roles.len()..).unwrap_or_default();
    said.push_str(&listed(
        too_many,
        &format!("sent all the same, because a pattern has at most {MAX_PATTERN} characters"),
    ));
    said.push_str(&listed(
        &busy.left_out,
        "sent all the same, because a pattern cannot name them without naming people or others",
    ));
    say(host, &said);
    Ok(exit::DONE)
}

/// The first roles, as many as there is room for when commas are between them.
fn within(roles: &[String], most: usize) -> &[String] {
    let mut length = 0;
    let fitting = roles.iter().take_while(|role| {
        length += role.len() + 1;
        length <= most
    });
    roles.get(..fitting.count()).unwrap_or_default()
}

/// A line about roles, and the first of them; empty without any.
fn listed(roles: &[String], what: &str) -> String {
    if roles.is_empty() {
        return String::new();
    }
    let mut text = format!("{what}:\n");
    for role in roles.iter().take(NAMED) {
        writeln!(text, "  {}", sanitize::line(role)).ok();
    }
    match roles.len().saturating_sub(NAMED) {
        0 => {}
        more => _ = writeln!(text, "  and {more} more").ok(),
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::commands::tests::ran;

    #[test]
    fn the_pattern_leaves_out_busy_workloads_and_says_what_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let policy = "version: 1
grants:
  - secrets: ['arn:aws:ssm:*:111122223333:parameter/*']
    principals: ['arn:aws:iam::111122223333:role/batch-*', 'arn:aws:iam::111122223333:user/ci']
    baseline_per_hour: 500
  - secrets: ['arn:aws:ssm:*:111122223333:parameter/*']
    principals: ['arn:aws:iam::111122223333:role/rare']
    baseline_per_hour: 1
";
        std::fs::write(&path, policy).unwrap();
        let path = path.display().to_string();
        let printed = ran(&["policy", "pattern", "--policy", &path]);
        let said = &printed.err;
        assert_eq!(printed.code, 0, "{said}");
        let pattern: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
        let kinds = pattern["detail"]["$or"].to_string();
        assert!(kinds.contains("role/batch-*") && !kinds.contains("role/rare"));
        assert!(
            said.contains("1 role") && said.contains("user/ci"),
            "{said}"
        );
        let parameter = ["policy", "pattern", "--policy", &path, "-f", "parameter"];
        let printed = ran(&parameter);
        assert_eq!(printed.out, "arn:aws:iam::111122223333:role/batch-*\n");
        let high = [
            "policy",
            "pattern",
            "--policy",
            &path,
            "--min-per-hour",
            "1000",
        ];
        let printed = ran(&high);
        assert!(!printed.out.contains("anything-but"));
        assert!(printed.err.contains("no grant has a baseline_per_hour"));
    }
}
