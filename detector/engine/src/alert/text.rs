//! An alert as plain text for e-mail and terminals: a subject and a body. Text from logs is
//! sanitised.

use std::fmt::{self, Write as _};

use super::{
    Alert,
    alert_digest::{AlertDigest, kind},
    cut,
};
use crate::{
    access::{Access, AccessDecrypt, DecryptStatus},
    ids::SharedStr,
    observation::CallOutcome,
    sanitize,
};

/// What is said of an alert that turned out to be wrong.
pub(super) const WITHDRAWN: &str = "Withdrawn: a record that came late shows that what this alert \
                                    calls new was seen before. Nothing need be done.";

/// Why there are many alerts in one message.
const DIGEST: &str = "More came together than this destination takes messages in a minute. None is \
                      left out: all ids are below.";

/// Most secrets listed in a body.
const SECRETS: usize = 10;

/// Most characters of one text from a log or a rule: enough for an ARN, too few to hide the rest.
const LONGEST: usize = 300;

/// Longest subject in characters; SNS takes fewer than 100.
/// Source: Amazon SNS API reference, `Publish`, checked 2026-11.
pub const SUBJECT: usize = 99;

/// One line of printable ASCII that begins with a letter, digit or bracket, for the subject of an
/// e-mail.
#[must_use]
pub fn subject(alert: &Alert) -> String {
    subject_of(&(alert.prefix() + &alert.rule.title), alert)
}

/// A title, and account and region of an alert, as a subject.
#[must_use]
pub fn subject_of(title: &str, alert: &Alert) -> String {
    let start = sanitize::unlinked(&ascii(title)).into_owned();
    let place = [alert.account.as_deref(), alert.region.as_deref()];
    let place = match place.into_iter().flatten().collect::<Vec<_>>().join(" ") {
        place if place.is_empty() => place,
        place => ascii(&format!(" ({place})")),
    };
    let room = SUBJECT.saturating_sub(place.len());
    if start.len() <= room {
        return start + &place;
    }
    // The title is truncated, not the account: it must be visible on a phone.
    let kept: String = start.chars().take(room.saturating_sub(3)).collect();
    let whole = format!("{}...{place}", kept.trim_end());
    // A hostile record can make account and region any length, and SNS rejects a long subject.
    whole.chars().take(SUBJECT).collect()
}

/// SNS accepts only printable ASCII in a subject; any other character becomes `?`.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

/// Log text, sanitised to one line without links, and truncated.
pub(crate) fn line(text: &str) -> String {
    sanitize::unlinked(&of_rule(text)).into_owned()
}

/// Text of a rule, sanitised to one line and truncated. Its links are meant.
pub(crate) fn of_rule(text: &str) -> String {
    cut(&sanitize::line(text), LONGEST)
}

/// How log text is shown in a line.
type ShownLine = fn(&str) -> String;

/// The whole alert in plain text, for a terminal.
#[must_use]
pub fn body(alert: &Alert) -> String {
    written(alert, of_rule)
}

/// The whole alert in plain text, for mail: text from logs makes no links.
#[must_use]
pub fn mail(alert: &Alert) -> String {
    written(alert, line)
}

fn written(alert: &Alert, line: ShownLine) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write(alert, line, &mut out).ok();
    out
}

/// A digest in plain text.
#[must_use]
pub fn digest_body(digest: &AlertDigest<'_>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write_digest(digest, &mut out).ok();
    out
}

fn write_digest(digest: &AlertDigest<'_>, out: &mut String) -> fmt::Result {
    let (first, last) = digest.times();
    let what = digest.what();
    writeln!(out, "{what} in one message: {}\n", digest.counted())?;
    writeln!(out, "{DIGEST}\n")?;
    writeln!(out, "time       {first} to {last}")?;
    writeln!(out, "\nthe worst:")?;
    for alert in digest.worst() {
        let title = line(&(alert.prefix() + &alert.rule.title));
        writeln!(out, "  {title}\n    {}.", line(&alert.summary))?;
        writeln!(out, "    {} {}", kind(alert), alert.id.0)?;
    }
    writeln!(out, "\n{what}:")?;
    let ids = digest.alerts().iter();
    ids.map(|alert| &alert.id.0)
        .try_for_each(|id| writeln!(out, "  {id}"))
}

