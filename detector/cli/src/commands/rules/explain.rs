//! `rules explain`: why a rule fires or not for the records in a file, selection by selection.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::Path,
};

use secretrail_engine::{
    authoring::explain::{EventTrace, ExplainError, ExplainLine, Explanation, explain},
    sanitize,
};

use crate::{
    args::{RulesExplainArgs, path::is_stdin},
    exit,
    host::{ProcessHost, RunFailure, print},
    input::rules_and_policy,
};

pub(super) fn run(args: &RulesExplainArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let loaded = rules_and_policy::rules(&args.files, host)?;
    let policy = rules_and_policy::policy(&args.policy, loaded.set.networks())?;
    let name = args.events.display();
    let bytes = bytes(&args.events, &mut *host.stdin)
        .map_err(|error| RunFailure::Input(format!("{name}: {error}")))?;
    let explained = pollster::block_on(explain(&loaded.set, &args.rule, &bytes, policy.as_ref()));
    // An unknown rule is a usage error; anything else is an error of the file.
    let explanation = explained.map_err(|trouble| match trouble {
        ExplainError::NoSuchRule(_) => RunFailure::Usage(trouble.to_string()),
        ExplainError::Unreadable(_) | ExplainError::NoRecords | ExplainError::State(_) => {
            RunFailure::Input(format!("{name}: {trouble}"))
        }
    })?;
    print(host, &text(&explanation))?;
    Ok(exit::DONE)
}

fn bytes(path: &Path, stdin: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_stdin(path) {
        stdin.read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn text(explanation: &Explanation) -> String {
    let verdict = if explanation.fires {
        "fires"
    } else {
        "stays quiet"
    };
    let title = sanitize::line(&explanation.rule.title);
    let mut out = format!("{title}: {verdict}\n");
    for event in &explanation.events {
        push_event(event, &mut out);
    }
    if !explanation.groups.is_empty() {
        out.push_str("\nGroups:\n");
    }
    for group in &explanation.groups {
        let mark = yes_or_no(group.fired);
        let (name, count) = (sanitize::line(&group.group), sanitize::line(&group.count));
        writeln!(out, "  {mark} {name}: {count}").ok();
    }
    if explanation.events.is_empty() {
        out.push_str("\nNo record matches the logsource of the rule.\n");
    }
    out
}

fn push_event(trace: &EventTrace, out: &mut String) {
    let EventTrace {
        rule,
        event,
        matched,
        lines,
    } = trace;
    // Only a correlation has several rules, and only then the rule is named.
    let asked = if rule.is_empty() {
        String::new()
    } else {
        format!(" by {rule}")
    };
    let mark = if *matched { "matched" } else { "not matched" };
    let (event, asked) = (sanitize::line(event), sanitize::line(&asked));
    writeln!(out, "\n{event}: {mark}{asked}").ok();
    for ExplainLine { depth, holds, text } in lines {
        let (mark, indent) = (yes_or_no(*holds), "  ".repeat(*depth));
        writeln!(out, "  {mark} {indent}{}", sanitize::line(text)).ok();
    }
}

/// `yes` or `no`, padded to equal width.
fn yes_or_no(holds: bool) -> &'static str {
    if holds { "yes" } else { "no " }
}

#[cfg(test)]
mod tests {
    use secretrail_engine::authoring::explain::GroupTrace;

    use super::*;
    use crate::commands::tests::{READ, ran, ran_with, rule};

    fn explanation(events: Vec<EventTrace>, groups: Vec<GroupTrace>) -> Explanation {
        Explanation {
            rule: rule("r", "A rule"),
            fires: true,
            events,
            groups,
        }
    }

    #[test]
    fn selections_are_listed_below_each_event_and_text_from_logs_is_sanitised() {
        let event = EventTrace {
            rule: "Reads".to_owned(),
            event: "GetSecretValue \u{1b}[2J".to_owned(),
            matched: false,
            lines: vec![ExplainLine {
                depth: 1,
                holds: true,
                text: "selection read".to_owned(),
            }],
        };
        let group = GroupTrace {
            group: "principal.arn = kim".to_owned(),
            fired: false,
            count: "2 of 20".to_owned(),
        };
        let text = text(&explanation(vec![event], vec![group]));
        assert!(text.starts_with("A rule: fires\n\nGetSecretValue "));
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains(": not matched by Reads\n  yes   selection read\n"));
        assert!(text.ends_with("\nGroups:\n  no  principal.arn = kim: 2 of 20\n"));
    }

    #[test]
    fn a_rule_that_sees_nothing_says_why() {
        let text = text(&explanation(Vec::new(), Vec::new()));
        assert!(text.ends_with("\nNo record matches the logsource of the rule.\n"));
    }

    #[test]
    fn a_wrong_name_is_misuse_and_a_wrong_file_is_bad_input() {
        let unknown = ran_with(&["rules", "explain", "no such", "-"], READ);
        assert_eq!(unknown.code, exit::USAGE);
        assert!(unknown.err.starts_with("there is no rule `no such`"));
        let gone = ran(&["rules", "explain", "bulk-read", "/nowhere"]);
        assert_eq!(gone.code, exit::INPUT);
        assert!(gone.err.starts_with("/nowhere: No such file"));
    }
}
