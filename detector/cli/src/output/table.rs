//! For people at a terminal: alerts as short paragraphs, accesses as columns. Text from logs is neutralised.

use std::fmt::Write as _;
use std::sync::Arc;

use secretrail_engine::access::Access;
use secretrail_engine::alert::Alert;
use secretrail_engine::ids::Arn;
use secretrail_engine::neutral;
use unicode_width::UnicodeWidthStr;

use crate::settings::Settings;

/// Secrets named below an alert; the alert's JSON lists more.
const SECRETS: usize = 5;

/// Width of the level column.
const LEVEL: usize = 15;

/// Alerts, each a headline and what stands behind it.
#[must_use]
pub fn alerts(alerts: &[Alert], settings: &Settings) -> String {
    let mut text = String::new();
    for alert in alerts {
        // Writing to a string cannot fail.
        self::alert(alert, settings, &mut text).ok();
    }
    text
}

fn alert(alert: &Alert, settings: &Settings, out: &mut String) -> std::fmt::Result {
    let style = settings.level_style(alert.rule.level);
    let level = alert.rule.level.as_str().to_uppercase();
    let indent = " ".repeat(LEVEL);
    writeln!(
        out,
        "{style}{level:<LEVEL$}{style:#}{}  {style}{}{style:#}",
        alert.time,
        neutral::line(&alert.rule.title)
    )?;
    writeln!(out, "{indent}{}", neutral::line(&alert.summary))?;
    if alert.secrets_total > 1 {
        let named: Vec<_> = alert.secrets.iter().take(SECRETS).map(|s| neutral::line(short(s))).collect();
        let more = match alert.secrets_total.saturating_sub(named.len()) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        writeln!(out, "{indent}secrets: {}{more}", named.join(", "))?;
    }
    let id = &alert.id.0;
    writeln!(out, "{indent}alert {id}, rule {}\n", neutral::line(&alert.rule.id))
}

/// Accesses, one a line, columns as wide as they need to be.
#[must_use]
pub fn accesses(accesses: &[Arc<Access>]) -> String {
    let header = ["TIME", "OUTCOME", "PRINCIPAL", "SECRET", "API", "SOURCE", "REGION", "DECRYPT"];
    let rows: Vec<[String; 8]> = accesses.iter().map(|access| row(access)).collect();
    let mut widths = header.map(UnicodeWidthStr::width);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&header.map(str::to_owned)).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(access: &Access) -> [String; 8] {
    let head = &access.head;
    let clean = |text: &str| neutral::line(text).into_owned();
    let principal = head.principal.id.as_deref().map_or_else(|| "-".to_owned(), |id| clean(principal(id).as_str()));
    let denied = head.denied_by.as_deref().map(|gate| format!(" by {gate}")).unwrap_or_default();
    [
        head.time.to_string(),
        clean(&format!("{}{denied}", head.outcome.as_str())),
        principal,
        clean(&access.secret.label()),
        clean(&format!("{} ({})", head.api, access.method.as_str())),
        clean(head.source.ip.as_deref().unwrap_or("-")),
        clean(&head.region),
        access.decrypt.status.as_str().to_owned(),
    ]
}

/// An ARN as `account resource`; anything else as it is.
fn principal(id: &str) -> String {
    Arn::parse(id).map_or_else(|| id.to_owned(), |arn| format!("{} {}", arn.account, arn.resource))
}

/// The name in the ARN of a secret or parameter.
fn short(secret: &str) -> &str {
    let resource = Arn::parse(secret).map_or(secret, |arn| arn.resource);
    resource.strip_prefix("secret:").or(resource.strip_prefix("parameter")).unwrap_or(resource)
}
