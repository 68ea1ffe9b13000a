//! Incidents as text for people, at the width of the terminal. Text from logs is sanitised.

use std::fmt::Write as _;

use secretrail_engine::{
    incident::{
        Incident,
        story::{IncidentStory, StoryAction, StoryStep, most_serious_steps},
        usual::UsualFacts,
    },
    rule_meta::RuleLevel,
    sanitize,
    time::EventTime,
};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use crate::{
    args::settings::RunSettings,
    output::{style::level_style, table::sentence},
    text::plural,
};

/// What is shown of an incident in a list.
const LISTED: StoryExtent = StoryExtent::of([6, 4, 0, 1, 0, 0, 0, 0]);

/// Width of the level column, in characters.
const LEVEL: usize = 10;

/// Incidents, each with its story in short.
pub(crate) fn list(incidents: &[Incident], settings: &RunSettings) -> String {
    let mut out = String::new();
    for incident in incidents {
        push(incident, settings, &mut out);
    }
    out
}

/// One line and the id of each incident.
pub(crate) fn headlines(incidents: &[Incident], settings: &RunSettings) -> String {
    let mut out = String::new();
    for incident in incidents {
        let story = IncidentStory::of(incident);
        push_headline(incident, &story, settings, &mut out);
        let id = short_id(incident);
        let indent = " ".repeat(LEVEL);
        let text = format!("{}, incident {id}", span(incident.first, incident.last));
        push_wrapped(&indent, &indent, &text, settings, &mut out);
    }
    out
}

fn push(incident: &Incident, settings: &RunSettings, out: &mut String) {
    let story = IncidentStory::of(incident);
    push_headline(incident, &story, settings, out);
    let indent = " ".repeat(LEVEL);
    push_wrapped(&indent, &indent, &about(incident, &story), settings, out);
    for (label, before) in [("behind", "behind it: "), ("exposed", "exposed: ")] {
        let fact = story.facts.iter().find(|(known, _)| *known == label);
        if let Some((_, text)) = fact {
            let first = format!("{indent}{before}");
            push_wrapped(&first, &indent, text, settings, out);
        }
    }
    push_steps(incident, &story.steps, LISTED, settings, out);
    for check in story.checks.iter().take(LISTED.checks) {
        let first = format!("{indent}first: ");
        push_wrapped(&first, &indent, check, settings, out);
    }
    let id = short_id(incident);
    // Unbroken: it is for the clipboard.
    let logs = settings.same_logs();
    writeln!(out, "{indent}more: secretrail explain {id}{logs}\n").ok();
}

/// The beginning of an id. Of one beginning there are seldom two incidents; `explain` asks for more
/// if so.
fn short_id(incident: &Incident) -> &str {
    incident.id.0.get(..10).unwrap_or(&incident.id.0)
}

/// The level and the headline.
fn push_headline(
    incident: &Incident,
    story: &IncidentStory,
    settings: &RunSettings,
    out: &mut String,
) {
    let level = incident.level.as_str().to_uppercase();
    let style = level_style(incident.level, settings.color);
    let headline = wrapped(
        "",
        "",
        &sentence(&story.headline),
        settings.width.saturating_sub(LEVEL),
    );
    for (index, line) in headline.iter().enumerate() {
        let level = if index == 0 { level.as_str() } else { "" };
        writeln!(out, "{style}{level:<LEVEL$}{line}{style:#}").ok();
    }
}

/// Time, and where it came from.
fn about(incident: &Incident, story: &IncidentStory) -> String {
    let mut parts = vec![span(incident.first, incident.last)];
    for (label, preposition) in [("from", "from"), ("region", "in")] {
        let fact = story.facts.iter().find(|(known, _)| *known == label);
        parts.extend(fact.map(|(_, text)| format!("{preposition} {text}")));
    }
    parts.push(plural(incident.alerts_total as u64, "alert"));
    parts.join(", ")
}

/// A span of time in UTC; the date once where it is one day.
pub(super) fn span(first: EventTime, last: EventTime) -> String {
    let (from, to) = (first.to_string(), last.to_string());
    if first == last {
        return from;
    }
    match (from.split_once('T'), to.split_once('T')) {
        (Some((day, _)), Some((same, time))) if day == same => format!("{from} to {time}"),
        _ => format!("{from} to {to}"),
    }
}

