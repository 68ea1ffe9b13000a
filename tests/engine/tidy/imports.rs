//! Which way imports point: back along the order of the `mod` lines in `lib.rs`, and never at
//! `lib.rs` itself.

use super::tokens::{Token, is_word, tokens, without_tests};

/// Why an import is refused, and what to do about it.
const WHY: &str = "imports point back along the order of the mod lines in lib.rs: \
                   move the shared piece below, or the importer above";
const WHY_ROOT: &str = "nobody imports lib.rs: give what is shared a module of its own";
const WHY_APART: &str = "these know nothing of each other: \
                         what they share belongs into a module below all of them";

/// The sources of a crate.
pub(super) struct Sources<'a> {
    /// Path below `src`, as `alert/text.rs`, and text of each file; `lib.rs` among them.
    pub files: Vec<(&'a str, &'a str)>,
    /// Top-level modules whose children must not import each other.
    pub apart: &'a [&'a str],
}

/// Every import that points the wrong way, as `file:line: what and why`.
pub(super) fn wrong_imports(sources: &Sources<'_>) -> Vec<String> {
    let order = sources.modules_of("lib.rs");
    assert!(!order.is_empty(), "lib.rs has no mod lines");
    let for_tests = sources.test_modules_of("lib.rs");
    let mut wrong = Vec::new();
    // What dispatches may know everything; nobody may know it.
    let others = sources
        .files
        .iter()
        .filter(|(file, _)| !["lib.rs", "main.rs"].contains(file));
    for (file, text) in others {
        let me = module_of(file);
        if for_tests.contains(&me[0]) {
            continue;
        }
        let position = order.iter().position(|name| *name == me[0]);
        let position = position.unwrap_or_else(|| panic!("{file}: lib.rs has no mod line for it"));
        for import in imports(text, &me) {
            let why = match order.iter().position(|name| *name == import.path[0]) {
                None => WHY_ROOT,
                Some(at) if at > position => WHY,
                Some(_) if sources.keeps_apart(&me, &import.path) => WHY_APART,
                Some(_) => continue,
            };
            let path = import.path.join("::");
            wrong.push(format!("{file}:{}: crate::{path}: {why}", import.line));
        }
    }
    wrong
}

impl Sources<'_> {
    fn text(&self, file: &str) -> &str {
        let file = self.files.iter().find(|(name, _)| *name == file);
        file.map_or("", |(_, text)| text)
    }

    /// The modules that a file declares, in the order of its `mod` lines.
    fn modules_of(&self, file: &str) -> Vec<&str> {
        declared(&without_tests(tokens(self.text(file))))
    }

    /// The modules that a file declares for tests only.
    fn test_modules_of(&self, file: &str) -> Vec<&str> {
        let known = self.modules_of(file);
        let mut all = declared(&tokens(self.text(file)));
        all.retain(|name| !known.contains(name));
        all
    }

    /// Whether two modules are different children of one whose children must not know each other.
    fn keeps_apart(&self, me: &[&str], other: &[&str]) -> bool {
        let ([parent, mine, ..], [_, theirs, ..]) = (me, other) else {
            return false;
        };
        // What is no module is an item of the parent, which its children may use.
        self.apart.contains(parent)
            && other[0] == *parent
            && mine != theirs
            && self.modules_of(&format!("{parent}.rs")).contains(theirs)
    }
}

/// The modules with a file of their own that these tokens declare.
fn declared<'t>(tokens: &[Token<'t>]) -> Vec<&'t str> {
    let declared = tokens.windows(3).filter_map(|three| match three {
        [keyword, name, end] if keyword.text == "mod" && end.text == ";" => Some(name.text),
        _ => None,
    });
    declared.collect()
}

/// The path of the module in a file: `alert::text` for `alert/text.rs`.
fn module_of(file: &str) -> Vec<&str> {
    file.trim_end_matches(".rs").split('/').collect()
}

