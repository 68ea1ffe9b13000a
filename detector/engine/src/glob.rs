//! Patterns as in IAM: `*` matches any text, `?` one character, everything else itself.
//!
//! Source: IAM user guide, "IAM JSON policy elements: Resource" (wildcards).

/// A pattern with the wildcards of IAM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobPattern(String);

/// Placeholder in a subject for one unknown character: it matches any letter or digit of the
/// pattern.
pub const UNKNOWN: char = '\u{1}';

impl GlobPattern {
    /// Creates a pattern; every text is a valid one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole subject matches; case-sensitive.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        is_match(self.0.as_bytes(), subject.as_bytes(), (b'*', b'?'), is_same)
    }
}

/// Whether a whole subject, which is text, matches a pattern with these bytes for any text and for
/// one character. Other bytes match those that are the same.
#[inline]
pub(crate) fn is_match<'a>(
    mut pattern: &'a [u8],
    mut subject: &'a [u8],
    (many, one): (u8, u8),
    is_same: impl Fn(u8, u8) -> bool,
) -> bool {
    // The pattern after the last star, and where in the subject it was tried. Earlier stars need
    // not be remembered: the text between two stars may as well match at its first occurrence.
    let mut last_star: Option<AfterStar<'_>> = None;
    loop {
        match (pattern.split_first(), subject.split_first()) {
            (None, None) => return true,
            (Some((a, after)), _) if *a == many => {
                last_star = Some((after, subject));
                pattern = after;
            }
            (Some((a, after)), Some(_)) if *a == one => {
                pattern = after;
                subject = without_first_char(subject);
            }
            (Some((a, after)), Some((b, rest))) if is_same(*a, *b) => {
                pattern = after;
                subject = rest;
            }
            // Mismatch: the last star must take more.
            _ => {
                let Some(next) = last_star.and_then(taking_more) else {
                    return false;
                };
                last_star = Some(next);
                (pattern, subject) = next;
            }
        }
    }
}

/// The pattern after a star, and the subject after what the star has taken.
type AfterStar<'a> = (&'a [u8], &'a [u8]);

/// The same star with one character more; `None` when none is left.
fn taking_more<'a>((pattern, subject): AfterStar<'a>) -> Option<AfterStar<'a>> {
    (!subject.is_empty()).then(|| (pattern, without_first_char(subject)))
}

/// Whether a byte of a pattern, other than a wildcard, matches a byte of a subject.
fn is_same(pattern: u8, subject: u8) -> bool {
    pattern == subject || (subject == UNKNOWN as u8 && pattern.is_ascii_alphanumeric())
}

/// A question mark matches a character, not a byte: names may contain any letters.
fn without_first_char(text: &[u8]) -> &[u8] {
    let mut rest = text.get(1..).unwrap_or_default();
    while let Some((byte, after)) = rest.split_first()
        && byte & 0xc0 == 0x80
    {
        rest = after;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_as_iam_does() {
        let cases = [
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("?", "", false),
            ("*x*y*", "1x2y3", true),
            ("*ab*b", "aabab", true),
            ("a**?", "a", false),
            ("*?é", "東é", true),
            ("a*", "ba", false),
            ("", "", true),
            ("", "a", false),
            ("[a]\\*", "[a]\\b", true),
            ("a\u{1}", "ab", false),
            ("prod/*", "Prod/db", false),
            (
                "secret:db-AbC123",
                "secret:db-\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}",
                true,
            ),
            (
                "secret:db-??????",
                "secret:db-\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}",
                true,
            ),
            (
                "secret:db",
                "secret:db-\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}",
                false,
            ),
        ];
        for (pattern, subject, expected) in cases {
            assert_eq!(
                GlobPattern::new(pattern).matches(subject),
                expected,
                "{pattern} on {subject:?}"
            );
        }
    }

    /// Reference implementation, straight from the definition; its time grows with each star.
    fn by_definition(pattern: &[char], subject: &[char]) -> bool {
        match (pattern, subject) {
            ([], subject) => subject.is_empty(),
            (['*', after @ ..], subject) => {
                (0..=subject.len()).any(|taken| by_definition(after, &subject[taken..]))
            }
            (['?', after @ ..], [_, rest @ ..]) => by_definition(after, rest),
            ([a, after @ ..], [b, rest @ ..]) => {
                let is_same = a == b || (*b == UNKNOWN && a.is_ascii_alphanumeric());
                is_same && by_definition(after, rest)
            }
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn every_match_is_one_by_definition(
            pattern in "[ab/é*?]{0,8}",
            subject in "[ab/é\u{1}]{0,10}",
        ) {
            let pattern_chars: Vec<char> = pattern.chars().collect();
            let subject_chars: Vec<char> = subject.chars().collect();
            prop_assert_eq!(
                GlobPattern::new(&pattern).matches(&subject),
                by_definition(&pattern_chars, &subject_chars)
            );
        }
    }
}
