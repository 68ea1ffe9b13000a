//! Numbers in text for people.

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
}
