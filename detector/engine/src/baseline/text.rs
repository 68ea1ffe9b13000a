//! A proposal as YAML that a person can review: every grant with the evidence for it, and at the end what was left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Grant, LeftOut, Proposal};
use crate::neutral;
use crate::policy::Policy;

/// Omissions that are listed for each reason.
const LISTED: usize = 10;

pub(super) fn yaml(proposal: &Proposal, earlier: Option<&str>) -> Result<String, String> {
    let mut out = String::new();
    match earlier {
        None => {
            head(proposal, &mut out);
            out.push_str("version: 1\n");
            out.push_str(if proposal.grants.is_empty() {
                "grants: []\n"
            } else {
                "grants:\n"
            });
        }
        Some(text) => {
            out.push_str(text.trim_end());
            out.push_str("\n\n");
            head(proposal, &mut out);
        }
    }
    proposal
        .grants
        .iter()
        .for_each(|grant| self::grant(grant, &mut out));
    left_out(proposal, &mut out);
    let read = |text: &str| text.parse::<Policy>().map(|policy| policy.len());
    let before = earlier
        .map_or(Ok(0), read)
        .map_err(|error| error.to_string())?;
    match read(&out) {
        Ok(after) if after == before + proposal.grants.len() => Ok(out),
        _ => Err("nothing can be added to it; write `grants:` last, as a list with one `- ` line for each grant, \
                  indented by two spaces"
            .to_owned()),
    }
}

fn head(proposal: &Proposal, out: &mut String) {
    let span = proposal
        .span
        .map(|(from, to)| format!(", {from} to {to}"))
        .unwrap_or_default();
    line(
        out,
        &format!(
            "# Proposed by secretrail baseline from {} accesses{span}.",
            proposal.learned
        ),
    );
    line(
        out,
        "# Review every grant: it says what was usual, not what is right.",
    );
}

fn grant(grant: &Grant, out: &mut String) {
    let many = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    out.push('\n');
    line(
        out,
        &format!(
            "  # {} on {} by {} of {}, last {}",
            many(usize::try_from(grant.reads).unwrap_or(usize::MAX), "read"),
            many(grant.days, "day"),
            many(grant.seen_principals, "principal"),
            many(grant.seen_secrets, "secret"),
            grant.last
        ),
    );
    if !grant.doubts.is_empty() {
        line(
            out,
            &neutral::line(&format!("  # Look twice: {}", grant.doubts.join("; "))),
        );
    }
    let lists = [
        ("secrets", &grant.secrets),
        ("principals", &grant.principals),
        ("regions", &grant.regions),
        ("sources", &grant.sources),
        ("keys", &grant.keys),
    ];
    let mut mark = "-";
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        match list.as_slice() {
            [one] => line(out, &format!("  {mark} {name}: [{}]", quoted(one))),
            many => {
                line(out, &format!("  {mark} {name}:"));
                many.iter()
                    .for_each(|item| line(out, &format!("      - {}", quoted(item))));
            }
        }
        mark = " ";
    }
    line(
        out,
        &format!("    usual_per_hour: {}", grant.usual_per_hour),
    );
}

fn left_out(proposal: &Proposal, out: &mut String) {
    let mut by_reason: BTreeMap<LeftOut, Vec<_>> = BTreeMap::new();
    for omission in &proposal.left_out {
        by_reason.entry(omission.why).or_default().push(omission);
    }
    if by_reason.is_empty() {
        return;
    }
    out.push('\n');
    line(out, "# Left out; look at these before you grant them:");
    for (why, omissions) in by_reason {
        for omission in omissions.iter().take(LISTED) {
            let text = format!(
                "#   {}: {} accesses to {} secrets by {}, first {}",
                why.as_str(),
                omission.accesses,
                omission.secrets,
                omission.principal,
                omission.first
            );
            line(out, &neutral::line(&text));
        }
        if let Some(more) = omissions.len().checked_sub(LISTED).filter(|more| *more > 0) {
            line(
                out,
                &format!("#   {}: {more} principals more", why.as_str()),
            );
        }
    }
}

/// JSON's strings are YAML's double-quoted ones.
fn quoted(text: &str) -> String {
    serde_json::json!(neutral::line(text)).to_string()
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    writeln!(out, "{text}").ok();
}
