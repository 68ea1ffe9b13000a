//! Repairs the JSON of one record, so that one odd byte costs one field and never the record.
//!
//! Readers of JSON differ in what they accept. CloudTrail copies text of callers into records, so a
//! caller can choose bytes that one reader takes and another refuses.

use std::borrow::Cow;

/// Nesting beyond this is replaced by `null`. CloudTrail's own fields are at most ten levels deep;
/// the JSON parser refuses 128.
const MAX_DEPTH: usize = 100;

/// JSON text in which everything that a strict parser refuses inside values is replaced: bytes that
/// are no UTF-8 and lone surrogates by U+FFFD, raw control characters and wrong escapes by what
/// they stand for, numbers out of range and other bare words by strings, and nesting that is too
/// deep by `null`. Sound JSON stays as it is, but for white space. Wrong structure is not repaired.
pub(crate) fn repaired(unit: &[u8]) -> String {
    Repair::of(unit).out
}

/// Whether [`repaired`] replaces something that nobody can read any more: bytes that are no UTF-8,
/// half of a character, or what is nested too deep. Everything else is only written in another way.
pub(crate) fn loses_text(unit: &[u8]) -> bool {
    std::str::from_utf8(unit).is_err() || Repair::of(unit).loses
}

/// How Python writes what JSON has other words for.
const PYTHON: [(&str, &str); 3] = [("None", "null"), ("True", "true"), ("False", "false")];

/// Whether a text is a word that tables and scripts write for no value. A blank text is one.
pub(crate) fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "nan",
        "null",
        "none",
        "undefined",
        "nil",
        "-",
        "n/a",
        "<na>",
        "\\n",
    ];
    // Nearly all texts are longer.
    text.len() <= 9 && {
        let text = text.trim();
        text.is_empty() || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
    }
}

struct Repair {
    out: String,
    depth: usize,
    /// Whether something was replaced that nobody can read any more.
    loses: bool,
}

impl Repair {
    fn of(unit: &[u8]) -> Self {
        let text = String::from_utf8_lossy(unit);
        let mut repair = Self {
            out: String::with_capacity(text.len() + 16),
            depth: 0,
            loses: false,
        };
        repair.document(&text);
        repair
    }

