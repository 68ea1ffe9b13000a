//! Why no digest lists a log: by the hours that digests are about.

use std::collections::BTreeMap;

use secretrail_engine::{object, time::EventTime};

use super::files::{ChainFiles, place};

/// Seconds after the end of its hour until a digest is there at the latest. CloudTrail delivers one
/// every hour, with the logs of the hour before; it may come an hour late.
const LATEST_DIGEST_SECS: i64 = 2 * 3_600 + 1_800;

/// Seconds by which the time in the name of a log may be later than its delivery, which decides
/// whether the digest of the hour before lists it.
const NAMED_LATER_SECS: i64 = 300;

/// The hours that the digests of an account and region are about.
#[derive(Debug, Default)]
pub(super) struct DigestHours(Vec<(EventTime, EventTime)>);

impl DigestHours {
    /// Those of each account and region, in order of time.
    pub(super) fn of(evidence: &ChainFiles) -> BTreeMap<(String, String), Self> {
        let mut all: BTreeMap<(String, String), Self> = BTreeMap::new();
        for (key, read) in &evidence.digests {
            let hour = read.file.start().zip(read.file.end());
            if let (Some(place), Some(hour)) = (place(key), hour) {
                all.entry(place).or_default().0.push(hour);
            }
        }
        all.values_mut().for_each(|hours| hours.0.sort_unstable());
        all
    }

    /// End of the newest digest.
    fn end(&self) -> Option<EventTime> {
        self.0.iter().map(|(_, end)| *end).max()
    }

    /// Whether any digest is about a time.
    fn has(&self, at: EventTime) -> bool {
        let before = self.0.partition_point(|(start, _)| *start <= at);
        let begun = self.0.get(..before).unwrap_or_default();
        // Digests of several trails overlap, by little more than their hours.
        begun.iter().rev().take(50).any(|(_, end)| at < *end)
    }
}

/// Why no digest lists a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unlisted {
    #[error("no digests found for its account and region; is log file validation enabled?")]
    NoDigests,
    /// The digest of its hour may not have been delivered yet.
    #[error("newer than the newest digest, which ends at {0}")]
    Newer(EventTime),
    /// A digest comes every hour, also where nothing happens.
    #[error("hours newer than the newest digest, which ends at {0}: later digests are missing")]
    MuchNewer(EventTime),
    /// Before the trail had digests, or while they were switched off.
    #[error("no digest is about its time: there was none yet, or its chain was interrupted")]
    Uncovered,
    #[error("no digest lists it; an altered or missing one may have")]
    Hole,
    #[error("no digest lists it: CloudTrail may not have written it")]
    Foreign,
}

impl Unlisted {
    /// `hours` are those of the digests of its account and region; `has_hole` is whether any of
    /// these digests is altered or missing.
    pub(super) fn of(key: &str, hours: Option<&DigestHours>, has_hole: bool) -> Self {
        let Some((hours, end)) = hours.and_then(|hours| Some((hours, hours.end()?))) else {
            return Self::NoDigests;
        };
        let Some(at) = object::parse(key).delivered else {
            return if has_hole { Self::Hole } else { Self::Foreign };
        };
        if at >= end.plus(LATEST_DIGEST_SECS) {
            Self::MuchNewer(end)
        } else if at >= end {
            Self::Newer(end)
        } else if has_hole {
            Self::Hole
        } else if hours.has(at) && hours.has(at.plus(-NAMED_LATER_SECS)) {
            Self::Foreign
        } else {
            Self::Uncovered
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::log_key;
    use super::*;

    #[test]
    fn why_no_digest_lists_a_log_depends_on_the_digests_around_it() {
        let time = |text: &str| EventTime::parse(text).unwrap();
        let end = time("2026-03-02T03:00:00Z");
        // Digests of two chains, with two hours between them.
        let hours = DigestHours(vec![
            (time("2026-03-01T22:00:00Z"), time("2026-03-01T23:00:00Z")),
            (time("2026-03-02T01:00:00Z"), time("2026-03-02T02:00:00Z")),
            (time("2026-03-02T02:00:00Z"), end),
        ]);
        let known = Some(&hours);
        for (stamp, known, has_hole, why) in [
            ("T0215Z", None, true, Unlisted::NoDigests),
            ("T0305Z", known, true, Unlisted::Newer(end)),
            ("T0601Z", known, false, Unlisted::MuchNewer(end)),
            ("T0215Z", known, true, Unlisted::Hole),
            ("T0215Z", known, false, Unlisted::Foreign),
            ("T0015Z", known, false, Unlisted::Uncovered),
            // Perhaps of the hour before, in which there was no digest.
            ("T0100Z", known, false, Unlisted::Uncovered),
            ("T0200Z", known, false, Unlisted::Foreign),
        ] {
            assert_eq!(
                Unlisted::of(&log_key(stamp), known, has_hole),
                why,
                "{stamp}"
            );
        }
    }
}
