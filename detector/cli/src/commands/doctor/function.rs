//! The function: its state, its package, and settings that cannot work.

use std::collections::BTreeMap;

use secretrail_engine::ids::ArnParts;
use serde_json::Value;

use super::Checkup;
use crate::{
    aws_api::{LAMBDA, rest::segment},
    deployment::{logical, settings},
    text::plural,
};

const PART: &str = "function";
const SETTINGS: &str = "settings";

/// Runtime of the package.
const RUNTIME: &str = "provided.al2023";

/// Most destinations that the function accepts.
const MOST_TOPICS: usize = 50;

/// What later checks need of the function.
#[derive(Debug, Default)]
pub(super) struct KnownFunction {
    /// ARN; `None` if the function could not be looked at.
    pub(super) arn: Option<String>,
    /// Environment; `None` if it could not be read.
    pub(super) variables: Option<BTreeMap<String, String>>,
}

impl KnownFunction {
    /// A setting; empty if it is not set or not known.
    pub(super) fn setting(&self, name: &str) -> &str {
        let found = self.variables.as_ref().and_then(|all| all.get(name));
        found.map_or("", String::as_str)
    }

    /// The ARNs of the topics, each once.
    pub(super) fn topics(&self) -> Vec<&str> {
        settings::topics(self.setting("SECRETRAIL_TOPICS"))
    }

    /// The ARN of Security Hub's product; `None` where incidents are not imported.
    pub(super) fn product(&self) -> Option<&str> {
        settings::product(self.setting("SECRETRAIL_TOPICS"))
    }
}

pub(super) fn check(checkup: &mut Checkup<'_>) -> KnownFunction {
    let Some(name) = checkup.stack.physical(logical::DETECTOR) else {
        return KnownFunction::default();
    };
    let answer = settings::configuration(checkup.api, name);
    let what = format!("function {name}");
    let Some(found) = checkup.findings.known(PART, &what, answer) else {
        return KnownFunction::default();
    };
    state(checkup, name, &found);
    package(checkup, &found);
    concurrency(checkup, name);
    let function = KnownFunction {
        arn: text(&found, "FunctionArn").map(str::to_owned),
        variables: variables(checkup, &found),
    };
    if function.variables.is_some() {
        environment(checkup, &function);
    }
    function
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str()
}

fn state(checkup: &mut Checkup<'_>, name: &str, found: &Value) {
    let changed = text(found, "LastModified").unwrap_or("an unknown time");
    let state = text(found, "State").unwrap_or("Active");
    let update = text(found, "LastUpdateStatus").unwrap_or("Successful");
    let why = ["StateReason", "LastUpdateStatusReason"]
        .iter()
        .find_map(|name| text(found, name))
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    let what = format!("{name} is {state}, its last update ({changed}) {update}{why}");
    let findings = &mut checkup.findings;
    match (state, update) {
        ("Active", "Successful") => findings.ok(PART, what),
        ("Failed", _) | (_, "Failed") => {
            findings.fail(PART, what, "mend what the reason names, and deploy again");
        }
        // So are functions that were not invoked for weeks; the sweep invokes it each minute.
        ("Inactive", _) => findings.fail(PART, what, "see whether the sweep is enabled"),
        _ => findings.warn(PART, what, "wait a minute, and run this again"),
    }
}

fn package(checkup: &mut Checkup<'_>, found: &Value) {
    let architectures = found.get("Architectures").and_then(Value::as_array);
    let architecture = architectures.and_then(|all| all.first()?.as_str());
    let architecture = architecture.unwrap_or("x86_64");
    let runtime = text(found, "Runtime").unwrap_or("none");
    let memory = found.get("MemorySize").and_then(Value::as_u64).unwrap_or(0);
    let what = format!("{runtime} on {architecture}, {memory} MB");
    let asked = checkup.stack.parameter("Architecture");
    let findings = &mut checkup.findings;
    if runtime != RUNTIME {
        let remedy = format!("set the runtime to {RUNTIME}: deploy infra/template.yaml again");
        findings.fail(PART, what, remedy);
    } else if !asked.is_empty() && asked != architecture {
        let what = format!("{what}, and the parameter Architecture is {asked}");
        findings.fail(PART, what, "build with infra/package, and deploy again");
    } else if memory < 256 {
        findings.warn(PART, what, "set MemorySize to 256 or more");
    } else {
        findings.ok(PART, what);
    }
}

