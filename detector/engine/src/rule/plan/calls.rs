//! Rules about records by the call that they need.

use ahash::HashMap;

use super::{Asked, combination::Candidate};
use crate::{
    document::scalar_text,
    rule::{DetectionRule, plan::RepeatingEvent},
};

/// Rules about records by `eventSource` and `eventName`.
#[derive(Debug, Default)]
pub(super) struct CallIndex {
    all: Vec<usize>,
    /// Rules that may match any call.
    any: Vec<usize>,
    /// By service, in lower case.
    services: HashMap<Box<str>, ServiceCalls>,
}

/// The rules about the records of a service.
#[derive(Debug, Default)]
struct ServiceCalls {
    all: Vec<usize>,
    /// Rules that may match any call of the service.
    any: Vec<usize>,
    /// By call, in lower case.
    calls: HashMap<Box<str>, Vec<usize>>,
}

impl CallIndex {
    pub(super) fn new<'r>(rules: impl Iterator<Item = (usize, &'r DetectionRule)>) -> Self {
        let mut index = Self::default();
        for (rule, detection) in rules {
            index.all.push(rule);
            match &detection.calls {
                Some(calls) if calls.iter().all(|call| call.source.is_ascii()) => {
                    for call in calls {
                        let service = lower(&call.source);
                        let service = index.services.entry(service.into()).or_default();
                        service.add(rule, call.names.as_deref());
                    }
                }
                _ => index.any.push(rule),
            }
        }
        index
    }

    /// The rules that may match a record, ascending.
    pub(super) fn candidates(&self, event: &impl RepeatingEvent) -> Vec<Candidate> {
        let text = |field: &str| event.get_field(field).and_then(|v| scalar_text(&v));
        // Other letters than those of ASCII have cases that the Sigma engine knows: every rule is
        // asked.
        let Some(source) = text("eventSource").filter(|source| source.is_ascii()) else {
            return self.all.iter().map(Asked::asked).collect();
        };
        let mut found = self.any.clone();
        if let Some(service) = self.services.get(&*lower(&source)) {
            match text("eventName").filter(|name| name.is_ascii()) {
                Some(name) => {
                    found.extend(&service.any);
                    found.extend(service.calls.get(&*lower(&name)).into_iter().flatten());
                }
                None => found.extend(&service.all),
            }
        }
        found.sort_unstable();
        // A rule may name a call twice, in different selections.
        found.dedup();
        found.iter().map(Asked::asked).collect()
    }
}

impl ServiceCalls {
    fn add(&mut self, rule: usize, names: Option<&[String]>) {
        self.all.push(rule);
        match names {
            Some(names) if names.iter().all(|name| name.is_ascii()) => {
                for name in names {
                    self.calls.entry(lower(name).into()).or_default().push(rule);
                }
            }
            _ => self.any.push(rule),
        }
    }
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}
