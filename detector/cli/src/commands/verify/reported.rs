//! What `verify` says: a line for each finding, and the closing words.

use std::collections::BTreeMap;
use std::time::Duration;

use ahash::HashSet;
use serde_json::{Value, json};

use crate::commands::verify::chain::{self, ChainFiles, ChainFinding, FileVerdict};
use crate::commands::verify::digest::PublicKeys;
use crate::output::listing::RowListing;
use crate::output::table;
use crate::text::number;

/// Name and version of the form of its lines.
const SCHEMA: &str = "secretrail.verification/1";

/// Findings as they are listed: what is intact only where that is asked for.
pub(super) struct ListedFindings<'f> {
    shown: Vec<&'f ChainFinding>,
    /// Whether anything was judged at all.
    any: bool,
}

impl<'f> ListedFindings<'f> {
    pub(super) fn of(findings: &'f [ChainFinding], all: bool) -> Self {
        let shown = findings
            .iter()
            .filter(|finding| all || finding.verdict != FileVerdict::Intact)
            .collect();
        Self {
            shown,
            any: !findings.is_empty(),
        }
    }
}

impl RowListing<4> for ListedFindings<'_> {
    const NAME: &'static str = "verify";
    const HEADER: [&'static str; 4] = ["verdict", "kind", "object", "why"];

    fn table(&self) -> String {
        match (self.shown.is_empty(), self.any) {
            (true, true) => "everything is intact\n".to_owned(),
            // No digest and no log is no proof of anything.
            (true, false) => "nothing to verify\n".to_owned(),
            (false, _) => table::columns(["VERDICT", "KIND", "OBJECT", "WHY"], &self.rows()),
        }
    }

    fn values(&self) -> Vec<Value> {
        self.shown.iter().map(|finding| value(finding)).collect()
    }

    fn rows(&self) -> Vec<[String; 4]> {
        let rows = self.shown.iter();
        rows.map(|f| [f.verdict.as_str(), kind(f), &f.key, &f.why].map(str::to_owned))
            .collect()
    }
}

fn value(finding: &ChainFinding) -> Value {
    json!({
        "schema": SCHEMA,
        "verdict": finding.verdict.as_str(),
        "kind": kind(finding),
        "object": finding.key,
        "why": finding.why,
    })
}

fn kind(finding: &ChainFinding) -> &'static str {
    if finding.digest { "digest" } else { "log" }
}

/// The closing words.
pub(super) fn words(
    findings: &[ChainFinding],
    evidence: &ChainFiles,
    keys: &PublicKeys,
    elapsed: Duration,
) -> String {
    let places: HashSet<_> = evidence
        .digests
        .keys()
        .filter_map(|key| chain::place(key))
        .collect();
    // Every finding is counted, listed or not: the words are the whole result.
    let counts = VerdictCounts::of(findings);
    let mut text = format!(
        "secretrail: verified {} digests and {} logs of {} accounts and regions in {:.2} s\n\
         {}{}  chains  {} restarted\n",
        number(evidence.digests.len() as u64),
        number(evidence.logs.len() as u64),
        number(places.len() as u64),
        elapsed.as_secs_f64(),
        counts.line("digests", true),
        counts.line("logs", false),
        counts.of_verdict(true, FileVerdict::Restarted)
    );
    // Without keys nearly everything is unproven, and the reason is not in the logs.
    if keys.is_empty() && !evidence.digests.is_empty() {
        text.push_str(
            "  no public keys at hand: save `aws cloudtrail list-public-keys --start-time …` of \
             each region and name it with --public-keys, or use --fetch-keys\n",
        );
    }
    text
}

/// How many findings of a verdict there are, of digests and of logs.
struct VerdictCounts(BTreeMap<(bool, FileVerdict), u64>);

impl VerdictCounts {
    fn of(findings: &[ChainFinding]) -> Self {
        let mut counts = BTreeMap::new();
        for finding in findings {
            *counts.entry((finding.digest, finding.verdict)).or_default() += 1;
        }
        Self(counts)
    }

    fn of_verdict(&self, digest: bool, verdict: FileVerdict) -> String {
        number(self.0.get(&(digest, verdict)).copied().unwrap_or(0))
    }

    fn line(&self, name: &str, digest: bool) -> String {
        format!(
            "  {name:<8}{} intact, {} altered, {} missing, {} unproven\n",
            self.of_verdict(digest, FileVerdict::Intact),
            self.of_verdict(digest, FileVerdict::Altered),
            self.of_verdict(digest, FileVerdict::Missing),
            self.of_verdict(digest, FileVerdict::Unproven)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{digest_key, made};
    use super::*;

    fn finding(verdict: FileVerdict, digest: bool) -> ChainFinding {
        ChainFinding {
            verdict,
            key: "k".to_owned(),
            digest,
            why: "because".to_owned(),
        }
    }

    #[test]
    fn what_is_intact_is_listed_on_request_only() {
        let findings = [
            finding(FileVerdict::Altered, false),
            finding(FileVerdict::Intact, true),
        ];
        assert_eq!(ListedFindings::of(&findings, false).rows().len(), 1);
        let all = ListedFindings::of(&findings, true);
        assert_eq!(all.rows()[1], ["intact", "digest", "k", "because"]);
        assert_eq!(all.values()[0]["kind"], "log");
    }

    #[test]
    fn nothing_to_verify_is_not_everything_intact() {
        let intact = [finding(FileVerdict::Intact, false)];
        let table = |findings: &[ChainFinding]| ListedFindings::of(findings, false).table();
        assert_eq!(table(&intact), "everything is intact\n");
        assert_eq!(table(&[]), "nothing to verify\n");
    }

    #[test]
    fn the_closing_words_count_and_say_when_no_key_is_at_hand() {
        let findings = [
            finding(FileVerdict::Unproven, true),
            finding(FileVerdict::Restarted, true),
            finding(FileVerdict::Missing, false),
        ];
        let mut evidence = ChainFiles::default();
        let text = words(&findings, &evidence, &PublicKeys::default(), Duration::ZERO);
        assert_eq!(
            text,
            "secretrail: verified 0 digests and 0 logs of 0 accounts and regions in 0.00 s\n  \
             digests 0 intact, 0 altered, 0 missing, 1 unproven\n  \
             logs    0 intact, 0 altered, 1 missing, 0 unproven\n  chains  1 restarted\n"
        );
        evidence.digests.insert(digest_key(1), made(1, None, &[]));
        let text = words(&findings, &evidence, &PublicKeys::default(), Duration::ZERO);
        assert!(text.contains(" 1 digests and 0 logs of 1 accounts"));
        assert!(text.ends_with("or use --fetch-keys\n"));
    }
}
