//! The gaps in the logs of a run, one line each: for the command `gaps` and for the report.

use secretrail_engine::{
    alert::Alert,
    gaps::{self, CoverageGap, MissingKind},
    selection::Selection,
    silence::is_silence,
    time::EventTime,
};

use crate::{input::session::SessionResult, text::plural};

/// Rules of the pack about trails that were stopped or narrowed.
const BLINDED: [&str; 5] = [
    "rules/trail-without-kms.yml",
    "rules/trail-without-reads.yml",
    "rules/logging-stopped.yml",
    "rules/trail-weakened.yml",
    "rules/trail-bucket-changed.yml",
];

/// One gap.
#[derive(Debug)]
pub struct GapLine {
    /// Account id; `-` if unknown.
    pub account: String,
    /// Region; `-` if unknown.
    pub region: String,
    /// Start of the gap, in UTC.
    pub from: EventTime,
    /// End of the gap, in UTC; equal to the start if no end is known.
    pub to: EventTime,
    /// What is missing: `deliveries`, `kms_events`, `records` or `trail_changed`.
    pub kind: &'static str,
    /// What is missing, in words.
    pub what: String,
}

impl GapLine {
    /// Whether it says the same of the end of the logs.
    fn covers(&self, silent: &Self) -> bool {
        let is_there = (&self.account, &self.region) == (&silent.account, &silent.region);
        is_there && self.kind == silent.kind && self.to >= silent.to
    }
}

/// The gaps in the logs of a run, by account, region and time.
#[must_use]
pub(crate) fn lines(found: &SessionResult, selection: &Selection) -> Vec<GapLine> {
    let gaps = gaps::find(
        [selection.from, selection.to],
        found.deliveries(),
        found.accesses.iter().map(|access| &**access),
        &found.coverage,
    );
    let blinded = found
        .alerts
        .iter()
        .filter(|alert| BLINDED.contains(&alert.rule.file.as_str()));
    let mut lines: Vec<GapLine> = gaps
        .iter()
        .map(line)
        .chain(blinded.map(blinded_line))
        .collect();
    let newest = found.deliveries().map(|delivery| delivery.time).max();
    let silent = found.alerts.iter().filter(|alert| is_silence(alert));
    for line in silent.map(|alert| silent_line(alert, newest)) {
        // With an end that was asked for, the edge shows it already.
        if !lines.iter().any(|known| known.covers(&line)) {
            lines.push(line);
        }
    }
    lines.sort_by(|a, b| {
        (&a.account, &a.region, a.from, a.kind).cmp(&(&b.account, &b.region, b.from, b.kind))
    });
    lines
}

fn line(gap: &CoverageGap) -> GapLine {
    let (kind, what) = match gap.missing {
        MissingKind::Deliveries { usual_secs } => {
            let length = gap.to.0.saturating_sub(gap.from.0) / 60;
            let usual = usual_secs / 60;
            (
                "deliveries",
                format!(
                    "no log file for {} (usual interval: {} or less)",
                    minutes(length),
                    minutes(usual)
                ),
            )
        }
        MissingKind::KmsEvents { reads } => (
            "kms_events",
            format!(
                "no KMS events logged: Decrypts of {} cannot be seen",
                plural(reads, "access")
            ),
        ),
        MissingKind::Records { decrypts, reads } => (
            "records",
            format!(
                "{} without a Decrypt, {} without a secret read",
                plural(decrypts, "access"),
                plural(reads, "Decrypt")
            ),
        ),
    };
    GapLine {
        account: gap.account.to_string(),
        region: gap.region.to_string(),
        from: gap.from,
        to: gap.to,
        kind,
        what,
    }
}

fn minutes(count: i64) -> String {
    plural(u64::try_from(count).unwrap_or(0), "minute")
}

/// A trail that was changed is a gap from then on; the logs cannot show when the gap ended.
fn blinded_line(alert: &Alert) -> GapLine {
    GapLine {
        account: or_dash(alert.account.as_deref()),
        region: or_dash(alert.region.as_deref()),
        from: alert.time,
        to: alert.time,
        kind: "trail_changed",
        what: format!("{}: {}", alert.rule.title, alert.summary),
    }
}

/// Logs that stay away at the end, while those of others go on.
fn silent_line(alert: &Alert, newest: Option<EventTime>) -> GapLine {
    GapLine {
        account: or_dash(alert.account.as_deref()),
        region: or_dash(alert.region.as_deref()),
        from: alert.time,
        to: newest.unwrap_or(alert.time),
        kind: "deliveries",
        what: "no log file to the end of the logs, while others go on".to_owned(),
    }
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_deliveries_is_given_in_minutes() {
        let gap = CoverageGap {
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            from: EventTime(0),
            to: EventTime(7_200),
            missing: MissingKind::Deliveries { usual_secs: 330 },
        };
        let line = line(&gap);
        assert_eq!(line.kind, "deliveries");
        assert_eq!(
            line.what,
            "no log file for 120 minutes (usual interval: 5 minutes or less)"
        );
    }
}
