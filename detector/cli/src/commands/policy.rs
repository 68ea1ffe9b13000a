//! `policy`: who may read a secret and by which grant, which grants are not needed, and what
//! another policy changes.

mod pattern;

use std::{collections::BTreeSet, fmt::Write as _, time::Instant};

use secretrail_engine::{
    access::Access,
    ids::{ArnParts, RecordHome, SecretRef},
    limits::DAY_SECS,
    policy::{
        AccessPolicy, PolicyVerdict,
        review::{GrantText, GrantUse, PolicyAnswer, PolicyChange},
    },
    principal::role_of_session,
    rule::RuleSet,
    sanitize,
    time::EventTime,
};

use crate::{
    args::{
        policy::{PolicyCommand, PolicyDiffArgs, PolicyExplainArgs, PolicyLintArgs},
        settings::RunSettings,
    },
    exit,
    host::{ProcessHost, RunFailure, print},
    input::{rules_and_policy, session::find},
    output::{ending::RunReading, out::OpenOutput, run_summary::close},
    text::{number, plural},
};

/// Runs one of the commands and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(command: &PolicyCommand, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        PolicyCommand::Explain(args) => explain(args, host),
        PolicyCommand::Lint(args) => lint(args, host),
        PolicyCommand::Diff(args) => diff(args, host),
        PolicyCommand::Pattern(args) => pattern::run(args, host),
    }
}

fn explain(args: &PolicyExplainArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let (policy, _) = rules_and_policy::policy_text(&args.policy)?;
    let policy = policy.strict(args.strict);
    let secret = secret(&args.secret)?;
    let role = role_of_session(&args.principal);
    let ids = [Some(&*args.principal), role.as_deref()].into_iter();
    let ids = ids.chain([role_of_person(&args.principal)]).flatten();
    let ids: Vec<&str> = ids.collect();
    let answer = policy.answer(&secret, &ids);
    print(host, &explanation(args, &answer))?;
    Ok(match is_expected(args, &answer) {
        true if !answer.is_decoy => exit::DONE,
        _ => exit::FINDINGS,
    })
}

/// The role in the id of a person as alerts show it: `…:role/…/AWSReservedSSO_…/ann@example.com`.
fn role_of_person(id: &str) -> Option<&str> {
    let (role, person) = id.rsplit_once('/')?;
    let is_role = role.contains("/AWSReservedSSO_") || person.contains('@');
    (role.contains(":role/") && is_role).then_some(role)
}

/// Whether it is a person who has this ARN, as far as it shows that.
fn is_person(arn: &str) -> bool {
    let marks = [":user/", ":federated-user/", "/AWSReservedSSO_", "@"];
    marks.iter().any(|mark| arn.contains(mark))
}

/// What `people` says of reads by hand, at least at some time: it decides alone. `None` for
/// software, and where it does not cover the secret.
fn by_hand(args: &PolicyExplainArgs, answer: &PolicyAnswer) -> Option<bool> {
    let decides = is_person(&args.principal) && !answer.people.is_empty();
    decides.then(|| answer.people.iter().any(|entry| entry.names))
}

/// Whether reads are expected, at least at some time.
fn is_expected(args: &PolicyExplainArgs, answer: &PolicyAnswer) -> bool {
    by_hand(args, answer).unwrap_or(answer.verdict == PolicyVerdict::Yes)
}

/// The secret or parameter of an ARN.
fn secret(arn: &str) -> Result<SecretRef, RunFailure> {
    let wrong = || {
        RunFailure::Usage(format!(
            "{}: not the ARN of a secret or parameter; write one, as in \
             arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db",
            sanitize::line(arn)
        ))
    };
    let parts = ArnParts::parse(arn).ok_or_else(wrong)?;
    let home = RecordHome {
        partition: parts.partition,
        account: parts.account,
        region: parts.region,
    };
    match parts.service {
        "secretsmanager" if parts.resource.starts_with("secret:") => {
            Ok(SecretRef::secret(arn, home))
        }
        "ssm" if parts.resource.starts_with("parameter/") => Ok(SecretRef::parameter(arn, home)),
        _ => Err(wrong()),
    }
}

