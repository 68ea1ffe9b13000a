//! Rules: what to look for, in standard Sigma files, behind our own types. The Sigma engine parses
//! and matches single events; windows, joins and alerts are ours.

mod active;
mod changed;
pub(crate) mod cover;
mod decoys;
pub mod event;
pub mod example;
pub mod fault;
pub mod fields;
pub mod judged;
mod kept;
pub mod load;
pub(crate) mod missing;
pub mod needs;
pub mod plan;
pub(crate) mod source;
mod target;
mod unreadable;
pub(crate) mod values;
pub mod vars;

pub(crate) use self::unreadable::UNREADABLE_RECORD;
use self::{cover::CoverLinks, missing::MISSING, unreadable::UNREADABLE};
pub use self::{judged::EvalScope, target::RuleTarget};

use std::{cell::OnceCell, collections::BTreeSet, sync::Arc};

use rsigma_eval::{CompiledRule, Event, compiler::eval_condition};
use rsigma_parser::ConditionExpr;

use crate::{
    document::scalar_text,
    evidence::Evidence,
    extract::{RawFields, WantedFields},
    fact::{Fact, WindowKey},
    geo::GeoDatabases,
    ids::SharedStr,
    network::NetworkLists,
    rule::{
        judged::JudgedAt,
        needs::{DetectionNeeds, NeededCalls},
        plan::{PlanCell, RepeatedConditions, RepeatingEvent},
        values::ValueLists,
    },
    rule_meta::RuleMeta,
};

/// A rule about single events.
#[derive(Debug, Clone)]
pub struct DetectionRule {
    /// What the rule says of itself.
    pub meta: Arc<RuleMeta>,
    /// What it sees.
    pub target: RuleTarget,
    /// Whether it raises alerts of its own: not when it only feeds a correlation.
    pub alerts: bool,
    /// When it is asked.
    pub judged: JudgedAt,
    /// See [`judged::regardless_of_seen`].
    regardless_of_seen: Vec<Option<ConditionExpr>>,
    /// What of it is the same for many events; `None` where nothing is.
    repeated: Option<RepeatedConditions>,
    pub(crate) compiled: CompiledRule,
    /// Whether it can only match with an access policy.
    needs_policy: bool,
    /// Labels of the lists of networks that it names.
    networks: BTreeSet<String>,
    /// Whether it looks at where addresses are registered.
    needs_geo: bool,
    /// Calls of which a matching record must be one; `None` when it may be any.
    calls: Option<Vec<NeededCalls>>,
    /// Windows that it feeds: index of the window, and which of its rules this is.
    pub(crate) feeds: Vec<(usize, usize)>,
}

/// A rule about many events: a Sigma correlation, or the suppression of a rule about single events.
#[derive(Debug, Clone)]
pub struct WindowRule {
    /// What the rule says of itself.
    pub meta: Arc<RuleMeta>,
    /// Its id, which every fact of it has.
    id: SharedStr,
    /// Whether it raises alerts: not when it belongs to a rule that only feeds a correlation.
    pub alerts: bool,
    /// When it fires.
    pub condition: WindowCondition,
    /// Length in seconds.
    pub span_secs: i64,
    /// At most one alert for each group in each bucket of this many seconds.
    pub suppress_secs: i64,
    /// Fires at so many times the usual rate of the access policy, if that is more than the
    /// condition asks for. Events without a usual rate do not count.
    pub rate_multiplier: Option<f64>,
    /// Whether it can only fire with an access policy.
    needs_policy: bool,
    /// Names of the group's fields in alerts.
    group: Vec<SharedStr>,
    members: Vec<WindowMember>,
    /// Whose alerts it covers, and what covers its own.
    pub(crate) cover: CoverLinks,
}

/// The field that holds the usual rate.
const USUAL: &str = "expected.baseline_per_hour";

/// How many different secrets a principal reads on a busy day: what the rate multiplier of a count
/// of values multiplies.
pub(crate) const USUAL_SECRETS: &str = "profile.distinct_secrets_day";

/// What a window reads from the events of one of its rules.
#[derive(Debug, Clone)]
struct WindowMember {
    group: Vec<String>,
    value: Vec<String>,
    /// Whether an event without a group field still counts, in a group of its own.
    lenient: bool,
}

