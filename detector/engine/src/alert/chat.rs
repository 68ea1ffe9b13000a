//! An alert for Amazon Q Developer in chat applications (formerly AWS Chatbot): a custom
//! notification, version 1.0. Amazon Q Developer drops messages that do not have this form.
//!
//! Source: Amazon Q Developer in chat applications administrator guide, "Custom notifications",
//! checked 2026-11.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Alert,
    alert_digest::AlertDigest,
    text::{self, WITHDRAWN},
};
use crate::{digest::digest, sanitize};

/// Most secrets named in the description.
const SECRETS: usize = 5;

/// A custom notification.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatNotification {
    version: &'static str,
    source: &'static str,
    id: String,
    content: ChatContent,
    metadata: ChatMetadata,
}

impl ChatNotification {
    pub(crate) fn new(id: String, content: ChatContent, metadata: ChatMetadata) -> Self {
        Self {
            version: "1.0",
            source: "custom",
            id,
            content,
            metadata,
        }
    }

    pub(crate) fn json(&self) -> String {
        // Cannot fail: every key is text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatContent {
    pub(crate) text_type: &'static str,
    pub(crate) title: String,
    pub(crate) description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) next_steps: Vec<String>,
    pub(crate) keywords: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatMetadata {
    pub(crate) thread_id: String,
    pub(crate) summary: String,
    pub(crate) event_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) related_resources: Vec<String>,
    /// Values must be strings.
    pub(crate) additional_context: BTreeMap<&'static str, String>,
}

/// The alert as a custom notification in JSON.
#[must_use]
pub fn notification(alert: &Alert) -> String {
    let (content, metadata) = (ChatContent::of(alert), ChatMetadata::of(alert));
    ChatNotification::new(alert.message_id(), content, metadata).json()
}

/// A digest as a custom notification in JSON.
#[must_use]
pub fn digest_notification(digest: &AlertDigest<'_>) -> String {
    let alert = digest.as_alert();
    let content = ChatContent {
        description: digest_description(digest),
        ..ChatContent::of(&alert)
    };
    let metadata = ChatMetadata {
        event_type: "secretrail.digest",
        ..ChatMetadata::of(&alert)
    };
    ChatNotification::new(digest.id(), content, metadata).json()
}

