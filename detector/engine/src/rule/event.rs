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
