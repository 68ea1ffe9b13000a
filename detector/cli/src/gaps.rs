//! The `gaps` command: whether the logs can be trusted, by account, region and time.

use std::time::Instant;

use secretrail_engine::alert::Alert;
use secretrail_engine::gaps::{self, Gap, Missing};
use secretrail_engine::time::EventTime;

use crate::args::{self, Format};
use crate::output::{self, Out, csv, table};
use crate::settings::Settings;
use crate::{Failure, Found, Host, close, find, load};

/// Rules of the pack that tell of blinded trails.
const BLINDED: [&str; 3] = [
    "rules/trail-without-kms.yml",
    "rules/trail-without-reads.yml",
    "rules/logging-stopped.yml",
];

/// One line of the output.
#[derive(Debug)]
pub struct Line {
    /// Account.
    pub account: String,
    /// Region.
    pub region: String,
    /// Start.
    pub from: EventTime,
    /// End.
    pub to: EventTime,
    /// Which kind of thing is missing.
    pub kind: &'static str,
    /// What is missing, for people.
    pub what: String,
}

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Gaps, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let settings = Settings::new(&args.input, &args.output, host)?;
    settings.must_be_rows("gaps")?;
    let pack = load::rules(&args::RuleFiles::default())?.set;
    let mut out = Out::open(&settings)?;
    let found = find(&settings, &pack, None, host)?;
    let lines = lines(&found);
    write(&lines, settings.format, &mut out)?;
    out.finish(host)?;
    Ok(close(&settings, &found, started, None, host))
}

/// What a run over logs could not see, by account, region and time.
#[must_use]
pub(crate) fn lines(found: &Found) -> Vec<Line> {
    let gaps = gaps::find(
        found.deliveries.iter().cloned(),
        found.accesses.iter().map(|access| &**access),
        &found.coverage,
    );
    let blinded = found
        .alerts
        .iter()
        .filter(|alert| BLINDED.contains(&alert.rule.file.as_str()));
    let mut lines: Vec<Line> = gaps
        .iter()
        .map(line)
        .chain(blinded.map(blinded_line))
        .collect();
    lines.sort_by(|a, b| {
        (&a.account, &a.region, a.from, a.kind).cmp(&(&b.account, &b.region, b.from, b.kind))
    });
    lines
}

fn line(gap: &Gap) -> Line {
    let minutes = |secs: i64| secs / 60;
    let (kind, what) = match gap.missing {
        Missing::Deliveries { usual_secs } => {
            let length = minutes(gap.to.0.saturating_sub(gap.from.0));
            let usual = minutes(usual_secs);
            (
                "deliveries",
                format!("no log file for {length} minutes; usually {usual} or less"),
            )
        }
        Missing::KmsEvents { reads } => (
            "kms_events",
            format!("{reads} reads, and no KMS event is logged: their Decrypts cannot be seen"),
        ),
        Missing::Records { decrypts, reads } => (
            "records",
            format!("{decrypts} reads lack their Decrypt, {reads} Decrypts lack their read"),
        ),
    };
    Line {
        account: gap.account.to_string(),
        region: gap.region.to_string(),
        from: gap.from,
        to: gap.to,
        kind,
        what,
    }
}

fn blinded_line(alert: &Alert) -> Line {
    let text =
        |text: &Option<secretrail_engine::ids::Text>| text.as_deref().unwrap_or("-").to_owned();
    let (account, region) = (text(&alert.account), text(&alert.region));
    Line {
        account,
        region,
        from: alert.time,
        to: alert.time,
        kind: "trail_changed",
        what: format!("{}: {}", alert.rule.title, alert.summary),
    }
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
        Format::Ocsf | Format::Html | Format::Parquet => Err(output::only_rows("gaps")),
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
            out.raw(&csv::rows(header, lines.iter().map(row)).map_err(Failure::Internal)?)
        }
    }
}
