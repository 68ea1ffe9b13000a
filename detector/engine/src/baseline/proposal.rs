//! What is proposed, and what was left out of it.

use crate::ids::SharedStr;
use crate::time::EventTime;

/// What to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaselineOptions {
    /// Pairs of principal and secret with fewer reads are left out.
    pub min_reads: u64,
    /// Pairs that were read on fewer days are left out.
    pub min_days: usize,
}

impl Default for BaselineOptions {
    fn default() -> Self {
        Self {
            min_reads: 1,
            min_days: 1,
        }
    }
}

/// Why accesses were not learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OmissionReason {
    /// The read was denied.
    Denied,
    /// KMS was called directly.
    DirectDecrypt,
    /// Many secrets at once, on one day only.
    BulkRead,
    /// The root user.
    Root,
    /// A key use without a read.
    NoRead,
    /// Fewer reads or days than asked for.
    Rare,
    /// The principal or the secret has no name, or one that a pattern cannot hold.
    Unnamed,
    /// The read failed.
    Failed,
}

impl OmissionReason {
    /// Words for the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::DirectDecrypt => "decrypted by calling KMS directly",
            Self::BulkRead => "read in bulk, once",
            Self::Root => "read by the root user",
            Self::NoRead => "decrypted without a read in the log",
            Self::Rare => "read too rarely",
            Self::Unnamed => "without a usable name",
            Self::Failed => "failed",
        }
    }
}

/// One line of what was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// Why.
    pub why: OmissionReason,
    /// Whose.
    pub principal: SharedStr,
    /// How many accesses.
    pub accesses: u64,
    /// How many distinct secrets.
    pub secrets: usize,
    /// The first one.
    pub first: EventTime,
}

/// A proposed grant and the evidence for it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedGrant {
    /// Patterns of principals.
    pub principals: Vec<String>,
    /// Patterns of secrets and parameters.
    pub secrets: Vec<String>,
    /// Regions.
    pub regions: Vec<String>,
    /// Networks, endpoints and services; empty when the history is too thin or too mixed to say.
    pub sources: Vec<String>,
    /// Patterns of keys; empty when no key use was seen.
    pub keys: Vec<String>,
    /// The most reads of one secret by one principal in an hour, but for one busy hour in a
    /// hundred.
    pub baseline_per_hour: u64,
    /// Reads behind it.
    pub reads: u64,
    /// Days on which there were reads.
    pub days: usize,
    /// The last one.
    pub last: EventTime,
    /// Principals that were seen.
    pub seen_principals: usize,
    /// Secrets that were seen.
    pub seen_secrets: usize,
    /// Why to look twice at it.
    pub doubts: Vec<String>,
}

/// A proposed policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyProposal {
    /// Grants, by account and principal.
    pub grants: Vec<ProposedGrant>,
    /// What was left out, by reason, most accesses first.
    pub left_out: Vec<Omission>,
    /// Accesses that were learned from.
    pub learned: u64,
    /// Accesses that an earlier policy already expects.
    pub expected: u64,
    /// First and last event time.
    pub span: Option<(EventTime, EventTime)>,
}
