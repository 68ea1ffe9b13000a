//! The reads behind each entry of a grant: its secrets, regions, sources and keys.

use std::collections::BTreeMap;

use super::{
    networks::has_origin,
    pairs::{ReadPair, Uses},
    proposal::{ItemEvidence, ProposedGrant},
};
use crate::glob::GlobPattern;

/// What was read, by entry as it stands in the grant.
pub(super) struct Evidence<'g> {
    /// Entries with a `*`; all others are found by their text.
    patterns: Vec<(&'g str, GlobPattern)>,
    sources: &'g [String],
    found: BTreeMap<String, Uses>,
}

impl<'g> Evidence<'g> {
    pub(super) fn of(grant: &'g ProposedGrant) -> Self {
        let items = grant.secrets.iter().chain(&grant.keys);
        let patterns = items.filter(|item| item.ends_with('*'));
        Self {
            patterns: patterns
                .map(|item| (&**item, GlobPattern::new(item)))
                .collect(),
            sources: &grant.sources,
            found: BTreeMap::new(),
        }
    }

    /// Adds the reads of a secret, by its ARN.
    pub(super) fn add(&mut self, secret: String, pair: &ReadPair) {
        self.add_item(secret, &pair.uses);
        for (key, uses) in &pair.keys {
            self.add_item(key.to_string(), uses);
        }
        for (region, uses) in &pair.regions {
            self.merge(region, uses);
        }
        for (origin, uses) in &pair.origins {
            let mut sources = self.sources.iter();
            if let Some(source) = sources.find(|source| has_origin(source, origin)) {
                self.merge(source, uses);
            }
        }
    }

    fn add_item(&mut self, item: String, uses: &Uses) {
        let matching = self.patterns.iter();
        let matching = matching.filter(|(_, pattern)| pattern.matches(&item));
        let names: Vec<&str> = matching.map(|(name, _)| *name).collect();
        for name in names {
            self.merge(name, uses);
        }
        self.found.entry(item).or_default().merge(uses);
    }

    fn merge(&mut self, item: &str, uses: &Uses) {
        self.found.entry(item.to_owned()).or_default().merge(uses);
    }

    /// The reads by entry.
    pub(super) fn finish(self) -> BTreeMap<String, ItemEvidence> {
        let items = self.found.into_iter();
        items
            .filter_map(|(item, uses)| {
                let (first, last) = uses.span?;
                let evidence = ItemEvidence {
                    reads: uses.reads,
                    days: uses.days.len(),
                    first,
                    last,
                };
                Some((item, evidence))
            })
            .collect()
    }
}
