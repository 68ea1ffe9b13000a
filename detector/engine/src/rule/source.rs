//! The YAML documents of a rule file, and where in the file each one stands.
//!
//! The Sigma parser keeps no positions. A file is therefore split before it is parsed, so that an
//! error can only be found in the text of its own rule.

use rsigma_parser::{SigmaCollection, parse_sigma_yaml};

use crate::{
    rule::fault::{LoadError, SigmaFault},
    sanitize::without_byte_order_mark,
    yaml,
};

/// One YAML document of a rule file: one rule, correlation or filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleDocument<'a> {
    /// Name of the file, as the caller gave it.
    pub(crate) file: &'a str,
    /// Number of the file, from 0. Names need not be different.
    pub(crate) index: usize,
    /// Text of the document, with its `---`.
    pub(crate) text: &'a str,
    /// Number of lines of the file before the document.
    pub(crate) lines_before: usize,
}

impl<'a> RuleDocument<'a> {
    /// The documents of a file that have content; one empty document when none has.
    pub(crate) fn all(file: &'a str, text: &'a str, index: usize) -> Vec<Self> {
        let text = without_byte_order_mark(text);
        let whole = Self {
            file,
            index,
            text,
            lines_before: 0,
        };
        let mut documents: Vec<Self> = Vec::new();
        let (mut start, mut at, mut first_line) = (0, 0, 0);
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if is_marker(line, "---") && at > start {
                documents.extend(whole.part(start, at, first_line));
                (start, first_line) = (at, number);
            }
            at += line.len();
            if is_marker(line, "...") {
                documents.extend(whole.part(start, at, first_line));
                (start, first_line) = (at, number + 1);
            }
        }
        documents.extend(whole.part(start, at, first_line));
        if documents.is_empty() {
            documents.push(whole);
        }
        documents
    }

    /// The document between two offsets; `None` where nothing but comments stands there.
    fn part(self, start: usize, end: usize, lines_before: usize) -> Option<Self> {
        let text = self.text.get(start..end)?;
        has_content(text).then_some(Self {
            text,
            lines_before,
            ..self
        })
    }

    /// The title of the rule, if it stands at the beginning of a line.
    pub(crate) fn title(&self) -> Option<&'a str> {
        let mut lines = self.text.lines();
        let title = lines.find_map(|line| line.strip_prefix("title:"))?;
        let title = title.trim().trim_matches(['"', '\'']);
        (!title.is_empty()).then_some(title)
    }

    /// Whether a line of the file, from 1, belongs to the document.
    pub(crate) fn has_line(&self, line: usize) -> bool {
        (self.lines_before + 1..=self.last_line()).contains(&line)
    }

    fn last_line(&self) -> usize {
        self.lines_before + self.text.lines().count().max(1)
    }

    /// The line of the file, from 1, where a key or a word stands in this document. Falls back to
    /// the key `field`, then to the keys around it (`detection` for `detection.condition`), then to
    /// the title, then to the first line with content.
    pub(crate) fn line_of(&self, word: &str, field: &str) -> usize {
        let by_key = || {
            let keys = field.rsplit('.');
            keys.chain(["title"])
                .find_map(|key| self.line_with_key(key))
                .or_else(|| self.text.lines().position(has_content))
        };
        let line = self
            .line_with_key(word)
            .or_else(|| self.line_with(word))
            .or_else(by_key);
        self.lines_before + line.unwrap_or(0) + 1
    }

    /// The first line, from 0, that begins with a key.
    fn line_with_key(&self, key: &str) -> Option<usize> {
        self.text.lines().position(|line| {
            let line = line.trim_start_matches("---");
            let line = line.trim_start_matches([' ', '-', '"', '\'', '{']);
            let rest = line.strip_prefix(key);
            !key.is_empty() && rest.is_some_and(|rest| rest.starts_with([':', '|', '"', '\'']))
        })
    }

    /// The first line, from 0, that holds a word.
    fn line_with(&self, word: &str) -> Option<usize> {
        let mut lines = self.text.lines();
        lines.position(|line| !word.is_empty() && line.contains(word))
    }

    /// An error at the line of a word; see [`Self::line_of`].
    pub(crate) fn error(&self, word: &str, field: &str, message: impl Into<String>) -> LoadError {
        LoadError {
            file: self.file.to_owned(),
            line: self.line_of(word, field),
            rule: self.title().map(str::to_owned),
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// An error of the Sigma parser or compiler. `default` is the field where the message names
    /// none.
    pub(super) fn sigma_error(&self, text: &str, default: &str) -> LoadError {
        let fault = SigmaFault::read(text, default);
        let found = self.error(&fault.word, &fault.field, fault.message);
        // The YAML parser may see only after the end of the document that something is missing.
        let line = fault.line.map(|line| line.min(self.last_line()));
        LoadError {
            line: line.unwrap_or(found.line),
            ..found
        }
    }

    /// Whether another file holds the same text.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        fn text<'t>(document: &RuleDocument<'t>) -> &'t str {
            document.text.trim_start_matches("---").trim()
        }
        self.index != other.index && text(self) == text(other)
    }

    /// The warning that a rule is a copy of the one in another file.
    pub(super) fn is_a_copy(&self, title: &str, first: &Self) -> String {
        format!(
            "{}: `{title}` is a copy of the rule in {}, and is read once",
            self.file, first.file
        )
    }

    /// Whether the file has no document with content.
    pub(super) fn is_empty(&self) -> bool {
        !has_content(self.text)
    }

    /// Whether the document changes how other documents of the file are read (`action: global`,
    /// `reset`, `repeat` of Sigma collections).
    fn is_action(&self) -> bool {
        self.text.lines().any(|line| line.starts_with("action:"))
    }
}