    fn document(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = match c {
                '"' => self.string(rest),
                '\'' => self.single_quoted(rest),
                '{' | '[' if self.depth == MAX_DEPTH => {
                    self.out.push_str("null");
                    self.loses = true;
                    after_nested(rest)
                }
                '{' | '[' => {
                    self.depth += 1;
                    self.out.push(c);
                    after(rest, c)
                }
                '}' | ']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.out.push(c);
                    after(rest, c)
                }
                ',' | ':' => {
                    self.out.push(c);
                    after(rest, c)
                }
                // Outside strings a strict parser refuses control characters, and they mean
                // nothing.
                c if c.is_whitespace() || c.is_control() => after(rest, c),
                _ => self.word(rest),
            };
        }
    }

    /// Copies the string that begins here, and returns what follows it.
    fn string<'t>(&mut self, text: &'t str) -> &'t str {
        self.out.push('"');
        let mut rest = after(text, '"');
        loop {
            let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else {
                // The splitter gives whole units, so that a string ends in them.
                self.out.push_str(rest);
                self.out.push('"');
                return "";
            };
            let (plain, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.out.push_str(plain);
            rest = match from.chars().next() {
                Some('"') | None => {
                    self.out.push('"');
                    return after(from, '"');
                }
                Some('\\') => self.escape(from),
                Some(control) => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(control)));
                    after(from, control)
                }
            };
        }
    }

    /// Copies the string that Python has written here, in single quotes, and returns what follows
    /// it. In JSON, no such quote stands outside of a string.
    fn single_quoted<'t>(&mut self, text: &'t str) -> &'t str {
        self.out.push('"');
        let mut rest = after(text, '\'');
        while let Some(c) = rest.chars().next() {
            let here = rest;
            rest = after(rest, c);
            match c {
                '\'' => break,
                '\\' => match rest.chars().next() {
                    Some('\'') => {
                        self.out.push('\'');
                        rest = after(rest, '\'');
                    }
                    _ => rest = self.escape(here),
                },
                c => self.out.push_str(&escaped(c)),
            }
        }
        self.out.push('"');
        rest
    }

    /// Copies the escape that begins here, if it is one, and returns what follows it.
    fn escape<'t>(&mut self, text: &'t str) -> &'t str {
        let rest = after(text, '\\');
        match rest.chars().next() {
            Some(c) if "\"\\/bfnrt".contains(c) => {
                self.out.push('\\');
                self.out.push(c);
                after(rest, c)
            }
            Some('u') => match unicode(text) {
                Some((c, rest)) => {
                    let is_written = code_unit(text).is_some_and(|(unit, _)| unit == 0xfffd);
                    self.loses |= c == char::REPLACEMENT_CHARACTER && !is_written;
                    self.out.push_str(&escaped(c));
                    rest
                }
                None => self.backslash(rest),
            },
            _ => self.backslash(rest),
        }
    }

    /// A backslash that escapes nothing stands for itself.
    fn backslash<'t>(&mut self, rest: &'t str) -> &'t str {
        self.out.push_str("\\\\");
        rest
    }

    /// Copies a number, `true`, `false` or `null`; anything else, and a number out of range, as a
    /// string.
    fn word<'t>(&mut self, text: &'t str) -> &'t str {
        let end = text
            .find(|c: char| "\"{}[],:".contains(c) || c.is_whitespace() || c.is_control())
            .unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        let of_python = PYTHON.iter().find(|(python, _)| *python == word);
        if let Some((_, json)) = of_python {
            self.out.push_str(json);
        } else if serde_json::from_str::<serde_json::Value>(word).is_ok() {
            self.out.push_str(word);
        } else {
            self.out.push('"');
            self.out.push_str(&word.replace('\\', "\\\\"));
            self.out.push('"');
        }
        rest
    }
}

/// What follows a character at the beginning of a text.
fn after(text: &str, c: char) -> &str {
    text.strip_prefix(c).unwrap_or_default()
}

/// What follows the object or array that begins here.
fn after_nested(text: &str) -> &str {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            '{' | '[' if !in_string => depth += 1,
            '}' | ']' if !in_string => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return text.get(at + 1..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    ""
}

/// The character of an escape like `\u00e9` at the beginning of a text, and what follows it. A
/// surrogate without its other half is U+FFFD. `None` when it has no four hexadecimal digits.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (unit, rest) = code_unit(text)?;
    if let Some(c) = char::from_u32(unit.into()) {
        return Some((c, rest));
    }
    // Half of a pair is no character in UTF-8, and a strict parser refuses the whole record for it.
    let pair = code_unit(rest).and_then(|(low, rest)| {
        let c = char::decode_utf16([unit, low]).next()?.ok()?;
        Some((c, rest))
    });
    Some(pair.unwrap_or((char::REPLACEMENT_CHARACTER, rest)))
}

fn code_unit(text: &str) -> Option<(u16, &str)> {
    let digits = text.strip_prefix("\\u")?;
    let (digits, rest) = digits.split_at_checked(4)?;
    // Rust's own parser accepts a sign, which no escape has.
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok()?;
    is_hex.then_some((unit, rest))
}

