//! Many patterns with `*` and `?` at once.
//!
//! A text is searched once for literals, one of each pattern; only patterns whose literal is in it
//! are compared. The result is that of a regular expression for each pattern: `*` and `?` match
//! any characters, and without regard to case means simple case folding.

use std::borrow::Cow;

use ahash::{HashMap, HashSet};
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
use rsigma_parser::value::{SpecialChar, StringPart};

use crate::{glob, literals::LiteralIndex, rule::values::TextTest};

/// The wildcards in an encoded pattern: bytes that no text contains.
const MANY: u8 = 0xff;
const ONE: u8 = 0xfe;

/// A pattern as bytes: text, [`MANY`] and [`ONE`].
type EncodedPattern = Box<[u8]>;

/// Patterns, found by their literals.
#[derive(Debug, Clone)]
pub(super) struct WildcardIndex {
    fold: CaseFold,
    patterns: Vec<EncodedPattern>,
    literals: LiteralIndex,
}

impl WildcardIndex {
    /// Indexes patterns. `None` if there are too many for an automaton.
    pub(super) fn new(patterns: &[&[StringPart]], test: TextTest, cased: bool) -> Option<Self> {
        let mut fold = CaseFold {
            cased,
            ..CaseFold::default()
        };
        let encoded: HashSet<EncodedPattern> = patterns
            .iter()
            .map(|parts| encoded(parts, test, &mut fold))
            .collect();
        let patterns: Vec<EncodedPattern> = encoded.into_iter().collect();
        let literals: Vec<_> = patterns.iter().map(|pattern| literals(pattern)).collect();
        Some(Self {
            literals: LiteralIndex::new(&literals)?,
            fold,
            patterns,
        })
    }

    /// Whether any pattern matches a text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let folded = self.fold.folded(text);
        let mut candidates = self.literals.candidates(folded.as_bytes());
        candidates.any(|number| {
            let pattern = self.patterns.get(number);
            pattern.is_some_and(|pattern| {
                glob::is_match(pattern, folded.as_bytes(), (MANY, ONE), |a, b| a == b)
            })
        })
    }
}

/// A pattern for a whole text: with a `*` where the match need not begin or end with it.
fn encoded(parts: &[StringPart], test: TextTest, fold: &mut CaseFold) -> EncodedPattern {
    let mut bytes = Vec::new();
    if matches!(test, TextTest::Contains | TextTest::StartsWith) {
        bytes.push(MANY);
    }
    for part in parts {
        match part {
            StringPart::Plain(text) => {
                fold.learn(text);
                bytes.extend_from_slice(fold.folded(text).as_bytes());
            }
            StringPart::Special(SpecialChar::WildcardSingle) => bytes.push(ONE),
            StringPart::Special(SpecialChar::WildcardMulti) => bytes.push(MANY),
        }
    }
    if matches!(test, TextTest::Contains | TextTest::EndsWith) {
        bytes.push(MANY);
    }
    bytes.dedup_by(|a, b| (*a, *b) == (MANY, MANY));
    bytes.into()
}

/// The texts between the wildcards of a pattern.
fn literals(pattern: &[u8]) -> Vec<&[u8]> {
    pattern.split(|byte| [MANY, ONE].contains(byte)).collect()
}

/// Gives one form to all characters that differ only in case, by simple case folding as in regular
/// expressions. It has to know the characters of the patterns; for others, it does not matter.
#[derive(Debug, Default, Clone)]
struct CaseFold {
    /// Leaves every text as it is.
    cased: bool,
    /// Characters beyond ASCII that have another form.
    others: HashMap<char, char>,
    learned: HashSet<char>,
}

impl CaseFold {
    /// Notes the forms of the characters of a pattern.
    fn learn(&mut self, text: &str) {
        let letters = text.chars().filter(|c| !self.cased && c.is_alphabetic());
        for letter in letters.collect::<Vec<_>>() {
            if !self.learned.insert(letter) {
                continue;
            }
            let mut forms = ClassUnicode::new([ClassUnicodeRange::new(letter, letter)]);
            forms.case_fold_simple();
            // The first is a capital letter of ASCII, if any is.
            let first = forms.ranges().first().map_or(letter, |range| range.start());
            let all = forms.ranges().iter().flat_map(|r| r.start()..=r.end());
            self.others.extend(
                all.filter(|form| *form != first && !form.is_ascii())
                    .map(|form| (form, first)),
            );
        }
    }

    fn folded<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.cased {
            return text.into();
        }
        if text.is_ascii() {
            return text.to_ascii_uppercase().into();
        }
        text.chars()
            .map(|c| self.form(c))
            .collect::<String>()
            .into()
    }

    fn form(&self, c: char) -> char {
        match self.others.get(&c) {
            Some(form) => *form,
            None => c.to_ascii_uppercase(),
        }
    }
}
