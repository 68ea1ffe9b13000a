//! Rules about single events, and the windows of those that hold back repeated alerts.

use std::{collections::BTreeSet, sync::Arc};

use rsigma_parser::SigmaRule;

use crate::{
    network::SourceClass,
    rule::{
        DetectionRule, RuleSet, RuleTarget, WindowCondition, WindowMember, WindowRule,
        cover::CoverLinks,
        fault::LoadError,
        fields,
        judged::{AskedJudgement, JudgedAt, regardless_of_seen},
        load::{
            block::{AddedRule, ExtensionBlock},
            build::RuleSetBuild,
            meta::meta,
            parsed::ParsedRule,
        },
        needs::{DetectionNeeds, needed_calls, needs_policy},
        plan::RepeatedConditions,
        source::RuleDocument,
    },
    rule_meta::RuleMeta,
};

/// Group of a suppressed rule that names none.
const DEFAULT_GROUP: [&str; 2] = ["principal.arn", "secret.name"];

/// Adds a rule to a set in the making.
pub(super) fn add(
    parsed: ParsedRule<'_>,
    build: &mut RuleSetBuild,
) -> Result<AddedRule, LoadError> {
    let ParsedRule {
        source,
        rule,
        compiled,
        stands_alone,
    } = parsed;
    let target = target(&source, &rule)?;
    let uses = DetectionNeeds::of(&rule);
    check(&uses, target, &source)?;
    let block = block(&source, &rule)?;
    let suppression = Suppression::read(&block, target, &source)?;
    build.set.ask_for(target, &uses);
    let asks_for_seen = uses.fields.iter().any(|field| field.starts_with("seen."));
    let meta = meta!(rule, block, asks_for_seen, source.file);
    let id = meta.id.clone();
    let mut detection = DetectionRule {
        meta,
        target,
        // The window of a suppressed rule raises its alerts, at most one in each bucket.
        alerts: suppression.is_none(),
        judged: JudgedAt::of(block.judge, &uses),
        regardless_of_seen: regardless_of_seen(&compiled.conditions, &rule),
        repeated: RepeatedConditions::of(&compiled.conditions, &rule),
        compiled,
        calls: needed_calls(&rule),
        needs_policy: needs_policy(&rule),
        networks: networks(&uses, &source)?,
        needs_geo: uses.fields.iter().any(|field| fields::is_geo(field)),
        feeds: Vec::new(),
    };
    if let Some(suppression) = suppression {
        suppression.apply(&mut detection, &mut build.set);
    }
    check_judge(&block, &detection, &source)?;
    if stands_alone {
        build.generated.insert(build.set.detections.len(), true);
    }
    build.warn_of_status(rule.status, &rule.title, &source);
    build.add(detection, &rule);
    Ok(AddedRule { id, block })
}

fn target(source: &RuleDocument<'_>, rule: &SigmaRule) -> Result<RuleTarget, LoadError> {
    RuleTarget::of(&rule.logsource).ok_or_else(|| {
        let message = "is not supported; \
                       use `product: aws` with `category: secret_access`, \
                       `category: secret_change` or `service: cloudtrail`";
        source.error("logsource", "logsource", message)
    })
}

/// Labels of the lists of networks that a rule needs.
fn networks(
    uses: &DetectionNeeds,
    source: &RuleDocument<'_>,
) -> Result<BTreeSet<String>, LoadError> {
    let mut labels = uses.lists.clone();
    for class in &uses.classes {
        let Some(known) = SourceClass::ALL.iter().find(|c| c.as_str() == class) else {
            let classes = SourceClass::ALL.map(SourceClass::as_str).join(", ");
            let message = format!("`{class}` is no class of sources; use one of {classes}");
            return Err(source.error(class, "source.class", &message));
        };
        labels.extend(known.label().map(str::to_owned));
    }
    Ok(labels)
}

/// Our block in a rule about single events.
fn block(source: &RuleDocument<'_>, rule: &SigmaRule) -> Result<ExtensionBlock, LoadError> {
    let block = ExtensionBlock::read(source, &rule.custom_attributes)?;
    if block.rate_multiplier.is_none() {
        return Ok(block);
    }
    let field = "secretrail.rate_multiplier";
    let message = "works on an event_count or a value_count only; write a correlation";
    Err(source.error("rate_multiplier", field, message))
}

/// Refuses `judge` where it cannot be meant.
fn check_judge(
    block: &ExtensionBlock,
    detection: &DetectionRule,
    source: &RuleDocument<'_>,
) -> Result<(), LoadError> {
    let error = |message: &str| Err(source.error("judge", "secretrail.judge", message));
    match block.judge {
        Some(_) if detection.target != RuleTarget::Access => {
            error("is for accesses only; changes and records are judged once, as they come")
        }
        Some(AskedJudgement::Early) if detection.judged == JudgedAt::Final => error(
            "cannot be `early`: the rule asks for `decrypt.*` or `expected.key`, \
             which are known only when the allowed lateness has passed",
        ),
        _ => Ok(()),
    }
}

/// Refuses fields that events of this kind never have: the rule would never match, and nobody would
/// know.
fn check(
    uses: &DetectionNeeds,
    target: RuleTarget,
    source: &RuleDocument<'_>,
) -> Result<(), LoadError> {
    for field in &uses.fields {
        fields::check(field, target).map_err(|remedy| {
            let message = format!("there is no such field; {remedy}");
            source.error(field, field, message)
        })?;
    }
    Ok(())
}

