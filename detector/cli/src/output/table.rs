//! For people at a terminal: alerts as short paragraphs, accesses as columns. Text from logs is neutralised.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use secretrail_engine::access::Access;
use secretrail_engine::alert::Alert;
use secretrail_engine::ids::Arn;
use secretrail_engine::neutral;
use unicode_width::UnicodeWidthStr;

use super::style::level_style;
use crate::args::settings::Settings;

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
    let style = level_style(alert.rule.level, settings.color);
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
        let named: Vec<_> = alert
            .secrets
            .iter()
            .take(SECRETS)
            .map(|s| neutral::line(short(s)))
            .collect();
        let more = match alert.secrets_total.saturating_sub(named.len()) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        writeln!(out, "{indent}secrets: {}{more}", named.join(", "))?;
    }
    let id = &alert.id.0;
    writeln!(
        out,
        "{indent}alert {id}, rule {}\n",
        neutral::line(&alert.rule.id)
    )
}

/// Accesses, one a line.
#[must_use]
pub fn accesses(accesses: &[Arc<Access>]) -> String {
    let rows: Vec<[String; 8]> = accesses.iter().map(|access| row(access)).collect();
    columns(
        [
            "TIME",
            "OUTCOME",
            "PRINCIPAL",
            "SECRET",
            "API",
            "SOURCE",
            "REGION",
            "DECRYPT",
        ],
        &rows,
    )
}

/// Rows under a header, columns as wide as they need to be. Every cell is made harmless.
#[must_use]
pub fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let rows: Vec<[Cow<'_, str>; N]> = std::iter::once(&header)
        .chain(rows)
        .map(|row| row.each_ref().map(|cell| neutral::line(cell)))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for row in &rows {
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
    let principal = head
        .principal
        .id
        .as_deref()
        .map_or_else(|| "-".to_owned(), principal);
    let denied = head
        .denied_by
        .as_deref()
        .map(|gate| format!(" by {gate}"))
        .unwrap_or_default();
    [
        head.time.to_string(),
        format!("{}{denied}", head.outcome.as_str()),
        principal,
        access.secret.label(),
        format!("{} ({})", head.api, access.method.as_str()),
        head.source.ip.as_deref().unwrap_or("-").to_owned(),
        head.region.to_string(),
        access.decrypt.status.as_str().to_owned(),
    ]
}

/// An ARN as `account resource`; anything else as it is.
#[must_use]
pub fn principal(id: &str) -> String {
    Arn::parse(id).map_or_else(
        || id.to_owned(),
        |arn| format!("{} {}", arn.account, arn.resource),
    )
}

/// The name in the ARN of a secret or parameter.
fn short(secret: &str) -> &str {
    let resource = Arn::parse(secret).map_or(secret, |arn| arn.resource);
    resource
        .strip_prefix("secret:")
        .or(resource.strip_prefix("parameter"))
        .unwrap_or(resource)
}