fn explanation(args: &PolicyExplainArgs, answer: &PolicyAnswer) -> String {
    let grants = answer.covering.iter();
    let mut text = format!(
        "secret     {}\nprincipal  {}\nexpected   {}\n",
        sanitize::line(&args.secret),
        sanitize::line(&args.principal),
        verdict(args, answer)
    );
    if answer.is_decoy {
        text.push_str("decoy      any call that names it is a critical alert\n");
    }
    if !is_expected(args, answer) && args.principal.contains(":assumed-role/") {
        text.push_str("note       a session does not show the path of its role; if the role has\n");
        text.push_str("           one, ask with the ARN of the role\n");
    }
    for entry in &answer.people {
        let whom = if entry.names { "this one" } else { "others" };
        writeln!(text, "by hand    {whom}: {}", sanitize::line(&entry.text)).ok();
    }
    for grant in grants {
        let whom = match (grant.names, grant.allows_region) {
            (true, true) => "names the principal",
            (true, false) => "names the principal, in other regions",
            (false, _) => "names others",
        };
        let number = grant.text.number;
        writeln!(text, "\ngrant {number} {whom}{}", entries(&grant.text)).ok();
    }
    text
}

fn verdict(args: &PolicyExplainArgs, answer: &PolicyAnswer) -> String {
    if let Some(is_named) = by_hand(args, answer) {
        return match is_named {
            true => "yes, by hand, at the times that `people` names".to_owned(),
            false => "no: `people` covers the secret, and does not name this person".to_owned(),
        };
    }
    let naming = answer.covering.iter().filter(|grant| grant.names);
    let allowing = naming.clone().filter(|grant| grant.allows_region);
    let allowing: Vec<String> = allowing
        .map(|grant| grant.text.number.to_string())
        .collect();
    match answer.verdict {
        PolicyVerdict::Yes => format!("yes, by grant {}", allowing.join(", ")),
        PolicyVerdict::Undeclared => {
            "undeclared: no grant covers the secret; with --strict that is no".to_owned()
        }
        PolicyVerdict::No if answer.covering.is_empty() => {
            "no: no grant covers the secret (--strict)".to_owned()
        }
        PolicyVerdict::No if naming.count() > 0 => {
            "no: the grants that name the principal allow other regions only".to_owned()
        }
        PolicyVerdict::No => "no: grants cover the secret, and none names the principal".to_owned(),
    }
}

/// The lists of a grant, a line for each entry, each after a line break.
fn entries(grant: &GrantText) -> String {
    let mut text = String::new();
    for (name, entries) in &grant.entries {
        if entries.is_empty() && *name == "principals" {
            write!(text, "\n  {name:<17}  nobody").ok();
        }
        for entry in entries {
            write!(text, "\n  {name:<17}  {}", sanitize::line(entry)).ok();
        }
    }
    text
}

/// A grant with its lists.
fn whole(grant: &GrantText) -> String {
    format!("grant {}{}", grant.number, entries(grant))
}

fn lint(args: &PolicyLintArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = RunSettings::plain(&args.input, &args.destination, host)?;
    let (policy, _) = rules_and_policy::policy_and_text(&args.policy, &args.lists)?;
    let mut out = OpenOutput::open(&settings)?;
    let found = find(&settings, &RuleSet::default(), Some(&policy), host)?;
    let accesses = found.accesses.iter().map(|access| &**access);
    let report = lint_report(&policy, accesses, args);
    out.raw(&report.text)?;
    let is_nothing = RunReading::of(&found, &settings.selection).is_nothing();
    out.finish_reading(is_nothing, host)?;
    let code = close(&settings, &found, started, None, host);
    let findings = report.findings > 0 && !is_nothing;
    Ok(code.max(if findings { exit::FINDINGS } else { exit::DONE }))
}

/// What is said of the grants of a policy.
struct LintReport {
    text: String,
    findings: usize,
}

fn lint_report<'a>(
    policy: &AccessPolicy,
    accesses: impl Iterator<Item = &'a Access> + Clone,
    args: &PolicyLintArgs,
) -> LintReport {
    let end = accesses.clone().map(|access| access.head.time).max();
    let uses = policy.uses(accesses);
    let mut text = String::new();
    let mut findings = 0;
    for (grant, one) in policy.grant_texts().zip(&uses) {
        // What nobody may read is not used, as it should be.
        let is_for_nobody = grant
            .entries
            .get("principals")
            .is_some_and(BTreeSet::is_empty);
        let faults = match is_for_nobody {
            true => Vec::new(),
            false => faults(one, end, args),
        };
        if faults.is_empty() {
            continue;
        }
        findings += faults.len();
        writeln!(text, "{}", title(&grant)).ok();
        for fault in faults {
            writeln!(text, "  {fault}").ok();
        }
    }
    let grants = plural(uses.len() as u64, "grant");
    let found = plural(findings as u64, "finding");
    writeln!(text, "{grants}, {found}").ok();
    LintReport { text, findings }
}

