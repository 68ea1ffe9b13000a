//! A proposed policy as YAML for review: each grant with its evidence in a comment, then the
//! omitted accesses.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::{
    baseline::{
        pairs::date,
        proposal::{ItemEvidence, OmissionReason, PolicyProposal, ProposedGrant},
    },
    incident::story::first_and_rest,
    policy::{AccessPolicy, PolicyError},
    sanitize,
};

/// Most omissions listed for each reason.
const LISTED: usize = 10;

/// Most sources that are named beside those of a grant.
const NAMED: usize = 5;

/// Why a proposal cannot be added to an earlier policy.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The earlier text is not a valid policy.
    #[error(transparent)]
    Earlier(#[from] PolicyError),
    /// The earlier text does not end with its list of grants.
    #[error(
        "grants cannot be appended to it; write `grants:` last, as a list with one `- ` line for \
         each grant, indented by two spaces"
    )]
    NotAtEnd,
}

impl PolicyProposal {
    /// The policy as YAML with a comment for each grant. With the text of an earlier policy: that
    /// text with the new grants appended.
    ///
    /// # Errors
    ///
    /// Grants cannot be appended to the earlier text; the message says how to fix it.
    pub fn to_yaml(&self, earlier: Option<&str>) -> Result<String, MergeError> {
        let text = self.text(earlier)?;
        Ok(text.to_string())
    }

    /// The same in parts, so that a reviewer may leave grants out.
    ///
    /// # Errors
    ///
    /// See [`PolicyProposal::to_yaml`].
    pub fn text(&self, earlier: Option<&str>) -> Result<ProposalText, MergeError> {
        let text = self.parts(earlier);
        // Grants are appended as text, so that the earlier policy keeps its comments and layout.
        // Parsing the result checks that the new lines became grants.
        let before = earlier.map_or(Ok(0), grants_in)?;
        match grants_in(&text.to_string()) {
            Ok(after) if after == before + self.grants.len() => Ok(text),
            _ => Err(MergeError::NotAtEnd),
        }
    }

    fn parts(&self, earlier: Option<&str>) -> ProposalText {
        let mut before = String::new();
        if let Some(text) = earlier {
            let text = match self.grants.is_empty() {
                true => Cow::Borrowed(text),
                false => with_list(text),
            };
            before.push_str(text.trim_end());
            before.push_str("\n\n");
        }
        head(self, &mut before);
        if earlier.is_none() {
            line(&mut before, "version: 1");
        }
        let mut after = String::new();
        left_out(self, &mut after);
        ProposalText {
            before,
            is_new: earlier.is_none(),
            grants: self.grants.iter().map(grant).collect(),
            after,
        }
    }
}

/// A proposed policy as YAML, in parts; as text, the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalText {
    /// What is before the grants: an earlier policy, whose list of grants goes on, or a head.
    pub before: String,
    /// Whether the list of grants begins here: then `grants:` stands before the first one, or
    /// `grants: []` where there is none.
    pub is_new: bool,
    /// Each grant below its evidence, in the order of the proposal.
    pub grants: Vec<String>,
    /// What was omitted, as comments; may be empty.
    pub after: String,
}

impl fmt::Display for ProposalText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        f.write_str(match (self.is_new, self.grants.is_empty()) {
            (true, true) => "grants: []\n",
            (true, false) => "grants:\n",
            (false, _) => "",
        })?;
        self.grants
            .iter()
            .try_for_each(|grant| f.write_str(grant))?;
        f.write_str(&self.after)
    }
}

/// A policy whose list of grants is empty, `grants: []`, so that grants can follow.
fn with_list(text: &str) -> Cow<'_, str> {
    let empty = |line: &str| line.trim_end() == "grants: []";
    if !text.lines().any(empty) {
        return Cow::Borrowed(text);
    }
    let lines = text.lines();
    let lines = lines.map(|line| if empty(line) { "grants:" } else { line });
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

fn grants_in(text: &str) -> Result<usize, PolicyError> {
    text.parse::<AccessPolicy>().map(|policy| policy.len())
}

fn head(proposal: &PolicyProposal, out: &mut String) {
    let span = proposal
        .span
        .map(|(from, to)| format!(", {from} to {to}"))
        .unwrap_or_default();
    let learned = proposal.learned;
    line(
        out,
        &format!("# Proposed by secretrail baseline from {learned} accesses{span}."),
    );
    let granted: usize = proposal
        .grants
        .iter()
        .map(|grant| grant.granted_pairs)
        .sum();
    let seen: usize = proposal.grants.iter().map(|grant| grant.seen_pairs).sum();
    if seen > 0 {
        line(out, &format!("# {}", covers(granted, seen)));
    }
    let advice = "# Review every grant: it shows what was read, not what should be allowed.";
    line(out, advice);
}