/// A reserved concurrency of 0 is how people stop a function.
fn concurrency(checkup: &mut Checkup<'_>, name: &str) {
    let path = format!("/2019-09-30/functions/{}/concurrency", segment(name));
    let answer = checkup.api.get(&LAMBDA, "GetFunctionConcurrency", &path);
    let what = format!("reserved concurrency of {name}");
    let Some(found) = checkup.findings.known(PART, &what, answer) else {
        return;
    };
    let reserved = found.get("ReservedConcurrentExecutions");
    let findings = &mut checkup.findings;
    match reserved.and_then(Value::as_u64) {
        None => {}
        Some(0) => findings.fail(
            PART,
            "it is stopped: its reserved concurrency is 0",
            format!("aws lambda delete-function-concurrency --function-name {name}"),
        ),
        // One for the sweep, one for files.
        Some(1) => findings.warn(
            PART,
            "its reserved concurrency is 1: the sweep and new files wait for each other",
            "reserve at least MaxConcurrency and one more, or nothing",
        ),
        Some(_) => {}
    }
}

/// The environment, unless it is encrypted with a key that the caller may not use.
fn variables(checkup: &mut Checkup<'_>, found: &Value) -> Option<BTreeMap<String, String>> {
    match settings::variables(found) {
        Ok(variables) => Some(variables),
        Err(why) => {
            checkup.findings.warn(
                SETTINGS,
                format!("not checked, the environment cannot be read: {why}"),
                "allow kms:Decrypt with the key KeyArn, or use another --profile",
            );
            None
        }
    }
}

/// Settings with which the function cannot start, or would do nothing.
fn environment(checkup: &mut Checkup<'_>, function: &KnownFunction) {
    let mut wrong = Vec::new();
    let mode = function.setting("SECRETRAIL_MODE");
    if !["", "alerts"].contains(&mode) {
        wrong.push(format!("SECRETRAIL_MODE is {mode}, so no alerts are made"));
    }
    let table = checkup.stack.physical(logical::TABLE).unwrap_or_default();
    let set = function.setting("SECRETRAIL_TABLE");
    if set != table {
        wrong.push(format!(
            "SECRETRAIL_TABLE is `{set}`, and the stack's table is {table}"
        ));
    }
    let topics = function.topics();
    if topics.is_empty() && function.product().is_none() {
        wrong.push("SECRETRAIL_TOPICS names no topic, so nobody gets alerts".to_owned());
    }
    if topics.len() > MOST_TOPICS {
        wrong.push(format!(
            "SECRETRAIL_TOPICS has more than {MOST_TOPICS} topics"
        ));
    }
    let no_topics = topics.iter().filter(|arn| !is_topic(arn));
    wrong.extend(no_topics.map(|arn| format!("`{arn}` in SECRETRAIL_TOPICS is no ARN of a topic")));
    let strict = function.setting("SECRETRAIL_STRICT");
    if !["", "true", "false"].contains(&strict) {
        wrong.push(format!(
            "SECRETRAIL_STRICT is `{strict}`, neither true nor false"
        ));
    }
    let strict_alone = strict == "true" && function.setting("SECRETRAIL_POLICY").is_empty();
    let findings = &mut checkup.findings;
    if strict_alone {
        findings.warn(
            SETTINGS,
            "SECRETRAIL_STRICT is true, and there is no access policy: it means nothing",
            "set PolicyKey, or Strict to false",
        );
    }
    if wrong.is_empty() && !strict_alone {
        let variables = function.variables.as_ref().map_or(0, BTreeMap::len);
        let (topics, variables) = (topics.len() as u64, variables as u64);
        let (topics, variables) = (plural(topics, "topic"), plural(variables, "variable"));
        findings.ok(
            SETTINGS,
            format!("the table of the stack, {topics}, {variables}"),
        );
    }
    for what in wrong {
        let remedy = "somebody changed the environment: deploy the stack again";
        findings.fail(SETTINGS, what, remedy);
    }
}

fn is_topic(arn: &str) -> bool {
    ArnParts::parse(arn).is_some_and(|parts| parts.service == "sns" && !parts.region.is_empty())
}