/// When a window fires. Every condition stays true when facts are added.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowCondition {
    /// At least so many facts.
    Events(u64),
    /// At least so many distinct values.
    Values(u64),
    /// So many of the rules have a fact.
    Rules(u64),
    /// The expression over the rules holds.
    Expression(ConditionExpr, Vec<String>),
    /// Every rule has a fact, in this order; facts of one second have any order.
    Ordered(u64),
}

impl WindowCondition {
    /// Facts that it needs at least.
    pub(crate) fn least(&self) -> u64 {
        match self {
            Self::Events(least)
            | Self::Values(least)
            | Self::Rules(least)
            | Self::Ordered(least) => *least,
            Self::Expression(..) => 0,
        }
    }
}

/// Rules that have been read and checked.
#[derive(Debug, Default, Clone)]
pub struct RuleSet {
    /// Rules about single events.
    pub detections: Vec<DetectionRule>,
    /// Rules about many events.
    pub windows: Vec<WindowRule>,
    /// What is worth knowing about rules that loaded nevertheless.
    pub warnings: Vec<String>,
    wanted: WantedFields,
    asks_for_seen: bool,
    /// Whether all secret changes are read, also without a rule about them.
    keeps_changes: bool,
    /// Whether calls that issue credentials are read.
    keeps_issues: bool,
    /// Lists of networks that rules name by label.
    networks: NetworkLists,
    /// Databases of where addresses are registered.
    geo: GeoDatabases,
    /// The long lists of values in all rules.
    pub(crate) lists: ValueLists,
    plan: PlanCell,
}

impl WantedFields {
    /// What rules about such events ask for; nothing of records, which they see whole.
    fn of(&mut self, target: RuleTarget) -> Option<&mut RawFields> {
        match target {
            RuleTarget::Access => Some(&mut self.of_accesses),
            RuleTarget::Change => Some(&mut self.of_changes),
            RuleTarget::Record => None,
        }
    }

    /// Notes a field that rules about such events ask for, if it is kept from the record.
    fn take(&mut self, target: RuleTarget, field: &str) {
        if let Some(wanted) = self.of(target).filter(|_| fields::is_kept(field)) {
            wanted.names.insert(field.into());
        }
    }
}

/// Where rules have hit: alerts of single events, and facts for windows.
#[derive(Debug, Default)]
pub struct Matches {
    /// Index of the rule, and the event.
    pub singles: Vec<(usize, Evidence)>,
    /// Index of the window, its group, and the fact.
    pub facts: Vec<(usize, WindowKey, Fact)>,
}

impl Matches {
    /// Adds the matches of another evaluation.
    pub fn append(&mut self, mut other: Self) {
        self.singles.append(&mut other.singles);
        self.facts.append(&mut other.facts);
    }

    /// Whether nothing hit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.facts.is_empty()
    }
}

impl RuleSet {
    /// Raw record fields that the rules about accesses and changes ask for.
    #[must_use]
    pub fn wanted(&self) -> &WantedFields {
        &self.wanted
    }

    /// Whether a rule asks for `seen.*`, so that it must be remembered.
    #[must_use]
    pub fn asks_for_seen(&self) -> bool {
        self.asks_for_seen
    }

    /// Notes what a rule about such events asks for.
    fn ask_for(&mut self, target: RuleTarget, uses: &DetectionNeeds) {
        for field in &uses.fields {
            self.ask_for_field(target, field);
        }
        if let Some(wanted) = self.wanted.of(target) {
            wanted.whole |= uses.keywords;
        }
    }

    /// Notes a field that a rule about such events asks for.
    pub(crate) fn ask_for_field(&mut self, target: RuleTarget, field: &str) {
        self.keeps_changes |= fields::needs_changes(field);
        self.asks_for_seen |= fields::is_seen(field);
        self.wanted.take(target, field);
        for source in fields::sources(field) {
            self.wanted.take(target, source);
        }
    }

    /// The rule about single events with this index in [`Matches`].
    pub(crate) fn single(&self, index: usize) -> Option<&Arc<RuleMeta>> {
        match index {
            UNREADABLE_RECORD => Some(&UNREADABLE),
            index => self.detections.get(index).map(|detection| &detection.meta),
        }
    }

