//! `gaps`: what the logs cannot show, by account, region and time.

use std::time::Instant;

use serde_json::Value;

use crate::{
    args::{self, settings::RunSettings},
    exit,
    host::{ProcessHost, RunFailure},
    input::{rules_and_policy, session::find},
    output::{
        ending::RunReading,
        gaps::{GapLine, lines},
        listing::{self, RowListing},
        out::OpenOutput,
        run_summary::close,
        table,
    },
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::GapsArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = RunSettings::new(&args.input, &args.output, host)?;
    settings.must_be_rows("gaps")?;
    // Rules of the built-in pack detect trails that were stopped or narrowed; users cannot replace
    // them here.
    let pack = rules_and_policy::rules(&args::RuleFilesArgs::default(), host)?.set;
    let mut out = OpenOutput::open(&settings)?;
    let found = find(&settings, &pack, None, host)?;
    let gaps = GapListing {
        lines: lines(&found, &settings.selection),
        is_read: !RunReading::of(&found, &settings.selection).is_nothing(),
    };
    listing::write(&gaps, settings.format, &mut out)?;
    out.finish_reading(!gaps.is_read, host)?;
    let code = close(&settings, &found, started, None, host);
    let failed = args.fail_on_gaps && !gaps.lines.is_empty();
    Ok(code.max(if failed { exit::FINDINGS } else { exit::DONE }))
}

/// All gaps in the logs.
struct GapListing {
    lines: Vec<GapLine>,
    /// Whether anything was read: without records, no gaps can be seen.
    is_read: bool,
}

impl RowListing<6> for GapListing {
    const NAME: &'static str = "gaps";
    const HEADER: [&'static str; 6] = ["account", "region", "from", "to", "kind", "what"];

    fn table(&self) -> String {
        if self.lines.is_empty() {
            let none = if self.is_read {
                "no gaps\n"
            } else {
                "nothing was read\n"
            };
            return none.to_owned();
        }
        // Without the kind: the text says what is missing.
        let people = |[account, region, from, to, _, what]: [String; 6]| -> [String; 5] {
            [account, region, from, to, what]
        };
        let rows: Vec<[String; 5]> = self.rows().into_iter().map(people).collect();
        table::columns(["ACCOUNT", "REGION", "FROM", "TO", "MISSING"], &rows)
    }

    fn values(&self) -> Vec<Value> {
        self.lines.iter().map(value).collect()
    }

    fn rows(&self) -> Vec<[String; 6]> {
        self.lines.iter().map(row).collect()
    }
}

fn value(line: &GapLine) -> Value {
    serde_json::json!({
        "schema": "secretrail.gap/1",
        "account": line.account,
        "region": line.region,
        "from": line.from.to_string(),
        "to": line.to.to_string(),
        "kind": line.kind,
        "what": line.what,
    })
}

fn row(line: &GapLine) -> [String; 6] {
    let GapLine {
        account,
        region,
        from,
        to,
        kind,
        what,
    } = line;
    [
        account.clone(),
        region.clone(),
        from.to_string(),
        to.to_string(),
        (*kind).to_owned(),
        what.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use secretrail_engine::time::EventTime;

    use super::*;
    use crate::commands::tests::{LOGS, READ, ran, ran_with};

    fn line(what: &str) -> GapLine {
        GapLine {
            account: "111122223333".to_owned(),
            region: "eu-west-1".to_owned(),
            from: EventTime::parse("2026-03-02T10:00:00Z").unwrap(),
            to: EventTime::parse("2026-03-02T11:00:00Z").unwrap(),
            kind: "deliveries",
            what: what.to_owned(),
        }
    }

    #[test]
    fn only_programs_get_the_kind() {
        let gaps = GapListing {
            lines: vec![line("no log file for 60 minutes")],
            is_read: true,
        };
        assert_eq!(
            gaps.table().lines().last().unwrap(),
            "111122223333  eu-west-1  2026-03-02T10:00:00Z  2026-03-02T11:00:00Z  \
             no log file for 60 minutes"
        );
        assert_eq!(gaps.rows()[0][4], "deliveries");
        assert_eq!(gaps.values()[0]["kind"], "deliveries");
    }

    #[test]
    fn no_gaps_are_reported_to_people_only() {
        let mut none = GapListing {
            lines: Vec::new(),
            is_read: true,
        };
        assert_eq!(none.table(), "no gaps\n");
        assert!(none.rows().is_empty() && none.values().is_empty());
        none.is_read = false;
        assert_eq!(none.table(), "nothing was read\n");
    }

    #[test]
    fn gaps_fail_a_run_only_on_request() {
        // One read, and no KMS event around it.
        let code = |more: &[&str]| ran_with(&[&["gaps", "-", "-q"], more].concat(), READ).code;
        assert_eq!(
            (code(&[]), code(&["--fail-on-gaps"])),
            (exit::DONE, exit::FINDINGS)
        );
        let nothing = ran_with(&["gaps", "-", "--fail-on-gaps"], "");
        assert_eq!(
            (nothing.code, nothing.out.as_str()),
            (exit::INPUT, "nothing was read\n")
        );
    }

    #[test]
    fn every_row_has_a_cell_under_each_name_of_the_header() {
        let csv = ran(&["gaps", LOGS, "-f", "csv", "-q"]);
        let mut lines = csv.out.lines();
        assert_eq!(lines.next(), Some("account,region,from,to,kind,what"));
        assert_eq!(csv.code, exit::DONE);
        let json = ran(&["gaps", LOGS, "-f", "jsonl", "-q"]);
        assert_eq!(json.out.lines().count(), lines.count());
    }

    /// A tree in which one region delivers for two and a half days, and another stops after two.
    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (region, until) in [("eu-west-1", 48), ("us-east-1", 60)] {
            for hour in 0..until {
                let (day, hour) = (1 + hour / 24, hour % 24);
                let days = format!("AWSLogs/111122223333/CloudTrail/{region}/2026/03/{day:02}");
                let days = folder.path().join(days);
                std::fs::create_dir_all(&days).unwrap();
                let name = format!(
                    "111122223333_CloudTrail_{region}_202603{day:02}T{hour:02}05Z_abcdefghijklmnop.json"
                );
                std::fs::write(days.join(name), READ).unwrap();
            }
        }
        folder
    }

    #[test]
    fn logs_that_stay_away_at_the_end_are_an_alert_and_a_gap() {
        let folder = tree();
        let path = folder.path().to_str().unwrap();
        let alerts = |more: &[&str]| {
            let args = ["replay", path, "-f", "jsonl", "--alerts", "-q"];
            let out = ran(&[&args, more].concat()).out;
            let summary = "No logs from 111122223333 in eu-west-1 since 2026-03-03T00:00:00Z";
            out.lines().filter(|line| line.contains(summary)).count()
        };
        assert_eq!(alerts(&[]), 1);
        assert_eq!(
            alerts(&["--region", "eu-west-1"]),
            0,
            "alone, it is not judged"
        );
        assert_eq!(alerts(&["--principal", "*kim"]), 0);
        assert_eq!(alerts(&["--to", "2026-03-02"]), 0, "it is later");
        let gaps = ran(&["gaps", path, "-f", "csv", "-q"]).out;
        let silent = "111122223333,eu-west-1,2026-03-03T00:00:00Z,2026-03-03T11:05:00Z,deliveries";
        assert_eq!(
            gaps.lines().filter(|line| line.starts_with(silent)).count(),
            1,
            "{gaps}"
        );
        let shown = ran(&["replay", path, "-q"]).out;
        assert!(
            shown.contains("No logs from 111122223333 in eu-west-1"),
            "{shown}"
        );
    }
}
