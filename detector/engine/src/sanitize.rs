//! Sanitises text from logs for display.

use std::borrow::Cow;

/// For terminals: one line, in which U+FFFD replaces control characters, escape sequences,
/// invisible characters, and marks that change the direction of text.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_harmful) {
        Cow::Owned(
            text.chars()
                .map(|c| if is_harmful(c) { '\u{fffd}' } else { c })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// For cells of a spreadsheet: like [`line()`], and never the beginning of a formula (CWE-1236).
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    let text = line(text);
    if text.trim_start().starts_with([
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]) {
        Cow::Owned(format!("'{text}"))
    } else {
        text
    }
}

/// Text without the byte order mark that some editors write in front of it.
#[must_use]
pub fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn is_harmful(c: char) -> bool {
    // Besides control characters: characters without width, marks that change the direction of
    // text, line breaks of Unicode, and tag characters, which hide text in text.
    c.is_control()
        || matches!(
            c,
            '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_harmful_is_left() {
        assert_eq!(
            line("a\u{1b}[31mb\r\nc\u{202e}d"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}d"
        );
        assert_eq!(line("Zoë 東京"), "Zoë 東京");
        assert_eq!(cell("=cmd()"), "'=cmd()");
        assert_eq!(cell(" @SUM(A1)"), "' @SUM(A1)");
        assert_eq!(cell("\t=1"), "\u{fffd}=1");
        assert_eq!(cell("10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn text_that_does_no_harm_is_not_copied() {
        let text = "role/prod-payments, Zoë 東京 👩\u{301}";
        assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
        assert!(matches!(cell(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn what_hides_or_turns_text_is_shown() {
        for hidden in [
            '\u{9b}',
            '\u{200b}',
            '\u{2028}',
            '\u{202e}',
            '\u{2066}',
            '\u{e0041}',
        ] {
            assert_eq!(line(&format!("a{hidden}b")), "a\u{fffd}b", "{hidden:?}");
        }
    }

    #[test]
    fn a_formula_is_text_in_any_width_and_behind_any_space() {
        for formula in [
            "+1",
            "-1",
            "\u{ff1d}1",
            "\u{ff0b}1",
            "\u{3000}=1",
            " \u{a0}@x",
        ] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
    }
}
