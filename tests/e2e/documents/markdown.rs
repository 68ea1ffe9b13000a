//! The parts of a Markdown file that can be wrong: anchors, links, and code.

use std::collections::{BTreeMap, BTreeSet};

/// A text of a file, with the line where it begins, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub line: usize,
    pub text: String,
}

/// What is in a Markdown file.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The anchors of its headings, as GitHub makes them.
    pub anchors: BTreeSet<String>,
    /// Targets of links and pictures.
    pub links: Vec<Found>,
    /// Code in sentences.
    pub code: Vec<Found>,
    /// Lines of the blocks marked `console`, `sh` or `bash`; continued lines are one.
    pub commands: Vec<Found>,
    /// Blocks marked `text`.
    pub shown: Vec<Found>,
}

impl Document {
    pub(super) fn read(text: &str) -> Self {
        let mut document = Self::default();
        let prose = document.blocks(text);
        let prose = document.take_code(&prose);
        document.take_links(&prose);
        document
    }

    /// Takes the blocks and the headings; gives the text with blank lines in place of blocks.
    fn blocks(&mut self, text: &str) -> String {
        let mut prose = String::new();
        let mut headings = BTreeMap::new();
        let mut block: Option<String> = None;
        let mut continued = false;
        for (line, text) in (1..).zip(text.lines()) {
            let mark = text.trim_start().strip_prefix("```");
            match (&block, mark) {
                (None, Some(info)) => {
                    block = Some(info.trim().to_owned());
                    continued = false;
                    if info.trim() == "text" {
                        let text = String::new();
                        self.shown.push(Found { line, text });
                    }
                }
                (Some(_), Some(_)) => block = None,
                (Some(info), None) => match info.as_str() {
                    "console" | "sh" | "bash" => {
                        let (text, more) = match text.strip_suffix('\\') {
                            Some(text) => (text, true),
                            None => (text, false),
                        };
                        match self.commands.last_mut().filter(|_| continued) {
                            Some(before) => before.text.push_str(text.trim_start()),
                            None => self.commands.push(Found {
                                line,
                                text: text.to_owned(),
                            }),
                        }
                        continued = more;
                    }
                    "text" => {
                        let shown = &mut self.shown.last_mut().unwrap().text;
                        shown.push_str(text);
                        shown.push('\n');
                    }
                    _ => {}
                },
                (None, None) => {
                    if let Some(heading) = heading(text) {
                        let before = headings.entry(heading.clone()).or_insert(0);
                        self.anchors.insert(match *before {
                            0 => heading,
                            before => format!("{heading}-{before}"),
                        });
                        *before += 1;
                    }
                    prose.push_str(text);
                }
            }
            prose.push('\n');
        }
        assert!(block.is_none(), "a block of code has no end");
        prose
    }

    /// Takes the code of sentences; gives the text with spaces in its place.
    fn take_code(&mut self, prose: &str) -> String {
        let mut rest = prose;
        let mut without = String::new();
        while let Some(begin) = rest.find('`') {
            let marks = rest[begin..].len() - rest[begin..].trim_start_matches('`').len();
            let (before, after) = rest.split_at(begin + marks);
            without.push_str(&before[..begin]);
            let paragraph = &after[..after.find("\n\n").unwrap_or(after.len())];
            let Some(end) = paragraph.find(&before[begin..]) else {
                rest = after;
                continue;
            };
            let code = &after[..end];
            self.code.push(Found {
                line: 1 + without.matches('\n').count(),
                text: code.replace("\\|", "|").replace('\n', " "),
            });
            without.extend(code.chars().filter(|c| *c == '\n'));
            rest = &after[end + marks..];
        }
        without + rest
    }

    fn take_links(&mut self, prose: &str) {
        for (line, text) in (1..).zip(prose.lines()) {
            for (at, _) in text.match_indices("](") {
                let mut open = 0;
                let end = text[at + 2..].find(|c| {
                    open += match c {
                        '(' => 1,
                        ')' => -1,
                        _ => 0,
                    };
                    open < 0
                });
                let end = end.unwrap_or_else(|| panic!("line {line}: a link has no end"));
                let target = text[at + 2..at + 2 + end].split(' ').next().unwrap();
                let text = target.to_owned();
                self.links.push(Found { line, text });
            }
            let definition = text.strip_prefix('[').and_then(|t| t.split_once("]: "));
            if let Some((_, target)) = definition {
                let text = target.trim().to_owned();
                self.links.push(Found { line, text });
            }
        }
    }
}

/// The anchor of a heading: its letters and digits in lower case, hyphens for spaces.
fn heading(line: &str) -> Option<String> {
    let text = line.trim_start_matches('#');
    let depth = line.len() - text.len();
    let text = text
        .strip_prefix(' ')
        .filter(|_| (1..=6).contains(&depth))?;
    let kept = text.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    Some(kept.collect::<String>().to_lowercase())
}

#[test]
fn anchors_links_and_code_are_found_outside_of_blocks() {
    let document = Document::read(
        "# A `b`, c\n## Same\n## Same\n[x](y.md#z \"title\") and [`code](no)`](e)\n\n\
         ```yaml\n# no heading\n[no](link)\n```\n`two\nlines` [r]\n\n[r]: end.md\n\
         ```console\nls \\\n  -l\npwd\n```\n```text\nshown\n```\n",
    );
    let anchors: Vec<&str> = document.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["a-b-c", "same", "same-1"]);
    let texts = |found: &[Found]| {
        let texts = found.iter().map(|f| (f.line, f.text.clone()));
        texts.collect::<Vec<_>>()
    };
    let own = |line: usize, text: &str| (line, text.to_owned());
    assert_eq!(
        texts(&document.links),
        [own(4, "y.md#z"), own(4, "e"), own(13, "end.md")]
    );
    assert_eq!(
        texts(&document.code),
        [own(1, "b"), own(4, "code](no)"), own(10, "two lines")]
    );
    assert_eq!(
        texts(&document.commands),
        [own(15, "ls -l"), own(17, "pwd")]
    );
    assert_eq!(texts(&document.shown), [own(19, "shown\n")]);
}