    /// The number of rules that can raise alerts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.detections.iter().filter(|d| d.alerts).count()
            + self.windows.iter().filter(|w| w.alerts).count()
    }

    /// What every rule says of itself. A rule about single events that is suppressed is there
    /// twice.
    pub fn metas(&self) -> impl Iterator<Item = &Arc<RuleMeta>> {
        self.detections
            .iter()
            .map(|d| &d.meta)
            .chain(self.windows.iter().map(|w| &w.meta))
    }

    /// The rule with this id, a built-in one included; `None` if it is not in the set.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&Arc<RuleMeta>> {
        self.metas()
            .chain([&*UNREADABLE, &*MISSING])
            .find(|meta| meta.id == id)
    }

    /// What the rules that can raise alerts say of themselves.
    pub fn alerting(&self) -> impl Iterator<Item = &Arc<RuleMeta>> {
        let single = self.detections.iter().filter(|d| d.alerts).map(|d| &d.meta);
        single.chain(self.windows.iter().filter(|w| w.alerts).map(|w| &w.meta))
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.detections.is_empty() && self.windows.is_empty()
    }

    /// Whether a rule sees events of this kind.
    #[must_use]
    pub fn sees(&self, target: RuleTarget) -> bool {
        self.detections.iter().any(|d| d.target == target)
    }

    /// Calls that rules about records ask for; `None` when one of them may match any record.
    #[must_use]
    pub fn record_calls(&self) -> Option<Vec<NeededCalls>> {
        let mut all: Vec<NeededCalls> = Vec::new();
        for detection in self.about_records() {
            // One rule that may match any call makes the prefilter useless: every record must be
            // parsed.
            for calls in detection.calls.clone()? {
                calls.add_to(&mut all);
            }
        }
        Some(all)
    }

    fn about_records(&self) -> impl Iterator<Item = &DetectionRule> {
        let all = self.detections.iter();
        all.filter(|detection| detection.target == RuleTarget::Record)
    }

    /// The rules about records that ask for other calls than these; `None` are all calls.
    pub fn needing_beyond<'r>(
        &'r self,
        calls: Option<&'r [NeededCalls]>,
    ) -> impl Iterator<Item = &'r RuleMeta> {
        let lacking =
            self.about_records()
                .filter(move |detection| match (&detection.calls, calls) {
                    (_, None) => false,
                    (None, Some(_)) => true,
                    (Some(needed), Some(calls)) => {
                        !needed.iter().all(|needed| needed.are_in(calls))
                    }
                });
        lacking.map(|detection| &*detection.meta)
    }

    /// Whether any rule of the kind matches an event.
    #[must_use]
    pub fn any_match(&self, scope: EvalScope, event: &impl RepeatingEvent) -> bool {
        !self.matching(scope, event).is_empty()
    }

    /// Asks every rule of the kind about an event.
    #[must_use]
    pub fn matches(
        &self,
        scope: EvalScope,
        event: &impl RepeatingEvent,
        evidence: &Evidence,
    ) -> Matches {
        self.matches_of(&self.matching(scope, event), scope, event, evidence)
    }

    /// The alerts and facts of the rules that match an event.
    #[must_use]
    pub fn matches_of(
        &self,
        matching: &[usize],
        scope: EvalScope,
        event: &impl Event,
        evidence: &Evidence,
    ) -> Matches {
        let mut matches = Matches::default();
        // Many windows have a fact about one event, and most events have none: the key that all of
        // them share is made once, and only then.
        let key = OnceCell::new();
        let rules = matching.iter();
        let rules = rules.filter_map(|index| Some((*index, self.detections.get(*index)?)));
        for (index, detection) in rules {
            if detection.alerts {
                matches.singles.push((index, evidence.clone()));
            }
            let before = matches.facts.len();
            for (window, slot) in &detection.feeds {
                let counting = self
                    .windows
                    .get(*window)
                    .filter(|w| scope.counts_in(w.is_filled_by_one()));
                let fact = counting.and_then(|window| {
                    window.fact(*slot, event, evidence, || {
                        key.get_or_init(|| evidence.fact_key()).clone()
                    })
                });
                matches
                    .facts
                    .extend(fact.map(|(key, fact)| (*window, key, fact)));
            }
            self.drop_covered(&mut matches.facts, before);
        }
        matches
    }
}

impl DetectionRule {
    fn matches(&self, event: &impl Event) -> bool {
        let mut conditions = self.compiled.conditions.iter();
        conditions.any(|condition| self.holds(condition, event))
    }

