//! Patterns as in IAM: `*` is any text, `?` is one character, everything else stands for itself.
//!
//! Source: IAM user guide, "IAM JSON policy elements: Resource" (wildcards).

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

/// Stands in a subject for one character that is not known: it matches any letter or digit of the pattern.
pub const UNKNOWN: char = '\u{1}';

impl Glob {
    /// Every text is a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole subject matches, with case.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        let pattern: &[u8] = self.0.as_bytes();
        let subject = subject.as_bytes();
        let (mut p, mut s) = (0, 0);
        // Where to go on when the text after the last star does not fit.
        let mut star: Option<(usize, usize)> = None;
        loop {
            match (pattern.get(p), subject.get(s)) {
                (Some(b'*'), _) => {
                    star = Some((p, s));
                    p += 1;
                }
                (Some(b'?'), Some(_)) => {
                    p += 1;
                    s = next_char(subject, s);
                }
                (Some(a), Some(b))
                    if a == b || (*b == UNKNOWN as u8 && a.is_ascii_alphanumeric()) =>
                {
                    p += 1;
                    s += 1;
                }
                (None, None) => return true,
                _ => match star {
                    Some((at, from)) if from < subject.len() => {
                        let from = next_char(subject, from);
                        star = Some((at, from));
                        p = at + 1;
                        s = from;
                    }
                    _ => return false,
                },
            }
        }
    }
}

fn next_char(text: &[u8], at: usize) -> usize {
    let continues = |i: &usize| text.get(*i).is_some_and(|b| b & 0xc0 == 0x80);
    let mut next = at + 1;
    while continues(&next) {
        next += 1;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

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
                Glob::new(pattern).matches(subject),
                expected,
                "{pattern} on {subject:?}"
            );
        }
    }
}
