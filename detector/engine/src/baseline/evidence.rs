//! The reads behind each entry of a grant: its secrets, regions, sources and keys.

use std::collections::BTreeMap;

use super::{
    networks::{ListedSource, listed},
    pairs::{ReadPair, Uses},
    proposal::{ItemEvidence, ProposedGrant},
};
use crate::glob::GlobPattern;

/// What was read, by entry as it stands in the grant.
pub(super) struct Evidence<'g> {
    /// Patterns of secrets without their `*`, sorted. None begins another.
    folders: Vec<&'g str>,
    /// Patterns of keys: one for each account at most.
    keys: Vec<(&'g str, GlobPattern)>,
    sources: Vec<ListedSource<'g>>,
    found: BTreeMap<String, Uses>,
}

impl<'g> Evidence<'g> {
    pub(super) fn of(grant: &'g ProposedGrant) -> Self {
        let folders = grant.secrets.iter();
        let mut folders: Vec<&str> = folders.filter_map(|item| item.strip_suffix('*')).collect();
        folders.sort_unstable();
        let keys = grant.keys.iter().filter(|item| item.ends_with('*'));
        Self {
            folders,
            keys: keys.map(|item| (&**item, GlobPattern::new(item))).collect(),
            sources: grant.sources.iter().map(|item| listed(item)).collect(),
            found: BTreeMap::new(),
        }
    }

    /// Adds the reads of a secret, by its ARN.
    pub(super) fn add(&mut self, secret: &str, pair: &ReadPair) {
        let path = format!("{secret}/");
        let at = self.folders.partition_point(|folder| *folder <= &*path);
        let folder = at.checked_sub(1).and_then(|at| self.folders.get(at));
        if let Some(folder) = folder.filter(|folder| path.starts_with(**folder)) {
            let item = format!("{folder}*");
            self.merge(&item, &pair.uses);
        }
        self.merge(secret, &pair.uses);
        for (key, uses) in &pair.keys {
            let all = self.keys.iter().find(|(_, pattern)| pattern.matches(key));
            let item = all.map_or_else(|| key.to_string(), |(item, _)| (*item).to_owned());
            self.merge(&item, uses);
        }
        for (region, uses) in &pair.regions {
            self.merge(region, uses);
        }
        for (origin, uses) in &pair.origins {
            let source = self.sources.iter().find(|source| source.has(origin));
            if let Some(item) = source.map(|source| source.item.to_owned()) {
                self.merge(&item, uses);
            }
        }
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
