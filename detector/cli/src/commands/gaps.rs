//! The `gaps` command: whether the logs can be trusted, by account, region and time.

use std::time::Instant;

use crate::args::settings::{Settings, only_rows};
use crate::args::{self, Format};
use crate::host::{Failure, Host};
use crate::input::rules_and_policy;
use crate::input::session::find;
use crate::output::gaps::{Line, lines};
use crate::output::out::Out;
use crate::output::run_summary::close;
use crate::output::{csv, table};

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Gaps, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let settings = Settings::new(&args.input, &args.output, host)?;
    settings.must_be_rows("gaps")?;
    let pack = rules_and_policy::rules(&args::RuleFiles::default())?.set;
    let mut out = Out::open(&settings)?;
    let found = find(&settings, &pack, None, host)?;
    let lines = lines(&found);
    write(&lines, settings.format, &mut out)?;
    out.finish(host)?;
    Ok(close(&settings, &found, started, None, host))
}

fn write(lines: &[Line], format: Format, out: &mut Out<'_>) -> Result<(), Failure> {
    match format {
        Format::Table if lines.is_empty() => out.raw("no gaps\n"),
        Format::Table => {
            let rows: Vec<[String; 5]> = lines
                .iter()
                .map(|l| {
                    [
                        l.account.clone(),
                        l.region.clone(),
                        l.from.to_string(),
                        l.to.to_string(),
                        l.what.clone(),
                    ]
                })
                .collect();
            out.raw(&table::columns(
                ["ACCOUNT", "REGION", "FROM", "TO", "MISSING"],
                &rows,
            ))
        }
        Format::Json | Format::Jsonl => {
            let value = |line: &Line| {
                serde_json::json!({"schema": "secretrail.gap/1", "account": line.account, "region": line.region,
                    "from": line.from.to_string(), "to": line.to.to_string(), "kind": line.kind, "what": line.what})
            };
            out.values(&lines.iter().map(value).collect::<Vec<_>>())
        }
        Format::Ocsf | Format::Html | Format::Parquet => Err(only_rows("gaps")),
        Format::Csv => {
            let row = |l: &Line| {
                [
                    &l.account,
                    &l.region,
                    &l.from.to_string(),
                    &l.to.to_string(),
                    l.kind,
                    &l.what,
                ]
                .map(str::to_owned)
            };
            let header = ["account", "region", "from", "to", "kind", "what"];
            out.raw(&csv::rows(header, lines.iter().map(row))?)
        }
    }
}
