//! What is new in an incident, and the messages that reported it.

use crate::{
    alert::IncidentId,
    ids::SharedStr,
    revealed::{IncidentExposure, span_text},
    rule_meta::RuleLevel,
    time::EventTime,
};

/// Most messages before the last one that an incident keeps. Of more, the first are kept as one.
const MESSAGES: usize = 8;

/// What happened to an incident since the message before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewsKind {
    /// It is the first message about it.
    Opened,
    /// It has changed.
    Updated,
    /// It became a part of another one.
    Merged,
    /// Its alerts turned out to be wrong.
    Withdrawn,
}

impl NewsKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Opened, Self::Updated, Self::Merged, Self::Withdrawn];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Updated => "updated",
            Self::Merged => "merged",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What became of the versions that an incident revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExposureNews {
    /// All of them were superseded.
    Closed,
    /// One of them is no longer known to be, or another one was revealed.
    Reopened,
}

impl ExposureNews {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Closed, Self::Reopened];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reopened => "reopened",
        }
    }

    /// The sentence of a message, with what is known of the versions now.
    pub(crate) fn sentence(self, exposure: Option<&IncidentExposure>) -> String {
        match self {
            Self::Closed => {
                let lasted = exposure.and_then(IncidentExposure::lasted);
                let after = lasted.map(|secs| format!(" after {}", span_text(secs)));
                let after = after.unwrap_or_default();
                format!(
                    "Exposure closed{after}: every version that it revealed is superseded. Check \
                     that the old values no longer work where they are used."
                )
            }
            Self::Reopened => {
                "Exposure open again: not every version that it revealed is known to be superseded."
                    .to_owned()
            }
        }
    }
}

/// What is new in an incident since the message before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentNews {
    /// What happened.
    pub kind: NewsKind,
    /// The level before, if it has changed.
    pub level_before: Option<RuleLevel>,
    /// Ids of rules.
    pub rules: Vec<SharedStr>,
    /// Secrets: ARNs where known, otherwise names.
    pub secrets: Vec<SharedStr>,
    /// Addresses, and where these are registered.
    pub sources: Vec<SharedStr>,
    /// `awsRegion`.
    pub regions: Vec<SharedStr>,
    /// Number of alerts more than before.
    pub alerts: usize,
    /// Incidents that became parts of it.
    pub merged: Vec<IncidentId>,
    /// What became of the versions that it revealed, if that has changed.
    pub exposure: Option<ExposureNews>,
}

impl IncidentNews {
    /// News without anything new.
    #[must_use]
    pub fn of(kind: NewsKind) -> Self {
        Self {
            kind,
            level_before: None,
            rules: Vec::new(),
            secrets: Vec::new(),
            sources: Vec::new(),
            regions: Vec::new(),
            alerts: 0,
            merged: Vec::new(),
            exposure: None,
        }
    }

    /// Whether it is published at once.
    pub(super) fn is_urgent(&self) -> bool {
        // Who knows it by another id must learn the new one.
        self.kind != NewsKind::Updated || self.level_before.is_some() || !self.merged.is_empty()
    }

    /// Whether there is more than more of the same.
    pub(super) fn is_news(&self) -> bool {
        let lists = [&self.rules, &self.secrets, &self.sources, &self.regions];
        self.exposure.is_some() || lists.iter().any(|list| !list.is_empty())
    }

    /// Adds later news, which the same message reports.
    pub(super) fn append(&mut self, later: Self) {
        // What was not published yet is still to be opened, whatever became of it since.
        if later.kind != NewsKind::Updated {
            self.kind = later.kind;
        }
        self.level_before = self.level_before.or(later.level_before);
        self.rules.extend(later.rules);
        self.secrets.extend(later.secrets);
        self.sources.extend(later.sources);
        self.regions.extend(later.regions);
        self.alerts += later.alerts;
        self.merged.extend(later.merged);
        self.exposure = match (self.exposure, later.exposure) {
            (before, None) => before,
            (None, after) => after,
            // What was reopened before anybody was notified that it is closed is as it was.
            (Some(before), Some(after)) => (before == after).then_some(after),
        };
    }
}

/// A message about an incident that was due before the last one. A destination may still lack it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierMessage {
    /// When it was due.
    pub due: EventTime,
    /// The level of the incident then.
    pub level: RuleLevel,
    /// What it reported.
    pub news: IncidentNews,
}

/// Adds a message to earlier ones.
pub(super) fn keep(messages: &mut Vec<EarlierMessage>, message: EarlierMessage) {
    messages.push(message);
    if messages.len() > MESSAGES {
        let first = messages.remove(0);
        if let Some(second) = messages.first_mut() {
            let later = std::mem::replace(&mut second.news, first.news);
            second.news.append(later);
        }
    }
}