/// What happened, by time.
fn push_steps(
    incident: &Incident,
    steps: &[StoryStep],
    shown: StoryExtent,
    settings: &RunSettings,
    out: &mut String,
) {
    let mut day = String::new();
    for step in most_serious_steps(steps, shown.steps) {
        let time = step.time.to_string();
        let (date, clock) = time.split_once('T').unwrap_or((&time, ""));
        // The date stands in the headline, or where it changes.
        if date != day && !incident.first.to_string().starts_with(date) {
            writeln!(out, "  {date}").ok();
        }
        day = date.to_owned();
        let clock = clock.trim_end_matches('Z');
        push_wrapped(
            &format!("  {clock}  "),
            "            ",
            &step.what,
            settings,
            out,
        );
        push_titles(&step.rules, shown.titles, settings, out);
    }
    push_more("            ", steps.len(), shown.steps, "step", "", out);
}

fn push_titles(
    rules: &[(RuleLevel, String, usize)],
    most: usize,
    settings: &RunSettings,
    out: &mut String,
) {
    for (level, title, alerts) in rules.iter().take(most) {
        let style = level_style(*level, settings.color);
        let times = if *alerts > 1 {
            format!(" ({alerts} alerts)")
        } else {
            String::new()
        };
        let lines = wrapped(
            "",
            "  ",
            &sentence(&format!("{level}: {title}{times}")),
            settings.width.saturating_sub(14),
        );
        for line in lines {
            writeln!(out, "              {style}{line}{style:#}").ok();
        }
    }
    push_more("              ", rules.len(), most, "rule", "", out);
}

/// The number of entries that are not shown, if there are any, and where to find them.
pub(super) fn push_more(
    indent: &str,
    all: usize,
    shown: usize,
    noun: &str,
    hint: &str,
    out: &mut String,
) {
    let more = all.saturating_sub(shown);
    if more > 0 {
        let more = plural(more as u64, &format!("more {noun}"));
        writeln!(out, "{indent}and {more}{hint}").ok();
    }
}

/// An action, and below it its command or link, unbroken: it is for the clipboard.
pub(super) fn push_action(action: &StoryAction, settings: &RunSettings, out: &mut String) {
    push_wrapped("  - ", "    ", &action.text, settings, out);
    for text in action.command.iter().chain(&action.link) {
        writeln!(out, "    {}", sanitize::line(text)).ok();
    }
}

