//! Messages for SNS: an alert or incident in the format of the topic, within the limits of SNS.

use std::collections::{BTreeMap, BTreeSet};

use secretrail_engine::{
    alert::{
        Alert,
        alert_digest::{self, AlertDigest},
        chat, json_v1, ocsf, text,
    },
    incident::{self, message::IncidentMessage},
};
use serde::Serialize;

/// Most bytes of the body for queues, functions and chats: the rest of the message is for the
/// e-mail text, attributes, and escaped quotes.
const BODY_BYTES: usize = 96 * 1024;
/// Most bytes of the e-mail text.
const TEXT_BYTES: usize = 24 * 1024;
/// Most characters of an attribute or a group id.
const SHORT: usize = 128;

/// Format of the messages of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    /// `secretrail.alert/1`, and plain text for e-mail.
    Standard,
    /// Custom notification of Amazon Q Developer in chat applications.
    Chat,
    /// OCSF Detection Finding.
    Ocsf,
}

impl MessageFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Chat, Self::Ocsf];

    /// The name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Chat => "chat",
            Self::Ocsf => "ocsf",
        }
    }
}

/// A message for SNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnsMessage {
    /// JSON with a body for each protocol (`MessageStructure` is `json`).
    pub body: String,
    /// Subject: printable ASCII, fewer than 100 characters.
    pub subject: String,
    /// Message attributes: strings, none of them empty.
    pub attributes: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct ProtocolBodies<'a> {
    default: &'a str,
    email: &'a str,
    sms: &'a str,
}

impl SnsMessage {
    /// The message of an alert.
    #[must_use]
    pub fn of(alert: &Alert, format: MessageFormat) -> Self {
        Self::new(
            text::subject(alert),
            &body(alert, format),
            &cut_email(text::mail(alert)),
            attributes(alert),
        )
    }

    /// The message of an incident.
    #[must_use]
    pub fn of_incident(message: &IncidentMessage, format: MessageFormat) -> Self {
        let body = match format {
            MessageFormat::Standard => message.json(BODY_BYTES),
            MessageFormat::Chat => incident::chat::notification(message),
            MessageFormat::Ocsf => incident::finding::detection_finding(message),
        };
        let mut attributes = attributes(&message.as_alert());
        attributes.insert("schema", incident::json_v1::SCHEMA.to_owned());
        attributes.remove("rule_id");
        Self::new(
            message.subject(),
            &body,
            &cut_email(message.body()),
            attributes,
        )
    }

    /// The message of many alerts.
    #[must_use]
    pub fn of_digest(digest: &AlertDigest<'_>, format: MessageFormat) -> Self {
        let body = match format {
            MessageFormat::Standard => digest.json(),
            MessageFormat::Chat => chat::digest_notification(digest),
            MessageFormat::Ocsf => ocsf::digest_finding(digest),
        };
        let alert = digest.as_alert();
        let mut attributes = attributes(&alert);
        attributes.insert("schema", alert_digest::SCHEMA.to_owned());
        // A filter policy by rule takes a digest of that rule alone.
        match digest.rule_id().map(plain) {
            Some(rule) => attributes.insert("rule_id", rule),
            None => attributes.remove("rule_id"),
        };
        let email = cut_email(text::digest_body(digest));
        Self::new(text::subject(&alert), &body, &email, attributes)
    }

    fn new(
        subject: String,
        body: &str,
        email: &str,
        attributes: BTreeMap<&'static str, String>,
    ) -> Self {
        let bodies = ProtocolBodies {
            default: body,
            email,
            sms: &subject,
        };
        Self {
            // Cannot fail: every key is text.
            body: serde_json::to_string(&bodies).unwrap_or_default(),
            subject,
            attributes,
        }
    }

    /// Size in bytes, as SNS counts it.
    pub(super) fn bytes(&self) -> usize {
        // Attributes count with their names and types.
        let attributes = self
            .attributes
            .iter()
            .map(|(name, value)| name.len() + value.len() + "String".len());
        self.body.len() + self.subject.len() + attributes.sum::<usize>()
    }
}

/// The body for queues, functions and chats.
fn body(alert: &Alert, format: MessageFormat) -> String {
    match format {
        MessageFormat::Standard => json_v1::within(alert, BODY_BYTES),
        MessageFormat::Chat => chat::notification(&alert.shortened(0, 20, 2_000)),
        MessageFormat::Ocsf => {
            let whole = ocsf::detection_finding(alert);
            if whole.len() <= BODY_BYTES {
                whole
            } else {
                ocsf::detection_finding(&alert.shortened(0, 5, 200))
            }
        }
    }
}

/// The e-mail text within its limit.
fn cut_email(mut email: String) -> String {
    // Names of secrets and texts of rules may be long, and there may be many of them.
    if email.len() > TEXT_BYTES {
        email.truncate(email.floor_char_boundary(TEXT_BYTES));
        email.push_str("\n(truncated)\n");
    }
    email
}