fn write(alert: &Alert, line: ShownLine, out: &mut String) -> fmt::Result {
    let rule = &*alert.rule;
    let (title, summary) = (line(&rule.title), line(&alert.summary));
    writeln!(out, "{title} ({})\n", rule.level)?;
    if alert.withdrawn {
        writeln!(out, "{WITHDRAWN}\n")?;
    }
    writeln!(out, "{summary}.\n")?;
    write_facts(alert, line, out)?;
    if !rule.description.is_empty() {
        writeln!(out, "\nwhy it matters:\n  {}", of_rule(&rule.gist()))?;
    }
    write_list("check first", &rule.next_steps, out)?;
    write_secrets(alert, line, out)?;
    write_accesses(alert, line, out)?;
    write_list("harmless if", &rule.false_positives, out)?;
    write_list("references", &rule.references, out)?;
    writeln!(out, "\nalert {}, rule {}", alert.id.0, line(&rule.id))
}

/// Time, account, region, principal and group: one line each, with aligned values.
fn write_facts(alert: &Alert, line: ShownLine, out: &mut String) -> fmt::Result {
    match &alert.window_match {
        Some(window_match) if window_match.count > 1 => writeln!(
            out,
            "window     {} to {}, count {}",
            window_match.start, window_match.end, window_match.count
        )?,
        _ => writeln!(out, "time       {}", alert.time)?,
    }
    let account = known(alert.account.as_ref(), line);
    writeln!(
        out,
        "where      account {account}, region {}",
        known(alert.region.as_ref(), line)
    )?;
    writeln!(out, "principal  {}", known(alert.principal.as_ref(), line))?;
    let group = alert
        .window_match
        .iter()
        .flat_map(|window_match| &window_match.group);
    // A rule with `suppress` counts events that lack a group field under an empty value.
    let group = group.filter(|(_, value)| !value.is_empty());
    for (field, value) in group.filter(|(_, value)| Some(value) != alert.principal.as_ref()) {
        writeln!(out, "{:<11}{} = {}", "group", line(field), line(value))?;
    }
    Ok(())
}

fn known(value: Option<&SharedStr>, line: ShownLine) -> String {
    let value = value.map(|value| line(value));
    value.unwrap_or_else(|| "several or unknown".to_owned())
}

fn write_secrets(alert: &Alert, line: ShownLine, out: &mut String) -> fmt::Result {
    if alert.secrets.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nsecrets ({}):", alert.secrets_total)?;
    for secret in alert.secrets.iter().take(SECRETS) {
        writeln!(out, "  {}", line(secret))?;
    }
    let shown = alert.secrets.len().min(SECRETS);
    rest(alert.secrets_total, shown, out)
}

fn write_accesses(alert: &Alert, line: ShownLine, out: &mut String) -> fmt::Result {
    if alert.accesses.is_empty() {
        return Ok(());
    }
    writeln!(out, "\naccesses ({}):", alert.accesses_total)?;
    for access in &alert.accesses {
        write_access(access, line, out)?;
    }
    rest(alert.accesses_total, alert.accesses.len(), out)
}

/// Texts of the rule file, under a heading.
fn write_list(heading: &str, lines: &[String], out: &mut String) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{heading}:")?;
    lines
        .iter()
        .try_for_each(|text| writeln!(out, "  {}", of_rule(text)))
}