/// At most one alert a group in so many seconds.
struct Suppression {
    span_secs: i64,
    group: Vec<String>,
}

impl Suppression {
    fn read(
        block: &ExtensionBlock,
        target: RuleTarget,
        source: &RuleDocument<'_>,
    ) -> Result<Option<Self>, LoadError> {
        let Some(span_secs) = block.suppress_secs(source)? else {
            return match block.covered_by {
                None => Ok(None),
                Some(_) => {
                    let message = "needs `suppress`: what is covered are alerts of a group";
                    Err(source.error("covered-by", "secretrail.covered-by", message))
                }
            };
        };
        let group: Vec<String> = match block.group_by.as_slice() {
            [] => DEFAULT_GROUP.map(str::to_owned).to_vec(),
            named => named.to_vec(),
        };
        for field in &group {
            fields::check(field, target).map_err(|remedy| {
                source.error(
                    field,
                    "secretrail.group-by",
                    format!("there is no field `{field}`; {remedy}"),
                )
            })?;
        }
        Ok(Some(Self { span_secs, group }))
    }

    /// Lets a rule feed a window that raises the alerts in its place.
    fn apply(self, detection: &mut DetectionRule, set: &mut RuleSet) {
        for field in &self.group {
            detection.judged = detection.judged.needing(field);
            set.ask_for_field(detection.target, field);
        }
        detection.feeds.push((set.windows.len(), 0));
        let window = self.into_window(&detection.meta, detection.needs_policy);
        set.windows.push(window);
    }

    /// At most one alert a group and bucket is a window that one fact fills.
    fn into_window(self, meta: &Arc<RuleMeta>, needs_policy: bool) -> WindowRule {
        WindowRule {
            id: meta.id.as_str().into(),
            meta: meta.clone(),
            alerts: true,
            condition: WindowCondition::Events(1),
            span_secs: self.span_secs,
            suppress_secs: self.span_secs,
            rate_multiplier: None,
            needs_policy,
            group: self.group.iter().map(|g| g.as_str().into()).collect(),
            cover: CoverLinks::default(),
            members: vec![WindowMember {
                group: self.group,
                value: Vec::new(),
                // Suppression must not lose an alert about an event without the fields.
                lenient: true,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rule::{judged::JudgedAt, load::load};

    fn text(detection: &str, block: &str) -> String {
        format!(
            "title: T
id: t
logsource: {{product: aws, category: secret_access}}
detection: {{sel: {detection}, condition: sel}}
{block}"
        )
    }

    #[test]
    fn a_field_that_never_is_is_refused_at_its_line() {
        let errors = load([("r.yml", &*text("{secret.nmae: x}", ""))]).unwrap_err();
        assert_eq!((errors[0].line, &*errors[0].field), (4, "secret.nmae"));
        assert!(errors[0].message.ends_with("did you mean `secret.name`?"));
    }

    #[test]
    fn a_rule_waits_when_it_or_its_group_asks_for_what_is_known_late() {
        let judged = |detection: &str, block: &str| {
            let (rules, _) = load([("r.yml", &*text(detection, block))]).unwrap();
            rules.detections[0].judged
        };
        let (success, absent) = ("{access.outcome: success}", "{decrypt.status: absent}");
        assert_eq!(judged(success, ""), JudgedAt::Early);
        assert_eq!(judged(absent, ""), JudgedAt::Final);
        let block = "secretrail: {suppress: 1h, group-by: [decrypt.key_arn]}\n";
        assert_eq!(judged(success, block), JudgedAt::Final);
        // What was seen is known finally, unless the rule would rather be told to be wrong.
        let (new, early) = ("{seen.source: first}", "secretrail: {judge: early}\n");
        assert_eq!(judged(new, ""), JudgedAt::Final);
        assert_eq!(judged(new, early), JudgedAt::Provisional);
        assert_eq!(judged(success, early), JudgedAt::Early);
        assert_eq!(
            judged(success, "secretrail: {judge: final}\n"),
            JudgedAt::Final
        );
    }

    #[test]
    fn a_judgement_that_cannot_be_meant_is_refused_at_its_line() {
        let early = "secretrail:\n    judge: early\n";
        let refused = |text: &str| {
            let errors = load([("r.yml", text)]).unwrap_err();
            (errors[0].line, errors[0].field.clone())
        };
        let at_judge = (6, "secretrail.judge".to_owned());
        assert_eq!(refused(&text("{decrypt.status: absent}", early)), at_judge);
        let change = text("{eventName: x}", early).replace("secret_access", "secret_change");
        assert_eq!(refused(&change), at_judge);
        let soon = text("{access.outcome: success}", "secretrail: {judge: soon}\n");
        assert_eq!(refused(&soon).1, "secretrail");
    }

    #[test]
    fn a_rate_is_for_correlations() {
        let block = "secretrail:\n    rate_multiplier: 3\n";
        let errors = load([("r.yml", &*text("{access.outcome: success}", block))]).unwrap_err();
        assert_eq!(
            (errors[0].line, &*errors[0].field),
            (6, "secretrail.rate_multiplier")
        );
    }
}
