//! What is sorted: an observation, or a match of a rule about records, with its event time.

use std::{mem::size_of, sync::Arc};

use secretrail_engine::{
    document::JsonNode,
    evidence::Evidence,
    fact::{Fact, WindowKey},
    ids::{SecretRef, SharedStr},
    observation::{
        CallSource, EventHeader, KeptFields, KmsDecrypt, Observation, ReadRequest, SecretChange,
        SecretRead, VersionStep,
    },
    pending_event::PendingEvent,
    principal::Principal,
    scan::ScanResult,
    time::EventTime,
};

/// An entry of a sorted run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimedEntry {
    /// Event time.
    pub(super) time: EventTime,
    /// What happened then.
    pub(super) entry: RunEntry,
}

/// An observation or a match. Matches are boxed: they are large, and few.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RunEntry {
    /// A read, KMS Decrypt or change.
    Observation(Arc<PendingEvent>),
    /// A match of a rule about single events: index of the rule, and the event.
    Single(Box<(usize, Evidence)>),
    /// A match that a window counts: index of the window, its group, and the fact.
    Fact(Box<(usize, WindowKey, Fact)>),
}

impl TimedEntry {
    /// Takes the observations and matches out of a scan result.
    pub(super) fn take_from(scan_result: &mut ScanResult) -> Vec<Self> {
        let observations = std::mem::take(&mut scan_result.observations);
        let matches = std::mem::take(&mut scan_result.matches);
        let observations = observations.into_iter().map(|event| Self {
            time: event.time,
            entry: RunEntry::Observation(event),
        });
        let singles = matches.singles.into_iter().map(|single| Self {
            time: single.1.head.time,
            entry: RunEntry::Single(Box::new(single)),
        });
        let facts = matches.facts.into_iter().map(|fact| Self {
            time: fact.2.time,
            entry: RunEntry::Fact(Box::new(fact)),
        });
        observations.chain(singles).chain(facts).collect()
    }

    /// Adds the entry to a scan result.
    pub(super) fn put_into(self, scan_result: &mut ScanResult) {
        match self.entry {
            RunEntry::Observation(event) => scan_result.observations.push(event),
            RunEntry::Single(single) => scan_result.matches.singles.push(*single),
            RunEntry::Fact(fact) => scan_result.matches.facts.push(*fact),
        }
    }

    /// About how many accesses it gives: a batch names up to twenty secrets, and each is one.
    pub(super) fn rows(&self) -> usize {
        let RunEntry::Observation(event) = &self.entry else {
            return 1;
        };
        match &event.observation {
            Observation::Read(read) => match &read.request {
                ReadRequest::Named(secrets) | ReadRequest::Batch(secrets) => secrets.len().max(1),
                _ => 1,
            },
            _ => 1,
        }
    }

    /// About how many bytes of memory it holds; of what it shares with others, its part.
    pub(super) fn bytes(&self) -> usize {
        let own = match &self.entry {
            RunEntry::Observation(event) => size_of::<PendingEvent>() + observation(event),
            RunEntry::Single(single) => size_of::<(usize, Evidence)>() + evidence(&single.1),
            RunEntry::Fact(fact) => {
                size_of::<(usize, WindowKey, Fact)>() + evidence(&fact.2.evidence)
            }
        };
        // The vector of entries may have grown to twice its content.
        2 * size_of::<Self>() + own
    }
}

fn observation(event: &PendingEvent) -> usize {
    match &event.observation {
        Observation::Read(read) => {
            size_of::<SecretRead>() + head(&read.head) + request(&read.request)
        }
        Observation::KmsDecrypt(kms_decrypt) => {
            let version = kms_decrypt.version_id.as_ref().map_or(0, text);
            let named = kms_decrypt.secret.as_ref().map_or(0, secret);
            size_of::<KmsDecrypt>() + head(&kms_decrypt.head) + named + version
        }
        Observation::Change(change) => {
            let named = change.secret.iter().chain(&change.others).map(secret);
            let steps = change.steps.len() * size_of::<VersionStep>();
            size_of::<SecretChange>() + head(&change.head) + named.sum::<usize>() + steps
        }
    }
}

fn evidence(evidence: &Evidence) -> usize {
    head(&evidence.head) + evidence.secret.as_ref().map_or(0, secret)
}

fn request(request: &ReadRequest) -> usize {
    match request {
        ReadRequest::Named(secrets) | ReadRequest::Batch(secrets) => {
            secrets.len() * size_of::<SecretRef>() + secrets.iter().map(secret).sum::<usize>()
        }
        ReadRequest::BatchFilters => 0,
        ReadRequest::Path { path: named, .. } | ReadRequest::History(named) => secret(named),
    }
}

fn head(head: &Arc<EventHeader>) -> usize {
    let principal = size_of::<Principal>() / Arc::strong_count(&head.principal);
    let source = size_of::<CallSource>() / Arc::strong_count(&head.source);
    let texts = [&head.event_id, &head.object];
    let texts: usize = texts.into_iter().map(text).sum();
    // Sessions are often as many as events.
    let sessions = [&head.principal.session, &head.principal.principal_id];
    let sessions: usize = sessions.into_iter().flatten().map(text).sum();
    size_of::<EventHeader>() + principal + source + texts + sessions + kept(&head.kept)
}

fn secret(secret: &SecretRef) -> usize {
    let texts = [&secret.name, &secret.arn, &secret.version_id];
    texts.into_iter().flatten().map(text).sum()
}

/// A shared text, with its two counters.
fn text(text: &SharedStr) -> usize {
    (text.len() + 2 * size_of::<usize>()) / Arc::strong_count(text)
}

fn kept(kept: &KeptFields) -> usize {
    let fields = kept.fields.iter().map(|(_, value)| value);
    let values = fields.chain(kept.whole.as_deref());
    values
        .map(|value| size_of::<SharedStr>() + node(value))
        .sum()
}

fn node(value: &JsonNode<'_>) -> usize {
    let inner: usize = match value {
        JsonNode::Null | JsonNode::Bool(_) | JsonNode::Int(_) | JsonNode::Float(_) => 0,
        JsonNode::Str(text) => text.len(),
        JsonNode::List(items) => items.iter().map(node).sum(),
        JsonNode::Map(entries) => {
            let keys = entries.iter().map(|(key, _)| size_of_val(key) + key.len());
            let values = entries.iter().map(|(_, value)| node(value));
            keys.chain(values).sum()
        }
    };
    size_of::<JsonNode<'_>>() + inner
}
