//! `baseline --review`: a page on which a person accepts or rejects each grant of a proposal, and
//! which gives the policy of what was accepted.

use base64::{Engine, engine::general_purpose::STANDARD};
use secretrail_engine::{
    baseline::{ItemEvidence, Omission, PolicyProposal, ProposalText, ProposedGrant},
    sanitize,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::page::{ELEMENTS, PageTemplate, STYLE};
use crate::host::RunFailure;

/// The review without its data.
pub(super) const PAGE: PageTemplate = PageTemplate {
    title: "Secretrail: review of an access policy",
    body: include_str!("review/page.html"),
    styles: &[STYLE, include_str!("review/page.css")],
    scripts: &[ELEMENTS, include_str!("review/page.js")],
};

/// The data of the page. All texts are sanitised.
#[derive(Serialize)]
struct ReviewData<'a> {
    version: &'static str,
    /// Of the whole proposal: decisions about another one are none about this.
    digest: String,
    /// Accesses that the grants are based on.
    learned: u64,
    /// Seconds since 1970 of the first and the last access.
    span: Option<[i64; 2]>,
    /// YAML before the grants.
    before: &'a str,
    /// Whether `grants:` is missing before the first.
    is_new: bool,
    /// YAML after the grants.
    after: &'a str,
    grants: Vec<ReviewedGrant<'a>>,
    omitted: Vec<OmittedData>,
}

/// A grant, for the page.
#[derive(Serialize)]
struct ReviewedGrant<'a> {
    yaml: &'a str,
    principals: Vec<String>,
    secrets: Vec<ItemData>,
    regions: Vec<ItemData>,
    sources: Vec<ItemData>,
    keys: Vec<ItemData>,
    reads: u64,
    days: usize,
    /// Seconds since 1970.
    last: i64,
    baseline_per_hour: u64,
    /// Pairs of principal and secret that were read, and those that are granted.
    pairs: [usize; 2],
    doubts: Vec<String>,
}

/// An entry of a grant with the reads behind it.
#[derive(Serialize)]
struct ItemData {
    name: String,
    /// Reads and days; `None` for an entry that stands in for the grant as a whole.
    reads: Option<(u64, usize)>,
    /// Seconds since 1970 of the first and the last read.
    span: Option<[i64; 2]>,
}

/// Omitted accesses, for the page.
#[derive(Serialize)]
struct OmittedData {
    why: &'static str,
    principal: String,
    accesses: u64,
    secrets: usize,
    first: i64,
    alerts: Vec<String>,
}

/// The page as HTML; `text` is the proposal as YAML.
///
/// # Errors
///
/// [`RunFailure::Internal`]: a bug in Secretrail.
pub(crate) fn page(proposal: &PolicyProposal, text: &ProposalText) -> Result<String, RunFailure> {
    let grants = proposal.grants.iter().zip(&text.grants);
    PAGE.with(&ReviewData {
        version: env!("CARGO_PKG_VERSION"),
        digest: digest(text),
        learned: proposal.learned,
        span: proposal.span.map(|(first, last)| [first.0, last.0]),
        before: &text.before,
        is_new: text.is_new,
        after: &text.after,
        grants: grants.map(|(grant, yaml)| reviewed(grant, yaml)).collect(),
        omitted: proposal.left_out.iter().map(omitted).collect(),
    })
}

fn digest(text: &ProposalText) -> String {
    let mut digest = Sha256::new();
    digest.update(&text.before);
    text.grants.iter().for_each(|grant| digest.update(grant));
    STANDARD.encode(digest.finalize())
}

fn reviewed<'a>(grant: &ProposedGrant, yaml: &'a str) -> ReviewedGrant<'a> {
    let items = |names: &[String]| names.iter().map(|name| item(name, grant)).collect();
    ReviewedGrant {
        yaml,
        principals: lines(&grant.principals),
        secrets: items(&grant.secrets),
        regions: items(&grant.regions),
        sources: items(&grant.sources),
        keys: items(&grant.keys),
        reads: grant.reads,
        days: grant.days,
        last: grant.last.0,
        baseline_per_hour: grant.baseline_per_hour,
        pairs: [grant.seen_pairs, grant.granted_pairs],
        doubts: lines(&grant.doubts),
    }
}

fn item(name: &str, grant: &ProposedGrant) -> ItemData {
    let evidence = grant.evidence.get(name);
    let span = |evidence: &ItemEvidence| [evidence.first.0, evidence.last.0];
    ItemData {
        name: sanitize::line(name).into_owned(),
        reads: evidence.map(|evidence| (evidence.reads, evidence.days)),
        span: evidence.map(span),
    }
}

fn omitted(omission: &Omission) -> OmittedData {
    OmittedData {
        why: omission.why.as_str(),
        principal: sanitize::line(&omission.principal).into_owned(),
        accesses: omission.accesses,
        secrets: omission.secrets,
        first: omission.first.0,
        alerts: lines(&omission.alerts),
    }
}

fn lines(texts: &[String]) -> Vec<String> {
    let texts = texts.iter();
    texts
        .map(|text| sanitize::line(text).into_owned())
        .collect()
}
