//! The examples that rules carry: records on which a rule must fire, or must not.

use serde::Deserialize;

use crate::rule_meta::timespan_secs;
use crate::time::EventTime;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleFile {
    pub(super) name: String,
    fires: bool,
    #[serde(default)]
    policy: Option<yaml_serde::Value>,
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
pub struct Example {
    /// Id of the rule.
    pub rule: String,
    /// Name of the example.
    pub name: String,
    /// Whether the rule must fire.
    pub fires: bool,
    /// Access policy of the example, as YAML.
    pub policy: Option<String>,
    /// Records as JSON, with only the fields that matter.
    pub events: Vec<String>,
}

impl ExampleFile {
    /// The example with every repetition of its events.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn read(&self, rule: &str) -> Result<Example, String> {
        let span = |text: &String| {
            timespan_secs(text)
                .ok_or_else(|| format!("`{text}` is not a timespan; write `every: 12s`"))
        };
        let every = self.every.as_ref().map(span).transpose()?.unwrap_or(0);
        let times = 0..self.repeat.unwrap_or(1).min(MAX_REPEAT);
        let repeated = times.flat_map(|n| {
            self.events
                .iter()
                .map(move |event| repetition(event, n, every))
        });
        let events = repeated
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("{error}; events are records"))?;
        let policy = self
            .policy
            .as_ref()
            .map(yaml_serde::to_string)
            .transpose()
            .map_err(|error| error.to_string())?;
        Ok(Example {
            rule: rule.to_owned(),
            name: self.name.clone(),
            fires: self.fires,
            policy,
            events,
        })
    }
}

/// The `n`th repetition of an example's event, as JSON.
fn repetition(event: &yaml_serde::Value, n: u32, every: i64) -> Result<String, serde_json::Error> {
    let mut event = event.clone();
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