/// A text under its label, with further lines indented.
pub(super) fn push_wrapped(
    first: &str,
    rest: &str,
    text: &str,
    settings: &RunSettings,
    out: &mut String,
) {
    for line in wrapped(first, rest, &sentence(text), settings.width) {
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// A text whose long lines are continued with the same indent and two more cells.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let start = line.len() - line.trim_start().len();
        let (indent, words) = line.split_at(start);
        let rest = format!("{indent}  ");
        // Columns within a line are kept: only its end is moved.
        for line in wrapped(indent, &rest, words, width) {
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out
}

/// Lines of at most this width; a word is never broken, however long it is.
pub(crate) fn wrapped(first: &str, rest: &str, text: &str, width: usize) -> Vec<String> {
    let text = sanitize::line(text);
    let options = Options::new(width)
        .initial_indent(first)
        .subsequent_indent(rest)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let lines = textwrap::wrap(&text, options).into_iter();
    lines.map(std::borrow::Cow::into_owned).collect()
}

/// How much of a story is shown: steps, titles below each, and of each list the first entries.
#[derive(Debug, Clone, Copy)]
struct StoryExtent {
    steps: usize,
    titles: usize,
    why: usize,
    checks: usize,
    actions: usize,
    harmless: usize,
    /// Lines of each fact.
    fact_lines: usize,
    usual: usize,
}

impl StoryExtent {
    const ALL: Self = Self::of([usize::MAX; 8]);

    /// Tried in turn until the story fits one screen.
    ///
    /// What is new beside what is usual stays longest: without it, nobody sees why it is odd.
    const SHORTER: [Self; 8] = [
        Self::of([8, 4, 3, 5, 6, 3, 3, 6]),
        Self::of([5, 3, 1, 4, 4, 2, 2, 6]),
        Self::of([3, 2, 1, 3, 3, 1, 2, 6]),
        Self::of([2, 1, 1, 2, 2, 1, 1, 6]),
        Self::of([2, 1, 0, 2, 2, 0, 1, 5]),
        Self::of([2, 1, 0, 1, 1, 0, 1, 4]),
        Self::of([1, 1, 0, 1, 1, 0, 1, 4]),
        Self::of([1, 1, 0, 1, 1, 0, 1, 2]),
    ];

    const fn of(parts: [usize; 8]) -> Self {
        let [
            steps,
            titles,
            why,
            checks,
            actions,
            harmless,
            fact_lines,
            usual,
        ] = parts;
        Self {
            steps,
            titles,
            why,
            checks,
            actions,
            harmless,
            fact_lines,
            usual,
        }
    }
}

/// Most lines of an incident on one screen, without the commands below it.
const SCREEN: usize = 37;

/// The story of an incident: all of it, or what fits one screen.
pub(crate) fn whole(incident: &Incident, settings: &RunSettings, all: bool) -> String {
    let story = IncidentStory::of(incident);
    let mut text = extent(incident, &story, StoryExtent::ALL, settings);
    if all {
        return text;
    }
    for shorter in StoryExtent::SHORTER {
        if text.lines().count() <= SCREEN {
            break;
        }
        text = extent(incident, &story, shorter, settings);
    }
    text
}

/// What is usual for a principal, beside what it does now.
pub(crate) fn push_usual(
    usual: &UsualFacts,
    most: usize,
    settings: &RunSettings,
    out: &mut String,
) {
    let lines = usual.lines(most);
    let end = if lines.is_empty() { "." } else { ":" };
    writeln!(out, "\n{}{end}", usual.heading()).ok();
    let shown = lines.len();
    for (label, text) in lines {
        push_wrapped(&format!("{label:<9}"), "         ", &text, settings, out);
    }
    let all = usual.lines(usize::MAX).len();
    push_more("         ", all, shown, "line", "; --raw shows all", out);
}

fn extent(
    incident: &Incident,
    story: &IncidentStory,
    shown: StoryExtent,
    settings: &RunSettings,
) -> String {
    let mut out = String::new();
    push_headline(incident, story, settings, &mut out);
    writeln!(out, "{}", span(incident.first, incident.last)).ok();
    push_facts(story, shown.fact_lines, settings, &mut out);
    if let Some(usual) = &story.usual {
        push_usual(usual, shown.usual, settings, &mut out);
    }
    push_list(
        "check first",
        &story.checks,
        shown.checks,
        settings,
        &mut out,
    );
    push_actions(&story.actions, shown.actions, settings, &mut out);
    out.push_str("\nwhat happened:\n");
    push_steps(incident, &story.steps, shown, settings, &mut out);
    push_list("why it matters", &story.why, shown.why, settings, &mut out);
    push_list(
        "harmless if",
        &story.harmless_if,
        shown.harmless,
        settings,
        &mut out,
    );
    let alerts = plural(incident.alerts_total as u64, "alert");
    // What is left out altogether has no place of its own to say so.
    let rest = match (shown.why, shown.harmless) {
        (0, _) | (_, 0) => "; --raw also says why it matters and when it is harmless",
        _ => "",
    };
    writeln!(out, "\nincident {}: {alerts}{rest}", incident.id.0).ok();
    out
}

fn push_facts(story: &IncidentStory, most: usize, settings: &RunSettings, out: &mut String) {
    for (label, text) in &story.facts {
        let (first, text) = (format!("{label:<9}"), sentence(text));
        let lines = wrapped(&first, "         ", &text, settings.width);
        for line in lines.iter().take(most) {
            writeln!(out, "{}", line.trim_end()).ok();
        }
        if lines.len() > most {
            out.truncate(out.trim_end().len());
            out.push_str(" …\n");
        }
    }
}

fn push_list(
    heading: &str,
    texts: &[String],
    most: usize,
    settings: &RunSettings,
    out: &mut String,
) {
    if texts.is_empty() || most == 0 {
        return;
    }
    writeln!(out, "\n{heading}:").ok();
    for text in texts.iter().take(most) {
        push_wrapped("  - ", "    ", text, settings, out);
    }
    push_more("  ", texts.len(), most, "point", "", out);
}

fn push_actions(actions: &[StoryAction], most: usize, settings: &RunSettings, out: &mut String) {
    if actions.is_empty() {
        return;
    }
    out.push_str("\nto contain it:\n");
    for action in actions.iter().take(most) {
        push_action(action, settings, out);
    }
    push_more(
        "  ",
        actions.len(),
        most,
        "action",
        "; --raw shows all",
        out,
    );
}