/// Whether a line is a document marker, alone or followed by content.
fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether text has more than comments, directives and document markers.
fn has_content(text: &str) -> bool {
    text.lines().any(|line| {
        let marker = is_marker(line, "---") || is_marker(line, "...");
        let rest = if marker {
            line.get(3..).unwrap_or("")
        } else {
            line
        };
        let rest = rest.trim();
        !rest.is_empty() && !rest.starts_with('#') && !line.starts_with('%')
    })
}

/// A document and what the Sigma parser reads in it. Its errors name lines of the file.
pub(crate) struct ParsedDocument<'a> {
    pub(crate) source: RuleDocument<'a>,
    pub(crate) parsed: SigmaCollection,
}

/// Parses every document of a file on its own, so that one broken document hides no other.
pub(crate) fn parse<'a>(file: &'a str, text: &'a str, index: usize) -> Vec<ParsedDocument<'a>> {
    let documents = RuleDocument::all(file, text, index);
    // Only such files are parsed with what precedes: elsewhere an error must not spread to the next
    // rule.
    let mut context = documents
        .iter()
        .any(RuleDocument::is_action)
        .then(EarlierDocuments::default);
    let parsed = documents.into_iter().map(|source| {
        let parsed = match &mut context {
            Some(context) => context.parse(&source),
            None => parse_text(source.text, source.lines_before, 0),
        };
        ParsedDocument { source, parsed }
    });
    parsed.collect()
}

/// The sound documents so far of a file with collection actions. Each next document is parsed
/// behind them, because it may repeat or extend them.
#[derive(Default)]
struct EarlierDocuments {
    text: String,
    rules: usize,
    correlations: usize,
    filters: usize,
}

impl EarlierDocuments {
    fn parse(&mut self, source: &RuleDocument<'_>) -> SigmaCollection {
        let mut text = self.text.clone();
        if !source.text.starts_with("---") {
            text.push_str("---\n");
        }
        let before = text.lines().count();
        text.push_str(source.text);
        let mut parsed = parse_text(&text, source.lines_before, before);
        parsed.rules.drain(..self.rules.min(parsed.rules.len()));
        let known = self.correlations.min(parsed.correlations.len());
        parsed.correlations.drain(..known);
        let known = self.filters.min(parsed.filters.len());
        parsed.filters.drain(..known);
        // A broken document stays out, or its error would be reported again for each one after it.
        if parsed.errors.is_empty() {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            self.text = text;
            self.rules += parsed.rules.len();
            self.correlations += parsed.correlations.len();
            self.filters += parsed.filters.len();
        }
        parsed
    }
}

