//! The `gaps` command: whether the logs can be trusted, by account, region and time.

use std::fmt::Write as _;
use std::time::Instant;

use secretrail_engine::alert::Alert;
use secretrail_engine::gaps::{self, Gap, Missing};
use secretrail_engine::time::EventTime;

use crate::args::{self, Format};
use crate::output::{Out, csv, table};
use crate::settings::Settings;
use crate::{Failure, Found, Host, close, find, load};

/// Rules of the pack that tell of blinded trails.
const BLINDED: [&str; 3] =
    ["rules/trail-without-kms.yml", "rules/trail-without-reads.yml", "rules/logging-stopped.yml"];

/// One line of the output.
struct Line {
    account: String,
    region: String,
    from: EventTime,
    to: EventTime,
    kind: &'static str,
    what: String,
}

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Gaps, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let settings = Settings::new(&args.input, &args.output, host)?;
    let pack = load::Rules::open(&args::RuleFiles::default())?.set;
    let mut out = Out::open(&settings)?;
    let found = find(&settings, &pack, None, host)?;
    let lines = lines(&found);
    out.raw(&render(&lines, settings.format)?)?;
    out.finish(host)?;
    Ok(close(&settings, &found, started, None, host))
}

fn lines(found: &Found) -> Vec<Line> {
    let deliveries = found.objects.iter().filter_map(|object| {
        let (account, region) = object.home.as_ref()?;
        Some((account.as_str().into(), region.as_str().into(), object.delivered?))
    });
    let gaps = gaps::find(deliveries, found.accesses.iter().map(|access| &**access), &found.coverage);
    let blinded = found.alerts.iter().filter(|alert| BLINDED.contains(&alert.rule.file.as_str()));
    let mut lines: Vec<Line> = gaps.iter().map(line).chain(blinded.map(blinded_line)).collect();
    lines.sort_by(|a, b| (&a.account, &a.region, a.from, a.kind).cmp(&(&b.account, &b.region, b.from, b.kind)));
    lines
}

fn line(gap: &Gap) -> Line {
    let minutes = |secs: i64| secs / 60;
    let (kind, what) = match gap.missing {
        Missing::Deliveries { usual_secs } => {
            let length = minutes(gap.to.0.saturating_sub(gap.from.0));
            let usual = minutes(usual_secs);
            ("deliveries", format!("no log file for {length} minutes; usually {usual} or less"))
        }
        Missing::KmsEvents { reads } => {
            ("kms_events", format!("{reads} reads, and no KMS event is logged: their Decrypts cannot be seen"))
        }
        Missing::Records { decrypts, reads } => {
            ("records", format!("{decrypts} reads lack their Decrypt, {reads} Decrypts lack their read"))
        }
    };
    Line { account: gap.account.to_string(), region: gap.region.to_string(), from: gap.from, to: gap.to, kind, what }
}

fn blinded_line(alert: &Alert) -> Line {
    let text = |text: &Option<secretrail_engine::ids::Text>| text.as_deref().unwrap_or("-").to_owned();
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

fn render(lines: &[Line], format: Format) -> Result<String, Failure> {
    match format {
        Format::Table if lines.is_empty() => Ok("no gaps\n".to_owned()),
        Format::Table => Ok(table::columns(
            ["ACCOUNT", "REGION", "FROM", "TO", "MISSING"],
            &lines
                .iter()
                .map(|line| {
                    [
                        line.account.clone(),
                        line.region.clone(),
                        line.from.to_string(),
                        line.to.to_string(),
                        line.what.clone(),
                    ]
                })
                .collect::<Vec<_>>(),
        )),
        Format::Jsonl => {
            let mut out = String::new();
            for line in lines {
                let json = serde_json::json!({"schema": "secretrail.gap/1", "account": line.account, "region": line.region,
                    "from": line.from.to_string(), "to": line.to.to_string(), "kind": line.kind, "what": line.what});
                writeln!(out, "{json}").ok();
            }
            Ok(out)
        }
        Format::Csv => {
            let rows = lines.iter().map(|line| {
                [&line.account, &line.region, &line.from.to_string(), &line.to.to_string(), line.kind, &line.what]
                    .map(str::to_owned)
            });
            csv::rows(["account", "region", "from", "to", "kind", "what"], rows).map_err(Failure::Internal)
        }
    }
}
