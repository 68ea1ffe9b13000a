//! Sigma files to rules. Strict: what would never match, or could take back an alert, is refused
//! with file, line, field and remedy.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use rsigma_eval::{CompiledRule, Engine, compile_rule};
use rsigma_parser::{CorrelationRule, FilterRule, FilterRuleTarget, SigmaRule, parse_sigma_yaml};
use serde::Deserialize;

use crate::rule::example::{Example, ExampleFile};
use crate::rule::needs::{Uses, needed_calls};
use crate::rule::vars::{Vars, expand};
use crate::rule::{Detection, Member, RuleSet, Target, Window, WindowCondition, fields};
use crate::rule_meta::{Level, RuleMeta, timespan_secs};

/// Group of a suppressed rule that names none.
const DEFAULT_GROUP: [&str; 2] = ["principal.arn", "secret.name"];

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadError {
    /// File it is in.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Key or field that is at fault.
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.file, self.line, self.field, self.message
        )
    }
}

/// Our block in a rule; other tools ignore it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Block {
    pub(super) suppress: Option<String>,
    group_by: Vec<String>,
    #[serde(rename = "times_usual")]
    pub(super) times_usual: Option<f64>,
    examples: Vec<ExampleFile>,
}

/// A file and its text.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// An error at the first line that holds `needle`, from the one that holds `from` on: files
    /// hold several rules, and the title tells which. At the line of `from` where nothing does.
    pub(super) fn error(
        &self,
        needle: &str,
        from: &str,
        field: &str,
        message: impl Into<String>,
    ) -> LoadError {
        let at = |word: &str, start: usize| {
            let mut lines = self.text.lines().enumerate().skip(start);
            lines
                .find(|(_, line)| !word.is_empty() && line.contains(word))
                .map(|(index, _)| index)
        };
        let start = at(from, 0).unwrap_or(0);
        let line = at(needle, start).or_else(|| at(needle, 0)).unwrap_or(start) + 1;
        LoadError {
            file: self.file.to_owned(),
            line,
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

/// What was read, file by file.
#[derive(Default)]
pub(super) struct Loader<'a> {
    rules: Vec<(usize, SigmaRule, CompiledRule)>,
    correlations: Vec<(usize, CorrelationRule)>,
    filters: Vec<(usize, FilterRule)>,
    sources: Vec<Source<'a>>,
    errors: Vec<LoadError>,
}

/// Loads rules from Sigma files, given as pairs of name and text, with their examples.
///
/// # Errors
///
/// Everything that is wrong, in the order of the files.
pub fn load<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(RuleSet, Vec<Example>), Vec<LoadError>> {
    load_with(files, &Vars::new())
}

/// Like [`load`], with values for `|expand`.
///
/// # Errors
///
/// Everything that is wrong, in the order of the files.
pub fn load_with<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    vars: &Vars,
) -> Result<(RuleSet, Vec<Example>), Vec<LoadError>> {
    let mut loader = Loader::default();
    for (file, text) in files {
        loader.read(Source { file, text }, vars);
    }
    let warnings = loader.drop_copies();
    loader.apply_filters();
    let mut build = Build::default();
    build.set.warnings = warnings;
    let mut examples = Vec::new();
    for (source, rule, compiled) in std::mem::take(&mut loader.rules) {
        let index = build.set.detections.len();
        match loader.detection(source, &rule, compiled, &mut build) {
            Ok(id) => {
                build.name(index, &rule);
                loader.examples(source, id, &rule.custom_attributes, &mut examples);
            }
            Err(error) => loader.errors.push(error),
        }
    }
    let correlations = std::mem::take(&mut loader.correlations);
    for (source, rule) in &correlations {
        match loader.correlation(*source, rule, &correlations, &mut build) {
            Ok(window) => {
                loader.examples(
                    *source,
                    window.meta.id.clone(),
                    &rule.custom_attributes,
                    &mut examples,
                );
                build.set.windows.push(window);
            }
            Err(error) => loader.errors.push(error),
        }
    }
    let set = build.finish();
    loader.check_ids(&set);
    if loader.errors.is_empty() {
        Ok((set, examples))
    } else {
        Err(loader.errors)
    }
}

