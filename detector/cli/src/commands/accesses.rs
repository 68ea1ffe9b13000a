//! `accesses`: the ledger, one line for each access to a secret.

use std::time::Instant;

use secretrail_engine::rule::RuleSet;

use crate::{
    args::{self, OutputFormat, settings::RunSettings},
    host::{ProcessHost, RunFailure},
    input::{
        rules_and_policy,
        session::{self, EvaluationTask, OpenedInput},
    },
    output::{ending::RunReading, out::OpenOutput, run_summary::close},
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::AccessesArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = RunSettings::new(&args.input, &args.output, host)?;
    // The ledger supports Parquet beside the formats of rows.
    if settings.format != OutputFormat::Parquet {
        settings.must_be_rows("accesses")?;
    }
    let mut out = OpenOutput::open(&settings)?;
    // Without rules: they add nothing to the ledger and cost time.
    let rules = RuleSet::default().with_geo(rules_and_policy::geo(&args.geo)?);
    let task = EvaluationTask::new(&settings, &rules, None);
    let opened = OpenedInput::new(&settings)?;
    let found = session::run(opened, task, host, &mut |outcome, host| {
        out.accesses(&outcome.accesses)?;
        out.pass_on(host)
    })?;
    let is_nothing = RunReading::of(&found, &settings.selection).is_nothing();
    out.finish_reading(is_nothing, host)?;
    Ok(close(&settings, &found, started, None, host))
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::tests::{LOGS, READ, ran, ran_with},
        exit,
    };

    #[test]
    fn extract_files_give_the_same_ledger_as_their_logs() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().to_str().unwrap();
        let made = ran(&["extract", LOGS, "-o", parts, "--part-size", "8K", "-q"]);
        assert_eq!(made.code, exit::DONE, "{}", made.err);
        for format in ["jsonl", "csv", "table"] {
            let of_logs = ran(&["accesses", LOGS, "-f", format, "-q"]);
            let of_parts = ran(&["accesses", parts, "-f", format, "-q"]);
            assert!(of_logs.out.lines().count() > 100);
            assert!(of_logs.out == of_parts.out, "{format}");
        }
    }

    #[test]
    fn the_ledger_does_not_support_the_formats_of_alerts() {
        for format in ["ocsf", "html"] {
            let refused = ran(&["accesses", LOGS, "-f", format]);
            assert_eq!((refused.code, refused.out.as_str()), (exit::USAGE, ""));
            assert!(
                refused
                    .err
                    .starts_with("accesses does not support this format")
            );
        }
    }

    #[test]
    fn an_access_is_listed_although_no_rule_is_loaded_for_it() {
        let ledger = ran_with(&["accesses", "-", "-f", "jsonl", "-q"], READ);
        assert_eq!((ledger.code, ledger.out.lines().count()), (exit::DONE, 1));
        assert!(ledger.out.contains(r#""name":"prod/db""#), "{}", ledger.out);
    }
}
