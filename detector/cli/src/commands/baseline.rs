//! `baseline`: proposes an access policy from history.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use secretrail_engine::{
    baseline::{
        BaselineOptions, Omission, OmissionReason, PolicyProposal, ProposalText, propose_beside,
    },
    policy::AccessPolicy,
};

use crate::{
    args::{self, settings::RunSettings},
    host::{ProcessHost, RunFailure, say},
    input::{rules_and_policy, session::find},
    output::{ending::RunReading, json, out::OpenOutput, review, run_summary::close, target},
    text::{number, plural},
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::BaselineArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let mut settings = RunSettings::plain(&args.input, &args.destination, host)?;
    settings.also_written = also_written(args)?;
    let earlier = EarlierPolicy::of(args)?;
    let mut out = OpenOutput::open(&settings)?;
    // The rules run while it learns: what an alert names is held back, or an attack in the history
    // would be granted.
    let files = args::RuleFilesArgs {
        lists: args.lists.clone(),
        ..args::RuleFilesArgs::default()
    };
    let pack = rules_and_policy::rules(&files, host)?.set;
    let options = BaselineOptions {
        min_reads: args.min_reads,
        min_days: args.min_days,
        max_fold: args.max_fold,
        networks: pack.networks(),
        drafts_iam: args.draft_iam.is_some(),
    };
    let policy = earlier.as_ref().map(|earlier| &earlier.policy);
    let found = find(&settings, &pack, policy, host)?;
    let proposal = propose_beside(&found.alerts, &found.accesses, policy, options);
    let text = text(&proposal, earlier.as_ref())?;
    out.raw(&text.to_string())?;
    let is_nothing = RunReading::of(&found, &settings.selection).is_nothing();
    out.finish_reading(is_nothing, host)?;
    if !is_nothing {
        write_files(args, &proposal, &text)?;
    }
    let code = close(&settings, &found, started, None, host);
    // Below the run summary: a proposal is only as good as the logs behind it.
    if !settings.quiet && !is_nothing {
        say(host, &summary(&proposal));
    }
    Ok(code)
}

/// The files beside the proposal, by their options.
fn also_written(args: &args::BaselineArgs) -> Result<Vec<(&'static str, PathBuf)>, RunFailure> {
    let files = [("--draft-iam", &args.draft_iam), ("--review", &args.review)];
    let files = files.into_iter();
    let files = files.filter_map(|(option, path)| Some((option, path.clone()?)));
    let files: Vec<(&str, PathBuf)> = files.collect();
    // Standard output has the proposal, or nothing.
    match files.iter().find(|(_, path)| path == Path::new("-")) {
        Some((option, _)) => Err(RunFailure::Usage(format!(
            "{option} needs the name of a file"
        ))),
        None => Ok(files),
    }
}

/// Writes what was asked for beside the proposal: drafted IAM policies, and the page for a review.
fn write_files(
    args: &args::BaselineArgs,
    proposal: &PolicyProposal,
    text: &ProposalText,
) -> Result<(), RunFailure> {
    if let Some((path, drafts)) = args.draft_iam.as_ref().zip(proposal.iam.as_ref()) {
        target::write_file(path, json::pretty(drafts)?.as_bytes())?;
    }
    if let Some(path) = &args.review {
        target::write_file(path, review::page(proposal, text)?.as_bytes())?;
    }
    Ok(())
}

/// The policy of `--merge`.
struct EarlierPolicy {
    policy: AccessPolicy,
    /// Its text, whose comments and order are kept.
    text: String,
    /// Path of its file.
    name: String,
}

impl EarlierPolicy {
    /// Reads it; `None` without `--merge`.
    fn of(args: &args::BaselineArgs) -> Result<Option<Self>, RunFailure> {
        let Some(path) = &args.merge else {
            return Ok(None);
        };
        let (policy, text) = rules_and_policy::policy_and_text(path, &args.lists)?;
        Ok(Some(Self {
            policy,
            text,
            name: path.display().to_string(),
        }))
    }
}

/// The proposal as YAML, appended to the text of the earlier policy.
fn text(
    proposal: &PolicyProposal,
    earlier: Option<&EarlierPolicy>,
) -> Result<ProposalText, RunFailure> {
    let text = proposal.text(earlier.map(|earlier| earlier.text.as_str()));
    text.map_err(|error| {
        let name = earlier.map_or("", |earlier| &earlier.name);
        RunFailure::Rules(format!("{name}: {error}"))
    })
}

/// Accesses omitted for one reason, and their principals.
#[derive(Default)]
struct LeftOutCount {
    accesses: u64,
    principals: usize,
}

fn summary(proposal: &PolicyProposal) -> String {
    let expected = match proposal.expected {
        0 => String::new(),
        n => format!(", {} already covered", plural(n, "access")),
    };
    let grants = number(proposal.grants.len() as u64);
    let learned = plural(proposal.learned, "access");
    let mut text = format!("  grants         {grants} from {learned}{expected}\n");
    for (why, count) in by_reason(&proposal.left_out) {
        let (why, accesses) = (why.as_str(), plural(count.accesses, "access"));
        let principals = plural(count.principals as u64, "principal");
        writeln!(text, "  omitted        {accesses} by {principals}: {why}").ok();
    }
    text
}

