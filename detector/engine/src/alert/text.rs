//! An alert for people: a subject, and a body that can be read at night. Text that came from a log is neutralised.

use std::fmt::Write as _;

use super::Alert;
use crate::access::{Access, DecryptStatus};
use crate::neutral;

/// Secrets listed in a body.
const SECRETS: usize = 10;

/// Characters of one text from a log: enough for an ARN, too few to bury the rest.
const LONGEST: usize = 300;

/// Longest subject in characters; SNS takes fewer than 100.
/// Source: Amazon SNS API reference, `Publish`, checked 2026-11.
pub const SUBJECT: usize = 99;

/// One line of printable ASCII that begins with a letter, digit or bracket, for the subject of an e-mail.
#[must_use]
pub fn subject(alert: &Alert) -> String {
    let place = [alert.account.as_deref(), alert.region.as_deref()];
    let place = place.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let place = if place.is_empty() {
        String::new()
    } else {
        format!(" ({place})")
    };
    let ascii = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c.is_ascii_graphic() || c == ' ' {
                    c
                } else {
                    '?'
                }
            })
            .collect()
    };
    let (start, place) = (
        ascii(&format!("{}: {}", alert.rule.level, alert.rule.title)),
        ascii(&place),
    );
    let room = SUBJECT.saturating_sub(place.len());
    if start.len() <= room {
        return start + &place;
    }
    let kept: String = start.chars().take(room.saturating_sub(3)).collect();
    let whole = format!("{}...{place}", kept.trim_end());
    whole.chars().take(SUBJECT).collect()
}

/// A text of a log on one line, and not too long.
pub(super) fn line(text: &str) -> String {
    let text = neutral::line(text);
    match text.char_indices().nth(LONGEST) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The whole alert in plain text.
#[must_use]
pub fn body(alert: &Alert) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write(alert, &mut out).ok();
    out
}

fn write(alert: &Alert, out: &mut String) -> std::fmt::Result {
    let rule = &*alert.rule;
    writeln!(
        out,
        "{} ({})\n\n{}.\n",
        line(&rule.title),
        rule.level,
        line(&alert.summary)
    )?;
    match &alert.firing {
        Some(firing) if firing.count > 1 => writeln!(
            out,
            "window     {} to {}, {} counted",
            firing.start, firing.end, firing.count
        )?,
        _ => writeln!(out, "time       {}", alert.time)?,
    }
    for (name, value) in [
        ("account", &alert.account),
        ("region", &alert.region),
        ("principal", &alert.principal),
    ] {
        writeln!(
            out,
            "{name:<11}{}",
            value
                .as_deref()
                .map_or_else(|| "several or not told".to_owned(), line)
        )?;
    }
    for (field, value) in alert
        .firing
        .iter()
        .flat_map(|firing| &firing.group)
        .filter(|(_, value)| !value.is_empty())
    {
        writeln!(out, "{:<11}{} = {}", "group", line(field), line(value))?;
    }
    if !alert.secrets.is_empty() {
        writeln!(out, "\nsecrets ({}):", alert.secrets_total)?;
        for secret in alert.secrets.iter().take(SECRETS) {
            writeln!(out, "  {}", line(secret))?;
        }
        rest(alert.secrets_total, SECRETS, out)?;
    }
    if !alert.accesses.is_empty() {
        writeln!(out, "\naccesses ({}):", alert.accesses_total)?;
        for access in &alert.accesses {
            write_access(access, out)?;
        }
        rest(alert.accesses_total, alert.accesses.len(), out)?;
    }
    for (heading, lines) in [
        ("may be harmless when it is", &rule.false_positives),
        ("read more", &rule.references),
    ] {
        if !lines.is_empty() {
            writeln!(out, "\n{heading}:")?;
            lines
                .iter()
                .try_for_each(|text| writeln!(out, "  {}", line(text)))?;
        }
    }
    writeln!(out, "\nalert {}, rule {}", alert.id.0, line(&rule.id))
}

fn rest(total: usize, shown: usize, out: &mut String) -> std::fmt::Result {
    match total.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn write_access(access: &Access, out: &mut String) -> std::fmt::Result {
    let head = &access.head;
    let from = head
        .source
        .ip
        .as_deref()
        .map_or_else(|| "an unknown source".to_owned(), line);
    let denied = head
        .denied_by
        .as_deref()
        .map(|by| format!(" by {}", line(by)))
        .unwrap_or_default();
    writeln!(
        out,
        "  {} {} {}{denied}: {}",
        head.time,
        line(&head.api),
        head.outcome.as_str(),
        line(&access.secret.label())
    )?;
    writeln!(out, "    from {from}, event {}", line(&head.event_id))?;
    let key = access
        .decrypt
        .key_arn
        .as_deref()
        .map(|key| format!(" with {}", line(key)))
        .unwrap_or_default();
    let told = match access.decrypt.status {
        DecryptStatus::Paired => format!("decrypted{key}"),
        DecryptStatus::Absent => "no decryption, although the logs would show it".to_owned(),
        DecryptStatus::Unknown => "decryption unknown".to_owned(),
        DecryptStatus::Pending => "decryption not seen yet".to_owned(),
        DecryptStatus::NotExpected if key.is_empty() => return Ok(()),
        DecryptStatus::NotExpected => format!("decrypted{key}"),
    };
    writeln!(out, "    {told}")
}
