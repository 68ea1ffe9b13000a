//! The output of `verify`: a line for each finding, and the summary on standard error.

use std::{collections::BTreeMap, time::Duration};

use ahash::HashSet;
use serde_json::{Value, json};

use crate::{
    commands::verify::{
        digest::PublicKeys,
        files::{self, ChainFiles, ChainFinding, FileVerdict},
    },
    output::{listing::RowListing, table},
    text::{number, plural},
};

/// Name and version of the JSON schema.
const SCHEMA: &str = "secretrail.verification/1";

/// Files with one reason that are listed by name in a table; of more, the first is named.
const NAMED: usize = 3;

/// The findings to list; intact files only with `--all`.
pub(super) struct ListedFindings<'f> {
    shown: Vec<&'f ChainFinding>,
    /// Whether there was anything to verify.
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

impl ListedFindings<'_> {
    /// The rows of a table: files that stand there for the same reason are one row.
    fn groups(&self) -> Vec<[String; 4]> {
        let mut groups: BTreeMap<_, Vec<&ChainFinding>> = BTreeMap::new();
        for finding in &self.shown {
            let reason = (finding.verdict, finding.digest, &finding.why);
            groups.entry(reason).or_default().push(finding);
        }
        let mut rows = Vec::new();
        for findings in groups.into_values() {
            match findings.as_slice() {
                [first, rest @ ..] if findings.len() > NAMED => {
                    let more = number(rest.len() as u64);
                    let object = format!("{} and {more} more", first.key);
                    rows.push(row(first, object));
                }
                few => rows.extend(few.iter().map(|f| row(f, f.key.clone()))),
            }
        }
        rows
    }
}

/// A row about a finding.
fn row(finding: &ChainFinding, object: String) -> [String; 4] {
    let (verdict, kind) = (finding.verdict.as_str(), kind(finding));
    [
        verdict.to_owned(),
        kind.to_owned(),
        object,
        finding.why.clone(),
    ]
}

impl RowListing<4> for ListedFindings<'_> {
    const NAME: &'static str = "verify";
    const HEADER: [&'static str; 4] = ["verdict", "kind", "object", "why"];

    fn table(&self) -> String {
        match (self.shown.is_empty(), self.any) {
            (true, true) => "everything is intact\n".to_owned(),
            // Without digests and logs, nothing is proven.
            (true, false) => "nothing to verify\n".to_owned(),
            (false, _) => table::columns(["VERDICT", "KIND", "OBJECT", "WHY"], &self.groups()),
        }
    }

    fn values(&self) -> Vec<Value> {
        self.shown.iter().map(|finding| value(finding)).collect()
    }

    fn rows(&self) -> Vec<[String; 4]> {
        let rows = self.shown.iter();
        rows.map(|finding| row(finding, finding.key.clone()))
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

/// The summary on standard error.
pub(super) fn words(
    findings: &[ChainFinding],
    evidence: &ChainFiles,
    keys: &PublicKeys,
    elapsed: Duration,
) -> String {
    let places: HashSet<_> = evidence
        .digests
        .keys()
        .filter_map(|key| files::place(key))
        .collect();
    // All findings, listed or not.
    let counts = VerdictCounts::of(findings);
    let mut text = format!(
        "secretrail: verified {} and {} of {} in {:.2} s\n\
         {}{}  chains  {} restarted\n",
        plural(evidence.digests.len() as u64, "digest"),
        plural((evidence.logs.len() + evidence.copies.len()) as u64, "log"),
        plural(places.len() as u64, "account-region pair"),
        elapsed.as_secs_f64(),
        counts.line("digests", true),
        counts.line("logs", false),
        counts.of_verdict(true, FileVerdict::Restarted)
    );
    let bare = files::without_digests(evidence).len() as u64;
    if bare > 0 {
        let places = plural(bare, "account-region pair");
        text.push_str(&format!(
            "  no digests at all for the logs of {places}: log file validation was never enabled \
             there, or the digests were removed\n"
        ));
    }
    // Without keys nearly everything is unproven.
    if keys.is_empty() && !evidence.digests.is_empty() {
        text.push_str(
            "  no public keys available: save the output of `aws cloudtrail list-public-keys \
             --start-time …` for each region and use --public-keys, or use --fetch-keys\n",
        );
    }
    text
}

/// Numbers of findings, by kind (whether a digest) and verdict.
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

    fn has(&self, digest: bool, verdict: FileVerdict) -> bool {
        self.0.contains_key(&(digest, verdict))
    }

    fn unproven(&self, digest: bool) -> String {
        let counts = [FileVerdict::Unproven, FileVerdict::Contradicted];
        let counts = counts.map(|verdict| self.0.get(&(digest, verdict)).copied().unwrap_or(0));
        number(counts.iter().sum())
    }

    fn line(&self, name: &str, digest: bool) -> String {
        format!(
            "  {name:<8}{} intact, {} altered, {} missing, {} unproven{}\n",
            self.of_verdict(digest, FileVerdict::Intact),
            self.of_verdict(digest, FileVerdict::Altered),
            self.of_verdict(digest, FileVerdict::Missing),
            self.unproven(digest),
            if self.has(digest, FileVerdict::Unreadable) {
                let unreadable = self.of_verdict(digest, FileVerdict::Unreadable);
                format!(", {unreadable} unreadable")
            } else {
                String::new()
            }
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
    fn files_that_are_listed_for_one_reason_are_one_row_of_a_table() {
        let mut findings = Vec::new();
        for number in 0..NAMED + 2 {
            let key = format!("log{number}");
            findings.push(ChainFinding {
                key,
                ..finding(FileVerdict::Unproven, false)
            });
        }
        findings.push(finding(FileVerdict::Missing, true));
        let listed = ListedFindings::of(&findings, false);
        let objects: Vec<_> = listed
            .groups()
            .into_iter()
            .map(|row| row[2].clone())
            .collect();
        assert_eq!(objects, ["k", "log0 and 4 more"]);
        assert_eq!(listed.rows().len(), NAMED + 3);
    }

    #[test]
    fn the_summary_counts_and_says_if_no_keys_are_available() {
        let findings = [
            finding(FileVerdict::Unproven, true),
            finding(FileVerdict::Restarted, true),
            finding(FileVerdict::Missing, false),
        ];
        let mut evidence = ChainFiles::default();
        let text = words(&findings, &evidence, &PublicKeys::default(), Duration::ZERO);
        assert_eq!(
            text,
            "secretrail: verified 0 digests and 0 logs of 0 account-region pairs in 0.00 s\n  \
             digests 0 intact, 0 altered, 0 missing, 1 unproven\n  \
             logs    0 intact, 0 altered, 1 missing, 0 unproven\n  chains  1 restarted\n"
        );
        evidence.digests.insert(digest_key(1), made(1, None, &[]));
        let text = words(&findings, &evidence, &PublicKeys::default(), Duration::ZERO);
        assert!(text.contains(" 1 digest and 0 logs of 1 account-region pair "));
        assert!(text.ends_with("or use --fetch-keys\n"));
    }
}
