//! Combinations of values, and what the rules of a group say about each.

use std::cell::Cell;

use rsigma_eval::{Event, EventValue};
use serde_json::Value;

use super::{RepeatedConditions, cache::CombinationCache};
use crate::rule::{
    DetectionRule,
    fields::{self, DerivedField},
    values::{ListedEvent, ValueLists},
};

/// A field of a combination, looked up beforehand.
#[derive(Debug)]
pub struct CombinationField {
    pub(in crate::rule) name: String,
    /// `None` for fields of the record.
    pub(in crate::rule) derived: Option<&'static DerivedField>,
}

impl CombinationField {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            derived: fields::by_name(name),
        }
    }
}

/// An event whose values may be those of events before it.
pub trait RepeatingEvent: Event {
    /// The value of a field: that of [`Event::get_field`], without searching for the field.
    fn value(&self, field: &CombinationField) -> Option<EventValue<'_>> {
        self.get_field(&field.name)
    }
}

/// A rule that may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) rule: usize,
    /// Whether it matches for certain; else it must be asked.
    pub(super) is_certain: bool,
}

/// Rules that are judged by one combination of values.
#[derive(Debug)]
pub(super) struct RuleGroup {
    fields: Vec<CombinationField>,
    rules: Vec<usize>,
    known: CombinationCache,
}

impl RuleGroup {
    /// Adds a rule to the group of rules that read the same fields with many values.
    pub(super) fn add(groups: &mut Vec<Self>, rule: usize, repeated: &RepeatedConditions) {
        let place = groups
            .iter()
            .position(|group| group.many().eq(repeated.many()));
        let mut group = match place {
            Some(place) => groups.swap_remove(place),
            None => Self {
                fields: Vec::new(),
                rules: Vec::new(),
                known: CombinationCache::default(),
            },
        };
        group.rules.push(rule);
        for name in &repeated.fields {
            if !group.has(name) {
                group.fields.push(CombinationField::new(name));
            }
        }
        group.fields.sort_by(|a, b| a.name.cmp(&b.name));
        groups.push(group);
    }

    fn many(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().map(|field| field.name.as_str());
        fields.filter(|field| fields::spread::is_many(field))
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// Adds the rules that may match an event.
    pub(super) fn candidates(
        &self,
        rules: (&[DetectionRule], &ValueLists),
        event: &impl RepeatingEvent,
        found: &mut Vec<Candidate>,
    ) {
        if self.known.is_given_up() {
            let all = self.rules.iter().map(|rule| Candidate {
                rule: *rule,
                is_certain: false,
            });
            found.extend(all);
            return;
        }
        let key = self.key(event);
        let hash = self.known.hash(&key);
        if !self.known.find(hash, &key, found) {
            let judged = self.judged(rules, event);
            found.extend(&judged);
            self.known.add(hash, key, judged);
        }
    }

    /// The values of an event, so that two events have the same key only if all their values in
    /// the combination are the same.
    fn key(&self, event: &impl RepeatingEvent) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.fields.len() * 16);
        for field in &self.fields {
            write_value(event.value(field).as_ref(), &mut key);
        }
        key
    }

    /// Asks the Sigma engine.
    fn judged(
        &self,
        (detections, lists): (&[DetectionRule], &ValueLists),
        event: &impl RepeatingEvent,
    ) -> Vec<Candidate> {
        let rules = self.rules.iter();
        let judged = rules.filter_map(|rule| {
            let detection = detections.get(*rule)?;
            let watched = WatchedEvent {
                event,
                group: self,
                is_outside: Cell::new(false),
            };
            let listed = ListedEvent {
                event: &watched,
                lists,
            };
            let necessary = detection.repeated.as_ref()?.necessary.as_ref();
            let holds = match necessary {
                Some(necessary) => necessary.iter().any(|one| detection.holds(one, &listed)),
                None => detection.matches(&listed),
            };
            // What was looked at outside of the combination may be different the next time.
            let is_outside = watched.is_outside.get();
            (holds || is_outside).then_some(Candidate {
                rule: *rule,
                is_certain: necessary.is_none() && !is_outside,
            })
        });
        judged.collect()
    }
}

/// An event that notes whether more of it is looked at than the fields of a group.
struct WatchedEvent<'e, E> {
    event: &'e E,
    group: &'e RuleGroup,
    is_outside: Cell<bool>,
}

impl<E: Event> Event for WatchedEvent<'_, E> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        if !self.group.has(path) {
            self.is_outside.set(true);
        }
        self.event.get_field(path)
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        self.is_outside.set(true);
        self.event.any_string_value(predicate)
    }

    fn all_string_values(&self) -> Vec<std::borrow::Cow<'_, str>> {
        self.is_outside.set(true);
        self.event.all_string_values()
    }

    fn to_json(&self) -> Value {
        self.is_outside.set(true);
        self.event.to_json()
    }
}

/// Adds a value to a key. No two sequences of values have the same key: each value begins with its
/// kind, and its length where that varies.
fn write_value(value: Option<&EventValue<'_>>, key: &mut Vec<u8>) {
    match value {
        None => key.push(0),
        Some(EventValue::Null) => key.push(1),
        Some(EventValue::Bool(value)) => key.extend([2, u8::from(*value)]),
        Some(EventValue::Int(value)) => {
            key.push(3);
            key.extend(value.to_le_bytes());
        }
        Some(EventValue::Float(value)) => {
            key.push(4);
            key.extend(value.to_bits().to_le_bytes());
        }
        Some(EventValue::Str(text)) => {
            key.push(5);
            write_text(text, key);
        }
        Some(EventValue::Array(values)) => {
            key.push(6);
            key.extend(values.len().to_le_bytes());
            values
                .iter()
                .for_each(|value| write_value(Some(value), key));
        }
        Some(EventValue::Map(entries)) => {
            key.push(7);
            key.extend(entries.len().to_le_bytes());
            for (name, value) in entries {
                write_text(name, key);
                write_value(Some(value), key);
            }
        }
    }
}

fn write_text(text: &str, key: &mut Vec<u8>) {
    key.extend(text.len().to_le_bytes());
    key.extend(text.as_bytes());
}

#[cfg(test)]
mod tests;
