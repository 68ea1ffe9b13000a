//! The `accesses` command: the ledger, one line for each access to a secret.

use std::time::Instant;

use secretrail_engine::rule::RuleSet;

use crate::args::settings::RunSettings;
use crate::args::{self, OutputFormat};
use crate::host::{ProcessHost, RunFailure};
use crate::input::merge;
use crate::input::session::{OpenedInput, SessionResult, find_in};
use crate::output::out::OpenOutput;
use crate::output::run_summary::close;

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::AccessesArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = RunSettings::new(&args.input, &args.output, host)?;
    // Parquet is no form of rows, but the ledger has it.
    if settings.format != OutputFormat::Parquet {
        settings.must_be_rows("accesses")?;
    }
    let mut out = OpenOutput::open(&settings)?;
    let found = write_ledger(&settings, &mut out, host)?;
    out.finish(host)?;
    let code = close(&settings, &found, started, None, host);
    // The process is about to end: giving back millions of pieces of memory one by one would only
    // delay it.
    std::mem::forget(found);
    Ok(code)
}

/// Reads everything and writes the accesses: of parts slice by slice, so that what is held does not
/// grow with the history.
fn write_ledger(
    settings: &RunSettings,
    out: &mut OpenOutput<'_>,
    host: &mut ProcessHost,
) -> Result<SessionResult, RunFailure> {
    // Without rules: a rule can add nothing to the ledger, and would only cost time.
    let (rules, opened) = (RuleSet::default(), OpenedInput::new(settings)?);
    if merge::fits(&opened, settings) {
        return merge::run(opened, settings, &rules, None, host.now, &mut |outcome| {
            out.accesses(&outcome.accesses)?;
            out.pass_on(host)
        });
    }
    let found = find_in(opened, settings, &rules, None, host)?;
    out.accesses(&found.accesses)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::commands::tests::{LOGS, READ, ran, ran_with};
    use crate::exit;

    #[test]
    fn parts_give_the_same_ledger_as_their_logs() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().to_str().unwrap();
        let made = ran(&["extract", LOGS, "-o", parts, "--part-size", "8K", "-q"]);
        assert_eq!(made.code, exit::DONE, "{}", made.err);
        // Parts in these forms go through slice by slice; as a table, they are read at once.
        for format in ["jsonl", "csv", "table"] {
            let of_logs = ran(&["accesses", LOGS, "-f", format, "-q"]);
            let of_parts = ran(&["accesses", parts, "-f", format, "-q"]);
            assert!(of_logs.out.lines().count() > 100);
            assert!(of_logs.out == of_parts.out, "{format}");
        }
    }

    #[test]
    fn the_ledger_has_no_form_of_alerts() {
        for format in ["ocsf", "html"] {
            let refused = ran(&["accesses", LOGS, "-f", format]);
            assert_eq!((refused.code, refused.out.as_str()), (exit::USAGE, ""));
            assert!(refused.err.starts_with("accesses has no such form"));
        }
    }

    #[test]
    fn an_access_is_told_although_no_rule_is_loaded_for_it() {
        let ledger = ran_with(&["accesses", "-", "-f", "jsonl", "-q"], READ);
        assert_eq!((ledger.code, ledger.out.lines().count()), (exit::DONE, 1));
        assert!(ledger.out.contains(r#""name":"prod/db""#), "{}", ledger.out);
    }
}
