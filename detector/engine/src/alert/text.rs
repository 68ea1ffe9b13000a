//! An alert for people: a subject, and a body that can be read at night. Text that came from a log
//! is neutralised.

use std::fmt::{self, Write as _};

use super::{Alert, cut};
use crate::access::{Access, AccessDecrypt, DecryptStatus};
use crate::sanitize;

/// Secrets listed in a body.
const SECRETS: usize = 10;

/// Characters of one text from a log: enough for an ARN, too few to bury the rest.
const LONGEST: usize = 300;

/// Longest subject in characters; SNS takes fewer than 100.
/// Source: Amazon SNS API reference, `Publish`, checked 2026-11.
pub const SUBJECT: usize = 99;

/// One line of printable ASCII that begins with a letter, digit or bracket, for the subject of an
/// e-mail.
#[must_use]
pub fn subject(alert: &Alert) -> String {
    let start = ascii(&format!("{}: {}", alert.rule.level, alert.rule.title));
    let place = [alert.account.as_deref(), alert.region.as_deref()];
    let place = match place.into_iter().flatten().collect::<Vec<_>>().join(" ") {
        place if place.is_empty() => place,
        place => ascii(&format!(" ({place})")),
    };
    let room = SUBJECT.saturating_sub(place.len());
    if start.len() <= room {
        return start + &place;
    }
    // The title gives way to the place: who reads mail on a phone must see which account it is.
    let kept: String = start.chars().take(room.saturating_sub(3)).collect();
    let whole = format!("{}...{place}", kept.trim_end());
    // A place of any length can come from a hostile record, and SNS refuses the whole message.
    whole.chars().take(SUBJECT).collect()
}

/// SNS takes printable ASCII only for a subject; one byte stands for each character.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

/// A text of a log on one line, and not too long.
pub(super) fn line(text: &str) -> String {
    cut(&sanitize::line(text), LONGEST)
}

/// The whole alert in plain text.
#[must_use]
pub fn body(alert: &Alert) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write(alert, &mut out).ok();
    out
}

fn write(alert: &Alert, out: &mut String) -> fmt::Result {
    let rule = &*alert.rule;
    let (title, summary) = (line(&rule.title), line(&alert.summary));
    writeln!(out, "{title} ({})\n\n{summary}.\n", rule.level)?;
    write_facts(alert, out)?;
    write_secrets(alert, out)?;
    write_accesses(alert, out)?;
    write_list("may be harmless when it is", &rule.false_positives, out)?;
    write_list("read more", &rule.references, out)?;
    writeln!(out, "\nalert {}, rule {}", alert.id.0, line(&rule.id))
}

/// When, where, who, and what the rule groups by: one line each, values below each other.
fn write_facts(alert: &Alert, out: &mut String) -> fmt::Result {
    match &alert.window_match {
        Some(window_match) if window_match.count > 1 => writeln!(
            out,
            "window     {} to {}, {} counted",
            window_match.start, window_match.end, window_match.count
        )?,
        _ => writeln!(out, "time       {}", alert.time)?,
    }
    for (name, value) in [
        ("account", &alert.account),
        ("region", &alert.region),
        ("principal", &alert.principal),
    ] {
        let value = value.as_deref().map(line);
        let value = value.unwrap_or_else(|| "several or not told".to_owned());
        writeln!(out, "{name:<11}{value}")?;
    }
    let group = alert
        .window_match
        .iter()
        .flat_map(|window_match| &window_match.group);
    // A suppressed rule counts events without one of the group's fields under an empty value.
    for (field, value) in group.filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{:<11}{} = {}", "group", line(field), line(value))?;
    }
    Ok(())
}

fn write_secrets(alert: &Alert, out: &mut String) -> fmt::Result {
    if alert.secrets.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nsecrets ({}):", alert.secrets_total)?;
    for secret in alert.secrets.iter().take(SECRETS) {
        writeln!(out, "  {}", line(secret))?;
    }
    rest(alert.secrets_total, SECRETS, out)
}

fn write_accesses(alert: &Alert, out: &mut String) -> fmt::Result {
    if alert.accesses.is_empty() {
        return Ok(());
    }
    writeln!(out, "\naccesses ({}):", alert.accesses_total)?;
    for access in &alert.accesses {
        write_access(access, out)?;
    }
    rest(alert.accesses_total, alert.accesses.len(), out)
}

