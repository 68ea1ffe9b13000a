//! Our events in the terms of the Sigma engine: accesses and changes by their own fields, records
//! by CloudTrail's.

use std::borrow::Cow;

use rsigma_eval::{Event, EventValue};
use serde_json::Value;

use crate::access::Access;
use crate::document::{Document, Node};
use crate::ids::SecretRef;
use crate::observation::Head;
use crate::policy::Expected;
use crate::rule::fields::{self, Subject};
use crate::seen::Seen;

/// An access or a change: derived fields, and the raw fields that were kept because rules ask for
/// them.
#[derive(Debug)]
pub struct OwnEvent<'a> {
    subject: Subject<'a>,
}

impl<'a> OwnEvent<'a> {
    /// An access, with what the policy says about it, if there is one, and what is new about it,
    /// once that is known.
    #[must_use]
    pub fn access(access: &'a Access, expected: Option<Expected>, seen: Option<Seen>) -> Self {
        let secret = Some(&access.secret);
        Self {
            subject: Subject {
                head: &access.head,
                secret,
                access: Some(access),
                expected,
                seen,
            },
        }
    }

    /// A change.
    #[must_use]
    pub fn change(head: &'a Head, secret: Option<&'a SecretRef>) -> Self {
        Self {
            subject: Subject {
                head,
                secret,
                access: None,
                expected: None,
                seen: None,
            },
        }
    }
}

impl Event for OwnEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        if let Some(value) = fields::derived(&self.subject, path) {
            return value;
        }
        if let Some(value) = fields::held(self.subject.head, path) {
            return Some(value);
        }
        let kept = &self.subject.head.kept;
        kept.fields
            .iter()
            .find(|(name, _)| &**name == path)
            .map(|(_, node)| node.to_event_value())
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        self.subject
            .head
            .kept
            .whole
            .as_ref()
            .is_some_and(|node| node.any_string(predicate))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut all = Vec::new();
        if let Some(node) = &self.subject.head.kept.whole {
            node.strings(&mut all);
        }
        all
    }

    fn to_json(&self) -> Value {
        Value::Null
    }
}

/// A record as it is.
pub struct RecordEvent<'d, 'a>(pub &'d Document<'a>);

impl Event for RecordEvent<'_, '_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        match self.0.node().field(path)? {
            Cow::Borrowed(node) => Some(node.to_event_value()),
            Cow::Owned(Node::List(items)) => Some(EventValue::Array(
                items.into_iter().map(owned_value).collect(),
            )),
            Cow::Owned(node) => Some(owned_value(node)),
        }
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        self.0.node().any_string(predicate)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut all = Vec::new();
        self.0.node().strings(&mut all);
        all
    }

    fn to_json(&self) -> Value {
        serde_json::from_str(self.0.text()).unwrap_or(Value::Null)
    }
}

fn owned_value(node: Node<'_>) -> EventValue<'_> {
    match node {
        Node::Null => EventValue::Null,
        Node::Bool(value) => EventValue::Bool(value),
        Node::Int(value) => EventValue::Int(value),
        Node::Float(value) => EventValue::Float(value),
        Node::Str(text) => EventValue::Str(text),
        Node::List(items) => EventValue::Array(items.into_iter().map(owned_value).collect()),
        Node::Map(entries) => EventValue::Map(
            entries
                .into_iter()
                .map(|(k, v)| (k, owned_value(v)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access;

    fn text(value: Option<EventValue<'_>>) -> Option<String> {
        match value? {
            EventValue::Str(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_field_is_ours_then_held_then_kept() {
        let mut access = access::sample();
        let head = std::sync::Arc::make_mut(&mut access.head);
        head.kept.fields = vec![("errorCode".into(), Node::Str("kept".into()))];
        let event = OwnEvent::access(&access, None, None);
        let field = |name| text(event.get_field(name));
        assert_eq!(field("secret.name").as_deref(), Some("/db"));
        assert_eq!(field("eventName").as_deref(), Some("GetParameter"));
        assert_eq!(field("errorCode").as_deref(), Some("kept"));
        // Without a policy and before it is settled, what they tell is absent.
        for absent in ["expected.principal", "seen.principal", "eventVersion"] {
            assert_eq!(field(absent), None, "{absent}");
        }
        let change = OwnEvent::change(&access.head, Some(&access.secret));
        assert_eq!(text(change.get_field("access.method")), None);
    }

    #[test]
    fn a_record_has_its_fields_by_their_paths() {
        let text_of = r#"{"a":{"b":[{"c":"x"},{"c":"y"}]},"n":null,"t":true}"#;
        let document = Document::new(text_of);
        let event = RecordEvent(&document);
        assert!(matches!(event.get_field("n"), Some(EventValue::Null)));
        assert!(matches!(event.get_field("t"), Some(EventValue::Bool(true))));
        assert!(event.get_field("a.x").is_none());
        match event.get_field("a.b.c") {
            Some(EventValue::Array(all)) => assert_eq!(all.len(), 2),
            _ => panic!("the members of a list have it"),
        }
        assert!(event.any_string_value(&|text| text == "y"));
    }
}