/// Names by which correlations in the files mean rules that are not in the files.
#[must_use]
pub fn unresolved(files: &[(String, String)]) -> BTreeSet<String> {
    let parsed: Vec<_> = files
        .iter()
        .filter_map(|(_, text)| parse_sigma_yaml(text).ok())
        .collect();
    let defined: BTreeSet<&String> = parsed
        .iter()
        .flat_map(|p| &p.rules)
        .flat_map(names)
        .collect();
    let correlations = || parsed.iter().flat_map(|p| &p.correlations);
    let own: BTreeSet<&String> = correlations()
        .flat_map(|c| c.id.iter().chain(&c.name))
        .collect();
    let named = correlations().flat_map(|c| &c.rules);
    named
        .filter(|name| !defined.contains(name) && !own.contains(name))
        .cloned()
        .collect()
}

/// Whether a file holds a rule about single events of one of these names.
#[must_use]
pub fn defines(text: &str, wanted: &BTreeSet<String>) -> bool {
    let parsed = parse_sigma_yaml(text).ok();
    parsed.is_some_and(|p| {
        p.rules
            .iter()
            .flat_map(names)
            .any(|name| wanted.contains(name))
    })
}

/// Id, name and title.
fn names(rule: &SigmaRule) -> impl Iterator<Item = &String> {
    rule.id.iter().chain(&rule.name).chain([&rule.title])
}

/// A set in the making.
#[derive(Default)]
pub(super) struct Build {
    pub(super) set: RuleSet,
    /// Rules about single events by id, name and title.
    names: HashMap<String, Vec<usize>>,
    /// For each rule that a correlation names, whether one of them lets it raise alerts of its own.
    pub(super) generated: HashMap<usize, bool>,
}

impl Build {
    fn name(&mut self, index: usize, rule: &SigmaRule) {
        let names: BTreeSet<&String> = names(rule).collect();
        for name in names {
            self.names.entry(name.clone()).or_default().push(index);
        }
    }

    /// The one rule of that id, name or title.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        match self.names.get(name)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    fn finish(self) -> RuleSet {
        let mut set = self.set;
        for (detection, _) in self.generated.iter().filter(|(_, generate)| !**generate) {
            let Some(detection) = set.detections.get_mut(*detection) else {
                continue;
            };
            detection.alerts = false;
            for (window, _) in &detection.feeds {
                if let Some(own) = set
                    .windows
                    .get_mut(*window)
                    .filter(|w| Arc::ptr_eq(&w.meta, &detection.meta))
                {
                    own.alerts = false;
                }
            }
        }
        set
    }
}

/// What a rule says of itself; rules about one event and about many have the same fields in types
/// of their own.
macro_rules! meta {
    ($rule:expr, $file:expr) => {
        Arc::new(RuleMeta {
            id: $rule
                .id
                .clone()
                .or_else(|| $rule.name.clone())
                .unwrap_or_else(|| $rule.title.clone()),
            title: $rule.title.clone(),
            level: crate::rule::load::level($rule.level),
            tags: $rule.tags.clone(),
            false_positives: $rule.falsepositives.clone(),
            references: $rule.references.clone(),
            file: $file.to_owned(),
        })
    };
}
pub(super) use meta;

