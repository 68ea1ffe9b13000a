//! Our events in the terms of the Sigma engine: accesses and changes by their own fields, records
//! by CloudTrail's.

use std::borrow::Cow;

use rsigma_eval::{Event, EventValue};
use serde_json::Value;

use crate::{
    access::Access,
    document::{JsonNode, LazyDocument},
    ids::SecretRef,
    network::NetworkLists,
    observation::EventHeader,
    policy::{AccessPolicy, Expectation},
    rule::{
        changed::ChangedPolicy,
        fields::{self, FieldSubject},
        plan::{CombinationField, RepeatingEvent},
    },
    seen::SeenVerdicts,
};

/// An access or a change: derived fields, and the raw fields that were kept because rules ask for
/// them.
#[derive(Debug)]
pub struct DerivedEvent<'a> {
    subject: FieldSubject<'a>,
}

impl<'a> DerivedEvent<'a> {
    /// An access, with what the policy says about it, if there is one, and what is new about it,
    /// once that is known.
    #[must_use]
    pub fn access(
        access: &'a Access,
        expected: Option<Expectation>,
        seen: Option<SeenVerdicts>,
        networks: &'a NetworkLists,
    ) -> Self {
        let secret = Some(&access.secret);
        Self {
            subject: FieldSubject {
                head: &access.head,
                secret,
                others: &[],
                access: Some(access),
                expected,
                seen,
                networks,
                policy: None,
                changed: ChangedPolicy::default(),
            },
        }
    }

    /// A change of a secret and of others, with the access policy, if there is one.
    #[must_use]
    pub fn change(
        head: &'a EventHeader,
        secret: Option<&'a SecretRef>,
        others: &'a [SecretRef],
        policy: Option<&'a AccessPolicy>,
        networks: &'a NetworkLists,
    ) -> Self {
        Self {
            subject: FieldSubject {
                head,
                secret,
                others,
                access: None,
                expected: None,
                seen: None,
                networks,
                policy,
                changed: ChangedPolicy::default(),
            },
        }
    }
}

impl Event for DerivedEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        // A derived field that this event lacks is absent, even if the record has one of that name.
        if let Some(value) = fields::derived(&self.subject, path) {
            return value;
        }
        if let Some(value) = fields::held(self.subject.head, path) {
            return Some(value);
        }
        let kept = self.subject.head.kept.get(path);
        kept.map(JsonNode::to_event_value)
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

impl RepeatingEvent for DerivedEvent<'_> {
    fn value(&self, field: &CombinationField) -> Option<EventValue<'_>> {
        match field.derived {
            Some(derived) => derived.read(&self.subject),
            None => self.get_field(&field.name),
        }
    }
}

/// A record as it is.
pub struct RecordEvent<'d, 'a>(pub &'d LazyDocument<'a>);

impl Event for RecordEvent<'_, '_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        match self.0.node().field(path)? {
            Cow::Borrowed(node) => Some(node.to_event_value()),
            Cow::Owned(JsonNode::List(items)) => Some(EventValue::Array(
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

impl RepeatingEvent for RecordEvent<'_, '_> {}

fn owned_value(node: JsonNode<'_>) -> EventValue<'_> {
    match node {
        JsonNode::Null => EventValue::Null,
        JsonNode::Bool(value) => EventValue::Bool(value),
        JsonNode::Int(value) => EventValue::Int(value),
        JsonNode::Float(value) => EventValue::Float(value),
        JsonNode::Str(text) => EventValue::Str(text),
        JsonNode::List(items) => EventValue::Array(items.into_iter().map(owned_value).collect()),
        JsonNode::Map(entries) => EventValue::Map(
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
        head.kept.fields = vec![("errorCode".into(), JsonNode::Str("kept".into()))];
        let event = DerivedEvent::access(&access, None, None, NetworkLists::none());
        let field = |name| text(event.get_field(name));
        assert_eq!(field("secret.name").as_deref(), Some("/db"));
        assert_eq!(field("eventName").as_deref(), Some("GetParameter"));
        assert_eq!(field("errorCode").as_deref(), Some("kept"));
        // Without a policy and before it is settled, what they tell is absent.
        for absent in ["expected.principal", "seen.principal", "eventVersion"] {
            assert_eq!(field(absent), None, "{absent}");
        }
        let change = DerivedEvent::change(
            &access.head,
            Some(&access.secret),
            &[],
            None,
            NetworkLists::none(),
        );
        assert_eq!(text(change.get_field("access.method")), None);
    }

    #[test]
    fn a_record_has_its_fields_by_their_paths() {
        let text_of = r#"{"a":{"b":[{"c":"x"},{"c":"y"}]},"n":null,"t":true}"#;
        let document = LazyDocument::new(text_of);
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
