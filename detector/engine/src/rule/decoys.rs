//! The rule about decoys: calls that name one and are neither reads nor changes. For those the pack
//! has rules, with what is known of them.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{RuleSet, load::load, needs::NeededCalls, plan::PlanCell};
use crate::{digest::digest, glob::GlobPattern, ids::ArnParts, policy::AccessPolicy};

impl RuleSet {
    /// The same rules, and one about calls that name a decoy of the access policy, if it has any.
    #[must_use]
    pub fn with_decoys(self, policy: Option<&AccessPolicy>) -> Self {
        let Some(text) = policy.and_then(rules) else {
            return self;
        };
        // It is made of checked patterns, and loads.
        match load([("access policy", text.as_str())]) {
            Ok((decoys, _)) => self.and(decoys),
            Err(_) => self,
        }
    }

    /// The calls whose records an extract file keeps for these rules, and for the decoys of any
    /// policy; `None` for all calls.
    #[must_use]
    pub fn extracted_calls(&self) -> Option<Vec<NeededCalls>> {
        let mut all = self.record_calls()?;
        for (source, names) in CALLS {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let calls = NeededCalls {
                source: source.to_owned(),
                names: Some(names),
            };
            calls.add_to(&mut all);
        }
        Some(all)
    }

    /// These rules and others, of which none feeds another.
    fn and(mut self, others: Self) -> Self {
        let windows = self.windows.len();
        for mut detection in others.detections {
            for (window, _) in &mut detection.feeds {
                *window += windows;
            }
            self.detections.push(detection);
        }
        self.windows.extend(others.windows);
        // That of the rules before is not for these.
        self.plan = PlanCell::default();
        self
    }
}

/// The rules as a Sigma file, one for each decoy, so that its alerts name it; `None` without
/// decoys.
fn rules(policy: &AccessPolicy) -> Option<String> {
    let rules: Vec<String> = policy.decoys().map(rule).collect();
    (!rules.is_empty()).then(|| rules.join("---\n"))
}