/// Parses text whose lines from `skipped` on stand in a file after `lines_before` lines.
fn parse_text(text: &str, lines_before: usize, skipped: usize) -> SigmaCollection {
    let mut parsed = match yaml::check(text) {
        Ok(()) => {
            let merged = merged(text);
            let text = merged.as_deref().unwrap_or(text);
            parse_sigma_yaml(text).unwrap_or_else(|error| failed(error.to_string()))
        }
        Err(fault) => failed(match fault.line() {
            Some(line) => format!("{fault} (from line {line} on)"),
            None => fault.to_string(),
        }),
    };
    for error in &mut parsed.errors {
        *error = with_lines_of_file(error, lines_before, skipped);
    }
    parsed
}

/// A document that could not be read.
fn failed(error: String) -> SigmaCollection {
    let mut failed = SigmaCollection::new();
    failed.errors.push(error);
    failed
}

/// The text of a document with merge keys (`<<`) in which they are merged; `None` without any. The
/// Sigma parser takes them for fields.
fn merged(text: &str) -> Option<String> {
    if !text.contains("<<") {
        return None;
    }
    let mut document: yaml_serde::Value = yaml_serde::from_str(text).ok()?;
    document.apply_merge().ok()?;
    yaml_serde::to_string(&document).ok()
}

/// Keys of which a rule, a correlation or a filter has one.
const SIGMA_KEYS: [&str; 4] = ["detection", "correlation", "filter", "logsource"];

/// Whether a YAML file among rules is none of ours: it holds nothing of Sigma, or only rules about
/// other products. A broken rule is ours.
#[must_use]
pub fn is_foreign(text: &str) -> bool {
    let mut documents = RuleDocument::all("", text, 0);
    documents.retain(|document| !document.is_empty());
    // Correlations have no product: it is that of the rules beside them.
    if documents
        .iter()
        .any(|document| document.has_key("logsource"))
    {
        documents.retain(|document| !document.has_key("correlation"));
    }
    // An empty file is a mistake that is reported.
    !documents.is_empty() && documents.iter().all(RuleDocument::is_foreign)
}

impl RuleDocument<'_> {
    fn is_foreign(&self) -> bool {
        let parsed = yaml::check(self.text).ok();
        let parsed =
            parsed.and_then(|()| yaml_serde::from_str::<yaml_serde::Value>(self.text).ok());
        let Some(document) = parsed else {
            return !SIGMA_KEYS.iter().any(|key| self.has_key(key));
        };
        // A rule that lacks its detection is a mistake, which only a title shows.
        let is_sigma = |key: &str| document.get(key).is_some();
        if !SIGMA_KEYS.iter().any(|key| is_sigma(key)) {
            return !(is_sigma("title") && (is_sigma("level") || is_sigma("status")));
        }
        let product = document.get("logsource").and_then(|l| l.get("product"));
        let product = product.and_then(yaml_serde::Value::as_str);
        product.is_some_and(|product| !product.eq_ignore_ascii_case("aws"))
    }

    /// Whether a line begins with a key.
    fn has_key(&self, key: &str) -> bool {
        let mut lines = self.text.lines();
        lines.any(|line| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    }
}

