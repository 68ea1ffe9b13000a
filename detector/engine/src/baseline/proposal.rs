//! The proposed policy, and the accesses that were omitted from it.

use std::collections::BTreeMap;

use crate::{ids::SharedStr, network::NetworkLists, time::EventTime};

/// The minimum history of a grant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaselineOptions<'n> {
    /// Pairs of principal and secret with fewer reads are omitted.
    pub min_reads: u64,
    /// Pairs with reads on fewer days are omitted.
    pub min_days: usize,
    /// How many pairs of principal and secret that the history knows a grant may cover for each
    /// pair that was read. Patterns that cover more are not proposed.
    pub max_fold: f64,
    /// Lists of networks: addresses in a list with the label `hosted_ci` are granted as that class.
    pub networks: &'n NetworkLists,
    /// Whether IAM policies are drafted.
    pub drafts_iam: bool,
}

impl Default for BaselineOptions<'_> {
    fn default() -> Self {
        Self {
            min_reads: 1,
            min_days: 1,
            max_fold: 3.0,
            networks: NetworkLists::none(),
            drafts_iam: false,
        }
    }
}

/// Why accesses were omitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OmissionReason {
    /// The call was denied.
    Denied,
    /// KMS was called directly.
    DirectDecrypt,
    /// Part of a bulk read, on one day only.
    BulkRead,
    /// The caller was the root user.
    Root,
    /// A KMS Decrypt without a read.
    NoRead,
    /// Fewer reads or days than [`BaselineOptions`] requires.
    Rare,
    /// The principal or the secret has no name, or one with wildcards.
    Unnamed,
    /// The read failed.
    Failed,
    /// An alert of medium level or higher names it, or something new in it.
    Alerted,
    /// Something in it is new near the end of the history, and did not repeat on several days.
    Recent,
}

impl OmissionReason {
    /// The reason as text for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::DirectDecrypt => "decrypted by calling KMS directly",
            Self::BulkRead => "bulk read on one day only",
            Self::Root => "read by the root user",
            Self::NoRead => "KMS Decrypt without a read in the log",
            Self::Rare => "fewer reads or days than the minimum",
            Self::Unnamed => "no usable name of principal or secret",
            Self::Failed => "failed",
            Self::Alerted => "named by an alert",
            Self::Recent => "new near the end of the history",
        }
    }
}

/// Omitted accesses of one principal for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// Reason.
    pub why: OmissionReason,
    /// Id of the principal, or `an unnamed principal`.
    pub principal: SharedStr,
    /// Number of accesses.
    pub accesses: u64,
    /// Number of distinct secrets.
    pub secrets: usize,
    /// Event time of the first access.
    pub first: EventTime,
    /// Titles of the alerts that name them; empty for any other reason.
    pub alerts: Vec<String>,
}

/// The reads that support one entry of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemEvidence {
    /// Number of reads.
    pub reads: u64,
    /// Number of days (UTC) with reads.
    pub days: usize,
    /// Event time of the first read.
    pub first: EventTime,
    /// Event time of the last read.
    pub last: EventTime,
}

/// A proposed grant and the evidence for it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedGrant {
    /// Ids of principals (ARNs, service names), or patterns with `*`.
    pub principals: Vec<String>,
    /// ARNs of secrets and parameters, with `*` as region, and patterns of names where folded.
    pub secrets: Vec<String>,
    /// Regions, as in `eu-west-1`.
    pub regions: Vec<String>,
    /// Networks (CIDR), VPC endpoint ids and service names; empty, for any source, when the history
    /// is too thin or too mixed.
    pub sources: Vec<String>,
    /// Sources that were seen and are not listed: each on one day only, or, where any is allowed,
    /// different ones.
    pub other_sources: Vec<String>,
    /// ARNs of KMS keys, or patterns; empty, for any key, when the history is too thin or no KMS
    /// Decrypt was seen.
    pub keys: Vec<String>,
    /// 99th percentile of the reads per hour of one secret by one principal: the highest of all
    /// pairs.
    pub baseline_per_hour: u64,
    /// Number of reads that support the grant.
    pub reads: u64,
    /// Number of days (UTC) with reads.
    pub days: usize,
    /// Event time of the last read.
    pub last: EventTime,
    /// Number of principals seen.
    pub seen_principals: usize,
    /// Number of distinct secrets seen.
    pub seen_secrets: usize,
    /// Number of pairs of principal and secret that were read.
    pub seen_pairs: usize,
    /// Number of pairs that the history knows and the grant covers, read or not.
    pub granted_pairs: usize,
    /// Whether a person is among the readers.
    pub by_person: bool,
    /// The evidence by secret, region, source or key, as it stands in the grant.
    pub evidence: BTreeMap<String, ItemEvidence>,
    /// Warnings for the reviewer, as text.
    pub doubts: Vec<String>,
}

impl ProposedGrant {
    /// Whether it names each principal and secret that it covers.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        let mut items = self.principals.iter().chain(&self.secrets);
        !items.any(|item| item.ends_with('*'))
    }
}

/// A proposed policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyProposal {
    /// Grants: those with warnings first, then by principals and secrets.
    pub grants: Vec<ProposedGrant>,
    /// Omitted accesses: by reason, then most accesses first.
    pub left_out: Vec<Omission>,
    /// Number of accesses that the grants are based on.
    pub learned: u64,
    /// Number of accesses that the earlier policy already expects.
    pub expected: u64,
    /// First and last event time of all accesses; `None` without any.
    pub span: Option<(EventTime, EventTime)>,
    /// Drafts of IAM policies that allow just what was learned, as `secretrail.iam_draft/1`;
    /// `None` when they were not asked for.
    pub iam: Option<serde_json::Value>,
}