fn rule(decoy: &str) -> String {
    let mut selections = String::new();
    // Writing to a string cannot fail.
    selection(decoy, &mut selections).ok();
    let resource = ArnParts::parse(decoy).map_or(decoy, |arn| arn.resource);
    let title = json(&format!("Decoy {resource} Named In A Call"));
    let id = digest(&["decoy", decoy]);
    format!(
        "title: {title}
id: {id}
status: experimental
description: A call names a secret or parameter that the access policy lists under decoys.
level: critical
tags: [attack.credential-access, attack.t1555.006, attack.discovery, attack.t1526]
references: [https://attack.mitre.org/techniques/T1555/006/]
falsepositives: [The job that keeps the decoy, or an inventory of all secrets]
logsource: {{product: aws, service: cloudtrail}}
detection:
{selections}  condition: 1 of decoy_*
secretrail: {{suppress: 1d, group-by: [userIdentity.arn]}}
"
    )
}

/// Calls that name a secret or parameter and are neither reads nor changes, by service.
const CALLS: [(&str, &[&str]); 2] = [
    (
        "secretsmanager.amazonaws.com",
        &[
            "DescribeSecret",
            "GetResourcePolicy",
            "ListSecretVersionIds",
            "ValidateResourcePolicy",
        ],
    ),
    (
        "ssm.amazonaws.com",
        &[
            "AddTagsToResource",
            "ListTagsForResource",
            "RemoveTagsFromResource",
            "UnlabelParameterVersion",
        ],
    ),
];

/// Fields of `requestParameters` that name secrets and parameters.
const FIELDS: [&str; 4] = ["secretId", "name", "names", "resourceId"];

/// The selections of a decoy: its names and ARNs where a call may name it.
fn selection(decoy: &str, out: &mut String) -> fmt::Result {
    let arn = ArnParts::parse(decoy);
    let (service, account) = arn.map_or(("*", "*"), |arn| (arn.service, arn.account));
    let names = names_of(decoy);
    for (source, calls) in CALLS {
        if !GlobPattern::new(&format!("{service}.*")).matches(source) {
            continue;
        }
        let id = format!("decoy_{}", source.split('.').next().unwrap_or_default());
        let of_calls = format!(
            "    eventSource: {source}\n    eventName: {}\n    recipientAccountId: '{account}'",
            json(calls)
        );
        for field in FIELDS {
            writeln!(out, "  {id}_{field}:\n{of_calls}")?;
            writeln!(out, "    requestParameters.{field}: {}", json(&names))?;
        }
        // A denied call has no parameters.
        let denied = names.iter().map(|name| format!("*resource: {name}"));
        let denied: Vec<String> = denied.flat_map(|end| [format!("{end} *"), end]).collect();
        writeln!(out, "  {id}_denied:\n{of_calls}")?;
        writeln!(out, "    errorMessage: {}", json(&denied))?;
    }
    Ok(())
}

/// The pattern, and the names and shorter ARNs by which callers may name what it matches.
fn names_of(decoy: &str) -> Vec<String> {
    let mut names = vec![decoy.to_owned()];
    if let Some((start, name)) = decoy.split_once(":secret:") {
        // Marks at the end stand for the random suffix only, which a caller need not write.
        let bare = name.trim_end_matches('?');
        if let Some(bare) = bare.strip_suffix('-').filter(|_| bare != name) {
            names.push(bare.to_owned());
            names.push(format!("{start}:secret:{bare}"));
        } else {
            names.push(name.to_owned());
        }
    }
    if let Some((_, name)) = decoy.split_once(":parameter/") {
        names.extend([name.to_owned(), format!("/{name}")]);
    }
    names
}

/// A value as JSON, which is YAML too.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        document::LazyDocument,
        rule::{EvalScope, RuleTarget, event::RecordEvent},
    };

    fn matches(decoys: &str, record: &str) -> bool {
        let policy = format!("version: 1\ndecoys: {decoys}\ngrants: []\n");
        let policy: AccessPolicy = policy.parse().unwrap();
        let rules = RuleSet::default().with_decoys(Some(&policy));
        assert_eq!(rules.len(), policy.decoys().count());
        let scope = EvalScope::finalized(RuleTarget::Record);
        rules.any_match(scope, &RecordEvent(&LazyDocument::new(record)))
    }

    fn record(service: &str, name: &str, more: &str) -> String {
        format!(
            r#"{{"eventSource":"{service}.amazonaws.com","eventName":"{name}",
            "recipientAccountId":"111122223333",{more}}}"#
        )
    }

    #[test]
    fn a_call_that_names_a_decoy_in_any_way_is_found() {
        let bait = r#"["arn:aws:secretsmanager:*:111122223333:secret:prod/bait-??????"]"#;
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/bait";
        let describe = |id: &str| {
            let id = format!(r#""requestParameters":{{"secretId":"{id}"}}"#);
            record("secretsmanager", "DescribeSecret", &id)
        };
        for (id, expected) in [
            ("prod/bait".to_owned(), true),
            (arn.to_owned(), true),
            (format!("{arn}-AbC123"), true),
            ("prod/bait2".to_owned(), false),
            ("prod/db".to_owned(), false),
        ] {
            assert_eq!(matches(bait, &describe(&id)), expected, "{id}");
        }
        let denied = |of: &str| {
            let text = format!(
                r#""requestParameters":null,"errorCode":"AccessDenied","errorMessage":"User: x is
                not authorized to perform: secretsmanager:DescribeSecret on resource: {of}""#
            );
            record("secretsmanager", "DescribeSecret", &text.replace('\n', " "))
        };
        assert!(matches(
            bait,
            &denied(&format!("{arn}-AbC123 because no policy"))
        ));
        assert!(matches(bait, &denied("prod/bait")));
        assert!(!matches(bait, &denied("prod/bait2 because no policy")));
        let names = r#""requestParameters":{"names":["/x","/bait"]}"#;
        let tagged = r#""requestParameters":{"resourceId":"/bait"}"#;
        let parameter = r#"["arn:aws:ssm:*:111122223333:parameter/bait"]"#;
        assert!(matches(
            parameter,
            &record("ssm", "UnlabelParameterVersion", names)
        ));
        assert!(matches(
            parameter,
            &record("ssm", "ListTagsForResource", tagged)
        ));
        // Reads and changes have rules of their own.
        let read = describe("prod/bait").replace("DescribeSecret", "GetSecretValue");
        assert!(!matches(bait, &read));
        let elsewhere = describe("prod/bait").replace("111122223333", "444455556666");
        assert!(!matches(bait, &elsewhere));
    }

    #[test]
    fn many_decoys_and_none_are_fine() {
        let many: Vec<String> = (0..100)
            .map(|n| format!("arn:aws:ssm:*:111122223333:parameter/bait{n}"))
            .collect();
        let last = r#""requestParameters":{"name":"/bait99"}"#;
        let describe = record("ssm", "UnlabelParameterVersion", last);
        assert!(matches(&json(&many), &describe));
        let none: AccessPolicy = "version: 1\ngrants: []\n".parse().unwrap();
        assert!(RuleSet::default().with_decoys(Some(&none)).is_empty());
    }
}
