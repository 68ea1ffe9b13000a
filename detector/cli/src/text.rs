//! Numbers and names in text for people, and words for their shell.

use secretrail_engine::sanitize;

/// Most names to suggest.
const SUGGESTED: usize = 3;

/// A number with commas between its thousands.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its noun, in the plural unless the number is 1: `1 file`, `0 accesses`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    let ending = match count {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", number(count))
}

/// The names that a wrong one may have meant, closest first: those that contain it, or differ in
/// few letters. Wildcards at its ends are ignored.
pub(crate) fn close<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let wanted = wanted.trim_matches(['*', '?', '/']).to_lowercase();
    let most = (wanted.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in names {
        let lower = name.to_lowercase();
        // Not for one or two letters, which nearly every name contains.
        let distance = if wanted.len() > 2 && (lower.contains(&wanted) || wanted.contains(&lower)) {
            0
        } else {
            strsim::damerau_levenshtein(&wanted, &lower)
        };
        if distance <= most {
            found.push((distance, name));
        }
    }
    found.sort_by_key(|(distance, name)| (*distance, name.len(), *name));
    let names = found.into_iter().map(|(_, name)| name);
    names.take(SUGGESTED).collect()
}

/// Bytes as hexadecimal digits, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text quoted for a shell, if necessary.
pub(crate) fn shell_quoted(text: &str) -> String {
    let text = sanitize::line(text);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    // A single quote is written as end of quotes, escaped quote, start of quotes.
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whether a character has no special meaning in any shell.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let written = [0, 999, 1_000, 12_345, 1_234_567, u64::MAX].map(number);
        assert_eq!(
            written,
            [
                "0",
                "999",
                "1,000",
                "12,345",
                "1,234,567",
                "18,446,744,073,709,551,615"
            ]
        );
    }

    #[test]
    fn only_one_is_singular() {
        let written = [0, 1, 2_000].map(|count| plural(count, "file"));
        assert_eq!(written, ["0 files", "1 file", "2,000 files"]);
        assert_eq!(plural(1, "access"), "1 access");
        assert_eq!(plural(2, "access"), "2 accesses");
    }

    #[test]
    fn close_names_contain_the_wrong_one_or_differ_in_few_letters() {
        let names = [
            "payments-app",
            "payments-api",
            "web",
            "arn:aws:iam::1:role/payments-app",
        ];
        assert_eq!(
            close("paymnets-app", names),
            ["payments-app", "payments-api"]
        );
        assert_eq!(close("payments-app*", names)[..1], ["payments-app"]);
        assert_eq!(close("WEB", names), ["web"]);
        assert_eq!(close("billing", names), [""; 0]);
        assert_eq!(close("eu-wst-1", ["eu-west-1", "us-east-1"]), ["eu-west-1"]);
    }
}