/// Attributes for filter policies of subscriptions. SNS rejects an attribute without a value.
fn attributes(alert: &Alert) -> BTreeMap<&'static str, String> {
    [
        ("schema", Some(json_v1::SCHEMA.to_owned())),
        ("severity", Some(alert.rule.level.to_string())),
        ("rule_id", Some(plain(&alert.rule.id))),
        ("account_id", alert.account.as_deref().map(plain)),
        ("region", alert.region.as_deref().map(plain)),
        ("secret_store", store(alert).map(str::to_owned)),
        (
            "incident_id",
            alert.incident.as_ref().map(|id| plain(&id.0)),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
    .collect()
}

/// The store of the secrets, if it is the same for all: a filter policy compares one value.
fn store(alert: &Alert) -> Option<&str> {
    let stores: BTreeSet<&str> = alert
        .accesses
        .iter()
        .map(|access| access.secret.store.as_str())
        .collect();
    stores.first().copied().filter(|_| stores.len() == 1)
}

/// Printable ASCII, [`SHORT`] characters at most: accepted as attribute and as group id of FIFO
/// topics.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .take(SHORT)
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use secretrail_engine::{rule_meta::RuleLevel, state::contract::alert};

    #[test]
    fn what_a_topic_filters_by_is_never_empty() {
        let mut one = alert("e1");
        (one.account, one.region) = (Some("111122223333".into()), Some("".into()));
        let found = attributes(&one);
        assert_eq!(
            found.get("account_id").map(String::as_str),
            Some("111122223333")
        );
        assert_eq!(found.get("severity").map(String::as_str), Some("high"));
        assert!(!found.contains_key("region"), "{found:?}");
        assert!(!found.contains_key("secret_store"), "it is about no secret");
    }

    #[test]
    fn attributes_are_short_and_plain() {
        assert_eq!(
            plain("a rule\n\u{202e}é"),
            "a_rule____".replace("____", "___")
        );
        assert_eq!(plain(&"x".repeat(1_000)).len(), SHORT);
    }

    #[test]
    fn a_long_text_is_truncated_between_characters() {
        let mut long = alert("e1");
        let rule = Arc::make_mut(&mut long.rule);
        rule.false_positives = vec!["é".repeat(299); 100];
        let text = cut_email(text::mail(&long));
        assert!(text.ends_with("\n(truncated)\n"));
        assert!(text.len() <= TEXT_BYTES + "\n(truncated)\n".len());
    }

    #[test]
    fn every_form_of_a_digest_fits_and_names_every_alert() {
        let mut alerts: Vec<Alert> = (0..alert_digest::MOST_ALERTS)
            .map(|n| alert(&format!("e{n}")))
            .collect();
        for alert in &mut alerts {
            alert.summary = "\u{1}\"".repeat(20_000);
            Arc::make_mut(&mut alert.rule).level = RuleLevel::Informational;
        }
        let digest = AlertDigest::new(alerts.iter().collect());
        for format in MessageFormat::ALL {
            let message = SnsMessage::of_digest(&digest, format);
            let bytes = message.bytes();
            assert!(bytes <= 256 * 1024, "{format:?}: {bytes}");
            let bodies: serde_json::Value = serde_json::from_str(&message.body).unwrap();
            let named = |body: &serde_json::Value| {
                let body = body.as_str().unwrap();
                alerts
                    .iter()
                    .filter(|alert| body.contains(&*alert.id.0))
                    .count()
            };
            assert_eq!(named(&bodies["email"]), alerts.len());
            let expected = match format {
                MessageFormat::Chat => 10,
                MessageFormat::Standard | MessageFormat::Ocsf => alerts.len(),
            };
            assert_eq!(named(&bodies["default"]), expected, "{format:?}");
            let attribute = |name: &str| message.attributes.get(name).map(String::as_str);
            assert_eq!(attribute("schema"), Some("secretrail.digest/1"));
            assert_eq!(attribute("rule_id"), Some("rule"));
            assert_eq!(attribute("severity"), Some("informational"));
        }
    }

    #[test]
    fn every_form_of_a_huge_alert_fits_into_a_message() {
        let mut huge = alert("e1");
        huge.summary = "\u{1}\"".repeat(200_000);
        for format in MessageFormat::ALL {
            let message = SnsMessage::of(&huge, format);
            assert!(
                message.bytes() <= 256 * 1024,
                "{format:?}: {}",
                message.bytes()
            );
            let bodies: serde_json::Value = serde_json::from_str(&message.body).unwrap();
            for protocol in ["default", "email", "sms"] {
                assert!(bodies[protocol].is_string(), "{format:?}: {protocol}");
            }
        }
    }
}
