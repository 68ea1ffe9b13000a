//! An incident in plain text for mail: what happened, what is usual, why it matters, what to do,
//! and when it is harmless. Text from logs is sanitised.

use std::fmt::{self, Write as _};

use super::{
    message::IncidentMessage,
    story::{IncidentStory, StoryAction, StoryStep, counted, most_serious_steps},
    usual::UsualFacts,
};
use crate::{
    alert::text::{line, of_rule},
    sanitize,
};

/// Most lines of a mail.
const LINES: usize = 40;

/// Most entries of each part of a mail.
#[derive(Debug, Clone, Copy)]
struct MailExtent {
    usual: usize,
    why: usize,
    checks: usize,
    actions: usize,
    steps: usize,
    harmless: usize,
}

impl MailExtent {
    /// Tried in turn until the mail is short enough.
    const ALL: [Self; 6] = [
        Self::of([4, 2, 3, 4, 4, 2]),
        Self::of([4, 2, 2, 4, 3, 1]),
        Self::of([4, 1, 2, 3, 3, 1]),
        Self::of([3, 1, 2, 3, 2, 1]),
        Self::of([2, 1, 1, 2, 2, 1]),
        Self::of([1, 1, 1, 1, 1, 0]),
    ];

    const fn of([usual, why, checks, actions, steps, harmless]: [usize; 6]) -> Self {
        Self {
            usual,
            why,
            checks,
            actions,
            steps,
            harmless,
        }
    }
}

/// Stands for a command with a name that a client would make a link.
const HAS_LINK: &str = "(a name in the command looks like a link: secretrail explain shows it)";

/// The text of a message, as long as a mail may be.
pub(super) fn body(message: &IncidentMessage) -> String {
    let story = IncidentStory::of(&message.incident);
    let mut text = String::new();
    for extent in MailExtent::ALL {
        text.clear();
        // Writing to a string cannot fail.
        write(message, &story, extent, &mut text).ok();
        if text.lines().count() <= LINES {
            break;
        }
    }
    text
}

fn write(
    message: &IncidentMessage,
    story: &IncidentStory,
    extent: MailExtent,
    out: &mut String,
) -> fmt::Result {
    let incident = &message.incident;
    writeln!(out, "{}{}", message.prefix(), line(&story.headline))?;
    for news in message.news() {
        writeln!(out, "{}", line(&news))?;
    }
    writeln!(out, "\ntime     {} to {}", incident.first, incident.last)?;
    for (label, text) in &story.facts {
        writeln!(out, "{label:<9}{}", line(text))?;
    }
    if message.announced.end.is_none() {
        if let Some(usual) = &story.usual {
            write_usual(usual, extent.usual, out)?;
        }
        write_list("why it matters", &story.why, extent.why, out)?;
        write_list("check first", &story.checks, extent.checks, out)?;
        write_actions(&story.actions, extent.actions, out)?;
        write_steps(&story.steps, extent.steps, out)?;
        write_list("harmless if", &story.harmless_if, extent.harmless, out)?;
    }
    let alerts = counted(incident.alerts_total, "alert");
    writeln!(out, "\nincident {}: {alerts}", incident.id.0)
}

fn write_usual(usual: &UsualFacts, most: usize, out: &mut String) -> fmt::Result {
    let lines = usual.lines(most);
    let end = if lines.is_empty() { "." } else { ":" };
    writeln!(out, "\n{}{end}", usual.heading())?;
    lines
        .iter()
        .try_for_each(|(label, text)| writeln!(out, "{label:<9}{}", line(text)))
}

fn write_list(heading: &str, texts: &[String], most: usize, out: &mut String) -> fmt::Result {
    if texts.is_empty() || most == 0 {
        return Ok(());
    }
    writeln!(out, "\n{heading}:")?;
    let mut texts = texts.iter().take(most);
    texts.try_for_each(|text| writeln!(out, "- {}", of_rule(text)))
}

fn write_actions(actions: &[StoryAction], most: usize, out: &mut String) -> fmt::Result {
    if actions.is_empty() {
        return Ok(());
    }
    out.push_str("\nto contain it:\n");
    for action in actions.iter().take(most) {
        writeln!(out, "- {}", line(&action.text))?;
        // Unbroken: they are for the clipboard.
        let command = action.command.as_deref().map(sanitize::line);
        match command {
            Some(command) if sanitize::unlinked(&command) != command => {
                writeln!(out, "  {HAS_LINK}")?;
            }
            Some(command) => writeln!(out, "  {command}")?,
            None => {}
        }
        if let Some(link) = &action.link {
            writeln!(out, "  {}", sanitize::line(link))?;
        }
    }
    match actions.len().saturating_sub(most) {
        0 => Ok(()),
        more => writeln!(out, "- and {more} more: secretrail explain --raw shows all"),
    }
}

fn write_steps(steps: &[StoryStep], most: usize, out: &mut String) -> fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    out.push_str("\nwhat happened:\n");
    for step in most_serious_steps(steps, most) {
        let rule = step.rules.first();
        let rule = rule.map_or_else(String::new, |(level, title, _)| {
            format!(" ({level}: {title})")
        });
        let what = line(&format!("{}{rule}", step.what));
        writeln!(out, "{}  {what}", step.time)?;
    }
    match steps.len().saturating_sub(most) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more"),
    }
}
