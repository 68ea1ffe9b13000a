//! The examples that rules carry: records on which a rule must fire, or must not.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

use crate::{
    geo::{GeoDatabases, GeoFault, SourceGeo},
    network::{NetworkListFault, NetworkLists},
    rule::RuleSet,
    rule_meta::timespan_secs,
    time::EventTime,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleFile {
    pub(super) name: String,
    fires: bool,
    #[serde(default)]
    policy: Option<yaml_serde::Value>,
    /// Lists of networks by their labels.
    #[serde(default)]
    networks: BTreeMap<String, Vec<String>>,
    /// Where networks are registered.
    #[serde(default)]
    geoip: BTreeMap<String, SourceGeo>,
    /// How often the events happen; `{n}` in their text is the number, from 0.
    #[serde(default)]
    repeat: Option<u32>,
    /// Time between repetitions.
    #[serde(default)]
    every: Option<String>,
    events: Vec<yaml_serde::Value>,
}

/// Most repetitions of an example's events.
const MAX_REPEAT: u32 = 10_000;

/// Records on which a rule must fire, or must not.
#[derive(Debug, Clone)]
pub struct RuleExample {
    /// Id of the rule.
    pub rule: String,
    /// Name of the example.
    pub name: String,
    /// Whether the rule must fire.
    pub fires: bool,
    /// Access policy of the example, as YAML.
    pub policy: Option<String>,
    /// Lists of networks of the example, as `--networks` names them.
    pub networks: NetworkLists,
    /// Where addresses of the example are registered, as `--geoip` tells it.
    pub geo: GeoDatabases,
    /// Records as JSON, with only the fields that matter.
    pub events: Vec<String>,
}

/// Why an example cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExampleError {
    #[error("`{0}` is not a timespan; write `every: 12s`")]
    Every(String),
    #[error("{0}; events are records")]
    Event(#[from] serde_json::Error),
    #[error("{0}")]
    Policy(#[from] yaml_serde::Error),
    #[error("networks: {0}: {1}")]
    Networks(String, NetworkListFault),
    #[error("geoip: {0}")]
    Geo(#[from] GeoFault),
}

impl ExampleFile {
    /// The example of a rule with every repetition of its events.
    pub(super) fn read(&self, rule: &str) -> Result<RuleExample, ExampleError> {
        let every = match &self.every {
            None => 0,
            Some(text) => timespan_secs(text).ok_or_else(|| ExampleError::Every(text.clone()))?,
        };
        let mut events = Vec::new();
        for n in 0..self.repeat.unwrap_or(1).min(MAX_REPEAT) {
            for event in &self.events {
                events.push(repetition(event, n, every)?);
            }
        }
        let policy = self.policy.as_ref().map(yaml_serde::to_string);
        let mut networks = NetworkLists::default();
        for (label, list) in &self.networks {
            let added = networks.add(label, &list.join("\n"));
            added.map_err(|fault| ExampleError::Networks(label.clone(), fault))?;
        }
        Ok(RuleExample {
            rule: rule.to_owned(),
            name: self.name.clone(),
            fires: self.fires,
            policy: policy.transpose()?,
            networks,
            geo: GeoDatabases::of_example(&self.geoip)?,
            events,
        })
    }
}

impl RuleExample {
    /// The rules as the example asks for them: with its lists of networks and its places, if it has
    /// any.
    #[must_use]
    pub fn rules<'r>(&self, rules: &'r RuleSet) -> Cow<'r, RuleSet> {
        if self.networks.is_empty() && self.geo.is_empty() {
            return Cow::Borrowed(rules);
        }
        let mut rules = rules.clone();
        if !self.networks.is_empty() {
            rules = rules.with_networks(self.networks.clone());
        }
        if !self.geo.is_empty() {
            rules = rules.with_geo(self.geo.clone());
        }
        Cow::Owned(rules)
    }
}

/// The `n`th repetition of an example's event, as JSON.
fn repetition(event: &yaml_serde::Value, n: u32, every: i64) -> Result<String, serde_json::Error> {
    let mut event = event.clone();
    // What is no time is left, for the scanner to refuse as it would in a log.
    if let Some(time) = event.get_mut("eventTime")
        && let Some(first) = time.as_str().and_then(EventTime::parse)
    {
        *time = first
            .plus(every.saturating_mul(n.into()))
            .to_string()
            .into();
    }
    Ok(serde_json::to_string(&event)?.replace("{n}", &n.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RuleExample, String> {
        let file: ExampleFile = yaml_serde::from_str(text).unwrap();
        file.read("rule").map_err(|error| error.to_string())
    }

    #[test]
    fn repetitions_have_their_own_numbers_and_times() {
        let example = read(
            "{name: n, fires: true, repeat: 2, every: 90s, \
             events: [{eventTime: '2026-03-02T10:00:00Z', eventID: 'e{n}'}, {a: '{n}'}]}",
        )
        .unwrap();
        assert_eq!(
            example.events,
            [
                r#"{"eventTime":"2026-03-02T10:00:00Z","eventID":"e0"}"#,
                r#"{"a":"0"}"#,
                r#"{"eventTime":"2026-03-02T10:01:30Z","eventID":"e1"}"#,
                r#"{"a":"1"}"#,
            ]
        );
    }

    #[test]
    fn a_span_is_one_of_sigma_and_repetitions_have_a_limit() {
        let error = read("{name: n, fires: true, every: often, events: []}").unwrap_err();
        assert_eq!(error, "`often` is not a timespan; write `every: 12s`");
        let many = "{name: n, fires: true, repeat: 4000000000, events: [{}]}";
        assert_eq!(read(many).unwrap().events.len(), MAX_REPEAT as usize);
    }
}