fn by_reason(left_out: &[Omission]) -> BTreeMap<OmissionReason, LeftOutCount> {
    let mut by_reason: BTreeMap<OmissionReason, LeftOutCount> = BTreeMap::new();
    // An omission is about one principal and one reason.
    for omission in left_out {
        let count = by_reason.entry(omission.why).or_default();
        count.accesses += omission.accesses;
        count.principals += 1;
    }
    by_reason
}

#[cfg(test)]
mod tests {
    use secretrail_engine::time::EventTime;
    use serde_json::json;

    use super::*;
    use crate::{
        commands::tests::{LOGS, POLICY, ran},
        exit,
    };

    fn omission(why: OmissionReason, principal: &str, accesses: u64) -> Omission {
        Omission {
            why,
            principal: principal.into(),
            accesses,
            secrets: 1,
            first: EventTime(0),
            alerts: Vec::new(),
        }
    }

    #[test]
    fn omissions_are_counted_by_reason() {
        let proposal = PolicyProposal {
            left_out: vec![
                omission(OmissionReason::Root, "root", 1),
                omission(OmissionReason::Denied, "a", 2),
                omission(OmissionReason::Denied, "b", 3),
            ],
            learned: 7,
            ..PolicyProposal::default()
        };
        assert_eq!(
            summary(&proposal),
            "  grants         0 from 7 accesses\n  \
             omitted        5 accesses by 2 principals: denied\n  \
             omitted        1 access by 1 principal: read by the root user\n"
        );
        let expected = PolicyProposal {
            expected: 4,
            ..PolicyProposal::default()
        };
        assert!(summary(&expected).ends_with(", 4 accesses already covered\n"));
    }

    #[test]
    fn what_is_proposed_is_a_policy_that_expects_what_it_was_learned_from() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        let file = file.to_str().unwrap();
        let first = ran(&["baseline", LOGS, "-o", file]);
        assert_eq!((first.code, first.out.as_str()), (exit::DONE, ""));
        assert!(first.err.contains("  grants  ") && first.err.contains("  omitted  "));
        let again = ran(&["baseline", LOGS, "--merge", file]);
        assert!(again.err.contains("  grants         0 from 0 accesses, "));
    }

    #[test]
    fn the_text_of_an_earlier_policy_is_kept() {
        let earlier = std::fs::read_to_string(POLICY).unwrap();
        let merged = ran(&["baseline", LOGS, "--merge", POLICY, "-q"]);
        let comment = earlier.lines().next().unwrap();
        assert!(comment.starts_with('#') && merged.out.contains(comment));
        let without_name = ran(&["baseline", LOGS, "--review", "-"]);
        assert_eq!(without_name.code, exit::USAGE, "{}", without_name.err);
        let gone = ran(&["baseline", LOGS, "--merge", "/nowhere"]);
        assert_eq!((gone.code, gone.out.as_str()), (exit::RULES, ""));
    }

    #[test]
    fn a_merge_proposes_nothing_that_an_alert_names_today() {
        let folder = tempfile::tempdir().unwrap();
        let record = |day: usize, minute: usize, ip: &str| {
            json!({
                "eventSource": "secretsmanager.amazonaws.com", "eventName": "GetSecretValue",
                "eventTime": format!("2026-03-0{day}T10:{minute:02}:00Z"),
                "eventID": format!("e{day}-{minute}"),
                "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
                "sourceIPAddress": ip, "userAgent": "Boto3/1.35.90",
                "userIdentity": {
                    "type": "AssumedRole", "accountId": "111122223333",
                    "arn": "arn:aws:sts::111122223333:assumed-role/payments-app/i-0a1b2c3d4e5f60718",
                },
                "requestParameters": {"secretId": "prod/payments/db"},
            })
        };
        // The rule raises one alert a day at most, so that none names some of these reads.
        let own = (1..8).map(|day| record(day, 0, "10.20.0.31"));
        let strange =
            (2..7).flat_map(|day| [10, 20].map(|minute| record(day, minute, "10.99.7.5")));
        let records: Vec<_> = own.chain(strange).collect();
        let (log, old) = (folder.path().join("l.json"), folder.path().join("old.yaml"));
        std::fs::write(&log, json!({"Records": records}).to_string()).unwrap();
        let grant = json!({
            "secrets": ["arn:aws:secretsmanager:*:111122223333:secret:prod/payments/*"],
            "principals": ["arn:aws:iam::111122223333:role/payments-*"],
            "sources": ["10.20.0.0/24"],
        });
        let policy = json!({"version": 1, "grants": [grant]});
        std::fs::write(&old, policy.to_string()).unwrap();
        let paths = [&log, &old].map(|path| path.to_str().unwrap());
        let merged = ran(&["baseline", paths[0], "--merge", paths[1], "-q"]);
        assert_eq!(merged.code, exit::DONE, "{}", merged.err);
        assert!(
            !merged.out.contains("role/payments-app\"]"),
            "{}",
            merged.out
        );
        assert!(
            merged.out.contains("10 accesses to 1 secrets"),
            "{}",
            merged.out
        );
    }
}
