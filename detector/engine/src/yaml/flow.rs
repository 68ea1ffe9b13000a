//! How deep `[` and `{` are nested, by the rules of the YAML parser.
//!
//! Within such a collection its tokens are followed to its end. Outside, each line is looked at on
//! its own, as if it began with a token: a collection that begins elsewhere is refused by the
//! parser. A line within a text of several lines may so be taken for more than it is, never for
//! less.

use std::str::Chars;

use crate::limits::YAML_NESTING;

/// Most characters that are looked at in all. Only a text of several lines with hundreds of
/// collections that seem to begin in it, and do not end, needs more than a few for each of its own.
const STEPS: usize = 1 << 27;

/// The line, from 1, on which a collection begins in which others are nested too deep.
pub(super) fn is_nested_too_deep(text: &str) -> Option<usize> {
    // Most files have too few of them.
    if text.matches(['[', '{']).count() <= YAML_NESTING {
        return None;
    }
    let (mut rest, mut line, mut steps) = (text, 1, 0);
    loop {
        let mut scan = TokenScan::new(rest, steps);
        if scan.is_line_too_deep() || scan.steps > STEPS {
            return Some(line);
        }
        steps = scan.steps;
        let (_, after) = rest.split_once(is_break)?;
        let broken = rest.len() - after.len();
        line += usize::from(rest.get(..broken)?.ends_with('\n'));
        rest = after;
    }
}

/// A blank or a line break of YAML 1.1.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t') || is_break(c)
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A character of an anchor's name.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// The tokens of a text from the beginning of a line on.
struct TokenScan<'t> {
    rest: Chars<'t>,
    /// Whether the next character is the first of its line.
    is_line_start: bool,
    /// Whether a line break was passed.
    has_left_line: bool,
    depth: usize,
    steps: usize,
}

impl<'t> TokenScan<'t> {
    fn new(text: &'t str, steps: usize) -> Self {
        Self {
            rest: text.chars(),
            is_line_start: true,
            has_left_line: false,
            depth: 0,
            steps,
        }
    }

    /// Whether a collection that begins on this line is nested too deep.
    fn is_line_too_deep(&mut self) -> bool {
        self.skip_while(|c| c == '\u{feff}');
        if self.is_at_marker() {
            self.skip_while(|c| c == '-' || c == '.');
        }
        let mut is_on_line = true;
        while is_on_line {
            self.skip_while(|c| matches!(c, ' ' | '\t'));
            match self.peek() {
                Some('[' | '{') => {
                    if self.is_too_deep() {
                        return true;
                    }
                    // What follows a collection of several lines on the last of them is refused.
                    is_on_line = !self.has_left_line;
                }
                // The header of a text of several lines; a comment.
                Some('|' | '>' | '#') | None => return false,
                Some(c) if is_break(c) => return false,
                Some('-' | '?' | ':') if self.second().is_none_or(is_space) => {
                    self.next();
                }
                Some(_) => self.skip_scalar(),
            }
        }
        false
    }

    /// Whether the collection that begins here, or one in it, is nested too deep. What the parser
    /// refuses ends it.
    fn is_too_deep(&mut self) -> bool {
        while self.steps <= STEPS {
            self.skip_space();
            if self.is_at_marker() {
                return false;
            }
            match self.peek() {
                Some('[' | '{') => {
                    self.next();
                    self.depth += 1;
                }
                Some(']' | '}') => {
                    self.next();
                    self.depth = self.depth.saturating_sub(1);
                }
                Some(',' | '?' | ':') => {
                    self.next();
                }
                Some('-') if self.second().is_none_or(is_space) => {
                    self.next();
                }
                Some('|' | '>' | '@' | '`' | '%') | None => return false,
                Some(_) => self.skip_scalar(),
            }
            if self.depth == 0 || self.depth > YAML_NESTING {
                return self.depth > 0;
            }
        }
        false
    }

