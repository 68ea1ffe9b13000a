//! Many values without wildcards at once.

use ahash::HashSet;

use crate::{
    literals::{LiteralSet, begins_with_any},
    rule::values::TextTest,
};

/// Values, as a text is compared with them.
#[derive(Debug, Clone)]
pub(super) enum PlainValues {
    Is(HashSet<Box<str>>),
    Contains(LiteralSet),
    StartsWith(Beginnings),
    /// Backwards.
    EndsWith(Beginnings),
}

impl PlainValues {
    /// Indexes values. `None` if there are too many for an automaton.
    pub(super) fn new(values: Vec<String>, test: TextTest) -> Option<Self> {
        Some(match test {
            TextTest::Is => Self::Is(values.into_iter().map(String::into_boxed_str).collect()),
            TextTest::Contains => Self::Contains(LiteralSet::new(&values)?),
            TextTest::StartsWith => {
                Self::StartsWith(values.into_iter().map(String::into_bytes).collect())
            }
            TextTest::EndsWith => {
                Self::EndsWith(values.iter().map(|value| backwards(value)).collect())
            }
        })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Is(values) => values.contains(text),
            Self::Contains(values) => values.is_in(text),
            Self::StartsWith(values) => values.begin(text.as_bytes()),
            Self::EndsWith(values) => values.begin(&backwards(text)),
        }
    }
}

fn backwards(text: &str) -> Vec<u8> {
    text.bytes().rev().collect()
}

/// Beginnings of texts, sorted; none of them is the beginning of another.
#[derive(Debug, Clone)]
pub(super) struct Beginnings(Vec<Box<[u8]>>);

impl FromIterator<Vec<u8>> for Beginnings {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(values: I) -> Self {
        let mut sorted: Vec<Box<[u8]>> = values.into_iter().map(Vec::into_boxed_slice).collect();
        sorted.sort_unstable();
        // What begins with another value comes behind it, and adds nothing.
        sorted.dedup_by(|longer, shorter| longer.starts_with(shorter));
        Self(sorted)
    }
}

impl Beginnings {
    /// Whether a text begins with one of them.
    fn begin(&self, text: &[u8]) -> bool {
        begins_with_any(&self.0, text)
    }
}
