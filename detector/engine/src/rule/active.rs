//! Which rules can fire as things stand: with the lists of networks and databases of a run.

use std::sync::Arc;

use rsigma_eval::Event;

use super::{DetectionRule, RuleSet, judged::JudgedAt, values::ListedEvent};
use crate::{geo::GeoDatabases, network::NetworkLists, rule_meta::RuleMeta};

impl RuleSet {
    /// The same rules with these lists of networks.
    #[must_use]
    pub fn with_networks(mut self, networks: NetworkLists) -> Self {
        self.networks = networks;
        self
    }

    /// The same rules with these databases of where addresses are registered.
    #[must_use]
    pub fn with_geo(mut self, geo: GeoDatabases) -> Self {
        self.geo = geo;
        self
    }

    /// Databases of where addresses are registered.
    #[must_use]
    pub fn geo(&self) -> &GeoDatabases {
        &self.geo
    }

    /// The rules that name a list of networks which no file defines, each with its label.
    pub fn without_networks(&self) -> impl Iterator<Item = (&RuleMeta, &str)> {
        let rules = self.detections.iter();
        rules.flat_map(|rule| {
            let missing = self.missing_networks(rule);
            missing.map(|label| (&*rule.meta, label))
        })
    }

    /// The labels of lists of networks that a rule names and no file defines.
    fn missing_networks<'s>(&'s self, rule: &'s DetectionRule) -> impl Iterator<Item = &'s str> {
        let labels = rule.networks.iter().map(String::as_str);
        labels.filter(|label| !self.networks.has(label))
    }

    /// The rules that can raise alerts, but name a list of networks which no file defines.
    pub fn needing_networks(&self) -> impl Iterator<Item = &Arc<RuleMeta>> {
        self.alerting_of(|rule| self.missing_networks(rule).next().is_some())
    }

    /// The rules that can raise alerts, but look at where addresses are registered, which no
    /// database tells.
    pub fn needing_geo(&self) -> impl Iterator<Item = &Arc<RuleMeta>> {
        self.alerting_of(|rule| rule.needs_geo && self.geo.is_empty())
    }

    /// What raises the alerts of some rules about single events: themselves, or a window.
    fn alerting_of<'s>(
        &'s self,
        some: impl Fn(&DetectionRule) -> bool + 's,
    ) -> impl Iterator<Item = &'s Arc<RuleMeta>> {
        let rules = self.detections.iter();
        let lacking = rules.filter(move |rule| some(rule));
        lacking.filter_map(|rule| {
            let feeds = rule.feeds.iter();
            let mut windows = feeds.filter_map(|(window, _)| self.windows.get(*window));
            let window = windows
                .find(|window| window.alerts)
                .map(|window| &window.meta);
            if rule.alerts {
                Some(&rule.meta)
            } else {
                window
            }
        })
    }

    /// Lists of networks that the rules name by label.
    #[must_use]
    pub fn networks(&self) -> &NetworkLists {
        &self.networks
    }

    /// The rules that can raise alerts, but only with an access policy.
    pub fn needing_policy(&self) -> impl Iterator<Item = &Arc<RuleMeta>> {
        let single = self.detections.iter();
        let single = single
            .filter(|d| d.alerts && d.needs_policy)
            .map(|d| &d.meta);
        let windows = self.windows.iter();
        single.chain(
            windows
                .filter(|w| w.alerts && w.needs_policy)
                .map(|w| &w.meta),
        )
    }

    /// Whether alerts of some rule are provisional until the final evaluation.
    pub(crate) fn has_provisional(&self) -> bool {
        self.provisional().next().is_some()
    }

    fn provisional(&self) -> impl Iterator<Item = &DetectionRule> {
        let all = self.detections.iter();
        all.filter(|detection| detection.judged == JudgedAt::Provisional)
    }

    /// Whether a rule that is judged early by what was seen may match an access, whatever that is.
    pub(crate) fn may_match_by_seen(&self, event: &impl Event) -> bool {
        let event = ListedEvent {
            event,
            lists: &self.lists,
        };
        self.provisional()
            .any(|detection| detection.may_match_by_seen(&event))
    }
}

impl DetectionRule {
    fn may_match_by_seen(&self, event: &impl Event) -> bool {
        let mut conditions = self.regardless_of_seen.iter();
        conditions.any(|condition| condition.as_ref().is_none_or(|c| self.holds(c, event)))
    }
}
