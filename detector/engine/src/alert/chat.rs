//! An alert for Amazon Q Developer in chat applications (formerly AWS Chatbot): its custom notification, version 1.0.
//! Whatever is not of this form is dropped there.
//!
//! Source: Amazon Q Developer in chat applications administrator guide, "Custom notifications", checked 2026-11.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Alert;
use super::text::line;
use crate::digest::digest;

/// Secrets named in the description.
const SECRETS: usize = 5;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    version: &'static str,
    source: &'static str,
    id: String,
    content: Content,
    metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    text_type: &'static str,
    title: String,
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    next_steps: Vec<String>,
    keywords: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    thread_id: String,
    summary: String,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_resources: Vec<String>,
    /// Strings only.
    additional_context: BTreeMap<&'static str, String>,
}

/// The notification as JSON.
#[must_use]
pub fn notification(alert: &Alert) -> String {
    let rule = &*alert.rule;
    let named: Vec<String> = alert
        .secrets
        .iter()
        .take(SECRETS)
        .map(|secret| plain(secret))
        .collect();
    let more = alert.secrets_total.saturating_sub(named.len());
    let mut description = format!("{}.", plain(&alert.summary));
    if !named.is_empty() {
        let rest = if more == 0 {
            String::new()
        } else {
            format!(", and {more} more")
        };
        description.push_str(&format!("\n*Secrets:* {}{rest}", named.join(", ")));
    }
    let context = [
        ("level", Some(rule.level.to_string())),
        ("rule_id", Some(plain(&rule.id))),
        ("account", alert.account.as_deref().map(plain)),
        ("region", alert.region.as_deref().map(plain)),
        ("principal", alert.principal.as_deref().map(plain)),
        ("time", Some(alert.time.to_string())),
        (
            "count",
            alert.firing.as_ref().map(|firing| firing.count.to_string()),
        ),
    ];
    let notification = Notification {
        version: "1.0",
        source: "custom",
        id: alert.id.0.to_string(),
        content: Content {
            text_type: "client-markdown",
            title: format!("{}: {}", rule.level, plain(&rule.title)),
            description,
            next_steps: rule
                .false_positives
                .iter()
                .map(|text| format!("Harmless if: {}", plain(text)))
                .collect(),
            keywords: vec!["secretrail".to_owned(), rule.level.to_string()],
        },
        metadata: Metadata {
            // What one rule says of one principal is one thread.
            thread_id: format!(
                "{}/{}",
                rule.id,
                digest(&[alert.principal.as_deref().unwrap_or_default()])
            ),
            summary: plain(&alert.summary),
            event_type: "secretrail.alert",
            related_resources: alert
                .secrets
                .iter()
                .take(SECRETS)
                .filter(|s| s.starts_with("arn:"))
                .map(|s| line(s))
                .collect(),
            additional_context: context
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
        },
    };
    // Cannot fail: every key is text.
    serde_json::to_string(&notification).unwrap_or_default()
}

/// A text of a log in which no character marks up, mentions or links. What is not a letter, digit or harmless sign is
/// replaced by a look-alike that chat programs leave alone.
fn plain(text: &str) -> String {
    line(text)
        .chars()
        .map(|c| match c {
            '*' => '∗',
            '_' => '＿',
            '~' => '∼',
            '`' => '‘',
            '<' => '‹',
            '>' => '›',
            '[' => '［',
            ']' => '］',
            '&' => '＆',
            '@' => '＠',
            '#' => '＃',
            c => c,
        })
        .collect()
}