    /// An anchor, an alias, a tag, or a value that is no collection; outside of collections, what
    /// of it is on this line.
    fn skip_scalar(&mut self) {
        match self.peek() {
            Some('&' | '*') => {
                self.next();
                self.skip_while(is_word);
            }
            Some('!') => self.skip_tag(),
            Some('\'') => self.skip_single_quoted(),
            Some('"') => self.skip_double_quoted(),
            _ => self.skip_plain(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn second(&self) -> Option<char> {
        self.rest.clone().nth(1)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.steps += 1;
        self.is_line_start = is_break(c);
        self.has_left_line |= self.is_line_start;
        Some(c)
    }

    /// Whether the next character ends what is looked at outside of collections.
    fn is_at_line_end(&self) -> bool {
        self.depth == 0 && self.peek().is_none_or(is_break)
    }

    fn skip_while(&mut self, is_part: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&is_part) {
            self.next();
        }
    }

    /// Blanks, line breaks and comments.
    fn skip_space(&mut self) {
        self.skip_while(is_space);
        while self.peek() == Some('#') {
            self.skip_while(|c| !is_break(c));
            self.skip_while(is_space);
        }
    }

    /// Whether a new document begins, or this one ends.
    fn is_at_marker(&self) -> bool {
        let text = self.rest.as_str();
        let rest = text.strip_prefix("---").or(text.strip_prefix("..."));
        self.is_line_start && rest.is_some_and(|rest| rest.chars().next().is_none_or(is_space))
    }

    fn skip_tag(&mut self) {
        self.next();
        let is_verbatim = self.peek() == Some('<');
        if is_verbatim {
            self.next();
        }
        self.skip_while(|c| {
            is_word(c)
                || ";/?:@&=+$.%!~*'()".contains(c)
                || is_verbatim && matches!(c, ',' | '[' | ']')
        });
        if is_verbatim && self.peek() == Some('>') {
            self.next();
        }
    }

    fn skip_single_quoted(&mut self) {
        self.next();
        while !self.is_at_line_end() {
            match self.next() {
                // Two of them are one of the text.
                Some('\'') if self.peek() == Some('\'') => {
                    self.next();
                }
                Some('\'') | None => return,
                Some(_) => {}
            }
        }
    }

    fn skip_double_quoted(&mut self) {
        self.next();
        while !self.is_at_line_end() {
            match self.next() {
                Some('\\') if !self.is_at_line_end() => {
                    self.next();
                }
                Some('"') | None => return,
                Some(_) => {}
            }
        }
    }

    /// Text without quotes. In a collection it may have several lines.
    fn skip_plain(&mut self) {
        self.next();
        while !self.is_at_line_end() {
            let Some(c) = self.peek() else { return };
            match c {
                ',' | '[' | ']' | '{' | '}' if self.depth > 0 => return,
                ':' if self.is_at_colon() => return,
                c if is_space(c) => {
                    match self.depth {
                        0 => self.skip_while(|c| matches!(c, ' ' | '\t')),
                        _ => self.skip_while(is_space),
                    }
                    if self.peek() == Some('#') || self.is_at_marker() {
                        return;
                    }
                }
                _ => {
                    self.next();
                }
            }
        }
    }

    /// Whether the colon that comes next separates a key from its value.
    fn is_at_colon(&self) -> bool {
        let after = self.second();
        after.is_none_or(|c| is_space(c) || self.depth > 0 && ",?[]{}".contains(c))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ways to go one level deeper that a careless count would take for no deeper.
    const STEPS_DOWN: [&str; 16] = [
        "[",
        "[\n",
        "{a: ",
        "[ # ]\n",
        "[ # ]\u{85} ",
        "['it''s ]', ",
        "[\"\\\" ]\", ",
        "[a ' , [b \" , ",
        "[it's, ",
        "[&a x, *a, ",
        "[!t [], !<t]]]> ",
        "[? ",
        "[x:y, ",
        "[a\n b\n # ]\n , ",
        "[- ",
        "[[a#], # ]\n ",
    ];

    #[test]
    fn hostile_nesting_is_found_wherever_it_begins() {
        for before in [
            "grants: ",
            "grants:\n",
            "grants:\n- ",
            "text: |\n  [ \"\n  ' {\ngrants: ",
            "text: it's [ a\n  # [ \"\ngrants: ",
            "# [ '\n# { \"\ngrants: ",
            "\"a # b\": ",
            "x: [a, b]\n? ",
            "--- ",
            "it's \" [a]: ",
            "\"[ ' \": ",
            "[a]: ",
            "&x !y ",
            "a: \"[\n  ' [\"\n\u{85}b: ",
            "\u{feff}",
        ] {
            for down in STEPS_DOWN {
                let text = format!("{before}{}", down.repeat(2_000));
                assert!(is_nested_too_deep(&text).is_some(), "{before}{down}");
            }
        }
    }

    #[test]
    fn a_deep_text_is_refused_as_fast_as_it_is_read() {
        for down in STEPS_DOWN {
            let text = down.repeat(100_000);
            let mut scan = TokenScan::new(&text, 0);
            assert!(scan.is_too_deep(), "{down}");
            assert!(scan.steps <= 64 * YAML_NESTING, "{down}: {}", scan.steps);
        }
    }

    #[test]
    fn many_lists_beside_each_other_are_not_deep() {
        for line in [
            "- secrets: [\"arn:*\", 'it''s', plain's]\n",
            "# - secrets: [\n#   \"x\",\n# ]\n- {a: [b, {c: d}]}\n",
            "- description: \"see [1], [2 and {3\"\n",
            "- re: '^\\[a'\n  other: \"\\\"[\"\n",
            "- user [agent\n- 'x [y'\n- \"[z \\\" [\"\n",
            "# [ {\n- a # [ {\n- |\n  see [1 and {2\n",
        ] {
            let text = line.repeat(1_000);
            assert_eq!(is_nested_too_deep(&text), None, "{line}");
        }
        let deep = format!(
            "a: {}{}\n",
            "[".repeat(YAML_NESTING),
            "]".repeat(YAML_NESTING)
        );
        assert_eq!(is_nested_too_deep(&deep), None);
        assert_eq!(is_nested_too_deep(&format!("x: y\na: [{deep}")), Some(2));
    }

    /// A text between brackets, and how deep it goes.
    fn collection() -> impl Strategy<Value = (String, usize)> {
        let leaf = prop_oneof![
            Just("a"),
            Just("'b ]'"),
            Just("\"c \\\" [\""),
            Just("d's"),
            Just("e f\n g"),
            Just("&h i"),
            Just("!t j"),
            Just("1"),
            Just("k#"),
            Just("l # [ ]\n "),
            Just("m: n"),
        ];
        let leaf = leaf.prop_map(|text| (text.to_owned(), 0));
        leaf.prop_recursive(6, 40, 4, |inner| {
            (prop::collection::vec(inner, 0..4), any::<bool>()).prop_map(|(items, is_map)| {
                let depth = items.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
                let items = items.into_iter().enumerate();
                let texts: Vec<String> = items
                    .map(|(index, (text, depth))| match is_map {
                        // A pair within a map would be no value of its own.
                        true if depth == 0 => format!("k{index}: 'v'"),
                        true => format!("k{index}: {text}"),
                        false => text,
                    })
                    .collect();
                let (open, close) = if is_map { ('{', '}') } else { ('[', ']') };
                (format!("{open}{} {close}", texts.join(", ")), depth + 1)
            })
        })
    }

    proptest! {
        #[test]
        fn depth_is_counted_as_the_parser_does((text, depth) in collection()) {
            prop_assume!(depth > 0);
            let parsed = yaml_serde::from_str::<yaml_serde::Value>(&text);
            prop_assert!(parsed.is_ok(), "{}: {:?}", text, parsed);
            let mut scan = TokenScan::new(&text, 0);
            let mut deepest = 0;
            // The same loop, one bracket after the other.
            let padded = "[".repeat(YAML_NESTING - depth) + &text;
            prop_assert!(!TokenScan::new(&padded, 0).is_too_deep(), "{}", text);
            let padded = "[".repeat(YAML_NESTING - depth + 1) + &text;
            prop_assert!(TokenScan::new(&padded, 0).is_too_deep(), "{}", text);
            deepest += usize::from(scan.is_too_deep());
            prop_assert_eq!(deepest, 0);
            prop_assert_eq!(scan.rest.as_str(), "", "it ends with its own bracket");
        }
    }
}