/// What a rule says of itself, under a heading.
fn write_list(heading: &str, lines: &[String], out: &mut String) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{heading}:")?;
    lines
        .iter()
        .try_for_each(|text| writeln!(out, "  {}", line(text)))
}

fn rest(total: usize, shown: usize, out: &mut String) -> fmt::Result {
    match total.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn write_access(access: &Access, out: &mut String) -> fmt::Result {
    let head = &access.head;
    let from = head.source.ip.as_deref().map(line);
    let from = from.unwrap_or_else(|| "an unknown source".to_owned());
    let denied = head.denied_by.as_deref();
    let denied = denied.map_or_else(String::new, |by| format!(" by {}", line(by)));
    writeln!(
        out,
        "  {} {} {}{denied}: {}",
        head.time,
        line(&head.api),
        head.outcome.as_str(),
        line(&access.secret.label())
    )?;
    writeln!(out, "    from {from}, event {}", line(&head.event_id))?;
    match decryption(&access.decrypt) {
        Some(reported) => writeln!(out, "    {reported}"),
        None => Ok(()),
    }
}

/// What is known of the key use; `None` where there is none to expect.
fn decryption(decrypt: &AccessDecrypt) -> Option<String> {
    let key = decrypt.key_arn.as_deref();
    let key = key.map_or_else(String::new, |key| format!(" with {}", line(key)));
    Some(match decrypt.status {
        DecryptStatus::Paired => format!("decrypted{key}"),
        DecryptStatus::Absent => "no decryption, although the logs would show it".to_owned(),
        DecryptStatus::Unknown => "decryption unknown".to_owned(),
        DecryptStatus::Pending => "decryption not seen yet".to_owned(),
        // Denied and failed reads have no key; an access that is itself a key use has one.
        DecryptStatus::NotExpected if key.is_empty() => return None,
        DecryptStatus::NotExpected => format!("decrypted{key}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access;
    use crate::state::contract;
    use std::sync::Arc;

    #[test]
    fn a_subject_is_ascii_and_keeps_the_place_where_it_is_cut() {
        let mut alert = contract::alert("e1");
        Arc::make_mut(&mut alert.rule).title = "Zoë\r\nBcc: x".to_owned();
        assert_eq!(
            subject(&alert),
            "high: Zo???Bcc: x (111122223333 eu-west-1)"
        );
        Arc::make_mut(&mut alert.rule).title = "x".repeat(200);
        let cut = subject(&alert);
        assert!(cut.len() == SUBJECT && cut.ends_with("... (111122223333 eu-west-1)"));
        alert.region = Some("r".repeat(200).into());
        assert_eq!(subject(&alert).len(), SUBJECT);
    }

    #[test]
    fn the_body_counts_what_it_does_not_list() {
        let mut alert = contract::alert("e1");
        alert.secrets = (0..12).map(|n| format!("s{n}").into()).collect();
        alert.secrets_total = 40;
        alert.region = None;
        let body = body(&alert);
        assert!(body.contains("\nsecrets (40):\n  s0\n"), "{body}");
        assert!(body.contains("  s9\n  and 30 more\n"), "{body}");
        assert!(
            body.contains("\nregion     several or not told\n"),
            "{body}"
        );
        assert!(!body.contains("accesses ("), "{body}");
    }

    #[test]
    fn a_key_is_told_of_wherever_it_was_used() {
        let reported = |status, key: Option<&str>| {
            let key_arn = key.map(Into::into);
            decryption(&AccessDecrypt {
                key_arn,
                ..AccessDecrypt::only(status)
            })
        };
        let with_key = Some("decrypted with k".to_owned());
        assert_eq!(reported(DecryptStatus::Paired, Some("k")), with_key);
        // An access without a read is the key use itself.
        assert_eq!(reported(DecryptStatus::NotExpected, Some("k")), with_key);
        assert_eq!(reported(DecryptStatus::NotExpected, None), None);
    }

    #[test]
    fn an_access_is_told_without_the_line_of_a_key_that_is_not_expected() {
        let mut access = access::sample();
        access.decrypt = AccessDecrypt::only(DecryptStatus::NotExpected);
        Arc::make_mut(&mut access.head).denied_by = Some("kms_key".into());
        let mut out = String::new();
        write_access(&access, &mut out).unwrap();
        assert_eq!(
            out,
            "  2026-03-02T10:00:00Z GetParameter success by kms_key: /db\n    \
             from 198.51.100.7, event e1\n"
        );
    }
}