impl<'a> Loader<'a> {
    fn read(&mut self, source: Source<'a>, vars: &Vars) {
        let parsed = match parse_sigma_yaml(source.text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let text = error.to_string();
                self.errors.push(parse_error(&source, &text));
                return;
            }
        };
        self.errors
            .extend(parsed.errors.iter().map(|text| parse_error(&source, text)));
        if parsed.is_empty() && parsed.errors.is_empty() {
            self.errors.push(source.error(
                "",
                "",
                "file",
                "holds no Sigma rule; remove it or write one",
            ));
        }
        let at = self.sources.len();
        for mut rule in parsed.rules {
            if let Err(missing) = expand(&mut rule, vars) {
                self.errors.push(source.error(
                    &format!("%{missing}%"),
                    &rule.title,
                    "detection",
                    format!("`|expand` asks for `%{missing}%`, which has no value; give it one in the file of --vars"),
                ));
                continue;
            }
            match compile_rule(&rule) {
                Ok(compiled) => self.rules.push((at, rule, compiled)),
                Err(error) => {
                    let text = error.to_string();
                    self.errors.push(source.error(
                        &quoted(&text),
                        &rule.title,
                        "detection",
                        format!("{text}; see the Sigma specification, rules"),
                    ));
                }
            }
        }
        self.correlations
            .extend(parsed.correlations.into_iter().map(|c| (at, c)));
        self.filters
            .extend(parsed.filters.into_iter().map(|f| (at, f)));
        self.sources.push(source);
    }

    /// Collections repeat a rule in the file of each correlation that needs it. One of those is
    /// enough; other rules that share an id are left, and refused later.
    fn drop_copies(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut kept: Vec<(usize, SigmaRule, CompiledRule)> = Vec::new();
        for (at, rule, compiled) in std::mem::take(&mut self.rules) {
            let names = |name: &String| {
                [&rule.id, &rule.name].contains(&&Some(name.clone())) || *name == rule.title
            };
            let needed_in = |file: usize| {
                self.correlations
                    .iter()
                    .any(|(at, c)| *at == file && c.rules.iter().any(names))
            };
            let same = |(file, known, _): &&(usize, SigmaRule, CompiledRule)| {
                known.id.is_some()
                    && (needed_in(at) || needed_in(*file))
                    && (&known.id, &known.title, &known.level)
                        == (&rule.id, &rule.title, &rule.level)
                    && format!("{:?}", (&known.logsource, &known.detection.conditions))
                        == format!("{:?}", (&rule.logsource, &rule.detection.conditions))
                    && known.detection.named == rule.detection.named
            };
            match kept.iter().find(same) {
                Some((first, ..)) => warnings.push(format!(
                    "{}: `{}` is a copy of the rule in {}, and is read once",
                    self.source(at).file,
                    rule.title,
                    self.source(*first).file
                )),
                None => kept.push((at, rule, compiled)),
            }
        }
        self.rules = kept;
        warnings
    }

    /// Lets the Sigma engine weave each filter into the rules that it names.
    fn apply_filters(&mut self) {
        if self.filters.is_empty() {
            return;
        }
        let mut engine = Engine::new();
        engine.extend_compiled_rules(self.rules.iter().map(|(_, _, compiled)| compiled.clone()));
        for (at, mut filter) in std::mem::take(&mut self.filters) {
            if let FilterRuleTarget::Specific(names) = &mut filter.rules {
                for name in names {
                    let known = self.rules.iter().find(|(_, rule, _)| {
                        rule.id.as_ref() == Some(name)
                            || rule.name.as_ref() == Some(name)
                            || rule.title == *name
                    });
                    match known {
                        Some((_, rule, _)) => {
                            *name = rule.id.clone().unwrap_or_else(|| rule.title.clone())
                        }
                        None => self.errors.extend(self.sources.get(at).map(|s| {
                            s.error(
                                name,
                                &filter.title,
                                "filter.rules",
                                format!("`{name}` is no loaded rule; name one by id or name"),
                            )
                        })),
                    }
                }
            }
            if let Err(error) = engine.apply_filter(&filter) {
                self.errors.extend(
                    self.sources
                        .get(at)
                        .map(|s| s.error(&filter.title, "", "filter", error.to_string())),
                );
            }
            let named: Vec<_> = filter.detection.named.values().cloned().collect();
            for (_, rule, _) in &mut self.rules {
                // The filter's fields must be read too; the condition stays the compiled one.
                let concerned = match &filter.rules {
                    FilterRuleTarget::Any => true,
                    FilterRuleTarget::Specific(names) => names
                        .iter()
                        .any(|n| rule.id.as_ref() == Some(n) || rule.title == *n),
                };
                if concerned {
                    let count = rule.detection.named.len();
                    rule.detection.named.extend(
                        named
                            .iter()
                            .enumerate()
                            .map(|(i, d)| (format!("__filter_fields_{}", count + i), d.clone())),
                    );
                }
            }
        }
        for ((_, _, compiled), filtered) in self.rules.iter_mut().zip(engine.rules()) {
            *compiled = filtered.clone();
        }
    }

    pub(super) fn source(&self, index: usize) -> &Source<'a> {
        // The index was taken when the file was read.
        self.sources
            .get(index)
            .unwrap_or(const { &Source { file: "", text: "" } })
    }

    /// Adds a rule about single events and gives its id.
    fn detection(
        &self,
        at: usize,
        rule: &SigmaRule,
        compiled: CompiledRule,
        build: &mut Build,
    ) -> Result<String, LoadError> {
        let Build { set, .. } = build;
        let source = self.source(at);
        let target = target(rule)
            .map_err(|message| source.error("logsource:", &rule.title, "logsource", message))?;
        let mut uses = Uses::default();
        rule.detection
            .named
            .values()
            .for_each(|s| uses.selection(s));
        for field in &uses.fields {
            fields::check(field, target).map_err(|remedy| {
                source.error(
                    field,
                    &rule.title,
                    field,
                    format!("there is no such field; {remedy}"),
                )
            })?;
        }
        uses.fields
            .iter()
            .for_each(|field| set.wanted.take(target, field));
        if let Some(wanted) = set.wanted.of(target) {
            wanted.whole |= uses.keywords;
        }
        let block = self.block(at, &rule.title, &rule.custom_attributes)?;
        if block.times_usual.is_some() {
            let message = "works on an event_count only; write a correlation";
            return Err(source.error(
                "times_usual",
                &rule.title,
                "secretrail.times_usual",
                message,
            ));
        }
        set.asks_for_seen |= uses.fields.iter().any(|field| fields::is_seen(field));
        let meta = meta!(rule, source.file);
        let id = meta.id.clone();
        let suppress = block
            .suppress
            .as_deref()
            .map(|s| self.span(at, s, "secretrail.suppress"))
            .transpose()?;
        let mut detection = Detection {
            meta: meta.clone(),
            target,
            alerts: suppress.is_none(),
            late: uses.fields.iter().any(|f| fields::is_late(f)),
            compiled,
            calls: needed_calls(rule),
            feeds: Vec::new(),
        };
        if let Some(span_secs) = suppress {
            // At most one alert a group and bucket is a window that one fact fills.
            let group: Vec<String> = match block.group_by.as_slice() {
                [] => DEFAULT_GROUP.map(str::to_owned).to_vec(),
                named => named.to_vec(),
            };
            for field in &group {
                fields::check(field, target)
                    .map_err(|remedy| source.error(field, "group-by", field, remedy))?;
            }
            detection.late |= group.iter().any(|f| fields::is_late(f));
            group
                .iter()
                .for_each(|field| set.wanted.take(target, field));
            detection.feeds.push((set.windows.len(), 0));
            set.windows.push(Window {
                id: meta.id.as_str().into(),
                meta,
                alerts: true,
                condition: WindowCondition::Events(1),
                span_secs,
                suppress_secs: span_secs,
                times_usual: None,
                group: group.iter().map(|g| g.as_str().into()).collect(),
                members: vec![Member {
                    group,
                    value: Vec::new(),
                    lenient: true,
                }],
            });
        }
        set.detections.push(detection);
        Ok(id)
    }

    pub(super) fn block(
        &self,
        at: usize,
        title: &str,
        attributes: &HashMap<String, yaml_serde::Value>,
    ) -> Result<Block, LoadError> {
        let source = self.source(at);
        let Some(value) = attributes.get("secretrail") else {
            return Ok(Block::default());
        };
        let block = Block::deserialize(value).map_err(|error: yaml_serde::Error| {
            let text = error.to_string();
            let known = "known keys are suppress, group-by, times_usual and examples";
            source.error(
                &quoted(&text),
                "secretrail:",
                "secretrail",
                format!("{text}; {known}"),
            )
        })?;
        if block
            .times_usual
            .is_some_and(|times| !times.is_finite() || times <= 0.0)
        {
            let message = "is not a number of times; write how often the usual rate is too often, as in `times_usual: 5`";
            return Err(source.error("times_usual", title, "secretrail.times_usual", message));
        }
        Ok(block)
    }

    pub(super) fn span(&self, at: usize, text: &str, field: &str) -> Result<i64, LoadError> {
        timespan_secs(text).ok_or_else(|| {
            self.source(at).error(
                text,
                "suppress",
                field,
                format!("`{text}` is not a timespan; write a number and s, m, h or d, as in `1h`"),
            )
        })
    }

    fn examples(
        &mut self,
        at: usize,
        rule: String,
        attributes: &HashMap<String, yaml_serde::Value>,
        out: &mut Vec<Example>,
    ) {
        let Ok(block) = self.block(at, "", attributes) else {
            return;
        };
        for example in block.examples {
            match example.read(&rule) {
                Ok(example) => out.push(example),
                Err(fault) => self.errors.push(self.source(at).error(
                    &example.name,
                    "examples:",
                    "secretrail.examples",
                    format!("`{}`: {fault}", example.name),
                )),
            }
        }
    }

    fn check_ids(&mut self, set: &RuleSet) {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let suppressed = |w: &&Window| set.detections.iter().any(|d| Arc::ptr_eq(&d.meta, &w.meta));
        let metas = set.detections.iter().map(|d| &d.meta).chain(
            set.windows
                .iter()
                .filter(|w| !suppressed(w))
                .map(|w| &w.meta),
        );
        for meta in metas {
            if let Some(other) = seen.insert(&meta.id, &meta.file) {
                let source = self
                    .sources
                    .iter()
                    .find(|s| s.file == meta.file)
                    .unwrap_or(const { &Source { file: "", text: "" } });
                self.errors.push(source.error(
                    &meta.id,
                    "id:",
                    "id",
                    format!("`{}` is also the id of a rule in {other}; every rule needs its own, a new UUID", meta.id),
                ));
            }
        }
    }
}