/// A character for the inside of a JSON string.
fn escaped(c: char) -> Cow<'static, str> {
    match c {
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        c if c < ' ' => format!("\\u{:04x}", u32::from(c)).into(),
        c => c.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn check(text: &[u8], expected: &Value) {
        let repaired = repaired(text);
        let value: Result<Value, _> = serde_json::from_str(&repaired);
        assert_eq!(value.ok().as_ref(), Some(expected), "{repaired}");
    }

    #[test]
    fn only_what_nobody_can_read_any_more_is_lost() {
        let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        for lost in [
            &b"{\"a\":\"\xff\"}"[..],
            br#"{"a":"\ud800"}"#,
            deep.as_bytes(),
        ] {
            assert!(loses_text(lost), "{}", String::from_utf8_lossy(lost));
        }
        let written = [
            "{\"a\":\"x\ty\"}",
            r#"{"a":1e999,"b":nan,"c":"\q","d":"\ufffd","e":"\ud83d\ude00"}"#,
        ];
        for kept in written {
            assert!(!loses_text(kept.as_bytes()), "{kept}");
        }
    }

    #[test]
    fn what_python_prints_is_read() {
        check(
            br#"{'a': 'it\'s "x"', 'b': None, 'c': [True, False], "d": "it's"}"#,
            &json!({"a": "it's \"x\"", "b": null, "c": [true, false], "d": "it's"}),
        );
        check(
            br#"{'a': 'C:\\x\n', 'b': 'x'}"#,
            &json!({"a": "C:\\x\n", "b": "x"}),
        );
    }

    #[test]
    fn one_odd_byte_costs_one_field() {
        check(
            br#"{"a":"x\ud800y","b":1}"#,
            &json!({"a": "x\u{fffd}y", "b": 1}),
        );
        check(br#"{"a":"\ud83d\ude00"}"#, &json!({"a": "\u{1f600}"}));
        check(
            br#"{"a":"\udc00\ud83d"}"#,
            &json!({"a": "\u{fffd}\u{fffd}"}),
        );
        check(
            br#"{"a":1e999,"b":-1e400}"#,
            &json!({"a": "1e999", "b": "-1e400"}),
        );
        check(b"{\"a\":\"x\ty\x01\"}", &json!({"a": "x\ty\u{1}"}));
        check(b"{\"a\":\"x\xffy\"}", &json!({"a": "x\u{fffd}y"}));
        check(br#"{"a":"C:\q\u12"}"#, &json!({"a": "C:\\q\\u12"}));
        check(
            br#"{"a":NaN,"b":+1,"c":01}"#,
            &json!({"a": "NaN", "b": "+1", "c": "01"}),
        );
        check(br#"{"a":"\u0022\u005c\u0000"}"#, &json!({"a": "\"\\\u{0}"}));
    }

    #[test]
    fn nesting_is_limited_and_the_fields_after_it_stay() {
        let deep = format!(
            "{{\"a\":{}\"]\"{},\"b\":1}}",
            "[".repeat(150),
            "]".repeat(150)
        );
        let value: Value = serde_json::from_str(&repaired(deep.as_bytes())).unwrap();
        assert_eq!(value["b"], 1);
        let depth = std::iter::successors(Some(&value["a"]), |v| v.get(0)).count();
        assert_eq!(depth, MAX_DEPTH, "99 arrays, and the null in the last one");
    }

    #[test]
    fn wrong_structure_stays_wrong() {
        for wrong in [r#"{"a" 1}"#, r#"{"a":1 "b":2}"#, "{:}"] {
            let repaired = repaired(wrong.as_bytes());
            assert!(
                serde_json::from_str::<Value>(&repaired).is_err(),
                "{repaired}"
            );
        }
    }

    proptest! {
        #[test]
        fn sound_json_keeps_its_value(text in "[ -~é\u{1f600}\t]{0,20}", n in any::<i64>()) {
            let value = json!({"k": text, "n": [n, {"x": true, "y": null}], "f": 1.5});
            let again: Value = serde_json::from_str(&repaired(value.to_string().as_bytes())).unwrap();
            prop_assert_eq!(again, value);
        }

        #[test]
        fn any_string_becomes_sound(inside in proptest::collection::vec(any::<u8>(), 0..40)) {
            let inside: Vec<u8> = inside.into_iter().filter(|b| *b != b'"' && *b != b'\\').collect();
            let text = [b"{\"a\":\"", inside.as_slice(), b"\"}"].concat();
            prop_assert!(serde_json::from_str::<Value>(&repaired(&text)).is_ok());
        }
    }
}
