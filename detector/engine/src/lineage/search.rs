//! The search for the calls that issued some keys, and those that issued the keys of their callers.
//! Each pass over the calls, in any order, finds one link more of each chain.

use std::sync::Arc;

use ahash::{HashMap, HashSet};

use super::issue::CredentialIssue;
use crate::{ids::SharedStr, limits::LINEAGE_LINKS};

/// A search for the calls that issued keys.
#[derive(Debug, Clone, Default)]
pub struct LineageSearch {
    /// Keys that the current pass looks for.
    wanted: HashSet<SharedStr>,
    /// Keys that were looked for.
    looked_for: HashSet<SharedStr>,
    found: HashMap<SharedStr, Arc<CredentialIssue>>,
    passes: usize,
}

impl LineageSearch {
    /// A search for the calls that issued these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = SharedStr>) -> Self {
        Self {
            wanted: keys.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether another pass can find something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.wanted.is_empty() && self.passes < LINEAGE_LINKS
    }

    /// Whether the current pass looks for the call that issued a key.
    #[must_use]
    pub fn wants(&self, key: &str) -> bool {
        self.wanted.contains(key)
    }

    /// Adds a call that the pass looks for; others are left out. Of copies, the one that says more
    /// about the caller is kept.
    pub fn add(&mut self, issue: CredentialIssue) {
        if !self.wants(&issue.key) {
            return;
        }
        let known = self.found.get(&issue.key);
        if known.is_none_or(|known| issue.is_better_than(known)) {
            self.found.insert(issue.key.clone(), Arc::new(issue));
        }
    }

    /// Ends a pass: the next looks for the keys of the callers that it has found.
    pub fn end_pass(&mut self) {
        self.passes += 1;
        let wanted = std::mem::take(&mut self.wanted);
        let found = wanted.iter().filter_map(|key| self.found.get(key));
        let keys = found.filter_map(|issue| issue.caller.access_key.clone());
        let keys: HashSet<SharedStr> = keys.collect();
        self.looked_for.extend(wanted);
        let known = &self.looked_for;
        let new = keys.into_iter().filter(|key| !known.contains(key));
        self.wanted = new.collect();
    }

    /// The call that issued a key; `None` if it was not found.
    pub(super) fn issue(&self, key: &str) -> Option<&Arc<CredentialIssue>> {
        self.found.get(key)
    }
}
