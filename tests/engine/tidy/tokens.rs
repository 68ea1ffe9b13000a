//! Rust as words and signs, without comments and literals.

/// A word or sign of a source.
#[derive(Clone, Copy)]
pub(super) struct Token<'t> {
    /// As it is written.
    pub text: &'t str,
    /// From 1.
    pub line: usize,
}

pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Words, double colons and single signs; comments and literals left out.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let ignored = comment(rest).or_else(|| literal(rest));
        let length = ignored.unwrap_or_else(|| match first {
            c if is_word(rest) => rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len().max(c.len_utf8())),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        });
        let (text, after) = rest.split_at(length);
        if ignored.is_none() && !first.is_whitespace() {
            found.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// The length of the comment that a text begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        Some(text.find('\n').unwrap_or(text.len()))
    } else if text.starts_with("/*") {
        Some(text.find("*/").map_or(text.len(), |end| end + 2))
    } else {
        None
    }
}

/// The length of the string, character or lifetime that a text begins with.
fn literal(text: &str) -> Option<usize> {
    let bare = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - bare.len();
    let length = if let Some(raw) = bare.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let closing = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        2 + hashes + closing
    } else if let Some(inside) = bare.strip_prefix('"') {
        1 + quoted(inside, '"')
    } else {
        let inside = bare.strip_prefix('\'')?;
        let mut two = inside.chars();
        match (two.next()?, two.next()) {
            ('\\', _) | (_, Some('\'')) => 1 + quoted(inside, '\''),
            _ => 1,
        }
    };
    Some(prefix + length)
}

/// How long a literal is after its first quote, the last one included.
fn quoted(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

/// The tokens of a file without the items that only tests see.
pub(super) fn without_tests(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut kept = Vec::new();
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        match attribute(rest) {
            Some((inside, after)) if is_for_tests(inside) => rest = after_item(after),
            _ => {
                kept.push(*token);
                rest = after;
            }
        }
    }
    kept
}

/// What an attribute says, and what follows it.
fn attribute<'s, 't>(tokens: &'s [Token<'t>]) -> Option<(&'s [Token<'t>], &'s [Token<'t>])> {
    let [hash, open, rest @ ..] = tokens else {
        return None;
    };
    if hash.text != "#" || open.text != "[" {
        return None;
    }
    let end = rest.iter().position(|token| token.text == "]")?;
    Some((&rest[..end], &rest[end + 1..]))
}

/// Whether an attribute is a `cfg` that asks for tests. One that also lets others see the item is
/// not.
fn is_for_tests(attribute: &[Token<'_>]) -> bool {
    let texts: Vec<&str> = attribute.iter().map(|token| token.text).collect();
    matches!(
        texts[..],
        ["cfg", "(", "test", ")"] | ["cfg", "(", "all", "(", "test", ..]
    )
}

/// The tokens after an item: after its first closed braces, or its semicolon.
fn after_item<'s, 't>(tokens: &'s [Token<'t>]) -> &'s [Token<'t>] {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(token.text, "}" | ";") {
            return &tokens[at + 1..];
        }
    }
    &[]
}