fn faults(one: &GrantUse, end: Option<EventTime>, args: &PolicyLintArgs) -> Vec<String> {
    let mut faults = Vec::new();
    match one.last.zip(end) {
        None => faults.push("not used in these logs".to_owned()),
        Some((last, end)) if end.0 - last.0 > i64::from(args.days) * DAY_SECS => {
            let days = (end.0 - last.0) / DAY_SECS;
            faults.push(format!("last used {last}, {days} days before the logs end"));
        }
        Some(_) => {}
    }
    // Far below the integers that a float cannot hold.
    #[expect(clippy::cast_precision_loss, reason = "numbers of pairs")]
    let (granted, pairs) = (one.granted as f64, one.pairs as f64);
    if one.pairs > 0 && granted > pairs * args.max_fold {
        faults.push(format!(
            "covers {} pairs of principal and secret seen here, {} of them read ({:.1} for each)",
            number(one.granted as u64),
            number(one.pairs as u64),
            granted / pairs
        ));
    }
    if let Some(other) = one.covered_by {
        faults.push(format!("grant {other} allows all that was read by it"));
    }
    faults
}

/// A grant in two lines: the first of its secrets and principals.
fn title(grant: &GrantText) -> String {
    format!(
        "grant {}: {}\n  for {}",
        grant.number,
        first(grant, "secrets"),
        first(grant, "principals")
    )
}

/// The first entry of a list, and how many more there are.
fn first(grant: &GrantText, list: &str) -> String {
    let entries = grant.entries.get(list);
    let first = entries.and_then(|entries| entries.first());
    let first = sanitize::line(first.map_or("nobody", String::as_str));
    match entries.map_or(0, |entries| entries.len().saturating_sub(1)) {
        0 => first.into_owned(),
        more => format!("{first} and {more} more"),
    }
}

fn diff(args: &PolicyDiffArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let (old, _) = rules_and_policy::policy_text(&args.old)?;
    let (new, _) = rules_and_policy::policy_text(&args.new)?;
    let changes = old.changes(&new);
    let mut text = String::new();
    for change in &changes {
        match change {
            PolicyChange::Added(grant) => writeln!(text, "+ {}", whole(grant)).ok(),
            PolicyChange::Removed(grant) => writeln!(text, "- {}", whole(grant)).ok(),
            PolicyChange::Changed { from, to } => {
                writeln!(text, "~ {}{}", title(to), entries_changed(from, to)).ok()
            }
            PolicyChange::Entry {
                list,
                entry,
                is_added,
            } => {
                let mark = if *is_added { '+' } else { '-' };
                writeln!(text, "{mark} {list}: {}", sanitize::line(entry)).ok()
            }
        };
    }
    if changes.is_empty() {
        text.push_str("no differences\n");
    }
    print(host, &text)?;
    Ok(if changes.is_empty() {
        exit::DONE
    } else {
        exit::FINDINGS
    })
}