    fn holds(&self, condition: &ConditionExpr, event: &impl Event) -> bool {
        // Not the Sigma engine's `evaluate_rule`: for each match that also collects the selections
        // and fields behind it, which nobody asks for here.
        eval_condition(condition, &self.compiled.detections, event, &mut Vec::new())
    }
}

impl WindowRule {
    /// Whether any one fact makes the window fire, so that no other needs to be known.
    #[must_use]
    pub fn is_filled_by_one(&self) -> bool {
        self.rate_multiplier.is_none()
            && matches!(
                self.condition,
                WindowCondition::Events(0 | 1)
                    | WindowCondition::Values(0 | 1)
                    | WindowCondition::Rules(0 | 1)
            )
    }

    /// Whether any one fact makes the window fire, and its facts are not stored: the first one in a
    /// bucket raises the alert, and the others are held back.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        // What a correlation covers is judged by the stored facts of that.
        self.is_filled_by_one() && self.cover.by.is_none()
    }

    /// The fact that an event is for this window; `None` when it lacks a field of the group or the
    /// value. `about` gives the fact's key.
    pub(crate) fn fact(
        &self,
        slot: usize,
        event: &impl Event,
        evidence: &Evidence,
        about: impl FnOnce() -> SharedStr,
    ) -> Option<(WindowKey, Fact)> {
        let member = self.members.get(slot)?;
        let key = WindowKey {
            rule: self.id.clone(),
            group: self.group_of(member, event)?,
        };
        let values = member.value.iter().map(|field| text_of(event, field));
        let values = values.collect::<Option<Vec<_>>>()?;
        let least = match self.rate_multiplier {
            None => None,
            // Without a declared baseline nothing says what is too much, so that the event does not
            // count.
            Some(times) if matches!(self.condition, WindowCondition::Values(_)) => {
                // A principal without a usual number is judged by the condition alone.
                let usual = text_of(event, USUAL_SECRETS).and_then(|n| n.parse::<f64>().ok());
                usual.map(|usual| (times * usual).ceil() as u64)
            }
            Some(times) => Some(self.too_many(times, text_of(event, USUAL)?.parse().ok()?)),
        };
        let fact = Fact {
            slot,
            key: about(),
            time: evidence.head.time,
            value: (!values.is_empty()).then(|| values.join("\n").into()),
            least,
            evidence: evidence.clone(),
        };
        Some((key, fact))
    }

    /// The group that an event belongs to, by the window's names for its fields.
    fn group_of(
        &self,
        member: &WindowMember,
        event: &impl Event,
    ) -> Option<Vec<(SharedStr, SharedStr)>> {
        let mut group = Vec::with_capacity(self.group.len());
        for (name, field) in self.group.iter().zip(&member.group) {
            let value = text_of(event, field).or_else(|| member.lenient.then(String::new))?;
            group.push((name.clone(), SharedStr::from(value)));
        }
        Some(group)
    }

    /// The count in a window that is `times` the usual rate.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count beyond u64 is never reached"
    )]
    #[expect(
        clippy::cast_precision_loss,
        reason = "spans are far below 2^52 seconds"
    )]
    fn too_many(&self, times: f64, baseline_per_hour: f64) -> u64 {
        (times * baseline_per_hour * self.span_secs as f64 / 3_600.0).ceil() as u64
    }
}

