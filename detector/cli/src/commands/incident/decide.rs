//! `incident close` and `incident reopen`.

use secretrail_aws::names::{ALONE, DECIDED, DECISION, PK, TTL, VERSION, incident};
use secretrail_engine::{
    incident::{
        announced::IncidentEnd,
        decision::{Decided, DecidedStatus, IncidentDecision},
    },
    time::EventTime,
};
use serde_json::{Value, json};

use super::{
    failure, reached,
    stored::{self, IncidentStatus, StoredIncident},
};
use crate::{
    args::deployment::IncidentDecisionArgs,
    aws_api::{ApiError, AwsApi, STS},
    deployment::table::{StateTable, place},
    exit,
    host::{ProcessHost, RunFailure, print},
};

/// How often a decision is written again after the incident has changed meanwhile.
const ROUNDS: usize = 3;

/// Longest reason, in characters.
const LONGEST: usize = 1_000;

/// A decision is kept for so many seconds longer than its incident: what comes late extends that.
const KEPT_LONGER: i64 = 45 * 86_400;

/// How far back an abbreviated id is looked for, in seconds: as long as incidents are kept.
const REACH: i64 = 60 * 86_400;

/// Shortest beginning of an id.
const SHORTEST: usize = 4;

pub(super) fn run(
    args: &IncidentDecisionArgs,
    wanted: DecidedStatus,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    let reason = args.reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST {
        let why = format!("--reason: write why, in at most {LONGEST} characters");
        return Err(RunFailure::Usage(why));
    }
    let (api, name) = reached(&args.table)?;
    let table = StateTable::new(&api, &name);
    let id = whole_id(&table, &args.id, host.now)?;
    let by = caller(&api).map_err(failure)?;
    let decided = Decided {
        status: wanted,
        reason: reason.to_owned(),
        by,
        at: host.now.0,
    };
    let text = decide(&table, &id, &decided, host.now)?;
    print(host, &text)?;
    Ok(exit::DONE)
}

/// The id that begins so.
fn whole_id(table: &StateTable<'_>, typed: &str, now: EventTime) -> Result<String, RunFailure> {
    let known = table.item(&incident(typed), ALONE).map_err(failure)?;
    if known.is_some() {
        return Ok(typed.to_owned());
    }
    let mut ids = match typed.len() < SHORTEST {
        true => Vec::new(),
        false => stored::ids(table, now.plus(-REACH)).map_err(failure)?,
    };
    ids.retain(|id| id.starts_with(typed));
    match ids.as_slice() {
        [id] => Ok(id.clone()),
        [] => Err(RunFailure::Input(format!(
            "there is no incident `{typed}` in table {}; see secretrail incident list --all",
            table.name
        ))),
        many => Err(RunFailure::Input(format!(
            "`{typed}` is the beginning of several incidents: {}",
            many.join(", ")
        ))),
    }
}

/// ARN of the caller.
fn caller(api: &AwsApi) -> Result<String, ApiError> {
    let found = api.query(&STS, "GetCallerIdentity", &[])?;
    Ok(found.text("Arn").unwrap_or("unknown").to_owned())
}

/// Writes a decision, and says what was done.
fn decide(
    table: &StateTable<'_>,
    id: &str,
    decided: &Decided,
    now: EventTime,
) -> Result<String, RunFailure> {
    for _ in 0..ROUNDS {
        let mut found = stored::incidents(table, &[id.to_owned()]).map_err(failure)?;
        let Some(one) = found.incidents.pop() else {
            let why = found.unreadable.pop();
            let why = why.unwrap_or_else(|| format!("incident {id} does not exist any more"));
            return Err(RunFailure::Input(why));
        };
        if let Some(text) = already(&one, decided.status, now)? {
            return Ok(text);
        }
        match table.transact(&writes(table, &one, decided)?) {
            Ok(()) => {
                let status = decided.status.as_str();
                return Ok(format!("incident {id} is {status}\n"));
            }
            // The function, or somebody else, has changed it since it was read.
            Err(error) if error.code() == "TransactionCanceledException" => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Err(RunFailure::Input(format!(
        "incident {id} changes all the time; look at what is new, and run this again"
    )))
}

/// What is said if nothing is to be decided; an error if nothing can be.
fn already(
    one: &StoredIncident,
    wanted: DecidedStatus,
    now: EventTime,
) -> Result<Option<String>, RunFailure> {
    let id = &one.incident.id.0;
    match &one.incident.end {
        Some(IncidentEnd::MergedInto(other)) => {
            return Err(RunFailure::Input(format!(
                "incident {id} is a part of incident {}; use that id",
                other.0
            )));
        }
        Some(IncidentEnd::Withdrawn) => {
            let why = format!("incident {id} was withdrawn; nothing is left to decide");
            return Err(RunFailure::Input(why));
        }
        None => {}
    }
    let is_closed = one.status(now) == IncidentStatus::Closed;
    Ok(match wanted {
        DecidedStatus::Closed if is_closed => Some(format!("incident {id} is closed already\n")),
        DecidedStatus::Reopened if !is_closed => Some(format!("incident {id} is open already\n")),
        _ => None,
    })
}

/// The decision, on the condition that neither the incident nor its decision has changed.
fn writes(
    table: &StateTable<'_>,
    one: &StoredIncident,
    decided: &Decided,
) -> Result<[Value; 2], RunFailure> {
    let key = incident(&one.incident.id.0);
    let unchanged = json!({"ConditionCheck": {
        "TableName": table.name,
        "Key": place(&key, ALONE),
        "ConditionExpression": "#version = :version",
        "ExpressionAttributeNames": {"#version": VERSION},
        "ExpressionAttributeValues": {":version": {"N": one.version.to_string()}},
    }});
    let mut put = match one.decisions {
        0 => json!({
            "ConditionExpression": "attribute_not_exists(#pk)",
            "ExpressionAttributeNames": {"#pk": PK},
        }),
        known => json!({
            "ConditionExpression": "#version = :known",
            "ExpressionAttributeNames": {"#version": VERSION},
            "ExpressionAttributeValues": {":known": {"N": known.to_string()}},
        }),
    };
    extend(&mut put, "TableName", json!(table.name));
    extend(&mut put, "Item", item(one, decided)?);
    Ok([unchanged, json!({"Put": put})])
}

/// The item of a decision.
fn item(one: &StoredIncident, decided: &Decided) -> Result<Value, RunFailure> {
    let before = one.decision.as_ref();
    let decision = IncidentDecision::new(decided.clone(), &one.incident, before);
    let text = serde_json::to_string(&decision);
    let text = text.map_err(|error| RunFailure::Internal(error.to_string()))?;
    let expiry = one.expiry.saturating_add(KEPT_LONGER);
    let mut item = place(&incident(&one.incident.id.0), DECISION);
    extend(&mut item, DECIDED, json!({"S": text}));
    extend(&mut item, TTL, json!({"N": expiry.to_string()}));
    let decisions = one.decisions + 1;
    extend(&mut item, VERSION, json!({"N": decisions.to_string()}));
    Ok(item)
}

/// Adds a field to a JSON object.
fn extend(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}