/// The lists of a grant that differ, a line for each entry.
fn entries_changed(from: &GrantText, to: &GrantText) -> String {
    let mut text = String::new();
    for name in [
        "secrets",
        "principals",
        "regions",
        "sources",
        "keys",
        "baseline_per_hour",
    ] {
        let (old, new) = (from.entries.get(name), to.entries.get(name));
        for (mark, these, those) in [('-', old, new), ('+', new, old)] {
            let Some(these) = these else {
                if those.is_some() {
                    write!(text, "\n  {mark} {name}: any").ok();
                }
                continue;
            };
            for entry in these
                .iter()
                .filter(|one| those.is_none_or(|all| !all.contains(*one)))
            {
                write!(text, "\n  {mark} {name}: {}", sanitize::line(entry)).ok();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::commands::tests::{LOGS, POLICY, ran};

    fn at(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db";

    const GRANTS: &str = "version: 1
grants:
  - secrets: [\"arn:aws:secretsmanager:*:111122223333:secret:prod/*\"]
    principals: [\"arn:aws:iam::111122223333:role/app\"]
    regions: [eu-west-1]
";

    #[test]
    fn a_session_may_what_its_role_may() {
        let folder = tempfile::tempdir().unwrap();
        let policy = at(&folder, "p.yaml", GRANTS);
        let of = |principal: &str, secret: &str| {
            ran(&["policy", "explain", principal, secret, "--policy", &policy])
        };
        for who in [
            "arn:aws:iam::111122223333:role/app",
            "arn:aws:sts::111122223333:assumed-role/app/s1",
        ] {
            let run = of(who, SECRET);
            assert_eq!(run.code, 0, "{}", run.err);
            assert!(run.out.contains("yes, by grant 1"), "{}", run.out);
            assert!(
                run.out.contains("regions            eu-west-1"),
                "{}",
                run.out
            );
        }
        let run = of("arn:aws:iam::111122223333:role/other", SECRET);
        assert_eq!(run.code, 1);
        assert!(run.out.contains("none names the principal"), "{}", run.out);
        let hours = "people:\n  - principals: [\"arn:aws:iam::111122223333:role/aws-reserved/*/AWSReservedSSO_OnCall_*\"]\n    \
            secrets: [\"*\"]\n    hours: \"08:00-18:00\"\ngrants:\n";
        let policy = at(&folder, "hours.yaml", &GRANTS.replace("grants:\n", hours));
        let by_hand =
            |principal: &str| ran(&["policy", "explain", principal, SECRET, "--policy", &policy]);
        let sso = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO";
        for (who, code, words) in [
            (
                &*format!("{sso}_OnCall_01/ann@example.com"),
                0,
                "at 08:00-18:00 UTC",
            ),
            (&*format!("{sso}_OnCall_01"), 0, "yes, by hand"),
            (
                &*format!("{sso}_Developer_01"),
                1,
                "does not name this person",
            ),
            (
                "arn:aws:iam::111122223333:user/ann",
                1,
                "by hand    others: ",
            ),
            ("arn:aws:iam::111122223333:role/app", 0, "yes, by grant 1"),
            (
                "arn:aws:iam::111122223333:role/other",
                1,
                "none names the principal",
            ),
        ] {
            let run = by_hand(who);
            assert!(
                run.code == code && run.out.contains(words),
                "{who}: {}",
                run.out
            );
        }
        let other = SECRET.replace("prod/", "dev/");
        let run = of("arn:aws:iam::111122223333:role/app", &other);
        assert!(run.out.contains("undeclared"), "{}", run.out);
        let run = of("arn:aws:iam::111122223333:role/app", "prod/db");
        assert_eq!(run.code, 64);
        assert!(run.err.contains("prod/db: not the ARN"), "{}", run.err);
    }

    #[test]
    fn grants_that_are_not_needed_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let policy = at(&folder, "p.yaml", GRANTS);
        let run = ran(&["policy", "lint", LOGS, "--policy", &policy, "-q"]);
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.out.contains("not used in these logs"), "{}", run.out);
        assert!(run.out.ends_with("1 grant, 1 finding\n"), "{}", run.out);
        let everything = "version: 1
grants:
  - secrets: [\"*\"]
    principals: [\"*\"]
  - secrets: [\"*\"]
    principals: [\"arn:*\"]
";
        let policy = at(&folder, "all.yaml", everything);
        let run = ran(&["policy", "lint", LOGS, "--policy", &policy, "-q"]);
        assert!(run.out.contains("for each)"), "{}", run.out);
        assert!(run.out.contains("allows all that was read"), "{}", run.out);
        let run = ran(&["policy", "lint", LOGS, "--policy", POLICY, "-q"]);
        assert!(run.out.contains("grants, "), "{}", run.out);
        let empty = tempfile::tempdir().unwrap();
        let nothing = empty.path().display().to_string();
        let run = ran(&["policy", "lint", &nothing, "--policy", &policy, "-q"]);
        assert_eq!(run.code, 3, "{}", run.out);
    }

    #[test]
    fn a_difference_is_shown_entry_by_entry() {
        let folder = tempfile::tempdir().unwrap();
        let old = at(&folder, "old.yaml", GRANTS);
        let new = at(
            &folder,
            "new.yaml",
            &GRANTS.replace("[eu-west-1]", "[eu-west-2]"),
        );
        let run = ran(&["policy", "diff", &old, &old]);
        assert_eq!((run.code, &*run.out), (0, "no differences\n"));
        let run = ran(&["policy", "diff", &old, &new]);
        assert_eq!(run.code, 1);
        for line in [
            "~ grant 1: ",
            "\n  - regions: eu-west-1\n",
            "\n  + regions: eu-west-2\n",
        ] {
            assert!(run.out.contains(line), "{line}: {}", run.out);
        }
        let none = at(&folder, "none.yaml", "version: 1\ngrants: []\n");
        let run = ran(&["policy", "diff", &old, &none]);
        assert!(run.out.starts_with("- grant 1\n"), "{}", run.out);
        assert!(run.out.contains("role/app"), "{}", run.out);
        let run = ran(&["policy", "diff", &old, "/no/such.yaml"]);
        assert_eq!(run.code, 2, "{}", run.err);
    }
}