fn rest(total: usize, shown: usize, out: &mut String) -> fmt::Result {
    match total.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn write_access(access: &Access, line: ShownLine, out: &mut String) -> fmt::Result {
    let head = &access.head;
    let from = head.source.described().map(|from| line(&from));
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
    match decryption(head.outcome, &access.decrypt, line) {
        Some(reported) => writeln!(out, "    {reported}"),
        None => Ok(()),
    }
}

/// The KMS Decrypt in words; `None` where none is expected.
fn decryption(outcome: CallOutcome, decrypt: &AccessDecrypt, line: ShownLine) -> Option<String> {
    let key = decrypt.key_arn.as_deref();
    let key = key.map_or_else(String::new, |key| format!(" with {}", line(key)));
    let decrypted = match outcome {
        CallOutcome::Success => "decrypted".to_owned(),
        other => format!("Decrypt {}", other.as_str()),
    };
    Some(match decrypt.status {
        DecryptStatus::Paired => format!("{decrypted}{key}"),
        DecryptStatus::Absent => "no KMS Decrypt found, although KMS events are logged".to_owned(),
        DecryptStatus::Unknown => {
            "KMS Decrypt unknown: the logs prove neither presence nor absence".to_owned()
        }
        DecryptStatus::Pending => "KMS Decrypt not seen yet".to_owned(),
        // Most denied and failed reads have no key; an access that is itself a KMS Decrypt has one.
        DecryptStatus::NotExpected if key.is_empty() => return None,
        DecryptStatus::NotExpected => format!("{decrypted}{key}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access, state::contract};
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
    fn a_mail_has_no_links_from_logs_and_a_terminal_has_the_names() {
        let mut alert = contract::alert("e1");
        alert.principal = Some("arn:aws:iam::111122223333:user/kim.dev".into());
        assert!(body(&alert).contains("principal  arn:aws:iam::111122223333:user/kim.dev\n"));
        assert!(mail(&alert).contains("principal  arn:aws:iam::111122223333:user/kim[.]dev\n"));
    }

    #[test]
    fn what_was_withdrawn_says_so_first() {
        let mut alert = contract::alert("e1");
        alert.withdrawn = true;
        assert!(subject(&alert).starts_with("withdrawn: high: "));
        let body = body(&alert);
        let why = body.lines().nth(2).unwrap();
        assert!(
            why.starts_with("Withdrawn: a record that came late"),
            "{body}"
        );
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
        assert!(body.contains(", region several or unknown\n"), "{body}");
        assert!(!body.contains("accesses ("), "{body}");
    }

    #[test]
    fn a_digest_describes_ten_and_names_all() {
        let mut alerts: Vec<Alert> = (0..12).map(|n| contract::alert(&format!("e{n}"))).collect();
        alerts[0].withdrawn = true;
        alerts[1].summary = "one\nline".to_owned();
        let body = digest_body(&AlertDigest::new(alerts.iter().collect()));
        assert!(body.starts_with("12 alerts in one message: 12 high\n"));
        assert_eq!(body.matches("  high: title\n").count(), 10, "{body}");
        assert!(!body.contains("withdrawn"), "it is last");
        assert!(!body.contains("one\nline"), "{body}");
        let listed = body.split_once("\n12 alerts:\n").unwrap().1;
        assert_eq!(listed.lines().count(), 12);
    }

    #[test]
    fn a_key_is_reported_wherever_it_was_used() {
        let of = |outcome, status, key: Option<&str>| {
            let key_arn = key.map(Into::into);
            let decrypt = AccessDecrypt {
                key_arn,
                ..AccessDecrypt::only(status)
            };
            decryption(outcome, &decrypt, line)
        };
        let reported = |status, key| of(CallOutcome::Success, status, key);
        let with_key = Some("decrypted with k".to_owned());
        assert_eq!(reported(DecryptStatus::Paired, Some("k")), with_key);
        // An access without a read is itself the KMS Decrypt.
        assert_eq!(reported(DecryptStatus::NotExpected, Some("k")), with_key);
        assert_eq!(reported(DecryptStatus::NotExpected, None), None);
        // What KMS denied was not decrypted.
        let denied = of(CallOutcome::Denied, DecryptStatus::Paired, Some("k"));
        assert_eq!(denied.as_deref(), Some("Decrypt denied with k"));
    }

    #[test]
    fn an_access_is_reported_without_a_key_that_is_not_expected() {
        let mut access = access::sample();
        access.decrypt = AccessDecrypt::only(DecryptStatus::NotExpected);
        Arc::make_mut(&mut access.head).denied_by = Some("kms_key".into());
        let mut out = String::new();
        write_access(&access, line, &mut out).unwrap();
        assert_eq!(
            out,
            "  2026-03-02T10:00:00Z GetParameter success by kms_key: /db\n    \
             from 198.51.100.7, event e1\n"
        );
    }
}