/// The numbers, then the worst with their ids.
fn digest_description(digest: &AlertDigest<'_>) -> String {
    let worst = digest.worst().map(|alert| {
        let title = alert.prefix() + &of_rule(&alert.rule.title);
        let summary = plain(&alert.summary);
        format!("*{title}:* {summary} ({})", alert.id.0)
    });
    let mut lines = vec![format!("{}.", digest.counted())];
    lines.extend(worst);
    let described = lines.len() - 1;
    match digest.alerts().len() - described {
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    lines.join("\n")
}

impl ChatContent {
    pub(crate) fn of(alert: &Alert) -> Self {
        let rule = &*alert.rule;
        Self {
            text_type: "client-markdown",
            title: alert.prefix() + &of_rule(&rule.title),
            description: description(alert),
            next_steps: rule.next_steps.iter().map(|text| of_rule(text)).collect(),
            keywords: vec!["secretrail".to_owned(), rule.level.to_string()],
        }
    }
}

/// The summary, then the first secrets.
fn description(alert: &Alert) -> String {
    let summary = match plain(&alert.summary) {
        summary if alert.withdrawn => format!("{WITHDRAWN}\n{summary}"),
        summary => summary,
    };
    let shown = alert.secrets.iter().take(SECRETS);
    let named: Vec<String> = shown.map(|secret| plain(secret)).collect();
    let list = named.join(", ");
    match alert.secrets_total.saturating_sub(named.len()) {
        _ if named.is_empty() => format!("{summary}."),
        0 => format!("{summary}.\n*Secrets:* {list}"),
        more => format!("{summary}.\n*Secrets:* {list}, and {more} more"),
    }
}

impl ChatMetadata {
    pub(crate) fn of(alert: &Alert) -> Self {
        let shown = alert.secrets.iter().take(SECRETS);
        // Chat clients link ARNs only; a bare name has no link.
        let resources = shown.filter(|secret| secret.starts_with("arn:"));
        let resources = resources.filter(|secret| text::line(secret) == ***secret);
        Self {
            // One thread per rule and principal. The principal is hashed: its name is untrusted log
            // text.
            thread_id: format!(
                "{}/{}",
                alert.rule.id,
                digest(&[alert.principal.as_deref().unwrap_or_default()])
            ),
            summary: plain(&alert.summary),
            event_type: "secretrail.alert",
            related_resources: resources.map(ToString::to_string).collect(),
            additional_context: context(alert),
        }
    }
}

/// Known attributes of the alert by name; unknown ones are omitted.
fn context(alert: &Alert) -> BTreeMap<&'static str, String> {
    let rule = &*alert.rule;
    let count = alert
        .window_match
        .as_ref()
        .map(|window_match| window_match.count.to_string());
    let all = [
        ("level", Some(rule.level.to_string())),
        ("rule_id", Some(plain(&rule.id))),
        ("account", alert.account.as_deref().map(plain)),
        ("region", alert.region.as_deref().map(plain)),
        ("principal", alert.principal.as_deref().map(plain)),
        ("time", Some(alert.time.to_string())),
        ("count", count),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Log text without anything that chat clients interpret as markup, mentions or links.
pub(crate) fn plain(text: &str) -> String {
    sanitize::unlinked(&of_rule(text)).into_owned()
}

/// Text of a rule without characters that chat clients interpret as markup or mentions: each is
/// replaced by a look-alike. Its links are meant.
pub(crate) fn of_rule(text: &str) -> String {
    text::of_rule(text)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract;
    use serde_json::Value;

    fn sent(change: impl FnOnce(&mut Alert)) -> Value {
        let mut alert = contract::alert("e1");
        change(&mut alert);
        serde_json::from_str(&notification(&alert)).unwrap()
    }

    #[test]
    fn what_is_not_known_is_omitted() {
        let sent = sent(|alert| {
            alert.account = None;
            alert.secrets.clear();
        });
        let context = &sent["metadata"]["additionalContext"];
        assert!(context.get("account").is_none() && context.get("count").is_none());
        assert!(context["level"].is_string());
        assert!(sent["content"].get("nextSteps").is_none());
        let description = sent["content"]["description"].as_str().unwrap();
        assert!(!description.contains("Secrets"), "{description}");
    }

    #[test]
    fn a_withdrawal_is_another_message_in_the_thread() {
        let raised = sent(|_| {});
        let withdrawn = sent(|alert| alert.withdrawn = true);
        let text = |message: &serde_json::Value, key: &str| message["content"][key].to_string();
        assert!(text(&withdrawn, "title").starts_with("\"withdrawn: "));
        assert!(text(&withdrawn, "description").starts_with("\"Withdrawn: a record"));
        assert_ne!(withdrawn["id"], raised["id"]);
        let thread = |message: &serde_json::Value| message["metadata"]["threadId"].clone();
        assert_eq!(thread(&withdrawn), thread(&raised));
    }

    #[test]
    fn a_digest_names_the_worst_and_counts_the_rest() {
        let mut alerts: Vec<Alert> = (0..12).map(|n| contract::alert(&format!("e{n}"))).collect();
        alerts[3].summary = "*<!channel>".to_owned();
        let digest = AlertDigest::new(alerts.iter().collect());
        let sent: Value = serde_json::from_str(&digest_notification(&digest)).unwrap();
        assert_eq!(sent["id"], digest.id());
        assert_eq!(sent["content"]["title"], "high: 12 alerts in one message");
        let description = sent["content"]["description"].as_str().unwrap();
        assert!(description.starts_with("12 high.\n*high: title:* "));
        assert!(description.ends_with("\nand 2 more"), "{description}");
        assert!(!description.contains("<!channel>"), "{description}");
    }

    #[test]
    fn the_first_secrets_are_named_and_the_others_counted() {
        let sent = sent(|alert| {
            alert.secrets = (0..7).map(|n| format!("arn:s{n}").into()).collect();
            alert.secrets[0] = "bare".into();
            alert.secrets_total = 12;
        });
        let description = sent["content"]["description"].as_str().unwrap();
        let list = "\n*Secrets:* bare, arn:s1, arn:s2, arn:s3, arn:s4, and 7 more";
        assert!(description.ends_with(list), "{description}");
        let links = sent["metadata"]["relatedResources"].as_array().unwrap();
        assert_eq!(links.len(), 4, "a bare name has no link");
    }

    #[test]
    fn nothing_that_a_log_says_marks_up_links_or_mentions() {
        let linked = plain("[l](https://evil.example/x) or evil.com");
        assert_eq!(linked, "［l］(hxxps[:]//evil[.]example/x) or evil[.]com");
        assert_eq!(
            of_rule("see https://wiki.example"),
            "see https://wiki.example"
        );
        let plain = plain("<@U1|x> *b* _i_ ~s~ `c` [l](u) & #ch\n@here");
        assert!(!plain.contains(['<', '>', '*', '_', '~', '`', '[', ']', '&', '#', '@', '\n']));
    }
}
