//! What a run over logs could not see, as lines: for the command `gaps` and for the report.

use secretrail_engine::alert::Alert;
use secretrail_engine::gaps::{self, Gap, Missing};
use secretrail_engine::time::EventTime;

use crate::input::session::Found;

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
