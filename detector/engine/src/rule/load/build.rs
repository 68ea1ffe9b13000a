//! A set of rules in the making.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use rsigma_parser::{SigmaRule, Status};

use crate::rule::{DetectionRule, RuleSet, source::RuleDocument};

/// What has been built so far.
#[derive(Default)]
pub(super) struct RuleSetBuild {
    pub(super) set: RuleSet,
    /// Rules about single events by id, name and title.
    names: HashMap<String, Vec<usize>>,
    /// For each rule that a correlation names, whether one of them lets it raise alerts of its own.
    pub(super) generated: HashMap<usize, bool>,
}

impl RuleSetBuild {
    /// Adds a rule about single events.
    pub(super) fn add(&mut self, detection: DetectionRule, rule: &SigmaRule) {
        self.name(self.set.detections.len(), rule);
        self.set.detections.push(detection);
    }

    /// Notes by which names correlations may mean a rule about single events.
    fn name(&mut self, index: usize, rule: &SigmaRule) {
        // A rule whose name is its title has it once, or nobody could mean it.
        let names: BTreeSet<&String> = names(rule).collect();
        for name in names {
            self.names.entry(name.clone()).or_default().push(index);
        }
    }

    /// Tells of a rule that its authors have given up.
    pub(super) fn warn_of_status(
        &mut self,
        status: Option<Status>,
        title: &str,
        source: &RuleDocument<'_>,
    ) {
        let word = match status {
            Some(Status::Deprecated) => "deprecated",
            Some(Status::Unsupported) => "unsupported",
            _ => return,
        };
        let file = source.file;
        let warning =
            format!("{file}: `{title}` has the status `{word}`, and is used all the same");
        self.set.warnings.push(warning);
    }

    /// The one rule of that id, name or title.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        match self.names.get(name)?.as_slice() {
            // A name that two rules share means neither: a guess would watch for the wrong one.
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The set. Rules that only feed correlations raise no alerts, nor do the windows of their own
    /// suppression.
    pub(super) fn finish(self) -> RuleSet {
        let mut set = self.set;
        let silent = self.generated.iter().filter(|(_, generate)| !**generate);
        for (detection, _) in silent {
            let Some(detection) = set.detections.get_mut(*detection) else {
                continue;
            };
            detection.alerts = false;
            for (window, _) in &detection.feeds {
                if let Some(own) = set
                    .windows
                    .get_mut(*window)
                    .filter(|w| Arc::ptr_eq(&w.meta, &detection.meta))
                {
                    own.alerts = false;
                }
            }
        }
        set
    }
}

/// Id, name and title.
pub(super) fn names(rule: &SigmaRule) -> impl Iterator<Item = &String> {
    rule.id.iter().chain(&rule.name).chain([&rule.title])
}

/// Whether a name means a rule: its id, name or title.
pub(super) fn is_called(rule: &SigmaRule, name: &String) -> bool {
    names(rule).any(|own| own == name)
}
