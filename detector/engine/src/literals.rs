//! Finds, among many patterns, those that may match a text: by one literal of each.

use std::cmp::Reverse;

use ahash::{HashMap, HashSet};
use aho_corasick::AhoCorasick;

/// Patterns by one of their literals. A text is searched once for all of them.
#[derive(Debug)]
pub(crate) struct LiteralIndex {
    /// The literals, each once.
    automaton: AhoCorasick,
    /// The numbers of the patterns of each literal.
    users: Vec<Vec<usize>>,
    /// The numbers of the patterns without a literal.
    loose: Vec<usize>,
}

impl LiteralIndex {
    /// Indexes patterns, given as their literals, by number. `None` if there are too many for an
    /// automaton.
    pub(crate) fn new<'p>(patterns: &[Vec<&'p [u8]>]) -> Option<Self> {
        let mut shared: HashMap<&[u8], usize> = HashMap::default();
        for literal in patterns.iter().flatten() {
            *shared.entry(literal).or_default() += 1;
        }
        let mut users: HashMap<&'p [u8], Vec<usize>> = HashMap::default();
        let mut loose = Vec::new();
        for (number, literals) in patterns.iter().enumerate() {
            // The one that says most: that of the fewest patterns, and of those the longest.
            let best = literals.iter().filter(|literal| !literal.is_empty());
            let best = best.min_by_key(|literal| (shared.get(*literal), Reverse(literal.len())));
            match best {
                Some(literal) => users.entry(literal).or_default().push(number),
                None => loose.push(number),
            }
        }
        let (literals, users): (Vec<&[u8]>, Vec<Vec<usize>>) = users.into_iter().unzip();
        Some(Self {
            automaton: AhoCorasick::new(literals).ok()?,
            users,
            loose,
        })
    }

    /// The numbers of the patterns that may match a text, each once: those whose literal is in it.
    pub(crate) fn candidates(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        let found = self.automaton.find_overlapping_iter(text);
        let mut known = HashSet::default();
        // Once, however often a text repeats a literal.
        let literals = found
            .map(|found| found.pattern().as_usize())
            .filter(move |literal| known.insert(*literal));
        let users = literals.flat_map(|literal| self.users.get(literal).into_iter().flatten());
        self.loose.iter().chain(users).copied()
    }
}