/// A message of the YAML parser whose `line N` are lines of the file.
fn with_lines_of_file(message: &str, lines_before: usize, skipped: usize) -> String {
    let mut parts = message.split("line ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("line ");
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        match number.parse::<usize>() {
            Ok(line) => out.push_str(&(line + lines_before).saturating_sub(skipped).to_string()),
            Err(_) => out.push_str(number),
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str =
        "# Rules.\n---\nlevel: low\ntitle: 'One'\n---\nlevel: high\ntitle: Two\nid: x\n";

    #[test]
    fn documents_begin_at_their_markers_and_need_content() {
        let at = |text| -> Vec<(usize, Option<&str>)> {
            let documents = RuleDocument::all("r.yml", text, 0).into_iter();
            documents.map(|d| (d.lines_before, d.title())).collect()
        };
        assert_eq!(at(TWO), [(1, Some("One")), (4, Some("Two"))]);
        assert_eq!(
            at("title: A\n...\n%YAML 1.2\n---\ntitle: B\n--- # end\n").len(),
            2
        );
        assert_eq!(
            at("--- {title: A}\r\n---\r\ntitle: B"),
            [(0, None), (1, Some("B"))]
        );
        assert_eq!(at("\u{feff}title: A\n"), [(0, Some("A"))]);
        // Not a marker: four hyphens, and text that only begins like one.
        assert_eq!(at("title: A\n----\n---x\n").len(), 1);
        assert_eq!(at(""), [(0, None)]);
        assert_eq!(at("# nothing\n---\n"), [(0, None)]);
    }

    #[test]
    fn an_error_stays_within_its_document() {
        let two = RuleDocument::all("r.yml", TWO, 0)[1];
        assert_eq!(two.line_of("level", ""), 6);
        assert_eq!(two.line_of("absent", "absent"), 7);
        assert_eq!(two.line_of("One", "id"), 8);
        assert_eq!(two.line_of("", "rule.level"), 6);
        assert!(two.has_line(5) && two.has_line(8) && !two.has_line(4) && !two.has_line(9));
    }

    #[test]
    fn a_key_goes_before_a_word_in_a_text() {
        let text = "title: The condition is absent\ndetection:\n  condition: x\n";
        let document = RuleDocument::all("r.yml", text, 0)[0];
        assert_eq!(document.line_of("condition", ""), 3);
        assert_eq!(document.line_of("absent", ""), 1);
    }

    const RULE: &str = "logsource: {product: aws}\ndetection: {s: {a: b}, condition: s}\n";

    #[test]
    fn a_broken_document_hides_no_other() {
        let text = format!("title: A\n{RULE}---\ntitle: [\n---\ntitle: C\n{RULE}");
        let parsed = parse("r.yml", &text, 0);
        let rules: Vec<usize> = parsed.iter().map(|p| p.parsed.rules.len()).collect();
        assert_eq!(rules, [1, 0, 1]);
        let error = &parsed[1].parsed.errors[0];
        assert!(
            error.contains("line 5") || error.contains("line 6"),
            "{error}"
        );
    }

    #[test]
    fn merge_keys_are_merged_and_other_documents_stay_as_they_are() {
        let text = "a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n";
        let value: yaml_serde::Value = yaml_serde::from_str(&merged(text).unwrap()).unwrap();
        assert_eq!(value["b"]["x"], yaml_serde::Value::from(1));
        assert_eq!(merged("a: 1\n"), None);
    }

    #[test]
    fn yaml_of_others_is_foreign_and_a_broken_rule_is_not() {
        let rule = |product: &str| format!("title: T\nlogsource: {{product: {product}}}\n");
        for foreign in [
            "services:\n  web: {image: x}\n",
            "on: push\njobs: {}\n",
            "name: p\npriority: 1\ntransformations: []\n",
            "- 1\n",
            "{{ template }}\n",
            &rule("windows"),
            &format!("{}---\ntitle: C\ncorrelation: {{}}\n", rule("azure")),
            &format!("title: C\ncorrelation: {{}}\n---\n{}", rule("azure")),
        ] {
            assert!(is_foreign(foreign), "{foreign}");
        }
        for ours in [
            "",
            "# nothing\n",
            "title: T\nlevel: low\n",
            "title: T\ndetection: [\n",
            "title: C\ncorrelation: {}\n",
            &rule("aws"),
            "title: T\nlogsource: {category: secret_access}\n",
        ] {
            assert!(!is_foreign(ours), "{ours}");
        }
    }

    #[test]
    fn documents_with_actions_are_read_behind_the_earlier_ones() {
        let text = format!(
            "action: global\nlevel: high\n{RULE}---\ntitle: A\n---\ntitle: [\n---\ntitle: B\n"
        );
        let parsed = parse("r.yml", &text, 0);
        let titles = parsed.iter().flat_map(|p| &p.parsed.rules);
        assert_eq!(titles.map(|r| &*r.title).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(parsed[3].source.lines_before, 8);
        assert!(
            parsed[2].parsed.errors[0].contains("line 9"),
            "{:?}",
            parsed[2].parsed.errors
        );
    }
}