/// How much more is granted than was seen.
#[expect(clippy::cast_precision_loss, reason = "numbers of pairs")]
pub(super) fn covers(granted: usize, seen: usize) -> String {
    format!(
        "Covers {} of principal and secret known here, {seen} of them read ({:.1} for each).",
        many(granted, "pair"),
        granted as f64 / seen as f64
    )
}

/// A grant below its evidence, after an empty line.
fn grant(grant: &ProposedGrant) -> String {
    let mut text = String::from("\n");
    let out = &mut text;
    line(out, &evidence(grant));
    if !grant.is_literal() {
        let covers = covers(grant.granted_pairs, grant.seen_pairs);
        line(out, &format!("  # {covers}"));
    }
    if !grant.doubts.is_empty() {
        let doubts = format!("  # Check: {}", grant.doubts.join("; "));
        line(out, &sanitize::line(&doubts));
    }
    let lists = [
        ("secrets", &grant.secrets),
        ("principals", &grant.principals),
        ("regions", &grant.regions),
        ("sources", &grant.sources),
        ("keys", &grant.keys),
    ];
    let mut mark = "-";
    // An empty list of sources or keys would allow none; a grant without the list allows any.
    for (name, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
        list(&format!("  {mark} {name}:"), items, grant, out);
        mark = " ";
    }
    if let Some(others) = other_sources(grant) {
        line(out, &sanitize::line(&format!("    # {others}")));
    }
    let usual = grant.baseline_per_hour;
    line(out, &format!("    baseline_per_hour: {usual}"));
    text
}

/// The sources that were seen and are not listed; `None` without any.
fn other_sources(grant: &ProposedGrant) -> Option<String> {
    let others: Vec<&str> = grant.other_sources.iter().map(String::as_str).collect();
    let named = first_and_rest(&others, NAMED, 0)?;
    Some(if grant.sources.is_empty() {
        format!("Any source is allowed, since they differ: {named}.")
    } else {
        format!("Not granted, since seen on one day only: {named}.")
    })
}

/// The comment above a grant: reads, days, principals and secrets that were seen.
fn evidence(grant: &ProposedGrant) -> String {
    format!(
        "  # {} on {} by {} of {}, last {}",
        many(usize::try_from(grant.reads).unwrap_or(usize::MAX), "read"),
        many(grant.days, "day"),
        many(grant.seen_principals, "principal"),
        many(grant.seen_secrets, "secret"),
        grant.last
    )
}

