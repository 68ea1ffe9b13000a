//! JSON as every command writes it: in strings, escapes stand for what ends lines, hides, or
//! changes the direction of text.

use std::borrow::Cow;

use secretrail_engine::sanitize;
use serde::Serialize;

use crate::host::RunFailure;

/// Appends a value, without a line end.
///
/// # Errors
///
/// [`RunFailure::Internal`]: it is no JSON.
pub(crate) fn push(value: &impl Serialize, bytes: &mut Vec<u8>) -> Result<(), RunFailure> {
    let start = bytes.len();
    serde_json::to_writer(&mut *bytes, value).map_err(internal)?;
    escape(bytes, start);
    Ok(())
}

/// A value on one line, with its end.
///
/// # Errors
///
/// As [`push`].
pub(crate) fn line(value: &impl Serialize) -> Result<String, RunFailure> {
    let text = serde_json::to_string(value).map_err(internal)?;
    Ok(sanitize::json(&text).into_owned() + "\n")
}

/// A value for people and programs, on many lines.
///
/// # Errors
///
/// As [`push`].
pub(crate) fn pretty(value: &impl Serialize) -> Result<String, RunFailure> {
    let text = serde_json::to_string_pretty(value).map_err(internal)?;
    Ok(sanitize::json(&text).into_owned() + "\n")
}

fn internal(error: serde_json::Error) -> RunFailure {
    RunFailure::Internal(error.to_string())
}

/// Escapes the JSON from `start` on.
pub(crate) fn escape(bytes: &mut Vec<u8>, start: usize) {
    let written = bytes.get(start..).unwrap_or_default();
    // Nearly all lines are ASCII, and serde has escaped its control characters.
    if written.is_ascii() {
        return;
    }
    let escaped = std::str::from_utf8(written).map(sanitize::json);
    if let Ok(Cow::Owned(escaped)) = escaped {
        bytes.truncate(start);
        bytes.extend_from_slice(escaped.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_stays_one_line_for_every_reader() {
        let mut bytes = b"\"\xe2\x80\xa8\",".to_vec();
        let start = bytes.len();
        let hostile = "a\u{85}b\u{2028}c\u{202e}Zo\u{eb}\u{9b}\u{e0041}\u{200b}";
        push(&hostile, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let expected = "\"a\\u0085b\\u2028c\\u202eZo\u{eb}\\u009b\\udb40\\udc41\\u200b\"";
        assert_eq!(text.get(start..).unwrap(), expected);
        assert_eq!(line(&hostile).unwrap(), format!("{expected}\n"));
        assert_eq!(pretty(&hostile).unwrap(), format!("{expected}\n"));
        let back: String = serde_json::from_str(expected).unwrap();
        assert_eq!(back, hostile);
    }
}
