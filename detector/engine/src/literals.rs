//! Finds, among many patterns, those that may match a text: by one literal of each.

use std::cmp::Reverse;

use ahash::{HashMap, HashSet};
use aho_corasick::AhoCorasick;

/// Literals in an automaton. Renumbering its states takes the square of their number in the worst
/// case, in which each literal is the beginning of others, as in numbered names.
const LITERALS: usize = 4_096;

/// Whether a text begins with one of these, which are sorted, and none of which begins with
/// another.
pub(crate) fn begins_with_any<B: AsRef<[u8]>>(sorted: &[B], text: &[u8]) -> bool {
    // Between a beginning and the texts that have it there is no other.
    let before = sorted.partition_point(|beginning| beginning.as_ref() <= text);
    let last = before.checked_sub(1).and_then(|last| sorted.get(last));
    last.is_some_and(|beginning| text.starts_with(beginning.as_ref()))
}

/// Literals that a text is searched for at once.
#[derive(Debug, Clone)]
pub(crate) struct LiteralSet(Vec<AhoCorasick>);

impl LiteralSet {
    /// `None` if there are too many for an automaton.
    pub(crate) fn new<L: AsRef<[u8]>>(literals: &[L]) -> Option<Self> {
        let automata = literals.chunks(LITERALS).map(AhoCorasick::new);
        Some(Self(automata.collect::<Result<_, _>>().ok()?))
    }

    /// Whether a text contains any of them.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|automaton| automaton.is_match(text))
    }

    /// The numbers of those in a text, each as often as it occurs.
    fn found<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = usize> + 't {
        let automata = self.0.iter().zip((0..).step_by(LITERALS));
        automata.flat_map(move |(automaton, first)| {
            let found = automaton.find_overlapping_iter(text);
            found.map(move |found| first + found.pattern().as_usize())
        })
    }
}

/// Patterns by one of their literals. A text is searched once for all of them.
#[derive(Debug, Clone)]
pub(crate) struct LiteralIndex {
    /// The literals, each once.
    literals: LiteralSet,
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
            literals: LiteralSet::new(&literals)?,
            users,
            loose,
        })
    }

    /// The numbers of the patterns that may match a text, each once: those whose literal is in it.
    pub(crate) fn candidates<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = usize> + 't {
        let mut known = HashSet::default();
        // Once, however often a text repeats a literal.
        let literals = self.literals.found(text);
        let literals = literals.filter(move |literal| known.insert(*literal));
        let users = literals.flat_map(|literal| self.users.get(literal).into_iter().flatten());
        self.loose.iter().chain(users).copied()
    }
}
