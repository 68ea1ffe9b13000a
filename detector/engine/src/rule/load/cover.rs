//! Connects a rule with the correlation that covers its alerts.

use crate::rule::{
    RuleSet,
    cover::CoveredRule,
    fault::LoadError,
    load::{build::RuleSetBuild, parsed::ParsedCorrelation},
    source::RuleDocument,
};

/// A rule that names a correlation over it.
pub(super) struct AskedCover<'a> {
    pub(super) source: RuleDocument<'a>,
    /// `id` of the rule.
    pub(super) rule: String,
    /// Id or name of the correlation.
    pub(super) by: String,
}

impl AskedCover<'_> {
    /// Connects them. Where the correlation is not loaded, nothing is covered.
    pub(super) fn connect(
        &self,
        correlations: &[ParsedCorrelation<'_>],
        build: &mut RuleSetBuild,
    ) -> Result<(), LoadError> {
        let correlation = correlations.iter().find(|correlation| {
            let mut names = correlation.rule.id.iter().chain(&correlation.rule.name);
            names.any(|name| *name == self.by)
        });
        let id = correlation.and_then(|correlation| correlation.rule.id.as_deref());
        let by = id.and_then(|id| window_of(&build.set, id));
        let window = window_of(&build.set, &self.rule);
        let (Some(by), Some(window)) = (by, window) else {
            return Ok(());
        };
        let (detection, covered) = self.covered(&build.set, window, by)?;
        // It raises what is not covered, although a correlation names it.
        build.generated.insert(detection, true);
        if let Some(correlation) = build.set.windows.get_mut(by) {
            correlation.cover.covers.push(covered);
        }
        if let Some(rule) = build.set.windows.get_mut(window) {
            rule.cover.by = Some(by);
        }
        Ok(())
    }

    /// The rule as one that a correlation covers, and its index among those about single events.
    fn covered(
        &self,
        set: &RuleSet,
        window: usize,
        by: usize,
    ) -> Result<(usize, CoveredRule), LoadError> {
        let mut detections = set.detections.iter().enumerate();
        let found = detections.find_map(|(index, detection)| {
            let is_it = detection.meta.id == self.rule;
            let mut feeds = detection.feeds.iter().filter(|_| is_it);
            let (_, slot) = feeds.find(|(fed, _)| *fed == by)?;
            Some((index, *slot))
        });
        let windows = set.windows.get(window).zip(set.windows.get(by));
        let Some(((detection, slot), (rule, correlation))) = found.zip(windows) else {
            return Err(self.error("does not count this rule; name it under its `rules`"));
        };
        match CoveredRule::new(window, slot, rule, correlation) {
            Ok(covered) => Ok((detection, covered)),
            Err(field) => Err(self.error(&format!(
                "groups by other fields than this rule: `{field}` must be one of them, or be \
                 counted by it"
            ))),
        }
    }

    fn error(&self, message: &str) -> LoadError {
        let by = &self.by;
        let message = format!("`{by}` {message}");
        self.source
            .error("covered-by", "secretrail.covered-by", message)
    }
}

/// The window of a rule.
fn window_of(set: &RuleSet, id: &str) -> Option<usize> {
    set.windows.iter().position(|window| window.meta.id == id)
}

#[cfg(test)]
mod tests {
    use crate::rule::load::load;

    const RULE: &str = "title: one
name: one
id: one-id
logsource: {product: aws, category: secret_access}
detection: {read: {access.method: decrypt_only}, condition: read}
secretrail: {suppress: 1h, group-by: [principal.arn, secret.account], covered-by: many}
";
    const CORRELATION: &str = "title: many
name: many
id: many-id
correlation:
  type: value_count
  rules: [one]
  group-by: [secret.account]
  timespan: 10m
  condition: {field: principal.arn, gte: 3}
";

    fn refused(rule: &str, correlation: &str) -> String {
        let text = format!("{rule}---\n{correlation}");
        let errors = load([("a.yml", &*text)]).unwrap_err();
        // A correlation that counts it is refused too.
        let mut errors = errors.iter();
        let error = errors.find(|error| error.field == "secretrail.covered-by");
        let error = error.expect("the rule is refused");
        assert_eq!(error.line, 6);
        error.message.clone()
    }

    #[test]
    fn a_rule_and_what_covers_it_know_each_other_and_both_raise_alerts() {
        let (rules, _) = load([("b.yml", CORRELATION), ("a.yml", RULE)]).unwrap();
        assert_eq!(rules.windows[0].cover.by, Some(1));
        assert_eq!(rules.windows[1].cover.covers.len(), 1);
        let alerting: Vec<&str> = rules.alerting().map(|meta| &*meta.id).collect();
        assert_eq!(alerting, ["one-id", "many-id"]);
    }

    #[test]
    fn a_rule_without_its_correlation_raises_all_its_alerts() {
        let (rules, _) = load([("a.yml", RULE)]).unwrap();
        assert_eq!(rules.windows[0].cover.by, None);
        assert!(rules.alerting().count() == 1 && rules.warnings.is_empty());
    }

    #[test]
    fn what_cannot_be_covered_is_refused_at_its_line() {
        let other = RULE.replace("[principal.arn, secret.account]", "[secret.name]");
        assert!(refused(&other, CORRELATION).contains("`secret.name` must be one of them"));
        let unsuppressed = RULE.replace("suppress: 1h, ", "");
        assert!(refused(&unsuppressed, CORRELATION).contains("needs `suppress`"));
        let two = format!("{RULE}---\n{}", RULE.replace("one", "two"));
        let of_two = CORRELATION.replace("[one]", "[two]");
        assert!(refused(&two, &of_two).contains("does not count this rule"));
    }
}