fn many(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// A YAML list below its key, with the evidence for each item; a single item goes on the same line.
fn list(key: &str, items: &[String], grant: &ProposedGrant, out: &mut String) {
    if let [one] = items {
        line(
            out,
            &format!("{key} [{}]{}", quoted(one), reads(one, grant)),
        );
        return;
    }
    line(out, key);
    for item in items {
        line(
            out,
            &format!("      - {}{}", quoted(item), reads(item, grant)),
        );
    }
}

/// The reads behind an item, as a comment; empty for one that stands in for the grant as a whole.
fn reads(item: &str, grant: &ProposedGrant) -> String {
    let Some(evidence) = grant.evidence.get(item) else {
        return String::new();
    };
    let ItemEvidence {
        reads,
        days,
        first,
        last,
    } = *evidence;
    let reads = usize::try_from(reads).unwrap_or(usize::MAX);
    let (reads, days) = (many(reads, "read"), many(days, "day"));
    let (first, last) = (date(first), date(last));
    if first == last {
        return format!("  # {reads} on {first}");
    }
    format!("  # {reads} on {days}, {first} to {last}")
}

fn left_out(proposal: &PolicyProposal, out: &mut String) {
    let mut by_reason: BTreeMap<OmissionReason, Vec<_>> = BTreeMap::new();
    for omission in &proposal.left_out {
        by_reason.entry(omission.why).or_default().push(omission);
    }
    if by_reason.is_empty() {
        return;
    }
    out.push('\n');
    line(out, "# Omitted; review these before you grant them:");
    for (why, omissions) in by_reason {
        for omission in omissions.iter().take(LISTED) {
            // The name is untrusted log text outside quotes: a line break in it would start a new
            // line of the policy.
            let alerts = match omission.alerts.join(", ") {
                alerts if alerts.is_empty() => alerts,
                alerts => format!(": {alerts}"),
            };
            let text = format!(
                "#   {}{alerts}: {} accesses to {} secrets by {}, first {}",
                why.as_str(),
                omission.accesses,
                omission.secrets,
                omission.principal,
                omission.first
            );
            line(out, &sanitize::line(&text));
        }
        if let Some(more) = omissions.len().checked_sub(LISTED).filter(|more| *more > 0) {
            line(
                out,
                &format!("#   {}: {more} more principals", why.as_str()),
            );
        }
    }
}

/// JSON strings are valid double-quoted YAML.
fn quoted(text: &str) -> String {
    serde_json::json!(sanitize::line(text)).to_string()
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::proposal::Omission;
    use super::*;
    use crate::time::EventTime;

    fn a_grant() -> ProposedGrant {
        ProposedGrant {
            principals: vec!["arn:aws:iam::1:role/app".to_owned()],
            secrets: ["x", "y"]
                .map(|name| format!("arn:aws:ssm:*:1:parameter/{name}"))
                .into(),
            regions: vec!["eu-west-1".to_owned()],
            sources: Vec::new(),
            other_sources: Vec::new(),
            keys: Vec::new(),
            baseline_per_hour: 7,
            reads: 1,
            days: 2,
            last: EventTime(0),
            seen_principals: 1,
            seen_secrets: 2,
            seen_pairs: 2,
            granted_pairs: 2,
            by_person: false,
            evidence: BTreeMap::from([(
                "eu-west-1".to_owned(),
                ItemEvidence {
                    reads: 3,
                    days: 2,
                    first: EventTime(0),
                    last: EventTime(86_400),
                },
            )]),
            doubts: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    fn omission(principal: &str) -> Omission {
        Omission {
            why: OmissionReason::Denied,
            alerts: Vec::new(),
            principal: principal.into(),
            accesses: 3,
            secrets: 2,
            first: EventTime(0),
        }
    }

    #[test]
    fn a_grant_stands_under_its_evidence() {
        let proposal = PolicyProposal {
            grants: vec![a_grant()],
            learned: 1,
            ..PolicyProposal::default()
        };
        let expected = "\
# Proposed by secretrail baseline from 1 accesses.
# Covers 2 pairs of principal and secret known here, 2 of them read (1.0 for each).
# Review every grant: it shows what was read, not what should be allowed.
version: 1
grants:

  # 1 read on 2 days by 1 principal of 2 secrets, last 1970-01-01T00:00:00Z
  # Check: one; two
  - secrets:
      - \"arn:aws:ssm:*:1:parameter/x\"
      - \"arn:aws:ssm:*:1:parameter/y\"
    principals: [\"arn:aws:iam::1:role/app\"]
    regions: [\"eu-west-1\"]  # 3 reads on 2 days, 1970-01-01 to 1970-01-02
    baseline_per_hour: 7
";
        assert_eq!(proposal.to_yaml(None).unwrap(), expected);
    }

    #[test]
    fn nothing_learned_is_a_policy_too() {
        let text = PolicyProposal::default().to_yaml(None).unwrap();
        assert_eq!(text.parse::<AccessPolicy>().unwrap().len(), 0, "{text}");
    }

    #[test]
    fn an_earlier_policy_is_added_to_only_where_grants_can_follow() {
        let proposal = PolicyProposal {
            grants: vec![a_grant()],
            ..PolicyProposal::default()
        };
        let empty = "version: 1\npeople: []\ngrants: []\n\n# Rejected: one\n";
        let text = proposal.to_yaml(Some(empty)).unwrap();
        assert_eq!(text.parse::<AccessPolicy>().unwrap().len(), 1, "{text}");
        let earlier = "grants: []\nversion: 1\n";
        let error = proposal.to_yaml(Some(earlier)).unwrap_err();
        assert!(matches!(error, MergeError::NotAtEnd), "{error}");
        let error = proposal.to_yaml(Some("version: 1")).unwrap_err();
        assert!(matches!(error, MergeError::Earlier(_)), "{error}");
        assert!(
            PolicyProposal::default().to_yaml(Some(earlier)).is_ok(),
            "nothing is added"
        );
    }

    #[test]
    fn omissions_are_listed_in_part_and_counted_in_full() {
        let mut names: Vec<String> = (0..12).map(|n| format!("role-{n}")).collect();
        names[0] = "a\ngrants: [b]".to_owned();
        let proposal = PolicyProposal {
            left_out: names.iter().map(|name| omission(name)).collect(),
            ..PolicyProposal::default()
        };
        let text = proposal.to_yaml(None).unwrap();
        let listed: Vec<&str> = text
            .lines()
            .filter(|l| l.contains("denied: 3 acc"))
            .collect();
        assert_eq!(listed.len(), LISTED);
        assert!(listed[0].contains(r"by a\ngrants: [b], first"), "{text}");
        assert!(text.ends_with("#   denied: 2 more principals\n"), "{text}");
    }
}
