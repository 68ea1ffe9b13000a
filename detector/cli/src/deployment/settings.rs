//! Settings of the function: its environment.

use std::collections::BTreeMap;

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

/// The ARNs of the topics in `SECRETRAIL_TOPICS`, each once.
#[must_use]
pub fn topics(setting: &str) -> Vec<&str> {
    let named = setting.split_whitespace();
    let arns = named.map(|topic| topic.split('?').next().unwrap_or(topic));
    let mut arns: Vec<&str> = arns.collect();
    arns.sort_unstable();
    arns.dedup();
    arns
}
