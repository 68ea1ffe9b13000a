//! The shape of functions: how long they are, and closures that are given a name.

use super::tokens::{Token, tokens, without_tests};

/// A function, with its length in words and signs from its name to its end.
pub(super) struct Function {
    /// Its name.
    pub name: String,
    /// Where it begins, from 1.
    pub line: usize,
    /// Words and signs; comments and literals left out.
    pub length: usize,
}

/// The functions of a source, those of its tests left out.
pub(super) fn functions(source: &str) -> Vec<Function> {
    let tokens = without_tests(tokens(source));
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [keyword, name] = pair else { continue };
        if keyword.text != "fn" || name.text == "(" {
            continue;
        }
        if let Some(length) = length(&tokens[at..]) {
            found.push(Function {
                name: name.text.to_owned(),
                line: keyword.line,
                length,
            });
        }
    }
    found
}

/// From `fn` to the end of the body; `None` for a function of a trait without one.
fn length(tokens: &[Token<'_>]) -> Option<usize> {
    let (mut nested, mut braces, mut length) = (0, 0, 0);
    for token in tokens {
        // A path separator is two signs.
        length += if token.text == "::" { 2 } else { 1 };
        match token.text {
            "(" | "[" => nested += 1,
            ")" | "]" => nested -= 1,
            ";" if nested == 0 && braces == 0 => return None,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces == 0 {
                    return Some(length);
                }
            }
            _ => {}
        }
    }
    None
}

/// Lines on which a closure is given a name.
pub(super) fn named_closures(source: &str) -> Vec<usize> {
    let tokens = without_tests(tokens(source));
    let mut found = Vec::new();
    for some in tokens.windows(5) {
        let words: Vec<&str> = some.iter().map(|token| token.text).collect();
        if let ["let", _, "=", "|", _] | ["let", _, "=", "move", "|"] = words[..] {
            found.push(some[0].line);
        }
    }
    found
}

#[test]
fn functions_are_measured_with_what_is_nested_in_them() {
    let source = "trait T { fn open(&self) -> u8; }\n\
                  fn outer(x: [u8; 2]) { fn inner() {} a::b(x) }\n\
                  #[cfg(test)] mod tests { fn test() {} }";
    let found: Vec<_> = functions(source)
        .into_iter()
        .map(|function| (function.name, function.line, function.length))
        .collect();
    assert_eq!(
        found,
        [("outer".to_owned(), 2, 26), ("inner".to_owned(), 2, 6)]
    );
}

#[test]
fn a_closure_with_a_name_is_found_and_one_without_is_not() {
    let source = "let a = |x| x;\nlet b = list.map(|x| x);\nlet c = move || d;\nlet e = f | g;";
    assert_eq!(named_closures(source), [1, 3]);
}
