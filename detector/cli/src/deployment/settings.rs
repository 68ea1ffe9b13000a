//! Settings of the function: its environment.

use std::collections::BTreeMap;

use secretrail_engine::{ids::ArnParts, rule_meta::timespan_secs, seen::LookbackPeriods};
use serde_json::Value;

use crate::aws_api::{ApiError, AwsApi, LAMBDA, rest::segment};

/// The configuration of a function, as Lambda describes it.
///
/// # Errors
///
/// [`ApiError`]: it could not be read.
pub fn configuration(api: &AwsApi, name: &str) -> Result<Value, ApiError> {
    let path = format!("/2015-03-31/functions/{}/configuration", segment(name));
    api.get(&LAMBDA, "GetFunctionConfiguration", &path)
}

/// The environment in a configuration.
///
/// # Errors
///
/// Why it cannot be read: it is encrypted with a key that the caller may not use.
pub fn variables(configuration: &Value) -> Result<BTreeMap<String, String>, String> {
    let environment = configuration.get("Environment");
    if let Some(error) = environment.and_then(|all| all.get("Error")) {
        let why = error.get("Message").and_then(Value::as_str);
        return Err(why.unwrap_or("no reason is given").to_owned());
    }
    let variables = environment.and_then(|all| all.get("Variables"));
    let variables = variables.and_then(Value::as_object).into_iter().flatten();
    let variables =
        variables.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    Ok(variables.collect())
}

/// Lookback and warm-up of rules about novelty.
///
/// # Errors
///
/// The setting that is no time span.
pub fn lookback(variables: &BTreeMap<String, String>) -> Result<LookbackPeriods, String> {
    let span = |name: &str, default: i64| match variables.get(name) {
        None => Ok(default),
        Some(text) if text.is_empty() => Ok(default),
        Some(text) => {
            timespan_secs(text).ok_or_else(|| format!("{name} is `{text}`, which is no time span"))
        }
    };
    let usual = LookbackPeriods::default();
    Ok(LookbackPeriods {
        lookback_secs: span("SECRETRAIL_LOOKBACK", usual.lookback_secs)?,
        warm_up_secs: span("SECRETRAIL_WARM_UP", usual.warm_up_secs)?,
    })
}

/// The ARNs of the topics in `SECRETRAIL_TOPICS`, each once, and whatever else it names but the
/// product of Security Hub.
#[must_use]
pub fn topics(setting: &str) -> Vec<&str> {
    let mut arns: Vec<&str> = destinations(setting).collect();
    arns.retain(|arn| !is_product(arn));
    arns.sort_unstable();
    arns.dedup();
    arns
}

/// The ARN of Security Hub's product in `SECRETRAIL_TOPICS`; `None` where incidents are not
/// imported.
#[must_use]
pub fn product(setting: &str) -> Option<&str> {
    destinations(setting).find(|arn| is_product(arn))
}

fn destinations(setting: &str) -> impl Iterator<Item = &str> {
    let named = setting.split_whitespace();
    named.map(|topic| topic.split('?').next().unwrap_or(topic))
}

fn is_product(arn: &str) -> bool {
    ArnParts::parse(arn).is_some_and(|arn| arn.service == "securityhub")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lookback_is_that_of_the_function() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let owned = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            lookback(&owned.collect())
        };
        assert_eq!(of(&[]), Ok(LookbackPeriods::default()));
        let both = [("SECRETRAIL_LOOKBACK", "30d"), ("SECRETRAIL_WARM_UP", "2d")];
        let expected = LookbackPeriods {
            lookback_secs: 30 * 86_400,
            warm_up_secs: 2 * 86_400,
        };
        assert_eq!(of(&both), Ok(expected));
        let wrong = of(&[("SECRETRAIL_LOOKBACK", "long")]).unwrap_err();
        assert!(wrong.contains("SECRETRAIL_LOOKBACK is `long`"), "{wrong}");
    }
}
