//! Where secrets may be replicated to.

use std::{collections::BTreeSet, fmt};

use super::matching::{any_covers, any_matches, patterns_text, subjects};
use crate::{glob::GlobPattern, ids::SecretRef};

/// An entry of `replicas`.
#[derive(Debug)]
pub(super) struct ReplicaGrant {
    pub(super) secrets: Vec<GlobPattern>,
    /// `None` for every region.
    pub(super) regions: Option<Vec<GlobPattern>>,
    /// Accounts that may have replicas, beside the secret's own.
    pub(super) accounts: BTreeSet<String>,
}

/// A place that a secret is replicated to.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaPlace<'a> {
    /// Its account, twelve digits.
    pub account: &'a str,
    /// Its region, as in `eu-west-1`.
    pub region: &'a str,
}

impl fmt::Display for ReplicaGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&patterns_text(&self.secrets))?;
        if let Some(regions) = &self.regions {
            write!(f, " to {}", patterns_text(regions))?;
        }
        if !self.accounts.is_empty() {
            let accounts: Vec<&str> = self.accounts.iter().map(String::as_str).collect();
            write!(f, " in {}", accounts.join(", "))?;
        }
        Ok(())
    }
}

impl ReplicaGrant {
    pub(super) fn covers(&self, secret: &SecretRef, place: ReplicaPlace<'_>) -> bool {
        let is_ours = place.account == &*secret.account;
        let regions = self.regions.as_ref();
        (is_ours || self.accounts.contains(place.account))
            && regions.is_none_or(|list| any_matches(list, place.region))
            && any_covers(&self.secrets, &subjects(secret), secret)
    }
}
