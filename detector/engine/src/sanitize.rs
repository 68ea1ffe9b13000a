//! Sanitises text from logs for display.

use std::{borrow::Cow, fmt::Write as _};

/// For terminals: one line, in which escapes such as `\u{202e}` stand for control characters,
/// escape sequences, invisible characters, and marks that change the direction of text.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) {
            // `\n` and `\t` are shorter than their numbers, and known to everybody.
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// For files of JSON: the same JSON, in which escapes stand for the characters that [`line()`]
/// escapes. Many readers end a line at some of them; none occurs in JSON outside of its strings.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.chars().any(is_harmful_in_json) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful_in_json(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                write!(escaped, "\\u{unit:04x}").ok();
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// JSON escapes its ASCII control characters itself; those between its values are layout.
fn is_harmful_in_json(c: char) -> bool {
    !c.is_ascii() && is_harmful(c)
}

/// For cells of a spreadsheet: like [`line()`], and never the beginning of a formula (CWE-1236).
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    let text = line(text);
    // Spreadsheets may skip white space before a formula, and take full-width signs for ASCII ones.
    if text.trim_start().starts_with([
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]) {
        Cow::Owned(format!("'{text}"))
    } else {
        text
    }
}

/// For mail and chat, whose clients make links of what looks like one: schemes, dots of host names
/// and signs of addresses are broken up, as in `hxxps[:]//login[.]example`. Names of AWS services
/// stay, and so do addresses of hosts without a scheme: no client links them.
#[must_use]
pub fn unlinked(text: &str) -> Cow<'_, str> {
    if !text.contains(['.', '@', ':']) && !text.contains(DOTS) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let run = rest.find(|c| !is_of_host(c)).unwrap_or(rest.len());
        let (host, after) = rest.split_at(run.max(c.len_utf8()));
        let is_url = shown.ends_with(SCHEME_END);
        let is_scheme = after.starts_with("://");
        let is_address = shown.ends_with('@');
        if is_scheme && host.to_ascii_lowercase().starts_with("http") {
            shown.push_str("hxxp");
            shown.push_str(host.get(4..).unwrap_or_default());
        } else if is_url || is_address || is_linked(host) {
            if is_address && is_linked(host) {
                shown.pop();
                shown.push_str("[@]");
            }
            shown.push_str(&host.replace(DOTS, "[.]"));
        } else {
            shown.push_str(host);
        }
        rest = after;
        if is_scheme {
            shown.push_str(SCHEME_END);
            rest = after.get(3..).unwrap_or_default();
        }
    }
    Cow::Owned(shown)
}

/// What stands for `://`.
const SCHEME_END: &str = "[:]//";

/// What separates the labels of a host name.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// Domains that are linked besides those of the root zone.
const SPECIAL_DOMAINS: [&str; 2] = ["example", "onion"];

fn is_of_host(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_') || DOTS.contains(&c)
}

/// Whether a client may take a name for that of a host.
fn is_linked(name: &str) -> bool {
    let name = name.trim_matches(DOTS).to_ascii_lowercase();
    let Some((host, domain)) = name.rsplit_once(DOTS) else {
        return false;
    };
    // `lambda.amazonaws.com`, where nobody can put anything; elsewhere below it, anybody can.
    let service = name.strip_suffix(".amazonaws.com");
    if service.is_some_and(|service| !service.contains(DOTS)) {
        return false;
    }
    let is_domain = tld::exist(domain) || SPECIAL_DOMAINS.contains(&domain);
    let is_foreign = !domain.is_ascii() && domain.chars().all(char::is_alphabetic);
    is_domain || is_foreign || host.starts_with("www")
}

/// Text without the byte order mark that some editors write in front of it.
#[must_use]
pub fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Besides control characters: what Unicode calls default-ignorable, which is drawn as nothing
/// (marks of direction, joiners, fillers, tags, selectors), line breaks of Unicode, marks of
/// annotations, and the blank of braille.
///
/// Source: Unicode, DerivedCoreProperties, `Default_Ignorable_Code_Point`.
fn is_harmful(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_client_makes_a_link() {
        for (text, expected) in [
            (
                "sign in at https://evil.example/a.b",
                "sign in at hxxps[:]//evil[.]example/a.b",
            ),
            ("HTTP://EVIL.COM", "hxxp[:]//EVIL[.]COM"),
            ("http://203.0.113.7:80/x", "hxxp[:]//203[.]0[.]113[.]7:80/x"),
            ("ftp://a.b", "ftp[:]//a[.]b"),
            ("https://https://evil.com", "hxxps[:]//hxxps[:]//evil[.]com"),
            ("x://u@evil.zz", "x[:]//u@evil[.]zz"),
            ("role/evil.com/x", "role/evil[.]com/x"),
            ("(www.anything.zzz)", "(www[.]anything[.]zzz)"),
            ("ann@mail.example.org.", "ann[@]mail[.]example[.]org[.]"),
            (
                "evil\u{3002}com \u{43f}.\u{440}\u{444}",
                "evil[.]com \u{43f}[.]\u{440}\u{444}",
            ),
            ("bucket.s3.amazonaws.com", "bucket[.]s3[.]amazonaws[.]com"),
            ("lambda.amazonaws.com", "lambda.amazonaws.com"),
            (
                "203.0.113.7, 198.51.100.0/24",
                "203.0.113.7, 198.51.100.0/24",
            ),
            ("prod/app.config.json", "prod/app.config.json"),
            ("2026-11-03T03:12:08.000Z", "2026-11-03T03:12:08.000Z"),
            (
                "arn:aws:iam::111122223333:role/app",
                "arn:aws:iam::111122223333:role/app",
            ),
            ("aws-cli/2.15.30 ua/2.0", "aws-cli/2.15.30 ua/2.0"),
            ("role/app@ops read s. Then", "role/app@ops read s. Then"),
            ("", ""),
        ] {
            assert_eq!(unlinked(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_harmful_is_left() {
        assert_eq!(
            line("a\u{1b}[31mb\r\nc\u{202e}d"),
            r"a\u{1b}[31mb\r\nc\u{202e}d"
        );
        assert_eq!(line("Zoë 東京"), "Zoë 東京");
        assert_eq!(cell("=cmd()"), "'=cmd()");
        assert_eq!(cell(" @SUM(A1)"), "' @SUM(A1)");
        assert_eq!(cell("\t=1"), r"\t=1");
        assert_eq!(cell("10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn json_says_the_same_in_escapes() {
        let texts = ["a\u{2028}b\u{85}c", "\u{61c}", "tag\u{e0041}", "\u{7f}"];
        for text in texts {
            let written = serde_json::to_string(text).unwrap();
            let escaped = json(&written);
            assert!(!escaped.chars().any(is_harmful_in_json), "{escaped}");
            assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
        assert_eq!(json("\"a\u{2028}\u{9b}\""), r#""a\u2028\u009b""#);
        // Layout, and text of other scripts, are left alone.
        for same in ["{\n  \"a\": \"Zoë 東京 👩\u{301}\"\n}", "{}"] {
            assert!(matches!(json(same), Cow::Borrowed(text) if text == same));
        }
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
            '\u{ad}',
            '\u{61c}',
            '\u{3164}',
            '\u{200b}',
            '\u{2028}',
            '\u{202e}',
            '\u{2066}',
            '\u{fff9}',
            '\u{ffa0}',
            '\u{e0041}',
            '\u{e01ef}',
        ] {
            let shown = format!("a\\u{{{:x}}}b", u32::from(hidden));
            assert_eq!(line(&format!("a{hidden}b")), shown);
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
