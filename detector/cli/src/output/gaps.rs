//! What a run over logs could not see, as lines: for the command `gaps` and for the report.

use secretrail_engine::alert::Alert;
use secretrail_engine::gaps::{self, CoverageGap, MissingKind};
use secretrail_engine::time::EventTime;

use crate::input::session::SessionResult;

/// Rules of the pack that tell of blinded trails.
const BLINDED: [&str; 3] = [
    "rules/trail-without-kms.yml",
    "rules/trail-without-reads.yml",
    "rules/logging-stopped.yml",
];

/// One line of the output.
#[derive(Debug)]
pub struct GapLine {
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

/// What a run over logs could not see, by account, region and time.
#[must_use]
pub(crate) fn lines(found: &SessionResult) -> Vec<GapLine> {
    let gaps = gaps::find(
        found.deliveries.iter().cloned(),
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
                format!("no log file for {length} minutes; usually {usual} or less"),
            )
        }
        MissingKind::KmsEvents { reads } => (
            "kms_events",
            format!("{reads} reads, and no KMS event is logged: their Decrypts cannot be seen"),
        ),
        MissingKind::Records { decrypts, reads } => (
            "records",
            format!("{decrypts} reads lack their Decrypt, {reads} Decrypts lack their read"),
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

/// A trail that was changed is a gap from then on; when it ended, no log can tell.
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

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_deliveries_is_told_in_minutes() {
        let gap = CoverageGap {
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            from: EventTime(0),
            to: EventTime(7_200),
            missing: MissingKind::Deliveries { usual_secs: 330 },
        };
        let line = line(&gap);
        assert_eq!(line.kind, "deliveries");
        assert_eq!(line.what, "no log file for 120 minutes; usually 5 or less");
    }
}