/// A field of an event as text; `None` when it lacks the field, or holds what is no single value.
fn text_of(event: &impl Event, field: &str) -> Option<String> {
    event.get_field(field).and_then(|v| scalar_text(&v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access,
        rule::{event::DerivedEvent, load::load},
    };
    use rsigma_parser::LogSource;

    fn rules(text: &str) -> RuleSet {
        load([("r.yml", text)]).unwrap().0
    }

    const READS: &str = "title: reads
id: reads
logsource: {product: aws, category: secret_access}
detection: {sel: {access.outcome: success}, condition: sel}
";

    fn matches(rules: &RuleSet, counts: bool) -> Matches {
        let access = access::sample();
        let scope = EvalScope {
            target: RuleTarget::Access,
            at: JudgedAt::Final,
            counts,
        };
        let event = DerivedEvent::access(&access, None, None, NetworkLists::none());
        rules.matches(scope, &event, &Evidence::access(Arc::new(access.clone())))
    }

    #[test]
    fn a_suppressed_rule_raises_its_alerts_by_a_window() {
        let plain = rules(READS);
        assert_eq!(matches(&plain, true).singles.len(), 1);
        let suppressed = rules(&format!("{READS}secretrail: {{suppress: 1h}}\n"));
        let found = matches(&suppressed, true);
        assert!(found.singles.is_empty());
        let (window, key, fact) = &found.facts[0];
        assert_eq!((*window, &*key.rule, fact.slot), (0, "reads", 0));
        let group: Vec<&str> = key.group.iter().map(|(_, value)| &**value).collect();
        assert_eq!(group, ["arn:aws:iam::111122223333:role/app", "/db"]);
        assert!(suppressed.windows[0].is_filled_by_one());
        // What was counted before is not counted again.
        assert!(matches(&suppressed, false).is_empty());
    }

    #[test]
    fn a_rule_that_waits_is_not_asked_before() {
        let waiting = rules(&READS.replace("access.outcome: success", "decrypt.status: unknown"));
        let access = access::sample();
        let event = DerivedEvent::access(&access, None, None, NetworkLists::none());
        let scope = |at| EvalScope {
            target: RuleTarget::Access,
            at,
            counts: true,
        };
        for early in [JudgedAt::Early, JudgedAt::Provisional] {
            assert!(!waiting.any_match(scope(early), &event));
        }
        assert!(waiting.any_match(scope(JudgedAt::Final), &event));
    }

    #[test]
    fn what_was_seen_is_looked_up_only_where_the_rest_of_a_rule_holds() {
        let text = |outcome: &str| {
            let selections =
                format!("sel: {{access.outcome: {outcome}}}, new: {{seen.source: first}}");
            let text = READS
                .replace("sel: {access.outcome: success}", &selections)
                .replace("condition: sel", "condition: sel and new");
            format!("{text}secretrail: {{judge: early}}\n")
        };
        let access = access::sample();
        let event = DerivedEvent::access(&access, None, None, NetworkLists::none());
        assert!(rules(&text("success")).may_match_by_seen(&event));
        assert!(!rules(&text("denied")).may_match_by_seen(&event));
        assert!(!rules(READS).may_match_by_seen(&event), "it needs no look");
    }

    #[test]
    fn an_event_without_a_field_of_the_group_counts_only_where_it_is_suppressed() {
        let by = |lenient| WindowMember {
            group: vec!["secret.version_id".to_owned()],
            value: Vec::new(),
            lenient,
        };
        let mut rules = rules(&format!("{READS}secretrail: {{suppress: 1h}}\n"));
        rules.windows[0].group = vec!["version".into()];
        rules.windows[0].members = vec![by(false)];
        assert!(matches(&rules, true).facts.is_empty());
        rules.windows[0].members = vec![by(true)];
        let found = matches(&rules, true);
        assert_eq!(found.facts[0].1.group, [("version".into(), "".into())]);
    }

    #[test]
    fn too_many_is_a_multiple_of_the_usual_rate_over_the_window_rounded_up() {
        let mut rules = rules(&format!("{READS}secretrail: {{suppress: 30m}}\n"));
        let window = &mut rules.windows[0];
        assert_eq!(window.too_many(3.0, 10.0), 15);
        assert_eq!(window.too_many(1.5, 1.0), 1);
        window.rate_multiplier = Some(3.0);
        assert!(!window.is_filled_by_one());
        // No policy, no usual rate, no fact.
        assert!(matches(&rules, true).facts.is_empty());
    }

    #[test]
    fn a_logsource_is_of_accesses_changes_or_records() {
        let target = |product: Option<&str>, service: Option<&str>, category: Option<&str>| {
            RuleTarget::of(&LogSource {
                product: product.map(str::to_owned),
                service: service.map(str::to_owned),
                category: category.map(str::to_owned),
                ..LogSource::default()
            })
        };
        let aws = Some("aws");
        assert_eq!(
            target(aws, Some("cloudtrail"), None),
            Some(RuleTarget::Record)
        );
        assert_eq!(target(aws, None, None), Some(RuleTarget::Record));
        let change = target(None, None, Some("secret_change"));
        assert_eq!(change, Some(RuleTarget::Change));
        assert_eq!(target(None, None, None), None);
        assert_eq!(target(aws, Some("s3"), None), None);
        assert_eq!(target(Some("azure"), None, Some("secret_access")), None);
    }
}