/// A path into the crate that a file names.
struct Import<'t> {
    line: usize,
    /// From the root of the crate on; never empty.
    path: Vec<&'t str>,
}

/// Every path into the crate in a file of this module, in `use` and elsewhere, tests left out.
fn imports<'t>(text: &'t str, me: &[&'t str]) -> Vec<Import<'t>> {
    let tokens = without_tests(tokens(text));
    let mut found = Found::default();
    let mut module = me.to_vec();
    // How deep in braces each module inside the file began.
    let mut inner: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        rest = after;
        match (token.text, after) {
            ("use", _) => rest = found.tree(after, &[], &module),
            ("mod", [name, brace, ..]) if brace.text == "{" => {
                module.push(name.text);
                inner.push(depth);
            }
            ("crate" | "super" | "self", [colons, ..]) if colons.text == "::" => {
                rest = found.tree(&tokens[tokens.len() - after.len() - 1..], &[], &module);
            }
            ("{", _) => depth += 1,
            ("}", _) => {
                depth -= 1;
                if inner.last() == Some(&depth) {
                    inner.pop();
                    module.pop();
                }
            }
            _ => {}
        }
    }
    found.imports
}

#[derive(Default)]
struct Found<'t> {
    imports: Vec<Import<'t>>,
}

impl<'t> Found<'t> {
    /// Follows a path and the braces it may end in, notes where it leads, and gives the tokens
    /// after it.
    fn tree<'s>(
        &mut self,
        tokens: &'s [Token<'t>],
        prefix: &[&'t str],
        module: &[&'t str],
    ) -> &'s [Token<'t>] {
        let mut path = prefix.to_vec();
        let mut line = 0;
        let mut rest = tokens;
        while let [token, after @ ..] = rest {
            match token.text {
                "{" => return self.braces(after, &path, module),
                "::" => {}
                text if is_word(text) || text == "*" => {
                    path.push(text);
                    line = token.line;
                    // A path ends where no colons follow.
                    if after.first().is_none_or(|next| next.text != "::") {
                        rest = after;
                        break;
                    }
                }
                _ => break,
            }
            rest = after;
        }
        self.note(&path, line, module);
        rest
    }

    fn braces<'s>(
        &mut self,
        tokens: &'s [Token<'t>],
        prefix: &[&'t str],
        module: &[&'t str],
    ) -> &'s [Token<'t>] {
        let mut rest = tokens;
        while let [token, after @ ..] = rest {
            rest = match token.text {
                "}" => return after,
                "," => after,
                // The new name is nothing that is imported.
                "as" => after.get(1..).unwrap_or_default(),
                _ => self.tree(rest, prefix, module),
            };
        }
        rest
    }

    /// Notes a path if it leads into the crate.
    fn note(&mut self, path: &[&'t str], line: usize, module: &[&'t str]) {
        let (mut base, mut rest) = match path {
            ["crate", rest @ ..] => (Vec::new(), rest),
            ["self", rest @ ..] => (module.to_vec(), rest),
            ["super", ..] => (module.to_vec(), path),
            _ => return,
        };
        while let ["super", after @ ..] = rest {
            base.pop();
            rest = after;
        }
        base.extend(rest);
        // `crate::{self}` and a `super` of a top-level module mean the root itself.
        if base.is_empty() {
            base.push("self");
        }
        self.imports.push(Import { line, path: base });
    }
}

/// What is wrong in a crate of two modules, `low` before `high`, when `low.rs` has this text.
fn wrong_in_low(text: &str) -> Vec<String> {
    let files = vec![
        (
            "lib.rs",
            "mod low;\n\npub(crate) mod high;\n#[cfg(test)]\nmod samples;\npub struct Root;",
        ),
        ("samples.rs", "use crate::Root;"),
        ("low.rs", text),
        ("high.rs", "use crate::low::Thing;"),
    ];
    wrong_imports(&Sources { files, apart: &[] })
}