pub(crate) fn target(rule: &SigmaRule) -> Result<Target, String> {
    let logsource = &rule.logsource;
    let product = logsource.product.as_deref();
    match (product, logsource.service.as_deref(), logsource.category.as_deref()) {
        (Some("aws") | None, None, Some("secret_access")) => Ok(Target::Access),
        (Some("aws") | None, None, Some("secret_change")) => Ok(Target::Change),
        (Some("aws"), Some("cloudtrail") | None, None) => Ok(Target::Record),
        _ => Err("is not one that this engine reads; use `product: aws` with `category: secret_access`, \
                  `category: secret_change` or `service: cloudtrail`"
            .to_owned()),
    }
}

pub(super) fn level(level: Option<rsigma_parser::Level>) -> Level {
    level
        .and_then(|l| l.as_str().parse().ok())
        .unwrap_or(Level::Medium)
}

/// The first word in quotes or backticks of a message, to find its line by.
fn quoted(message: &str) -> String {
    let quote = |c: char| matches!(c, '`' | '\'' | '"');
    message.split(quote).nth(1).unwrap_or_default().to_owned()
}

/// An error of the parser, with the line that it names or that holds the word it quotes.
fn parse_error(source: &Source<'_>, text: &str) -> LoadError {
    let line = text.split("line ").nth(1).and_then(|rest| {
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    });
    let word = quoted(text);
    let unknown = text.rsplit(": ").next().unwrap_or_default();
    let (field, remedy) = match text {
        t if t.contains("odifier") => (
            "detection",
            "the specification lists the modifiers (contains, startswith, re, cidr, exists …)",
        ),
        t if t.contains("orrelation") => (
            "correlation",
            "use type, rules, group-by, timespan and condition as in the Sigma correlation specification",
        ),
        t if t.contains("timespan") || t.contains("timeframe") => (
            "correlation.timespan",
            "write a number and s, m, h or d, as in `10m`",
        ),
        t if t.contains("ondition") => (
            "condition",
            "combine names of selections with and, or, not, `1 of x*`, `all of x*`",
        ),
        t if t.contains("issing required field") => (word.as_str(), "add it"),
        t if t.contains("tab") || t.contains("YAML") => (
            "yaml",
            "indent with spaces, and quote text that holds `: ` or begins with a special character",
        ),
        _ => ("rule", "see the Sigma specification"),
    };
    let found = source.error(&word, unknown, field, format!("{text}; {remedy}"));
    LoadError {
        line: line.unwrap_or(found.line),
        ..found
    }
}