#[test]
fn an_import_of_what_comes_later_is_found_with_its_line() {
    let wrong = wrong_in_low("//! Low.\n\nuse crate::high::Thing;\n");
    assert_eq!(wrong, [format!("low.rs:3: crate::high::Thing: {WHY}")]);
    assert!(wrong_in_low("use crate::low::Thing;\nuse std::fmt;").is_empty());
}

#[test]
fn a_tree_over_several_lines_is_followed_to_each_of_its_ends() {
    // The first is allowed, the two below are not.
    let tree = "use crate::{\n    low::Own,\n    high::{\n        self as top,\n        a::Deep,\n    }\n};";
    let wrong = wrong_in_low(tree);
    let lines: Vec<_> = wrong.iter().filter_map(|w| w.split_once(": c")).collect();
    assert_eq!(lines.len(), 2, "{wrong:?}");
    assert_eq!((lines[0].0, lines[1].0), ("low.rs:4", "low.rs:5"));
}

#[test]
fn a_path_without_use_counts_like_an_import() {
    assert_eq!(
        wrong_in_low("fn f() -> u8 {\n    super::high::one() + self::own()\n}"),
        [format!("low.rs:2: crate::high::one: {WHY}")]
    );
    // In a module inside the file, `super` is the file.
    assert!(wrong_in_low("mod a { fn f() { super::high() } }").is_empty());
    assert_eq!(
        wrong_in_low("mod a { fn f() {} }\nuse super::high;").len(),
        1
    );
}

#[test]
fn tests_comments_and_literals_import_nothing() {
    assert!(wrong_in_low("#[cfg(test)]\nmod tests {\n    use crate::high::Thing;\n}").is_empty());
    assert!(wrong_in_low("#[cfg(test)]\nuse crate::high::Thing;").is_empty());
    assert!(wrong_in_low("/// [`crate::high::Thing`]\n// use crate::high;\nfn f() {}").is_empty());
    assert!(wrong_in_low("const A: (&str, char) = (\"\\\"crate::high::B\", '\"');").is_empty());
    assert!(wrong_in_low("const A: &str = r#\"a\" crate::high::B\"#;").is_empty());
    // What follows a test, a lifetime or a string is read again.
    for text in [
        "#[cfg(test)]\nmod tests { fn f() { {} } }\nuse crate::high::A;",
        "fn f<'a>(x: &'a str) -> char { '\\'' }\n\nuse crate::high::A;",
        "#[cfg(any(test, feature = \"testkit\"))]\n\nuse crate::high::A;",
    ] {
        assert_eq!(
            wrong_in_low(text),
            [format!("low.rs:3: crate::high::A: {WHY}")]
        );
    }
}

#[test]
fn nobody_imports_the_root() {
    for text in ["use crate::Root;", "use super::Root;", "use super::*;"] {
        let wrong = wrong_in_low(text);
        assert!(
            wrong.len() == 1 && wrong[0].ends_with(WHY_ROOT),
            "{wrong:?}"
        );
    }
}

#[test]
fn children_that_are_kept_apart_may_use_their_parent_only() {
    let wrong = |one: &'static str| {
        let files = vec![
            ("lib.rs", "mod input;\nmod commands;"),
            ("input.rs", ""),
            (
                "commands.rs",
                "mod one;\nmod two;\nuse crate::commands::two::run;\npub fn shared() {}",
            ),
            ("commands/one.rs", one),
            ("commands/one/part.rs", "use super::one;"),
            (
                "commands/two.rs",
                "use crate::input::read;\nuse super::shared;",
            ),
        ];
        wrong_imports(&Sources {
            files,
            apart: &["commands"],
        })
    };
    assert!(wrong("use crate::commands::one::part;\nuse super::shared;").is_empty());
    for text in ["use crate::commands::two::run;", "use super::two::run;"] {
        let path = "commands/one.rs:1: crate::commands::two::run";
        assert_eq!(wrong(text), [format!("{path}: {WHY_APART}")]);
    }
}
